"""Four words for a comparison, by rules that a plan fixes before its first run.

    improves                  p, after Holm, is at most alpha, the plan's interval lies above 0, and
                              the mean difference is one that the report's digits show
    harms                     the same below 0
    no measurable difference  the t interval, the studentized one and the plan's lie in +-margin,
                              of at least 6 pairs; or all differences are 0
    undecided                 none of these; also where every score is 0, where a planned pair is
                              missing, and where arm and control were not trained alike, see
                              `scsa_yolo.study.reporting.findings`

p is the larger one of the sign-flip test and the studentized bootstrap. While a planned run has no
record there is a fifth state, `OPEN`: whoever looks after every seed and stops at the first
*improves* finds one by chance far too often.

The family of Holm's correction is the arms under test on all models and data sets of the plan, on
the primary metric. Reference arms (`Identity`, `Conv1x1`, the model at another scale) answer
questions of their own: each is a family over the models and data sets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from scsa_yolo.paired.differences import Comparison, Interval, holm, seeds_needed, smallest_p
from scsa_yolo.study.planning.arms import is_reference

__all__ = [
    "HARMS",
    "IMPROVES",
    "NO_DIFFERENCE",
    "OPEN",
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
OPEN = "no verdict yet"
WORDS = (IMPROVES, NO_DIFFERENCE, UNDECIDED, HARMS)

# Half of the last digit that a report shows, 0.01 points: a mean below it reads as 0.00.
RESOLUTION = 0.00005
# Fewer pairs seldom hold the tail of lopsided differences, and so look equal too easily.
LEAST_EQUAL = 6

Name = TypeVar("Name", bound=Hashable)


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
        word: The verdict, or `OPEN`.
        p: After Holm's correction in its family; None where there is no verdict to give.
        family: Number of comparisons in Holm's correction.
        refusal: Why the sample cannot carry *improves* or *harms*; empty where it can.
    """

    word: str
    p: float | None
    family: int
    refusal: str = ""


def judge(
    comparisons: Mapping[Name, Comparison],
    rules: Rules,
    references: Collection[Name] = (),
    *,
    families: Mapping[Name, Hashable] | None = None,
    blocked: Mapping[Name, str] | None = None,
    unfinished: str = "",
) -> dict[Name, Verdict]:
    """Return the verdict on each comparison of a plan, all on the primary metric.

    Args:
        comparisons: Arm, or model, data set and arm, to its differences; all that the plan has
            but the control, those without pairs too.
        rules: The plan's.
        references: Names of the reference arms.
        families: Name to family of Holm's correction. None: the arms under test are one, and each
            reference arm is its own.
        blocked: Name to the reason why it can have no verdict, such as missing pairs.
        unfinished: Why the plan is not done; then nothing has a verdict. Empty where it is.
    """
    given = families or {name: name if name in references else None for name in comparisons}
    members: dict[Hashable, list[Name]] = defaultdict(list)
    for name in comparisons:
        members[given[name]].append(name)
    stopped = {**dict.fromkeys(comparisons, unfinished)} if unfinished else dict(blocked or {})
    verdicts: dict[Name, Verdict] = {}
    for family in members.values():
        verdicts |= _family({name: comparisons[name] for name in family}, rules, stopped)
    if unfinished:
        verdicts = {name: replace(found, word=OPEN) for name, found in verdicts.items()}
    return {name: verdicts[name] for name in comparisons}


def _family(
    comparisons: Mapping[Name, Comparison], rules: Rules, stopped: Mapping[Name, str]
) -> dict[Name, Verdict]:
    """Judge the comparisons that Holm's correction takes together."""
    known = {name: found.p_both for name, found in comparisons.items() if name not in stopped}
    # One without pairs or without a verdict counts as p = 1: runs that failed must not make the
    # test of the others easier.
    adjusted = holm({name: 1.0 if (p := known.get(name)) is None else p for name in comparisons})
    most = max((comparisons[name].n for name in comparisons), default=0)
    verdicts = {}
    for name, comparison in comparisons.items():
        p = None if known.get(name) is None else adjusted[name]
        refusal = _refusal(comparison.n, most, len(comparisons), rules.alpha)
        if name in stopped:
            reason = stopped[name] if comparison.n else refusal
            verdicts[name] = Verdict(UNDECIDED, None, len(comparisons), reason)
            continue
        word = decide(p, comparison, rules)
        if not refusal and p is not None and p <= rules.alpha and _is_tiny(comparison):
            refusal = "the difference is smaller than the report's last digit, 0.01 points"
        verdicts[name] = Verdict(word, p, len(comparisons), refusal)
    return verdicts


def decide(p: float | None, comparison: Comparison, rules: Rules) -> str:
    """Return the verdict on one comparison, given its p after correction."""
    certain = p is not None and p <= rules.alpha and not _is_tiny(comparison)
    if certain and (interval := comparison.interval(rules.interval)) is not None:
        if interval[0] > 0:
            return IMPROVES
        if interval[1] < 0:
            return HARMS
    # BCa never leaves the range of the values: alone it would find any three close seeds
    # equivalent. The studentized interval follows a tail that the t interval does not see.
    few = comparison.n < LEAST_EQUAL and any(comparison.values)
    if few or not _within(comparison.t, rules.margin):
        return UNDECIDED
    needed = (comparison.interval(rules.interval), comparison.bootstrap_t.interval)
    return NO_DIFFERENCE if all(_within(i, rules.margin) for i in needed) else UNDECIDED


def _is_tiny(comparison: Comparison) -> bool:
    return comparison.mean is None or abs(comparison.mean) < RESOLUTION


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
