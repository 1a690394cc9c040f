"""The folder of a study: one plan, its records, and the jobs that are left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scsa_yolo.study.planning.file import named
from scsa_yolo.study.planning.plan import Plan, load, plan_hash
from scsa_yolo.study.planning.schedule import Run, schedule
from scsa_yolo.study.planning.verify import DataSet, data_set, verify
from scsa_yolo.study.records import facts
from scsa_yolo.study.records.record import load_all
from scsa_yolo.study.running.lock import Locked, hold
from scsa_yolo.support.files import write_bytes, write_json

__all__ = ["Study", "StudyError", "default_folder", "open_study"]

Say = Callable[[str], None]


class StudyError(ValueError):
    """A study that cannot go on as asked; the message is one line that says why and what to
    type.
    """


@dataclass
class Study:
    """A study whose folder is ours.

    Attributes:
        plan: The plan.
        folder: Absolute path.
        runs: All runs in order.
        records: What there is already, by the run's id.
        data: The data sets by name; those that failed their check have ``problems``.
        device: Ultralytics' device for all runs, or None.
        threads: Threads of torch on a CPU, or None.
        say: Called with each line for the user.
    """

    plan: Plan
    folder: Path
    runs: list[Run]
    records: dict[str, dict[str, Any]]
    data: dict[str, DataSet]
    models: dict[tuple[str, str], tuple[str, str]] = field(repr=False)
    device: str | None = None
    threads: int | None = None
    say: Say = print

    def left(self, *, retry_failed: bool = False) -> list[Run]:
        """Return the runs that have no record, in order; with `retry_failed` those that failed too.

        Runs on a data set that failed its check are not among them.
        """
        have = {
            id
            for id, record in self.records.items()
            if not (retry_failed and record["status"] == "failed")
        }
        return [run for run in self.runs if run.id not in have and not self.data[run.data].problems]

    def job(self, run: Run) -> dict[str, Any]:
        """Return the job of a run, see `scsa_yolo.study.running.worker`."""
        arm = self.plan.arms[run.arm]
        model_file, model_yaml = self.models[run.model, run.arm]
        arguments = {
            **self.plan.train,
            **({} if arm.pretrained is None else {"pretrained": arm.pretrained}),
        }
        if isinstance(arguments.get("pretrained"), str):
            arguments["pretrained"] = str(Path(arguments["pretrained"]).resolve())
        return {
            "job": 1,
            "plan": dict(self.plan.raw),
            "plan_hash": plan_hash(self.plan),
            "run": {"id": run.id, **asdict(run)},
            "folder": str(self.folder),
            "model_file": model_file,
            "model_yaml": model_yaml,
            "data_yaml": str(self.data[run.data].yaml),
            "data_fingerprint": self.data[run.data].fingerprint,
            "arguments": arguments,
            "device": self.device,
            "threads": self.threads,
            "code": facts.code(),
        }

    def job_file(self, run: Run) -> Path:
        """Write the job of a run to ``work/<id>/job.json`` and return its path."""
        path = self.folder / "work" / run.id / "job.json"
        write_json(path, self.job(run), indent=1)
        return path


def default_folder(plan: Plan) -> Path:
    """Return where a study goes without --folder."""
    return Path("runs") / "study" / plan.name


@contextmanager
def open_study(
    plan_path: str | Path,
    folder: str | Path | None = None,
    *,
    device: str | None = None,
    threads: int | None = None,
    say: Say = print,
) -> Iterator[Study]:
    """Check the plan, take the study's folder, and check what is in it; the folder is ours until
    the end of the block.

    Raises:
        PlanError: The plan cannot be run.
        StudyError: The folder is another study's or in use, or the data has changed.
        RecordError: A record is damaged or of another plan.
    """
    plan = load(plan_path)
    with named(plan_path):
        models = verify(plan, say)
    place = Path(folder if folder is not None else default_folder(plan)).resolve()
    try:
        with hold(place / ".lock"):
            _keep_plan(Path(plan_path), plan, place)
            records = {record["id"]: record for record in load_all(place, plan_hash(plan))}
            with named(plan_path):
                data = {name: data_set(plan, name, place, say) for name in plan.data}
            _same_data(records, data)
            yield Study(plan, place, schedule(plan), records, data, models, device, threads, say)
    except Locked as error:
        raise StudyError(
            f"another study is running in this folder: {error}. Wait for it, or stop it"
        ) from error


def _keep_plan(path: Path, plan: Plan, folder: Path) -> None:
    """Copy the plan into the folder, byte for byte; refuse a folder where another one has begun."""
    kept = folder / "plan.yaml"
    begun = any((folder / "work").glob("*")) or any((folder / "records").glob("*.json"))
    if kept.exists() and (begun or path.samefile(kept)):
        if plan_hash(load(kept)) != plan_hash(plan):
            raise StudyError(
                f"{kept} is another plan. A plan is fixed before its first run: choose another name"
                " or --folder"
            )
        return
    write_bytes(kept, path.read_bytes())


def _same_data(records: dict[str, dict[str, Any]], data: dict[str, DataSet]) -> None:
    for record in records.values():
        now, then = data[record["data"]].fingerprint, record["data_fingerprint"]
        if record["status"] == "done" and then != now:
            split = next(
                (split for split in now if (then or {}).get(split) != now[split]), "another split"
            )
            raise StudyError(
                f"data: {record['data']} has changed since {record['id']} was run ({split}). "
                "Put it back as it was, or begin a new study with --folder"
            )
