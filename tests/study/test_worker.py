"""The worker: what an interrupted run left is judged rightly, failures become records, an orphan
ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from scsa_yolo.study.records import facts
from scsa_yolo.study.records.record import read
from scsa_yolo.study.running import worker
from scsa_yolo.study.running.checkpoint import check_arm
from scsa_yolo.study.running.lock import Locked, hold
from scsa_yolo.study.running.training import State, epochs_of, where_it_stands

HEAD = "epoch,time,train/box_loss,metrics/mAP50(B)"


@pytest.fixture
def job(tmp_path: Path) -> dict[str, Any]:
    """A job whose run cannot be trained."""
    return {
        "job": 1,
        "plan": {"name": "small", "arms": {"scsa": {"attention": "SCSA"}}},
        "plan_hash": "sha256:0",
        "run": {
            "id": "m__d__scsa__s0",
            "model": "m.yaml",
            "data": "d.yaml",
            "arm": "scsa",
            "seed": 0,
            "repeat": 0,
        },
        "folder": str(tmp_path),
        "model_file": "m__scsa.yaml",
        "model_yaml": "backbone: []\n",
        "data_yaml": str(tmp_path / "d.yaml"),
        "data_fingerprint": {},
        "arguments": {"epochs": 1, "imgsz": 64, "batch": 4},
        "device": None,
        "threads": None,
        "code": None,
    }


@pytest.fixture
def left(tmp_path: Path) -> Callable[..., Path]:
    """Return the maker of what an attempt left: checkpoints of epochs (counted from 0) and rows of
    results.csv.
    """

    def make(
        last: dict[str, Any] | bytes | None, best: dict[str, Any] | bytes | None, rows: list[str]
    ) -> Path:
        (tmp_path / "weights").mkdir()
        for name, content in (("last", last), ("best", best)):
            path = tmp_path / "weights" / f"{name}.pt"
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif content is not None:
                torch.save(content, path)
        (tmp_path / "results.csv").write_text("\n".join([HEAD, *rows, ""]))
        return tmp_path

    return make


def running(epoch: int, fitness: float = 0.5) -> dict[str, Any]:
    return {"epoch": epoch, "best_fitness": fitness, "optimizer": {"state": 1}, "ema": "model"}


STRIPPED = {"epoch": -1, "best_fitness": None, "optimizer": None, "ema": None, "model": "model"}
ROWS = ["1,0.1,2.5,0.0", "2,0.2,2.4,0.1", "3,0.3,2.3,0.2"]
CASES = {
    "between epochs": (running(2), running(1), ROWS, "last", ("resume", 3)),
    "killed before last.pt, after the row": (running(1), running(1), ROWS, "last", ("resume", 2)),
    "last.pt cut short": (b"PK\x03\x04half", running(1), ROWS, "last", ("start", 0)),
    "best.pt cut short": (running(2), b"", ROWS, "last", ("start", 0)),
    "best.pt older than last.pt says": (
        running(2, 0.6),
        running(1, 0.5),
        ROWS,
        "last",
        ("start", 0),
    ),
    "no best.pt": (running(2), None, ROWS, "last", ("start", 0)),
    "nothing": (None, None, [], "last", ("start", 0)),
    "rows lost": (running(2), running(1), ROWS[:1], "last", ("start", 0)),
    "all epochs, not stripped": (
        running(9),
        running(9),
        [f"{i},0,0,0" for i in range(1, 11)],
        "last",
        ("trained", 10),
    ),
    "stripped": (STRIPPED, STRIPPED, ROWS, "best", ("trained", 10)),
    "stripped, best cut short": (STRIPPED, b"half", ROWS, "last", ("trained", 10)),
    "stripped, the wanted best cut short": (STRIPPED, b"half", ROWS, "best", ("start", 0)),
}


@pytest.mark.parametrize(("last", "best", "rows", "weights", "expected"), CASES.values(), ids=CASES)
def test_where_an_interrupted_run_stands(
    left: Callable[..., Path],
    last: Any,
    best: Any,
    rows: list[str],
    weights: str,
    expected: tuple[str, int],
) -> None:
    assert where_it_stands(left(last, best, rows), 10, weights) == expected


def test_rows_that_the_checkpoint_does_not_have_are_cut(left: Callable[..., Path]) -> None:
    work = left(running(1), running(1), [*ROWS, "4,0.4"])
    where_it_stands(work, 10, "last")
    assert (work / "results.csv").read_text().splitlines() == [HEAD, *ROWS[:2]]


def test_epochs_are_numbers_or_null(left: Callable[..., Path]) -> None:
    work = left(None, None, ["1,0.5,nan,0", "2,0.5,inf,1e-3", "3,0.5"])
    assert epochs_of(work) == [
        {"epoch": 1, "time": 0.5, "train/box_loss": None, "metrics/mAP50(B)": 0},
        {"epoch": 2, "time": 0.5, "train/box_loss": None, "metrics/mAP50(B)": 0.001},
    ]
    assert epochs_of(work / "nowhere") == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"attempts": 1}', '{"attempts": 1, "resumed": [], "more": 2}']
)
def test_a_damaged_state_is_a_fresh_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert State.read(tmp_path) == State()


def test_a_failure_is_a_record(job: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(job["folder"]) / "job.json"
    path.write_text(json.dumps(job))
    record = worker.run_job(path)
    assert read(Path(job["folder"]) / "records" / "m__d__scsa__s0.json") == record
    assert record["status"] == "failed"
    assert "has no list 'head'" in record["error"]
    assert job["folder"] not in record["error"]  # records hold no places of a machine
    assert (record["attempts"], record["versions"]["ultralytics"]) == (1, version("ultralytics"))
    assert "Traceback" in capsys.readouterr().err
    assert worker.run_job(path)["attempts"] == 2


def test_a_full_disk_leaves_no_record(
    job: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(job: Any) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file data/0") from OSError(
            28, "No space left on device"
        )

    monkeypatch.setattr(worker, "execute", full)
    monkeypatch.setattr(
        worker.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000})()
    )
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job))
    with pytest.raises(worker.DiskFull, match="no space left on the disk"):
        worker.run_job(path)
    assert worker.main([str(path)]) == worker.LATER
    assert not (tmp_path / "records").exists()


def test_one_process_at_a_run(
    job: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(worker, "_WAIT", 0.3)
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job))
    with hold(tmp_path / "work" / "m__d__scsa__s0" / ".lock"):
        with pytest.raises(Locked, match="held by another process"):
            worker.execute(job)
        assert worker.main([str(path)]) == worker.LATER
    assert not (tmp_path / "records").exists()


def test_a_checkpoint_without_its_arms_attention_is_refused(job: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match="the checkpoint holds no attention, and its arm asks for SCSA"
    ):
        check_arm({"class": None}, job)
    with pytest.raises(ValueError, match=r"holds scsa_yolo\.attention\.ema\.EMA"):
        check_arm({"class": "scsa_yolo.attention.ema.EMA"}, job)
    check_arm({"class": "scsa_yolo.attention.scsa.SCSA"}, job)


def test_the_process_ends_with_its_parent() -> None:
    code = (
        "import time; from scsa_yolo.study.running import worker; worker._end_with_parent(); print(1,"
        " flush=True)"
    )
    code += "; time.sleep(99)"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.read(1) == b"1"
        process.stdin.close()
        assert process.wait(timeout=60) != 0


def test_the_fingerprint_follows_the_data_and_not_its_place(
    make_data: Callable[..., Path], tmp_path: Path
) -> None:
    here, there = make_data(tmp_path / "here"), make_data(tmp_path / "there")
    first = facts.fingerprint(here, ("train", "val", "test"))
    assert {split: (f["images"], f["boxes"]) for split, f in first.items()} == {
        "train": (4, 8),
        "val": (4, 8),
    }
    assert facts.fingerprint(there, ("train", "val")) == first
    label = there.parent / "labels" / "val" / "0.txt"
    label.write_text(label.read_text().replace("0.", "0.0", 1))
    image = there.parent / "images" / "train" / "0.png"
    image.write_bytes(image.read_bytes() + b"\0")
    second = facts.fingerprint(there, ("train", "val"))
    assert all(second[split]["hash"] != first[split]["hash"] for split in ("train", "val"))
    renamed = here.read_text().replace("[bright, dark]", "[dark, bright]")
    here.write_text(renamed)
    assert facts.fingerprint(here, ("val",))["val"]["hash"] != first["val"]["hash"]


def test_facts_are_there() -> None:
    assert set(facts.versions()) == {"scsa_yolo", "ultralytics", "torch", "python"}
    assert set(facts.hardware("cpu")) == {"cpu", "cores", "threads", "gpu", "platform"}
    assert facts.hardware("cpu")["gpu"] is None
    assert (facts.peak_memory_mb() or 1) > 0
    code = facts.code()
    assert code is None or (len(code["commit"]) == 40 and code["dirty"] in (True, False))


class Planted:
    """A checkpoint that makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("name", ["last", "best"])
