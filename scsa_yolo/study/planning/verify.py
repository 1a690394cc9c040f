"""What a plan's names mean here: models and arms can be built, arguments exist, data sets are there
and fit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scsa_yolo.study.planning.arms import arm_yaml
from scsa_yolo.study.planning.file import PlanError, shown
from scsa_yolo.study.planning.freezing import check_freeze
from scsa_yolo.study.planning.plan import Plan, hint
from scsa_yolo.study.planning.weights import check_weights
from scsa_yolo.study.records.facts import fingerprint
from scsa_yolo.support.files import write_json

__all__ = ["DataSet", "check_arguments", "data_set", "model_yamls", "verify"]

# Arguments that are the study's own: what it decides, or what would make runs differ from machine
# to machine.
_OWN = {
    "task": "models are detectors",
    "mode": "a study trains",
    "model": "write it under 'models'",
    "data": "write it under 'data'",
    "seed": "write it under 'seeds'",
    "split": "write it beside 'train'",
    "project": "the study has a folder: --folder",
    "name": "the study has a name",
    "save_dir": "the study has a folder: --folder",
    "exist_ok": "the study has a folder: --folder",
    "resume": "a study goes on where it stopped, by itself",
    "save": "checkpoints are needed to go on",
    "device": "type it: scsa-yolo study run PLAN --device 0",
    "cfg": "write its arguments here, so that the plan's hash holds them",
    "time": "runs would differ with the speed of the machine; write epochs",
}
_MOST = {"epochs": 100_000, "batch": 100_000, "imgsz": 16_384}  # more is a slip


@dataclass(frozen=True)
class DataSet:
    """A data set that was found fit.

    Attributes:
        yaml: Absolute path of its YAML.
        fingerprint: By split, see `scsa_yolo.study.records.facts.fingerprint`; empty for one that
            is yet to be fetched.
        problems: What makes it unfit, one line each; empty if it can be used.
    """

    yaml: Path
    fingerprint: dict[str, Any]
    problems: tuple[str, ...]


def verify(
    plan: Plan, say: Callable[[str], None] = print
) -> dict[tuple[str, str], tuple[str, str]]:
    """Check all names but those of data sets; return file name and text of the model YAML by model
    and arm.

    Args:
        plan: The plan.
        say: Called with a line before a file is opened that could run code.

    Raises:
        PlanError: With the key, and what is known.
        ImportError: What measures the runs is missing.
    """
    from scsa_yolo.evaluation.coco_rules import require_faster_coco_eval

    require_faster_coco_eval()  # now, not after hours of training
    check_arguments(plan.train)
    _check_accept(plan.accept)
    check_weights(plan, say)
    models = model_yamls(plan)
    check_freeze(plan, models)
    return models


def check_arguments(train: Mapping[str, Any]) -> None:
    """Check training arguments against those of the installed Ultralytics.

    Raises:
        PlanError: One is unknown, the study's own, or of the wrong kind.
    """
    from ultralytics.cfg import DEFAULT_CFG_DICT, check_cfg

    for key, value in train.items():
        if key in _OWN:
            raise PlanError(f"train.{key}: is the study's own: {_OWN[key]}")
        if key not in DEFAULT_CFG_DICT:
            known = sorted(set(DEFAULT_CFG_DICT) - set(_OWN))
            raise PlanError(
                f"train: Ultralytics has no argument {shown(key)}.{hint(key, known)} Known:"
                f" {', '.join(known)}"
            )
        try:
            check_cfg({key: value})
        except (TypeError, ValueError) as error:
            raise PlanError(f"train.{key}: {' '.join(str(error).split())}") from error
        if isinstance(DEFAULT_CFG_DICT[key], str) and not isinstance(value, (str, type(None))):
            raise PlanError(f"train.{key}: must be a text, got {shown(value)}")
    for key in ("epochs", "batch", "imgsz"):
        value = train.get(key)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not 1 <= value <= _MOST[key]:
            raise PlanError(
                f"train.{key}: a plan says it, as a whole number from 1 to {_MOST[key]:,}, got"
                f" {shown(value)}"
            )


def _check_accept(codes: tuple[str, ...]) -> None:
    from scsa_yolo.datasets.check.rules import RULES

    errors = [code for code, (level, _) in RULES.items() if level == "error"]
    for code in codes:
        if code not in errors:
            raise PlanError(
                f"accept: no finding {shown(code)} stops a run.{hint(code, errors)} Known:"
                f" {', '.join(errors)}"
            )


def model_yamls(plan: Plan) -> dict[tuple[str, str], tuple[str, str]]:
    """Return file name and text of the model YAML by model and arm."""
    found = {
        (model, arm.name): arm_yaml(model, arm)
        for model in plan.models
        for arm in plan.arms.values()
    }
    names: dict[str, tuple[str, str]] = {}
    for key, (name, _) in found.items():
        if names.setdefault(name, key) != key:
            raise PlanError(
                f"arms: {' and '.join(map(str, (names[name], key)))} would share the file {name};"
                " rename one"
            )
    return found


def data_set(plan: Plan, name: str, folder: Path | None, say: Callable[[str], None]) -> DataSet:
    """Find a data set and check it.

    Args:
        plan: The plan.
        name: The data YAML as the plan names it.
        folder: The study's: there the result of the check is kept, which is done again when the
            data has changed, and what is missing is fetched where the YAML says how. None: nothing
            is kept, nothing fetched.
        say: Called with a line about what takes time.

    Raises:
        PlanError: There is no such data set.
    """
    from ultralytics.data.utils import check_det_dataset

    from scsa_yolo.datasets.layout.dataset import DataSetError, load_layout

    splits = tuple(dict.fromkeys(("train", "val", plan.split)))
    try:
        layout = load_layout(name)
        for split in splits:
            if split not in layout.splits:
                raise PlanError(
                    f"data: {name} has no split {split!r}; it has {', '.join(layout.splits)}"
                )
        if layout.download and any(layout.missing(split) for split in splits):
            if folder is None:
                say(
                    f"{name}: not here; the YAML says how to get it, and `scsa-yolo study run` does"
                )
                return DataSet(layout.yaml.resolve(), {}, ())
            say(f"{name}: getting the data set")
            check_det_dataset(str(layout.yaml), split=plan.split)
            layout = load_layout(name)
        found = fingerprint(layout.yaml, splits)
    except DataSetError as error:
        raise PlanError(f"data: {error}") from error
    say(
        f"{name}: "
        + ", ".join(f"{s} {f['images']} images {f['boxes']} boxes" for s, f in found.items())
    )
    return DataSet(
        layout.yaml.resolve(), found, tuple(_problems(plan, name, layout, splits, found, folder))
    )


def _problems(
    plan: Plan,
    name: str,
    layout: Any,
    splits: tuple[str, ...],
    found: dict[str, Any],
    folder: Path | None,
) -> list[str]:
    """Return the errors of ``scsa-yolo data check`` that the plan does not accept."""
    kept = None if folder is None else folder / "checks" / f"{Path(name).stem}.json"
    errors = _kept(kept, found)
    if errors is None:
        from scsa_yolo.datasets.check.scan import check_data

        _, findings = check_data(layout, list(splits))
        errors = {
            f.code: f"{f.count} x {f.meaning}: {f.where[0]}"
            for f in findings.all()
            if f.level == "error"
        }
        if kept is not None:
            write_json(kept, {"fingerprint": found, "errors": errors}, indent=1)
    return [f"{code}: {text}" for code, text in errors.items() if code not in plan.accept]


def _kept(path: Path | None, found: dict[str, Any]) -> dict[str, str] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return None
    return (
        content["errors"]
        if isinstance(content, dict) and content.get("fingerprint") == found
        else None
    )
