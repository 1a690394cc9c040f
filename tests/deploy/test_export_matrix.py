"""The export matrix: the page's table is the record's, and every cell of the record that counts is
there and equal.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def matrix() -> Any:
    spec = importlib.util.spec_from_file_location(
        "export_matrix", REPO / "benchmarks" / "export_matrix.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def kept(matrix: Any) -> dict[str, Any]:
    return json.loads(matrix.RECORDS.read_text(encoding="utf-8"))


def test_every_cell_was_run_and_is_equal(matrix: Any, kept: dict[str, Any]) -> None:
    cells = {(r["model"], r["attention"], r["target"]): r for r in kept["records"]}
    assert len(cells) == len(kept["records"]), "a cell is there twice"
    assert set(cells) == {
        (m, a, t) for m in matrix.MODELS for a in matrix.ATTENTIONS for t in matrix.TARGETS
    }
    for cell, record in cells.items():
        sizes = {"x".join(map(str, size)) for size in matrix.TARGETS[cell[2]][2]}
        assert set(record["largest_relative_error"]) == sizes
        assert max(record["largest_relative_error"].values()) <= 1e-3, cell
        assert record["equal"], cell
        assert not record["problems"], cell
        assert record["modules"] > 0


def test_the_page_shows_the_record(matrix: Any, kept: dict[str, Any]) -> None:
    page = matrix.PAGE.read_text(encoding="utf-8")
    assert matrix.page_with(page, matrix.table(kept)) == page, (
        "type: python benchmarks/export_matrix.py --table"
    )


def test_the_table_shows_what_failed_or_is_missing(matrix: Any) -> None:
    cell = {
        "model": "yolov8n",
        "attention": "SCSA",
        "problems": [],
        "modules": 10,
        "stray_rows": 0.0,
    }
    records = [
        {**cell, "target": "ONNX", "equal": True, "largest_relative_error": {"160x224": 2e-6}},
        {**cell, "target": "OpenVINO", "equal": False, "largest_relative_error": {"160x224": 0.5}},
        {
            "model": "yolov8n",
            "attention": "SCSA",
            "target": "TorchScript",
            "equal": False,
            "problems": ["no"],
        },
    ]
    rows = matrix.table({"versions": {"torch": "9"}, "records": records})
    assert "| yolov8n | SCSA | 10 | 2e-06 | not run | **differs** | **fails** |" in rows
    assert rows.endswith("1 of 60 equal; torch 9.")
    with pytest.raises(ValueError, match="needs the lines"):
        matrix.page_with("a page without markers", rows)
