"""One run of a study in a process of its own: ``python -m scsa_yolo.study.running.worker
JOB.json``.

A job is a JSON file (or dictionary) that holds all a run needs, so that any machine with this
package, the data set and the study's folder can do it; whoever starts it, the record is the same.
`scsa_yolo.study.running.local.make_jobs` writes them. Its keys:

    job               1, the version of this form
    plan              the plan's mapping, as in its YAML
    plan_hash         "sha256:..." of it
    run               {"id", "model", "data", "arm", "seed", "repeat"}: names as in the plan
    folder            absolute path of the study's folder: records go to records/, the trainer's
    files to work/<id>/
    model_file        file name of the arm's model YAML, such as "yolov8n__scsa.yaml"
    model_yaml        its text; the worker writes it to models/ where it is not there
    data_yaml         absolute path of the data set's YAML
    data_fingerprint  {"train": {"images", "boxes", "hash"}, "val": {...}}
    arguments         training arguments for Ultralytics, without model, data, seed, project, name
    and device
    device            Ultralytics' device, such as "cpu" or "0"; null for its own choice
    threads           threads of torch on a CPU; null for Ultralytics' own choice
    code              {"commit", "dirty"} of the package where the study was started, or null

`execute(job)` does the run and returns its record (a dictionary, see
`scsa_yolo.study.records.record`), and raises when it fails. `attempt(job)` also returns a record
when it fails. `run_job(path)` writes that record to ``records/<id>.json``
and returns it. All three continue a run that was interrupted: what they find in ``work/<id>/``
decides.

Exit status of the command: 0 the record says "done"; 3 it says "failed"; 75 no record, because the
    disk is full or
another process is doing this run: try again later; any other: it died, and there is no record.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scsa_yolo.study.records.record import blank, sealed, write
from scsa_yolo.study.running.lock import Locked, hold
from scsa_yolo.support.files import write_text

__all__ = ["DONE", "FAILED", "LATER", "attempt", "execute", "run_job"]

DONE, FAILED, LATER = 0, 3, 75
_FULL = 30_000_000  # bytes; with less on the disk an error is the disk's
_WAIT = 60.0  # seconds that an earlier process of the same run may take to end


class DiskFull(OSError):
    """There is no space left for the run's files."""


def execute(job: Mapping[str, Any]) -> dict[str, Any]:
    """Do the job's run, or what is left of it, and return its record; nothing is written to
    ``records/``.

    Raises:
        Locked: Another process is doing this run.
        Exception: Whatever stopped training or measuring.
    """
    from scsa_yolo.host import register, registered
    from scsa_yolo.study.records.facts import hardware, versions
    from scsa_yolo.study.running.checkpoint import measure
    from scsa_yolo.study.running.training import epochs_of, train

    if not registered():
        register()
    begin = time.monotonic()
    work = work_folder(job)
    work.mkdir(parents=True, exist_ok=True)
    with hold(work / ".lock", wait=_WAIT):
        state = train(job, work, write_model(job))
        weights = job["plan"].get("weights", "last")
        path = work / "weights" / f"{weights}.pt"
        facts = {"versions": versions(), "hardware": hardware(job.get("device"))}
        measured = measure(path, job)
    return sealed(
        {
            **blank(job),
            **facts,
            **measured,
            "status": "done",
            "weights": weights,
            "epochs": epochs_of(work),
            "total_seconds": round(time.monotonic() - begin, 1),
            **{
                key: getattr(state, key)
                for key in ("attempts", "resumed", "started", "seconds", "cpu_seconds")
            },
            **{key: getattr(state, key) for key in ("peak_memory_mb", "peak_gpu_memory_mb")},
        }
    )


def attempt(job: Mapping[str, Any]) -> dict[str, Any]:
    """Do as `execute`, and return a record of the failure where it fails.

    Raises:
        Locked, DiskFull: Nothing is wrong with the run itself; it can be tried again.
    """
    try:
        return execute(job)
    except Locked:
        raise
    except Exception as error:  # a record of whatever it was
        traceback.print_exc()
        if disk_is_full(error, Path(job["folder"])):
            raise DiskFull(errno.ENOSPC, f"no space left on the disk of {job['folder']}") from error
        return failed(job, f"{type(error).__name__}: {error}")


def failed(job: Mapping[str, Any], error: str) -> dict[str, Any]:
    """Return the record of a run that failed, with what is known of it."""
    from scsa_yolo.study.records.facts import hardware, versions
    from scsa_yolo.study.running.training import State, epochs_of

    work = work_folder(job)
    state = State.read(work)
    line = " ".join(error.replace(str(job["folder"]), ".").split()) or "no message"
    return sealed(
        {
            **blank(job),
            "status": "failed",
            "error": line[:500],
            "attempts": max(1, state.attempts),
            "resumed": state.resumed,
            "started": state.started or None,
            "seconds": state.seconds or None,
            "versions": versions(),
            "hardware": hardware(job.get("device")),
            "epochs": epochs_of(work),
        }
    )


def run_job(path: str | Path) -> dict[str, Any]:
    """Do the job in a file as `attempt` does, write the record, and return it."""
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    record = attempt(job)
    write(Path(job["folder"]), record)
    return record


def work_folder(job: Mapping[str, Any]) -> Path:
    """Return where the trainer writes."""
    return Path(job["folder"]) / "work" / job["run"]["id"]


def write_model(job: Mapping[str, Any]) -> Path:
    """Write the arm's model YAML where it is not there yet, and return its path."""
    path = Path(job["folder"]) / "models" / job["model_file"]
    if not path.exists() or path.read_text(encoding="utf-8") != job["model_yaml"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, job["model_yaml"])
    return path


def disk_is_full(error: BaseException, folder: Path) -> bool:
    """Tell whether an error came from a full disk; torch hides that in a RuntimeError of its
    own.
    """
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
        return True
    return shutil.disk_usage(folder).free < _FULL


def _end_with_parent() -> None:
    """End this process when whoever started it is gone: its end of the pipe on stdin closes,
    however it ended.
    """

    def watch() -> None:
        while os.read(0, 1):
            pass
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(
                os.getpgrp(), signal.SIGKILL
            )  # with the processes that Ultralytics starts for several GPUs
        os._exit(LATER)

    threading.Thread(target=watch, daemon=True).start()


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m scsa_yolo.study.running.worker", description="Do one run of a study."
    )
    parser.add_argument("job", type=Path, help="the job's JSON file")
    parser.add_argument("--end-with-parent", action="store_true", help="end when stdin is closed")
    args = parser.parse_args(argv)
    if args.end_with_parent:
        _end_with_parent()
    try:
        record = run_job(args.job)
    except (Locked, DiskFull) as error:
        print(f"study: {error}", file=sys.stderr, flush=True)
        return LATER
    except OSError as error:
        if not disk_is_full(error, args.job.parent):
            raise
        print(f"study: no space left for the record: {error}", file=sys.stderr, flush=True)
        return LATER
    return DONE if record["status"] == "done" else FAILED


if __name__ == "__main__":
    sys.exit(main())
