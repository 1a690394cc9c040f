"""What a reader of a native format hands to the writer: boxes in pixels, what not to count, and
what it found.

Pixels are those of edges, 0-based: a box over a whole 640x480 image is (0, 0, 640, 480).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from scsa_yolo.datasets.layout.basics import XYXY, Unreadable

# What becomes of a finding. Only errors, that is input which cannot be read as its format, stop a
# strict conversion.
KINDS = ("error", "dropped", "changed", "moved", "note")
# Why a box is not counted as ground truth: the vocabulary of the side file.
REASONS = ("region", "crowd", "difficult", "others", "dontcare")

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


class UsageError(ValueError):
    """The request cannot be carried out: a wrong folder, archive or option. The message says what
    to do.
    """


class NothingFound(UsageError):
    """The source is readable, but not in the layout that was asked for."""

    def __init__(self, given: Path, what: str, expected: str):
        super().__init__(f"{given}: {what}; expected {expected}")


class Refused(NamedTuple):
    """A parser's answer to a row that it cannot read."""

    reason: str


class Finding(NamedTuple):
    """One thing to say about the source: a row of DEST/conversion.jsonl."""

    kind: str  # of KINDS
    code: str  # the same for all findings of one sort, which the report counts
    file: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.reason}"


Tell = Callable[[Finding], None]


class Box(NamedTuple):
    """A box that counts, as annotated: not clipped yet."""

    kind: int
    xyxy: XYXY
    flags: Mapping[str, Any]
    line: int | None
    what: str = "box"  # how to call it in a message


class Ignored(NamedTuple):
    """A box that does not count; ``kind`` is None where the annotation names no class."""

    kind: int | None
    xyxy: XYXY
    reason: str  # of REASONS
    line: int | None


@dataclass(slots=True)
class Annotation:
    """All that the source says about one image."""

    file: str  # as shown to the user
    boxes: list[Box] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    conditions: Mapping[str, str] = field(default_factory=dict)
    stated_size: tuple[int, int] | None = None  # width, height
    leave_out: str | None = None  # the reason for which the image is left out

    def tell(self, kind: str, code: str, reason: str, line: int | None = None) -> None:
        """Add a finding about this annotation."""
        self.findings.append(Finding(kind, code, self.file, line, reason))


@dataclass(frozen=True, slots=True)
class Item:
    """An image to convert. ``read`` runs in a worker thread and may raise Unreadable."""

    split: str
    image: Path
    name: str  # of the file in images/<split>
    annotation: Path
    read: Callable[[], Annotation]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reader found in the source. ``items`` is lazy, ordered, and the same on each run."""

    names: tuple[str, ...]
    splits: tuple[str, ...]
    total: int
    items: Iterator[Item]
    roles: Mapping[str, tuple[str, ...]]  # train, val and test of data.yaml -> splits


def number(text: str) -> float | None:
    """Return a finite decimal number, or None: ``float`` alone also takes "nan", "1_0" and Arabic
    digits.
    """
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def is_finite(xyxy: XYXY) -> bool:
    """Whether no edge overflowed."""
    return all(map(math.isfinite, xyxy))


def clip(xyxy: XYXY, width: int, height: int) -> XYXY | None:
    """Cut a box at the image's border; None if nothing with an area is left."""
    x1, y1, x2, y2 = xyxy
    x1, y1 = max(float(x1), 0.0), max(float(y1), 0.0)
    x2, y2 = min(float(x2), float(width)), min(float(y2), float(height))
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def label_row(kind: int, xyxy: XYXY, width: int, height: int) -> str:
    """A row of a label file: class, centre and sides as shares of the image, with all digits that a
    float has.
    """
    x1, y1, x2, y2 = xyxy
    x, y, w, h = (
        (x1 + x2) / 2 / width,
        (y1 + y2) / 2 / height,
        (x2 - x1) / width,
        (y2 - y1) / height,
    )
    return f"{kind} {x!r} {y!r} {w!r} {h!r}\n"


def read_text(path: Path) -> str:
    """Read an annotation file of text.

    Raises:
        Unreadable: It is empty, or binary.
        OSError: It cannot be opened.
    """
    data = path.read_bytes()
    if not data.strip():
        raise Unreadable("the file is empty")
    if b"\0" in data:
        raise Unreadable("the file is binary, not text", 1 + data[: data.index(b"\0")].count(b"\n"))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise Unreadable(
            f"not text (byte 0x{data[e.start]:02x})", 1 + data[: e.start].count(b"\n")
        ) from None
