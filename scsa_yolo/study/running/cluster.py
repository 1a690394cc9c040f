"""A study over a Ray cluster: the same plan, order, records and resume as on one machine.

The process that was started keeps the folder and writes the records. A Ray task gets a job that
holds all a run needs, has `scsa_yolo.study.running.worker` do it in a process of its own, and
returns the record as its value, so that nodes need not share a file system. Where they do share the
study's folder they work in it. Otherwise they work in a folder of their own, and weights stay
there.
"""

from __future__ import annotations

import math
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scsa_yolo.study.planning.schedule import Run
from scsa_yolo.study.records.record import read, record_path, write
from scsa_yolo.study.running.folder import Study, StudyError, open_study
from scsa_yolo.study.running.local import begin_with, finish, take_record
from scsa_yolo.study.running.progress import Progress
from scsa_yolo.study.running.worker import DONE, FAILED, LATER, failed
from scsa_yolo.support.files import write_json

__all__ = ["on_node", "run_on_ray"]

_POLL = 1.0  # seconds that one look at the running tasks takes at most
_LOCAL_STORE = 100_000_000  # bytes of Ray's object store on this machine: records are small


@dataclass(frozen=True)
class _Task:
    """A run that Ray has, for the how-manieth time, and since when."""

    run: Run
    tries: int
    begin: float


@dataclass(frozen=True)
class _Needs:
    """What a run takes of a node."""

    cpus: float
    gpus: float

    def slots(self, nodes: list[Mapping[str, Any]]) -> int:
        """Return how many runs the cluster holds at a time."""
        return sum(self._of(node["Resources"]) for node in nodes if node["Alive"])

    def _of(self, has: Mapping[str, float]) -> int:
        counts = [
            has.get(name, 0) / need
            for name, need in (("CPU", self.cpus), ("GPU", self.gpus))
            if need
        ]
        return math.floor(min(counts, default=0))

    @property
    def device(self) -> str:
        """Ultralytics' device: Ray numbers a task's GPUs from 0 for it."""
        return ",".join(map(str, range(math.ceil(self.gpus)))) if self.gpus else "cpu"


def run_on_ray(
    plan: str | Path,
    folder: str | Path | None = None,
    *,
    address: str | None = "auto",
    gpus_per_run: float | None = None,
    cpus_per_run: float | None = None,
    retries: int = 2,
    jobs: int | None = None,
    threads: int | None = None,
    device: str | None = None,
    retry_failed: bool = False,
    scratch: str | None = None,
) -> int:
    """Do the runs of a plan that are left, spread over a Ray cluster; return the exit code.

    Args:
        plan: The plan's YAML.
        folder: The study's; None: ``runs/study/<name>``.
        address: ``host:port`` of the cluster's head, ``"auto"`` for the cluster that this machine
            belongs to, ``"local"`` or None for a cluster of this machine alone, which ends with the
            study.
        gpus_per_run: GPUs of each run; parts of one put several runs on it. None: 1 where the
            cluster has GPUs.
        cpus_per_run: CPUs of each run. None: a GPU's share of the cluster's, or `threads`, or 1.
        retries: How often a run is started again whose process, or node, was lost.
        jobs: Runs at a time on this machine, for ``"local"``. None: what its cores hold.
        threads: Threads of a run on a CPU. None: `cpus_per_run`.
        device: None, or ``"cpu"`` for no GPUs.
        retry_failed: Do runs again that have a record of failure.
        scratch: Folder on nodes that do not share the study's; None: under their temporary folder.

    Returns:
        0 when every run is done, 1 when a run failed or could not be done.

    Raises:
        ImportError: Ray is not installed.
        PlanError, StudyError, RecordError: Before anything runs; also where Ray cannot be reached
            or is too small.
    """
    _check(address, gpus_per_run, cpus_per_run, retries, jobs, device)
    ray = _import_ray()
    with open_study(plan, folder) as study:
        progress = Progress(study.folder, len(study.runs), study.plan.train["epochs"])
        waiting = begin_with(study, progress, retry_failed)
        if waiting:
            local = address in (None, "local")
            with _connection(
                ray, address, None if jobs is None else jobs * (cpus_per_run or threads or 1)
            ):
                needs = _needs(ray, 0 if device == "cpu" else gpus_per_run, cpus_per_run, threads)
                study.device = needs.device
                study.threads = None if needs.gpus else threads or max(1, int(needs.cpus))
                _Driver(ray, study, needs, progress, retries, 0 if local else 1, scratch).drive(
                    waiting
                )
        return finish(study, progress)


