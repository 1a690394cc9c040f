"""Splits, sizes, values, encodings and names that a source does not state: said, or refused."""

from __future__ import annotations

import codecs
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scsa_yolo.datasets.native.splits import agree, place, split_named, split_word


def coco(rows: list[dict[str, Any]], **more: Any) -> str:
    images = [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}]
    return json.dumps(
        {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "a"}], **more}
    )


def row(**more: Any) -> dict[str, Any]:
    return {"image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40], **more}


# splits


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("annotations_VisDrone_train", "annotations_VisDrone_val"),
        ("cards_train_coco", "cards_val_coco"),
        ("zhiyuan_objv2_train", "zhiyuan_objv2_val"),
        ("instances_train", "instances_minival"),
        ("TrainSet", "ValidationSet"),
        ("train.coco", "valid.coco"),
        ("a-train-2", "a-val-2"),
    ],
)
def test_the_split_in_a_jsons_name(native, convert, tmp_path, train: str, val: str) -> None:
    for split, name in (("train", train), ("val", val)):
        native.picture(tmp_path / "in" / "images" / f"{split}.jpg", shade=len(name))
        images = [{"id": 1, "file_name": f"{split}.jpg", "width": 100, "height": 80}]
        native.write(tmp_path / "in" / "annotations" / f"{name}.json", coco([row()], images=images))
    done = convert("coco", tmp_path / "in", "--strict")
    assert done.code == 0, done.err
    data = yaml.safe_load(done.yaml.read_text())
    assert (data["train"], data["val"]) == (["images/train"], ["images/val"])
    for split in ("train", "val"):
        assert [p.name for p in (done.dest / "images" / split).iterdir()] == [f"{split}.jpg"]


def test_two_jsons_of_one_split(native, convert, tmp_path: Path) -> None:
    for name in ("cam1_train", "cam2_train", "cam1_val"):
        native.picture(tmp_path / "in" / "images" / f"{name}.jpg", shade=len(name))
        images = [{"id": 1, "file_name": f"{name}.jpg", "width": 100, "height": 80}]
        native.write(tmp_path / "in" / f"{name}.json", coco([row()], images=images))
    done = convert("coco", tmp_path / "in", "--strict")
    data = yaml.safe_load(done.yaml.read_text())
    assert data["train"] == ["images/cam1_train", "images/cam2_train"]
    assert data["val"] == ["images/val"]


@pytest.mark.parametrize(
    ("files", "code", "train", "val"),
    [
        (("train",), "val-is-train", ["train"], ["train"]),
        (("boxes",), "val-is-train", ["boxes"], ["boxes"]),
        (("annotations",), "val-is-train", ["train"], ["train"]),
        (("cam1", "cam2"), "val-is-train", ["cam1", "cam2"], ["cam1", "cam2"]),
        (("train", "test"), "val-is-test", ["train"], ["test"]),
        (("val",), "train-is-val", ["val"], ["val"]),
        (("test",), "train-is-test", ["test"], ["test"]),
    ],
)
def test_a_role_that_the_source_has_not(
    native, convert, tmp_path, files, code: str, train: list[str], val: list[str]
) -> None:
    for name in files:
        native.picture(tmp_path / "in" / "images" / f"{name}.jpg", shade=len(name))
        images = [{"id": 1, "file_name": f"{name}.jpg", "width": 100, "height": 80}]
        native.write(tmp_path / "in" / f"{name}.json", coco([row()], images=images))
    done = convert("coco", tmp_path / "in", dest="free")
    assert done.code == 0
    assert done.told(code)[0]["kind"] == "guess"
    assert code in done.out
    data = yaml.safe_load(done.yaml.read_text())
    assert data["train"] == [f"images/{split}" for split in train]
    assert data["val"] == [f"images/{split}" for split in val]
    assert ("train on it" in done.out) == (code not in ("train-is-val", "train-is-test"))
    strict = convert("coco", tmp_path / "in", "--strict")
    assert (strict.code, strict.dest.exists()) == (1, False)


