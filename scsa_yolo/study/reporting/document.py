"""The content of a report as plain data, of which `markdown` and `html` make text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "Block",
    "Code",
    "Details",
    "Figure",
    "Heading",
    "Inline",
    "Items",
    "Line",
    "Mark",
    "Table",
    "Text",
    "parts",
]


@dataclass(frozen=True)
class Mark:
    """Text that stands out: `kind` is ``strong``, ``code``, or one of the verdicts of
    `scsa_yolo.study.reporting.verdict`.
    """

    text: str
    kind: str = "strong"


Inline = str | Mark
Line = Inline | tuple[Inline, ...]


@dataclass(frozen=True)
class Heading:
    """A heading of level 1 to 3."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; a `note` is set smaller."""

    line: Line
    note: bool = False


@dataclass(frozen=True)
class Items:
    """A list."""

    lines: Sequence[Line]


@dataclass(frozen=True)
class Table:
    """A table: the first column holds names, the others numbers unless `words` lists their
    index.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Line]]
    words: Sequence[int] = (0,)


@dataclass(frozen=True)
class Figure:
    """A drawing, for HTML alone."""

    svg: str
    caption: str
    title: str = ""


@dataclass(frozen=True)
class Code:
    """Text to copy."""

    text: str
    language: str = ""


@dataclass(frozen=True)
class Details:
    """What is folded away until it is asked for."""

    title: str
    blocks: Sequence[Block]


Block = Heading | Text | Items | Table | Figure | Code | Details


def parts(line: Line) -> tuple[Inline, ...]:
    """Return a line as its parts."""
    return line if isinstance(line, tuple) else (line,)