def _check(
    address: str | None,
    gpus: float | None,
    cpus: float | None,
    retries: int,
    jobs: int | None,
    device: str | None,
) -> None:
    for name, value, least in (
        ("gpus-per-run", gpus, 0),
        ("cpus-per-run", cpus, 0),
        ("retries", retries, 0),
    ):
        if value is not None and not (value >= least and math.isfinite(value)):
            raise StudyError(f"--{name} takes a number from {least}, got {value}")
    if cpus == 0 and not gpus:
        raise StudyError(
            "--cpus-per-run 0 needs --gpus-per-run: a run takes at least a part of something"
        )
    if gpus is not None and gpus > 1 and gpus != int(gpus):
        raise StudyError(f"--gpus-per-run takes parts of one GPU or whole ones, got {gpus:g}")
    if jobs is not None and (jobs < 1 or address not in (None, "local")):
        raise StudyError(
            "--jobs takes a number from 1, and goes with --ray local; a cluster knows its size,"
            f" got {jobs}"
        )
    if device not in (None, "cpu"):
        raise StudyError(
            f"--device {device}: Ray chooses a run's GPUs. Type: --gpus-per-run 1, or --device cpu"
        )


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # The coming behaviour, so that Ray has nothing to warn of: a task without GPUs keeps its
    # environment.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise ImportError("--ray needs ray. Type: pip install 'scsa-yolo[study]'") from error
    return ray


