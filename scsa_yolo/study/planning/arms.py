"""An arm's model YAML: the model as it is, grafted, or at another scale."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scsa_yolo.study.planning.file import PlanError
from scsa_yolo.study.planning.plan import Arm

__all__ = ["arm_model", "is_reference", "model_file"]

_REFERENCES = ("Identity", "Conv1x1")

_LETTER = re.compile(r"(yolo(?:e-)?v?\d+)([a-z]?)(?=$|[-_.])|(rtdetr-)([lx])(?=$|[-_.])")


def is_reference(arm: Arm) -> bool:
    """Return whether an arm is a control by its definition: `Identity`, `Conv1x1`, or the model at
    another scale.
    """
    return arm.attention in _REFERENCES or arm.scale is not None


def arm_model(model: str, arm: Arm) -> tuple[str, dict[str, Any]]:
    """Return the file name of the arm's model YAML, and the model's dictionary.

    The name holds what Ultralytics reads from names: the scale letter, and the family where a class
        depends on it.

    Args:
        model: A model YAML: a name that Ultralytics or this package knows, or a path.
        arm: The arm.

    Raises:
        PlanError: The model cannot be had, or cannot be grafted so.
    """
    from scsa_yolo.grafting import graft, load_model
    from scsa_yolo.modelfiles.graft_file import check_name

    name = model if arm.scale is None else at_scale(model, arm.scale)
    try:
        d = load_model(name)
        if arm.attention is not None:
            d = graft(d, arm.attention, slot=arm.slot, rows=arm.rows, **_options(arm))
        check_name(Path(model_file(model, arm)), d)
    except (ValueError, TypeError, OSError) as error:
        raise PlanError(f"arms.{arm.name} on {name}: {error}") from error
    return model_file(model, arm), d


def _options(arm: Arm) -> dict[str, Any]:
    return {**arm.options, **({} if arm.start == "paper" else {"start": arm.start})}


def model_file(model: str, arm: Arm) -> str:
    """Return the file name of the arm's model YAML: ``yolov8n__scsa.yaml``."""
    return (
        f"{Path(model if arm.scale is None else at_scale(model, arm.scale)).stem}__{arm.name}.yaml"
    )


def at_scale(model: str, scale: str) -> str:
    """Return the name of the same model at another scale: ``yolov8n.yaml`` and ``s`` give
    ``yolov8s.yaml``.

    Raises:
        PlanError: The name has no place for a scale letter.
    """
    path = Path(model)
    found = _LETTER.match(path.stem)
    if found is None:
        raise PlanError(
            f"scale: the name '{model}' has no scale letter as yolov8n.yaml has; list both sizes"
            " under 'models'"
        )
    return str(
        path.with_name(f"{found[1] or found[3]}{scale}{path.stem[found.end() :]}{path.suffix}")
    )


def arm_yaml(model: str, arm: Arm) -> tuple[str, str]:
    """Return the file name and the text of the arm's model YAML.

    Raises:
        PlanError: As of `arm_model`.
    """
    from scsa_yolo.grafting import to_yaml

    name, d = arm_model(model, arm)
    return name, to_yaml(d, header=f"{model}, arm '{arm.name}' of a study: {describe(arm)}.")


def describe(arm: Arm) -> str:
    """Say in words what the arm is."""
    parts = [] if arm.scale is None else [f"at scale {arm.scale}"]
    if arm.attention is not None:
        own: Mapping[str, Any] = {"slot": arm.slot, "start": arm.start, **arm.options}
        listed = ", ".join(f"{key} {value}" for key, value in own.items())
        where = (
            "all rows with residual units"
            if arm.rows is None
            else f"rows {', '.join(map(str, arm.rows))}"
        )
        parts.append(f"{arm.attention} in {where}, {listed}")
    return "; ".join(parts) or "the model as it is"
