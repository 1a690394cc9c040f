"""Studies: a plan, its runs, a record of each, and what may be said from them.

`docs/studies.md` walks through one. The plan is fixed first; every run is Ultralytics' own trainer
in a process of its own; the report reads nothing but the plan and the records.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scsa_yolo.study.planning.plan import Arm, Plan, PlanError, load, parse, plan_hash
    from scsa_yolo.study.planning.schedule import Run
    from scsa_yolo.study.records.record import RecordError, load_all
    from scsa_yolo.study.running.local import StudyError, run_study

_LAZY = {
    "Arm": "scsa_yolo.study.planning.plan",
    "Plan": "scsa_yolo.study.planning.plan",
    "PlanError": "scsa_yolo.study.planning.plan",
    "RecordError": "scsa_yolo.study.records.record",
    "Run": "scsa_yolo.study.planning.schedule",
    "StudyError": "scsa_yolo.study.running.local",
    "load": "scsa_yolo.study.planning.plan",
    "load_all": "scsa_yolo.study.records.record",
    "parse": "scsa_yolo.study.planning.plan",
    "plan_hash": "scsa_yolo.study.planning.plan",
    "run_study": "scsa_yolo.study.running.local",
}

__all__ = [
    "Arm",
    "Plan",
    "PlanError",
    "RecordError",
    "Run",
    "StudyError",
    "load",
    "load_all",
    "parse",
    "plan_hash",
    "run_study",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _LAZY:
        raise AttributeError(
            f"module 'scsa_yolo.study' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    return getattr(importlib.import_module(_LAZY[name]), name)
