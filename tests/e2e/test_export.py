"""ONNX: static through export.py, dynamic at several sizes, half precision."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def lively(workplace: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model with convolutions drawn anew: after an epoch or two, outputs hardly depend
    on the picture, so that no export could be proven equal.
    """
    from ultralytics import YOLO

    trained, generator = YOLO(workplace.best), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, module in trained.model.float().named_modules():
            if isinstance(module, torch.nn.Conv2d) and "dfl" not in name:
                size = 1.5 / module.weight[0].numel() ** 0.5
                drawn = torch.randn(module.weight.shape, generator=generator)
                module.weight.copy_(drawn * size)
    path = tmp_path_factory.mktemp("lively") / "lively.pt"
    trained.save(path)
    return path


@pytest.fixture(scope="module")
def model(lively: Path) -> torch.nn.Module:
    """The model as Ultralytics exports it: fused, in float32."""
    from ultralytics.nn.tasks import load_checkpoint

    loaded, _ = load_checkpoint(lively)
    return loaded.float().fuse(verbose=False).eval()


@pytest.fixture(autouse=True)
def packages(needs: Callable[..., None]) -> None:
    needs("onnx", "onnxruntime", "onnxslim")


def exported(
    workplace: Any, lively: Path, tmp_path: Path, *settings: str, proven: bool = True
) -> Path:
    """Export a copy of the checkpoint, so that exports do not overwrite each other."""
    copy = tmp_path / "model.pt"
    copy.write_bytes(lively.read_bytes())
    script = REPO / "export.py"
    workplace.home.run(
        sys.executable, script, f"model={copy}", "format=onnx", "device=cpu", *settings, ok=proven
    )
    return copy.with_suffix(".onnx")


def run(file: Path, images: torch.Tensor) -> torch.Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    output, *_ = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    return torch.from_numpy(output.astype(np.float32))


def parity(
    file: Path, model: torch.nn.Module, *shape: int, dtype: torch.dtype = torch.float32
) -> float:
    """The largest difference of ONNX Runtime from PyTorch, relative to the largest output."""
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), warnings.catch_warnings():
        expected = model(images)[0]
    got = run(file, images.to(dtype))
    assert got.shape == expected.shape
    return float((got - expected).abs().max() / expected.abs().max())


def test_static(workplace: Any, lively: Path, model: Any, tmp_path: Path) -> None:
    file = exported(workplace, lively, tmp_path, "imgsz=96")
    assert parity(file, model, 1, 3, 96, 96) < 1e-5


def test_dynamic(workplace: Any, lively: Path, model: Any, tmp_path: Path) -> None:
    """Exported at 64 pixels, where P5 is 2 x 2, and run where every map is larger, smaller, or not
    square.
    """
    file = exported(workplace, lively, tmp_path, "imgsz=64", "dynamic=True")
    for shape in ((1, 3, 64, 64), (2, 3, 320, 256), (1, 3, 32, 640), (3, 3, 128, 96)):
        assert parity(file, model, *shape) < 1e-5, shape


def test_half(workplace: Any, lively: Path, model: Any, tmp_path: Path) -> None:
    # drawn weights leave scores near the threshold, where rounding decides: no proof is asked for
    file = exported(workplace, lively, tmp_path, "imgsz=96", "quantize=16", proven=False)
    import onnxruntime

    kind = (
        onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).get_inputs()[0].type
    )
    dtype = torch.float16 if "float16" in kind else torch.float32
    assert parity(file, model, 1, 3, 96, 96, dtype=dtype) < 5e-3
