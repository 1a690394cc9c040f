"""``scsa-yolo study`` as it is typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scsa_yolo.study import command
from scsa_yolo.study.planning.plan import load
from scsa_yolo.study.running import local as run


def typed(*arguments: str | Path) -> int:
    return command.main([str(argument) for argument in arguments])


def test_init_writes_a_plan_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    assert typed("init", path) == 0
    assert f"scsa-yolo study check {path}" in capsys.readouterr().out
    assert load(path).control == "stock"
    path.write_text("mine")
    assert typed("init", path) == 2
    assert "add --force" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert typed("init", path, "--force") == 0
    assert load(path).name == "mine"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("plan.yaml", "plan"),
        ("my plan.yml", "my-plan"),
        ("a__b.yaml", "a-b"),
        ("é.yaml", "my-study"),
    ],
)
def test_a_new_plan_has_its_files_name(tmp_path: Path, file: str, name: str) -> None:
    assert typed("init", tmp_path / file) == 0
    assert load(tmp_path / file).name == name


def test_report_prints_the_answer(finished: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("matplotlib")
    assert typed("report", finished.folder) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "small: 4 of 4 planned runs finished."
    assert "yolov8n on tiny, AP in points:" in lines
    assert any(line.startswith("scsa ") and line.endswith("undecided") for line in lines)
    assert any("Not decided: scsa (2 paired seeds)." in line for line in lines)
    assert lines[-1] == f"wrote {finished.folder / 'report.html'}, report.md and report.csv"
    assert max(len(line) for line in lines[:-1]) <= 80


@pytest.mark.parametrize("name", ["plan.txt", "plan"])
def test_init_writes_yaml_only(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("init", tmp_path / name) == 2
    assert "a plan is a YAML file" in capsys.readouterr().err


def test_check_builds_every_arm_and_says_what_it_would_be(
    write_plan: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = {"stock": {}, "scsa": {"attention": "SCSA", "rows": [2, 4]}}
    path = write_plan(arms=arms, repeats={"arm": "stock", "seed": 0, "times": 2})
    before = sorted(tmp_path.rglob("*"))
    assert typed("check", path) == 0
    text = capsys.readouterr().out
    assert "small: sha256:" in text
    assert "yolov8n.yaml scsa: 3,158," in text
    assert "3 SCSA" in text
    assert "train 4 images 8 boxes, val 4 images 8 boxes" in text
    assert "6 runs: 2 arms x 2 seeds, and 2 repeats" in text
    assert "for 1 comparison with stock it takes at least 6 seeds, the plan has 2, so" in text
    assert sorted(tmp_path.rglob("*")) == before  # nothing is written


def test_check_says_what_is_wrong_with_the_data(
    write_plan: Callable[..., Path], tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny_data.parent / "labels" / "val" / "0.txt").write_text("5 0.5 0.5 0.1 0.1\n")
    assert typed("check", write_plan(arms={"stock": {}})) == 1
    assert "tiny.yaml fails its check: class-range: 1 x" in capsys.readouterr().out


def test_check_refuses_a_model_that_is_no_detector(
    write_plan: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("check", write_plan(models=["yolov8n-seg.yaml"], arms={"stock": {}})) == 2
    assert "is a model for 'segment', and studies are of detectors" in capsys.readouterr().err


def test_errors_are_one_line(
    write_plan: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (
        ("run", "nowhere.yaml"),
        ("run", write_plan(seeds=[0, 0])),
        ("status", "nowhere"),
    ):
        assert typed(*arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("scsa-yolo: ")
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--jobs", "0"), "--jobs takes a number from 1"),
        (("--threads", "0"), "--threads takes a number from 1"),
        (("--gpus-per-run", "0.5"), "--gpus-per-run is for a cluster: add --ray"),
    ],
)
def test_run_refuses_options_that_make_no_sense(
    write_plan: Callable[..., Path],
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert typed("run", write_plan(), *arguments) == 2
    assert message in capsys.readouterr().err


def test_run_passes_on_what_was_typed(
    write_plan: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(
        run, "run_study", lambda *args, **options: calls.append((args, options)) or 1
    )
    path = write_plan()
    assert (
        typed("run", path, "--folder", tmp_path, "--jobs", "2", "--device", "cpu", "--retry-failed")
        == 1
    )
    assert calls == [((path, tmp_path), {"retry_failed": True, "device": "cpu", "jobs": 2})]


def test_ctrl_c_says_how_to_go_on(
    write_plan: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*args: Any, **options: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_study", interrupted)
    assert typed("run", write_plan()) == 130
    assert "type the same command again to go on" in capsys.readouterr().err


def test_status_of_a_finished_study(finished: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("status", finished.folder) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == [
        "yolov8n__tiny__stock__s0",
        "yolov8n__tiny__scsa__s0",
    ]
    assert lines[0].split("  ")[-1].startswith("done: AP ")
    assert lines[-1] == "4 of 4 runs done, 0 failed; not running"


def test_a_finished_study_has_nothing_left_to_run(
    finished: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in (finished.folder / "records").iterdir()}
    assert typed("run", finished.plan, "--folder", finished.folder) == 0
    assert "4 runs, 4 recorded, 0 to do" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in (finished.folder / "records").iterdir()} == before
