"""Weights that runs start from, opened before the first run as a run would open them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from scsa_yolo.study.planning.file import PlanError
from scsa_yolo.study.planning.plan import Plan

__all__ = ["TRUST", "check_weights", "weights_of"]

TRUST = (
    "opening {}: a .pt file can run code of whoever made it. Open only files of people whom you"
    " trust, or set ULTRALYTICS_SAFE_LOAD=1"
)


def weights_of(plan: Plan) -> dict[str, str]:
    """Return key of the plan to the file of weights that it names."""
    named: dict[str, Any] = {"train.pretrained": plan.train.get("pretrained")}
    named |= {f"arms.{arm.name}.pretrained": arm.pretrained for arm in plan.arms.values()}
    return {key: value for key, value in named.items() if isinstance(value, str)}


def check_weights(plan: Plan, say: Callable[[str], None]) -> None:
    """Open each file of weights once.

    Raises:
        PlanError: It is not there, or no checkpoint that Ultralytics' trainer takes.
    """
    found = weights_of(plan)
    for key, value in found.items():
        if not Path(value).is_file():
            raise PlanError(f"{key}: there is no file '{value}'")
        if Path(value).suffix.lower() != ".pt":
            raise PlanError(
                f"{key}: '{value}' must be a checkpoint that ends in .pt, as training takes"
            )
    keys = {str(Path(value).resolve()): key for key, value in found.items()}
    for file, key in keys.items():
        say(TRUST.format(Path(file).name))
        _open(file, key)


def _open(file: str, key: str) -> None:
    from ultralytics import YOLO

    try:
        YOLO(file)
    except Exception as error:
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise PlanError(
            f"{key}: '{file}' is no checkpoint that a run can start from: {first}. Give a .pt that"
            " `yolo train` wrote, such as weights/best.pt; a plain state dict is none"
        ) from error