@contextmanager
def _connection(ray: Any, address: str | None, cpus: float | None) -> Iterator[None]:
    """Connect to the cluster, or start one on this machine."""
    if ray.is_initialized():  # the caller's own, which goes on afterwards
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address in (None, "local"):
        options |= {
            "address": "local",
            "include_dashboard": False,
            "num_cpus": cpus and math.ceil(cpus),
        }
        options |= {"object_store_memory": _LOCAL_STORE}
    else:
        options |= {"address": address}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        line = str(error).partition("\n")[0]
        raise StudyError(
            f"no Ray cluster at '{address}': {line} Type: ray status --address={address}, or --ray"
            " local for this machine alone. A cluster with tokens wants RAY_AUTH_MODE=token in the"
            " environment"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _needs(ray: Any, gpus: float | None, cpus: float | None, threads: int | None) -> _Needs:
    has = ray.cluster_resources()
    all_gpus = has.get("GPU", 0)
    if gpus is None:
        gpus = 1 if all_gpus else 0
    if cpus is None:
        share = has.get("CPU", 1) * gpus / all_gpus if gpus and all_gpus else 0
        cpus = max(1, int(share)) if gpus else threads or 1
    return _Needs(cpus, gpus)


class _Driver:
    """Hands runs to Ray in the plan's order, and takes their records.

    It hands over what the cluster holds at a time, and `ahead` more, which show an autoscaler that
    there is work: so a run that was lost goes on before those that have not begun.
    """

    def __init__(
        self,
        ray: Any,
        study: Study,
        needs: _Needs,
        progress: Progress,
        retries: int,
        ahead: int,
        scratch: str | None,
    ) -> None:
        self.ray, self.study, self.needs, self.progress = ray, study, needs, progress
        self.retries, self.ahead, self.scratch = retries, ahead, scratch
        self.waiting: list[tuple[Run, int]] = []
        self.tasks: dict[Any, _Task] = {}
        self.remote = ray.remote(num_cpus=needs.cpus, num_gpus=needs.gpus, max_retries=0)(on_node)
        self.token = secrets.token_hex(16)

    def drive(self, runs: list[Run]) -> None:
        """Do the runs; each that can be done has a record in the end."""
        self.waiting = [(run, 1) for run in runs]
        self._say_size()
        mark = self.study.folder / ".ray"
        mark.write_text(self.token, encoding="utf-8")
        try:
            while self.waiting or self.tasks:
                self._hand_over()
                done, _ = self.ray.wait(list(self.tasks), timeout=_POLL)
                for reference in done:
                    self._take(self.tasks.pop(reference), reference)
                self.progress.show([run for run, _ in self.waiting])
        except self.ray.exceptions.RayError as error:
            line = str(error).partition("\n")[0]
            raise StudyError(
                f"the Ray cluster is gone: {line} When it is back, type the same command again"
            ) from error
        finally:
            for reference in self.tasks:
                with suppress(Exception):  # the cluster may be gone
                    self.ray.cancel(reference, force=True)
            mark.unlink(missing_ok=True)

    def _slots(self) -> int:
        return self.needs.slots(self.ray.nodes())

    def _say_size(self) -> None:
        """Say how many runs the cluster holds.

        Raises:
            StudyError: None, on this machine, which will not grow.
        """
        slots, nodes = self._slots(), sum(node["Alive"] for node in self.ray.nodes())
        takes = f"{self.needs.cpus:g} CPU and {self.needs.gpus:g} GPU for each"
        if slots:
            self.progress.say(
                f"Ray: runs at a time: {slots}, on {nodes} node{'s' * (nodes != 1)}, {takes}"
            )
        elif self.ahead:
            self.progress.say(f"Ray: no node has {takes} run: waiting for one that has")
        else:
            less = "--gpus-per-run 0, for its CPU" if self.needs.gpus else "--cpus-per-run 1"
            raise StudyError(f"this machine has no room for a run: {takes}. Type: {less}")

    def _hand_over(self) -> None:
        slots = self._slots()
        self.progress.jobs = max(1, slots)
        while self.waiting and len(self.tasks) < max(1, slots + self.ahead):
            run, tries = self.waiting.pop(0)
            reference = self.remote.remote(self.study.job(run), self.token, self.scratch)
            self.tasks[reference] = _Task(run, tries, time.monotonic())
            self.progress.start(run)

    def _take(self, task: _Task, reference: Any) -> None:
        """Write the record that a task returns, or hand its run over again."""
        self.progress.stop(task.run)
        try:
            record, lost, later = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:  # its process or node is gone
            record, lost, later = (
                None,
                f"{type(error).__name__}: {str(error).partition('.')[0]}",
                False,
            )
        if record is None and task.tries <= self.retries:
            self.progress.say(
                f"{task.run.id}: {lost}. Started again, {task.tries} of {self.retries}"
            )
            self.waiting.insert(0, (task.run, task.tries + 1))
            return
        if record is None and later:
            self.progress.say(
                f"{task.run.id}: {lost}. What is done is kept: type the same command again"
            )
            return
        if record is None:
            record = failed(self.study.job(task.run), f"lost {task.tries} times, at last: {lost}")
        try:
            write(self.study.folder, {**record, "attempts": max(record["attempts"], task.tries)})
        except OSError as error:  # above all a full disk: nothing more can be kept
            self.progress.say(
                f"{task.run.id}: its record cannot be written: {error}. Make room, and type the"
                " same again"
            )
            self.waiting.clear()
            return
        take_record(self.study, task.run, self.progress, time.monotonic() - task.begin)


def on_node(
    job: Mapping[str, Any], token: str, scratch: str | None
) -> tuple[dict[str, Any] | None, str, bool]:
    """Do a job on the node that this runs on: the Ray task.

    Args:
        job: See `scsa_yolo.study.running.worker`; its paths are those of the machine where the
            study was started.
        token: What ``<folder>/.ray`` holds if this node sees the study's folder.
        scratch: Where to work if it does not; None: under the temporary folder.

    Returns:
        The record, or None with a line that says why there is none, and whether only time or space
        was missing.
    """
    shared = _shared(Path(job["folder"]), token)
    folder = Path(job["folder"]) if shared else _own_folder(job, scratch)
    here = {**job, "folder": str(folder)}
    try:
        if not shared:
            here["data_yaml"] = str(_data_here(job))
        path = folder / "work" / job["run"]["id"] / "job.json"
        write_json(path, here, indent=1)
        code = _train(path)
    except (ValueError, OSError) as error:
        return None, f"{socket.gethostname()}: {error}", False
    if code in (DONE, FAILED):
        return read(record_path(folder, job["run"]["id"]), job["plan_hash"]), "", False
    why = (
        f"its process was killed (signal {-code})"
        if code < 0
        else _last_line(path.with_name("log.txt"))
    )
    return None, f"{socket.gethostname()}: {why}", code == LATER


def _train(job_file: Path) -> int:
    """Run the worker in a process of its own, which ends when this one does, and return its exit
    status.
    """
    command = [
        sys.executable,
        "-u",
        "-m",
        "scsa_yolo.study.running.worker",
        str(job_file),
        "--end-with-parent",
    ]
    with job_file.with_name("log.txt").open("ab") as log:
        process = subprocess.Popen(
            command,
            # the worker ends when this is closed, which the system does for a killed process
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the study alone
        )
        with process:
            return process.wait()


def _last_line(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n")
    return next(
        (line.strip() for line in reversed(text.splitlines()) if line.strip()),
        "it ended without a word",
    )


def _shared(folder: Path, token: str) -> bool:
    try:
        return (folder / ".ray").read_text(encoding="utf-8") == token
    except OSError:
        return False


def _own_folder(job: Mapping[str, Any], scratch: str | None) -> Path:
    """Return this node's folder of the study, the same for the same plan: so a run can go on
    here.
    """
    base = Path(scratch) if scratch else Path(tempfile.gettempdir()) / "scsa-yolo-study"
    return base / f"{job['plan']['name']}-{job['plan_hash'].removeprefix('sha256:')[:12]}"


def _data_here(job: Mapping[str, Any]) -> Path:
    """Return the data set's YAML on this node, at the same path or under the plan's name for it.

    Raises:
        ValueError: It is not here, or holds other pictures or labels.
    """
    from scsa_yolo.datasets.layout.dataset import load_layout
    from scsa_yolo.study.records.facts import fingerprint

    name = job["data_yaml"] if Path(job["data_yaml"]).is_file() else job["run"]["data"]
    layout = load_layout(name)
    if fingerprint(layout.yaml, job["data_fingerprint"]) != job["data_fingerprint"]:
        raise ValueError(
            f"{layout.yaml} is not the data set that the study was started with; copy that one here"
        )
    return layout.yaml.resolve()
