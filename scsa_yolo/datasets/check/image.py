"""One picture and its label file, checked: headers only, unless pixels are asked for."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scsa_yolo.datasets.layout.labels import Labels, read_labels
from scsa_yolo.datasets.layout.pictures import open_image

__all__ = ["PictureReport", "inspect"]

Array = NDArray[Any]
_KINDS = {  # what PIL says a picture with this suffix may be
    ".jpg": {"JPEG", "MPO"},
    ".jpeg": {"JPEG", "MPO"},
    ".png": {"PNG"},
    ".bmp": {"BMP"},
    ".tif": {"TIFF"},
    ".tiff": {"TIFF"},
    ".webp": {"WEBP"},
}
_OUTSIDE = (
    0.05  # px that a box may reach over the border before it is worth a word: rounding of labels
)


@dataclass
class PictureReport:
    """What is known of a picture.

    Attributes:
        image: Its path.
        width: Pixels as Ultralytics sees them, 0 if unreadable.
        height: The same.
        classes: (N,) classes of the rows that can be read.
        sides: (N, 2) width and height of their boxes in pixels.
        has_labels: Whether the label file is there.
        rows: Rows of the label file that can be read, repeats included.
        found: Rule, place and text of what is wrong.
    """

    image: Path
    width: int = 0
    height: int = 0
    classes: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    sides: Array = field(default_factory=lambda: np.zeros((0, 2)))
    has_labels: bool = False
    rows: int = 0
    found: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, code: str, where: object, text: str = "") -> None:
        """Note that rule `code` is broken."""
        self.found.append((code, str(where), text))


def inspect(image: Path, label: Path, classes: int, pixels: bool) -> PictureReport:
    """Check a picture and its label file.

    Args:
        image: The picture.
        label: Its label file, which need not exist.
        classes: Number of classes.
        pixels: Decode the picture instead of reading its header only.
    """
    report = PictureReport(image)
    _inspect_picture(report, pixels)
    report.has_labels = label.exists()
    if not report.has_labels:
        return report
    labels = read_labels(label, classes)
    for problem in labels.problems:
        report.add(problem.code, f"{label}:{problem.line}" if problem.line else label, problem.text)
    if labels.polygons:
        report.add("polygons", label)
    if not len(labels.classes) and not labels.problems:
        report.add("background", image)
    _inspect_boxes(report, label, labels)
    return report


def _inspect_picture(report: PictureReport, pixels: bool) -> None:
    path = report.image
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # PIL's, on huge pictures and odd EXIF: not errors of the data
            by_plugin = path.suffix.lower() in {
                ".heic",
                ".heif",
            }  # read by what Ultralytics installs for them
            with Image.open(path) if by_plugin else open_image(path) as picture:
                report.width, report.height = picture.size
                _inspect_header(report, picture)
                if pixels:
                    _decode(report, picture)
    except FileNotFoundError:
        report.add("image-missing", path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        empty = path.is_file() and not path.stat().st_size
        report.add("image-unreadable", path, "empty file" if empty else str(error).split(" '/")[0])


def _inspect_header(report: PictureReport, picture: Image.Image) -> None:
    path, kind = report.image, picture.format or ""
    if min(picture.size) < 10:
        report.add("image-small", path, f"{report.width}x{report.height} px")
    if kind not in _KINDS.get(path.suffix.lower(), {kind}):
        report.add("image-suffix", path, f"is {kind}")
    if picture.mode.startswith("I"):
        report.add("image-depth", path, picture.mode)
    turn = Image.Image.getexif(picture).get(274, 1)  # PNG's own way to it decodes the pixels
    if turn not in (0, 1):
        report.add("image-turned", path, f"orientation {turn}")
        if turn in (5, 6, 7, 8):
            report.width, report.height = report.height, report.width
    if kind == "JPEG":
        with path.open("rb") as file:
            file.seek(-2, 2)
            if file.read() != b"\xff\xd9":
                report.add("image-end", path)


def _decode(report: PictureReport, picture: Image.Image) -> None:
    try:
        picture.load()
    except (OSError, ValueError, SyntaxError) as error:
        report.add("image-truncated", report.image, str(error))


def _inspect_boxes(report: PictureReport, label: Path, labels: Labels) -> None:
    report.rows = len(labels.classes)
    kept = labels.unique()
    for row in sorted(set(range(report.rows)) - set(kept.tolist())):
        report.add("box-duplicate", f"{label}:{labels.lines[row]}")
    report.classes = labels.classes[kept]
    width, height = report.width or 1, report.height or 1
    sides = labels.xywh[:, 2:] * (width, height)
    report.sides = sides[kept]
    flat = (labels.xywh[:, 2:] <= 0).any(1)
    for row in np.flatnonzero(flat).tolist():
        report.add("box-degenerate", f"{label}:{labels.lines[row]}")
    if not report.width:
        return
    for row in np.flatnonzero((sides < 1).any(1) & ~flat).tolist():
        report.add(
            "box-thin",
            f"{label}:{labels.lines[row]}",
            f"{sides[row, 0]:.2f}x{sides[row, 1]:.2f} px",
        )
    corners = labels.xyxy(width, height)
    over = np.maximum(-corners[:, :2], corners[:, 2:] - (width, height)).max(1, initial=-1)
    gone = (corners[:, 2:] <= 0).any(1) | (corners[:, :2] >= (width, height)).any(1)
    for row in np.flatnonzero(gone & ~flat).tolist():
        report.add("box-gone", f"{label}:{labels.lines[row]}")
    for row in np.flatnonzero((over > _OUTSIDE) & ~gone & ~flat).tolist():
        report.add("box-outside", f"{label}:{labels.lines[row]}", f"by {over[row]:.1f} px")
