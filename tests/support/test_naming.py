"""Names of models and data sets, from paths alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from scsa_yolo.support.naming import data_name, distinct, model_name


def run_of(folder: Path, model: str | None) -> Path:
    (folder / "weights").mkdir(parents=True)
    if model is not None:
        (folder / "args.yaml").write_text(f"task: detect\nmodel: {model}\n", encoding="utf-8")
    return folder / "weights"


@pytest.mark.parametrize(
    ("file", "model", "expected"),
    [
        ("best.pt", "yolov8n-scsa.yaml", "train3 (yolov8n-scsa)"),
        ("best.pt", "/home/me/models/yolo11n.pt", "train3 (yolo11n)"),
        ("best.pt", "C:\\models\\mine.yaml", "train3 (mine)"),
        ("last.pt", "yolov8n.yaml", "train3-last (yolov8n)"),
        ("epoch10.pt", "yolov8n.yaml", "train3-epoch10 (yolov8n)"),
        ("best.onnx", "yolov8n.yaml", "train3.onnx (yolov8n)"),
        ("best_openvino_model", "yolov8n.yaml", "train3_openvino_model (yolov8n)"),
        ("best.pt", "runs/detect/train/weights/last.pt", "train3"),
        ("best.pt", None, "train3"),
        ("bestiary.pt", "yolov8n.yaml", "bestiary.pt"),
    ],
)
def test_a_model_of_a_run(tmp_path: Path, file: str, model: str | None, expected: str) -> None:
    assert model_name(run_of(tmp_path / "train3", model) / file) == expected


@pytest.mark.parametrize("content", ["- a list", "model: [1]", "a: b: c", "\x00", "model: 3"])
def test_a_damaged_args_yaml_is_none(tmp_path: Path, content: str) -> None:
    weights = run_of(tmp_path / "train3", None)
    (tmp_path / "train3" / "args.yaml").write_text(content, encoding="utf-8")
    assert model_name(weights / "best.pt") == "train3"


def test_a_relative_path_is_named_by_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_of(tmp_path / "train3", "yolov8n.yaml"))
    assert model_name("best.pt") == "train3 (yolov8n)"


@pytest.mark.parametrize(
    ("model", "attention", "expected"),
    [
        ("yolov8n-scsa.yaml", (), "yolov8n-scsa.yaml"),
        ("yolov8n-scsa.yaml", ["SCSA"] * 10, "yolov8n-scsa.yaml"),
        ("bccd.pt", ["SCSA", "SCSA", "EMA"], "bccd.pt (SCSA, EMA)"),
        ("base.pt", ["SE"], "base.pt (SE)"),  # the letters alone are no name
        ("/somewhere/ema/best.pt", ["EMA"], "ema/best.pt"),
        ("/somewhere/first/best.pt", ["EMA"], "first/best.pt (EMA)"),
    ],
)
def test_other_files(model: str, attention: list[str], expected: str) -> None:
    assert model_name(model, attention) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("coco8.yaml", "coco8"),
        ("/sets/BCCD/data.yaml", "BCCD"),
        ("/sets/BCCD/Data.YAML", "BCCD"),
        ("/sets/BCCD/dataset.yml", "BCCD"),
        ("/sets/BCCD/blood.yaml", "blood"),
        ("/sets/BCCD", "BCCD"),
        ("/sets/BCCD/", "BCCD"),
        ("VisDrone", "VisDrone"),
        ("/sets/v1.2", "v1.2"),
        ("/data.yaml", "data"),
    ],
)
def test_data(data: str, expected: str) -> None:
    assert data_name(data) == expected


def test_names_that_two_share_get_folders() -> None:
    paths = ["/a/x/train/weights/best.pt", "/a/y/train/weights/best.pt", "/a/z.pt"]
    names = [model_name(path) for path in paths]
    assert names == ["train", "train", "z.pt"]
    found = distinct(names, paths)
    assert len(set(found)) == 3
    assert found[2] == "z.pt"
    assert "x/train" in found[0]
    assert distinct(["train", "train"], [paths[0], paths[0]]) == ["train", "train"]
