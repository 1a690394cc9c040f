"""One small study for all tests that look at records: killed during its first run, killed again,
and finished.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import yaml

# The study's process and its run's in one, ended as kill -9 does, right after the first epoch.
KILLED = """
import os, signal, sys
from scsa_yolo.study.running import training
from scsa_yolo.study.running.folder import open_study
from scsa_yolo.study.running.worker import run_job

write = training.State.write

def write_and_end(state, work):
    write(state, work)
    if state.seconds:
        os.kill(os.getpid(), signal.SIGKILL)

training.State.write = write_and_end
with open_study(sys.argv[1], sys.argv[2]) as study:
    run_job(study.job_file(study.runs[0]))
"""
COMMAND = (sys.executable, "-m", "scsa_yolo.study.command")


def content_of(data: Path, /, **changed: Any) -> dict[str, Any]:
    """Return the mapping of a small plan."""
    plan = {
        "name": "small",
        "models": ["yolov8n.yaml"],
        "data": [str(data)],
        "arms": {"stock": {}, "scsa": {"attention": "SCSA"}},
        "control": "stock",
        "seeds": [0, 1],
        "train": {"epochs": 2, "imgsz": 64, "batch": 4, "workers": 0, "optimizer": "SGD"},
    }
    return {key: value for key, value in {**plan, **changed}.items() if value is not None}


@pytest.fixture
def content(tiny_data: Path) -> Callable[..., dict[str, Any]]:
    """Return the maker of the mapping of a small plan; None takes a key away."""
    return lambda **changed: content_of(tiny_data, **changed)


@pytest.fixture
def write_plan(tmp_path: Path, content: Callable[..., dict[str, Any]]) -> Callable[..., Path]:
    """Return the writer of a small plan's file."""

    def write(**changed: Any) -> Path:
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump(content(**changed), sort_keys=False), encoding="utf-8")
        return path

    return write


class Finished(NamedTuple):
    """A study that is done."""

    plan: Path
    folder: Path
    records: dict[str, dict[str, Any]]  # as JSON, by the run's id
    after_kill: list[str]  # names of records after both kills
    orphan_ended: bool  # whether the run's process ended with its killed parent
    text: str  # what the last command printed


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
    make_home: Callable[[Path], Any],
    make_data: Callable[..., Path],
) -> Finished:
    """The study, made once even where several processes share the tests."""
    from scsa_yolo.study.running.lock import hold

    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    place = base / "finished-study"
    with hold(base / "finished-study.lock", wait=900):
        if not (place / "made.json").exists():
            made = _make(make_home(place), make_data)
            (place / "made.json").write_text(json.dumps(made), encoding="utf-8")
    after_kill, orphan_ended, text = json.loads((place / "made.json").read_text(encoding="utf-8"))
    folder = place / "study"
    records = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in (folder / "records").glob("*.json")
    }
    return Finished(place / "plan.yaml", folder, records, after_kill, orphan_ended, text)


def _make(home: Any, make_data: Callable[..., Path]) -> tuple[list[str], bool, str]:
    data = make_data(home.folder / "tiny")
    plan, folder = home.folder / "plan.yaml", home.folder / "study"
    plan.write_text(
        f"# a comment, kept\n{yaml.safe_dump(content_of(data), sort_keys=False)}", encoding="utf-8"
    )
    assert home.python(KILLED, plan, folder, ok=False).code == -signal.SIGKILL
    orphan_ended = _kill_parent(home, plan, folder)
    after_kill = [path.name for path in folder.glob("records/*")]
    done = home.run(*COMMAND, "run", plan, "--folder", folder)
    return after_kill, orphan_ended, done.text


def _kill_parent(home: Any, plan: Path, folder: Path) -> bool:
    """Start the study, kill it when its first run has a process, and tell whether that process ends
    too.
    """
    environment = {**os.environ, "YOLO_CONFIG_DIR": str(home.folder / ".settings")}
    command = [*COMMAND, "run", str(plan), "--folder", str(folder)]
    with subprocess.Popen(
        command, cwd=home.folder, env=environment, stdout=subprocess.DEVNULL
    ) as study:
        children: list[psutil.Process] = []
        while not children:
            assert study.poll() is None, "the study ended before its first run"
            time.sleep(0.05)
            children = [
                child for child in psutil.Process(study.pid).children() if _is_worker(child)
            ]
        study.kill()
    return not psutil.wait_procs(children, timeout=60)[1]


def _is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):  # git, say, which has ended by now
        return "scsa_yolo.study.running.worker" in process.cmdline()
    return False
