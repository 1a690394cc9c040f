"""``scsa-yolo export`` as a user types it: what it writes, its exit codes, and what it leaves as it
was.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from scsa_yolo.attention import create_attention
from scsa_yolo.deploy import command, runtimes
from scsa_yolo.deploy import export as export_room
from scsa_yolo.deploy import proof as proof_room
from scsa_yolo.deploy.formats import limits
from scsa_yolo.deploy.images import choose_images
from scsa_yolo.deploy.settings import check_formats, parse_settings

Run = Callable[..., int]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8))
    return path


def test_an_option_that_the_format_does_not_take(
    checkpoint: Path, export_command: Run, picture: Path, capsys: Any
) -> None:
    assert (
        export_command(
            checkpoint, "--format", "torchscript", "imgsz=64", "opset=17", "--images", picture
        )
        == 1
    )
    assert "not made: torchscript: the export failed: AssertionError" in capsys.readouterr().err
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == ["best.pt", "picture.png"]


def test_torchscript_passes(
    checkpoint: Path, export_command: Run, picture: Path, capsys: Any
) -> None:
    assert (
        export_command(f"model={checkpoint}", "imgsz=64", "format=torchscript", "--images", picture)
        == 0
    )
    shown = capsys.readouterr()
    assert "10 SCSA" in shown.out
    assert re.search(r"torchscript +float32 +1x3x64x64 .* equal", shown.out)
    assert "[1/1] torchscript: comparing raw outputs" in shown.err
    report = json.loads(
        (checkpoint.parent / "best_torchscript_parity.json").read_text(encoding="utf-8")
    )
    assert report["verdict"] == "equal"
    assert report["images"] == ["picture.png"]
    assert report["boxes"]["pytorch"] == report["boxes"]["matched95"] == report["boxes"]["exported"]
    assert report["raw"][0]["max_rel"] < 1e-5
    assert report["tolerance"]["raw_max"] == 1e-3
    assert {path.name for path in checkpoint.parent.glob("best*")} == {
        "best.pt", "best.torchscript", "best_torchscript_parity.json"
    }  # fmt: skip


def test_a_model_without_our_modules_exports_as_stock_does(
    make_checkpoint: Callable[[str], Path],
    tmp_path: Path,
    export_command: Run,
    picture: Path,
    capsys: Any,
) -> None:
    file = tmp_path / "stock.pt"
    file.write_bytes(make_checkpoint("yolov8n").read_bytes())
    assert export_command(file, "--format", "torchscript", "imgsz=64", "--images", picture) == 0
    assert (
        "no attention module of scsa_yolo in this model: it exports as stock does"
        in capsys.readouterr().out
    )


def test_a_wrong_graph_is_found(
    checkpoint: Path,
    export_command: Run,
    picture: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The exported file is another model: its weights are moved after the copy to compare with was
    made.
    """
    look = export_room._look

    def tamper(exporter: Any) -> Any:
        seen = look(exporter)
        with torch.no_grad():
            for name, tensor in (
                *exporter.model.named_parameters(),
                *exporter.model.named_buffers(),
            ):
                if ".attn." in name:
                    tensor.add_(1.0)
        return seen

    monkeypatch.setattr(export_room, "_look", tamper)
    assert (
        export_command(checkpoint, "--format", "torchscript", "imgsz=64", "--images", picture) == 1
    )
    shown = capsys.readouterr().out
    assert "differs" in shown
    assert re.search(r"torchscript: raw outputs differ by \S+ of their scale", shown)
    assert (
        json.loads((checkpoint.parent / "best_torchscript_parity.json").read_text())["verdict"]
        == "differs"
    )