@pytest.mark.parametrize("name", ["coco", "voc"])
def test_val_is_drawn_by_content(native, convert, tmp_path: Path, name: str) -> None:
    """Copies of a picture stay on one side, whatever they are called."""
    images, rows = [], []
    for number in range(40):
        file = f"{number:02}.png"
        native.picture(tmp_path / "in" / "train" / file, (20, 20), shade=number // 2)
        images.append({"id": number, "file_name": file, "width": 20, "height": 20})
        rows.append(row(image_id=number, bbox=[1, 1, 9, 9]))
        sheet = native.voc_xml(native.voc_object("a", (1, 1, 9, 9)), size=(20, 20))
        native.write(tmp_path / "in" / "train" / f"{number:02}.xml", sheet)
    native.write(tmp_path / "in" / "train.json", coco(rows, images=images))
    done = convert(name, tmp_path / "in", "--val-share", "0.3", "--strict")
    assert done.code == 0, done.err
    val = {int(path.stem) for path in (done.dest / "images" / "val").iterdir()}
    assert 4 <= len(val) <= 24
    assert {number ^ 1 for number in val} == val
    other = convert(name, tmp_path / "in", "--val-share", "0.3", "--seed", "1", dest="other")
    assert {int(path.stem) for path in (other.dest / "images" / "val").iterdir()} != val


def test_a_draw_of_few_pictures_has_both_sides(native, convert, tmp_path: Path) -> None:
    for seed in range(5):
        for number in range(2):
            native.picture(tmp_path / "in" / f"{number}.png", shade=number)
            sheet = native.voc_xml(native.voc_object("a", (1, 1, 9, 9)))
            native.write(tmp_path / "in" / f"{number}.xml", sheet)
        done = convert("voc", tmp_path / "in", "--seed", str(seed), dest=str(seed))
        assert {s: c["images"] for s, c in done.report["splits"].items()} == {"train": 1, "val": 1}


def test_folders_that_only_sound_like_splits() -> None:
    assert split_named(["train_station"]) is None
    assert split_named(["train_images"]) == split_named(["Training-Set"]) == "train"
    assert split_named(["val2017"]) == split_named(["VALID"]) == "val"
    assert split_word("boxes_of_train_and_test") == "test"
    assert agree(place(("xml", "a_b")), place(("images", "a"))) is False
    assert agree(place(("xml", "train")), place(("images", "val"))) is False
    assert agree(place(("Annotations",)), place(("JPEGImages", "train"))) is True
    assert agree(place(("Annotations",)), place(("images", "a"))) is None


# sizes


def sized(native, root: Path, boxes: dict[str, list[list[float]]], stated, actual) -> None:
    images, rows = [], []
    for number, (name, own) in enumerate(boxes.items()):
        native.picture(root / f"{name}.png", actual, shade=number)
        size = {"width": stated[0], "height": stated[1]}
        images.append({"id": number, "file_name": f"{name}.png", **size})
        rows += [row(image_id=number, bbox=box, area=100) for box in own]
    native.write(root / "train.json", coco(rows, images=images))
    native.write(root / "val.json", coco([], images=[]))


SHRUNK = (1000, 800), (500, 400)


@pytest.mark.parametrize(
    ("boxes", "sizes", "labels"),
    [
        # a box that only the stated size holds: all boxes of the picture are scaled
        ({"a": [[100, 100, 200, 200], [600, 500, 200, 200]]}, SHRUNK, ["0.2 0.25 0.2 0.25", "0.7 0.75 0.2 0.25"]),
        # or those of the set
        ({"a": [[100, 100, 200, 200]], "b": [[600, 500, 200, 200]]}, SHRUNK, ["0.2 0.25 0.2 0.25", "0.7 0.75 0.2 0.25"]),
        # the stated size is plainly wrong
        ({"a": [[100, 100, 200, 200], [300, 300, 200, 100]]}, ((50, 40), (500, 400)), ["0.4 0.5 0.4 0.5", "0.8 0.875 0.4 0.25"]),
        ({"a": [[10, 10, 20, 20]], "b": [[100, 100, 200, 200]]}, ((50, 40), (500, 400)), ["0.04 0.05 0.04 0.05", "0.4 0.5 0.4 0.5"]),
        # width and height exchanged
        ({"a": [[400, 10, 100, 100]]}, ((400, 500), (500, 400)), ["0.9 0.15 0.2 0.25"]),
        # off by what rounding does: it matters little
        ({"a": [[100, 100, 200, 200]]}, ((501, 400), (500, 400)), ["0.4 0.5 0.4 0.5"]),
    ],
)  # fmt: skip
def test_which_size_is_right(native, convert, tmp_path: Path, boxes, sizes, labels) -> None:
    sized(native, tmp_path / "in", boxes, *sizes)
    done = convert("coco", tmp_path / "in", dest="free")
    files = sorted((done.dest / "labels" / "train").iterdir())
    rows = [line.split(maxsplit=1)[1] for file in files for line in file.read_text().splitlines()]
    assert [list(map(float, r.split())) for r in rows] == [
        pytest.approx([float(v) for v in r.split()], abs=1e-12) for r in labels
    ]
    told = done.told("other-size")
    assert len(told) == len(boxes), "each picture is named"
    assert {f["kind"] for f in told} == ({"changed"} if sizes[0][0] == 501 else {"guess"})
    factor = 0.25 if sizes == SHRUNK else 1
    assert done.side("train")["a.png"]["boxes"][0]["area"] == pytest.approx(100 * factor)


@pytest.mark.parametrize(
    ("boxes", "sizes", "why"),
    [
        ({"a": [[100, 100, 200, 200]]}, SHRUNK, "both hold all of its boxes"),
        ({"a": [[100, 100, 200, 200], [900, 500, 200, 200]]}, SHRUNK, "neither holds all"),
        ({"a": [[100, 410, 50, 80]]}, ((400, 500), (500, 400)), "seem to have been turned"),
    ],
)
def test_sizes_that_cannot_be_decided(native, convert, tmp_path, boxes, sizes, why: str) -> None:
    sized(native, tmp_path / "in", boxes, *sizes)
    native.picture(tmp_path / "in" / "fine.png", sizes[0])
    content = json.loads((tmp_path / "in" / "train.json").read_text())
    size = {"width": sizes[0][0], "height": sizes[0][1]}
    content["images"].append({"id": 99, "file_name": "fine.png", **size})
    content["annotations"] += [row(image_id=99)] * 20
    native.write(tmp_path / "in" / "train.json", json.dumps(content))
    done = convert("coco", tmp_path / "in", dest="free")
    assert done.report["splits"]["train"]["images"] == 1
    (told,) = done.told("size-unclear")
    assert told["file"] == "a.png"
    assert why in told["reason"]
    assert "--sizes stated or file decides" in told["reason"]
    stated = convert("coco", tmp_path / "in", "--sizes", "stated", dest="stated")
    assert stated.report["splits"]["train"]["images"] == 2
    if "turned" in why:  # no box of it lies in the file
        return
    by_file = convert("coco", tmp_path / "in", "--sizes", "file", dest="file")
    assert by_file.boxes("train/a.png")[0][1:3] == pytest.approx(boxes["a"][0][:2])


def test_sizes_in_voc(native, convert, tmp_path: Path) -> None:
    native.picture(tmp_path / "in" / "train" / "a.jpg", (50, 40))
    sheet = native.voc_xml(native.voc_object("a", (11, 11, 100, 80)), size=(100, 80))
    native.write(tmp_path / "in" / "train" / "a.xml", sheet)
    assert convert("voc", tmp_path / "in").boxes("train/a.jpg") == [(0, 5, 5, 50, 40)]


# values


@pytest.mark.parametrize(
    "more",
    [
        {"iscrowd": None},
        {"iscrowd": 0.0},
        {"iscrowd": "0"},
        {"iscrowd": False},
        {"category_id": "1"},
        {"category_id": 1.0},
        {"image_id": "1"},
        {"image_id": 1.0},
        {"image_id": "0001"},
        {"bbox": ["10", "20.0", 30.0, "4e1"]},
        {"area": "12"},
        {"area": None},
    ],
)
def test_numbers_in_other_clothes(native, convert, tmp_path: Path, more: dict[str, Any]) -> None:
    native.picture(tmp_path / "in" / "a.jpg")
    native.write(tmp_path / "in" / "train.json", coco([row(**more)]))
    done = convert("coco", tmp_path / "in")
    assert done.code == 0, done.err
    assert done.boxes("train/a.jpg") == [(0, 10, 20, 40, 60)]


@pytest.mark.parametrize("image", ["a", "a.jpg", "007", "7", 7.0, -1, "", "é"])
def test_image_ids(native, convert, tmp_path: Path, image: Any) -> None:
    native.picture(tmp_path / "in" / "a.jpg")
    images = [{"id": image, "file_name": "a.jpg", "width": "100", "height": 80.0}]
    native.write(tmp_path / "in" / "train.json", coco([row(image_id=image)], images=images))
    done = convert("coco", tmp_path / "in")
    assert done.boxes("train/a.jpg") == [(0, 10, 20, 40, 60)]


@pytest.mark.parametrize("category", [{"id": "1", "name": "a"}, {"id": 1.0, "name": 7}])
def test_category_ids(native, convert, tmp_path: Path, category: dict[str, Any]) -> None:
    native.picture(tmp_path / "in" / "a.jpg")
    native.write(tmp_path / "in" / "train.json", coco([row()], categories=[category]))
    done = convert("coco", tmp_path / "in")
    assert (done.code, done.report["names"]) == (0, [str(category["name"])])


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (coco([row()], categories=[]), 2, "no categories that can be read"),
        (coco([row(category_id=None)] * 3), 1, "no box was kept"),
        (coco([row(category_id=5)] * 3), 1, "no box was kept"),
        (coco([row(image_id=5)] * 3), 1, "no box was kept"),
        (coco([]), 1, "no box was kept"),
        (coco([row(), row(bbox=None)]), 1, "1 of 2 annotation rows were lost, more than 25%"),
        (coco([row(), row(bbox=[1, 1, 0, 0])]), 0, ""),
        (coco([row()] * 9 + [row(bbox=None)]), 0, ""),
    ],
)
def test_boxes_that_are_lost(native, convert, tmp_path, content: str, code: int, says: str) -> None:
    native.picture(tmp_path / "in" / "a.jpg")
    native.write(tmp_path / "in" / "train.json", content)
    done = convert("coco", tmp_path / "in")
    assert done.code == code
    assert says in done.err
    assert ("train on it" in done.out) == (code == 0)
    if code == 1:
        assert convert("coco", tmp_path / "in").code == 1, "nor is it fine the second time"


