"""Text for people and for spreadsheets: counts in words, cells that are no formula."""

from __future__ import annotations

from typing import Any

# The last four are the wide forms of the first: some spreadsheets take them for the same.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def counted(number: int, word: str, several: str | None = None) -> str:
    """Return ``1 thread`` or ``2 threads``; `several` is the plural where no ``s`` makes it."""
    plural = several or f"{word}s"
    return f"{number:,} {word if number == 1 else plural}"


def one_line(text: str) -> str:
    """Return the text with every run of blanks and line ends as one blank."""
    return " ".join(text.split())


def printable(text: object) -> str:
    """Return text that any file or screen takes: bytes of a file name that are no UTF-8 as
    escapes.
    """
    return str(text).encode("utf-8", "backslashreplace").decode()


def csv_cell(value: Any) -> Any:
    """Return a value for a CSV file in such a way that no spreadsheet runs it as a formula.

    Text that begins with one of ``= + - @``, a tab or a carriage return gets an apostrophe before
    it (CWE-1236). Numbers stay numbers, the negative ones too, and None becomes an empty cell.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    return f"'{value}" if value.startswith(_FORMULA) and not _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
