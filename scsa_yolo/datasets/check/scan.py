"""A whole data set, checked split by split and then across splits."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scsa_yolo.datasets.check.copies import same_files
from scsa_yolo.datasets.check.image import PictureReport, inspect
from scsa_yolo.datasets.check.rules import Findings
from scsa_yolo.datasets.layout.dataset import (
    DataSetError,
    Layout,
    Listing,
    image_suffixes,
    label_files,
)
from scsa_yolo.datasets.layout.side import (
    SideFiles,
    SideLost,
    read_side,
    read_sides,
    side_place,
    unread_sides,
)

__all__ = ["SplitCount", "check_data"]

Array = NDArray[Any]
_SMALL = 1 << 20  # bytes; a larger label file is not empty
_AT_ONCE = 512  # pictures handed to the threads, so that the reports of a large set do not pile up
# Pictures by their suffix that Ultralytics does not list; films and papers beside them are meant.
_PICTURES = frozenset(
    {".jfif", ".jpe", ".jif", ".gif", ".jxl", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".j2k"}
    | {".jpx", ".psd", ".svg", ".exr", ".hdr", ".ico"}
)
_NOT_LABELS = {"classes.txt", "readme.txt", "train.txt", "val.txt", "test.txt", "obj.names"}


@dataclass
class SplitCount:
    """Counts of a split.

    Attributes:
        images: Pictures.
        labelled: Those with a label file that has rows.
        boxes: (C,) boxes by class.
        sizes: (M, 2) widths and heights of the pictures that can be read.
        sides: (N, 2) float32 widths and heights of all boxes in pixels.
        scales: (N,) what each box's sides are multiplied with when the picture's long side becomes
            1 px.
        files: The pictures.
        side: The side files that were read.
    """

    images: int
    labelled: int
    boxes: Array
    sizes: Array
    sides: Array
    scales: Array
    files: list[Path] = field(default_factory=list, repr=False)
    side: SideFiles = field(default_factory=SideFiles, repr=False)

    def shares(self, imgsz: int | None = None) -> tuple[float, float, float]:
        """Return the shares of COCO's small, medium and large boxes, natively or with the long side
        at `imgsz` px.
        """
        if not len(self.sides):
            return 0.0, 0.0, 0.0
        area = self.sides.prod(1) * (1.0 if imgsz is None else (imgsz * self.scales) ** 2)
        small, large = float((area < 32**2).mean()), float((area >= 96**2).mean())
        return small, 1 - small - large, large


def check_data(
    layout: Layout,
    splits: Sequence[str] | None = None,
    pixels: bool = False,
    workers: int | None = None,
) -> tuple[dict[str, SplitCount], Findings]:
    """Check a data set.

    Args:
        layout: The data set.
        splits: Which; all that the YAML names if None.
        pixels: Decode all pictures, which finds those cut short.
        workers: Threads; as many as CPUs if None.

    Raises:
        DataSetError: The YAML has no such split.
    """
    findings, counts = Findings(), {}
    for reason in layout.refused:
        findings.add("yaml-refused", layout.yaml, reason)
    for remark in layout.remarks:
        findings.add("yaml-odd", layout.yaml, remark)
    chosen = list(layout.splits) if splits is None else list(splits)
    for split in chosen:
        missing = layout.missing(split)
        for source in missing:
            findings.add("split-missing", source, f"split {split!r}")
        if not missing:
            counts[split] = _check_split(layout, split, pixels, workers, findings)
    _check_sides(layout, counts, findings)
    _check_across(counts, findings)
    _check_classes(layout, counts, findings)
    return counts, findings


def _check_split(
    layout: Layout, split: str, pixels: bool, workers: int | None, findings: Findings
) -> SplitCount:
    images = _list(layout, split, findings)
    labels = label_files(images)
    side = _side(layout, split, images, findings)
    _check_stems(images, labels, findings)
    _check_neighbours(layout.sources(split), images, findings)
    tally = _Tally(len(layout.names))
    one = functools.partial(inspect, classes=len(layout.names), pixels=pixels)
    for report in _reports(one, images, labels, workers):
        for code, where, text in report.found:
            findings.add(code, where, text)
        tally.add(report)
        _check_side(report, side, findings)
    if images and not tally.with_file:
        findings.add("labels-none", f"{split}: looked for {labels[0]} and so on")
    else:
        for image in tally.without_file:
            findings.add("label-missing", image)
    return replace(tally.count(images), side=side)


def _reports(
    one: Callable[[Path, Path], PictureReport],
    images: list[Path],
    labels: list[Path],
    workers: int | None,
) -> Iterator[PictureReport]:
    """Inspect pictures in threads, and give out the reports in order."""
    pairs = iter(zip(images, labels, strict=True))
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        while part := list(islice(pairs, _AT_ONCE)):
            yield from pool.map(one, *zip(*part, strict=True))


def _list(layout: Layout, split: str, findings: Findings) -> list[Path]:
    """List a split's pictures, and say what its lists name in vain."""
    try:
        listing = layout.listing(split)
    except DataSetError as error:
        findings.add("split-missing", error)
        listing = Listing([])
    if not listing.images:
        findings.add("split-empty", split)
    for place, reason in listing.left_out:
        findings.add("list-line", place, reason)
    for image in listing.twice:
        findings.add("list-twice", image, f"in {split}")
    for place in listing.relative:
        findings.add("list-relative", place)
    return [Path(os.path.abspath(image)) for image in listing.images]


