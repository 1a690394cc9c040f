"""Each format on each kind of head: reloaded in its own runtime, with perturbed weights, at sizes
of all kinds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scsa_yolo.attention import create_attention
from scsa_yolo.deploy.export import export, open_model
from scsa_yolo.deploy.parity import compare_raw, failures
from scsa_yolo.deploy.proof import check_shapes, layout_of, prove
from scsa_yolo.deploy.runtimes import load
from scsa_yolo.deploy.settings import parse_settings

PACKAGES = {
    "onnx": ("onnx", "onnxruntime", "onnxslim"),
    "openvino": ("openvino",),
    "torchscript": (),
}


@pytest.fixture
def made(
    make_checkpoint: Callable[[str], Path], tmp_path: Path, needs: Callable[..., None]
) -> Callable[..., Any]:
    """Export a model, and return the export."""

    def make(model: str, format: str, *words: str) -> Any:
        needs(*PACKAGES[format])
        return export(
            open_model(make_checkpoint(model)), format, parse_settings(words), folder=tmp_path
        )

    return make


def assert_equal(made: Any, *shapes: tuple[int, ...], precision: str = "float32") -> None:
    """Compare raw outputs at each shape with what was traced."""
    reference, runner, rng = (
        load(made.reference, threads=1),
        load(made.path, threads=1),
        np.random.default_rng(0),
    )
    for shape in shapes or (made.shape,):
        images = rng.random(shape, dtype=np.float32)
        found = compare_raw(reference(images), runner(images), layout_of(made))
        assert not failures(precision, [found], None, None), f"{shape}: {found}"


def test_static_rectangle_and_batch(made: Callable[..., Any]) -> None:
    assert_equal(made("yolov8n-scsa", "onnx", "imgsz=96,160", "batch=8"))


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_dynamic_runs_at_other_sizes_and_batches(made: Callable[..., Any], format: str) -> None:
    """Made at 64 px, where the deepest map is 2 x 2, and run where maps are larger, smaller, or not
    square.
    """
    exported = made("yolov8n-scsa", format, "imgsz=64", "dynamic=True")
    assert_equal(exported, (1, 3, 64, 64), (2, 3, 320, 224), (1, 3, 32, 480), (3, 3, 96, 160))


@pytest.mark.parametrize("name", ["SCSA", "SMSA", "PCSA", "EMA", "CBAM"])
def test_modules_in_openvino(name: str, needs: Callable[..., None]) -> None:
    """Alone, where no later layer hides an error: other batches than the example's, and the
    bfloat16 of newer CPUs.
    """
    needs("openvino")
    import openvino
    import torch

    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3), create_attention(name, 16), torch.nn.Conv2d(16, 4, 1)
    ).eval()
    example = torch.zeros(1, 3, 22, 22)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for parameter in module.parameters():
            parameter.add_(
                0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
            )
        traced = torch.jit.trace(
            module, example
        )  # traces twice, and compares: NCNN's exporter does the same
    images = torch.rand(3, 3, 30, 17, generator=torch.Generator().manual_seed(1))
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    graph = openvino.Core().compile_model(
        openvino.convert_model(traced, example_input=example), "CPU", settings
    )
    with torch.no_grad():
        expected = module(images).numpy()
    assert np.abs(graph([images.numpy()])[0] - expected).max() < 1e-5 * np.abs(expected).max()
    static = openvino.convert_model(traced, example_input=example, input=[example.shape])
    openvino.Core().compile_model(static, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})


@pytest.mark.parametrize(
    ("model", "format"),
    [("yolov10n-scsa", "onnx"), ("rtdetr-r18-scsa", "onnx"), ("yolov10n-scsa", "openvino")],
)
def test_heads_that_choose_rows(made: Callable[..., Any], model: str, format: str) -> None:
    settings = ["end2end=True"] if model.startswith("yolov10") else []
    exported = made(model, format, "imgsz=128", *settings)  # RT-DETR needs room for its 300 queries
    assert layout_of(exported).selected
    assert_equal(exported)


@pytest.mark.parametrize("opset", [13, 20])
def test_opsets(made: Callable[..., Any], opset: int) -> None:
    exported = made("yolov8n-scsa", "onnx", "imgsz=64", f"opset={opset}", "simplify=False")
    import onnx

    assert onnx.load(exported.path).opset_import[0].version == opset
    assert_equal(exported)


def test_half(made: Callable[..., Any]) -> None:
    exported = made("yolov8n-scsa", "onnx", "imgsz=64", "half=True")
    assert exported.precision == "float16"
    assert_equal(exported, precision="float16")


def test_nms_inside_the_graph(made: Callable[..., Any]) -> None:
    exported = made("yolov8n-scsa", "onnx", "imgsz=64", "nms=True", "conf=1e-5")
    (rows,) = load(exported.path)(np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32))
    assert rows.shape[2] == 6
    assert (rows[0, :, 4] > 1e-5).any(), "nothing was found, and nothing would be compared"
    assert_equal(exported)


def test_the_shapes_of_a_dynamic_export(made: Callable[..., Any]) -> None:
    exported = made("yolov8n-scsa", "torchscript", "imgsz=64,96", "dynamic=True")
    assert check_shapes(exported) == [(1, 3, 64, 96), (2, 3, 96, 192), (1, 3, 32, 96)]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Ultralytics' loader on a machine without a GPU
def test_map_of_both(
    made: Callable[..., Any], make_checkpoint: Callable[[str], Path], tiny_data: Path
) -> None:
    exported = made("yolov8n-scsa", "onnx", "imgsz=64")
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    proof = prove(
        exported,
        make_checkpoint("yolov8n-scsa"),
        [picture],
        data=str(tiny_data),
        rounds=2,
        threads=1,
    )
    assert proof.verdict == "equal", proof.failed
    assert proof.map_change is not None
    assert proof.map_change["mAP50"]["change"] == pytest.approx(0, abs=0.1)
    assert proof.map_change["mAP50-95"]["change"] == pytest.approx(0, abs=0.1)
    assert any("rect=False" in note for note in proof.notes)
    assert proof.latency is not None
    assert proof.latency["rounds"] == 2
    assert proof.runtime.startswith("ONNX Runtime")
