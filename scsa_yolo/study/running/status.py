"""``scsa-yolo study status``: how far a study is, read from its folder while it runs or later."""

from __future__ import annotations

from pathlib import Path

from scsa_yolo.study.planning.plan import load, plan_hash
from scsa_yolo.study.planning.schedule import schedule
from scsa_yolo.study.records.record import load_all
from scsa_yolo.study.running.lock import Locked, hold
from scsa_yolo.study.running.training import State, epochs_of

__all__ = ["status"]


def status(folder: Path) -> str:
    """Return the state of each run, one line each, and a sum.

    Raises:
        FileNotFoundError: There is no study in the folder.
        RecordError: A record is damaged or of another plan.
    """
    if not (folder / "plan.yaml").is_file():
        raise FileNotFoundError(f"'{folder}' is no study's folder: it has no plan.yaml")
    plan = load(folder / "plan.yaml")
    records = {record["id"]: record for record in load_all(folder, plan_hash(plan))}
    runs, lines = schedule(plan), []
    width = max(len(run.id) for run in runs)
    for run in runs:
        record = records.get(run.id)
        if record is None:
            work = folder / "work" / run.id
            done, begun = len(epochs_of(work)), State.read(work).attempts > 0
            text = f"{done} of {plan.train['epochs']} epochs" if begun else "waits"
        elif record["status"] == "failed":
            text = f"failed: {record['error']}"
        else:
            score = record["final"].get(plan.primary)
            text = f"done: {plan.primary} {'none' if score is None else f'{score:.4f}'}"
        lines.append(f"{run.id:<{width}}  {text}")
    counts = [sum(r["status"] == word for r in records.values()) for word in ("done", "failed")]
    lines.append(f"{counts[0]} of {len(runs)} runs done, {counts[1]} failed; {_running(folder)}")
    return "\n".join(lines)


def _running(folder: Path) -> str:
    try:
        with hold(folder / ".lock"):
            return "not running"
    except Locked:
        return "running"