class _Tally:
    """Adds up the reports of a split."""

    def __init__(self, classes: int) -> None:
        self.boxes = np.zeros(classes, np.int64)
        self.labelled = self.with_file = 0
        self.without_file: list[Path] = []
        self._sizes: list[tuple[int, int]] = []
        self._sides: list[Array] = []
        self._scales: list[Array] = []

    def add(self, report: PictureReport) -> None:
        self.with_file += report.has_labels
        if not report.has_labels:
            self.without_file.append(report.image)
        self.labelled += report.rows > 0
        np.add.at(self.boxes, report.classes, 1)
        if report.width:
            self._sizes.append((report.width, report.height))
            self._sides.append(report.sides.astype(np.float32))
            self._scales.append(
                np.full(len(report.sides), 1 / max(report.width, report.height), np.float32)
            )

    def count(self, images: list[Path]) -> SplitCount:
        sides = np.concatenate(self._sides) if self._sides else np.zeros((0, 2), np.float32)
        scales = np.concatenate(self._scales) if self._scales else np.zeros(0, np.float32)
        sizes = np.array(self._sizes, np.int64).reshape(-1, 2)
        return SplitCount(len(images), self.labelled, self.boxes, sizes, sides, scales, images)


def _side(layout: Layout, split: str, images: list[Path], findings: Findings) -> SideFiles:
    try:
        return read_sides(layout, split, images)
    except SideLost as error:
        findings.add("side-lost", error)
    except DataSetError as error:
        findings.add("side-damaged", error)
    return SideFiles()


def _check_side(report: PictureReport, side: SideFiles, findings: Findings) -> None:
    if not side:
        return
    entry = side.of(report.image)
    size = report.width, report.height
    if entry is None:
        findings.add("side-partial", report.image)
    elif entry.boxes and len(entry.boxes) != report.rows:
        text = f"{len(entry.boxes)} boxes there, {report.rows} label rows"
        findings.add("side-mismatch", report.image, text)
    elif entry.width and report.width and (entry.width, entry.height) != size:
        there = f"{entry.width}x{entry.height}"
        text = f"{there} there, the picture is {size[0]}x{size[1]}"
        findings.add("side-mismatch", report.image, text)


