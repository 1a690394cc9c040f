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

from scsa_yolo.benchmark import bench as bench_module
from scsa_yolo.benchmark import command as bench_command
from scsa_yolo.benchmark import output as bench_output
from scsa_yolo.benchmark.bench import Result, Row
from scsa_yolo.benchmark.calls import Settings
from scsa_yolo.benchmark.contestants import parse
from scsa_yolo.benchmark.presets import PRESETS

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
    OURS, model="best.onnx", format="onnx", parameters=None, gflops=None, memory_mb=None
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
        (["yolov8n", "--csv", "a", "--json", "a"], "name one file"),
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
    assert max(map(len, text.splitlines())) <= 120
    lines = text.splitlines()
    assert lines.pop(1) == "-" * len(lines[1])
    assert (
        "\n".join(lines)
        == "model            format   median ms  p95 ms  img/s  ratio      95 % of it  params M "
        " GFLOPs   MB  verdict\nyolov8n          pytorch      50.00   60.25   20.0      1       "
        "              3.152   8.744  661  reference\n  yolov8n again  pytorch      50.00  "
        " 60.25   20.0  1.004  0.990 to 1.010                         control\nyolov8n+SCSA    "
        " pytorch      55.00   60.25   20.0  1.100  1.080 to 1.120     3.162   8.744  661 "
        " slower\nbest.onnx        onnx         55.00   60.25   20.0  1.100  1.080 to 1.120     "
        "    -       -    -  slower\n\n640 px, batch 1, fp32, 3 rounds; on cpu: a CPU, 8 cores,"
        " 2 threads\ntorch 2.15.0\nload of the machine before 0.5, after 1.5 (this run's"
        " included)\nRatios are to the first model in the first format. What 'again' shows, the"
        " same against itself, is noise: not claimed.\nLeft out: engine: needs tensorrt. Type:"
        " pip install tensorrt"
    )


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
    assert min(picture.shape[:2]) > 400
    assert picture.std() > 5  # something is drawn
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "a.json", "a.png"]
    printed = capsys.readouterr()
    assert printed.out.startswith("model  ")
    assert f"wrote {plot}" in printed.err
    with pytest.raises(FileExistsError, match="add --force"):
        bench_command.run(parsed(*words))
    assert bench_command.run(parsed(*words, "--force")) == 0


def test_a_plot_of_files_alone_has_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="parameters of exported files are not known"):
        bench_output.write_plot(result(GIVEN), tmp_path / "a.png")


@pytest.mark.parametrize("write", [bench_output.write_csv, bench_output.write_json])
def test_a_full_disk_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Result, Path], None]
) -> None:
    path = tmp_path / "a"
    path.write_text("earlier")
    real = Path.write_text

    def half(self: Path, text: str, **of: Any) -> int:
        real(self, text[:20], **of)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
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
