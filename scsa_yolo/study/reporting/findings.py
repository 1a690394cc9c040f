"""What a study found for each model and data set: comparisons on the primary metric, verdicts, and
the noise floor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scsa_yolo.paired.differences import Comparison, mean
from scsa_yolo.study.reporting.conditions import unlike
from scsa_yolo.study.reporting.evidence import Evidence, Setting, final
from scsa_yolo.study.reporting.verdict import Rules, Verdict, is_reference, judge
from scsa_yolo.study.reporting.wording import count

__all__ = ["Finding", "find"]


@dataclass(frozen=True)
class Finding:
    """One model on one data set.

    Attributes:
        setting: Which.
        values: Arm to seed to primary metric, for finished runs that have one; the control comes
            first.
        comparisons: Every other arm against the control.
        verdicts: On those.
        references: Arms that are controls by their definition.
        noise: Differences of equal runs: each repeat less the first run.
        missing: Arm to the number of planned pairs that it lacks.
    """

    setting: Setting
    values: Mapping[str, Mapping[int, float]]
    comparisons: Mapping[str, Comparison]
    verdicts: Mapping[str, Verdict]
    references: tuple[str, ...]
    noise: tuple[float, ...]
    missing: Mapping[str, int]

    def mean(self, arm: str) -> float | None:
        """Return an arm's mean over its finished runs."""
        return mean(list(self.values[arm].values()))


def find(evidence: Evidence) -> list[Finding]:
    """Return a finding for each model and data set, in the plan's order."""
    compared = {setting: _compared(evidence, setting) for setting in evidence.settings}
    verdicts = _verdicts(evidence, compared)
    return [_of(evidence, setting, compared[setting], verdicts) for setting in compared]


_Compared = Mapping[Setting, Mapping[str, Comparison]]
_Verdicts = Mapping[tuple[Setting, str], Verdict]


def _compared(evidence: Evidence, setting: Setting) -> dict[str, Comparison]:
    primary = final(evidence.plan.primary)
    return {arm: evidence.compare(setting, arm, primary) for arm in evidence.arms[1:]}


def _verdicts(evidence: Evidence, compared: _Compared) -> _Verdicts:
    """Judge all comparisons of the plan at once: Holm's correction covers models and data sets."""
    plan = evidence.plan
    every = {
        (setting, arm): found for setting, arms in compared.items() for arm, found in arms.items()
    }
    families = {key: key[1] if is_reference(plan.arms[key[1]]) else None for key in every}
    blocked = {}
    for key, found in every.items():
        reason = _no_verdict(evidence, *key, found)
        if reason:
            blocked[key] = reason
    return judge(
        every,
        Rules(**plan.verdict),
        families=families,
        blocked=blocked,
        unfinished=_unfinished(evidence),
    )


def _unfinished(evidence: Evidence) -> str:
    waiting = len(evidence.runs) - len(evidence.records)
    if not waiting:
        return ""
    runs = count(len(evidence.runs), "planned run")
    return f"{waiting} of {runs} {'has' if waiting == 1 else 'have'} no usable record"


def _no_verdict(evidence: Evidence, setting: Setting, arm: str, found: Comparison) -> str:
    """Say why this comparison can have no verdict; nothing where it can."""
    plan = evidence.plan
    planned = len(plan.seeds)
    if found.n < planned:
        lack = f"{planned - found.n} of {count(planned, 'planned pair')}"
        return (
            f"{lack} {'is' if planned - found.n == 1 else 'are'} missing, and runs may fail because"
            " of the arm, so those that are left decide nothing"
        )
    # Models that have not learned anything are equal, which says nothing about what they would
    # learn.
    primary = final(plan.primary)
    both = [evidence.values(setting, name, primary) for name in (arm, plan.control)]
    if not any(values[seed] for values in both for seed in found.differences):
        return f"every pair has {plan.primary} 0"
    differ = unlike(evidence, setting, arm)
    return f"{arm} and {plan.control} were not trained alike: {differ}" if differ else ""


def _of(
    evidence: Evidence, setting: Setting, comparisons: Mapping[str, Comparison], all_: _Verdicts
) -> Finding:
    plan, primary = evidence.plan, final(evidence.plan.primary)
    planned = len(plan.seeds)
    return Finding(
        setting=setting,
        values={arm: evidence.values(setting, arm, primary) for arm in evidence.arms},
        comparisons=comparisons,
        verdicts={arm: all_[setting, arm] for arm in comparisons},
        references=tuple(arm for arm in comparisons if is_reference(plan.arms[arm])),
        noise=tuple(_noise(evidence, setting)),
        missing={arm: planned - found.n for arm, found in comparisons.items() if found.n < planned},
    )


def _noise(evidence: Evidence, setting: Setting) -> list[float]:
    repeats, primary = evidence.plan.repeats, final(evidence.plan.primary)
    if repeats is None:
        return []
    first, *again = (
        evidence.find(setting, repeats.arm, repeats.seed, number)
        for number in range(repeats.times + 1)
    )
    if first is None or (start := primary(first)) is None:
        return []
    found = [primary(record) for record in again if record is not None]
    return [value - start for value in found if value is not None]
