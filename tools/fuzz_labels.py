"""Corrupt label files, data YAMLs, lists and side files, and compare with Ultralytics' own reading.

    python tools/fuzz_labels.py [--cases 2000] [--seed 0] [KIND ...]

Each case is a data set of three pictures with one corrupted file. What Ultralytics refuses or
leaves out, `scsa-yolo data check` must call an error; what it takes, the check must pass, with the
same boxes; and nothing may raise anything but the errors that the functions name. A case that
breaks this is printed with its number and the corrupted file; ``--only NUMBER`` runs it again.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scsa_yolo.datasets.check.scan import check_data
from scsa_yolo.datasets.layout.dataset import DataSetError, label_files, load_layout
from scsa_yolo.datasets.layout.labels import read_labels
from scsa_yolo.datasets.layout.side import read_sides

YAML = "train: images/train\nval: images/val\nnames: [car, person]\n"
LABEL = "0 0.5 0.5 0.5 0.5\n1 0.25 0.25 0.25 0.25\n1 0.75 0.25 0.125 0.25\n"
OUTLINE = "0 0.1 0.1 0.4 0.1 0.4 0.5\n1 0.2 0.2 0.6 0.2 0.6 0.8 0.2 0.8\n"
LIST = "./images/train/a.png\n./images/train/b.png\n"
SIDE = """{"format": "scsa-yolo side 1", "dataset": "coco", "split": "val", "names": {"0": "car"}}
{"image": "images/val/c.png", "width": 64, "height": 48, "boxes": [{"area": 4}, {}, {}], \
"ignore": [{"class": 0, "xyxy": [1, 2, 30, 40], "reason": "crowd"}]}
"""
# What a corruption puts into a file of each kind, besides bytes at random.
TOKENS = {
    "label": [
        *("0", "1", "2", "-1", "1.01", "1.0100001", "1.02", "-0.01", "-0.0100001", "-0", "0.0"),
        *("1e-45", "1e39", "nan", "inf", "-inf", "0x1", "1_0", "0,5", "0.5.5", "+", ".", "e", "1e"),
        *("00", "\u0661", "\u00bd", "0.99999999999", "1e400", "0 0 0 0 0", "0 0.5 0.5 0.1 0.1"),
    ],
    "yaml": [
        *("val:", "val: []", "val: ''", "train: [../images/train]", "train: ../images/train"),
        *("train: [images/train, images/train]", "val: images/val/c.png", "val: [images/val, 3]"),
        *("test: images/none", "validation: images/val", "path: .", "path: ~/x", "path: 7"),
        *("path: /", "path: ''", "nc: 2", "nc: 2.0", "nc: '2'", "nc: 3", "nc: -1", "nc: x", "nc:"),
        *("nc: [2]", "nc: true", "nc: .inf", "nc: .nan", "names:", "names: []", "names: {}"),
        *("names: {0: a, 1: b}", "names: {0: a, 2: b}", "names: {'0': a, '1': b}", "names: a"),
        *("names: {a: b}", "names: {0.5: a, 1: b}", "names: [1, null]", "names: {1: a}"),
        *("names: &x [*x]", "kpt_shape: 3", "flip_idx: [0]", "a: *b"),
        *("a: 2001-99-99", "a: !!python/object:os.system x", "a: !!int x", "a: !!float x", "- a"),
        *("? [a]", "? {a: b}\n: c", "a: {", "\t", "\0", "\x07", "\u2028", "None", "train: None"),
        *("train: images/\0", "val: " + "x" * 300, "[" * 2000, "a: " + "{" * 1500, "names: 5"),
        *("<<: [a]", "<<: 3", "%YAML 9", "---", "...", "--- a\n--- b", "# \u00e9", "'", '"'),
    ],
    "list": [
        *("./images/train/a.png ", " ./images/train/b.png", "./images/train/a.png\t", "#", "a"),
        *(
            "./images/train/none.png",
            "images/train/a.png",
            "./images/train",
            "./labels/train/a.txt",
        ),
        *("./images/train/a.PNG", ".png", "png", "\0.png", "./images/train/../train/b.png", "\x0c"),
        *("\x85", "\u2028", "./images/val/c.png", "/", "./", "x" * 300 + ".png"),
    ],
    "side": [
        *(
            "{}",
            "[]",
            "null",
            "3",
            '"x"',
            "{",
            "}",
            "[[[",
            "NaN",
            "Infinity",
            "1e999",
            "true",
            "-1",
        ),
        *(
            '"class": null',
            '"class": 9',
            '"class": true',
            '"xyxy": 3',
            '"xyxy": [1, 2]',
            '"ignore": 3',
        ),
        *(
            '"image": 3',
            '"width": "a"',
            '"width": 1e9',
            '"boxes": [3]',
            '"boxes": {}',
            '"area": "x"',
        ),
        *(
            '"conditions": []',
            '"names": []',
            '"names": {"0": "person"}',
            '"split": "train"',
            "\\ud800",
        ),
        *("[" * 3000, '"x": ' * 3, "9" * 5000, '"ignore": {"class": 0}', '"ignore": ["x"]'),
    ],
}
KINDS = tuple(TOKENS)
PATHS = {
    "label": "labels/train/a.txt",
    "yaml": "data.yaml",
    "list": "train.txt",
    "side": "side/val.jsonl",
}
# Errors that say that Ultralytics refuses something or leaves it out.
LOADER = {
    *("yaml-refused", "split-missing", "split-empty", "list-line", "image-missing", "image-format"),
    *(
        "image-unreadable",
        "image-truncated",
        "image-small",
        "label-unreadable",
        "label-row",
        "class-range",
    ),
    "coordinate-range",
}


class Disagreement(AssertionError):
    """Ultralytics and the check come to different ends; the message says to which."""


def make(folder: Path) -> None:
    """Write a data set without a fault."""
    for split, names in (("train", "ab"), ("val", "c")):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for name in names:
            pixels = np.random.default_rng(ord(name)).integers(0, 255, (48, 64, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"images/{split}/{name}.png")
            (folder / f"labels/{split}/{name}.txt").write_text(LABEL)
    (folder / "data.yaml").write_text(YAML)
    (folder / "side").mkdir(exist_ok=True)


def corrupt(data: bytes, kind: str, rng: random.Random) -> bytes:
    """Return a file's bytes with one to three changes."""
    for _ in range(rng.randint(1, 3)):
        data = rng.choice(CHANGES)(data, kind, rng)
    return data


