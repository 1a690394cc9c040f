"""``scsa-yolo study run``: the runs that are left, one process each, on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scsa_yolo.study.planning.schedule import Run
from scsa_yolo.study.records.record import read, record_path, write
from scsa_yolo.study.running.folder import Study, StudyError, open_study
from scsa_yolo.study.running.progress import Progress, duration
from scsa_yolo.study.running.worker import DONE, FAILED, LATER, failed

__all__ = ["StudyError", "run_local", "run_study"]

_WORKER = (sys.executable, "-u", "-m", "scsa_yolo.study.running.worker")
_POLL = 0.5  # seconds between looks at the processes
_TAIL = 1500  # characters of the log that say why a process died
_RETRIES = 1  # of a process that was killed: it goes on where it was


@dataclass
class _Child:
    run: Run
    process: subprocess.Popen[bytes]
    log: Path
    begin: float
    retries: int = 0


def run_study(
    plan: str | Path,
    folder: str | Path | None = None,
    *,
    jobs: int = 1,
    threads: int | None = None,
    device: str | None = None,
    retry_failed: bool = False,
) -> int:
    """Do the runs of a plan that are left, on this machine; return the exit code.

    Args:
        plan: The plan's YAML.
        folder: The study's; None: ``runs/study/<name>``.
        jobs: Runs at a time.
        threads: Threads of each on a CPU. None: Ultralytics' choice for one job, else the cores
            shared out.
        device: As for Ultralytics; None: its own choice.
        retry_failed: Do runs again that have a record of failure.

    Returns:
        0 when every run is done, 1 when a run failed or could not be done.

    Raises:
        PlanError, StudyError, RecordError: Before anything runs; see `open_study`.
    """
    if jobs < 1:
        raise StudyError(f"--jobs takes a number from 1, got {jobs}")
    if threads is None and jobs > 1:
        threads = max(1, (os.cpu_count() or 1) // jobs)
    with open_study(plan, folder, device=device, threads=threads) as study:
        return run_local(study, jobs=jobs, retry_failed=retry_failed)


def run_local(study: Study, *, jobs: int = 1, retry_failed: bool = False) -> int:
    """Do what is left of an open study and return the exit code."""
    progress = Progress(study.folder, len(study.runs), study.plan.train["epochs"], jobs)
    waiting = begin_with(study, progress, retry_failed)
    full = False  # no space, or another process at a run: what runs may end, nothing new is begun
    with _processes() as children:
        while children or (waiting and not full):
            while waiting and len(children) < jobs and not full:
                children.append(_start(study, waiting.pop(0), progress))
            time.sleep(_POLL)
            for child in [child for child in children if child.process.poll() is not None]:
                children.remove(child)
                again = _ended(study, child, progress)
                if again == "retry":
                    children.append(_start(study, child.run, progress, child.retries + 1))
                full = full or again == "later"
            progress.show(waiting)
    return finish(study, progress)


def begin_with(study: Study, progress: Progress, retry_failed: bool) -> list[Run]:
    """Say how the study stands and return the runs that are left."""
    left = study.left(retry_failed=retry_failed)
    again = {run.id for run in left}
    for record in study.records.values():
        if record["id"] not in again:
            progress.learn(record)
    for name, data in study.data.items():
        for problem in data.problems:
            progress.say(f"data: {name} fails its check, its runs are left out: {problem}")
    failures = sum(1 for record in study.records.values() if record["status"] == "failed")
    parts = [f"{len(study.runs)} runs", f"{progress.finished} recorded", f"{len(left)} to do"]
    if failures and not retry_failed:
        parts.append(f"{failures} failed (--retry-failed does them again)")
    progress.say(f"study {study.plan.name} in {study.folder}: {', '.join(parts)}")
    return left


def finish(study: Study, progress: Progress) -> int:
    """Say what came of it and return the exit code."""
    counts = {
        status: sum(r["status"] == status for r in study.records.values())
        for status in ("done", "failed")
    }
    missing = len(study.runs) - sum(counts.values())
    text = f"{counts['done']} of {len(study.runs)} runs done"
    text += f", {counts['failed']} failed" if counts["failed"] else ""
    text += f", {missing} without a record" if missing else ""
    progress.say(f"{text}. Type: scsa-yolo study report {study.folder}")
    return int(counts["done"] < len(study.runs))


@contextmanager
def _processes() -> Iterator[list[_Child]]:
    """Hold the running processes, and end them with this block: they go on where they were when
    asked to.
    """
    children: list[_Child] = []
    try:
        yield children
    finally:
        for child in children:
            if child.process.stdin is not None:
                child.process.stdin.close()  # what a run's process takes as the end of its parent
        for child in children:
            try:
                child.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            _end_group(child)


def _end_group(child: _Child) -> None:
    """End what a process that was killed has left behind, such as Ultralytics' processes for
    several GPUs.
    """
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)


def _start(study: Study, run: Run, progress: Progress, retries: int = 0) -> _Child:
    job = study.job_file(run)
    log = job.with_name("log.txt")
    command = [*_WORKER, str(job), "--end-with-parent"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                **({} if study.threads is None else {"OMP_NUM_THREADS": str(study.threads)}),
            },
            start_new_session=True,  # Ctrl-C reaches the study alone, which then ends its processes
        )
    progress.start(run)
    return _Child(run, process, log, time.monotonic(), retries)


def _ended(study: Study, child: _Child, progress: Progress) -> str:
    """Take the record of a process that has ended; return "" or, without a record, "retry" or
    "later".
    """
    progress.stop(child.run)
    if child.process.stdin is not None:
        child.process.stdin.close()
    _end_group(child)
    code = child.process.returncode
    if code == LATER:
        progress.say(
            f"{child.run.id}: {_last_line(child.log)}. What is done is kept: type the same command"
            " again"
        )
        return "later"
    if code not in (DONE, FAILED):
        if code < 0 and child.retries < _RETRIES:
            progress.say(
                f"{child.run.id}: its process was killed (signal {-code}); it goes on where it was"
            )
            return "retry"
        why = (
            f"its process was killed (signal {-code})"
            if code < 0
            else f"its process ended with status {code}"
        )
        try:
            write(study.folder, failed(study.job(child.run), f"{why}: {_tail(child.log)}"))
        except OSError as error:
            progress.say(
                f"{child.run.id}: {why}, and no record of it can be written: {error}. Free some"
                " space"
            )
            return "later"
    take_record(study, child.run, progress, time.monotonic() - child.begin)
    return ""


def take_record(study: Study, run: Run, progress: Progress, seconds: float) -> dict[str, Any]:
    """Read the record that a run has just written, and say what it holds."""
    record = read(record_path(study.folder, run.id))
    study.records[run.id] = record
    progress.learn(record)
    head = f"[{progress.finished}/{progress.total}] {run.id}: "
    if record["status"] == "failed":
        progress.say(
            f"{head}FAILED: {record['error']}. See {study.folder / 'work' / run.id / 'log.txt'}"
        )
    else:
        score = record["final"].get(study.plan.primary)
        shown = "none" if score is None else f"{score:.4f}"
        progress.say(f"{head}{study.plan.primary} {shown}, {duration(seconds)}")
    return record


def _tail(log: Path) -> str:
    try:
        text = log.read_bytes()[-_TAIL:].decode("utf-8", errors="replace")
    except OSError:
        return "no log"
    return " | ".join(
        line.strip() for line in text.replace("\r", "\n").splitlines()[-4:] if line.strip()
    )


def _last_line(log: Path) -> str:
    return _tail(log).split(" | ")[-1] or "it ended without a record"