def test_a_loss_that_is_accepted(native, convert, tmp_path: Path) -> None:
    native.picture(tmp_path / "in" / "a.jpg")
    native.write(tmp_path / "in" / "train.json", coco([row(), row(bbox=None)]))
    assert convert("coco", tmp_path / "in", "--max-loss", "0.5").code == 0
    done = convert("coco", tmp_path / "in", "--max-loss", "2", dest="other")
    assert (done.code, "--max-loss must lie between 0 and 1" in done.err) == (2, True)


def test_categories_of_another_json(native, convert, tmp_path: Path) -> None:
    native.picture(tmp_path / "in" / "a.jpg")
    native.picture(tmp_path / "in" / "b.jpg", shade=2)
    native.write(tmp_path / "in" / "train.json", coco([row()]))
    images = [{"id": 1, "file_name": "b.jpg", "width": 100, "height": 80}]
    native.write(tmp_path / "in" / "val.json", coco([row()], images=images, categories=[]))
    assert convert("coco", tmp_path / "in").report["splits"]["val"]["boxes"] == 1


# encodings


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("ISO-8859-1", "latin-1"),
        ("cp1252", "cp1252"),
        ("windows-1252", "cp1252"),
        ("UTF-16", "utf-16"),
        ("utf-8", "utf-8-sig"),
        ("utf-8", "utf-8"),
        ("GBK", "gbk"),
        ("Shift_JIS", "shift_jis"),
        ("koi8-r", "koi8-r"),
    ],
)
def test_declared_encodings(native, convert, tmp_path: Path, declared: str, encoding: str) -> None:
    name = {"gbk": "汽车", "shift_jis": "車", "koi8-r": "вагон"}.get(encoding, "Fußgänger")
    native.picture(tmp_path / "in" / "train" / "a.jpg")
    native.picture(tmp_path / "in" / "val" / "b.jpg")
    text = native.voc_xml(native.voc_object(name, (1, 1, 9, 9)))
    text = f'<?xml version="1.0" encoding="{declared}"?>\n{text}'
    native.write(tmp_path / "in" / "train" / "a.xml", text.encode(encoding))
    native.write(tmp_path / "in" / "val" / "b.xml", text.encode(encoding))
    done = convert("voc", tmp_path / "in", "--strict")
    assert done.code == 0, done.err
    assert done.report["names"] == [name]
    assert yaml.safe_load(done.yaml.read_text(encoding="utf-8"))["names"] == {0: name}


