"""One picture and its label file, checked: headers only, unless pixels are asked for."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from scsa_yolo.datasets.layout.dataset import image_suffixes
from scsa_yolo.datasets.layout.labels import Labels, read_labels
from scsa_yolo.datasets.layout.pictures import PIL_ERRORS, open_image, require_regular

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
    ".jp2": {"JPEG2000"},
    ".avif": {"AVIF"},
    ".heic": {"HEIF"},
    ".heif": {"HEIF"},
}
_HEIC = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_AVIF = frozenset({b"avif", b"avis"})
_TURNED_BY_TAG = frozenset({"JPEG", "MPO", "PNG", "AVIF"})
# px that a box may reach over the border before it is worth a word: rounding of labels
_OUTSIDE = 0.05


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
    report.has_labels = os.path.exists(label)
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
        if not os.path.exists(path):
            report.add("image-missing", path)
            return
        require_regular(path)
        with warnings.catch_warnings():
            # PIL's, on huge pictures and odd EXIF: not errors of the data
            warnings.simplefilter("ignore")
            with _open(path) as picture:
                report.width, report.height = picture.size
                ends = _ends(path, picture)
                _inspect_header(report, picture)
                if not ends:
                    report.add("image-end", path)
                if pixels or not ends:  # a JPEG without its end mark Ultralytics decodes too
                    _decode(report, picture)
            if picture.format == "PNG":
                _verify(path)
    except PIL_ERRORS as error:
        report.width = report.height = 0
        if missing := _needs(path, error):
            report.add("image-format", path, missing)
        else:
            report.add("image-unreadable", path, _reason(path, error))


def _open(path: Path) -> Image.Image:
    """Open a picture; HEIC by the package that Ultralytics uses for it, where it is installed."""
    try:
        return open_image(path)
    except UnidentifiedImageError:
        if _brand(path) not in _HEIC or importlib.util.find_spec("pi_heif") is None:
            raise
        importlib.import_module("pi_heif").register_heif_opener()
        return open_image(path)


def _reason(path: Path, error: Exception) -> str:
    if os.path.isfile(path) and not os.path.getsize(path):
        return "empty file"
    return str(error).split(" '/")[0] or type(error).__name__


def _needs(path: Path, error: Exception) -> str | None:
    """Say what is missing for a format that not every installation reads; None if nothing is."""
    brand = _brand(path) if isinstance(error, UnidentifiedImageError) else b""
    if brand in _HEIC:
        return "HEIC: this format needs pi-heif (pip install pi-heif), or save it as JPEG"
    if brand in _AVIF and not features.check("avif"):
        return "AVIF: this format needs Pillow 11.3 or newer with AVIF, or save it as JPEG"
    return None


def _brand(path: Path) -> bytes:
    """Return the brand in the first box of an ISO media file, which HEIC and AVIF are."""
    with path.open("rb") as file:
        head = file.read(12)
    return head[8:] if head[4:8] == b"ftyp" else b""


def _verify(path: Path) -> None:
    """Check the sums of a PNG's chunks, as Ultralytics does before it takes a picture."""
    with open_image(path) as picture:
        picture.verify()


def _inspect_header(report: PictureReport, picture: Image.Image) -> None:
    path, kind = report.image, picture.format or ""
    if kind.lower() not in _taken():
        report.add("image-format", path, f"{kind}: Ultralytics refuses this format")
    elif kind not in _KINDS.get(path.suffix.lower(), {kind}):
        report.add("image-suffix", path, f"is {kind}")
    if min(picture.size) < 10:
        report.add("image-small", path, f"{report.width}x{report.height} px")
    if deep := _depth(picture):
        report.add("image-depth", path, deep)
    turn = Image.Image.getexif(picture).get(274, 1)  # PNG's own way to it decodes the pixels
    if turn in range(2, 9):
        report.add("image-turned", path, f"orientation {turn}")
        if turn in (5, 6, 7, 8):
            report.width, report.height = _turned(path, kind, picture.size)


def _ends(path: Path, picture: Image.Image) -> bool:
    """Tell whether a JPEG has its end mark, which Ultralytics wants in the last two bytes."""
    if picture.format != "JPEG":
        return True
    with path.open("rb") as file:
        file.seek(-2, os.SEEK_END)
        return file.read() == b"\xff\xd9"


@functools.cache
def _taken() -> frozenset[str]:
    """Names of formats, as PIL gives them in lower case, that Ultralytics takes."""
    return frozenset(suffix[1:] for suffix in image_suffixes()) | {"jpeg2000"}


def _depth(picture: Image.Image) -> str | None:
    """Return how deep a picture's pixels are if Ultralytics makes 8 bits of them."""
    if picture.mode[0] in "IF":
        return picture.mode
    bits: Any = 8
    if picture.format == "PNG":  # PIL calls 16 bits of red, green and blue plain RGB
        tiles = getattr(picture, "tile", ())
        bits = 16 if any(";16" in str(tile[3]) for tile in tiles) else 8
    elif picture.format == "TIFF":
        bits = picture.tag_v2.get(258, 8)  # type: ignore[attr-defined]
    deepest = max(bits) if isinstance(bits, tuple) else bits
    return f"{picture.mode} with {deepest} bits a channel" if deepest > 8 else None


def _turned(path: Path, kind: str, size: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a picture on its side as Ultralytics reads it."""
    if kind in _TURNED_BY_TAG:
        return size[1], size[0]
    from ultralytics.utils.patches import imread  # what turns differs from version to version

    decoded = imread(path)
    return size if decoded is None else (decoded.shape[1], decoded.shape[0])


def _decode(report: PictureReport, picture: Image.Image) -> None:
    try:
        picture.load()
    except PIL_ERRORS as error:
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
