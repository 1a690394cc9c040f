"""Four words for a comparison, by rules that a plan fixes before its first run.

    improves                   p of the sign-flip test, after Holm, is at most alpha, and the
    interval lies above 0
    harms                      the same below 0 no measurable difference   the whole interval lies
    within +-margin; so does the t interval, where the plan names bca
    undecided                  none of these; also where every score is 0, see
    `scsa_yolo.study.reporting.findings`

The family of Holm's correction is the arms under test, on the primary metric, for one model and one
data set. Reference arms (`Identity`, `Conv1x1`, the model at another scale) answer questions of
their own and keep their plain p.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from scsa_yolo.paired.differences import Comparison, Interval, holm, seeds_needed, smallest_p
from scsa_yolo.study.planning.plan import Arm

__all__ = [
    "HARMS",
    "IMPROVES",
    "NO_DIFFERENCE",
    "UNDECIDED",
    "WORDS",
    "Rules",
    "Verdict",
    "decide",
    "is_reference",
    "judge",
]

IMPROVES = "improves"
NO_DIFFERENCE = "no measurable difference"
UNDECIDED = "undecided"
HARMS = "harms"
WORDS = (IMPROVES, NO_DIFFERENCE, UNDECIDED, HARMS)

_REFERENCES = ("Identity", "Conv1x1")


@dataclass(frozen=True)
class Rules:
    """What a plan fixes under ``verdict``; `margin` in the metric's own unit (0.005 is half a point
    of AP).
    """

    alpha: float = 0.05
    margin: float = 0.005
    interval: str = "bca"
    confidence: float = 0.95


@dataclass(frozen=True)
class Verdict:
    """One of `WORDS`, and what it stands on.

    Attributes:
        word: The verdict.
        p: After Holm's correction for an arm under test, plain for a reference arm; None without
            pairs.
        family: Number of arms in Holm's correction, 1 for a reference arm.
        refusal: Why the sample cannot carry *improves* or *harms*; empty where it can.
    """

    word: str
    p: float | None
    family: int
    refusal: str = ""


def is_reference(arm: Arm) -> bool:
    """Return whether an arm is a control by its definition: `Identity`, `Conv1x1`, or the model at
    another scale.
    """
    return arm.attention in _REFERENCES or arm.scale is not None


def judge(
    comparisons: Mapping[str, Comparison], rules: Rules, references: Collection[str] = ()
) -> dict[str, Verdict]:
    """Return the verdict on each arm of one model and data set, all on the primary metric.

    Args:
        comparisons: Arm to its differences; every arm of the plan but the control, those without
            pairs too.
        rules: The plan's.
        references: Names of the reference arms.
    """
    family = [name for name in comparisons if name not in references]
    # An arm without pairs counts as p = 1: runs that failed must not make the test of the others
    # easier.
    adjusted = holm({name: 1.0 if (p := comparisons[name].p) is None else p for name in family})
    pairs = max((comparisons[name].n for name in family), default=0)
    verdicts = {}
    for name, comparison in comparisons.items():
        tested = name not in references
        p = None if comparison.p is None else adjusted[name] if tested else comparison.p
        arms = len(family) if tested else 1
        verdicts[name] = Verdict(
            decide(p, comparison, rules),
            p,
            arms,
            _refusal(comparison.n, pairs if tested else comparison.n, arms, rules.alpha),
        )
    return verdicts


def decide(p: float | None, comparison: Comparison, rules: Rules) -> str:
    """Return the verdict on one comparison, given its p after correction."""
    if (
        p is not None
        and p <= rules.alpha
        and (interval := comparison.interval(rules.interval)) is not None
    ):
        if interval[0] > 0:
            return IMPROVES
        if interval[1] < 0:
            return HARMS
    # BCa never leaves the range of the values: alone it would find any three close seeds
    # equivalent.
    if _within(comparison.t, rules.margin) and _within(
        comparison.interval(rules.interval), rules.margin
    ):
        return NO_DIFFERENCE
    return UNDECIDED


def _within(interval: Interval | None, margin: float) -> bool:
    return interval is not None and -margin <= interval[0] and interval[1] <= margin


def _refusal(own: int, most: int, arms: int, alpha: float) -> str:
    """Say why no outcome could be called better or worse: `own` pairs, at most `most` in a family
    of `arms`.
    """
    if own == 0:
        return "no pair of finished runs"
    # Holm's first step multiplies the family's least p by the number of arms; the last leaves an
    # arm's own p as it is.
    least = max(smallest_p(most, arms), smallest_p(own))
    if least <= alpha:
        return ""
    together = smallest_p(most, arms) > alpha and arms > 1
    needed = seeds_needed(alpha, arms if together else 1)
    sample = f"{own} pair{'s' * (own != 1)}" + (f" and {arms} arms under test" if together else "")
    return (
        f"{sample}: p cannot fall below {least:.3g}; it takes {needed} seeds to say improves or"
        " harms"
    )
