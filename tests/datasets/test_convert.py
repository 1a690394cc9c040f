"""Each native layout, with its traps, against what must come out."""

from __future__ import annotations

import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from PIL import Image

from scsa_yolo.datasets.convert.conversion import READERS
from scsa_yolo.datasets.native.options import Options
from scsa_yolo.datasets.native.records import UsageError

ALL = sorted(READERS)


def test_visdrone(native, convert, tmp_path: Path) -> None:
    done = convert("visdrone", native.make["visdrone"](tmp_path / "in"))
    assert done.code == 0
    assert list(done.report["splits"]) == ["train", "test"]
    assert done.report["splits"]["train"]["images"] == 4
    assert done.boxes("train/0000.jpg") == [(3, 10, 20, 40, 60), (0, 50, 10, 55, 16)]
    assert done.side("train")["0000.jpg"]["boxes"] == [
        {"truncation": 0, "occlusion": 1},
        {"truncation": 1, "occlusion": 2},
    ]
    assert done.boxes("train/traps.jpg") == [(9, 1, 2, 11, 12), (1, 95, 70, 100, 80)]
    assert done.side("train")["traps.jpg"]["ignore"] == [
        {"class": None, "xyxy": [70, 50, 100, 80], "reason": "region"},
        {"class": None, "xyxy": [5, 5, 15, 15], "reason": "others"},
        {"class": 2, "xyxy": [5, 5, 15, 15], "reason": "difficult"},
    ]
    shown = "VisDrone2019-DET-train/annotations/traps.txt"
    assert {(f["file"], f["line"]) for f in done.told("no-area")} == {(shown, 2), (shown, 4)}
    assert [f["line"] for f in done.told("clipped")] == [7]
    assert done.told("no-truth")
    assert not done.report["findings"].get("error")


def test_exdark(native, convert, tmp_path: Path) -> None:
    done = convert("exdark", native.make["exdark"](tmp_path / "in"))
    assert done.code == 0
    assert {split: count["images"] for split, count in done.report["splits"].items()} == {
        "train": 3,
        "val": 3,
        "test": 1,
    }
    assert done.boxes("train/2015_1.jpg") == [
        (0, 10, 20, 40, 60),
        (10, 1, 1, 21, 31),
    ], "l t w h, and its own classes"
    assert done.side("train")["2015_1.jpg"]["conditions"] == {"light": "Low", "place": "indoor"}
    assert done.side("val")["2015_2.png"]["conditions"] == {"light": "Ambient", "place": "outdoor"}
    assert done.boxes("train/over.JPG") == [(8, 0, 0, 100, 39)]
    assert [f["reason"] for f in done.told("image-left-out")]
    assert not (done.dest / "labels" / "train" / "gap.txt").exists()
    assert done.boxes("val/turned.jpeg") == [(8, 10, 5, 95, 75)]


def test_orientation_is_taken_out_without_encoding_anew(native, convert, tmp_path: Path) -> None:
    source = native.make["exdark"](tmp_path / "in")
    target = convert("exdark", source).dest / "images" / "val" / "turned.jpeg"
    original = source / "ExDark" / "Dog" / "turned.jpeg"
    assert not target.is_symlink()
    with Image.open(target) as now, Image.open(original) as before:
        assert now.getexif().get(274) is None
        assert before.getexif()[274] == 6, "the source was changed"
        assert now.size == (100, 80)
        assert now.tobytes() == before.tobytes()


def test_orientation_stays_where_the_stated_size_is_turned(native, convert, tmp_path: Path) -> None:
    native.picture(tmp_path / "in" / "train" / "a.jpg", (100, 80), orientation=6)
    sheet = native.voc_xml(native.voc_object("dog", (1, 1, 80, 100)), size=(80, 100))
    native.write(tmp_path / "in" / "train" / "a.xml", sheet)
    done = convert("voc", tmp_path / "in")
    assert (done.dest / "images" / "train" / "a.jpg").is_symlink()
    assert (done.side("train")["a.jpg"]["width"], done.side("train")["a.jpg"]["height"]) == (
        80,
        100,
    )
    assert done.boxes("train/a.jpg") == [(0, 0, 0, 80, 100)]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_mirrored_images(native, convert, tmp_path: Path, suffix: str) -> None:
    native.picture(tmp_path / "in" / "train" / f"a{suffix}", (100, 80), orientation=2)
    native.write(
        tmp_path / "in" / "train" / "a.xml",
        native.voc_xml(native.voc_object("dog", (1, 1, 10, 10))),
    )
    done = convert("voc", tmp_path / "in")
    assert len(done.told("orientation")) == 1
    with Image.open(done.dest / "images" / "train" / f"a{suffix}") as image:
        image.load()
        assert 274 not in image.getexif()


