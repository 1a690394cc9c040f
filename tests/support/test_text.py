"""Words for people, cells for spreadsheets."""

from __future__ import annotations

from typing import Any

import pytest

from scsa_yolo.support.text import counted, csv_cell, one_line


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-run-3", "'-run-3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("-0.25", "-0.25"),
        ("+1e-3", "+1e-3"),
        ("-1_0", "'-1_0"),
        (-0.25, -0.25),
        (3, 3),
        (None, ""),
        ("plain = text", "plain = text"),
        ("", ""),
    ],
)
def test_no_cell_is_a_formula(value: Any, expected: Any) -> None:
    assert csv_cell(value) == expected


def test_counts() -> None:
    assert counted(1, "thread") == "1 thread"
    assert counted(0, "thread") == "0 threads"
    assert counted(1200, "box", "boxes") == "1,200 boxes"


def test_one_line() -> None:
    assert one_line(" a\n  b\tc ") == "a b c"
