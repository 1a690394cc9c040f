"""Damage annotation files at random, convert, and look for what must never happen.

Whatever is done to an annotation file, a conversion must end without a traceback, its balance must
close, and no box may lie on a picture that it was not made for. Boxes of these sets tell: each
picture has a box of its own place and class, and pixels that say which picture it is.

    python tools/fuzz_annotations.py [--seed 0] [--runs 200] [--formats voc,coco]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

FORMATS = ("visdrone", "exdark", "flir", "voc", "coco")
# names and ids that no small damage turns into each other
WORDS = ("amber", "birch", "coral", "fjord", "onyx", "quill")
PICTURES = len(WORDS)
SIZE = (320, 240)
STEP = 40  # px between the left edges of two pictures' boxes


def _picture(path: Path, number: int) -> None:
    """Draw a picture whose shade is its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", SIZE, number).save(path)


def _box(number: int) -> tuple[int, int, int, int]:
    return STEP * number, 10, 20, 30


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def _visdrone(root: Path) -> list[Path]:
    files = []
    for number in range(PICTURES):
        folder = root / f"VisDrone2019-DET-{'val' if number % 3 == 2 else 'train'}"
        _picture(folder / "images" / f"{WORDS[number]}.png", number)
        left, top, width, height = _box(number)
        files.append(folder / "annotations" / f"{WORDS[number]}.txt")
        _write(files[-1], f"{left},{top},{width},{height},1,{1 + number},0,1\n")
    return files


def _exdark(root: Path) -> list[Path]:
    from scsa_yolo.datasets.native.exdark import LIST, NAMES

    files, rows = [], ["Name | Class | Light | In/Out | Train/Val/Test"]
    for number in range(PICTURES):
        name = f"2015_{WORDS[number]}.png"
        _picture(root / "ExDark" / NAMES[number] / name, number)
        files.append(root / "ExDark_Annno" / NAMES[number] / f"{name}.txt")
        box = " ".join(map(str, _box(number)))
        _write(files[-1], f"% bbGt version=3\n{NAMES[number]} {box} 0 0 0 0 0 0 0\n")
        rows.append(f"{name} {number + 1} 1 1 {number % 3 + 1}")
    _write(root / LIST, "\r\n".join(rows))
    return [*files, root / LIST]


def _voc(root: Path) -> list[Path]:
    files = []
    for number in range(PICTURES):
        _picture(root / "JPEGImages" / f"{WORDS[number]}.png", number)
        left, top, width, height = _box(number)
        edges = {"xmin": left + 1, "ymin": top + 1, "xmax": left + width, "ymax": top + height}
        box = "".join(f"<{edge}>{value}</{edge}>" for edge, value in edges.items())
        size = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></size>"
        thing = f"<object><name>c{number}</name><bndbox>{box}</bndbox></object>"
        files.append(root / "Annotations" / f"{WORDS[number]}.xml")
        head = f"<filename>{WORDS[number]}.png</filename>{size}"
        _write(files[-1], f'<?xml version="1.0"?>\n<annotation>{head}{thing}</annotation>\n')
    for split, start, stop in (("train", 0, 4), ("val", 4, PICTURES)):
        files.append(root / "ImageSets" / "Main" / f"{split}.txt")
        _write(files[-1], "".join(f"{WORDS[number]}\n" for number in range(start, stop)))
    return files


def _coco_json(numbers: range, folder: str) -> str:
    size = {"width": SIZE[0], "height": SIZE[1]}
    images = [{"id": WORDS[n], "file_name": f"{folder}{WORDS[n]}.png", **size} for n in numbers]
    boxes = [{"image_id": WORDS[n], "category_id": 1 + n, "bbox": _box(n)} for n in numbers]
    categories = [{"id": 1 + n, "name": f"c{n}"} for n in range(PICTURES)]
    return json.dumps({"images": images, "annotations": boxes, "categories": categories})


def _coco(root: Path) -> list[Path]:
    files = []
    for split, numbers in (("train", range(4)), ("val", range(4, PICTURES))):
        for number in numbers:
            _picture(root / "images" / split / f"{WORDS[number]}.png", number)
        files.append(root / "annotations" / f"instances_{split}.json")
        _write(files[-1], _coco_json(numbers, ""))
    return files


def _flir(root: Path) -> list[Path]:
    from scsa_yolo.datasets.native.flir import NAMES

    files = []
    parts = (("images_thermal_train", range(4)), ("images_thermal_val", range(4, PICTURES)))
    for folder, numbers in parts:
        for number in numbers:
            _picture(root / folder / "data" / f"{WORDS[number]}.png", number)
        content = json.loads(_coco_json(numbers, "data/"))
        for category in content["categories"]:
            category["name"] = NAMES[category["id"] - 1]
        files.append(root / folder / "coco.json")
        _write(files[-1], json.dumps(content))
    return files


MAKERS: dict[str, Callable[[Path], list[Path]]] = {
    "visdrone": _visdrone,
    "exdark": _exdark,
    "flir": _flir,
    "voc": _voc,
    "coco": _coco,
}


