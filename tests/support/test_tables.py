"""Cells that a spreadsheet would run are text; numbers are numbers."""

from __future__ import annotations

from typing import Any

import pytest

from scsa_yolo.support.tables import safe_cell

FORMULAS = (
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-1+1",
    "-cmd",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "--1",
    "=",
    "\uff1d1+1",
)
PLAIN = ("", "a", "a=b", "0.5", "-0.5", "+1", "-1e-9", "-.5", "1.", "'=1", " =1", "yolov8n-scsa")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [*PLAIN, -0.5, -3, True, None])
def test_everything_else_stays(value: Any) -> None:
    assert safe_cell(value) is value
