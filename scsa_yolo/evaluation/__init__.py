"""Detectors measured: AP by size, class and lighting, and by the drone benchmark's own rules.

See `docs/evaluation.md` for what each set of rules counts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scsa_yolo.evaluation.evaluator import evaluate
    from scsa_yolo.evaluation.predict import EvaluationError
    from scsa_yolo.evaluation.result import Evaluation, Row, Scores

_LAZY = {
    "Evaluation": "scsa_yolo.evaluation.result",
    "EvaluationError": "scsa_yolo.evaluation.predict",
    "Row": "scsa_yolo.evaluation.result",
    "Scores": "scsa_yolo.evaluation.result",
    "evaluate": "scsa_yolo.evaluation.evaluator",
}

__all__ = ["Evaluation", "EvaluationError", "Row", "Scores", "evaluate"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _LAZY:
        raise AttributeError(
            f"module 'scsa_yolo.evaluation' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    return getattr(importlib.import_module(_LAZY[name]), name)
