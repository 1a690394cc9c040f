"""Calls timed in turns, so that what else the machine does falls on all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

WARM_UP = 3  # rounds


def in_turns(calls: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Return the milliseconds of each call in each round, after the rounds of warming up."""
    series: list[list[float]] = [[] for _ in calls]
    for turn in range(rounds + WARM_UP):
        for index, call in enumerate(calls):
            start = time.perf_counter()
            call()
            if turn >= WARM_UP:
                series[index].append((time.perf_counter() - start) * 1e3)
    return series
