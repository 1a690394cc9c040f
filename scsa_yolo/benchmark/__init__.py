"""Latency, throughput and memory of models that take turns in one run; see `docs/bench.md`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scsa_yolo.benchmark.calls import Settings
    from scsa_yolo.benchmark.measuring import Result, Row, bench
    from scsa_yolo.benchmark.output import table, write_csv, write_json, write_plot

_LAZY = {
    "Result": "measuring",
    "Row": "measuring",
    "Settings": "calls",
    "bench": "measuring",
    "table": "output",
    "write_csv": "output",
    "write_json": "output",
    "write_plot": "output",
}

__all__ = [
    "Result",
    "Row",
    "Settings",
    "bench",
    "table",
    "write_csv",
    "write_json",
    "write_plot",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _LAZY:
        raise AttributeError(
            f"module 'scsa_yolo.benchmark' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    return getattr(importlib.import_module(f"scsa_yolo.benchmark.{_LAZY[name]}"), name)
