"""A report as Markdown, for pages of documentation; drawings are left to the HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable

from scsa_yolo.study.reporting.document import (
    Block,
    Code,
    Details,
    Figure,
    Heading,
    Items,
    Line,
    Mark,
    Table,
    Text,
    parts,
)

__all__ = ["render"]

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~])")


def render(blocks: Iterable[Block]) -> str:
    """Return Markdown that ends with a line break."""
    return "\n\n".join(text for block in blocks if (text := _block(block))) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {_escaped(text)}"
        case Text(line, _):
            return _line(line)
        case Items(lines):
            return "\n".join(f"- {_line(line)}" for line in lines)
        case Table():
            return _table(block)
        case Code(text, language):
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
            return f"{fence}{language}\n{text.rstrip()}\n{fence}"
        case Details(title, inner):
            return f"<details><summary>{_escaped(title)}</summary>\n\n{render(inner)}\n</details>"
        case Figure():
            return ""


def _table(table: Table) -> str:
    rule = ["---" if column in table.words else "---:" for column in range(len(table.head))]
    rows = [
        [_escaped(name) for name in table.head],
        rule,
        *([_line(cell) for cell in row] for row in table.rows),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _line(line: Line) -> str:
    return "".join(
        _mark(part) if isinstance(part, Mark) else _escaped(part) for part in parts(line)
    )


def _mark(mark: Mark) -> str:
    if mark.kind == "code":
        text = " ".join(mark.text.split()).replace("|", "\\|")
        fence = "``" if "`" in text else "`"
        return f"{fence}{text}{fence}"
    stars = "**" if mark.kind == "strong" else "*"
    return f"{stars}{_escaped(mark.text)}{stars}"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()) if "\n" in text or "\r" in text else text)
