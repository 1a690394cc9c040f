"""A whole data set, checked split by split and then across splits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scsa_yolo.datasets.check.copies import same_files
from scsa_yolo.datasets.check.image import PictureReport, inspect
from scsa_yolo.datasets.check.rules import Findings
from scsa_yolo.datasets.layout.dataset import DataSetError, Layout, image_suffixes, label_files
from scsa_yolo.datasets.layout.side import SideFile, read_side

__all__ = ["SplitCount", "check_data"]

Array = NDArray[Any]
_AT_ONCE = 512  # pictures handed to the threads, so that the reports of a large set do not pile up
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
    """

    images: int
    labelled: int
    boxes: Array
    sizes: Array
    sides: Array
    scales: Array
    files: list[Path] = field(default_factory=list, repr=False)

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
    chosen = list(layout.splits) if splits is None else list(splits)
    for split in chosen:
        missing = layout.missing(split)
        for source in missing:
            findings.add("split-missing", source, f"split {split!r}")
        if not missing:
            counts[split] = _check_split(layout, split, pixels, workers, findings)
    _check_across(counts, findings)
    _check_classes(layout, counts, findings)
    return counts, findings


def _check_split(
    layout: Layout, split: str, pixels: bool, workers: int | None, findings: Findings
) -> SplitCount:
    try:
        images = layout.images(split)
    except DataSetError as error:
        findings.add("split-missing", error)
        images = []
    if not images:
        findings.add("split-empty", split)
    labels = label_files(images)
    side = _side(layout, split, findings)
    _check_stems(images, labels, findings)
    _check_neighbours(layout.sources(split), images, findings)
    tally = _Tally(len(layout.names))
    workers = workers or min(8, os.cpu_count() or 1)
    pairs = iter(zip(images, labels, strict=True))
    with ThreadPoolExecutor(workers) as pool:
        while part := list(islice(pairs, _AT_ONCE)):
            for report in pool.map(
                lambda pair: inspect(pair[0], pair[1], len(layout.names), pixels), part
            ):
                for code, where, text in report.found:
                    findings.add(code, where, text)
                tally.add(report)
                if side:
                    _check_side(report, side, layout, findings)
    if images and not tally.with_file:
        findings.add("labels-none", f"{split}: looked for {labels[0]} and so on")
    else:
        for image in tally.without_file:
            findings.add("label-missing", image)
    return tally.count(images)


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


def _side(layout: Layout, split: str, findings: Findings) -> SideFile | None:
    path = layout.side_file(split)
    if not path.exists():
        return None
    try:
        return read_side(path, len(layout.names))
    except DataSetError as error:
        findings.add("side-damaged", error)
        return None


def _check_side(report: PictureReport, side: SideFile, layout: Layout, findings: Findings) -> None:
    entry = side.of(report.image, layout.root)
    if entry is None:
        findings.add("side-partial", report.image)
    elif entry.boxes and len(entry.boxes) != report.rows:
        findings.add(
            "side-mismatch",
            report.image,
            f"{len(entry.boxes)} boxes there, {report.rows} label rows",
        )
    elif (
        entry.width
        and report.width
        and (entry.width, entry.height) != (report.width, report.height)
    ):
        there = f"{entry.width}x{entry.height}"
        findings.add(
            "side-mismatch",
            report.image,
            f"{there} there, the picture is {report.width}x{report.height}",
        )


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
            empty = not path.read_bytes().strip()
            findings.add("label-orphan-empty" if empty else "label-orphan", path)
    ours = {".txt", ".npy", ".cache", ".json", ".jsonl", ".yaml", ".md", ".xml"}
    for path in sorted(beside - known):
        if path.suffix.lower() not in ours and not path.name.startswith("."):
            findings.add("foreign", path)


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
