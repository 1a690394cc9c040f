"""The order of a study's runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scsa_yolo.study.planning.plan import Plan

__all__ = ["Run", "schedule"]


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        model: Model YAML as the plan names it.
        data: Data YAML as the plan names it.
        arm: Name of the arm.
        seed: The seed.
        repeat: 0, or 1, 2 ... for the same run done again.
    """

    model: str
    data: str
    arm: str
    seed: int
    repeat: int = 0

    @property
    def id(self) -> str:
        """The run's name, and the stem of its files."""
        name = f"{Path(self.model).stem}__{Path(self.data).stem}__{self.arm}__s{self.seed}"
        return f"{name}__r{self.repeat}" if self.repeat else name


def schedule(plan: Plan) -> list[Run]:
    """Return all runs in order: seed by seed, every arm of a seed before the next seed.

    So a study that is stopped still has pairs: at most one seed is incomplete.
    """
    return [run for seed in plan.seeds for run in _of_seed(plan, seed)]


def _of_seed(plan: Plan, seed: int) -> Iterator[Run]:
    for data in plan.data:
        for model in plan.models:
            for arm in plan.arms:
                yield Run(model, data, arm, seed)
            if plan.repeats is not None and plan.repeats.seed == seed:
                for number in range(1, plan.repeats.times + 1):
                    yield Run(model, data, plan.repeats.arm, seed, number)