@pytest.mark.parametrize(
    ("declared", "encoding"), [("", "cp1252"), ("UTF-8", "cp1252"), ("UTF-16", "utf-8")]
)
def test_encodings_that_are_not_the_declared_one(
    native, convert, tmp_path: Path, declared: str, encoding: str
) -> None:
    native.picture(tmp_path / "in" / "train" / "a.jpg")
    text = native.voc_xml(native.voc_object("Bär", (1, 1, 9, 9)))
    head = f'<?xml version="1.0" encoding="{declared}"?>\n' * bool(declared)
    native.write(tmp_path / "in" / "train" / "a.xml", (head + text).encode(encoding))
    done = convert("voc", tmp_path / "in", dest="free")
    assert done.report["names"] == ["Bär"]
    assert f"is read as {'cp1252' if encoding == 'cp1252' else 'UTF-8'}" in done.out
    assert convert("voc", tmp_path / "in", "--strict").code == 1


MARKS = {
    "utf-8-sig": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
}


@pytest.mark.parametrize("encoding", MARKS)
@pytest.mark.parametrize("name", ["visdrone", "exdark", "coco"])
def test_texts_with_a_mark(native, convert, tmp_path: Path, name: str, encoding: str) -> None:
    source = native.make[name](tmp_path / "in")
    whole = convert(name, source, dest="whole").report["splits"]
    for path in [*source.rglob("*.txt"), *source.rglob("*.json")]:
        text = path.read_bytes().decode()
        mark = b"" if encoding == "utf-8-sig" else MARKS[encoding]
        path.write_bytes(mark + text.encode(encoding))
    assert convert(name, source).report["splits"] == whole