def test_flir(native, convert, tmp_path: Path) -> None:
    source = native.make["flir"](tmp_path / "in")
    done = convert("flir", source)
    assert done.code == 0
    assert list(done.report["splits"]) == ["train", "test"]
    assert done.report["splits"]["train"]["images"] == 3
    assert done.report["splits"]["train"]["background"] == 1, (
        "a frame without boxes is a background"
    )
    names = done.report["names"]
    assert len(names) == 16
    first, second = "train/video-t-frame-000000-x.jpg", "train/video-t-frame-000001-x.jpg"
    assert [names[row[0]] for row in done.boxes(first)] == ["dog"]
    assert [(names[row[0]], row[1:]) for row in done.boxes(second)] == [
        ("other vehicle", (60, 40, 64, 48))
    ]
    line = done.side("train")["video-t-frame-000000-x.jpg"]
    assert line["conditions"] == {"hours": "night"}
    assert line["boxes"] == [{"area": 9.0, "occlusion": "no_(fully_visible)"}]
    assert not [path for path in done.dest.rglob("*") if path.suffix == ".tiff"]
    rgb = convert("flir", source, "--spectrum", "rgb", dest="rgb")
    assert list(rgb.report["splits"]) == ["val"]


def test_flir_category_names_are_spelled_as_others_do() -> None:
    from scsa_yolo.datasets.native.flir import class_names

    assert class_names({1: "Person", 2: "bicycle", 79: "other_vehicle"}) == {
        1: "person",
        2: "bike",
        79: "other vehicle",
    }
    assert class_names({1: "bike", 2: "bicycle"})[2] == "bicycle", (
        "an alias must not take the place of the name itself"
    )


def test_voc(native, convert, tmp_path: Path) -> None:
    done = convert("voc", native.make["voc"](tmp_path / "in"), "--ignore", "DontCare")
    assert done.code == 0
    assert done.report["names"] == [
        "cat",
        "dog",
        "person",
    ], "sorted, of listed images alone, without parts"
    assert list(done.report["splits"]) == ["train2007", "val2007", "test2007"]
    assert done.boxes("train2007/000001.jpg") == [(1, 0, 0, 100, 80)], (
        "1-based, inclusive: all of the image"
    )
    assert done.boxes("train2007/000002.jpg") == [(2, 9.5, 19, 30, 40)]
    assert done.side("train2007")["000001.jpg"]["boxes"] == [{"truncation": 1}]
    assert done.side("val2007")["000003.jpg"]["ignore"] == [
        {"class": 1, "xyxy": [4, 5, 7, 8], "reason": "difficult"},
        {"class": None, "xyxy": [0, 0, 9, 9], "reason": "dontcare"},
    ]
    assert [f["line"] for f in done.told("no-area")] == [5]
    assert done.boxes("test2007/000005.jpg") == [(0, 49, 49, 100, 80)]
    data = yaml.safe_load(done.yaml.read_text())
    assert data["train"] == ["images/train2007", "images/val2007"]
    assert data["val"] == ["images/test2007"]


def test_voc_options(native, convert, tmp_path: Path) -> None:
    source = native.make["voc"](tmp_path / "in")
    done = convert(
        "voc", source, "--classes", "dog,cat", "--difficult", "keep", "--pixels", "edges"
    )
    assert done.report["names"] == ["dog", "cat"]
    assert done.boxes("train2007/000001.jpg") == [(0, 1, 1, 100, 80)]
    assert done.side("val2007")["000003.jpg"]["boxes"] == [{"difficult": True}]
    assert {f["reason"].split()[0] for f in done.told("other-class")} == {"person", "DontCare"}


def test_voc_without_lists_draws_a_split_and_says_so(native, convert, tmp_path: Path) -> None:
    for number in range(40):
        native.picture(tmp_path / "in" / f"{number}.png", (20, 20), shade=number)
        native.write(
            tmp_path / "in" / f"{number}.xml",
            native.voc_xml(native.voc_object("a", (1, 1, 9, 9)), size=None),
        )
    done = convert("voc", tmp_path / "in")
    assert "random-split" in done.out
    assert 2 <= done.report["splits"]["val"]["images"] <= 16
    val = {path.name for path in (done.dest / "images" / "val").iterdir()}
    for number in range(20):
        (tmp_path / "in" / f"{number}.xml").unlink()
        (tmp_path / "in" / f"{number}.png").unlink()
    fewer = convert("voc", tmp_path / "in", dest="fewer")
    rest = {path.name for path in (fewer.dest / "images" / "val").iterdir()}
    assert rest == {name for name in val if int(Path(name).stem) >= 20}, (
        "a draw by content does not depend on the others"
    )


