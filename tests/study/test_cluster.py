"""Studies over Ray: the same records as on one machine, whatever happens to workers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from scsa_yolo.study.records.record import blank, load_all, record_path, sealed
from scsa_yolo.study.running import cluster
from scsa_yolo.study.running.cluster import on_node, run_on_ray
from scsa_yolo.study.running.folder import StudyError, open_study
from scsa_yolo.study.running.local import run_study

# What may differ between two machines, or two moments, that do the same run.
TIMES = {
    "attempts",
    "started",
    "seconds",
    "cpu_seconds",
    "total_seconds",
    "peak_memory_mb",
    "latency_ms",
    "hash",
}

START = """
import sys
from scsa_yolo.study.running.cluster import run_on_ray
sys.exit(run_on_ray(sys.argv[1], sys.argv[2], address="local", jobs=2, threads=1))
"""


@pytest.fixture
def plan_file(tmp_path: Path, tiny_data: Path) -> Path:
    """A plan of two runs that take seconds."""
    plan = {
        "name": "tiny",
        "models": ["yolov8n.yaml"],
        "data": [str(tiny_data)],
        "arms": {"stock": {}, "scsa": {"attention": "SCSA"}},
        "control": "stock",
        "seeds": [0],
        "train": {"epochs": 1, "imgsz": 64, "batch": 2, "optimizer": "SGD"},
    }
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan, sort_keys=False))
    return path


def measured(record: dict[str, Any]) -> dict[str, Any]:
    """Return what must be the same wherever a run is done."""
    epochs = [
        {key: value for key, value in row.items() if key != "time"} for row in record["epochs"]
    ]
    return {key: value for key, value in record.items() if key not in TIMES} | {"epochs": epochs}


def workers(process: Any, part: str) -> Iterator[Any]:
    """Yield the training processes below a process whose job has this part in its name."""
    import psutil

    for child in process.children(recursive=True):
        try:
            line = child.cmdline()
        except psutil.Error:
            continue
        job = next((Path(word) for word in line if word.endswith("job.json")), None)
        if job is not None and part in job.parent.name and (job.parent / "args.yaml").exists():
            yield child


def kill_holder_of_run(pid: int, part: str, timeout: float = 240) -> Any:
    """Kill the Ray worker that a run's process belongs to, once the trainer has begun; return that
    process.
    """
    import psutil

    end = time.monotonic() + timeout
    while time.monotonic() < end:
        for child in workers(psutil.Process(pid), part):
            holder = child.parent()
            assert holder.pid != pid  # Ray's worker, not the study
            holder.kill()
            return child
        time.sleep(0.1)
    raise AssertionError(f"no process of {part} began in {timeout} s")


def test_a_killed_worker_costs_nothing(plan_file: Path, yolo_home: Any, needs: Any) -> None:
    """Two workers of a real Ray, one killed while its run trains; then the same without a shared
    folder.
    """
    needs("ray", "faster_coco_eval")
    import psutil

    here, there = plan_file.with_name("here"), plan_file.with_name("there")
    command = [sys.executable, "-c", START, str(plan_file), str(there)]
    home = {**os.environ, "HOME": str(yolo_home.folder)}  # where Ray keeps a token
    with subprocess.Popen(
        command, env=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as study:
        try:
            orphan = kill_holder_of_run(study.pid, "scsa")
            said, _ = study.communicate(timeout=400)
        finally:
            study.kill()
    assert study.returncode == 0, said
    assert "yolov8n__tiny__scsa__s0: WorkerCrashedError" in said
    assert "2 of 2 runs done" in said
    with pytest.raises(psutil.NoSuchProcess):  # it did not train on beside its successor
        psutil.Process(orphan.pid)

    assert run_study(plan_file, here, jobs=2, threads=1) == 0
    ours, theirs = load_all(here), load_all(there)
    assert [measured(record) for record in theirs] == [measured(record) for record in ours]
    assert [(record["arm"], record["attempts"]) for record in theirs] == [("scsa", 2), ("stock", 1)]
    assert all(
        record["epochs"][0]["train/box_loss"] > 0 for record in theirs
    )  # there was something to compare

    with open_study(plan_file, there, device="cpu", threads=1) as opened:
        job = opened.job(opened.runs[0])
    own = plan_file.with_name("node") / f"tiny-{job['plan_hash'][7:19]}"
    shutil.copytree(there / "work", own / "work")  # a node that has finished the training already
    record, lost, later = on_node(job, "another file system's", str(own.parent))
    assert (lost, later) == ("", False)
    assert measured(record) == measured(ours[1])
    assert record_path(own, job["run"]["id"]).is_file()


class Ray:
    """As much of Ray as a study needs, with outcomes as written: by run, one for each time it is
    handed over.
    """

    def __init__(self, outcomes: dict[str, list[str]], cpus: int = 1, gpus: int = 0) -> None:
        self.outcomes, self.handed, self.cancelled = outcomes, [], []
        self.resources = {"CPU": cpus, "GPU": gpus}
        self.exceptions = SimpleNamespace(RayError=RuntimeError)
        self.started: dict[str, Any] | None = None

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: Any) -> None:
        self.started = options

    def shutdown(self) -> None:
        self.started = None

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"Alive": True, "Resources": self.resources},
            {"Alive": False, "Resources": self.resources},
        ]

    def remote(self, **options: Any) -> Any:
        assert options["max_retries"] == 0  # the study counts attempts itself
        return lambda function: SimpleNamespace(remote=self._hand_over)

    def _hand_over(self, job: dict[str, Any], token: str, scratch: str | None) -> tuple[int, str]:
        assert (Path(job["folder"]) / ".ray").read_text() == token
        self.handed.append(job)
        return len(self.handed) - 1, job["run"]["arm"]

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return references[:1], references[1:]

    def cancel(self, reference: Any, force: bool) -> None:
        self.cancelled.append(reference)

    def get(self, reference: tuple[int, str]) -> Any:
        number, arm = reference
        outcome = self.outcomes[arm].pop(0)
        if outcome == "crash":
            raise RuntimeError("The worker died. Check the logs.")
        if outcome == "stop":
            raise KeyboardInterrupt
        if outcome == "later":
            return None, "node-7: no space left", True
        if outcome == "dies":
            return None, "node-7: its process was killed (signal 9)", False
        record = {
            **blank(self.handed[number]),
            "status": outcome,
            "seconds": 1.0,
            "final": {"AP": 0.5},
        }
        return sealed({**record, "error": "it broke" if outcome == "failed" else None}), "", False


@pytest.fixture
def run(plan_file: Path, monkeypatch: pytest.MonkeyPatch):
    """Return the runner of the plan over a written Ray, and the folder."""
    folder = plan_file.with_name("study")

    def start(ray: Ray, **options: Any) -> int:
        monkeypatch.setattr(cluster, "_import_ray", lambda: ray)
        return run_on_ray(plan_file, folder, **{"address": "head:6379", **options})

    return start, folder


def test_lost_runs_go_first_and_count_their_attempts(
    run, capsys: pytest.CaptureFixture[str]
) -> None:
    start, folder = run
    ray = Ray({"stock": ["crash", "dies", "done"], "scsa": ["failed"]})
    assert start(ray) == 1
    # one slot and one ahead: scsa waits at Ray while stock is tried, and is not started twice
    assert [job["run"]["arm"] for job in ray.handed] == ["stock", "scsa", "stock", "stock"]
    records = {record["arm"]: record for record in load_all(folder)}
    assert (records["stock"]["status"], records["stock"]["attempts"]) == ("done", 3)
    assert (records["scsa"]["status"], records["scsa"]["error"]) == ("failed", "it broke")
    said = capsys.readouterr().out
    assert "RuntimeError: The worker died. Started again, 1 of 2" in said
    assert "node-7: its process was killed (signal 9). Started again, 2 of 2" in said
    assert "1 of 2 runs done, 1 failed" in said
    assert not (folder / ".ray").exists()
    assert ray.started is None

    again = Ray({"scsa": ["done"]})
    assert start(again) == 1  # a failed run is a record, and is left alone
    assert again.handed == []
    assert start(again, retry_failed=True) == 0
    assert [job["run"]["arm"] for job in again.handed] == ["scsa"]


def test_a_run_that_keeps_dying_does_not_stop_the_rest(run) -> None:
    start, folder = run
    assert start(Ray({"stock": ["dies", "crash"], "scsa": ["done"]}), retries=1) == 1
    records = {record["arm"]: record for record in load_all(folder)}
    assert records["scsa"]["status"] == "done"
    assert records["stock"]["status"] == "failed"
    assert records["stock"]["attempts"] == 2
    assert records["stock"]["error"] == "lost 2 times, at last: RuntimeError: The worker died"


def test_a_full_disk_on_a_node_leaves_no_record(run, capsys: pytest.CaptureFixture[str]) -> None:
    start, folder = run
    assert start(Ray({"stock": ["later"], "scsa": ["done"]}), retries=0) == 1
    assert [record["arm"] for record in load_all(folder)] == ["scsa"]
    assert (
        "no space left. What is done is kept: type the same command again"
        in capsys.readouterr().out
    )
    assert start(Ray({"stock": ["done"]})) == 0


def test_a_full_disk_here_ends_the_study_with_a_line(
    run, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start, folder = run

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cluster, "write", full)
    ray = Ray({"stock": ["done"], "scsa": ["done"]})
    assert start(ray, address="local") == 1
    assert len(ray.handed) == 1
    assert (
        "its record cannot be written: [Errno 28] No space left on device. Make room"
        in capsys.readouterr().out
    )
    assert load_all(folder) == []


def test_stopping_cancels_what_runs(run) -> None:
    start, folder = run
    ray = Ray({"stock": ["stop"], "scsa": []})
    with pytest.raises(KeyboardInterrupt):
        start(ray)
    assert ray.cancelled == [(1, "scsa")]
    assert ray.started is None
    assert not (folder / ".ray").exists()


def test_a_cluster_that_goes_is_said(run, monkeypatch: pytest.MonkeyPatch) -> None:
    start, folder = run
    ray = Ray({"stock": [], "scsa": []})
    monkeypatch.setattr(
        ray, "wait", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no head.\nmore"))
    )
    with pytest.raises(StudyError, match=r"the Ray cluster is gone: no head\. When it is back"):
        start(ray)
    assert not (folder / ".ray").exists()


@pytest.mark.parametrize(
    ("cpus", "gpus", "options", "device", "threads", "needs"),
    [
        (2, 0, {}, "cpu", 1, (1, 0)),
        (8, 0, {"threads": 4}, "cpu", 4, (4, 0)),
        (8, 0, {"cpus_per_run": 2}, "cpu", 2, (2, 0)),
        (32, 8, {}, "0", None, (4, 1)),
        (32, 8, {"gpus_per_run": 2}, "0,1", None, (8, 2)),
        (32, 8, {"gpus_per_run": 0.5}, "0", None, (2, 0.5)),
        (32, 8, {"device": "cpu"}, "cpu", 1, (1, 0)),
    ],
)
def test_what_a_run_takes(run, monkeypatch, cpus, gpus, options, device, threads, needs) -> None:
    start, _ = run
    asked = {}
    ray = Ray({"stock": ["done"], "scsa": ["done"]}, cpus, gpus)
    remote = ray.remote
    monkeypatch.setattr(ray, "remote", lambda **given: asked.update(given) or remote(**given))
    assert start(ray, **options) == 0
    assert (asked["num_cpus"], asked["num_gpus"]) == needs
    assert {(job["device"], job["threads"]) for job in ray.handed} == {(device, threads)}


def test_a_machine_without_room_is_refused(run) -> None:
    start, _ = run
    with pytest.raises(
        StudyError, match=r"no room for a run: 1 CPU and 1 GPU for each.*--gpus-per-run 0"
    ):
        start(Ray({}), address="local", gpus_per_run=1)
    with pytest.raises(StudyError, match=r"64 CPU and 0 GPU for each.*--cpus-per-run 1"):
        start(Ray({}), address="local", cpus_per_run=64)


def test_a_cluster_without_room_is_waited_for(run, capsys: pytest.CaptureFixture[str]) -> None:
    start, _ = run
    assert start(Ray({"stock": ["done"], "scsa": ["done"]}), cpus_per_run=64) == 0
    assert "no node has 64 CPU and 0 GPU for each run: waiting" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retries": -1}, "--retries takes a number from 0"),
        ({"gpus_per_run": 1.5}, "whole ones, got 1.5"),
        ({"gpus_per_run": float("nan")}, "--gpus-per-run takes a number"),
        ({"cpus_per_run": 0}, "--cpus-per-run 0 needs --gpus-per-run"),
        ({"jobs": 2}, "--jobs takes a number from 1, and goes with --ray local"),
        ({"jobs": 0, "address": "local"}, "--jobs takes a number from 1"),
        ({"device": "1"}, "--device 1: Ray chooses.*--gpus-per-run"),
    ],
)
def test_bad_options(plan_file: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        run_on_ray(plan_file, **options)


def test_no_cluster_and_no_ray(run, plan_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, _ = run
    ray = Ray({})
    monkeypatch.setattr(
        ray, "init", lambda **_: (_ for _ in ()).throw(ConnectionError("none found.\nmore"))
    )
    with pytest.raises(
        StudyError,
        match=r"no Ray cluster at 'head:6379': none found\. Type: ray status .*--ray local",
    ):
        start(ray)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"needs ray. Type: pip install 'scsa-yolo\[study\]'"):
        run_on_ray(plan_file)


def test_a_node_refuses_other_data(plan_file: Path, tiny_data: Path, tmp_path: Path) -> None:
    with open_study(plan_file, tmp_path / "study") as study:
        job = study.job(study.runs[0])
    label = next((tiny_data.parent / "labels" / "val").glob("*.txt"))
    label.write_text("0 0.5 0.5 0.25 0.25\n")
    record, lost, later = on_node(job, "elsewhere", str(tmp_path / "scratch"))
    assert (record, later) == (None, False)
    assert "is not the data set that the study was started with" in lost
    job["data_yaml"], job["run"]["data"] = "/nowhere/tiny.yaml", "nowhere.yaml"
    assert "nowhere.yaml" in on_node(job, "elsewhere", str(tmp_path / "scratch"))[1]
    assert not list((tmp_path / "scratch").rglob("job.json"))


def test_jobs_are_plain(plan_file: Path, tmp_path: Path) -> None:
    """A job goes to another machine as JSON does: no paths, no classes of ours."""
    with open_study(plan_file, tmp_path / "study") as study:
        job = study.job(study.runs[1])
    assert json.loads(json.dumps(job)) == job