def _check_sides(layout: Layout, counts: dict[str, SplitCount], findings: Findings) -> None:
    """Look at the side files themselves: lines without a picture, and files that nobody reads."""
    used = {file.path: file for count in counts.values() for file in count.side.files}
    for path, file in sorted(used.items()):
        for name in file.images:
            if not os.path.isfile(file.root / name):
                findings.add("side-orphan", path, name)
    places = {side_place(image) for count in counts.values() for image in count.files}
    claimed = {place for place in places if place}
    roots = {layout.root} | {place.parent.parent for place in claimed}
    unread = unread_sides(sorted(roots), claimed | set(used))
    for path, homeless in unread.items() if set(counts) == set(layout.splits) else ():
        if homeless:
            findings.add("side-unread", path)
        try:
            read_side(path, len(layout.names))
        except DataSetError as error:
            findings.add("side-damaged", error)


def _check_stems(images: list[Path], labels: list[Path], findings: Findings) -> None:
    owners: dict[Path, Path] = {}
    for image, label in zip(images, labels, strict=True):
        first = owners.setdefault(label, image)
        if first != image:
            findings.add("stem-shared", image, f"shares {label.name} with {first.name}")


def _check_neighbours(sources: Iterable[Path], images: list[Path], findings: Findings) -> None:
    """Look beside the pictures and labels for files that nothing leads to."""
    suffixes = image_suffixes()
    whole = {source for source in sources if source.is_dir()}
    folders = {image.parent for image in images}
    beside = {path for folder in folders | whole for path in _files(folder)}
    known = set(images) | {path for path in beside if path.suffix.lower() in suffixes}
    expected = set(label_files(sorted(known)))
    label_folders = {label.parent for label in expected}
    for path in sorted(path for folder in label_folders for path in _files(folder)):
        if path.suffix != ".txt" and path.suffix.lower() == ".txt":
            findings.add("label-case", path)
        elif (
            path.suffix == ".txt" and path not in expected and path.name.lower() not in _NOT_LABELS
        ):
            empty = path.stat().st_size < _SMALL and not path.read_bytes().strip()
            findings.add("label-orphan-empty" if empty else "label-orphan", path)
    ours = {".txt", ".npy", ".cache", ".json", ".jsonl", ".yaml", ".md", ".xml"}
    for path in sorted(beside - known):
        if path.suffix.lower() not in ours and not path.name.startswith("."):
            picture = path.suffix.lower() in _PICTURES
            findings.add("image-foreign" if picture else "foreign", path)


def _files(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if entry.is_file()]
    except OSError:
        return []


def _check_across(counts: dict[str, SplitCount], findings: Findings) -> None:
    """Look for the same pictures in two splits, or twice in one."""
    same = set()
    for one, other in combinations(counts, 2):
        if counts[one].files and counts[one].files == counts[other].files:
            same |= {other}
            code = "split-same" if "train" in (one, other) else "test-is-val"
            findings.add(code, f"{one} and {other}", f"{counts[one].images} pictures")
    homes: dict[Path, set[str]] = {}
    for split, count in counts.items():
        for file in count.files if split not in same else ():
            homes.setdefault(file, set()).add(split)
    for file, splits in homes.items():
        if len(splits) > 1:
            findings.add("leak", file, f"is in {' and '.join(sorted(splits))}")
    for group in same_files(homes):
        if len(set().union(*(homes[file] for file in group))) > 1:
            findings.add(
                "leak", ", ".join(f"{file} ({'/'.join(sorted(homes[file]))})" for file in group)
            )
        else:
            findings.add("copy", ", ".join(str(file) for file in group))


def _check_classes(layout: Layout, counts: dict[str, SplitCount], findings: Findings) -> None:
    if not any(count.boxes.sum() for count in counts.values()):
        return  # said already, and louder
    trained = counts["train"].boxes if "train" in counts else None
    for number, name in layout.names.items():
        seen = [split for split, count in counts.items() if count.boxes[number]]
        if not seen:
            if set(counts) == set(layout.splits):
                findings.add("class-unseen", f"{number} {name}")
        elif trained is not None and not trained[number]:
            findings.add("class-untrained", f"{number} {name}", f"only in {', '.join(seen)}")
        else:
            for split in sorted(
                split for split in set(counts) - set(seen) if counts[split].boxes.any()
            ):
                findings.add("class-unmeasured", f"{number} {name}", split)
