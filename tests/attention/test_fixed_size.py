"""Graphs for one size alone give the numbers of the module, in every way that they are traced."""

from __future__ import annotations

import io
from typing import Any

import onnx
import onnxruntime
import pytest
import torch

from scsa_yolo.attention import SCSA
from scsa_yolo.blocks import fix_size, fold

# the exporters are deprecated by torch, and TorchScript with them
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
SIZES = [(1, 1), (5, 5), (14, 14), (40, 40), (9, 20), (1, 30)]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"heads": 2},
    {"norm": "layer"},
    {"norm": "batch"},
    {"gate": "softmax"},
    {"shared": False},
    {"norm_first": True},
    {"kernels": [3]},
    {"parts": "spatial"},
    {"parts": "channel"},
]


def module_for(runtime: str | None, **options: Any) -> SCSA:
    torch.manual_seed(0)
    module = SCSA(8, **options).eval()
    for parameter in module.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.3)
    return fix_size(fold(module), runtime)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_onnx(options: dict[str, Any], size: tuple[int, int]) -> None:
    module, x = module_for("onnx", **options), torch.randn(2, 8, *size)
    file = io.BytesIO()
    with torch.no_grad():
        expected = module(x)
        torch.onnx.export(module, (x,), file, opset_version=18, dynamo=False)
    onnx.checker.check_model(onnx.load_from_string(file.getvalue()), full_check=True)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("runtime", ["openvino", "ncnn"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_torchscript(options: dict[str, Any], size: tuple[int, int], runtime: str) -> None:
    module, x = module_for(runtime, **options), torch.randn(2, 8, *size)
    with torch.no_grad():
        traced = torch.jit.trace(module, torch.zeros_like(x), check_trace=False)
        torch.testing.assert_close(traced(x), module(x), rtol=1e-5, atol=1e-5)


def test_what_is_not_fixed_takes_other_sizes() -> None:
    module = fix_size(module_for("openvino"), None)
    with torch.no_grad():
        traced = torch.jit.trace(module, torch.zeros(1, 8, 20, 20))
        x = torch.randn(2, 8, 33, 16)
        torch.testing.assert_close(traced(x), module(x), rtol=1e-5, atol=1e-5)


def test_nothing_changes_where_nothing_is_traced() -> None:
    module, x = module_for(None), torch.randn(1, 8, 21, 21)
    with torch.no_grad():
        expected = module(x)
        assert torch.equal(fix_size(module, "onnx")(x), expected)