def damage(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with one to three faults of a kind that files have."""
    for _ in range(rng.randint(1, 3)):
        data = rng.choice(_FAULTS)(data, rng)
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _remove(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.randint(1, 20) :]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start : start + rng.randint(1, 60)] * 2 + data[start:]


def _lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines)


def _value(data: bytes, rng: random.Random) -> bytes:
    """Put an odd value in a number's place."""
    import re

    numbers = list(re.finditer(rb"\d+", data))
    if not numbers:
        return data
    found = rng.choice(numbers)
    return data[: found.start()] + rng.choice(_ODD) + data[found.end() :]


def _encode(data: bytes, rng: random.Random) -> bytes:
    text = data.decode("utf-8", errors="replace")
    return text.encode(rng.choice(("utf-16", "utf-32", "utf-8-sig", "cp1252")), errors="replace")


def _empty(data: bytes, rng: random.Random) -> bytes:
    return rng.choice((b"", b" \n", b"\0", b"\xff\xfe", b"{}", b"[]", b"<a/>", b"null"))


_ODD = (
    *(b"-1", b"0", b"1e999", b"nan", b"null", b'"7"', b"1.5", b"[]", b"{}", b"true", b"\xff"),
    *(b"99999999999999999999", b"9" * 5000, b"-0.0", b"1e-320", b'"\\ud800"', b"\xc3\xa9"),
)
_FAULTS = (_flip, _cut, _remove, _repeat, _lines, _value, _value, _encode, _empty)


def convert_once(name: str, folder: Path, rng: random.Random) -> str:
    """Make a set, damage one of its annotation files, convert it.

    Returns:
        What went wrong, "" if nothing did.
    """
    from scsa_yolo.datasets.convert.conversion import convert_dataset
    from scsa_yolo.datasets.native.records import UsageError

    source, dest = folder / "in", folder / "out"
    file = rng.choice(MAKERS[name](source))
    file.write_bytes(damage(file.read_bytes(), rng))
    try:
        report = convert_dataset(name, source, dest, workers=1)
    except UsageError as error:
        return "" if "\n" not in str(error) else f"an error of several lines: {error}"
    except Exception:  # noqa: BLE001 that there is none is what is tested
        return traceback.format_exc()
    return _unclosed(report.balance) or _misplaced(name, dest, report.names)


def _unclosed(balance: Any) -> str:
    """Say which part of a balance does not close."""
    for split, counts in balance["pictures"].items():
        if counts["found"] != counts["converted"] + sum(counts["left_out"].values()):
            return f"pictures of {split} do not close: {counts}"
    for split, classes in balance["rows"].items():
        for label, counts in classes.items():
            kept = counts["written"] + counts["side_file"]
            if counts["read"] != kept + sum(counts["dropped"].values()):
                return f"rows of {split}, {label}, do not close: {counts}"
    return ""


def _misplaced(name: str, dest: Path, names: tuple[str, ...]) -> str:
    """Say which picture has the box of another one: where both place and class are another's."""
    own = _own_names(name)
    for image in sorted((dest / "images").rglob("*.png")):
        with Image.open(image) as opened:
            number = opened.getpixel((0, 0))
        label = Path(str(image).replace("/images/", "/labels/")).with_suffix(".txt")
        for line in label.read_text(encoding="utf-8").splitlines():
            kind, x, _, width, _ = line.split()
            left = (float(x) - float(width) / 2) * SIZE[0]
            other = own.get(names[int(kind)])
            if other not in (None, number) and abs(left - STEP * other) < 1:
                return f"{image.name}, picture {number}, has the box of picture {other}"
    return ""


def _own_names(name: str) -> dict[str, int]:
    """Return which class belongs to which picture."""
    from scsa_yolo.datasets.native import exdark, flir, visdrone

    fixed = {"visdrone": visdrone.NAMES, "exdark": exdark.NAMES, "flir": flir.NAMES}
    names = fixed.get(name, tuple(f"c{number}" for number in range(PICTURES)))
    return {label: number for number, label in enumerate(names[:PICTURES])}


def fuzz(formats: tuple[str, ...], runs: int, seed: int) -> list[str]:
    """Convert ``runs`` damaged sets of each format; return what went wrong, with the seed of it."""
    failures = []
    for name in formats:
        for run in range(runs):
            key = f"{name}:{seed}:{run}"
            with tempfile.TemporaryDirectory(prefix="scsa-fuzz-") as folder:
                fault = convert_once(name, Path(folder), random.Random(key))
            if fault:
                failures.append(f"{key}: {fault}")
    return failures


def main() -> int:
    """Fuzz, and print what went wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=200, help="of each format; default: 200")
    parser.add_argument("--formats", default=",".join(FORMATS), help="default: all")
    args = parser.parse_args()
    formats = tuple(args.formats.split(","))
    failures = fuzz(formats, args.runs, args.seed)
    print("\n".join(failures) or f"nothing went wrong in {args.runs} runs of {', '.join(formats)}")
    print(dict(Counter(failure.partition(":")[0] for failure in failures)))
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