def test_voc_07_and_12(native, convert, tmp_path: Path) -> None:
    """Two years in two archives' folders, and the test set of 2007 in a third, as the tars
    unpack.
    """
    native.make["voc"](tmp_path / "in")
    other = tmp_path / "in" / "more" / "VOCdevkit" / "VOC2012"
    native.picture(other / "JPEGImages" / "000001.jpg")  # the same name in another year
    native.write(
        other / "Annotations" / "000001.xml", native.voc_xml(native.voc_object("dog", (1, 1, 9, 9)))
    )
    native.write(other / "ImageSets" / "Main" / "train.txt", "000001\n")
    done = convert("voc", tmp_path / "in")
    assert list(done.report["splits"]) == ["train2007", "train2012", "val2007", "test2007"]
    assert not done.told("listed-twice")
    data = yaml.safe_load(done.yaml.read_text())
    assert data["train"] == ["images/train2007", "images/train2012", "images/val2007"]


def test_coco(native, convert, tmp_path: Path) -> None:
    done = convert("coco", native.make["coco"](tmp_path / "in"))
    assert done.code == 0
    assert done.report["names"] == ["person", "dog", "toothbrush"], "by sorted id"
    assert list(done.report["splits"]) == ["train2017", "val2017"]
    assert done.boxes("train2017/000000000000.jpg") == [
        (1, 10.25, 20.5, 40.375, 60.5625),
        (2, 1, 1, 6, 6),
    ]
    line = done.side("train2017")["000000000000.jpg"]
    assert line["boxes"] == [{"area": 7.5}, {"area": 7.5}]
    assert line["ignore"] == [{"class": 0, "xyxy": [0, 0, 90, 70], "reason": "crowd"}]
    assert done.report["splits"]["val2017"]["background"] == 2
    assert (done.dest / "labels" / "val2017" / "000000000102.txt").read_text() == ""
    assert [f["reason"] for f in done.told("no-area")] == [
        "annotations[3] dropped: no area, (50, 50, 50, 60)"
    ] * 2


def test_coco_names_that_differ_in_their_folder_alone(native, convert, tmp_path: Path) -> None:
    images = [
        {"id": n, "file_name": f"images/cam{n}/frame.jpg", "width": 100, "height": 80}
        for n in (1, 2)
    ]
    for number in (1, 2):
        native.picture(tmp_path / "in" / "images" / f"cam{number}" / "frame.jpg", shade=50 * number)
    boxes = [{"image_id": n, "category_id": 1, "bbox": [n, n, 9, 9]} for n in (1, 2)]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "a"}]}
    native.write(tmp_path / "in" / "valid" / "_annotations.coco.json", json.dumps(content))
    done = convert("coco", tmp_path / "in")
    names = [path.name for path in sorted((done.dest / "images" / "val").iterdir())]
    assert names == ["images_cam1_frame.jpg", "images_cam2_frame.jpg"]
    assert done.boxes(f"val/{names[1]}") == [(0, 2, 2, 11, 11)]
    assert Path(os.readlink(done.dest / "images" / "val" / names[1])).parent.name == "cam2"


@pytest.mark.parametrize("name", ALL)
def test_labels_follow_ultralytics_own_rules(native, convert, tmp_path: Path, name: str) -> None:
    from ultralytics.data.utils import img2label_paths, verify_image_label

    done = convert(name, native.make[name](tmp_path / "in"), "--images", "copy")
    classes = len(done.report["names"])
    images = [str(path) for path in sorted((done.dest / "images").rglob("*.*"))]
    assert len(images) == sum(count["images"] for count in done.report["splits"].values())
    for image, label in zip(images, img2label_paths(images)):
        assert Path(label).is_file(), (
            "an image without a label file becomes a background in silence"
        )
        _, rows, *_, corrupt, message = verify_image_label(
            (image, label, "", False, classes, 0, 0, False)
        )
        assert (corrupt, message) == (0, "")
        assert len(rows) == len(Path(label).read_text().splitlines())


