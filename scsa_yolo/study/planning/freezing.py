"""``train.freeze`` of a plan: attention that is freshly drawn has to learn, or its arm is stock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scsa_yolo.study.planning.file import PlanError, shown
from scsa_yolo.study.planning.plan import Plan

__all__ = ["check_freeze"]


def check_freeze(plan: Plan, models: Mapping[tuple[str, str], tuple[str, str]]) -> None:
    """Build every arm as a run would, and look whether its training would leave attention as drawn.

    Args:
        plan: The plan.
        models: File name and text of the model YAML by model and arm.

    Raises:
        PlanError: ``freeze`` is of no form that freezes anything, means nothing to an arm, or
            freezes attention that has not learned anything.
    """
    freeze = plan.train.get("freeze")
    if freeze is None or freeze in (0, []):
        return
    _check_form(freeze)
    for (model, arm), (file, text) in models.items():
        still = _left_as_drawn(text, file, freeze, _weights(plan, arm))
        if still:
            raise PlanError(
                f"train.freeze: {shown(freeze)} freezes attention of arm '{arm}' on {model} that"
                f" has not learned anything ({still[0]}"
                f"{f' and {len(still) - 1} more' if len(still) > 1 else ''}), so that the arm would"
                " compute what was drawn at random. Take it out of the list, or give a number of"
                " layers, which leaves new attention to learn"
            )


def _check_form(freeze: Any) -> None:
    from scsa_yolo.host.freezing import WORDS

    number = isinstance(freeze, int) and not isinstance(freeze, bool) and freeze > 0
    entries = freeze if isinstance(freeze, list) else []
    listed = entries and all(_is_entry(entry) for entry in entries)
    if not number and not listed and freeze not in WORDS:
        raise PlanError(
            f"train.freeze: must be a number of layers, a list such as [0, 1, '2.cv1'], or"
            f" {' or '.join(WORDS)}, got {shown(freeze)}"
        )


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, (int, str)) and not isinstance(entry, bool)


def _weights(plan: Plan, arm: str) -> str | None:
    given = plan.arms[arm].pretrained or plan.train.get("pretrained")
    return given if isinstance(given, str) else None


def _left_as_drawn(text: str, file: str, freeze: Any, weights: str | None) -> list[str]:
    """Return the names of attention that is as drawn, and that training would not change.

    Raises:
        PlanError: ``freeze`` means nothing to this model.
    """
    from ultralytics import YOLO

    from scsa_yolo.blocks import UNTRAINED
    from scsa_yolo.host.freezing import frozen_attention
    from scsa_yolo.modelfiles.graft_file import check_builds

    try:
        model = check_builds(text, file).model
        if weights is not None:
            model.load(YOLO(weights).model, verbose=False)
        found = frozen_attention(model, freeze)
    except (ValueError, AttributeError) as error:
        raise PlanError(f"train.freeze: {shown(freeze)}, with {file}: {error}") from error
    return [name for name in found if vars(model.get_submodule(name)).get(UNTRAINED)]
