"""Paired statistics of few seeds: tests of the mean difference, intervals, skew, Holm's correction;
scipy does the work.

A comparison is a list of differences, one a seed: the arm's metric less the control's, both trained
from that seed. The sign-flip test asks how often chance alone, turning each difference around at
random, moves the mean as far from zero. Its p is exact if arm and control could change places: if
the arm makes no difference at all, or if the differences lie evenly around their mean. n
differences cannot give less than 2 / 2^n: six are the least for p <= 0.05.

Of lopsided differences, as an arm gives that sometimes collapses, that p is too small. The
studentized bootstrap (Efron and Tibshirani 1993, chapter 12.5) bends with the skew of the sample,
so a verdict needs both. `benchmarks/verdict_sizes.py` measures how often they are wrong.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

__all__ = [
    "EXACT_PAIRS",
    "Comparison",
    "Interval",
    "bca_interval",
    "holm",
    "mean",
    "root_mean_square",
    "sd",
    "seeds_needed",
    "sign_flip",
    "smallest_p",
    "studentized",
    "t_interval",
]

# up to here every one of the 2^n sign patterns is counted; beyond, 2^16 are drawn with a fixed seed
EXACT_PAIRS = 16
_RESAMPLES = 9999  # of the bootstrap
# differences as whole numbers of 1e-12: their sums are exact, so equal sums are found equal
_GRID = 1e12

Interval = tuple[float, float]
Name = TypeVar("Name", bound=Hashable)


class Studentized(NamedTuple):
    """What the studentized bootstrap says of a mean; None where the pairs are too few."""

    interval: Interval | None
    p: float | None


class Skew(NamedTuple):
    """Skewness of a sample (0: even, below 0: a long tail of losses), and how often samples of its
    size from a normal distribution are as skewed.
    """

    skewness: float
    p: float


@dataclass(frozen=True)
class Comparison:
    """The paired differences of one arm to the control on one metric.

    What takes time is computed when it is first asked for.

    Attributes:
        differences: Seed to difference, in the metric's own unit (a share of 1 for AP).
        confidence: Of both intervals.
    """

    differences: Mapping[int, float]
    confidence: float = 0.95

    @property
    def n(self) -> int:
        """Number of pairs."""
        return len(self.differences)

    @property
    def values(self) -> tuple[float, ...]:
        """The differences by rising seed."""
        return tuple(self.differences[seed] for seed in sorted(self.differences))

    @property
    def mean(self) -> float | None:
        """Mean difference."""
        return mean(self.values)

    @property
    def sd(self) -> float | None:
        """Standard deviation of the differences."""
        return sd(self.values)

    @property
    def wins(self) -> int:
        """In how many pairs the arm is better."""
        return sum(value > 0 for value in self.values)

    @property
    def ties(self) -> int:
        """In how many pairs both are equal."""
        return sum(value == 0 for value in self.values)

    @property
    def exact(self) -> bool:
        """Whether `p` counts every sign pattern."""
        return self.n <= EXACT_PAIRS

    @cached_property
    def p(self) -> float | None:
        """Two-sided p of the sign-flip test."""
        return sign_flip(self.values)

    @cached_property
    def bootstrap_t(self) -> Studentized:
        """Interval and two-sided p of the mean by the studentized bootstrap."""
        return studentized(self.values, self.confidence)

    @property
    def p_both(self) -> float | None:
        """The larger p of the sign-flip test and the studentized bootstrap: a verdict's p.

        Where so few pairs have no studentized p, the sign-flip test alone cannot reach 0.05 either.
        """
        if self.p is None or self.bootstrap_t.p is None:
            return self.p
        return max(self.p, self.bootstrap_t.p)

    @cached_property
    def skew(self) -> Skew | None:
        """How lopsided the differences are."""
        return skew_of(self.values)

    @cached_property
    def t(self) -> Interval | None:
        """Student's interval of the mean."""
        return t_interval(self.values, self.confidence)

    @cached_property
    def bca(self) -> Interval | None:
        """Bootstrap interval of the mean."""
        return bca_interval(self.values, self.confidence)

    def interval(self, kind: str) -> Interval | None:
        """Return the interval that a plan names: ``t`` or ``bca``."""
        return self.t if kind == "t" else self.bca


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, None of nothing."""
    return math.fsum(values) / len(values) if values else None


def sd(values: Sequence[float]) -> float | None:
    """Return the standard deviation with n - 1 degrees of freedom, None of fewer than two
    values.
    """
    if len(values) < 2:
        return None
    if len(set(values)) == 1:  # the rounding of the mean would leave 1e-17
        return 0.0
    centre = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def root_mean_square(values: Sequence[float]) -> float | None:
    """Return the root of the mean square, None of nothing."""
    return math.sqrt(math.fsum(value**2 for value in values) / len(values)) if values else None


def sign_flip(differences: Sequence[float]) -> float | None:
    """Return the two-sided p of the sign-flip permutation test on the mean; None without a
    difference.

    Exact up to `EXACT_PAIRS` differences; scipy's (k + 1) / (n + 1) estimate from 2^16 drawn
    patterns beyond.
    """
    if not differences:
        return None
    if len(differences) == 1:  # scipy wants two; both signs are equally far from zero
        return 1.0
    import numpy as np

    units = np.round(np.asarray(differences, dtype=np.float64) * _GRID)
    result = _scipy_stats().permutation_test(
        (units,),
        lambda sample, axis: sample.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**EXACT_PAIRS,
        rng=np.random.default_rng(0),
    )
    return min(1.0, float(result.pvalue))


def t_interval(values: Sequence[float], confidence: float) -> Interval | None:
    """Return Student's interval of the mean, None of fewer than two values. Without spread it is a
    point.
    """
    spread = sd(values)
    if spread is None:
        return None
    centre = math.fsum(values) / len(values)
    if spread == 0:
        return values[0], values[0]
    half = (
        float(_scipy_stats().t.ppf((1 + confidence) / 2, len(values) - 1))
        * spread
        / math.sqrt(len(values))
    )
    return centre - half, centre + half


def bca_interval(values: Sequence[float], confidence: float) -> Interval | None:
    """Return the bias-corrected and accelerated bootstrap interval of the mean, with a fixed seed.

    It never reaches beyond the smallest and the largest value, so it is too narrow on a handful of
    them (of six normal ones a 95 % interval holds the mean in some 85 of 100 cases): read it beside
    the t interval. None of fewer than three values, and where the bootstrap
    has no answer.
    """
    if len(values) < 3:
        return None
    if len(set(values)) == 1:
        return values[0], values[0]
    import numpy as np

    with (
        warnings.catch_warnings()
    ):  # of distributions so degenerate that the bounds are NaN: None says it
        warnings.simplefilter("ignore")
        found = _scipy_stats().bootstrap(
            (np.asarray(values, dtype=np.float64),),
            np.mean,
            confidence_level=confidence,
            n_resamples=_RESAMPLES,
            method="BCa",
            vectorized=True,
            rng=np.random.default_rng(0),
        )
    low, high = float(found.confidence_interval.low), float(found.confidence_interval.high)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def studentized(values: Sequence[float], confidence: float) -> Studentized:
    """Return interval and two-sided p of the mean by the studentized bootstrap, with a fixed seed.

    Each resample is measured by its own standard error, so the bounds follow the skew of the
    sample. Resamples without any spread count as infinitely far away: of three values they are so
    many that there are no bounds.
    """
    spread = sd(values)
    if spread is None or len(values) < 3:
        return Studentized(None, None)
    if spread == 0:
        p = 1.0 if values[0] == 0 else 1 / (_RESAMPLES + 1)
        return Studentized((values[0], values[0]), p)
    import numpy as np

    sample = np.asarray(values, dtype=np.float64)
    ratios = _t_ratios(sample)
    error = spread / math.sqrt(len(values))
    tail = (1 - confidence) / 2
    low = float(np.quantile(ratios, tail, method="lower"))
    high = float(np.quantile(ratios, 1 - tail, method="higher"))
    centre = math.fsum(values) / len(values)
    bounds = (centre - high * error, centre - low * error)
    found = bounds if all(map(math.isfinite, bounds)) else None
    beyond = min(np.sum(ratios >= centre / error), np.sum(ratios <= centre / error))
    return Studentized(found, min(1.0, 2 * (float(beyond) + 1) / (_RESAMPLES + 1)))


def _t_ratios(sample: Any) -> Any:
    """Return how many of its own standard errors the mean of each resample is from the sample's."""
    import numpy as np

    drawn = np.random.default_rng(0).choice(sample, (_RESAMPLES, sample.size))
    away = drawn.mean(axis=1) - sample.mean()
    errors = drawn.std(axis=1, ddof=1) / math.sqrt(sample.size)
    flat = errors < 1e-9 * sample.std()
    endless = np.where(away == 0, 0.0, np.copysign(np.inf, away))
    return np.where(flat, endless, away / np.where(flat, 1.0, errors))


