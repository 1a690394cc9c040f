"""Tiny data sets in their native layouts, made here with every trap that the real ones hold, and
their conversion.

FLIR ADAS v2 could not be had: its layout is made from its release notes and from what others
    measured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

SAMPLES = Path(__file__).parents[3] / "shared" / "data"


def picture(
    path: Path, size: tuple[int, int] = (100, 80), orientation: int | None = None, shade: int = 60
) -> Path:
    """Draw an image in the format that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (shade, shade // 2, 200))
    exif = Image.Exif()
    if orientation is not None:
        exif[274] = orientation
    formats = {".png": "PNG", ".bmp": "BMP", ".webp": "WEBP", ".tiff": "TIFF"}
    image.save(
        path,
        format=formats.get(path.suffix.lower(), "JPEG"),
        **({"exif": exif} if orientation else {}),
    )
    return path


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def visdrone(root: Path, images: int = 3) -> Path:
    train = root / "VisDrone2019-DET-train"
    for number in range(images):
        picture(train / "images" / f"000{number}.jpg", shade=40 + number % 200)
        write(
            train / "annotations" / f"000{number}.txt", "10,20,30,40,1,4,0,1\n50,10,5,6,1,1,1,2\n"
        )
    picture(train / "images" / "traps.jpg")
    rows = (
        "1,2,10,10,1,10,0,0,",  # a comma at the end
        "60,60,4,0,1,4,0,0",  # no height
        "70,50,30,30,0,0,0,0",  # ignored region
        "0,0,0,9,0,0,0,0",  # ignored region without area
        "5,5,10,10,0,11,0,0",  # others
        "5,5,10,10,0,3,0,0",  # score 0 on a class, as a mirror may have it
        "95,70,20,20,1,2,0,0",  # leaves the image
    )
    write(train / "annotations" / "traps.txt", "\n".join(rows))
    picture(root / "VisDrone2019-DET-test_dev" / "Images" / "a.jpg")
    write(root / "VisDrone2019-DET-test_dev" / "Annotations" / "a.txt", "0,0,100,80,1,9,0,0\n")
    write(
        root / "VisDrone2019-DET-test-challenge" / "annotations" / "b.txt", "0,0,100,80,1,9,0,0\n"
    )
    picture(root / "__MACOSX" / "VisDrone2019-DET-val" / "images" / "._a.jpg")
    return root


def exdark(root: Path) -> Path:
    head = "% bbGt version=3"
    rest = "0 0 0 0 0 0 0"
    rows = [("Name", "Class", "Light", "In/Out", "Train/Val/Test")]
    names = (
        "2015_1.jpg",
        "2015_2.png",
        "2015_3.JPEG",
        "2016_4.JPG",
        "2017_5.jpeg",
    )  # all five spellings
    for number, name in enumerate(names):
        picture(root / "ExDark" / "Bicycle" / name)
        text = f"{head}\r\nBicycle 10 20 30 40 {rest}\r\nPeople 1 1 20 30 {rest}\r\n"
        write(root / "ExDark_Annno" / "Bicycle" / f"{name}.txt", text)
        rows.append((name, "1", str(number + 1), str(number % 2 + 1), str(number % 3 + 1)))
    picture(root / "ExDark" / "Dog" / "turned.jpeg", (100, 80), orientation=6)
    write(
        root / "ExDark_Annno" / "Dog" / "turned.jpeg.txt", f"{head}\nDog 10 5 85 70 {rest}\n"
    )  # fits as stored
    picture(root / "ExDark" / "Dog" / "gap.jpg")
    write(root / "ExDark_Annno" / "Dog" / "gap.jpg.txt", f"{head}\n")
    picture(root / "ExDark" / "Dog" / "over.JPG")
    write(root / "ExDark_Annno" / "Dog" / "over.jpg.txt", f"{head}\nDog -2 -1 103 40 {rest}\n")
    rows += [
        ("turned.jpeg", "9", "2", "1", "2"),
        ("gap.jpg", "9", "2", "1", "1"),
        ("over.JPG", "9", "10", "2", "1"),
    ]
    lines = [" | ".join(rows[0]), *(" ".join(row) for row in rows[1:])]
    write(root / "imageclasslist.txt", "\r\n".join(lines) + "\r\n")
    return root


def flir(root: Path) -> Path:
    names = {1: "person", 3: "car", 17: "dog", 79: "other vehicle", 9: "boat"}
    categories = [{"id": number, "name": name} for number, name in names.items()]
    for folder, spectrum in (
        ("images_thermal_train", "t"),
        ("video_thermal_test", "v"),
        ("images_rgb_val", "r"),
    ):
        images, annotations = [], []
        for number in range(3):
            name = f"data/video-{spectrum}-frame-00000{number}-x.jpg"
            picture(root / folder / name, (64, 48))
            if spectrum != "r":
                picture(root / folder / "analyticsData" / f"{Path(name).stem}.tiff", (64, 48))
            extra = {"hours": "night", "weather": "", "frame": 3}
            images.append(
                {"id": number, "file_name": name, "width": 64, "height": 48, "extra_info": extra}
            )
        for image, category, box in (
            (0, 17, [1, 2, 10, 20]),
            (0, 79, [5, 5, 0, 9]),
            (1, 79, [60, 40, 10, 10]),
        ):
            annotations.append(
                {"image_id": image, "category_id": category, "bbox": box, "area": 9, "iscrowd": 0}
            )
        annotations[0]["extra_info"] = {"occlusion": "no_(fully_visible)", "human_annotated": True}
        content = {"annotations": annotations, "categories": categories, "images": images}
        write(root / folder / "coco.json", json.dumps(content))
        write(root / folder / "index.json", json.dumps({"frames": []}))
    return root


def voc_object(name: str, box: tuple[Any, ...], extra: str = "") -> str:
    """An object with its edges in the order xmin, xmax, ymin, ymax: they must be read by name."""
    x1, y1, x2, y2 = box
    edges = f"<xmin>{x1}</xmin><xmax>{x2}</xmax><ymin>{y1}</ymin><ymax>{y2}</ymax>"
    return f"<object>\n<name>{name}</name>{extra}<bndbox>{edges}</bndbox></object>\n"


def voc_xml(*objects: str, size: tuple[int, int] | None = (100, 80)) -> str:
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    return f"<annotation>\n{sides}\n{''.join(objects)}</annotation>\n"


def voc(root: Path) -> Path:
    base = root / "VOCdevkit" / "VOC2007"
    part = (
        f"<part>{voc_object('head', (5, 5, 9, 9)).replace('object>', 'x>')}<name>head</name></part>"
    )
    part = part.replace("<x>", "").replace("</x>", "")
    sheets = {
        "000001": voc_xml(
            voc_object("dog", (1, 1, 100, 80), "<difficult>0</difficult><truncated>1</truncated>")
        ),
        "000002": voc_xml(
            voc_object("person", (10.5, 20, 30, 40), part)
        ),  # decimals, parts, no <difficult>
        "000003": voc_xml(
            voc_object("dog", (5, 6, 7, 8), "<difficult>1</difficult>"),
            voc_object("cat", (7, 7, 7, 9)),
            voc_object("DontCare", (1, 1, 9, 9)),
        ),
        "000004": voc_xml(size=(0, 0)),
        "000005": voc_xml(voc_object("cat", (50, 50, 120, 90)), size=None),
        "000009": voc_xml(voc_object("zebra", (1, 1, 9, 9))),  # in no list
    }
    for name, sheet in sheets.items():
        write(base / "Annotations" / f"{name}.xml", sheet)
        picture(base / "JPEGImages" / f"{name}.jpg")
    lists = {"train": "000001\n000002\n", "val": "000003\n", "trainval": "000001\n000002\n000003\n"}
    lists |= {"test": "000004\n000005\n", "dog_train": "000001  1\n000002 -1\n"}
    for name, text in lists.items():
        write(base / "ImageSets" / "Main" / f"{name}.txt", text)
    return root


def coco(root: Path) -> Path:
    categories = [
        {"id": 90, "name": "toothbrush"},
        {"id": 1, "name": "person"},
        {"id": 18, "name": "dog"},
    ]
    for split, shift in (("train2017", 0), ("val2017", 100)):
        for number in range(3):
            picture(root / "images" / split / f"{shift + number:012}.jpg")
        images = [
            {"id": shift + n, "file_name": f"{shift + n:012}.jpg", "width": 100, "height": 80}
            for n in range(3)
        ]
        boxes = [
            (0, 18, [10.25, 20.5, 30.125, 40.0625], 0),
            (0, 90, [1, 1, 5, 5], 0),
            (0, 1, [0, 0, 90, 70], 1),  # crowd
            (1, 1, [50, 50, 0, 10], 0),  # no width
        ]
        annotations = [
            {
                "id": k,
                "image_id": shift + i,
                "category_id": c,
                "bbox": b,
                "iscrowd": w,
                "area": 7.5,
                "segmentation": [],
            }
            for k, (i, c, b, w) in enumerate(boxes)
        ]
        content = {
            "info": {},
            "annotations": annotations,
            "images": images,
            "categories": categories,
        }
        write(root / "annotations" / f"instances_{split}.json", json.dumps(content))
        write(
            root / "annotations" / f"captions_{split}.json",
            json.dumps({**content, "annotations": []}),
        )
    return root


@dataclass
class Converted:
    """What a conversion returned, and the data set."""

    code: int
    out: str
    err: str
    dest: Path
    report: dict[str, Any] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def yaml(self) -> Path:
        """The set's YAML, called as its folder is."""
        return self.dest / f"{self.dest.name}.yaml"

    def told(self, code: str) -> list[dict[str, Any]]:
        return [finding for finding in self.findings if finding["code"] == code]

    def side(self, split: str) -> dict[str, dict[str, Any]]:
        """Lines of a side file by the image's name."""
        lines = (self.dest / "side" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        return {Path(line["image"]).name: line for line in map(json.loads, lines[1:])}

    def boxes(self, image: str) -> list[tuple[int, float, float, float, float]]:
        """Class and corners in pixels of an image's label file."""
        split, name = image.split("/")
        text = (self.dest / "labels" / split / f"{os.path.splitext(name)[0]}.txt").read_text()
        line = self.side(split)[name]
        w, h = line["width"], line["height"]
        rows = []
        for row in text.splitlines():
            kind, x, y, bw, bh = row.split()
            cx, cy, hw, hh = float(x) * w, float(y) * h, float(bw) * w / 2, float(bh) * h / 2
            rows.append((int(kind), *(round(v, 9) for v in (cx - hw, cy - hh, cx + hw, cy + hh))))
        return rows


def tree(folder: Path) -> dict[str, str]:
    """Every file by the hash of its content, links with what they point to. The YAML that is called
    as the folder is called set.yaml here, so that two folders can be compared.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        name = "set.yaml" if name == f"{folder.name}.yaml" else name
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = (
                hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
            )
    return found


@dataclass(frozen=True)
class Native:
    """The makers above, for tests."""

    make: dict[str, Callable[[Path], Path]]
    picture: Callable[..., Path]
    write: Callable[[Path, str | bytes], Path]
    voc_object: Callable[..., str]
    voc_xml: Callable[..., str]
    tree: Callable[[Path], dict[str, str]]
    samples: Path

    def sample(self, name: str) -> Path:
        """A real sample; the test is skipped where it is not at hand."""
        if not (self.samples / name).is_dir():
            pytest.skip(
                f"{self.samples / name} is not there: real samples are not part of the project"
            )
        return self.samples / name


@pytest.fixture(scope="session")
def native() -> Native:
    makers = {"visdrone": visdrone, "exdark": exdark, "flir": flir, "voc": voc, "coco": coco}
    return Native(makers, picture, write, voc_object, voc_xml, tree, SAMPLES)


@pytest.fixture
def convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Converted]:
    """Run ``scsa-yolo data convert`` in this process. DEST is ``tmp_path / dest``."""
    from scsa_yolo.datasets.convert.command import add_data_convert

    def run(name: str, source: Path, *options: str, dest: str = "out") -> Converted:
        parser = argparse.ArgumentParser()
        add_data_convert(parser.add_subparsers(required=True))
        folder = tmp_path / dest
        args = parser.parse_args(["convert", name, str(source), str(folder), *options])
        code = args.run(args)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        done = Converted(code, captured.out, captured.err, folder)
        if (folder / "conversion.json").is_file():
            done.report = json.loads((folder / "conversion.json").read_text(encoding="utf-8"))
            lines = (folder / "conversion.jsonl").read_text(encoding="utf-8").splitlines()
            done.findings = [json.loads(line) for line in lines]
        return done

    return run
