"""Pictures that are not as large as their annotation says: were they resized, or is the size wrong?

Both are met: sets whose pictures were shrunk after they were annotated, and sets whose stated size
was never right. The boxes tell: they must lie in the frame that they were drawn in.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from scsa_yolo.datasets.layout.pictures import Header
from scsa_yolo.datasets.native.records import XYXY, Annotation, Box, Ignored

Size = tuple[int, int]

_SLACK = 2  # px by which a box may leave the frame that it was drawn in, and sizes may differ


class Ruling(NamedTuple):
    """Which frame the boxes of a picture lie in: "stated" or "file"; None where nobody can say."""

    frame: str | None
    reason: str


class Doubt(NamedTuple):
    """A picture whose stated size is another than its file's.

    Attributes:
        stated: Width and height that the annotation states.
        actual: Those of the file; turned, if its orientation tag and the stated size say so.
        in_stated: Whether the stated size holds all of its boxes.
        in_file: Whether the file's size does.
        empty: Whether it has no boxes.
    """

    stated: Size
    actual: Size
    in_stated: bool
    in_file: bool
    empty: bool

    @property
    def turned(self) -> bool:
        """Whether width and height are exchanged."""
        return self.stated == self.actual[::-1]


def doubt_of(header: Header, found: Annotation) -> Doubt | None:
    """Compare a picture's stated size with its file; None where they agree, to two pixels."""
    stored, stated = (header.width, header.height), found.stated_size
    turned = stored[::-1] if header.sideways else stored
    if stated is None or stated in (stored, turned):
        return None
    # whichever of the two has the stated proportions; the stored one if neither
    actual = turned if _skew(stated, turned) < _skew(stated, stored) else stored
    corners = [box.xyxy for box in found.boxes] + [box.xyxy for box in found.ignored]
    boxes = [xyxy for xyxy in corners if _has_area(xyxy)]
    return Doubt(stated, actual, _holds(stated, boxes), _holds(actual, boxes), not boxes)


def is_close(doubt: Doubt) -> bool:
    """Whether the sizes differ by no more than rounding does."""
    return all(abs(a - b) <= _SLACK for a, b in zip(doubt.stated, doubt.actual))


def _skew(a: Size, b: Size) -> float:
    return abs(a[0] * b[1] - a[1] * b[0]) / (a[1] * b[1])


def _has_area(xyxy: XYXY) -> bool:
    return xyxy[2] > xyxy[0] and xyxy[3] > xyxy[1]


def _holds(size: Size, boxes: list[XYXY]) -> bool:
    return all(x2 <= size[0] + _SLACK and y2 <= size[1] + _SLACK for _, _, x2, y2 in boxes)


@dataclass
class Evidence:
    """What the boxes of a whole set say."""

    votes: Counter[tuple[bool, str]] = field(default_factory=Counter)

    def add(self, doubt: Doubt) -> None:
        """Count a picture, where its boxes fit one frame alone."""
        if doubt.in_stated != doubt.in_file:
            self.votes[doubt.turned, "stated" if doubt.in_stated else "file"] += 1

    def ruling(self, doubt: Doubt) -> Ruling:
        """Decide by the picture's own boxes, else by those of the set."""
        if doubt.empty:
            return Ruling("file", "it has no boxes")
        if not doubt.in_stated and not doubt.in_file:
            return Ruling(None, "neither holds all of its boxes")
        if doubt.in_stated and doubt.in_file:
            stated = self.votes[doubt.turned, "stated"]
            file = self.votes[doubt.turned, "file"]
            if bool(stated) == bool(file):
                return Ruling(None, "both hold all of its boxes, and the set's do not tell")
            frame, holds = ("stated" if stated else "file"), "all boxes of the set"
        else:
            frame, holds = ("stated" if doubt.in_stated else "file"), "all of its boxes"
        if frame == "stated" and doubt.turned:
            return Ruling(None, "its pixels seem to have been turned")
        which = "the stated size" if frame == "stated" else "the file's size"
        return Ruling(frame, f"{which} alone holds {holds}")


def scale_to(found: Annotation, doubt: Doubt) -> None:
    """Bring all boxes from the stated frame into the file's."""
    x, y = doubt.actual[0] / doubt.stated[0], doubt.actual[1] / doubt.stated[1]
    found.boxes = [_scaled(box, x, y) for box in found.boxes]
    found.ignored = [_moved(box, x, y) for box in found.ignored]


def _scaled(box: Box, x: float, y: float) -> Box:
    area = {"area": box.flags["area"] * x * y} if "area" in box.flags else {}
    return box._replace(xyxy=_times(box.xyxy, x, y), flags={**box.flags, **area})


def _moved(box: Ignored, x: float, y: float) -> Ignored:
    return box._replace(xyxy=_times(box.xyxy, x, y))


def _times(xyxy: XYXY, x: float, y: float) -> XYXY:
    return xyxy[0] * x, xyxy[1] * y, xyxy[2] * x, xyxy[3] * y
