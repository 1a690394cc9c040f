"""A study on one machine: a real one that was killed twice, and the loop around processes with a
stand-in for them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scsa_yolo.study.planning.plan import load, plan_hash
from scsa_yolo.study.planning.schedule import Run, schedule
from scsa_yolo.study.records.record import KEYS, RecordError, load_all, write
from scsa_yolo.study.running import local as running
from scsa_yolo.study.running.folder import StudyError, open_study
from scsa_yolo.study.running.lock import hold
from scsa_yolo.study.running.progress import Progress, duration

# Ends a run at once: "done", or as its arm's or the environment's name says. Counts its starts.
STAND_IN = """
import json, os, signal, sys
from pathlib import Path
from scsa_yolo.study.records.record import blank, write

job = json.loads(Path(sys.argv[1]).read_text())
arm, work = job["run"]["arm"], Path(sys.argv[1]).parent
starts = work / "starts"
count = len(starts.read_text()) if starts.exists() else 0
starts.write_text("x" * (count + 1))
if arm == "killed" or (arm == "killed-once" and not count):
    os.kill(os.getpid(), signal.SIGKILL)
if arm == "dies":
    sys.exit("a line that says why")
if arm == "no-space" and "ROOM" not in os.environ:
    print("study: no space left on the disk")
    sys.exit(75)