# names that no text file can hold, and files that are none


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
@pytest.mark.parametrize("name", ["visdrone", "exdark", "voc", "coco", "flir"])
def test_names_that_are_not_utf_8(native, convert, tmp_path: Path, name: str) -> None:
    source = native.make[name](tmp_path / "in")
    whole = convert(name, source, dest="whole").report["splits"]
    image = next(p for p in sorted(source.rglob("*.*")) if p.suffix.lower() == ".jpg")
    (image.parent / os.fsdecode(b"caf\xe9.jpg")).write_bytes(image.read_bytes())
    (source / os.fsdecode(b"caf\xe9")).mkdir()
    note = (
        next(p for p in sorted(source.rglob("*.*")) if p.suffix in (".txt", ".xml"))
        if name in ("visdrone", "exdark", "voc")
        else image
    )
    (note.parent / os.fsdecode(b"caf\xe9" + note.suffix.encode())).write_bytes(note.read_bytes())
    done = convert(name, source)
    assert done.code == 0, done.err
    assert done.report["splits"] == whole
    named = [f["file"] for f in done.told("bad-name")]
    assert any(file.endswith("caf\\xe9.jpg") for file in named)
    assert "caf\\xe9" in named
    lost = [c["left_out"].get("bad-name", 0) for c in done.report["balance"]["pictures"].values()]
    assert sum(lost) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
@pytest.mark.parametrize("which", ["source", "dest"])
def test_a_source_or_dest_that_is_not_utf_8(native, convert, tmp_path: Path, which: str) -> None:
    odd = os.fsdecode(b"caf\xe9")
    source = native.make["coco"](tmp_path / (odd if which == "source" else "in"))
    done = convert("coco", source, dest=odd if which == "dest" else "out")
    assert done.code == 2
    assert "caf\\xe9: a name that is not UTF-8" in done.err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("visdrone", "**/annotations/0001.txt"),
        ("visdrone", "**/images/0001.jpg"),
        ("exdark", "**/2015_1.jpg.txt"),
        ("exdark", "imageclasslist.txt"),
        ("voc", "**/000001.xml"),
        ("voc", "**/000001.jpg"),
        ("voc", "**/Main/val.txt"),
        ("coco", "annotations/instances_val2017.json"),
        ("flir", "images_thermal_train/coco.json"),
    ],
)
def test_pipes_are_not_waited_for(native, convert, tmp_path, name: str, pattern: str) -> None:
    source = native.make[name](tmp_path / "in")
    path = next(iter(source.glob(pattern)))
    path.unlink()
    os.mkfifo(path)
    done = convert(name, source)
    assert "not a regular file" in done.out + done.err
    assert done.code in (0, 1, 2)


