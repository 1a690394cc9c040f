"""The runs of a study as CSV: one line a record, in the plan's order."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from scsa_yolo.study.reporting.evidence import Evidence, Record, Setting, final, number
from scsa_yolo.study.reporting.verdict import is_reference
from scsa_yolo.support.text import csv_cell

__all__ = ["as_csv"]

_HEAD = (
    "id",
    "model",
    "data",
    "arm",
    "role",
    "seed",
    "repeat",
    "status",
    "error",
    "attempts",
    "resumed",
    "started",
)
_VERSIONS = ("scsa_yolo", "ultralytics", "torch", "python")
_MEASURED = (
    "parameters",
    "gflops",
    "latency_ms",
    "latency_p95_ms",
    "seconds",
    "cpu_seconds",
    "peak_memory_mb",
)
_FROM = ("attention", "attention_count", "attention_parameters", "cpu", "gpu", "commit", "dirty")


def as_csv(evidence: Evidence) -> str:
    """Return the table's text; scores as shares of 1, empty where a run has none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    primary = evidence.plan.primary
    measured = (*_MEASURED, "peak_gpu_memory_mb")
    writer.writerow(
        [
            *_HEAD,
            *evidence.plan.metrics,
            f"{primary}_minus_control",
            *measured,
            *_FROM,
            *_VERSIONS,
            "hash",
        ]
    )
    for record in evidence.records.values():
        row = _row(evidence, record)
        writer.writerow([csv_cell(value) for value in row])
    return text.getvalue()


def _row(evidence: Evidence, record: Record) -> list[Any]:
    scores = [_cell(final(metric)(record)) for metric in evidence.plan.metrics]
    return [
        *_head(evidence, record),
        *scores,
        _difference(evidence, record),
        *_measured(record),
        *_found(record),
        *(_of(record["versions"], name) for name in _VERSIONS),
        record["hash"],
    ]


def _head(evidence: Evidence, record: Record) -> list[Any]:
    arm = record["arm"]
    reference = is_reference(evidence.plan.arms[arm])
    role = "control" if arm == evidence.plan.control else "reference" if reference else "under test"
    values = {**record, "role": role, "resumed": " ".join(map(str, record["resumed"] or ()))}
    return ["" if values[key] is None else values[key] for key in _HEAD]


def _difference(evidence: Evidence, record: Record) -> str:
    """Return the pair's difference; repeats and the control have none."""
    if record["repeat"] or record["arm"] == evidence.plan.control or record["status"] != "done":
        return ""
    other = evidence.find(
        Setting(record["model"], record["data"]), evidence.plan.control, record["seed"]
    )
    measure = final(evidence.plan.primary)
    ours, theirs = (
        measure(record),
        measure(other) if other is not None and other["status"] == "done" else None,
    )
    return "" if ours is None or theirs is None else _cell(ours - theirs)


def _measured(record: Record) -> list[str]:
    latency = [number(record["latency_ms"], key) for key in ("median", "p95")]
    costs = [number(record, key) for key in ("parameters", "gflops")]
    rest = [
        number(record, key)
        for key in ("seconds", "cpu_seconds", "peak_memory_mb", "peak_gpu_memory_mb")
    ]
    return [_cell(value) for value in (*costs, *latency, *rest)]


def _found(record: Record) -> list[Any]:
    attention = [_of(record["attention"], key) for key in ("class", "count", "parameters")]
    where = [_of(record["hardware"], key) for key in ("cpu", "gpu")]
    return [*attention, *where, *(_of(record["code"], key) for key in ("commit", "dirty"))]


def _of(content: Any, key: str) -> Any:
    value = content.get(key) if isinstance(content, Mapping) else None
    return "" if value is None else value


def _cell(value: float | None) -> str:
    return "" if value is None else repr(round(value, 9)).removesuffix(".0")
