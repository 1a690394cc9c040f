"""Bad input: one clear line each, with file and line; never a traceback, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from scsa_yolo.datasets.convert import writer
from scsa_yolo.datasets.native.records import Finding


def spoil(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


V = "VisDrone2019-DET-train"
VOC = "VOCdevkit/VOC2007"
TRAIN = "annotations/instances_train2017.json"

# set, what is done to the source, code of the finding, part of its line
CASES: dict[str, tuple[str, Callable[[Path], object], str, str]] = {
    "empty annotation": (
        "visdrone",
        lambda r: (r / V / "annotations/0001.txt").write_bytes(b" \n"),
        "bad-file",
        f"{V}/annotations/0001.txt: left out, with its image: the file is empty",
    ),
    "binary annotation": (
        "visdrone",
        lambda r: (r / V / "annotations/0001.txt").write_bytes(b"1,2,3,4\n\0\xff"),
        "bad-file",
        f"{V}/annotations/0001.txt:2: left out, with its image: the file is binary, not text",
    ),
    "bytes that are no text": (
        "exdark",
        lambda r: (r / "ExDark_Annno/Bicycle/2015_1.jpg.txt").write_bytes(b"% bbGt\n\xff\xfe 1 2 3 4"),
        "bad-file",
        "2015_1.jpg.txt:2: left out, with its image: not text (byte 0xff)",
    ),
    "too few fields": (
        "visdrone",
        lambda r: spoil(r / V / "annotations/0001.txt", b"50,10,5,6,1,1,1,2", b"50,10,5"),
        "bad-row",
        f"{V}/annotations/0001.txt:2: row dropped: 3 fields, not 8",
    ),
    "no number": (
        "visdrone",
        lambda r: spoil(r / V / "annotations/0001.txt", b"50,10", b"50,x1"),
        "bad-row",
        f"{V}/annotations/0001.txt:2: row dropped: field 2 is no number: 'x1'",
    ),
    "unknown category": (
        "visdrone",
        lambda r: spoil(r / V / "annotations/0001.txt", b"1,1,1,2", b"1,77,1,2"),
        "bad-row",
        "unknown category 77; there are 0 to 11",
    ),
    "unknown class": (
        "exdark",
        lambda r: spoil(r / "ExDark_Annno/Bicycle/2015_1.jpg.txt", b"People", b"Zebra"),
        "bad-row",
        "ExDark_Annno/Bicycle/2015_1.jpg.txt:3: row dropped: unknown class 'Zebra'",
    ),
    "unknown flir class": (
        "flir",
        lambda r: spoil(r / "images_thermal_train/coco.json", b'"dog"', b'"face"'),
        "unknown-class",
        "images_thermal_train/coco.json: annotations[0] dropped: class 'face' is unknown",
    ),
    "unknown category id": (
        "coco",
        lambda r: spoil(r / TRAIN, b'"category_id": 18', b'"category_id": 19'),
        "unknown-class",
        f"{TRAIN}: annotations[0] dropped: category 19 is unknown",
    ),
    "JSON cut short": (
        "coco",
        lambda r: cut(r / TRAIN),
        "bad-file",
        f"{TRAIN}: left out, the whole split: not valid JSON: it is cut short",
    ),
    "JSON row": (
        "coco",
        lambda r: spoil(r / TRAIN, b"[10.25, 20.5, 30.125, 40.0625]", b'[10.25, "a"]'),
        "bad-row",
        f"{TRAIN}: annotations[0] dropped: bbox must be [x, y, width, height], got [10.25, 'a']",
    ),
    "annotation of no image": (
        "coco",
        lambda r: spoil(r / TRAIN, b'"image_id": 1,', b'"image_id": 55,'),
        "no-such-image",
        f"{TRAIN}: annotations[3] dropped: there is no image with id 55",
    ),
    "XML cut short": ("voc", lambda r: cut(r / VOC / "Annotations/000001.xml"), "bad-file", "000001.xml: left out"),
    "XML field": (
        "voc",
        lambda r: spoil(r / VOC / "Annotations/000001.xml", b"<xmax>100", b"<xmax>?"),
        "bad-row",
        f"{VOC}/Annotations/000001.xml:3: object dropped: xmax is no number: '?'",
    ),
    "list entry without image": (
        "voc",
        lambda r: (r / VOC / "JPEGImages/000002.jpg").unlink(),
        "no-image",
        f"{VOC}/ImageSets/Main/train.txt:2: 000002 left out: there is no image for it",
    ),
    "in two lists": (
        "voc",
        lambda r: (r / VOC / "ImageSets/Main/val.txt").write_text("000003\n000001\n"),
        "listed-twice",
        f"{VOC}/ImageSets/Main/val.txt:2: 000001 left out: it is in train2007 already",
    ),
    "no image": (
        "visdrone",
        lambda r: (r / V / "images/0001.jpg").unlink(),
        "no-image",
        f"{V}/annotations/0001.txt: left out: there is no image for it",
    ),
    "no annotation": (
        "visdrone",
        lambda r: (r / V / "annotations/0001.txt").unlink(),
        "no-annotation",
        f"{V}/images/0001.jpg: left out: there is no annotation for it",
    ),
    "image that is none": (
        "visdrone",
        lambda r: (r / V / "images/0001.jpg").write_bytes(b"<html>quota exceeded</html>"),
        "bad-image",
        f"{V}/images/0001.jpg: left out: not an image, or one that cannot be decoded",
    ),
    "empty image": (
        "visdrone",
        lambda r: (r / V / "images/0001.jpg").write_bytes(b""),
        "bad-image",
        f"{V}/images/0001.jpg: left out: ",
    ),
    "image cut short": (
        "visdrone",
        lambda r: cut(r / V / "images/0001.jpg"),
        "bad-image",
        f"{V}/images/0001.jpg: left out: ",
    ),
    "two images of one name": (
        "exdark",
        lambda r: shutil.copy(r / "ExDark/Bicycle/2015_2.png", r / "ExDark/Bicycle/2015_1.png"),
        "two-images-of-one-name",
        "2015_1.png: left out: it would share the label file of ExDark/Bicycle/2015_1.jpg",
    ),
    "not in the list": (
        "exdark",
        lambda r: spoil(r / "imageclasslist.txt", b"2015_1.jpg 1 1", b"2015_1.jpg 1 99"),
        "bad-row",
        "imageclasslist.txt:2: row dropped: light must be 1 to 10, got '99'",
    ),
    "no such folder of a split": (
        "flir",
        lambda r: shutil.rmtree(r / "images_thermal_train/data"),
        "no-image",
        "images_thermal_train/coco.json: data/video-t-frame-000000-x.jpg left out: there is no such image",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_reported_and_the_rest_converted(native, convert, tmp_path: Path, case: str) -> None:
    name, damage, code, line = CASES[case]
    source = native.make[name](tmp_path / "in")
    whole = convert(name, source, dest="whole").report["splits"]
    damage(source)
    before = native.tree(source)
    done = convert(name, source)
    assert done.code == (1 if case == "JSON cut short" else 0), "a whole split is no small loss"
    told = [str(Finding(**finding)) for finding in done.told(code)]
    assert any(line in text for text in told), told
    assert any(line in text for text in done.out.splitlines()), "not on the screen"
    lost = sum(count["images"] for count in whole.values()) - sum(
        c["images"] for c in done.report["splits"].values()
    )
    assert 0 <= lost <= 3
    assert native.tree(source) == before

    strict = convert(name, source, "--strict", dest="strict")
    assert strict.code == 1
    assert "stopped (--strict)" in strict.err
    assert not strict.dest.exists()


@pytest.mark.parametrize("name", ["visdrone", "exdark", "flir", "voc", "coco"])
def test_strict_takes_what_the_official_files_hold(
    native, convert, tmp_path: Path, name: str
) -> None:
    """Boxes without area, outside, ignored: flaws that are known are no reason to stop."""
    options = {"flir": ["--classes", "dog,other vehicle"]}.get(name, [])
    assert convert(name, native.make[name](tmp_path / "in"), "--strict", *options).code == 0


def usage(done, *parts: str) -> None:
    assert done.code == 2
    assert done.err.count("\n") == 1, done.err
    for part in parts:
        assert part in done.err
    assert not done.dest.exists()


def test_missing_source(convert, tmp_path: Path) -> None:
    usage(convert("voc", tmp_path / "nowhere"), "nowhere: no such file or folder")


@pytest.mark.parametrize("name", ["visdrone", "exdark", "flir", "voc", "coco"])
def test_wrong_data_set(native, convert, tmp_path: Path, name: str) -> None:
    other = "voc" if name != "voc" else "visdrone"
    usage(
        convert(name, native.make[other](tmp_path / "in")), "expected ", f"This looks like {other}"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["in"], "something was left beside DEST"


def test_empty_folder(convert, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("visdrone", "exdark", "flir", "voc", "coco"):
        usage(convert(name, tmp_path / "in"), "expected ")


def test_archives_that_are_none(native, convert, tmp_path: Path) -> None:
    native.write(tmp_path / "a.zip", b"<html>sign in</html>")
    usage(convert("visdrone", tmp_path / "a.zip"), "a.zip: not a readable archive")
    native.make["visdrone"](tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        file.write(tmp_path / "in" / V / "images/0001.jpg", "x/0001.jpg")
    usage(convert("visdrone", tmp_path / "b.zip"), "expected ")
    cut(tmp_path / "b.zip")
    usage(convert("visdrone", tmp_path / "b.zip"), "b.zip: not a readable archive")


def test_exdark_without_its_list(native, convert, tmp_path: Path) -> None:
    source = native.make["exdark"](tmp_path / "in")
    (source / "imageclasslist.txt").unlink()
    usage(convert("exdark", source), "no imageclasslist.txt, which holds splits and lighting")


def test_dest_that_is_not_ours(native, convert, tmp_path: Path) -> None:
    source = native.make["coco"](tmp_path / "in")
    native.write(tmp_path / "out" / "thesis.tex", "precious")
    for force in ([], ["--force"]):
        done = convert("coco", source, *force)
        assert (done.code, "not a finished conversion" in done.err) == (2, True)
    assert (tmp_path / "out" / "thesis.tex").read_text() == "precious"
    native.write(tmp_path / ".new.part" / "thesis.tex", "precious")
    assert "is not left by a conversion" in convert("coco", source, dest="new").err
    assert (tmp_path / ".new.part" / "thesis.tex").read_text() == "precious"


@pytest.mark.parametrize("dest", ["in", "in/annotations/out", "."])
def test_dest_and_source_in_each_other(native, convert, tmp_path: Path, dest: str) -> None:
    source = native.make["coco"](tmp_path / "in")
    before = native.tree(source)
    done = convert("coco", source, dest=dest)
    assert (done.code, "must not lie in each other" in done.err) == (2, True)
    assert native.tree(source) == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--classes", "dog,dog"], "classes holds 'dog' twice"),
        (["--classes", "dog", "--ignore", "dog"], "both in classes and in ignore"),
        (
            ["--classes", "unicorn"],
            "'unicorn' is not among the categories: person, dog, toothbrush",
        ),
        (["--spectrum", "rgb"], "coco has no use for --spectrum"),
        (["--annotations", "none.json"], "no annotation file none.json"),
        (["--workers", "0"], "--workers must be at least 1"),
    ],
)
def test_options_that_make_no_sense(
    native, convert, tmp_path: Path, options: list[str], reason: str
) -> None:
    usage(convert("coco", native.make["coco"](tmp_path / "in"), *options), reason)


def test_json_files_of_one_split(native, convert, tmp_path: Path) -> None:
    source = native.make["coco"](tmp_path / "in")
    shutil.copy(source / TRAIN, source / "instances_train2017.json")
    usage(convert("coco", source), "are both split train2017; choose with --annotations")
    done = convert("coco", source, "--annotations", TRAIN)
    assert list(done.report["splits"]) == ["train2017"]


def test_category_ids_that_mean_two_things(native, convert, tmp_path: Path) -> None:
    source = native.make["coco"](tmp_path / "in")
    spoil(source / TRAIN, b'"dog"', b'"cat"')
    usage(convert("coco", source), "category 18 is", "elsewhere")


def test_jpeg_without_end_marker_is_not_linked(native, convert, tmp_path: Path) -> None:
    """Ultralytics re-saves such a file where it lies, through a link: in SOURCE."""
    source = native.make["visdrone"](tmp_path / "in")
    image = source / V / "images/0001.jpg"
    image.write_bytes(image.read_bytes() + b"camera's padding")
    done = convert("visdrone", source)
    assert len(done.told("copied")) == 1
    assert not (done.dest / "images/train/0001.jpg").is_symlink()
    assert (done.dest / "images/train/0002.jpg").is_symlink()


def test_size_that_is_not_the_images(native, convert, tmp_path: Path) -> None:
    source = native.make["voc"](tmp_path / "in")
    spoil(source / VOC / "Annotations/000001.xml", b"<width>100", b"<width>50")
    done = convert("voc", source)
    assert done.told("other-size")[0]["reason"] == (
        "50x80 px are stated, the image has 100x80: boxes left as they are, the file's size alone"
        " holds all of its boxes"
    )
    assert done.boxes("train2007/000001.jpg") == [(2, 0, 0, 100, 80)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("where", ["image", "label", "report"])
def test_full_disk_and_no_permission(
    native, convert, tmp_path: Path, monkeypatch, number: int, where: str
) -> None:
    source = native.make["coco"](tmp_path / "in")
    undisturbed = convert("coco", source, "--images", "copy", dest="whole")

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        if where == "image":
            patch.setattr(writer.shutil, "copyfile", refuse)
        elif where == "label":
            real = Path.write_text
            patch.setattr(
                Path,
                "write_text",
                lambda p, *a, **k: refuse() if p.suffix == ".txt" else real(p, *a, **k),
            )
        else:
            keep = writer.Work.write_json
            patch.setattr(
                writer.Work,
                "write_json",
                lambda w, c: refuse() if c["state"] == "complete" else keep(w, c),
            )
        done = convert("coco", source, "--images", "copy")
        assert done.code == 1
        assert f"{os.strerror(number)}. Nothing is lost: the same command goes on" in done.err
        assert done.err.count("\n") == 1
        assert not done.dest.exists()
    after = convert("coco", source, "--images", "copy")
    assert after.code == 0
    assert native.tree(after.dest) == native.tree(undisturbed.dest)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_annotation_without_permission(native, convert, tmp_path: Path) -> None:
    source = native.make["visdrone"](tmp_path / "in")
    (source / V / "annotations/0001.txt").chmod(0)
    done = convert("visdrone", source)
    assert "Permission denied" in done.told("bad-file")[0]["reason"]


def test_unreadable_annotation(native, convert, tmp_path: Path) -> None:
    """As without permission, which root cannot be refused: a folder in the file's place."""
    source = native.make["visdrone"](tmp_path / "in")
    file = source / V / "annotations/0001.txt"
    file.unlink()
    file.mkdir()
    done = convert("visdrone", source)
    assert done.told("bad-file")[0]["file"].endswith("0001.txt")
    assert "Is a directory" in done.told("bad-file")[0]["reason"]


def test_many_findings_are_counted_on_the_screen_and_listed_in_the_file(
    native, convert, tmp_path: Path
) -> None:
    source = native.make["visdrone"](tmp_path / "in")
    for number in range(30):
        native.write(source / V / "annotations" / f"x{number}.txt", "1,2,3,4,1,1,0,0\n")
    done = convert("visdrone", source, "--show", "3")
    assert "... and 27 more" in done.out
    assert len(done.told("no-image")) == 30
    assert json.loads((done.dest / "conversion.json").read_text())["findings"]["error"] == {
        "no-image": 30
    }
