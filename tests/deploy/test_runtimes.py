"""A file is run by its runtime; what is missing or damaged is said in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from scsa_yolo.deploy import runtimes
from scsa_yolo.deploy.runtimes import MissingRuntime, load, runtime_of


class Two(nn.Module):
    """Two outputs, one of them whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        y = self.conv(x)
        return y, [y.argmax(1), None]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).random((2, 3, 5, 7), dtype=np.float32)


def test_a_module_gives_its_tensors_in_order(images: np.ndarray) -> None:
    runner = load(Two(), threads=1)
    outputs = runner(images)
    assert [(part.shape, part.dtype.kind) for part in outputs] == [
        ((2, 4, 5, 7), "f"),
        ((2, 5, 7), "i"),
    ]
    assert (runner.name, runner.version) == ("PyTorch", torch.__version__)


def test_half_precision_comes_back_as_float32(images: np.ndarray) -> None:
    assert load(nn.Conv2d(3, 4, 1).half())(images)[0].dtype == np.float32


def test_a_checkpoint_runs_as_it_is_exported(make_checkpoint: Callable[[str], Path]) -> None:
    (output,) = load(make_checkpoint("yolov8n-scsa"))(np.zeros((2, 3, 64, 96), np.float32))
    assert output.shape == (2, 84, 126)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript(images: np.ndarray, tmp_path: Path) -> None:
    file, module = tmp_path / "m.torchscript", nn.Conv2d(3, 4, 1).eval()
    torch.jit.trace(module, torch.zeros(1, 3, 4, 4)).save(file)
    runner = load(file, threads=1)
    np.testing.assert_allclose(runner(images)[0], load(module)(images)[0], atol=1e-6)
    assert runner.name == "TorchScript"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_onnx(
    images: np.ndarray, tmp_path: Path, needs: Callable[..., None], dtype: torch.dtype
) -> None:
    needs("onnx", "onnxruntime")
    file, module = tmp_path / "m.onnx", nn.Conv2d(3, 4, 1).eval()
    expected = load(module)(images)[0]
    example, open_axes = torch.zeros(1, 3, 4, 4, dtype=dtype), {"x": {0: "batch", 2: "h", 3: "w"}}
    torch.onnx.export(
        module.to(dtype), (example,), file, input_names=["x"], dynamic_axes=open_axes, dynamo=False
    )
    runner = load(file, threads=1)
    assert runner.shape == (None, 3, None, None)
    (output,) = runner(images)
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, expected, atol=1e-6 if dtype == torch.float32 else 1e-2)


@pytest.mark.filterwarnings("ignore")
def test_openvino(images: np.ndarray, tmp_path: Path, needs: Callable[..., None]) -> None:
    needs("openvino")
    import openvino

    module, folder = nn.Conv2d(3, 4, 1).eval(), tmp_path / "m_openvino_model"
    traced = torch.jit.trace(module, torch.zeros(1, 3, 4, 4))
    openvino.save_model(
        openvino.convert_model(traced, example_input=torch.zeros(1, 3, 4, 4)), folder / "m.xml"
    )
    runner = load(folder, threads=1)
    np.testing.assert_allclose(
        runner(images)[0], load(module)(images)[0], atol=2e-3
    )  # the file holds float16
    (folder / "other.xml").write_text("")
    with pytest.raises(ValueError, match=r"must hold one \.xml file, it holds 2"):
        load(folder)


def test_a_missing_runtime_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(MissingRuntime, match=r"pip install 'scsa-yolo\[export\]'"):
        load(tmp_path / "m.onnx")


@pytest.mark.parametrize("name", ["m.torchscript", "m.onnx", "m.pt"])
def test_a_damaged_file_is_named(name: str, tmp_path: Path, needs: Callable[..., None]) -> None:
    needs("onnxruntime")
    (tmp_path / name).write_bytes(b"no model at all")
    with pytest.raises(ValueError, match=rf"{name}: .* cannot load it: "):
        load(tmp_path / name)


def test_unknown_and_absent_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Known: \.pt \(PyTorch\), .*\.onnx \(ONNX Runtime\)"):
        runtime_of("best.weights")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(tmp_path / "gone.onnx")


def test_an_engine_is_read_behind_its_metadata() -> None:
    text = b'{"stride": 32}'
    assert (
        runtimes._without_metadata(len(text).to_bytes(4, "little") + text + b"engine") == b"engine"
    )
    assert runtimes._without_metadata(b"ftrt....") == b"ftrt...."
