"""VisDrone-DET: ``VisDrone2019-DET-<split>/{images,annotations}``, a row per box.

Format: https://github.com/VisDrone/VisDrone2018-DET-toolkit. Ignored regions, "others" and boxes
with score 0 are no ground truth; they go to the side file, where the official rules find them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from scsa_yolo.datasets.native.balance import UNKNOWN
from scsa_yolo.datasets.native.options import Official, Options
from scsa_yolo.datasets.native.records import (
    XYXY,
    Annotation,
    Box,
    Finding,
    Ignored,
    Item,
    NothingFound,
    Plan,
    Refused,
    Tell,
    UsageError,
    is_finite,
    number,
    read_text,
)
from scsa_yolo.datasets.native.source import (
    Source,
    images_in,
    lacking,
    only_images,
    plain_name,
    stem,
    usable,
)
from scsa_yolo.datasets.native.splits import split_rank

# fmt: off
NAMES = ("pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus", "motor")
OFFICIAL = {
    "train": Official(6471, 343205, (79337, 27059, 10480, 144867, 24956, 12875, 4812, 3246, 5926, 29647)),
    "val": Official(548, 38759),
    "test": Official(1610, 75102, (21006, 6376, 1302, 28074, 5771, 2659, 530, 599, 2940, 5845)),
}
# fmt: on
OPTIONS: frozenset[str] = frozenset()
EXPECTED = "folders such as VisDrone2019-DET-train, each with annotations/ and images/"

_FIELDS = 8
_IGNORED_REGION, _OTHERS = 0, 11
_LABELS = ("ignored regions", *NAMES, "others")  # by category
_SPLIT = re.compile(r"(train|val|test)(?:[-_ ]?(dev|challenge))?", re.IGNORECASE)


class Row(NamedTuple):
    """A row of an annotation file, as written."""

    left: float
    top: float
    width: float
    height: float
    score: float
    category: int
    truncation: int
    occlusion: int

    @property
    def xyxy(self) -> XYXY:
        """The box's corners."""
        return self.left, self.top, self.left + self.width, self.top + self.height


def parse_row(text: str) -> Row | Refused:
    """Read ``left,top,width,height,score,category,truncation,occlusion``; 34 rows of train end in a
    comma.
    """
    fields = [field.strip() for field in text.split(",")]
    if fields[-1] == "" and len(fields) > 1:
        fields.pop()
    if len(fields) != _FIELDS:
        return Refused(f"{len(fields)} fields, not {_FIELDS}")
    values = [number(field) for field in fields]
    if None in values:
        return Refused(
            f"field {values.index(None) + 1} is no number: {fields[values.index(None)][:40]!r}"
        )
    left, top, width, height, score, *whole = (
        float(value) for value in values if value is not None
    )
    if any(value != int(value) for value in whole):
        return Refused("category, truncation and occlusion must be whole numbers")
    category, truncation, occlusion = map(int, whole)
    if not 0 <= category <= _OTHERS:
        return Refused(f"unknown category {category}; there are 0 to {_OTHERS}")
    row = Row(left, top, width, height, score, category, truncation, occlusion)
    return row if is_finite(row.xyxy) else Refused("the box is out of all bounds")


def read(file: Path, shown: str) -> Annotation:
    """Read an annotation file."""
    found = Annotation(shown)
    for line, text in enumerate(read_text(file).splitlines(), 1):
        if not text.strip():
            continue
        row = parse_row(text)
        if isinstance(row, Refused):
            found.rows[UNKNOWN] += 1
            found.drop(UNKNOWN, "error", "bad-row", f"row dropped: {row.reason}", line)
            continue
        found.rows[_LABELS[row.category]] += 1
        if row.category == _IGNORED_REGION:
            found.ignored.append(Ignored(None, row.xyxy, "region", line, _LABELS[0]))
        elif row.category == _OTHERS:
            found.ignored.append(Ignored(None, row.xyxy, "others", line, _LABELS[-1]))
        elif row.score == 0:  # none in the official files, but mirrors may differ
            found.ignored.append(Ignored(row.category - 1, row.xyxy, "difficult", line))
        else:
            flags = {"truncation": row.truncation, "occlusion": row.occlusion}
            found.boxes.append(Box(row.category - 1, row.xyxy, flags, line))
    return found


def split_of(path: Path, root: Path) -> str | None:
    """Return the split that a folder's name holds, the innermost first: train, val, test or
    test-challenge.
    """
    for part in reversed((root.name, *path.relative_to(root).parts)):
        found = _SPLIT.findall(part)
        if found:
            name, kind = found[-1]
            return f"{name.lower()}-challenge" if kind.lower() == "challenge" else name.lower()
    return None


def _folders(source: Source) -> Iterator[tuple[str | None, Path, Path | None]]:
    """Split, annotation folder and image folder of each part of the set."""
    for folder in source.walk():
        annotations = folder.child("annotations")
        if annotations is not None and any(
            file.suffix.lower() == ".txt" for file in annotations.iterdir()
        ):
            root = next(root for root in source.roots if folder.path.is_relative_to(root))
            yield split_of(folder.path, root), annotations, folder.child("images")


def present(source: Source) -> bool:
    """Whether annotations and images lie there unpacked."""
    return any(images is not None for _, _, images in _folders(source))


def plan(source: Source, options: Options, tell: Tell) -> Plan:
    """Find the splits."""
    parts: dict[str, tuple[Path, Path | None]] = {}
    for split, rows, images in _folders(source):
        shown = source.shown(rows)
        if split is None:
            raise UsageError(
                f"{rows}: which split is it? Name its folder VisDrone2019-DET-train, -val or"
                " -test-dev"
            )
        if split in parts:
            tell(
                Finding(
                    "error", "second-folder", shown, None, f"left out: {split} is there already"
                )
            )
        elif split == "test-challenge":
            tell(
                Finding(
                    "note",
                    "no-truth",
                    shown,
                    None,
                    "left out: the challenge set has no public annotation",
                )
            )
        else:
            parts[split] = rows, images
    if not parts:
        raise NothingFound(source.given, "no VisDrone annotations found", EXPECTED)
    matched = {
        split: _match(*parts[split], split, source, tell) for split in sorted(parts, key=split_rank)
    }
    items = (
        Item(split, image, plain_name(image.name), file, partial(read, file, source.shown(file)))
        for split, pairs in matched.items()
        for file, image in pairs
    )
    splits = tuple(split for split, pairs in matched.items() if pairs)
    return Plan(
        NAMES, splits, sum(map(len, matched.values())), items, {split: (split,) for split in splits}
    )


def _match(
    annotations: Path, images: Path | None, split: str, source: Source, tell: Tell
) -> list[tuple[Path, Path]]:
    """Pair annotation files with images. Of names that differ in case alone, the exact one first."""
    files = [path for path in annotations.iterdir() if path.suffix.lower() == ".txt"]
    files = sorted(path for path in files if usable(path.name))
    pictures, exact = images_in(images), {path.stem for path in files}
    pictures.sort(key=lambda path: path.stem not in exact)
    index = only_images(pictures, source, tell, split)
    named = {path.stem for path in index.values()}
    pairs = []
    for file in sorted(files, key=lambda path: path.stem not in named):
        image = index.pop(stem(file.name), None)
        if image is None:
            tell(lacking("image", source, file))
        else:
            pairs.append((file, image))
    for image in index.values():
        tell(lacking("annotation", source, image))
        source.leave_out(image, split, "no-annotation")
    return sorted(pairs)
