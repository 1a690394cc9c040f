"""The command's arguments and presets, and what it prints and writes."""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scsa_yolo.benchmark import command as bench_command
from scsa_yolo.benchmark import measuring as bench_module
from scsa_yolo.benchmark import output as bench_output
from scsa_yolo.benchmark.calls import Settings
from scsa_yolo.benchmark.contestants import parse
from scsa_yolo.benchmark.measuring import Result, Row
from scsa_yolo.benchmark.presets import PRESETS
from scsa_yolo.support import files

STOCK = Row(
    model="yolov8n",
    format="pytorch",
    reference="yolov8n pytorch",
    control=False,
    median_ms=50.0,
    p95_ms=60.25,
    images_per_s=20.0,
    ratio=1.0,
    low=1.0,
    high=1.0,
    verdict="reference",
    parameters=3_151_904,
    gflops=8.744,
    memory_mb=661.49,
    times_ms=(49.0, 50.0, 61.0),
)
AGAIN = replace(
    STOCK, control=True, ratio=1.004, low=0.99, high=1.01, verdict="control", memory_mb=None
)
OURS = replace(
    STOCK,
    model="yolov8n+SCSA",
    median_ms=55.0,
    ratio=1.1,
    low=1.08,
    high=1.12,
    verdict="slower",
    parameters=3_161_888,
)
GIVEN = replace(
    OURS, model="street.onnx", format="onnx", parameters=None, gflops=None, memory_mb=None
)


