"""Whose boxes are on which picture: never another's, never a mask, none twice."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def coco(
    images: dict[int | str, str], boxes: dict[int | str, list[float]] | None = None, **more: Any
) -> str:
    """A COCO JSON of images by id, with one box each, whose x is the id where it is a number."""
    boxes = boxes or {i: [i, 1, 9, 9] for i in images if isinstance(i, int)}
    return json.dumps(
        {
            "images": [
                {"id": i, "file_name": n, "width": 100, "height": 80} for i, n in images.items()
            ],
            "annotations": [
                {"image_id": i, "category_id": 1, "bbox": box} for i, box in boxes.items()
            ],
            "categories": [{"id": 1, "name": "a"}],
            **more,
        }
    )


def lefts(done) -> dict[str, list[float]]:
    """Left edges of the boxes of each picture, by the file that it is."""
    found = {}
    for split in done.report["splits"]:
        for image in (done.dest / "images" / split).iterdir():
            boxes = done.boxes(f"{split}/{image.name}")
            found["/".join(Path(os.path.realpath(image)).parts[-2:])] = [box[1] for box in boxes]
    return found


@pytest.mark.parametrize(
    ("names", "there", "want"),
    [
        # the other camera's picture is missing, and its boxes lie on none
        (
            {1: "cam1/0001.jpg", 2: "cam2/0001.jpg"},
            ["cam1/0001.jpg"],
            {"cam1/0001.jpg": [1]},
        ),
        (
            {2: "cam2/0001.jpg", 1: "cam1/0001.jpg"},
            ["images/cam1/0001.jpg"],
            {"cam1/0001.jpg": [1]},
        ),
        # a folder of the source that no entry names is another folder too
        ({2: "cam2/0001.jpg", 3: "cam2/0003.jpg"}, ["cam1/0001.jpg", "cam2/0003.jpg"], {"cam2/0003.jpg": [3]}),
        # both spellings are there, and each entry has its own
        (
            {1: "DSC_01.jpg", 2: "DSC_01.JPG"},
            ["images/DSC_01.JPG", "images/DSC_01.jpg"],
            {"images/DSC_01.jpg": [1], "images/DSC_01.JPG": [2]},
        ),
        # only the other spelling is there, and it is listed itself
        ({1: "a.jpg", 2: "a.JPG"}, ["images/a.JPG"], {"images/a.JPG": [2]}),
        # one picture with two entries has the boxes of both
        ({1: "a.jpg", 5: "a.jpg"}, ["images/a.jpg"], {"images/a.jpg": [1, 5]}),
        ({1: "./x/a.jpg", 5: "x\\a.jpg"}, ["x/a.jpg"], {"x/a.jpg": [1, 5]}),
        # two names for one file: the exact one has it
        ({1: "a.jpg", 5: "x/a.jpg"}, ["x/a.jpg"], {"x/a.jpg": [5]}),
        # folders that were moved as a whole, and a path of somebody's computer
        ({1: "C:\\data\\images\\a.jpg"}, ["images/a.jpg"], {"images/a.jpg": [1]}),
        # a mask is no photograph
        ({1: "a.png", 2: "b.png"}, ["masks/a.png", "images/b.png"], {"images/b.png": [2]}),
        ({1: "a.png"}, ["masks/a.png", "images/a.png"], {"images/a.png": [1]}),
    ],
)  # fmt: skip
def test_entries_of_a_json(native, convert, tmp_path: Path, names, there, want) -> None:
    for number, name in enumerate(there):
        native.picture(tmp_path / "in" / name, shade=20 + number)
    native.write(tmp_path / "in" / "annotations" / "train.json", coco(names))
    done = convert("coco", tmp_path / "in")
    assert lefts(done) == want


def test_a_picture_of_train_is_not_that_of_val(native, convert, tmp_path: Path) -> None:
    native.picture(tmp_path / "in" / "images" / "train" / "0001.jpg")
    native.picture(tmp_path / "in" / "images" / "val" / "0002.jpg")
    native.write(tmp_path / "in" / "annotations" / "train.json", coco({1: "0001.jpg"}))
    native.write(tmp_path / "in" / "annotations" / "val.json", coco({7: "0001.jpg", 2: "0002.jpg"}))
    done = convert("coco", tmp_path / "in")
    assert lefts(done) == {"train/0001.jpg": [1], "val/0002.jpg": [2]}
    assert "(images/train/0001.jpg is of split train)" in done.told("no-image")[0]["reason"]
    assert done.report["balance"]["rows"]["val"]["a"]["dropped"] == {"no-image": 1}


@pytest.mark.parametrize("name", ["0001.jpg", "val/0001.jpg", "images/val/0001.jpg"])
def test_val_alone_does_not_take_trains_pictures(native, convert, tmp_path, name: str) -> None:
    native.picture(tmp_path / "in" / "images" / "train" / "0001.jpg")
    native.picture(tmp_path / "in" / "images" / "val" / "0002.jpg")
    names = {7: name, 2: name.replace("0001", "0002")}
    native.write(tmp_path / "in" / "val.json", coco(names))
    done = convert("coco", tmp_path / "in")
    assert lefts(done) == {"val/0002.jpg": [2]}


def test_a_picture_in_two_lists_is_used_once(native, convert, tmp_path: Path) -> None:
    native.picture(tmp_path / "in" / "images" / "a.jpg")
    native.picture(tmp_path / "in" / "images" / "b.jpg", shade=9)
    native.write(tmp_path / "in" / "train.json", coco({1: "a.jpg", 2: "b.jpg"}))
    native.write(tmp_path / "in" / "val.json", coco({3: "a.jpg"}))
    done = convert("coco", tmp_path / "in")
    assert list(done.report["splits"]) == ["train"]
    assert "is used by a.jpg" in done.told("no-image")[0]["reason"]


def test_two_pictures_of_a_name_are_not_chosen_from(native, convert, tmp_path: Path) -> None:
    for camera in ("left", "right"):
        native.picture(tmp_path / "in" / camera / "a.jpg")
    native.picture(tmp_path / "in" / "left" / "b.jpg", shade=3)
    native.write(tmp_path / "in" / "annotations" / "train.json", coco({1: "a.jpg", 2: "b.jpg"}))
    done = convert("coco", tmp_path / "in")
    assert lefts(done) == {"left/b.jpg": [2]}
    assert "which image is it? There are left/a.jpg and right/a.jpg" in done.out


def test_other_case_is_a_guess(native, convert, tmp_path: Path) -> None:
    native.picture(tmp_path / "in" / "images" / "a.JPG")
    native.write(tmp_path / "in" / "train.json", coco({1: "a.jpg"}))
    done = convert("coco", tmp_path / "in", dest="free")
    assert lefts(done) == {"images/a.JPG": [1]}
    assert len(done.told("other-case")) == 1
    assert "GUESSED" in done.out
    strict = convert("coco", tmp_path / "in", "--strict")
    assert (strict.code, strict.dest.exists()) == (1, False)


def test_sizes_of_two_entries_that_differ(native, convert, tmp_path: Path) -> None:
    native.picture(tmp_path / "in" / "a.jpg")
    native.picture(tmp_path / "in" / "b.jpg", shade=3)
    content = json.loads(coco({1: "a.jpg", 2: "a.jpg", 3: "b.jpg"}))
    content["images"][1]["width"] = 200
    native.write(tmp_path / "in" / "train.json", json.dumps(content))
    done = convert("coco", tmp_path / "in")
    assert list(lefts(done).values()) == [[3]]
    assert "its entries state the sizes 100x80 and 200x80" in done.out


def sheet(native, left: int, filename: str = "", folder: str = "") -> str:
    text = native.voc_xml(native.voc_object("a", (left + 1, 2, 30, 30)))
    about = f"<filename>{filename}</filename>" * bool(filename)
    about += f"<folder>{folder}</folder>" * bool(folder)
    return text.replace("<annotation>", f"<annotation>{about}")


# files of the source, by path: None for a picture, else left edge, <filename> and <folder>
VOC: dict[str, tuple[dict[str, Any], dict[str, list[float]]]] = {
    "masks of the same stem": (
        {
            "annotations/xmls/a.xml": (1,),
            "annotations/trimaps/a.png": None,
            "images/a.jpg": None,
        },
        {"images/a.jpg": [1]},
    ),
    "masks alone are no pictures": (
        {"Annotations/a.xml": (1,), "trimaps/a.png": None, "Annotations/b.xml": (2,), "images/b.png": None},
        {"images/b.png": [2]},
    ),
    "segmentation of VOC": (
        {"Annotations/a.xml": (1,), "SegmentationClass/a.png": None, "JPEGImages/a.jpg": None},
        {"JPEGImages/a.jpg": [1]},
    ),
    "folders that are not the same": (
        {"Annotations/a_b/001.xml": (1,), "images/a/001.jpg": None, "Annotations/c/001.xml": (2,), "images/c/001.jpg": None},
        {"c/001.jpg": [2]},
    ),
    "folder above all": (
        {"a_b/001.xml": (1,), "images/a/001.jpg": None, "b/002.xml": (2,), "b/002.jpg": None},
        {"b/002.jpg": [2]},
    ),
    "folders that are the same": (
        {"Annotations/a/001.xml": (1,), "images/a/001.jpg": None, "Annotations/b/001.xml": (2,), "images/b/001.jpg": None},
        {"a/001.jpg": [1], "b/001.jpg": [2]},
    ),
    "the file name comes before the stem": (
        {"Annotations/1.xml": (1, "x.jpg"), "images/x.jpg": None, "images/1.png": None},
        {"images/x.jpg": [1]},
    ),
    "the suffix of the file name": (
        {"Annotations/1.xml": (1, "1.png"), "images/1.jpg": None, "images/1.png": None},
        {"images/1.png": [1]},
    ),
    "a file name copied from another sheet": (
        {"Annotations/1.xml": (1, "2.jpg"), "Annotations/2.xml": (2, "2.jpg"), "images/1.jpg": None, "images/2.jpg": None},
        {"images/1.jpg": [1], "images/2.jpg": [2]},
    ),
    "a file name that is nowhere": (
        {"Annotations/1.xml": (1, "lost.jpg"), "images/1.jpg": None},
        {"images/1.jpg": [1]},
    ),
    "the image's suffix in the sheet's name": (
        {"Annotations/a0.jpg.xml": (1,), "images/a0.jpg": None},
        {"images/a0.jpg": [1]},
    ),
    "the folder that is stated": (
        {"Annotations/1.xml": (1, "1.jpg", "b"), "images/a/1.jpg": None, "images/b/1.jpg": None},
        {"b/1.jpg": [1]},
    ),
    "which of two cannot be known": (
        {"Annotations/1.xml": (1,), "images/a/1.jpg": None, "images/b/1.jpg": None, "Annotations/2.xml": (2,), "images/a/2.jpg": None},
        {"a/2.jpg": [2]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", VOC)
def test_sheets_of_voc(native, convert, tmp_path: Path, case: str) -> None:
    files, want = VOC[case]
    for number, (name, about) in enumerate(files.items()):
        if about is None:
            native.picture(tmp_path / "in" / name, shade=20 + number)
        else:
            native.write(tmp_path / "in" / name, sheet(native, *about))
    done = convert("voc", tmp_path / "in")
    assert lefts(done) == want
    rows = sum(len(boxes) for boxes in want.values())
    assert sum(count["boxes"] for count in done.report["splits"].values()) == rows


def test_a_guess_of_voc_is_refused_by_strict(native, convert, tmp_path: Path) -> None:
    native.picture(tmp_path / "in" / "train" / "1.jpg")
    native.write(tmp_path / "in" / "train" / "1.xml", sheet(native, 1, "lost.jpg"))
    done = convert("voc", tmp_path / "in", "--strict")
    assert done.code == 1
    assert "<filename> says lost.jpg: taken for train/1.jpg, by the sheet's name" in done.err


@pytest.mark.parametrize(
    "layout",
    [
        ("images/{split}/{name}.jpg", "Annotations/{name}.xml"),
        ("{split}/images/{name}.jpg", "annotations/{name}.xml"),
        ("{split}_images/{name}.jpg", "annots/{name}.xml"),
        ("JPEGImages/{name}.jpg", "{split}/Annotations/{name}.xml"),
        ("images/{split}/{name}.jpg", "xml/{split}/{name}.xml"),
        ("{split}/{name}.jpg", "{split}/{name}.xml"),
        ("images/{split}2012/{name}.jpg", "Annotations/{name}.xml"),
    ],
)
def test_the_owners_split_is_kept(native, convert, tmp_path: Path, layout) -> None:
    for number, split in enumerate(("train", "train", "val", "test")):
        for pattern in layout:
            path = tmp_path / "in" / pattern.format(split=split, name=f"p{number}")
            if path.suffix == ".jpg":
                native.picture(path, shade=number)
            else:
                native.write(path, sheet(native, number))
    done = convert("voc", tmp_path / "in", "--strict")
    assert done.code == 0, done.err
    counts = {split: count["images"] for split, count in done.report["splits"].items()}
    assert counts == {"train": 2, "val": 1, "test": 1}


@pytest.mark.parametrize("place", ["ImageSets/Main", "ImageSets", "annotations", "splits", "."])
@pytest.mark.parametrize(
    "entry", ["{}", "{}.jpg", "{}.xml", "sub/{}", "JPEGImages/{}.jpg", "{} 1 1 2", "{} -1"]
)
def test_lists_of_many_spellings(native, convert, tmp_path: Path, place: str, entry: str) -> None:
    root = tmp_path / "in"
    folder = "sub/" if entry.startswith("sub/") else ""
    for name in ("a0", "a1", "a2"):
        native.picture(root / "JPEGImages" / f"{folder}{name}.jpg", shade=ord(name[1]))
        native.write(root / "annotations" / f"{folder}{name}.xml", sheet(native, 3))
    native.write(root / place / "train.txt", "".join(f"{entry.format(n)}\n" for n in ("a0", "a1")))
    native.write(root / place / "val.txt", f"{entry.format('a2')}\n")
    done = convert("voc", root)
    assert done.code == 0, done.err
    assert {s: c["images"] for s, c in done.report["splits"].items()} == {"train": 2, "val": 1}
    assert not done.report["findings"].get("error")


def test_why_nothing_was_found(native, convert, tmp_path: Path) -> None:
    native.write(tmp_path / "in" / "Annotations" / "a.xml", sheet(native, 1, "b.jpg"))
    native.picture(tmp_path / "in" / "images" / "c.jpg")
    done = convert("voc", tmp_path / "in")
    assert done.code == 2
    assert "the first reason: Annotations/a.xml: left out: there is no image for it" in done.err


def test_exact_case_in_visdrone(native, convert, tmp_path: Path) -> None:
    root = tmp_path / "in" / "VisDrone2019-DET-train"
    for name in ("B.jpg", "b.jpg"):
        native.picture(root / "images" / name, shade=ord(name[0]))
    native.write(root / "annotations" / "b.txt", "5,6,7,8,1,4,0,0\n")
    done = convert("visdrone", tmp_path / "in")
    assert [
        os.path.basename(os.path.realpath(p)) for p in (done.dest / "images/train").iterdir()
    ] == ["b.jpg"]


@pytest.mark.parametrize("suffix", [".heic", ".HEIC", ".avif", ".gif", ".jp2"])
@pytest.mark.parametrize("name", ["voc", "coco", "visdrone"])
def test_formats_that_cannot_be_converted(
    native, convert, tmp_path: Path, name: str, suffix: str
) -> None:
    root = tmp_path / "in" / "VisDrone2019-DET-train"
    native.write(root / "images" / f"a{suffix}", b"\0")
    for stem in ("b", "c"):
        native.picture(root / "images" / f"{stem}.jpg", shade=ord(stem))
    for stem in ("a", "b", "c"):
        native.write(root / "annotations" / f"{stem}.txt", "5,6,7,8,1,4,0,0\n")
        native.write(root / "annotations" / f"{stem}.xml", sheet(native, 1))
    names = {1: f"a{suffix}", 2: "b.jpg", 3: "c.jpg"}
    native.write(root / "annotations" / "train.json", coco(names))
    done = convert(name, tmp_path / "in")
    assert done.code == 0, done.err
    told = [f for f in done.told("no-image") if "save it as JPEG or PNG first" in f["reason"]]
    assert len(told) == 1
    pictures = done.report["balance"]["pictures"]
    assert sum(c["left_out"].get("foreign-format", 0) for c in pictures.values()) == 1


@pytest.mark.parametrize("suffix", [".jfif", ".JPE", ".jif"])
def test_jpegs_by_another_name(native, convert, tmp_path: Path, suffix: str) -> None:
    native.picture(tmp_path / "in" / "train" / f"a{suffix}")
    native.write(tmp_path / "in" / "train" / "a.xml", sheet(native, 1))
    done = convert("voc", tmp_path / "in")
    assert [path.name for path in (done.dest / "images/train").iterdir()] == ["a.jpg"]


Archive = Callable[[Path, Path], Path]


def _backslashes(source: Path, target: Path) -> Path:
    with zipfile.ZipFile(target / "a.zip", "w") as file:
        for path in source.rglob("*.*"):
            # ZipInfo itself would turn them into slashes on Windows
            info = zipfile.ZipInfo("x")
            info.filename = str(path.relative_to(source)).replace("/", "\\")
            file.writestr(info, path.read_bytes())
    return target / "a.zip"


def _zip_in_zip(source: Path, target: Path) -> Path:
    with zipfile.ZipFile(target / "inner.zip", "w") as file:
        for path in source.rglob("*.*"):
            file.write(path, path.relative_to(source))
    with zipfile.ZipFile(target / "a.zip", "w") as file:
        file.write(target / "inner.zip", "data/inner.zip")
    (target / "inner.zip").unlink()
    return target / "a.zip"


@pytest.mark.parametrize("pack", [_backslashes, _zip_in_zip])
@pytest.mark.parametrize("name", ["visdrone", "voc", "coco", "exdark"])
def test_odd_archives(native, convert, tmp_path: Path, name: str, pack: Archive) -> None:
    source = native.make[name](tmp_path / "in")
    whole = convert(name, source, dest="whole").report["splits"]
    done = convert(name, pack(source, tmp_path))
    assert done.code == 0, done.err
    assert done.report["splits"] == whole
    assert not (tmp_path / ".out.part").exists()


def test_archives_further_down_are_named(native, convert, tmp_path: Path) -> None:
    native.write(tmp_path / "in" / "part" / "images.rar", b"Rar!")
    done = convert("visdrone", tmp_path / "in")
    assert "part/images.rar is an archive: unpack it" in done.err


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_bombs_are_not_unpacked(convert, tmp_path: Path, form: str) -> None:
    import io
    import tarfile

    size = 40 << 20
    archive = tmp_path / f"bomb.{form}"
    if form == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a.bmp", bytes(size))
    else:
        with tarfile.open(archive, "w:gz", compresslevel=6) as file:
            info = tarfile.TarInfo("a.bmp")
            info.size = size
            file.addfile(info, io.BytesIO(bytes(size)))
    done = convert("voc", archive)
    assert done.code == 2
    assert "over 200 times its size" in done.err
    assert not list(tmp_path.glob(".out*"))


def test_no_room_for_an_archive(native, convert, tmp_path: Path, monkeypatch) -> None:
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(0, 0, 65 << 20))
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.bmp", os.urandom(2 << 20))
    done = convert("voc", archive)
    assert done.code == 2
    assert "2.0 MiB or more to unpack, but" in done.err
    assert "has 65.0 MiB free, of which 64.0 MiB stay free" in done.err
