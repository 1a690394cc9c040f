"""What a person sees while a study runs: a line for each event, and on a terminal one that is kept
up to date.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scsa_yolo.study.planning.schedule import Run
from scsa_yolo.study.running.training import epochs_of

__all__ = ["Progress", "duration"]

# Seconds between two lines off a terminal: where an epoch has ended, and where none has.
_OFTEN, _SELDOM = 30.0, 240.0


def duration(seconds: float) -> str:
    """Return 42 s, 3 min 10 s, 2 h 05 min or 3 d 4 h."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 172800:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


@dataclass
class Progress:
    """Counts runs, times them, and prints.

    Attributes:
        folder: Of the study.
        total: All runs of the plan.
        epochs: Of each run.
        jobs: Runs at a time.
        took: Seconds of the runs that were done, by model, data set and arm.
        finished: Runs that have a record.
    """

    folder: Path
    total: int
    epochs: int
    jobs: int = 1
    took: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    finished: int = 0
    _since: dict[str, tuple[Run, float, int]] = field(default_factory=dict, repr=False)
    _status: str = ""
    _shown: tuple[float, str] = (0.0, "")  # when the last line off a terminal was, and its epochs

    def learn(self, record: dict[str, Any]) -> None:
        """Take the time that a run took from its record."""
        self.finished += 1
        if record["status"] == "done" and record["seconds"]:
            # training over all attempts, and what measuring took in the last
            key = (record["model"], record["data"], record["arm"])
            self.took.setdefault(key, []).append(
                max(record["seconds"], record["total_seconds"] or 0)
            )

    def start(self, run: Run) -> None:
        """Note that a run starts now."""
        done = len(epochs_of(self.folder / "work" / run.id))
        self._since[run.id] = (run, time.monotonic(), done)
        if not sys.stderr.isatty():
            number = min(self.total, self.finished + len(self._since))
            again = f"goes on after epoch {done}" if done else "begins"
            self.say(f"run {number} of {self.total}: {run.arm} seed {run.seed} {again}")
            self._shown = (time.monotonic(), "")

    def stop(self, run: Run) -> None:
        """Note that a run has ended, with or without a record."""
        self._since.pop(run.id, None)

    def expected(self, run: Run) -> float | None:
        """Return the seconds that a run takes, by those like it, else by all; None before the first
        is done.
        """
        like = self.took.get((run.model, run.data, run.arm)) or [
            s for found in self.took.values() for s in found
        ]
        return sum(like) / len(like) if like else None

    def left(self, waiting: list[Run]) -> float | None:
        """Return the seconds that are left; None where nothing says so yet."""
        rates = [rest for rest in map(self._rest, self._since.values()) if rest is not None]
        running = [rest for rest, _ in rates]
        guess = max((whole for _, whole in rates), default=None)
        ahead = [self.expected(run) or guess for run in waiting]
        if len(running) < len(self._since) or any(seconds is None for seconds in ahead):
            return None
        return (sum(running) + sum(seconds or 0 for seconds in ahead)) / max(1, self.jobs)

    def _rest(self, entry: tuple[Run, float, int]) -> tuple[float, float] | None:
        """Return the seconds that a running one still takes, and those of such a run from its
        start.
        """
        run, begin, before = entry
        spent, whole = time.monotonic() - begin, self.expected(run)
        done = len(epochs_of(self.folder / "work" / run.id))
        if whole is None:
            if done <= before:
                return None
            whole = spent / (done - before) * self.epochs
        return max(0.0, whole * (1 - before / self.epochs) - spent), whole

    def say(self, line: str) -> None:
        """Print a line for good."""
        self._wipe()
        print(line, flush=True)

    def show(self, waiting: list[Run]) -> None:
        """Bring the status line up to date; off a terminal, print one now and then."""
        if not self._since:
            return
        doing = "; ".join(self._doing(run) for run, _, _ in self._since.values())
        if not sys.stderr.isatty():
            since = time.monotonic() - self._shown[0]
            if since >= (_OFTEN if doing != self._shown[1] else _SELDOM):
                self._shown = (time.monotonic(), doing)
                print(self._line(doing, waiting), flush=True)
            return
        line = self._line(doing, waiting)
        self._wipe()
        self._status = line[: shutil.get_terminal_size().columns - 1]
        print(self._status, end="", file=sys.stderr, flush=True)

    def _doing(self, run: Run) -> str:
        done = len(epochs_of(self.folder / "work" / run.id))
        what = f"epoch {done + 1}/{self.epochs}" if done < self.epochs else "measuring"
        return f"{run.arm} seed {run.seed} {what}"

    def _line(self, doing: str, waiting: list[Run]) -> str:
        number = min(self.total, self.finished + len(self._since))
        left = self.left(waiting)
        rest = "" if left is None else f"; {duration(left)} left"
        return f"run {number} of {self.total}: {doing}{rest}"

    def _wipe(self) -> None:
        if self._status:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._status = ""
