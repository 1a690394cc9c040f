"""The real samples in ../shared/data: counts known beforehand, and boxes against a second, naive
reading of the source.

VisDrone's and ExDark's samples lack most photographs. Blank stand-ins take their place, as large as
the boxes need.
"""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

Boxes = list[tuple[int, float, float, float, float]]


def stand_in(path: Path, boxes: list[tuple[float, ...]]) -> tuple[int, int]:
    """Draw a blank image that holds (left, top, width, height) boxes."""
    width = max([int(x + w) for x, _, w, _ in boxes] + [32])
    height = max([int(y + h) for _, y, _, h in boxes] + [32])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("1", (width, height)).save(path)
    return width, height


def agree(done, want: dict[str, Boxes]) -> None:
    """Compare label files, by "split/image", with corners in pixels; both ends of all boxes to 1e-4
    px.
    """
    images = {f"{p.parent.name}/{p.name}" for p in (done.dest / "images").rglob("*.*")}
    assert images == set(want)
    for image, boxes in want.items():
        found = done.boxes(image)
        assert [row[0] for row in found] == [row[0] for row in boxes], image
        for row, box in zip(found, boxes):
            assert row[1:] == pytest.approx(box[1:], abs=1e-4), image


def total(done, key: str) -> int:
    return sum(count[key] for count in done.report["splits"].values())


@pytest.fixture
def visdrone(native, tmp_path: Path) -> Path:
    source = tmp_path / "in"
    for folder in sorted(native.sample("visdrone").iterdir()):
        for file in sorted((folder / "annotations").iterdir()):
            rows = [line.split(",") for line in file.read_text().split()]
            stand_in(
                source / folder.name / "images" / f"{file.stem}.png",
                [tuple(map(int, r[:4])) for r in rows],
            )
            (source / folder.name / "annotations").mkdir(exist_ok=True)
            shutil.copyfile(file, source / folder.name / "annotations" / file.name)
    return source


def test_visdrone(convert, visdrone: Path) -> None:
    done = convert("visdrone", visdrone)
    splits = done.report["splits"]
    assert (splits["train"]["images"], splits["train"]["boxes"]) == (
        20,
        1220,
    ), "1,221 scored, one of them of height 0"
    assert (splits["val"]["images"], splits["val"]["boxes"]) == (57, 4280)
    assert (splits["train"]["ignored"], splits["val"]["ignored"]) == (
        26,
        180,
    ), "27 in train, one of height 0"
    shown = "VisDrone2019-DET-train/annotations/9999985_00000_d_0000020.txt"
    assert [
        (f["file"], f["line"]) for f in done.told("no-area") if f["reason"].startswith("box")
    ] == [(shown, 12)]
    assert "error" not in done.report["findings"]
    want = {}
    for file in visdrone.rglob("*.txt"):
        rows = [[int(field) for field in line.split(",")[:8]] for line in file.read_text().split()]
        split = "train" if "train" in str(file.parent) else "val"
        want[f"{split}/{file.stem}.png"] = [
            (c - 1, x, y, x + w, y + h)
            for x, y, w, h, score, c, *_ in rows
            if score and 0 < c < 11 and h
        ]
    agree(done, want)


def test_visdrone_as_it_is(native, convert) -> None:
    """With the two photographs that there are."""
    done = convert("visdrone", native.sample("visdrone"))
    assert done.report["splits"]["val"]["images"] == 2
    assert len(done.told("no-image")) == 75
    assert "not in SOURCE: train (6,471 images), test (1,610 images)" in done.out


@pytest.fixture
def exdark(native, tmp_path: Path) -> Path:
    sample, source = native.sample("exdark"), tmp_path / "in"
    shutil.copytree(sample / "ExDark_Annno", source / "ExDark_Annno")
    shutil.copyfile(sample / "imageclasslist.txt", source / "imageclasslist.txt")
    for file in sorted((source / "ExDark_Annno").rglob("*.txt")):
        stand_in(
            source / "ExDark" / file.parent.name / f"{file.name.split('.')[0]}.png",
            list(exdark_boxes(file)),
        )
    return source


def exdark_boxes(file: Path) -> Iterator[tuple[float, ...]]:
    for line in file.read_text().splitlines()[1:]:
        yield tuple(map(int, line.split()[1:5]))


def test_exdark(convert, exdark: Path) -> None:
    done = convert("exdark", exdark)
    counts = {
        split: (count["images"], count["boxes"]) for split, count in done.report["splits"].items()
    }
    assert counts == {"train": (63, 230), "val": (37, 138), "test": (54, 166)}
    assert [f["file"].split("/")[-1] for f in done.told("image-left-out")] == ["2015_05894.jpg.txt"]
    assert len(done.told("absent")) == 7363 - 155
    names = done.report["names"]
    listed = [line.split() for line in (exdark / "imageclasslist.txt").read_text().splitlines()[1:]]
    split = {
        name.split(".")[0]: ("train", "val", "test")[int(row[-1]) - 1] for name, *row in listed
    }
    want = {}
    for file in (exdark / "ExDark_Annno").rglob("*.txt"):
        stem = file.name.split(".")[0]
        kinds = [names.index(line.split()[0]) for line in file.read_text().splitlines()[1:]]
        boxes = [(k, x, y, x + w, y + h) for k, (x, y, w, h) in zip(kinds, exdark_boxes(file))]
        if boxes:
            want[f"{split[stem]}/{stem}.png"] = boxes
    agree(done, want)