# the balance


@pytest.mark.parametrize("name", ["visdrone", "exdark", "flir", "voc", "coco"])
def test_the_balance_closes(native, convert, tmp_path: Path, name: str) -> None:
    source = native.make[name](tmp_path / "in")
    done = convert(name, source, *(["--ignore", "DontCare"] if name == "voc" else []))
    balance = done.report["balance"]
    found = converted = 0
    for counts in balance["pictures"].values():
        assert counts["found"] == counts["converted"] + sum(counts["left_out"].values())
        found, converted = found + counts["found"], converted + counts["converted"]
    suffixes = (".jpg", ".jpeg", ".png", ".tiff")
    files = [p for p in source.rglob("*.*") if p.suffix.lower() in suffixes]
    assert found == len([p for p in files if "__MACOSX" not in p.parts])
    assert converted == len(list((done.dest / "images").rglob("*.*")))
    for split, classes in balance["rows"].items():
        for counts in classes.values():
            parts = counts["written"] + counts["side_file"] + sum(counts["dropped"].values())
            assert counts["read"] == parts
        lines = [p.read_text().splitlines() for p in (done.dest / "labels" / split).iterdir()]
        assert sum(map(len, lines)) == sum(c["written"] for c in classes.values())
        count = done.report["splits"][split]
        assert count["ignored"] == sum(c["side_file"] for c in classes.values())
        for label, number in count["classes"].items():
            assert classes.get(label, {"written": 0})["written"] == number
    assert "annotation rows" in done.out
    assert "left out" in done.out


def test_the_balance_by_hand(native, convert, tmp_path: Path) -> None:
    done = convert("visdrone", native.make["visdrone"](tmp_path / "in"))
    rows = done.report["balance"]["rows"]["train"]
    assert rows["ignored regions"] == {
        "read": 2,
        "written": 0,
        "side_file": 1,
        "dropped": {"no-area": 1},
    }
    assert rows["car"] == {"read": 4, "written": 3, "side_file": 0, "dropped": {"no-area": 1}}
    assert rows["bicycle"] == {"read": 1, "written": 0, "side_file": 1, "dropped": {}}


def test_what_does_not_close_is_an_error(native, convert, tmp_path: Path, monkeypatch) -> None:
    """A converter that forgets a row is noticed, and makes no set."""
    from scsa_yolo.datasets.convert import image

    whole = image._cut
    monkeypatch.setattr(
        image, "_cut", lambda box, w, h, *rest: whole(box, w, h, *rest) if w != 100 else None
    )
    done = convert("coco", native.make["coco"](tmp_path / "in"))
    assert done.code == 1
    assert "the balance does not close: rows of train2017, class" in done.err
    assert not done.dest.exists()


def test_two_pictures_of_one_name_in_dest_are_noticed(
    native, convert, tmp_path: Path, monkeypatch
) -> None:
    from scsa_yolo.datasets.native import coco as reader

    monkeypatch.setattr(reader, "flat_names", lambda names: ["same.jpg"] * len(names))
    done = convert("coco", native.make["coco"](tmp_path / "in"), "--workers", "1")
    assert done.code == 1
    assert "the balance does not close: pictures of train2017" in done.err


def test_the_yaml_is_called_as_its_folder(native, convert, tmp_path: Path) -> None:
    from scsa_yolo.datasets.layout.dataset import load_layout

    source = native.make["coco"](tmp_path / "in")
    done = convert("coco", source, dest="my set v1.2")
    assert done.yaml.name == "my set v1.2.yaml"
    assert f"data={done.yaml}" in done.out
    assert load_layout(done.dest).yaml == done.yaml
    assert (done.dest / "data.yaml").read_bytes() == done.yaml.read_bytes()
    done.yaml.unlink()  # as sets were before
    again = convert("coco", source, dest="my set v1.2")
    assert f"data={done.dest}/data.yaml" in again.out