def skew_of(values: Sequence[float]) -> Skew | None:
    """Return the skewness (bias-corrected) and its p against a normal distribution, with a fixed
    seed; None of fewer than three values or of equal ones.
    """
    if len(values) < 3 or len(set(values)) == 1:
        return None
    import numpy as np

    stats = _scipy_stats()
    scale = max(map(abs, values))  # so that tiny values do not lose their digits
    sample = np.asarray(values, dtype=np.float64) / scale
    normal = np.random.default_rng(0).standard_normal
    result = stats.monte_carlo_test(
        sample, normal, lambda x, axis: stats.skew(x, axis=axis, bias=False), vectorized=True
    )
    return Skew(float(result.statistic), min(1.0, float(result.pvalue)))


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Return Holm's step-down adjusted p of each name (Holm 1979)."""
    adjusted: dict[Name, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def smallest_p(pairs: int, arms: int = 1) -> float:
    """Return the least p that the first of `arms` can have after Holm's correction: arms * 2 /
    2^pairs, at most 1.
    """
    return min(1.0, arms * 2.0 ** (1 - pairs)) if pairs else 1.0


def seeds_needed(alpha: float, arms: int = 1) -> int:
    """Return the least number of pairs with which one of `arms` can reach `alpha` after Holm's
    correction.
    """
    pairs = 1
    while smallest_p(pairs, arms) > alpha:
        pairs += 1
    return pairs


def _scipy_stats() -> Any:
    try:
        from scipy import stats
    except ImportError as error:
        raise ImportError(
            "the report of a study needs scipy. Type: pip install 'scsa-yolo[study]'"
        ) from error
    return stats