def test_exdark_as_it_is(native, convert) -> None:
    """With the three photographs that there are."""
    done = convert("exdark", native.sample("exdark"))
    assert (total(done, "images"), total(done, "boxes")) == (3, 14)
    assert len(done.told("no-image")) == 152


def test_the_whole_class_list_of_exdark(native) -> None:
    """All 7,363 rows, against the counts that its owners give."""
    from scsa_yolo.datasets.native.exdark import LIGHTS, parse_listed

    text = (native.sample("exdark") / "imageclasslist.txt").read_text(encoding="utf-8")
    rows = [parse_listed(line) for line in text.splitlines()[1:]]
    assert Counter(row.split for row in rows) == {1: 3000, 2: 1800, 3: 2563}
    assert Counter(row.place for row in rows) == {1: 2822, 2: 4541}
    lights = Counter(row.light for row in rows)
    assert [lights[n + 1] for n in range(len(LIGHTS))] == [
        241,
        2098,
        498,
        762,
        705,
        2059,
        165,
        363,
        56,
        416,
    ]


def xml_boxes(file: Path, names: list[str], shift: int, left_out: tuple[str, ...] = ()) -> Boxes:
    root = ET.parse(file).getroot()
    width, height = (int(root.findtext(f"size/{side}", "0")) for side in ("width", "height"))
    boxes = []
    for thing in root.findall("object"):
        name = thing.findtext("name", "")
        x1, y1, x2, y2 = (
            float(thing.findtext(f"bndbox/{edge}", "")) for edge in ("xmin", "ymin", "xmax", "ymax")
        )
        if name not in left_out and x2 > x1 and y2 > y1:
            box = max(x1 - shift, 0), max(y1 - shift, 0), min(x2, width), min(y2, height)
            boxes.append((names.index(name), *box))
    return boxes


def test_bccd(native, convert) -> None:
    source = native.sample("bccd")
    done = convert("voc", source)
    assert {s: c["images"] for s, c in done.report["splits"].items()} == {
        "train": 205,
        "val": 87,
        "test": 72,
    }
    assert total(done, "boxes") == 361 + 4119 + 372 + 36 - 2
    files = ["BloodImage_00338.xml", "BloodImage_00343.xml"]
    assert sorted(Path(f["file"]).name for f in done.told("no-area")) == files
    lists = {
        s: (source / "BCCD/ImageSets/Main" / f"{s}.txt").read_text().split()
        for s in ("train", "val", "test")
    }
    names = done.report["names"]
    assert names == ["Platelets", "RBC", "WBC"]
    files_of = source / "BCCD/Annotations"
    agree(
        done,
        {
            f"{s}/{n}.jpg": xml_boxes(files_of / f"{n}.xml", names, 1)
            for s, all_ in lists.items()
            for n in all_
        },
    )


def test_hituav(native, convert) -> None:
    """Its XML is 0-based; its authors' own labels count difficult objects, and leave DontCare
    out.
    """
    source = native.sample("hituav")
    done = convert(
        "voc", source, "--pixels", "edges", "--ignore", "DontCare", "--difficult", "keep"
    )
    assert {s: c["images"] for s, c in done.report["splits"].items()} == {"train": 405, "val": 290}
    names = done.report["names"]
    counts = {
        name: sum(c["classes"][name] for c in done.report["splits"].values()) for name in names
    }
    assert counts == {"Person": 2871, "Car": 1754, "Bicycle": 1395, "OtherVehicle": 36}
    assert total(done, "ignored") == 33
    want = {
        f"{f.parent.name}/{f.stem}.jpg": xml_boxes(f, names, 0, ("DontCare",))
        for f in source.glob("xml/*/*.xml")
    }
    agree(done, want)
    usual = convert("voc", source, "--pixels", "edges", "--ignore", "DontCare", dest="usual")
    assert (total(usual, "boxes"), total(usual, "ignored")) == (6056 - 28, 33 + 28)
    assert done.report["findings"].keys() == {"moved"}
    inclusive = convert("voc", source, dest="inclusive")
    assert "is this set 0-based (--pixels edges)?" in inclusive.out


def test_coco128(native, convert) -> None:
    source = native.sample("coco128")
    done = convert("coco", source)
    count = done.report["splits"]["train2017"]
    assert (count["images"], count["boxes"], count["background"], count["ignored"]) == (
        128,
        929,
        2,
        10,
    )
    content = json.loads((source / "annotations/instances_train2017.json").read_text())
    index = {c["id"]: n for n, c in enumerate(sorted(content["categories"], key=lambda c: c["id"]))}
    want: dict[str, Boxes] = {f"train2017/{image['file_name']}": [] for image in content["images"]}
    for a in (a for a in content["annotations"] if not a["iscrowd"]):
        x, y, w, h = a["bbox"]
        want[f"train2017/{a['image_id']:012}.jpg"].append(
            (index[a["category_id"]], x, y, x + w, y + h)
        )
    agree(done, want)
    for file in (source / "labels/train2017").glob("*.txt"):
        ours = (done.dest / "labels/train2017" / file.name).read_text().split()
        assert [float(v) for v in ours] == pytest.approx(
            [float(v) for v in file.read_text().split()], abs=2e-6
        )
