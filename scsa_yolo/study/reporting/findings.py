"""What a study found for each model and data set: comparisons on the primary metric, verdicts, and
the noise floor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from scsa_yolo.paired.differences import Comparison, mean
from scsa_yolo.study.reporting.evidence import Evidence, Setting, final
from scsa_yolo.study.reporting.verdict import UNDECIDED, Rules, Verdict, is_reference, judge

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
    """

    setting: Setting
    values: Mapping[str, Mapping[int, float]]
    comparisons: Mapping[str, Comparison]
    verdicts: Mapping[str, Verdict]
    references: tuple[str, ...]
    noise: tuple[float, ...]

    def mean(self, arm: str) -> float | None:
        """Return an arm's mean over its finished runs."""
        return mean(list(self.values[arm].values()))


def find(evidence: Evidence) -> list[Finding]:
    """Return a finding for each model and data set, in the plan's order."""
    return [_of(evidence, setting) for setting in evidence.settings]


def _of(evidence: Evidence, setting: Setting) -> Finding:
    plan, primary = evidence.plan, final(evidence.plan.primary)
    arms = evidence.arms
    comparisons = {arm: evidence.compare(setting, arm, primary) for arm in arms[1:]}
    references = tuple(arm for arm in arms[1:] if is_reference(plan.arms[arm]))
    values = {arm: evidence.values(setting, arm, primary) for arm in arms}
    verdicts = judge(comparisons, Rules(**plan.verdict), references)
    for arm, comparison in comparisons.items():
        # Models that have not learned anything are equal, which says nothing about what they would
        # learn.
        if comparison.n and not any(
            values[name][seed] for name in (arm, plan.control) for seed in comparison.differences
        ):
            verdicts[arm] = replace(
                verdicts[arm], word=UNDECIDED, refusal=f"every pair has {plan.primary} 0"
            )
    return Finding(
        setting,
        values,
        comparisons,
        verdicts,
        references,
        tuple(_noise(evidence, setting)),
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