fails = arm == "fails" and "MENDED" not in os.environ
made = {"status": "failed", "error": "it was bad"} if fails else {"status": "done", "final": {"AP": 0.5}}
write(Path(job["folder"]), {**blank(job), **made})
sys.exit(3 if fails else 0)
"""


@pytest.fixture
def stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_plan: Callable[..., Path]
) -> Callable[..., Any]:
    """Return a function that does a study of the named arms, with runs that end at once, and
    returns the exit code.
    """
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(running, "_WORKER", (sys.executable, str(script)))
    monkeypatch.setattr(running, "_POLL", 0.02)

    def study(*arms: str, seeds: tuple[int, ...] = (0,), **options: Any) -> int:
        plan = write_plan(arms={arm: {} for arm in arms}, control=arms[0], seeds=list(seeds))
        return running.run_study(plan, tmp_path / "study", **options)

    return study


def statuses(folder: Path) -> dict[str, str]:
    return {record["arm"]: record["status"] for record in load_all(folder)}


# The real one.


def test_a_killed_study_is_finished_without_repeating_or_losing_a_run(finished: Any) -> None:
    runs = schedule(load(finished.plan))
    assert finished.after_kill == []
    assert [record["id"] for record in load_all(finished.folder)] == sorted(run.id for run in runs)
    assert {record["status"] for record in finished.records.values()} == {"done"}
    attempts = [finished.records[run.id]["attempts"] for run in runs]
    assert attempts[0] in (2, 3)  # the second kill may have come before the run's process had begun
    assert attempts[1:] == [1, 1, 1]
    started = [finished.records[run.id]["started"] for run in runs]
    assert started == sorted(started)


def test_an_interrupted_run_goes_on_at_its_epoch(finished: Any) -> None:
    first = finished.records["yolov8n__tiny__stock__s0"]
    assert first["resumed"][0] == 1
    assert all(
        record["resumed"] == []
        for record in finished.records.values()
        if record["id"] != first["id"]
    )
    for record in finished.records.values():
        assert [epoch["epoch"] for epoch in record["epochs"]] == [1, 2]
        assert all(epoch["train/box_loss"] > 0 for epoch in record["epochs"])


def test_a_killed_studys_run_ends_with_it(finished: Any) -> None:
    assert finished.orphan_ended


def test_records_hold_what_was_read_from_the_checkpoint(finished: Any) -> None:
    stock, scsa = (finished.records[f"yolov8n__tiny__{arm}__s1"] for arm in ("stock", "scsa"))
    assert tuple(scsa) == KEYS
    assert stock["attention"] == {"class": None, "count": 0, "parameters": 0, "slot": None}
    assert scsa["attention"]["class"] == "scsa_yolo.attention.scsa.SCSA"
    assert (scsa["attention"]["count"], scsa["attention"]["slot"]) == (10, "mid")
    assert scsa["parameters"] - stock["parameters"] == scsa["attention"]["parameters"] > 0
    assert scsa["gflops"] > stock["gflops"] > 0


def test_records_hold_scores_costs_and_facts(finished: Any) -> None:
    plan = load(finished.plan)
    for record in finished.records.values():
        assert record["plan_hash"] == plan_hash(plan)
        assert {*plan.metrics} <= {*record["final"]}
        assert all(score is None or 0 <= score <= 1 for score in record["final"].values())
        assert record["final"]["AP"] is not None
        assert record["final"]["AP_large"] is None  # no box is that large
        assert record["data_fingerprint"]["train"]["images"] == 4
        assert record["seconds"] > 0 < record["cpu_seconds"]
        assert record["peak_memory_mb"] > 50
        assert (record["latency_ms"]["imgsz"], record["latency_ms"]["threads"]) == (64, 1)
        assert 0 < record["latency_ms"]["median"] <= record["latency_ms"]["p95"]
        assert (record["arguments"]["epochs"], record["arguments"]["seed"]) == (2, record["seed"])
        assert record["arguments"]["deterministic"] is True
        assert str(finished.folder) not in json.dumps(record)


def test_first_losses_differ_by_arm_and_seed(finished: Any) -> None:
    assert len({record["epochs"][0]["train/box_loss"] for record in finished.records.values()}) == 4
    assert len({record["hash"] for record in finished.records.values()}) == 4


def test_the_plan_is_kept_byte_for_byte(finished: Any) -> None:
    assert (finished.folder / "plan.yaml").read_bytes() == finished.plan.read_bytes()


def test_what_the_last_command_said(finished: Any) -> None:
    assert "4 runs, 0 recorded, 4 to do" in finished.text
    assert "[1/4] yolov8n__tiny__stock__s0: AP 0." in finished.text
    assert f"4 of 4 runs done. Type: scsa-yolo study report {finished.folder}" in finished.text


# The loop.


def test_failures_are_records_and_the_study_goes_on(
    stand_in: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stand_in("fails", "dies", "killed", "killed-once", "fine") == 1
    folder = tmp_path / "study"
    records = {record["arm"]: record for record in load_all(folder)}
    assert statuses(folder) == dict.fromkeys(("dies", "fails", "killed"), "failed") | dict.fromkeys(
        ("fine", "killed-once"), "done"
    )
    assert records["fails"]["error"] == "it was bad"
    assert records["dies"]["error"] == "its process ended with status 1: a line that says why"
    assert records["killed"]["error"].startswith("its process was killed (signal 9)")
    text = capsys.readouterr().out
    assert "[1/5] yolov8n__tiny__fails__s0: FAILED: it was bad. See " in text
    assert (
        "yolov8n__tiny__killed-once__s0: its process was killed (signal 9); it goes on where it was"
        in text
    )
    assert "2 of 5 runs done, 3 failed. Type: scsa-yolo study report" in text


def test_failed_runs_are_done_again_when_asked(
    stand_in: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert stand_in("fails", "fine") == 1
    monkeypatch.setenv("MENDED", "1")
    assert stand_in("fails", "fine") == 1  # not by itself
    assert "1 failed (--retry-failed does them again)" in capsys.readouterr().out
    assert stand_in("fails", "fine", retry_failed=True) == 0
    starts = {
        path.parent.name: len(path.read_text()) for path in tmp_path.glob("study/work/*/starts")
    }
    assert starts == {"yolov8n__tiny__fails__s0": 2, "yolov8n__tiny__fine__s0": 1}


def test_a_full_disk_stops_the_study_and_loses_nothing(
    stand_in: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert stand_in("first", "no-space", "last") == 1
    assert statuses(tmp_path / "study") == {"first": "done"}
    text = capsys.readouterr().out
    assert (
        "study: no space left on the disk. What is done is kept: type the same command again"
        in text
    )
    assert "1 of 3 runs done, 2 without a record" in text
    monkeypatch.setenv("ROOM", "1")
    assert stand_in("first", "no-space", "last") == 0


def test_a_record_of_failure_that_cannot_be_written_stops_the_study(
    stand_in: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(running, "write", full)
    assert stand_in("dies", "fine") == 1
    assert (
        "no record of it can be written: [Errno 28] No space left on device"
        in capsys.readouterr().out
    )
    assert statuses(tmp_path / "study") == {}


def test_several_runs_at_a_time(stand_in: Callable[..., int], tmp_path: Path) -> None:
    assert stand_in("a", "b", "c", seeds=(0, 1), jobs=4) == 0
    assert len(load_all(tmp_path / "study")) == 6
    job = json.loads(
        (tmp_path / "study" / "work" / "yolov8n__tiny__a__s0" / "job.json").read_text()
    )
    assert job["threads"] == max(1, (os.cpu_count() or 1) // 4)


def test_two_studies_never_share_a_folder(stand_in: Callable[..., int], tmp_path: Path) -> None:
    with (
        hold(tmp_path / "study" / ".lock"),
        pytest.raises(StudyError, match="another study is running in this folder"),
    ):
        stand_in("a")
    assert stand_in("a") == 0  # the file alone, left by whoever was killed, is no lock


def test_another_plan_in_the_folder_is_refused(
    stand_in: Callable[..., int], tmp_path: Path
) -> None:
    assert stand_in("a") == 0
    with pytest.raises(StudyError, match=r"plan\.yaml is another plan"):
        stand_in("b")
    assert statuses(tmp_path / "study") == {"a": "done"}


def test_a_plan_may_change_until_its_first_run(
    write_plan: Callable[..., Path], tmp_path: Path
) -> None:
    for seeds in ([0], [0, 1]):
        with open_study(write_plan(seeds=seeds), tmp_path / "s", say=lambda line: None) as study:
            assert load(study.folder / "plan.yaml").seeds == tuple(seeds)


def test_a_damaged_record_stops_the_study_before_anything_runs(
    stand_in: Callable[..., int], tmp_path: Path
) -> None:
    assert stand_in("a", "b") == 0
    path = tmp_path / "study" / "records" / "yolov8n__tiny__a__s0.json"
    path.write_text(path.read_text()[:-40])
    (tmp_path / "study" / "records" / "yolov8n__tiny__b__s0.json").unlink()
    with pytest.raises(RecordError, match="the record is damaged") as caught:
        stand_in("a", "b")
    assert f"mv '{path}'" in str(caught.value)
    assert len(list(path.parent.iterdir())) == 1
    path.rename(f"{path}.damaged")
    assert stand_in("a", "b") == 0


def test_a_record_of_another_plan_stops_the_study(
    stand_in: Callable[..., int], tmp_path: Path
) -> None:
    assert stand_in("a") == 0
    folder = tmp_path / "study"
    write(folder, {**load_all(folder)[0], "plan_hash": "sha256:1234"})
    with pytest.raises(RecordError, match="the record of another plan"):
        stand_in("a")


def test_data_that_changed_stops_the_study(
    stand_in: Callable[..., int], tmp_path: Path, tiny_data: Path
) -> None:
    assert stand_in("a") == 0
    (tiny_data.parent / "labels" / "train" / "0.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    with pytest.raises(
        StudyError, match=r"tiny\.yaml has changed since yolov8n__tiny__a__s0 was run \(train\)"
    ):
        stand_in("a")


def test_runs_on_data_that_fails_its_check_are_left_out(
    stand_in: Callable[..., int],
    write_plan: Callable[..., Path],
    make_data: Callable[..., Path],
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = make_data(tmp_path / "bad").rename(tmp_path / "bad" / "bad.yaml")
    (bad.parent / "labels" / "train" / "0.txt").write_text("9 0.5 0.5 0.1 0.1\n")
    plan = write_plan(data=[str(tiny_data), str(bad)], arms={"a": {}}, control="a", seeds=[0])
    assert running.run_study(plan, tmp_path / "two") == 1
    assert [record["id"] for record in load_all(tmp_path / "two")] == ["yolov8n__tiny__a__s0"]
    assert "bad.yaml fails its check, its runs are left out: class-range" in capsys.readouterr().out


def test_ctrl_c_ends_the_runs(
    stand_in: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = []
    start = running._start

    def started(*args: Any) -> Any:
        children.append(start(*args))
        return children[-1]

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    waits = tmp_path / "waits.py"
    waits.write_text("import sys; sys.stdin.read()")
    monkeypatch.setattr(running, "_WORKER", (sys.executable, str(waits)))
    monkeypatch.setattr(running, "_start", started)
    monkeypatch.setattr(Progress, "show", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stand_in("a")
    assert children[0].process.poll() is not None


@pytest.mark.parametrize("jobs", [0, -1])
def test_jobs_from_one(write_plan: Callable[..., Path], jobs: int) -> None:
    with pytest.raises(StudyError, match="--jobs takes a number from 1"):
        running.run_study(write_plan(), jobs=jobs)


def test_a_job_holds_all_that_a_run_needs(
    write_plan: Callable[..., Path], tmp_path: Path, tiny_data: Path
) -> None:
    from ultralytics import YOLO

    weights = tmp_path / "w.pt"
    YOLO("yolov8n.yaml").save(weights)
    arms = {
        "stock": {},
        "scsa": {"attention": "SCSA", "start": "identity", "pretrained": str(weights)},
    }
    with open_study(
        write_plan(arms=arms), tmp_path / "s", device="cpu", threads=1, say=lambda line: None
    ) as study:
        job = json.loads(study.job_file(study.runs[1]).read_text())
    assert job["run"] == {
        "id": "yolov8n__tiny__scsa__s0",
        "model": "yolov8n.yaml",
        "data": str(tiny_data),
    } | {
        "arm": "scsa",
        "seed": 0,
        "repeat": 0,
    }
    assert "C2f_SCSA" in job["model_yaml"]
    assert "start: identity" in job["model_yaml"]
    assert job["arguments"]["pretrained"] == str(weights)
    assert Path(job["data_yaml"]) == tiny_data.resolve()
    assert (job["device"], job["threads"], job["folder"]) == ("cpu", 1, str(tmp_path / "s"))
    assert not {"model", "data", "seed", "project", "name", "device"} & {*job["arguments"]}


# Time left.


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (190, "3 min 10 s"), (7500, "2 h 05 min"), (273600, "3 d 4 h")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_time_left_comes_from_runs_alike(tmp_path: Path) -> None:
    progress = Progress(tmp_path, total=6, epochs=10, jobs=2)
    runs = [Run("m.yaml", "d.yaml", arm, seed) for seed in (0, 1) for arm in ("a", "b")]
    assert progress.left(runs) is None
    base = {"model": "m.yaml", "data": "d.yaml", "status": "done", "total_seconds": 10.0}
    progress.learn({**base, "arm": "a", "seconds": 100.0})
    assert progress.left(runs) == pytest.approx(4 * 100 / 2)  # nothing is known of b yet
    progress.learn({**base, "arm": "b", "seconds": 300.0})
    progress.learn({**base, "arm": "b", "seconds": 999.0, "status": "failed"})
    assert progress.left(runs) == pytest.approx((100 + 300) * 2 / 2)
    assert progress.finished == 3


def test_the_status_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run = Run("m.yaml", "d.yaml", "scsa", 3)
    work = tmp_path / "work" / run.id
    work.mkdir(parents=True)
    progress = Progress(tmp_path, total=18, epochs=30, finished=4)
    progress.start(run)
    (work / "results.csv").write_text("epoch,time\n" + "".join(f"{i},1\n" for i in range(1, 12)))
    progress.show([])
    assert "run 5 of 18: scsa seed 3 epoch 12/30" in capsys.readouterr().err
    (work / "results.csv").write_text("epoch,time\n" + "".join(f"{i},1\n" for i in range(1, 31)))
    progress.show([])
    assert "scsa seed 3 measuring" in capsys.readouterr().err
    progress.stop(run)
    progress.say("done")
    capsys.readouterr()
    progress.show([])
    assert capsys.readouterr().err == ""


def test_off_a_terminal_a_line_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    run = Run("m.yaml", "d.yaml", "scsa", 3)
    work = tmp_path / "work" / run.id
    work.mkdir(parents=True)
    progress = Progress(tmp_path, total=2, epochs=10)
    progress.start(run)
    assert "run 1 of 2: scsa seed 3 begins" in capsys.readouterr().out
    progress.show([])
    now[0] += 40
    (work / "results.csv").write_text("epoch,time\n1,1\n2,1\n")
    progress.show([run])
    text = capsys.readouterr().out
    assert "run 1 of 2: scsa seed 3 epoch 3/10; 5 min 00 s left" not in text
    assert "run 1 of 2: scsa seed 3 epoch 3/10; 6 min 00 s left" in text  # 160 and 200 seconds
    now[0] += 5
    progress.show([run])
    assert capsys.readouterr().out == ""  # not a line for every look
    now[0] += 300
    progress.show([run])
    assert "epoch 3/10" in capsys.readouterr().out  # it is alive, though no epoch has ended
