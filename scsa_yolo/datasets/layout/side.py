"""Side files: what Ultralytics' label format cannot hold, written by the converters and read by the
evaluation.

``side/<split>.jsonl`` beside ``images/`` and ``labels/`` has a header line, then one JSON object
per picture: its size, its conditions (such as the light), flags of its boxes, and the boxes and
regions that count neither for nor against a detector.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scsa_yolo.datasets.layout.dataset import DataSetError

__all__ = ["FORMAT", "IgnoreBox", "SideFile", "SideImage", "read_side"]

FORMAT = "scsa-yolo side 1"


@dataclass(frozen=True)
class IgnoreBox:
    """A box that is neither right nor wrong to find.

    Attributes:
        cls: The class it concerns; None for all.
        xyxy: Corners in pixels.
        reason: ``region``, ``crowd``, ``difficult``, ``others`` or ``dontcare``.
    """

    cls: int | None
    xyxy: tuple[float, float, float, float]
    reason: str


@dataclass(frozen=True)
class SideImage:
    """One picture's line. `width` and `height` are pixels of the picture as it is decoded; 0 if not
    given.
    """

    image: str
    width: int
    height: int
    conditions: dict[str, str] = field(default_factory=dict)
    boxes: tuple[dict[str, int], ...] = ()
    ignore: tuple[IgnoreBox, ...] = ()


@dataclass(frozen=True)
class SideFile:
    """A split's side file; `images` by their path relative to the data set's folder, with ``/``."""

    path: Path
    dataset: str
    split: str
    images: dict[str, SideImage]

    def of(self, image: Path, root: Path) -> SideImage | None:
        """Return the line of a picture, None if it has none."""
        try:
            return self.images.get(image.relative_to(root).as_posix())
        except ValueError:  # listed from elsewhere
            return None


def read_side(path: Path, classes: int) -> SideFile:
    """Read a side file.

    Args:
        path: The file.
        classes: Number of classes of the data set.

    Raises:
        DataSetError: It cannot be read, or a line is damaged; the message names file and line.
    """
    lines = _objects(path)
    header = next(lines, None)
    if header is None or header.get("format") != FORMAT:
        raise DataSetError(
            f"{path}:1: no header {{'format': {FORMAT!r}}}; convert the data set again"
        )
    images: dict[str, SideImage] = {}
    for number, content in enumerate(lines, 2):
        try:
            entry = _image(content, classes)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise DataSetError(
                f"{path}:{number}: damaged: {reason}; convert the data set again"
            ) from error
        if entry.image in images:
            raise DataSetError(
                f"{path}:{number}: damaged: {entry.image} is there twice; convert the data set"
                " again"
            )
        images[entry.image] = entry
    return SideFile(path, str(header.get("dataset", "")), str(header.get("split", "")), images)


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                number += 1
                content = json.loads(line)
                if not isinstance(content, dict):
                    raise ValueError("not a JSON object")
                yield content
    except UnicodeDecodeError as error:
        raise DataSetError(
            f"{path}:{number + 1}: damaged: not text; convert the data set again"
        ) from error
    except ValueError as error:
        raise DataSetError(
            f"{path}:{number}: damaged: {error}; convert the data set again"
        ) from error
    except OSError as error:
        raise DataSetError(f"{path}: {error.strerror or error}") from error


def _image(content: dict[str, Any], classes: int) -> SideImage:
    conditions = content.get("conditions", {})
    boxes = content.get("boxes", [])
    if (
        not isinstance(conditions, dict)
        or not isinstance(boxes, list)
        or not isinstance(content["image"], str)
    ):
        raise ValueError("'image' must be text, 'conditions' an object, 'boxes' a list")
    return SideImage(
        image=content["image"],
        width=int(content.get("width", 0)),
        height=int(content.get("height", 0)),
        conditions={str(key): str(value) for key, value in conditions.items()},
        boxes=tuple(boxes),
        ignore=tuple(_ignore(box, classes) for box in content.get("ignore", [])),
    )


def _ignore(box: dict[str, Any], classes: int) -> IgnoreBox:
    number, corners = box.get("class"), box["xyxy"]
    if number is not None and not (isinstance(number, int) and 0 <= number < classes):
        raise ValueError(f"class {number!r} of an ignored box, but the data has 0 to {classes - 1}")
    if len(corners) != 4 or not all(
        isinstance(v, int | float) and math.isfinite(v) for v in corners
    ):
        raise ValueError(f"'xyxy' must be four numbers, not {corners!r}")
    left, top, right, bottom = map(float, corners)
    return IgnoreBox(number, (left, top, right, bottom), str(box["reason"]))
