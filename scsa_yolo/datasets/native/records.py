"""What a reader of a native format hands to the writer: boxes in pixels, what not to count, and
what it found.

Pixels are those of edges, 0-based: a box over a whole 640x480 image is (0, 0, 640, 480).
"""

from __future__ import annotations

import codecs
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from scsa_yolo.datasets.layout.basics import XYXY, Unreadable
from scsa_yolo.support.files import open_regular

# What becomes of a finding. Errors, that is input which cannot be read as its format, and guesses,
# that is what the source does not say, stop a strict conversion.
KINDS = ("error", "guess", "dropped", "changed", "moved", "note")
STOPPING = ("error", "guess")
# Why a box is not counted as ground truth: the vocabulary of the side file.
REASONS = ("region", "crowd", "difficult", "others", "dontcare")

_MARKS = (  # of UTF-32 first: that of UTF-16 is its beginning
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
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
    label: str = ""  # the class as the source names it, where ``kind`` is None


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
    rows: Counter[str] = field(default_factory=Counter)  # how many were read, by class
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)  # by class and code

    def tell(self, kind: str, code: str, reason: str, line: int | None = None) -> None:
        """Add a finding about this annotation."""
        self.findings.append(Finding(kind, code, self.file, line, reason))

    def drop(self, label: str, kind: str, code: str, reason: str, line: int | None = None) -> None:
        """Add a finding that a row of a class, which is counted in ``rows``, is dropped."""
        self.dropped[label, code] += 1
        self.tell(kind, code, reason, line)


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
    roles: Mapping[str, tuple[str, ...]]  # train, val and test of the data YAML -> splits
    own_test: bool = False  # whether the owners validate on the test split


def number(text: str) -> float | None:
    """Return a finite decimal number, or None: ``float`` alone also takes "nan", "1_0" and Arabic
    digits.
    """
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def whole(value: Any) -> int | None:
    """Return a JSON value as a whole number: 3, 3.0 and "3" are the same; None for all others."""
    if isinstance(value, str):
        value = number(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not value.is_integer():  # neither is infinity
        return None
    return int(value)


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


def read_bytes(path: Path) -> bytes:
    """Read an annotation file.

    Raises:
        OSError: It cannot be opened, or is a pipe or a device.
    """
    with open_regular(path) as file:
        return file.read()


def read_text(path: Path) -> str:
    """Read an annotation file of text: UTF-8, or UTF-16 and UTF-32 with their mark.

    Raises:
        Unreadable: It is empty, or binary.
        OSError: It cannot be opened, or is a pipe or a device.
    """
    data = read_bytes(path)
    text = _marked(data)
    if text is not None:
        if not text.strip():
            raise Unreadable("the file is empty")
        return text
    if not data.strip():
        raise Unreadable("the file is empty")
    if b"\0" in data:
        raise Unreadable("the file is binary, not text", 1 + data[: data.index(b"\0")].count(b"\n"))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise Unreadable(
            f"not text (byte 0x{data[e.start]:02x}); save it as UTF-8",
            1 + data[: e.start].count(b"\n"),
        ) from None


def _marked(data: bytes) -> str | None:
    """Decode what begins with the mark of UTF-16 or UTF-32; None if nothing does."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError:
                return None
    return None