def result(*rows: Row, **left_out: str) -> Result:
    settings = {name: getattr(Settings(), name) for name in Settings.__dataclass_fields__}
    environment = {
        "processor": "a CPU",
        "cores": 8,
        "threads": 2,
        "device": "cpu",
        "gpu": None,
        "torch": "2.15.0",
        "load_before": 0.5,
        "load_after": 1.5,
    }
    return Result(rows or (STOCK, AGAIN, OURS, GIVEN), settings, environment, left_out)


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench_command.add_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the command asks to be measured; the answer is the result above."""
    seen: list[Any] = []

    def bench(groups: Any, settings: Settings, **_: Any) -> Result:
        seen.append((groups, settings))
        return result()

    monkeypatch.setattr(bench_module, "bench", bench)
    return seen


def test_defaults_and_options(asked: list[Any]) -> None:
    assert bench_command.run(parsed("yolov8n", "yolov8n+SCSA")) == 0
    run_with = [
        "yolov8n",
        "--formats",
        "ONNX,openvino",
        "--batch",
        "8",
        "--imgsz",
        "320",
        "--device",
        "cpu",
    ]
    timed = [
        "--threads",
        "2",
        "--rounds",
        "9",
        "--seconds",
        "5",
        "--warm-up",
        "1",
        "--noise-limit",
        "0.1",
    ]
    switched = ["--against", "format", "--no-memory", "--no-fuse", "--compile", "--channels-last"]
    bench_command.run(parsed(*run_with, *timed, *switched))
    bench_command.run(parsed("yolov8n", "--half"))
    assert asked[0] == ([["yolov8n", "yolov8n+SCSA"]], Settings())
    assert asked[1][1] == Settings(
        formats=("onnx", "openvino"),
        batch=8,
        imgsz=320,
        device="cpu",
        threads=2,
        rounds=9,
        seconds=5.0,
        warm_up=1,
        against="format",
        noise_limit=0.1,
        memory=False,
        fuse=False,
        compile=True,
        channels_last=True,
    )
    assert asked[2][1].precision == "fp16"


def test_the_paper_preset_is_its_protocol(asked: list[Any]) -> None:
    bench_command.run(parsed("--preset", "paper"))
    bench_command.run(parsed("--preset", "paper", "--batch", "4", "--attention", "SCSA,CBAM"))
    ((models,), settings), ((fewer,), changed) = asked
    assert (settings.imgsz, settings.batch, settings.rounds) == (224, 32, 100)
    assert models[0] == "resnet50"
    assert {"resnet50+SCSA", "resnet50+SE:slot=out", "resnet50+EMA"} <= set(models)
    assert len(models) == 12
    assert fewer == ["resnet50", "resnet50+SCSA", "resnet50+CBAM:slot=out"]
    assert (changed.imgsz, changed.batch) == (224, 4)


def test_the_detectors_preset_pairs_each_with_its_stock(asked: list[Any]) -> None:
    bench_command.run(parsed("--preset", "detectors", "--formats", "pytorch,onnx"))
    ((groups, settings),) = asked
    assert groups == [
        [name, f"{name}+SCSA"] for name in ("yolov8n", "yolo11n", "yolov9t", "yolov10n")
    ]
    assert settings.against == "format"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_hold_models_that_exist(name: str) -> None:
    texts = [text for group in PRESETS[name].groups() for text in group]
    assert [parse(text).text for text in texts] == texts
    Settings(**PRESETS[name].settings).check()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "name models, such as yolov8n"),
        (["--preset", "papr"], "Did you mean paper"),
        (["--preset", "paper", "yolov8n"], "brings its models: leave out yolov8n"),
        (["yolov8n", "--attention", "SCSA"], "--attention belongs to --preset"),
        (["yolov8n", "--csv", "there.csv"], "'there.csv' is there already"),
        (["yolov8n", "--json", "nowhere/a.json"], "there is no folder 'nowhere'"),
        (["yolov8n", "--csv", "a.json", "--json", "a.json"], "name one file"),
        (["yolov8n", "--plot", "a.jpg"], "ends in .png"),
    ],
)
def test_wrong_input_stops_before_the_work(
    asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.csv").write_text("earlier")
    with pytest.raises((ValueError, OSError), match=says):
        bench_command.run(parsed(*words))
    assert not asked
    assert os.listdir() == ["there.csv"]
    assert Path("there.csv").read_text() == "earlier"


def test_a_plot_without_matplotlib_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_output.importlib.util, "find_spec", lambda name, *of: None)
    with pytest.raises(
        ValueError, match=r"needs matplotlib. Type: pip install 'scsa-yolo\[evaluation\]'"
    ):
        bench_command.run(parsed("yolov8n", "--plot", str(tmp_path / "a.png")))


def test_the_table_says_what_was_measured_on_what() -> None:
    text = bench_output.table(result(engine="needs tensorrt. Type: pip install tensorrt"))
    lines = text.splitlines()
    assert max(map(len, lines[:6])) <= 100
    assert [" ".join(line.split()) for line in lines[:1] + lines[2:]] == [
        "model format ms p95 img/s ratio 95 % of it M par. GFLOPs MB verdict",
        "yolov8n pytorch 50.00 60.25 20.0 1 3.152 8.744 661 reference",
        "again pytorch 50.00 60.25 20.0 1.004 0.990-1.010 control",
        "yolov8n+SCSA pytorch 55.00 60.25 20.0 1.100 1.080-1.120 3.162 8.744 661 slower",
        "street.onnx onnx 55.00 60.25 20.0 1.100 1.080-1.120 - - - slower",
        "",
        "640 px, batch 1, fp32, 3 rounds; on cpu: a CPU, 8 cores, 2 threads",
        "torch 2.15.0",
        "load of the machine before 0.5, after 1.5 (this run's included)",
        "Ratios are to the first model in the first format. What 'again' shows, the same against"
        " itself, is noise: not claimed.",
        "Left out: engine: needs tensorrt. Type: pip install tensorrt",
    ]
    assert lines[1] == "-" * max(len(line) for line in lines[:6])


def test_the_table_says_when_the_machine_is_too_noisy() -> None:
    noisy = replace(AGAIN, high=1.2, verdict="too noisy")
    text = bench_output.table(result(STOCK, noisy, replace(OURS, verdict="too noisy")))
    assert "slower" not in text
    assert "Too noisy to tell: yolov8n pytorch against itself reaches beyond 1 +- 0.03." in text


def test_csv_json_and_plot(
    asked: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    import cv2

    table, record, plot = (tmp_path / name for name in ("a.csv", "a.json", "a.png"))
    words = ["yolov8n", "--csv", str(table), "--json", str(record), "--plot", str(plot)]
    bench_command.run(parsed(*words))
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["control"], row["verdict"]) for row in rows][:2] == [
        ("yolov8n", "False", "reference"),
        ("yolov8n", "True", "control"),
    ]
    assert (rows[3]["parameters"], rows[3]["threads"], rows[3]["torch"], rows[3]["imgsz"]) == (
        "",
        "2",
        "2.15.0",
        "640",
    )
    content = json.loads(record.read_text())
    assert content["rows"][0]["times_ms"] == [49.0, 50.0, 61.0]
    assert content["environment"]["load_before"] == 0.5
    picture = cv2.imread(str(plot))
    assert picture.shape[1] > 800
    assert picture.shape[0] > 200
    assert picture.std() > 5  # something is drawn
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "a.json", "a.png"]
    printed = capsys.readouterr()
    assert printed.out.startswith("model  ")
    assert f"wrote {plot}" in printed.err
    with pytest.raises(FileExistsError, match="add --force"):
        bench_command.run(parsed(*words))
    assert bench_command.run(parsed(*words, "--force")) == 0


def test_a_plot_has_no_axis_of_equal_values(tmp_path: Path) -> None:
    """Also of files alone, whose parameters are not known; no line joins models."""
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    bench_output.write_plot(result(GIVEN), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
    axes = Figure().subplots()
    rows = [STOCK, OURS, GIVEN]
    bench_output._draw_points(axes, rows, bench_output.short_names(result()))
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "yolov8n, 3.15 M",
        "yolov8n+SCSA, 3.16 M",
        "street.onnx",
    ]
    joined = [line for line in axes.lines if line.get_linestyle() not in ("None", "")]
    assert not joined


def test_paths_are_named_by_their_runs() -> None:
    first, second = (
        f"/home/user/projects/detectors/runs/detect/{run}/weights/best.pt" for run in ("a", "b")
    )
    long = replace(OURS, model="/" + "very-long-folder-name/" * 6 + "a-model-of-many-words.onnx")
    rows = (
        replace(STOCK, model=first, reference=f"{first} pytorch"),
        replace(AGAIN, model=first, reference=f"{first} pytorch"),
        replace(OURS, model=second, reference=f"{first} pytorch"),
        long,
    )
    found = replace(result(*rows), names={second: "b (SCSA)"})
    text = bench_output.table(found)
    assert max(map(len, text.splitlines()[:6])) <= 100
    assert text.splitlines()[3].startswith("  again ")
    assert "b (SCSA)" in text
    assert "/home/user" not in text
    assert "many-words.onnx" in text
    assert "1 thread\n" in bench_output.table(
        replace(found, environment={**found.environment, "threads": 1, "cores": 1})
    )


def test_cells_are_no_formulas(tmp_path: Path) -> None:
    evil = replace(OURS, model="=HYPERLINK(1)", verdict="@x")
    bench_output.write_csv(result(STOCK, AGAIN, evil), tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        row = list(csv.DictReader(file))[2]
    assert (row["model"], row["verdict"], row["ratio"]) == ("'=HYPERLINK(1)", "'@x", "1.1")


def test_operands_stand_anywhere_and_json_goes_alone_to_the_output(
    asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["yolov8n", "--rounds", "9", "yolov8n+SCSA", "--json", "--quiet"]
    assert bench_command.run(parsed(*words)) == 0
    assert asked[0][0] == [["yolov8n", "yolov8n+SCSA"]]
    assert json.loads(capsys.readouterr().out)["rows"][0]["model"] == "yolov8n"


def test_what_was_measured_until_ctrl_c_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from scsa_yolo.benchmark import prepare

    calls = []

    def call() -> None:
        calls.append(1)
        if len(calls) == 11:
            raise KeyboardInterrupt

    made = prepare.network_call

    def network_call(network: Any, settings: Settings) -> Callable[[], object]:
        real = made(network, settings)
        return lambda: (real(), call())

    monkeypatch.setattr(prepare, "network_call", network_call)
    record = tmp_path / "a.json"
    words = ["resnet18", "--imgsz", "32", "--rounds", "50", "--warm-up", "0", "--device", "cpu"]
    assert bench_command.run(parsed(*words, "--threads", "1", "--json", str(record))) == 130
    kept = json.loads(record.read_text())
    assert {len(row["times_ms"]) for row in kept["rows"]} == {4}
    assert kept["environment"]["interrupted"] is True
    shown = capsys.readouterr()
    assert "4 rounds of 50, then interrupted" in shown.out
    assert "interrupted: 4 of 50 rounds are kept" in shown.err


def test_progress_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 0.0, 4.0, 12.0, 12.0])
    say = bench_command._every(10.0, lambda: next(now))
    for text in ("preparing a", "round 1 of 9", "round 2 of 9", "round 3 of 9", "peak memory"):
        say(text)
    assert capsys.readouterr().err.splitlines() == [
        "preparing a", "round 1 of 9", "round 3 of 9", "peak memory"
    ]  # fmt: skip


def test_a_busy_machine_is_said_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(bench_module, "_load", lambda: 10.0)
    told = bench_module.busy(Settings(device="cpu", threads=2))
    assert told is not None
    assert "a load of 10.0 on 2 cores leaves less than 2 threads" in told
    monkeypatch.setattr(bench_module, "_load", lambda: 0.2)
    assert bench_module.busy(Settings(device="cpu", threads=1)) is None
    monkeypatch.setattr(bench_module, "_load", lambda: None)
    assert bench_module.busy(Settings(device="cpu", threads=1)) is None
    said: list[str] = []
    monkeypatch.setattr(bench_module, "_load", lambda: 10.0)
    tiny = Settings(device="cpu", threads=1, imgsz=32, rounds=3, warm_up=0, memory=False)
    bench_module.bench([["resnet18"]], tiny, say=said.append)
    assert said[0].startswith("the machine is busy")


def test_public_names() -> None:
    import scsa_yolo.benchmark as room

    assert all(callable(getattr(room, name)) for name in room.__all__)
    with pytest.raises(AttributeError, match="it has Result"):
        room.nothing  # noqa: B018


@pytest.mark.parametrize("write", [bench_output.write_csv, bench_output.write_json])
def test_a_full_disk_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Result, Path], None]
) -> None:
    path = tmp_path / "a"
    path.write_text("earlier")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(result(), path)
    assert path.read_text() == "earlier"
    assert os.listdir(tmp_path) == ["a"]


def test_the_single_times_can_be_left_out(tmp_path: Path) -> None:
    bench_output.write_json(result(), tmp_path / "a.json", times=False)
    assert "times_ms" not in (tmp_path / "a.json").read_text()


def test_help_needs_no_torch(run_python: Callable[..., Any]) -> None:
    code = (
        "import argparse, sys; from scsa_yolo.benchmark import command as b; p ="
        " argparse.ArgumentParser(); b.add_arguments(p); p.format_help(); print([n for n in"
        " ('torch', 'ultralytics', 'numpy') if n in sys.modules])"
    )
    assert run_python(code).text.split() == ["[]"]


def test_a_real_run(capsys: pytest.CaptureFixture[str]) -> None:
    threads = ["--threads", "1"]
    words = [
        "resnet18",
        "--imgsz",
        "32",
        "--rounds",
        "3",
        "--warm-up",
        "0",
        "--no-memory",
        "--device",
        "cpu",
    ]
    assert bench_command.run(parsed(*words, *threads)) == 0
    text = capsys.readouterr().out
    assert "32 px, batch 1, fp32, 3 rounds; on cpu" in text
    assert text.splitlines()[2].startswith("resnet18 ")


def test_the_help_says_that_a_checkpoint_is_a_pickle() -> None:
    parser = argparse.ArgumentParser()
    bench_command.add_arguments(parser)
    assert "A .pt file is a pickle" in " ".join(parser.format_help().split())
