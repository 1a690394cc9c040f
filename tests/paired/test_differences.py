"""The statistics against scipy, against enumeration by hand, and against worked examples."""

from __future__ import annotations

import itertools
import math
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

stats = pytest.importorskip("scipy.stats")

from scsa_yolo.paired.differences import (  # noqa: E402  scipy first
    EXACT_PAIRS,
    Comparison,
    bca_interval,
    holm,
    mean,
    root_mean_square,
    sd,
    seeds_needed,
    sign_flip,
    smallest_p,
    t_interval,
)


def by_hand(differences: list[int]) -> float:
    """Share of the sign patterns whose sum is at least as far from zero; whole numbers, so nothing
    rounds.
    """
    signs = itertools.product((1, -1), repeat=len(differences))
    sums = [abs(sum(s * d for s, d in zip(pattern, differences))) for pattern in signs]
    return sum(value >= abs(sum(differences)) for value in sums) / len(sums)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1, 2, 3], 0.25),  # 2 / 2^3
        ([-1, -2, -3], 0.25),
        ([5, 1, 1, 2, 3, 9], 0.03125),  # 2 / 2^6
        ([4], 1.0),
        ([2, -2], 1.0),
        ([0, 0, 0], 1.0),
        # By hand: 3 + 2 - 1 = 4. Of |+-3 +-2 +-1| those of at least 4: 6, 4 and their mirrors, so 4
        # of 8.
        ([3, 2, -1], 0.5),
        # 8 + 4 + 2 - 1 = 13; sums of at least 13: 15 and 13, with mirrors 4 of 16.
        ([8, 4, 2, -1], 0.25),
    ],
)
def test_sign_flip_by_hand(differences: list[int], p: float) -> None:
    assert by_hand(differences) == p
    assert sign_flip([d / 1000 for d in differences]) == pytest.approx(p, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_sign_flip_equals_enumeration_with_ties(seed: int) -> None:
    differences = np.random.default_rng(seed).integers(-4, 6, 2 + seed % 8).tolist()
    # Scores as they come from a subtraction: 0.213 - 0.21 is not 0.003, and sums that are equal
    # must count as equal.
    assert sign_flip([(0.21 + d / 1000) - 0.21 for d in differences]) == pytest.approx(
        by_hand(differences), abs=1e-12
    )


def test_sign_flip_of_nothing_and_of_many() -> None:
    assert sign_flip([]) is None
    many = np.random.default_rng(0).normal(0.5, 1, EXACT_PAIRS + 8).tolist()
    assert sign_flip(many) == sign_flip(many)  # drawn with a fixed seed
    assert sign_flip(many) == pytest.approx(stats.ttest_1samp(many, 0).pvalue, abs=0.02)


def test_t_interval_equals_scipy() -> None:
    values = [0.01, 0.03, -0.02, 0.05]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert t_interval(values, 0.9) == pytest.approx((expected.low, expected.high))


def test_t_interval_by_hand() -> None:
    # Mean 2, sd 1, n 3; t(0.975; 2) = 4.3027 from the table, 4.3027 / sqrt(3) = 2.4841.
    assert t_interval([1.0, 2.0, 3.0], 0.95) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)


@pytest.mark.parametrize("n", [3, 6, 12])
def test_bca_equals_scipy_with_its_seed(n: int) -> None:
    values = np.random.default_rng(n).normal(0.01, 0.02, n)
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=9999, method="BCa", rng=np.random.default_rng(0)
    )
    interval = bca_interval(values.tolist(), 0.95)
    assert interval == (found.confidence_interval.low, found.confidence_interval.high)
    assert interval[0] < values.mean() < interval[1]


@pytest.mark.parametrize(
    ("values", "t", "bca"),
    [
        ([], None, None),
        ([0.1], None, None),
        ([0.1, 0.1], (0.1, 0.1), None),
        ([0.1, 0.1, 0.1], (0.1, 0.1), (0.1, 0.1)),
        ([0.0] * 6, (0.0, 0.0), (0.0, 0.0)),
    ],
)
def test_degenerate_samples(values: list[float], t: object, bca: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert t_interval(values, 0.95) == t
        assert bca_interval(values, 0.95) == bca


@pytest.mark.parametrize(
    "values", [[0.1, 0.1, 0.3], [0.0, 0.0, 0.0, 0.0, 1e-9], [-1.0, 1.0, 1.0], [1e-300, 0.0, 0.0]]
)
def test_bca_of_few_different_values_has_finite_bounds_or_none(values: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        interval = bca_interval(values, 0.95)
    assert interval is None or (math.isfinite(interval[0]) and interval[0] <= interval[1])


def test_bca_without_an_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def degenerate(*args: object, **settings: object) -> object:
        warnings.warn("the bounds are NaN", stats.DegenerateDataWarning)
        return SimpleNamespace(confidence_interval=SimpleNamespace(low=math.nan, high=math.nan))

    monkeypatch.setattr(stats, "bootstrap", degenerate)
    assert bca_interval([0.1, 0.2, 0.3], 0.95) is None


def test_holm_worked_example() -> None:
    # Four hypotheses, ordered 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1, and never below the one
    # before.
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(adjusted) == ["a", "b", "c", "d"]
    assert holm({"a": 0.4, "b": 0.9}) == pytest.approx({"a": 0.8, "b": 0.9})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({"a": 0.6}) == {"a": 0.6}
    assert holm({}) == {}


@pytest.mark.parametrize(("arms", "seeds"), [(1, 6), (2, 7), (3, 7), (4, 8), (6, 8), (7, 9)])
def test_seeds_needed(arms: int, seeds: int) -> None:
    # arms * 2 / 2^seeds <= 0.05: 2/64, 4/128, 6/128, 8/256, 12/256, 14/512.
    assert seeds_needed(0.05, arms) == seeds
    assert smallest_p(seeds, arms) <= 0.05 < smallest_p(seeds - 1, arms)
    assert smallest_p(seeds) == sign_flip([0.01] * seeds)


def test_smallest_p_of_nothing() -> None:
    assert smallest_p(0) == smallest_p(1) == smallest_p(2, 9) == 1.0


def test_moments() -> None:
    assert (mean([]), sd([]), sd([1.0]), root_mean_square([])) == (None, None, None, None)
    assert mean([1.0, 2.0, 6.0]) == 3.0
    assert sd([0.1, 0.1, 0.1]) == 0.0
    assert sd([1.0, 2.0, 3.0]) == 1.0
    assert root_mean_square([3.0, -4.0]) == pytest.approx(math.sqrt(12.5))


def test_comparison() -> None:
    found = Comparison({2: -0.01, 0: 0.02, 1: 0.0, 3: 0.03}, 0.9)
    assert found.values == (0.02, 0.0, -0.01, 0.03)
    assert (found.n, found.wins, found.ties, found.exact) == (4, 2, 1, True)
    assert found.mean == pytest.approx(0.01)
    assert (found.interval("t"), found.interval("bca")) == (
        t_interval(found.values, 0.9),
        bca_interval(found.values, 0.9),
    )
    assert found.p == by_hand([2, 0, -1, 3])
    assert not Comparison(dict.fromkeys(range(EXACT_PAIRS + 1), 0.1)).exact


def test_missing_scipy_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ImportError, match=r"scsa-yolo\[study\]"):
        sign_flip([0.1, 0.2])
