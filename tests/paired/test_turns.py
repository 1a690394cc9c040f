"""Turns, statistics and the rule of claims, on clocks that the tests turn themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scsa_yolo.paired import turns as latency
from scsa_yolo.paired.turns import (
    FASTER,
    MIN_ROUNDS,
    SAME,
    SLOWER,
    TOO_NOISY,
    Ratio,
    in_turns,
    ratio,
    verdict,
)


class Clock:
    """A clock that stands still unless a call moves it on."""

    def __init__(self) -> None:
        self.now = 100.0
        self.order: list[str] = []

    def __call__(self) -> float:
        return self.now

    def taking(self, name: str, *seconds: float) -> Callable[[], None]:
        """A call that takes these seconds in turn, the last ones for ever."""
        left = list(seconds)

        def call() -> None:
            self.order.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_each_call_is_timed_once_a_round_after_the_warm_up(clock: Clock) -> None:
    calls = [clock.taking("a", 9.0, 9.0, 0.001, 0.002, 0.003), clock.taking("b", 7.0, 7.0, 0.02)]
    series = in_turns(calls, 3, warm_up=2, clock=clock)
    assert series == [pytest.approx([1, 2, 3]), pytest.approx([20, 20, 20])]
    assert clock.order.count("a") == clock.order.count("b") == 5


def test_calls_that_settle_are_not_timed(clock: Clock) -> None:
    series = in_turns(
        [clock.taking("a", 5.0, 0.001, 6.0, 0.002)], 2, warm_up=0, settle=1, clock=clock
    )
    assert series == [pytest.approx([1, 2])]


def test_the_order_changes_from_round_to_round_and_follows_the_seed(clock: Clock) -> None:
    def orders(seed: int) -> list[str]:
        clock.order.clear()
        in_turns(
            [clock.taking(name, 0.001) for name in "abcd"], 20, warm_up=0, seed=seed, clock=clock
        )
        return ["".join(clock.order[i : i + 4]) for i in range(0, 80, 4)]

    first = orders(0)
    assert all(sorted(order) == list("abcd") for order in first)
    assert len(set(first)) > 5
    assert orders(0) == first != orders(1)


@pytest.mark.parametrize(("seconds", "rounds"), [(0.001, MIN_ROUNDS), (50.0, 5), (1e6, 9)])
def test_seconds_end_the_run_but_leave_enough_rounds(
    clock: Clock, seconds: float, rounds: int
) -> None:
    said: list[tuple[int, int]] = []
    (series,) = in_turns(
        [clock.taking("a", 10.0)],
        9,
        warm_up=4,
        seconds=seconds,
        clock=clock,
        progress=lambda *of: said.append(of),
    )
    assert len(series) == rounds
    assert said[-1] == (rounds, 9)


def test_median_and_percentile() -> None:
    assert latency.median([3.0, 1.0, 2.0, 10.0]) == 2.5
    assert latency.p95(list(range(101))) == 95.0


def test_what_slows_down_both_leaves_the_ratio_alone() -> None:
    drift = np.linspace(1.0, 5.0, 30)
    found = ratio(1.25 * drift, drift)
    assert (found.value, found.low, found.high) == pytest.approx((1.25, 1.25, 1.25))


def test_the_interval_uses_the_pairs() -> None:
    rng = np.random.default_rng(3)
    load = rng.lognormal(0, 0.5, 60)
    base, own = load * rng.normal(1, 0.01, 60), 1.1 * load * rng.normal(1, 0.01, 60)
    paired, torn = ratio(own, base), ratio(rng.permutation(own), base)
    assert paired.low <= 1.1 * 1.02
    assert paired.high >= 1.1 * 0.98
    assert paired.high - paired.low < (torn.high - torn.low) / 3


@pytest.mark.parametrize(("own", "base"), [([1.0] * 2, [1.0] * 2), ([1.0] * 4, [1.0] * 5)])
def test_a_ratio_needs_paired_rounds(own: list[float], base: list[float]) -> None:
    with pytest.raises(ValueError, match="the same 3 rounds or more"):
        ratio(own, base)


QUIET, LOUD, WIDE = Ratio(1.0, 0.99, 1.01), Ratio(1.05, 1.04, 1.06), Ratio(1.0, 0.95, 1.01)


@pytest.mark.parametrize(
    ("found", "control", "says"),
    [
        (Ratio(1.10, 1.08, 1.12), QUIET, SLOWER),
        (Ratio(0.90, 0.88, 0.92), QUIET, FASTER),
        (Ratio(1.02, 1.005, 1.03), QUIET, SAME),  # clear of 1, but not of the noise
        (Ratio(0.995, 0.98, 1.00), QUIET, SAME),
        (Ratio(2.00, 1.98, 2.02), LOUD, TOO_NOISY),  # the ratio of the control is off
        (Ratio(2.00, 1.98, 2.02), WIDE, TOO_NOISY),  # its interval is
    ],
)
def test_what_is_claimed(found: Ratio, control: Ratio, says: str) -> None:
    assert verdict(found, control) == says


def test_the_limit_of_noise_can_be_moved() -> None:
    assert verdict(Ratio(1.3, 1.2, 1.4), WIDE, limit=0.06) == SLOWER
    assert verdict(Ratio(1.3, 1.2, 1.4), QUIET, limit=0.005) == TOO_NOISY


def claims(factor: float, trials: int, noise: float) -> list[Any]:
    """What is said of a contestant that takes ``factor`` times as long, on a machine that is busy
    now and then.
    """
    rng, said = np.random.default_rng(11), []
    for _ in range(trials):
        load = 1 + 0.1 * rng.random(60) + (rng.random(60) < 0.1)
        base, again, own = (load * rng.lognormal(0, noise, 60) for _ in range(3))
        said.append(verdict(ratio(factor * own, base), ratio(again, base)))
    return said


def test_equal_models_are_hardly_ever_called_different_and_different_ones_are() -> None:
    equal, slower = claims(1.0, 60, 0.02), claims(1.1, 30, 0.02)
    assert sum(one in (SLOWER, FASTER) for one in equal) <= 3
    assert sum(one == SLOWER for one in slower) >= 24
    assert FASTER not in slower
    assert set(claims(1.1, 10, 0.3)) == {TOO_NOISY}


def test_times_are_there_when_a_round_is_broken_off() -> None:
    kept: list[list[float]] = [[], []]
    left = iter(range(5))

    def call() -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_turns([call, call], 9, warm_up=0, into=kept)
    assert sorted(map(len, kept)) == [2, 3]
    with pytest.raises(ValueError, match="an empty list for each of 2 calls"):
        in_turns([call, call], 9, into=kept)
