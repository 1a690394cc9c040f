"""Calls timed in turns, and what their times can carry: medians, ratios with an interval, and when
to claim nothing.

Machines are shared, change their clock rate and grow warm. So contestants take turns within every
round, in an order
that is drawn anew for each round: what else the machine does falls on all of them alike, and the
rounds are pairs. The first contestant runs twice, as itself and as its own control. What the
control shows is noise by construction, and a difference that is no larger is not claimed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

MIN_ROUNDS = 3  # fewer give no interval
WARM_UP = 3  # rounds
NOISE_LIMIT = 0.03  # share; the detectors here differ by 0.04 to 0.2 from stock
RESAMPLES = 2000
CONFIDENCE = 0.95

# What verdict() says.
SLOWER, FASTER, SAME, TOO_NOISY = "slower", "faster", "no difference", "too noisy"


def in_turns(
    calls: Sequence[Callable[[], object]],
    rounds: int,
    *,
    warm_up: int = WARM_UP,
    settle: int = 0,
    seconds: float | None = None,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[int, int], object] | None = None,
    into: list[list[float]] | None = None,
) -> list[list[float]]:
    """Time each call once a round.

    Args:
        calls: What is timed. A call returns when its work is done (a GPU is waited for).
        rounds: Timed rounds.
        warm_up: Rounds before them.
        settle: Calls before each timed one that are not timed. One is needed where several runtimes
            take turns: the threads of one go on spinning for a while and would slow down the next.
        seconds: Stop after this time though rounds are left, but not before :data:`MIN_ROUNDS`.
        seed: Of the order within the rounds.
        clock: Seconds, from any origin.
        progress: Called with the number of rounds done and of all.
        into: An empty list for each call that takes its times as they are measured, so that who
            is interrupted still has them.

    Returns:
        For each call its milliseconds, round by round.
    """
    order = list(range(len(calls)))
    series = [[] for _ in calls] if into is None else into
    if len(series) != len(calls) or any(series):
        raise ValueError(f"into must hold an empty list for each of {len(calls)} calls")
    shuffle = random.Random(seed).shuffle
    begin = clock()
    for turn in range(-warm_up, rounds):
        shuffle(order)
        if turn == 0:
            begin = clock()
        for index in order:
            for _ in range(settle):
                calls[index]()
            start = clock()
            calls[index]()
            if turn >= 0:
                series[index].append((clock() - start) * 1e3)
        if progress:
            progress(max(0, turn + 1), rounds)
        if seconds is not None and turn + 1 >= MIN_ROUNDS and clock() - begin >= seconds:
            break
    return series


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians with its interval; above 1 is slower than the reference."""

    value: float
    low: float
    high: float

    @property
    def reach(self) -> float:
        """How far from 1 the interval reaches: of a control, the noise."""
        return max(abs(self.low - 1), abs(self.high - 1))


def median(series: Sequence[float]) -> float:
    """Return the median, in the unit of the series."""
    return float(np.median(series))


def p95(series: Sequence[float]) -> float:
    """Return the 95th percentile, interpolated."""
    return float(np.percentile(series, 95))


def ratio(series: Sequence[float], reference: Sequence[float], *, seed: int = 0) -> Ratio:
    """Return the ratio of medians with the percentile bootstrap's 95 % interval over paired rounds.

    A resample draws whole rounds, so that a slow moment of the machine stays in both series. Rounds
    that follow each other are alike, which makes the interval narrower than it should be; the
    control shows by how much.

    Raises:
        ValueError: The series differ in length or have fewer than :data:`MIN_ROUNDS` rounds.
    """
    own, base = np.asarray(series, dtype=float), np.asarray(reference, dtype=float)
    if len(own) != len(base) or len(own) < MIN_ROUNDS:
        raise ValueError(
            f"a ratio needs the same {MIN_ROUNDS} rounds or more of both contestants, got"
            f" {len(own)} and {len(base)}"
        )
    value = float(np.median(own) / np.median(base))
    drawn = np.random.default_rng(seed).integers(0, len(own), (RESAMPLES, len(own)))
    resampled = np.median(own[drawn], axis=1) / np.median(base[drawn], axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(edge) for edge in np.quantile(resampled, (tail, 1 - tail)))
    return Ratio(value, min(low, value), max(high, value))


def verdict(found: Ratio, control: Ratio, limit: float = NOISE_LIMIT) -> str:
    """Say what a ratio shows, given the first contestant's ratio to itself.

    The noise is how far the control's interval reaches from 1. Beyond ``limit`` nothing is claimed:
    ``too noisy``. Otherwise ``slower`` or ``faster`` is claimed when the whole interval of
    ``found`` lies farther from 1 than the noise, and ``no difference`` when it does not.
    """
    noise = control.reach
    if noise > limit:
        return TOO_NOISY
    if found.low > 1 + noise:
        return SLOWER
    return FASTER if found.high < 1 - noise else SAME