@pytest.mark.parametrize("name", ALL)
def test_data_yaml_and_side_files(native, convert, tmp_path: Path, name: str) -> None:
    from scsa_yolo.datasets.layout.side import read_side

    done = convert(name, native.make[name](tmp_path / "in"))
    data = yaml.safe_load(done.yaml.read_text())
    assert list(data["names"].values()) == done.report["names"]
    for role in ("train", "val"):
        assert all((done.dest / folder).is_dir() for folder in data[role])
    for split, count in done.report["splits"].items():
        side = read_side(done.dest / "side" / f"{split}.jsonl", len(data["names"]))
        assert (side.dataset, side.split) == (name, split)
        assert len(side.images) == count["images"]
        for image, line in side.images.items():
            rows = (
                (done.dest / image.replace("images/", "labels/"))
                .with_suffix(".txt")
                .read_text()
                .splitlines()
            )
            assert len(line.boxes) in (0, len(rows))
    assert "train on it: yolo train" in done.out


@pytest.mark.parametrize("name", ALL)
def test_source_is_left_alone_and_dest_is_not_touched_twice(
    native, convert, tmp_path: Path, name: str
) -> None:
    source = native.make[name](tmp_path / "in")
    before = native.tree(source)
    first = convert(name, source)
    made = native.tree(first.dest)
    assert native.tree(source) == before
    again = convert(name, source)
    assert again.code == 0
    assert "left as it is" in again.out
    assert native.tree(again.dest) == made
    other = convert(name, source, "--images", "copy")
    assert other.code == 2
    assert "--force replaces it" in other.err
    assert native.tree(other.dest) == made
    forced = convert(name, source, "--images", "copy", "--force")
    assert forced.code == 0
    assert not [path for path in forced.dest.rglob("*") if path.is_symlink()]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "in",
        "out",
    ], "something was left beside DEST"


@pytest.mark.parametrize("mode", ["link", "copy", "hardlink"])
def test_images_as_asked(native, convert, tmp_path: Path, mode: str) -> None:
    source = native.make["coco"](tmp_path / "in")
    done = convert("coco", source, "--images", mode)
    image = done.dest / "images" / "train2017" / "000000000000.jpg"
    original = source / "images" / "train2017" / image.name
    assert image.is_symlink() == (mode == "link")
    assert (image.stat().st_ino == original.stat().st_ino) == (mode != "copy")
    assert image.read_bytes() == original.read_bytes()


@pytest.mark.parametrize("mode", ["link", "hardlink"])
def test_links_that_cannot_be_made_become_copies(
    native, convert, tmp_path: Path, monkeypatch, mode: str
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    done = convert("coco", native.make["coco"](tmp_path / "in"), "--images", mode)
    assert done.code == 0
    assert "images are copied: links are not possible here (Operation not permitted)" in done.out
    assert not (done.dest / "images" / "train2017" / "000000000000.jpg").is_symlink()


def test_paint_ignored(native, convert, tmp_path: Path) -> None:
    root = tmp_path / "in" / "VisDrone2019-DET-val"
    native.picture(root / "images" / "a.jpg", (128, 96), shade=250)
    native.picture(root / "images" / "b.jpg", (128, 96))
    native.write(root / "annotations" / "a.txt", "64,0,64,96,0,0,0,0\n80,16,16,16,1,4,0,0\n")
    native.write(root / "annotations" / "b.txt", "80,16,16,16,1,4,0,0\n")
    before = native.tree(tmp_path / "in")
    done = convert("visdrone", tmp_path / "in", "--paint-ignored")
    folder = done.dest / "images" / "val"
    assert (folder / "b.jpg").is_symlink()
    assert not (folder / "a.jpg").is_symlink()
    with Image.open(folder / "a.jpg") as image, Image.open(root / "images" / "a.jpg") as original:
        near = {place: image.getpixel(place) for place in ((20, 50), (100, 70), (88, 24))}
        old = original.getpixel((20, 50))
    assert max(abs(a - b) for a, b in zip(near[100, 70], (114, 114, 114))) < 8
    assert max(abs(a - b) for a, b in zip(near[20, 50], old)) < 8
    assert max(abs(a - b) for a, b in zip(near[88, 24], old)) < 12, (
        "a scored box inside a region stays visible"
    )
    assert native.tree(tmp_path / "in") == before


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("form", ["zip", "tar.gz", "folder"])
def test_archives(native, convert, tmp_path: Path, name: str, form: str) -> None:
    plain = native.make[name](tmp_path / "in")
    suffix = "zip" if form == "folder" else form
    archive = tmp_path / "archives" / f"set.{suffix}"
    archive.parent.mkdir()
    files = [path for path in plain.rglob("*") if path.is_file()]
    if suffix == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            for path in files:
                file.write(path, path.relative_to(plain))
    else:
        with tarfile.open(archive, "w:gz") as file:
            for path in files:
                file.add(path, path.relative_to(plain))
    before = native.tree(archive.parent)
    done = convert(name, archive.parent if form == "folder" else archive, dest="unpacked")
    straight = convert(name, plain, "--images", "copy", dest="straight")
    assert native.tree(archive.parent) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "archives",
        "in",
        "straight",
        "unpacked",
    ]
    same, other = native.tree(done.dest), native.tree(straight.dest)
    for report in ("conversion.json", "conversion.jsonl"):
        same.pop(report), other.pop(report)
    assert same == other
    assert all(
        finding["file"].startswith("set.")
        for finding in done.findings
        if finding["code"] == "no-area"
    )


