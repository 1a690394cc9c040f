"""Cells of a CSV file that a spreadsheet shall take as text."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["safe_cell"]

# A spreadsheet runs a cell that begins with one of these as a formula; the last four are the wide
# forms, which some take for the same.
_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def safe_cell(value: Any) -> Any:
    """Return a cell's value; a text that would run as a formula gets an apostrophe before it.

    Numbers stay as they are, also as text: ``-0.5`` and ``+1e-3``. Who reads the file by a program
    takes the apostrophe away again where it stands before one of ``= + - @``.
    """
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}" if value.startswith(_BEGINNINGS) else value
