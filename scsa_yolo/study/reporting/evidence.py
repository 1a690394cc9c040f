"""What a study's folder holds, as a report needs it: planned runs, their records, pairs, and all
that is amiss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scsa_yolo.paired.differences import Comparison
from scsa_yolo.study.planning.plan import Plan, load, plan_hash
from scsa_yolo.study.planning.schedule import Run, schedule
from scsa_yolo.study.records.record import read
from scsa_yolo.support.files import canonical
from scsa_yolo.support.naming import data_name

__all__ = ["Evidence", "Measure", "Setting", "collect", "data_title", "final", "number"]

Record = Mapping[str, Any]
Measure = Callable[[Record], "float | None"]


@dataclass(frozen=True)
class Setting:
    """One model on one data set: what a verdict is about."""

    model: str
    data: str

    @property
    def title(self) -> str:
        """Return ``yolov8n on hituav``."""
        return f"{Path(self.model).stem} on {data_title(self.data)}"


@dataclass(frozen=True)
class Evidence:
    """A plan and its records.

    Attributes:
        plan: The plan.
        plan_text: Its file.
        runs: All runs of the plan, in its order.
        records: Sound records of planned runs by id.
        problems: One line for each record that cannot be used or trusted.
    """

    plan: Plan
    plan_text: str
    runs: tuple[Run, ...]
    records: Mapping[str, Record]
    problems: tuple[str, ...]

    @property
    def settings(self) -> list[Setting]:
        """Models and data sets, in the plan's order."""
        return [Setting(model, data) for model in self.plan.models for data in self.plan.data]

    @property
    def arms(self) -> list[str]:
        """Arms in the plan's order, the control first."""
        return [self.plan.control, *(name for name in self.plan.arms if name != self.plan.control)]

    def find(self, setting: Setting, arm: str, seed: int, repeat: int = 0) -> Record | None:
        """Return a run's record, None where there is none."""
        return self.records.get(Run(setting.model, setting.data, arm, seed, repeat).id)

    def done(self, setting: Setting, arm: str) -> list[Record]:
        """Return the finished runs of an arm by the plan's seeds, without repeats."""
        found = (self.find(setting, arm, seed) for seed in self.plan.seeds)
        return [record for record in found if record is not None and record["status"] == "done"]

    def values(self, setting: Setting, arm: str, measure: Measure) -> dict[int, float]:
        """Return seed to value of the finished runs that have one."""
        pairs = ((record["seed"], measure(record)) for record in self.done(setting, arm))
        return {seed: value for seed, value in pairs if value is not None}

    def compare(self, setting: Setting, arm: str, measure: Measure) -> Comparison:
        """Return the differences of an arm to the control over the seeds that both finished."""
        ours, theirs = (self.values(setting, name, measure) for name in (arm, self.plan.control))
        differences = {seed: ours[seed] - theirs[seed] for seed in sorted(ours) if seed in theirs}
        return Comparison(differences, self.plan.verdict["confidence"])

    def left_out(self, setting: Setting, arm: str, metric: str) -> list[str]:
        """Return one line for each seed that gives no pair, with the reason."""
        lines = []
        for seed in self.plan.seeds:
            reasons = [self._lack(setting, name, seed, metric) for name in (arm, self.plan.control)]
            if any(reasons):
                lines.append(f"seed {seed}: {', '.join(reason for reason in reasons if reason)}")
        return lines

    def _lack(self, setting: Setting, arm: str, seed: int, metric: str) -> str:
        record = self.find(setting, arm, seed)
        if record is None:
            return f"{arm} has no usable record"
        if record["status"] != "done":
            return f"{arm} failed"
        return "" if final(metric)(record) is not None else f"{arm} has no {metric}"


def data_title(data: str) -> str:
    """Return a data set's name: its YAML's, or its folder's where the YAML is a ``data.yaml``.

    A bare ``data.yaml`` stays as it is: the folder that a report is made in says nothing of it.
    """
    return data_name(data) if len(Path(data).parts) > 1 else Path(data).stem


def final(metric: str) -> Measure:
    """Return the reader of a final metric, a share of 1."""
    return lambda record: number(record["final"], metric)


def number(content: Any, *keys: str) -> float | None:
    """Return a finite number from nested mappings, None where there is none."""
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    fine = (
        isinstance(content, (int, float))
        and not isinstance(content, bool)
        and math.isfinite(content)
    )
    return float(content) if fine else None


def collect(folder: Path) -> Evidence:
    """Read a study's folder.

    Raises:
        ValueError: The plan is no plan.
        OSError: The folder holds no plan, or a file cannot be read.
    """
    file = folder / "plan.yaml"
    if not file.is_file():
        raise FileNotFoundError(
            f"'{folder}' holds no plan.yaml, so it is no folder of a study; give one that does"
        )
    plan = load(file)
    runs = tuple(schedule(plan))
    planned = {run.id for run in runs}
    records, problems = {}, []
    for path in sorted((folder / "records").glob("*.json")):
        try:
            record = read(path, plan_hash(plan))
        except ValueError as error:  # a RecordError, or NaN, which no record may hold
            words = (
                str(error).replace(str(path), path.name).replace(str(path.parent), path.parent.name)
            )
            problems.append(words if path.name in words else f"{path.name}: {words}")
            continue
        if record["id"] in planned:
            records[record["id"]] = record
        else:
            problems.append(f"{path.name}: the plan has no such run")
    ordered = {run.id: records[run.id] for run in runs if run.id in records}
    problems += _alike(plan, list(ordered.values()))
    return Evidence(plan, file.read_text(encoding="utf-8-sig"), runs, ordered, tuple(problems))


def _alike(plan: Plan, records: list[Record]) -> Iterator[str]:
    """Yield a line for finished runs whose numbers agree epoch by epoch although they must not."""
    first: dict[str, Record] = {}
    for record in (record for record in records if record["status"] == "done" and record["epochs"]):
        epochs = [
            {key: value for key, value in epoch.items() if key != "time"}
            for epoch in record["epochs"]
        ]
        content = canonical([record["model"], record["data"], epochs, record["final"]])
        other = first.setdefault(content, record)
        if other is record:
            continue
        if other["seed"] != record["seed"]:
            yield (
                f"{record['id']} and {other['id']} have the same numbers in every epoch, although"
                " their seeds differ"
            )
        elif other["arm"] != record["arm"] and not _may_agree(plan, record["arm"], other["arm"]):
            yield (
                f"{record['id']} and {other['id']} have the same numbers in every epoch, although"
                " their arms differ"
            )


def _may_agree(plan: Plan, one: str, other: str) -> bool:
    """Return whether two arms compute the same: the model without attention, and `Identity` in its
    slots.
    """
    arms = (plan.arms[one], plan.arms[other])
    return all(arm.attention in (None, "Identity") and arm.pretrained is None for arm in arms) and (
        arms[0].scale == arms[1].scale
    )