@pytest.mark.parametrize("moment", ["tracing", "moving"])
def test_an_export_that_fails_midway_leaves_earlier_files(
    checkpoint: Path,
    export_command: Run,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    from ultralytics.engine.exporter import Exporter

    earlier = checkpoint.with_suffix(".torchscript")
    earlier.write_text("the earlier export")

    def fail(exporter: Any, *args: Any, **kwargs: Any) -> str:
        exporter.file.with_suffix(".torchscript").write_text("half of a fi")
        raise RuntimeError("the disk is full")

    if moment == "tracing":
        monkeypatch.setattr(Exporter, "export_torchscript", fail)
    else:
        monkeypatch.setattr(
            export_room.os, "replace", lambda *_: (_ for _ in ()).throw(PermissionError("busy"))
        )
    assert (
        export_command(checkpoint, "--format", "torchscript", "imgsz=64", "--images", picture) != 0
    )
    assert earlier.read_text() == "the earlier export"
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == [
        "best.pt",
        "best.torchscript",
        "picture.png",
    ]


def test_a_folder_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    new, old = tmp_path / "place" / "m_openvino_model", tmp_path / "m_openvino_model"
    for folder, text in ((new, "new"), (old, "old")):
        folder.mkdir(parents=True)
        (folder / f"{text}.xml").write_text(text)
    assert export_room._put(new, old) == old
    assert [file.name for file in old.iterdir()] == ["new.xml"]


def test_a_missing_runtime_goes_on_with_the_others(
    checkpoint: Path,
    export_command: Run,
    picture: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find = runtimes.importlib.util.find_spec
    monkeypatch.setattr(
        runtimes.importlib.util,
        "find_spec",
        lambda name: None if name == "openvino" else find(name),
    )
    assert (
        export_command(
            checkpoint, "--format", "openvino,torchscript", "imgsz=64", "--images", picture
        )
        == 1
    )
    shown = capsys.readouterr()
    assert (
        "[1/2] openvino: not made: openvino needs openvino. Type: pip install 'scsa-yolo[export]'"
        in shown.err
    )
    assert re.search(r"torchscript .* equal", shown.out)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--format", "onxx"],
            r"unknown format 'onxx' \(did you mean onnx\?\)\. Known: torchscript, onnx",
        ),
        (["imgz=64"], r"'imgz' is no argument \(did you mean imgsz"),
        (["epochs=3"], "'epochs' is an argument of yolo, but not of an export"),
        (["imgsz"], "'imgsz' needs a value"),
        (["imgsz="], "imgsz= has no value"),
        (["imgsz=big"], "imgsz=big is no size"),
        (["batch=0.5"], "batch=0.5 is no batch"),
        (["quantize=7"], "quantize"),
        (["--images", "/no/such/folder"], "no such picture or folder"),
        (["--threads", "0"], "--threads at least 1"),
        (["other.pt"], "one model is exported at a time"),
    ],
)
def test_wrong_input_is_one_line(
    words: list[str], told: str, checkpoint: Path, export_command: Run, capsys: Any
) -> None:
    assert export_command(checkpoint, *words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(told, error)
    assert [path.name for path in checkpoint.parent.iterdir()] == ["best.pt"]


@pytest.mark.parametrize("name", ["gone.pt", "best.onnx", "damaged.pt"])
def test_a_model_that_is_none(name: str, tmp_path: Path, export_command: Run, capsys: Any) -> None:
    (tmp_path / "damaged.pt").write_bytes(b"no zip")
    (tmp_path / "best.onnx").write_bytes(b"")
    assert export_command(tmp_path / name) == 2
    assert name in capsys.readouterr().err


def test_settings_are_those_of_yolo() -> None:
    assert parse_settings(["half=True", "imgsz=64,96", "dynamic", "opset=17"]) == {
        "quantize": 16, "imgsz": [64, 96], "dynamic": True, "opset": 17
    }  # fmt: skip
    assert parse_settings(["int8", "half"]) == {"quantize": 8}
    assert parse_settings(["half=False"]) == {}
    assert check_formats(["ONNX", "onnx", "trt"]) == ("onnx", "engine")
    assert check_formats([]) == ("onnx",)


@pytest.mark.parametrize(
    "words",
    [
        ["--format", "onnx", "best.pt"],
        ["--format", "onnx,openvino", "best.pt", "imgsz=64"],
        ["--images", "a.jpg", "best.pt", "--format", "onnx"],
        ["best.pt", "--rounds", "0", "imgsz=64", "--format=onnx"],
        ["imgsz=64", "--format", "onnx", "--images", "a.jpg", "best.pt"],
        ["best.pt", "--format", "onnx", "openvino", "--imgsz", "64"],
        ["format=onnx", "--threads", "1", "model=best.pt"],
    ],
)
def test_no_option_swallows_the_model(words: list[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    model, formats, images, settings = command._sorted(parser.parse_args(words))
    assert model == "best.pt"
    assert formats[0] == "onnx"
    assert len(formats) == 1 + ("openvino" in " ".join(words))
    assert images == (["a.jpg"] if "a.jpg" in words else [])
    assert settings == (["imgsz=64"] if "64" in " ".join(words) else [])


def test_an_unknown_option_is_still_one() -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["best.pt", "--fromat", "onnx"])


def test_ctrl_c_leaves_nothing_that_is_not_proven(
    checkpoint: Path,
    export_command: Run,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    earlier = checkpoint.with_suffix(".torchscript")
    earlier.write_text("the earlier export")
    seen: list[Path] = []

    def interrupted(made: Any, *_: Any, **__: Any) -> Any:
        seen.append(made.path)
        raise KeyboardInterrupt

    monkeypatch.setattr(proof_room, "prove", interrupted)
    words = [checkpoint, "--format", "torchscript", "imgsz=64", "--images", picture]
    assert export_command(*words) == 130
    assert seen
    assert not seen[0].exists()
    assert earlier.read_text() == "the earlier export"
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == [
        "best.pt", "best.torchscript", "picture.png"
    ]  # fmt: skip
    assert "what was not proven was removed" in capsys.readouterr().err


def test_pictures_are_those_that_the_model_is_for(tiny_data: Path) -> None:
    paths, told = choose_images([], [None, str(tiny_data)])
    assert paths
    assert all(path.is_file() for path in paths)
    assert told.endswith(f"of the split val of {tiny_data}")
    own, told = choose_images([], ["/gone/data.yaml"])
    assert len(own) == 2
    assert "the data set /gone/data.yaml is not here" in told
    assert "names no data set" in choose_images([], [])[1]
    assert choose_images([paths[0]], [str(tiny_data)]) == ([paths[0]], "1 picture, as typed")


def test_what_a_format_cannot_run_is_said_before() -> None:
    model = torch.nn.Sequential(create_attention("SA", 16))
    assert "SA does not run in NCNN" in limits("ncnn", model)[0]
    assert not limits("onnx", model)
    assert not limits("ncnn", torch.nn.Sequential(create_attention("SCSA", 16)))


def test_a_portable_graph_is_proven_and_its_operators_are_listed(
    checkpoint: Path, export_command: Run, picture: Path, capsys: Any, needs: Any
) -> None:
    needs("onnx", "onnxruntime", "onnxslim")
    words = [checkpoint, "imgsz=64", "--graph", "portable", "--images", picture]
    assert export_command(*words) == 0
    shown = capsys.readouterr().out
    assert re.search(r"best.onnx: its operators\n  of the attention: 90 ReduceMean, ", shown)
    assert "not of the portable form" not in shown
    report = json.loads((checkpoint.parent / "best_onnx_parity.json").read_text(encoding="utf-8"))
    assert (report["verdict"], report["graph"]) == ("equal", "portable")
    assert report["operators"]["not_portable"] == []
    assert set(report["operators"]["attention"]) == {
        "ReduceMean", "Reshape", "Conv", "Mul", "Sub", "Add", "Sqrt", "Div", "Sigmoid", "MatMul",
        "AveragePool", "Softmax",
    } | (set(report["operators"]["attention"]) & {"Transpose"})  # fmt: skip
    assert report["operators"]["all"]["Conv"] > report["operators"]["attention"]["Conv"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--graph", "plain"], "--graph plain is unknown. Type: --graph tuned or --graph portable"),
        (["graph=plain"], "--graph plain is unknown"),
        (["--graph", "portable", "dynamic=True"], "leave dynamic=True out"),
    ],
)
def test_graphs_that_cannot_be_are_one_line(
    checkpoint: Path, export_command: Run, capsys: Any, words: list[str], says: str
) -> None:
    assert export_command(checkpoint, *words) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_a_portable_graph_of_a_model_without_attention(
    make_checkpoint: Callable[[str], Path],
    tmp_path: Path,
    export_command: Run,
    picture: Path,
    capsys: Any,
) -> None:
    file = tmp_path / "stock.pt"
    file.write_bytes(make_checkpoint("yolov8n").read_bytes())
    words = ["--graph", "portable", "--format", "torchscript", "imgsz=64", "--images", picture]
    assert export_command(file, *words) == 2
    assert "holds no attention module of scsa_yolo" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"stock.pt", "picture.png"}


@pytest.mark.parametrize(
    "words",
    [
        ["export", "no.pt", "--rounds", "0", "imgsz=64"],
        ["export", "--rounds", "0", "no.pt", "imgsz=64"],
        [
            "export",
            "--graph",
            "portable",
            "no.pt",
            "--quiet",
            "imgsz=64",
            "--rounds=0",
            "half=True",
        ],
    ],
)
def test_settings_may_stand_behind_options(
    words: list[str], capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scsa_yolo.cli import main

    monkeypatch.chdir(tmp_path)
    missing = export_room.ExportError("no.pt: no such file")
    monkeypatch.setattr(export_room, "open_model", lambda model: throw(missing))
    assert main(words) == 2
    assert capsys.readouterr().err == "scsa-yolo export: no.pt: no such file\n"


def throw(error: Exception) -> None:
    raise error


def test_an_unknown_option_is_refused_with_what_was_meant(capsys: Any) -> None:
    from scsa_yolo.cli import main

    assert main(["export", "no.pt", "--grahp", "portable", "imgsz=64"]) == 2
    assert "unrecognized arguments: --grahp. Did you mean --graph?" in capsys.readouterr().err
