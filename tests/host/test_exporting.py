"""A stock export that is not dynamic knows its size, and the attention uses that."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from ultralytics import YOLO

from scsa_yolo.attention import SCSA

# the exporters are deprecated by torch, and warn of what stock heads do
pytestmark = pytest.mark.filterwarnings("ignore")
UNITS = 10  # of yolov8n


def export(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[YOLO, Path]:
    monkeypatch.chdir(folder)
    torch.manual_seed(0)
    model = YOLO("yolov8n-scsa.yaml")
    for module in model.model.modules():
        if isinstance(module, SCSA):
            for parameter in module.parameters():
                parameter.data.add_(torch.randn_like(parameter) * 0.2)
    return model, Path(model.export(format="onnx", **{"imgsz": 64, **settings}))


def operators(file: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(file).graph.node if "attn" in node.name)


def run(file: Path, x: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


@pytest.mark.parametrize(
    ("settings", "convolutions", "norms"),
    [
        ({}, 1, 1),  # one convolution for both directions
        ({"imgsz": (96, 64)}, 4, 1),
        ({"opset": 16}, 1, 0),  # ONNX has LayerNormalization since 17
        ({"dynamic": True}, 4, 0),
    ],
    ids=["static", "rectangle", "opset 16", "dynamic"],
)
def test_operators_follow_what_is_known_of_the_size(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    convolutions: int,
    norms: int,
) -> None:
    model, file = export(tmp_path, monkeypatch, **settings)
    found = operators(file)
    assert found["Conv"] == convolutions * UNITS
    assert found["LayerNormalization"] == norms * UNITS
    height, width = settings.get("imgsz", (64, 64))
    x = torch.rand(1, 3, height, width)
    with torch.no_grad():
        expected = model.model.eval()(x)[0].numpy()
    np.testing.assert_allclose(run(file, x), expected, rtol=1e-3, atol=1e-3)
    assert not any(module.runtime for module in model.model.modules() if isinstance(module, SCSA))


def test_nodes_of_an_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, file = export(
        tmp_path, monkeypatch, imgsz=224
    )  # no map is smaller than a window, so none is padded
    assert sum(operators(file).values()) == 28 * UNITS


def test_a_model_without_attention_is_exported_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Path(YOLO("yolov8n.yaml").export(format="torchscript", imgsz=32)).is_file()