def _cut(data: bytes, kind: str, rng: random.Random) -> bytes:
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[end:]


def _end(data: bytes, kind: str, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _again(data: bytes, kind: str, rng: random.Random) -> bytes:
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:end] + data[end:]


def _byte(data: bytes, kind: str, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]


def _token(data: bytes, kind: str, rng: random.Random) -> bytes:
    words = data.split(b" ")
    words[rng.randrange(len(words))] = rng.choice(TOKENS[kind]).encode("utf-8", "surrogatepass")
    return b" ".join(words)


def _line(data: bytes, kind: str, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    new = rng.choice(TOKENS[kind]).encode("utf-8", "surrogatepass")
    at = rng.randrange(len(lines) + 1)
    return b"\n".join([*lines[:at], new, *lines[at + rng.randint(0, 1) :]])


def _encoding(data: bytes, kind: str, rng: random.Random) -> bytes:
    text = data.decode("utf-8", "replace")
    return rng.choice(
        [
            lambda: b"\xef\xbb\xbf" + data,
            lambda: text.encode("utf-16"),
            lambda: text.replace("\n", "\r\n").encode(),
            lambda: text.replace("\n", "\r").encode(),
            lambda: text.replace(" ", "\u00a0").encode(),
            lambda: data + b"\xe9",
            lambda: b"\n\n" + data,
        ]
    )()


CHANGES = (_cut, _end, _again, _byte, _token, _token, _line, _line, _line, _encoding)


def stock_reading(yaml: Path) -> dict[Path, Any] | None:
    """Return rows by picture as Ultralytics' loader reads them, None in place of the rows of a
    picture that it leaves out; None if it refuses the data.
    """
    from ultralytics.data.base import BaseDataset
    from ultralytics.data.utils import check_det_dataset, verify_image_label

    reader: Any = object.__new__(BaseDataset)
    reader.prefix, reader.fraction = "", 1.0
    found = {}
    try:
        data = check_det_dataset(str(yaml), autodownload=False)
        for split in ("train", "val"):
            images = [Path(path) for path in BaseDataset.get_img_files(reader, data[split])]
            for image, label in zip(images, label_files(images), strict=True):
                task = str(image), str(label), "", False, len(data["names"]), 0, 0, False
                found[image] = verify_image_label(task)[1]
    except Exception:  # noqa: BLE001 - whatever it raises, it refuses
        return None
    kept = {image for image, rows in found.items() if rows is not None}
    return found if kept else None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Ultralytics from looking for fonts and timing files, and NumPy from warning."""
    import ultralytics.data.base as base
    import ultralytics.data.utils as utils
    from ultralytics.utils import LOGGER

    names: list[tuple[Any, str]] = [(utils, "check_font"), (base, "check_file_speeds")]
    before = [getattr(module, name) for module, name in names]
    level = LOGGER.level
    try:
        for module, name in names:
            setattr(module, name, lambda *_, **__: None)
        LOGGER.setLevel("CRITICAL")
        with np.errstate(all="ignore"):
            yield
    finally:
        LOGGER.setLevel(level)
        for (module, name), function in zip(names, before, strict=True):
            setattr(module, name, function)


def compare(yaml: Path) -> None:
    """Compare the check with Ultralytics' own reading.

    Raises:
        Disagreement: They come to different ends.
    """
    stock = stock_reading(yaml)
    try:
        layout = load_layout(yaml)
    except DataSetError as error:
        if stock is not None:
            raise Disagreement(f"Ultralytics takes it; here: {error}") from error
        return
    findings = check_data(layout, workers=1)[1]
    errors = {
        finding.code: finding.where[0] for finding in findings.all() if finding.level == "error"
    }
    if stock is None:
        if not errors:
            raise Disagreement("Ultralytics refuses it; the check finds no error")
        return
    left_out = [image for image, rows in stock.items() if rows is None]
    if left_out and not errors:
        raise Disagreement(f"Ultralytics leaves out {left_out[0]}; the check finds no error")
    wrong = {code: place for code, place in errors.items() if code in LOADER}
    # what is not finite passes Ultralytics, and trains on it; a test split is not read there
    meant = {code: p for code, p in wrong.items() if "finite" not in p and "'test'" not in p}
    lost = "list-line" in meant  # passed over by Ultralytics without a word
    if meant and not left_out and not lost:
        raise Disagreement(f"Ultralytics takes it; the check finds {meant}")
    if not wrong:
        same_rows(stock, len(layout.names))


def same_rows(stock: dict[Path, Any], classes: int) -> None:
    """Compare boxes as read here with those of Ultralytics.

    Raises:
        Disagreement: They differ.
    """
    for image, rows in stock.items():
        labels = read_labels(label_files([image])[0], classes)
        kept = labels.unique()
        ours = np.column_stack([labels.classes, labels.xywh])[kept].astype(np.float32)
        theirs = np.asarray(rows, np.float32)
        one, other = (table[np.lexsort(table.T)] for table in (ours, theirs))
        if one.shape != other.shape or not np.allclose(one, other, atol=1e-6):
            raise Disagreement(f"{image.name}: {len(ours)} boxes here, {len(theirs)} there")


def try_side(yaml: Path) -> None:
    """Read a side file by evaluation's way and by the check's: both say the same."""
    layout = load_layout(yaml)
    try:
        read_sides(layout, "val", layout.images("val"))
        damaged = False
    except DataSetError:
        damaged = True
    codes = check_data(layout, workers=1)[1].codes()
    if damaged != ("side-damaged" in codes):
        raise Disagreement(f"damaged for evaluation: {damaged}; the check finds {sorted(codes)}")


def prepare(folder: Path, kind: str, number: int, seed: int) -> bytes:
    """Write case `number` of a kind into a data set without a fault, and return what was
    written.
    """
    rng = random.Random(f"{kind} {seed} {number}")
    whole = {"label": rng.choice([LABEL, OUTLINE]), "yaml": YAML, "list": LIST, "side": SIDE}
    data = corrupt(whole[kind].encode(), kind, rng)
    (folder / "data.yaml").write_text(YAML)
    (folder / PATHS["label"]).write_text(LABEL)
    for other in ("list", "side"):
        (folder / PATHS[other]).unlink(missing_ok=True)
    if kind == "list":
        (folder / "data.yaml").write_text(YAML.replace("images/train", "train.txt"))
    (folder / PATHS[kind]).write_bytes(data)
    return data


def run(kinds: tuple[str, ...], cases: range, seed: int, say: Callable[[str], None] = print) -> int:
    """Run cases of each kind; returns how many went wrong, each told with its bytes."""
    wrong = 0
    with tempfile.TemporaryDirectory() as place, quiet():
        folder = Path(place).resolve()
        make(folder)
        for kind in kinds:
            for number in cases:
                data = prepare(folder, kind, number, seed)
                try:
                    (try_side if kind == "side" else compare)(folder / "data.yaml")
                except Disagreement as error:
                    wrong += 1
                    say(f"{kind} {number}: {error}\n    {data[:400]!r}")
                except Exception:  # noqa: BLE001 - this is what is looked for
                    wrong += 1
                    say(f"{kind} {number}: {traceback.format_exc()}\n    {data[:400]!r}")
    return wrong


def main() -> int:
    """Run the fuzzer; returns 1 if a case went wrong."""
    parser = argparse.ArgumentParser(description="Corrupt labels, YAMLs, lists and side files.")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--cases", type=int, default=2000, help="of each kind (default: 2000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="this case alone")
    args = parser.parse_args()
    if unknown := set(args.kinds) - set(KINDS):
        parser.error(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    cases = range(args.cases) if args.only is None else range(args.only, args.only + 1)
    wrong = run(tuple(args.kinds) or KINDS, cases, args.seed)
    print(f"{wrong} wrong of {len(cases)} cases of each kind, seed {args.seed}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
