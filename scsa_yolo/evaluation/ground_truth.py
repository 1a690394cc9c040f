"""Read what a split shows: labelled boxes, boxes to ignore and conditions, and a fingerprint of it
all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scsa_yolo.datasets.layout.basics import Unreadable
from scsa_yolo.datasets.layout.dataset import Layout, label_files, require_usable
from scsa_yolo.datasets.layout.labels import Labels, read_labels
from scsa_yolo.datasets.layout.pictures import read_header
from scsa_yolo.datasets.layout.side import SideFiles, SideImage, read_sides
from scsa_yolo.evaluation.boxes import Truth
from scsa_yolo.evaluation.predict import EvaluationError

__all__ = ["GroundTruth", "read_ground_truth"]


@dataclass(frozen=True)
class GroundTruth:
    """A split as its files have it, before any picture is decoded.

    Attributes:
        layout: The data set.
        split: The split's name.
        labels: Rows of each picture, by its absolute path, exact repeats removed.
        side: The side files, empty if the data set has none.
        fingerprint: SHA-256 over the names of pictures and the contents of label files and side
            files.
    """

    layout: Layout
    split: str
    labels: dict[str, Labels]
    side: SideFiles
    fingerprint: str

    def truths(self, sizes: Mapping[str, tuple[int, int]]) -> list[Truth]:
        """Return what each of these pictures shows, in their order.

        Args:
            sizes: Width and height in pixels of each picture as decoded, by path.

        Raises:
            EvaluationError: The side file was made for pictures of another size.
        """
        return [self._truth(image, *size) for image, size in sizes.items()]

    def check_sizes(self) -> None:
        """Compare the sizes in the side file with those that the pictures' headers say.

        So a side file that was made for other pictures is found before the model has run. What
        cannot be read is left out here, as Ultralytics does.

        Raises:
            EvaluationError: The side file was made for pictures of another size.
        """
        for image in self.labels:
            extra = self._side_of(image)
            if extra is None or not extra.width:
                continue
            try:
                header = read_header(Path(image))
            except (Unreadable, OSError):
                continue
            size = header.width, header.height
            if (extra.width, extra.height) not in (size, size[::-1]):  # a tag may turn it
                raise self._other_size(image, extra, *size)

    def _other_size(self, image: str, extra: SideImage, width: int, height: int) -> EvaluationError:
        return EvaluationError(
            f"{self._file_of(image)}: {extra.image} is {extra.width}x{extra.height} there,"
            f" but the picture is {width}x{height}; convert the data set again"
        )

    def fits(self, image: str) -> bool:
        """Tell whether what the side file says of a picture's boxes, if anything, fits its label
        rows.
        """
        extra = self._side_of(image)
        rows = len(self.labels[os.path.abspath(image)].classes)
        return extra is None or not extra.boxes or len(extra.boxes) == rows

    def _truth(self, image: str, width: int, height: int) -> Truth:
        labels = self.labels[os.path.abspath(image)]
        extra = self._side_of(image) or SideImage(image, 0, 0)
        if extra.width and (extra.width, extra.height) != (width, height):
            raise self._other_size(image, extra, width, height)
        rows = labels.unique()
        boxes = labels.xyxy(width, height)[rows]
        areas = _areas(extra, len(labels.classes))
        chosen = None if areas is None else areas[rows]
        return Truth(
            image,
            width,
            height,
            boxes,
            labels.classes[rows],
            extra.ignore,
            extra.conditions,
            chosen,
        )

    def _side_of(self, image: str) -> SideImage | None:
        return self.side.of(Path(image))

    def _file_of(self, image: str) -> Path | None:
        found = self.side.file_of(Path(image))
        return found.path if found else None


def _areas(extra: SideImage, rows: int) -> NDArray[Any] | None:
    """Return the areas that the side file gives for all rows of the label file, None if it does
    not.
    """
    if not rows or len(extra.boxes) != rows:
        return None
    if not all("area" in box for box in extra.boxes):
        return None
    return np.array([box["area"] for box in extra.boxes], float)


def read_ground_truth(layout: Layout, split: str) -> GroundTruth:
    """Read labels and side file of a split.

    Raises:
        EvaluationError: The split has no picture, one that is a pipe or the like, or none of its
            pictures has a labelled box.
        DataSetError: The split is not there, or its side file is damaged or gone.
    """
    require_usable(layout)
    images = [Path(os.path.abspath(image)) for image in layout.images(split)]
    if not images:
        raise EvaluationError(f"{layout.yaml}: split {split!r} has no pictures")
    files = label_files(images)
    for path in (*images, *files):
        if os.path.exists(path) and not os.path.isfile(path):
            raise EvaluationError(f"{path}: not a regular file; take it away")
    side = read_sides(layout, split, images)
    total, labels = hashlib.sha256(), {}
    for image, file in zip(images, files, strict=True):
        labels[str(image)] = read_labels(file, len(layout.names))
        total.update(f"{_relative(image, layout.root)}\0".encode())
        total.update(file.read_bytes() if os.path.isfile(file) else b"")
        total.update(b"\0")
    for side_file in side.files:
        total.update(side_file.path.read_bytes())
    if not any(len(found.classes) for found in labels.values()):
        raise EvaluationError(
            f"{layout.yaml}: split {split!r} has no labelled box, so there is nothing to measure"
        )
    return GroundTruth(layout, split, labels, side, total.hexdigest())


def _relative(image: Path, root: Path) -> str:
    return image.relative_to(root).as_posix() if image.is_relative_to(root) else image.name