def test_a_tar_cannot_write_outside(native, convert, tmp_path: Path) -> None:
    native.make["coco"](tmp_path / "in")
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as file:
        file.add(tmp_path / "in", "../escaped")
    done = convert("coco", archive)
    assert done.code == 2
    assert "not a readable archive" in done.err
    assert not (tmp_path.parent / "escaped").exists()


def test_junk_of_archivers_is_passed_over(native, convert, tmp_path: Path) -> None:
    source = native.make["exdark"](tmp_path / "in")
    native.write(
        source / "__MACOSX" / "ExDark_Annno" / "Bicycle" / "._2015_1.jpg.txt", b"\0\5\26\7"
    )
    native.write(source / "ExDark" / "Bicycle" / "._2015_1.jpg", b"\0\5\26\7")
    native.write(source / "ExDark" / "Bicycle" / "Thumbs.db", b"\0")
    assert not convert("exdark", source).report["findings"].get("error")


def test_folder_spellings_of_exdark(native, convert, tmp_path: Path) -> None:
    source = native.make["exdark"](tmp_path / "in")
    (source / "ExDark_Annno").rename(source / "Exdark_Anno")
    (source / "ExDark").rename(source / "swap")
    (source / "swap").rename(source / "ExDark_data")
    (source / "imageclasslist.txt").rename(source / "Exdark_Anno" / "ImageClassList.txt")
    done = convert("exdark", source)
    assert not done.report["findings"].get("error")
    assert done.report["splits"]["train"]["images"] == 3


def test_packaged_yamls_match_the_converters() -> None:
    import ultralytics

    folder = Path(__file__).parents[2] / "data"
    stock = {
        path.name.casefold()
        for path in (Path(ultralytics.__file__).parent / "cfg" / "datasets").glob("*.yaml")
    }
    names = {path.name for path in folder.glob("*.yaml")}
    assert {"COCO-scsa.yaml", "VOC-scsa.yaml", "VisDrone-scsa.yaml", "ExDark.yaml"} <= names
    assert not stock & {name.casefold() for name in names}
    readers = {
        "VisDrone-scsa": "visdrone",
        "ExDark": "exdark",
        "FLIR-ADAS-v2": "flir",
        "FLIR-ADAS-v2-rgb": "flir",
    }
    for stem, reader in readers.items():
        text = (folder / f"{stem}.yaml").read_text(encoding="utf-8")
        data = yaml.safe_load(text)
        assert tuple(data["names"].values()) == READERS[reader].NAMES
        assert data["path"] == stem
        assert "download" not in data
        assert f"scsa-yolo data convert {reader}" in text
        assert [data[split] for split in ("train", "val", "test")] == [
            "images/train",
            "images/val",
            "images/test",
        ]


def test_options_that_a_set_has_no_use_for() -> None:
    with pytest.raises(
        UsageError, match="coco has no use for --pixels; it takes annotations, classes, ignore"
    ):
        Options(pixels="edges").check("coco", READERS["coco"].OPTIONS)


def test_importing_the_command_is_light(run_python) -> None:
    heavy = ("torch", "PIL", "cv2", "numpy")
    code = (
        f"import sys, scsa_yolo.datasets.convert.command; print([m for m in {heavy} if m in"
        " sys.modules])"
    )
    assert run_python(code).text.strip() == "[]"
