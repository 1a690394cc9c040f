"""Training by Ultralytics' own trainer, from the start or from where an earlier attempt was cut
off.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from scsa_yolo.study.records.facts import peak_memory_mb
from scsa_yolo.study.running.lock import hold
from scsa_yolo.support.files import write_json, write_text

__all__ = ["State", "epochs_of", "train"]

# What the study decides, besides model, data, seed, project and name. A plan may say another
# patience; 0 has all runs train the same number of epochs.
FIXED = {
    "patience": 0,
    "deterministic": True,
    "exist_ok": True,
    "plots": False,
    "val": True,
    "verbose": False,
}


@dataclass
class State:
    """What is known of a run over its attempts; kept in ``work/<id>/state.json``."""

    attempts: int = 0
    resumed: list[int] = field(default_factory=list)
    started: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mb: float | None = None
    peak_gpu_memory_mb: float | None = None
    trained: bool = False

    @classmethod
    def read(cls, work: Path) -> State:
        """Return what an earlier attempt left, or a fresh state."""
        try:
            content = json.loads((work / "state.json").read_text(encoding="utf-8"))
            return cls(**{name.name: content[name.name] for name in fields(cls)})
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    def write(self, work: Path) -> None:
        """Keep it."""
        write_json(work / "state.json", asdict(self))


def train(job: Mapping[str, Any], work: Path, model_path: Path) -> State:
    """Train the job's run, or what is left of it, and return its state.

    Args:
        job: See `scsa_yolo.study.running.worker`.
        work: The run's folder, where the trainer writes.
        model_path: The arm's model YAML.
    """
    state = State.read(work)
    state.attempts += 1
    state.started = state.started or _now()
    found, epoch = where_it_stands(
        work, job["arguments"]["epochs"], job["plan"].get("weights", "last")
    )
    if found == "trained":
        state.trained = True
    elif found == "resume":
        state.resumed.append(epoch)
    else:
        _clear(work)
        state = State(attempts=state.attempts, started=state.started)
    state.write(work)
    if not state.trained:
        _train(job, work, model_path, state, resume=found == "resume")
        state.trained = True
        state.write(work)
    return state


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def where_it_stands(work: Path, epochs: int, weights: str) -> tuple[str, int]:
    """Return ``start``, ``resume`` or ``trained``, and how many epochs are done.

    Whatever an end at a bad moment left half-written is found here: then the run starts anew.
    """
    last, best = (
        _checkpoint(work / "weights" / "last.pt"),
        _checkpoint(work / "weights" / "best.pt"),
    )
    if (
        last is not None and last.get("optimizer") is None
    ):  # Ultralytics strips what it has finished
        finished = last.get("epoch") == -1 and (best is not None or weights == "last")
        return ("trained", epochs) if finished else ("start", 0)
    if last is None or best is None:
        return "start", 0
    done = int(last["epoch"]) + 1
    if last.get("best_fitness") != best.get("best_fitness") and best.get("optimizer") is not None:
        return "start", 0  # the end came between writing last.pt and best.pt
    if not _cut_csv(work / "results.csv", done):
        return "start", 0
    return ("trained", done) if done >= epochs else ("resume", done)


def _checkpoint(path: Path) -> dict[str, Any] | None:
    """Return what a checkpoint holds; under ``ULTRALYTICS_SAFE_LOAD=1`` none that could run code.

    The loader is the one that training and measuring use, so all of them obey the switch.
    """
    from ultralytics.nn.tasks import torch_safe_load

    if not path.is_file():  # the loader would look for it on the network
        return None
    try:
        found, _ = torch_safe_load(str(path))
    except Exception:  # noqa: BLE001  not there, or cut short in any way
        return None
    return (
        found
        if isinstance(found, dict) and (found.get("ema") or found.get("model")) is not None
        else None
    )


def _cut_csv(path: Path, done: int) -> bool:
    """Keep the rows of epochs that the checkpoint has; tell whether all of them are there."""
    try:
        head, *rows = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return False
    whole = [row for row in rows if row.count(",") == head.count(",")]
    kept = [
        row
        for row in whole
        if row.split(",")[0].strip().isdigit() and int(row.split(",")[0]) <= done
    ]
    if [int(row.split(",")[0]) for row in kept] != list(range(1, done + 1)):
        return False
    write_text(path, "\n".join([head, *kept, ""]))
    return True


def _clear(work: Path) -> None:
    shutil.rmtree(work / "weights", ignore_errors=True)
    for name in ("results.csv", "args.yaml"):
        (work / name).unlink(missing_ok=True)


def _train(
    job: Mapping[str, Any], work: Path, model_path: Path, state: State, *, resume: bool
) -> None:
    from scsa_yolo.complexity import load

    last = work / "weights" / "last.pt"
    if resume:
        from ultralytics import YOLO

        model = YOLO(str(last))
    else:
        model = load(model_path)
    _follow(model, work, state, job.get("threads"))
    device = {} if job.get("device") is None else {"device": job["device"]}
    with _labels_alone(model, Path(job["folder"]) / ".labels.lock"):
        if resume:
            model.train(resume=True, data=job["data_yaml"], save_dir=str(work), **device)
            return
        arguments = {
            **FIXED,
            **job["arguments"],
            "seed": job["run"]["seed"],
            "data": job["data_yaml"],
            **device,
        }
        model.train(project=str(work.parent), name=work.name, **arguments)


@contextmanager
def _labels_alone(model: Any, lock: Path) -> Iterator[None]:
    """Let one run at a time read the labels: Ultralytics' cache of them, half-written, would stop
    another run.
    """
    with ExitStack() as held:
        model.add_callback(
            "on_pretrain_routine_start", lambda _: held.enter_context(hold(lock, wait=3600))
        )
        model.add_callback("on_train_start", lambda _: held.close())
        yield


def _follow(model: Any, work: Path, state: State, threads: int | None) -> None:
    """Note time and memory after every epoch, and keep the number of threads that Ultralytics sets
    anew.
    """
    import torch

    begin, begin_cpu, before = time.monotonic(), _cpu_seconds(), (state.seconds, state.cpu_seconds)

    def note(trainer: Any) -> None:
        state.seconds = round(before[0] + time.monotonic() - begin, 1)
        state.cpu_seconds = round(before[1] + _cpu_seconds() - begin_cpu, 1)
        state.peak_memory_mb = max(state.peak_memory_mb or 0, peak_memory_mb() or 0) or None
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            peak = round(torch.cuda.max_memory_allocated() / 1e6, 1)
            state.peak_gpu_memory_mb = max(state.peak_gpu_memory_mb or 0, peak) or None
        state.write(work)

    model.add_callback("on_fit_epoch_end", note)
    keep_threads(model, threads)


def keep_threads(model: Any, threads: int | None) -> None:
    """Have training and validation of an Ultralytics model run with this many threads; None leaves
    its choice.
    """
    import torch

    if threads is not None:
        for event in ("on_pretrain_routine_start", "on_train_start", "on_val_start"):
            model.add_callback(event, lambda _: torch.set_num_threads(threads))


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def epochs_of(work: Path) -> list[dict[str, float | int | None]]:
    """Return the rows of the trainer's results.csv: ``epoch`` and Ultralytics' own columns; null
    for no number.
    """
    try:
        head, *rows = (work / "results.csv").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    names = [name.strip() for name in head.split(",")]
    return [
        dict(zip(names, map(_number, row.split(",")), strict=True))
        for row in rows
        if row.count(",") == len(names) - 1
    ]


def _number(text: str) -> float | int | None:
    try:
        value = float(text)
    except ValueError:
        return None
    if value != value or value in (float("inf"), float("-inf")):
        return None
    return int(text) if text.strip().isdigit() else value