def test_safe_loading_holds_in_a_studys_folder(
    left: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    from ultralytics.nn import tasks

    if not getattr(getattr(tasks, "_SafeLoad", None), "SUPPORTED", False):
        pytest.skip("this torch or Ultralytics has no safe loading")
    mark = tmp_path / "code-ran"
    files = {"last": running(2), "best": running(1)}
    files[name] = {**files[name], "ema": Planted(mark)}
    work = left(files["last"], files["best"], ROWS)
    monkeypatch.setattr(tasks, "SAFE_LOAD", True)
    assert where_it_stands(work, 10, "last") == ("start", 0)
    assert not mark.exists()
    monkeypatch.setattr(tasks, "SAFE_LOAD", False)
    where_it_stands(work, 10, "last")
    assert mark.exists()  # the test can fail


def test_runs_train_all_their_epochs_unless_the_plan_says_otherwise() -> None:
    from scsa_yolo.study.running.training import FIXED

    assert FIXED["patience"] == 0


@pytest.mark.parametrize("found", [("start", 0), ("resume", 2), ("trained", 3)])
def test_an_attempt_keeps_when_the_first_one_began(
    job: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: tuple[str, int]
) -> None:
    from scsa_yolo.study.running import training

    monkeypatch.setattr(training, "where_it_stands", lambda *_: found)
    monkeypatch.setattr(training, "_train", lambda *_, resume: None)
    begun = State(attempts=2, started="2026-01-01T00:00:00Z", seconds=5.0, resumed=[1])
    begun.write(tmp_path)
    state = training.train(job, tmp_path, tmp_path / "m.yaml")
    assert (state.started, state.attempts) == (begun.started, 3)
    assert State.read(tmp_path) == state
    resumed = {"start": [], "resume": [1, 2], "trained": [1]}
    assert state.resumed == resumed[found[0]]
    assert state.seconds == (0.0 if found[0] == "start" else 5.0)


def test_a_first_attempt_notes_when_it_began(
    job: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from scsa_yolo.study.running import training

    monkeypatch.setattr(training, "_train", lambda *_, resume: None)
    state = training.train(job, tmp_path, tmp_path / "m.yaml")
    assert state.started.endswith("Z")
    assert len(state.started) == len("2026-01-01T00:00:00Z")
