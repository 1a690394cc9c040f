"""Every module against the reference implementations: outputs, input gradients, parameter
gradients, state dicts.

The vectors (tests/golden) were computed in float64 by the reference code and stored in float32.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from scsa_yolo.attention import create_attention

FILES = sorted((Path(__file__).parents[1] / "golden").glob("*.npz"))
# Relative to the largest value of what is compared, where that is above 1: CPCA's output reaches
# 10^3 and its gradients 10^4, where storing in float32 alone rounds by 5e-4. In float64 the stored
# vectors' own rounding is all that is left.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-7}
# Arguments of the references that are fixed here: not options, or the value that a rule of ours
# arrives at.
FIXED = {"CA": ("norm", "act"), "ECA": ("kernel_size",), "AFGCA": ("b", "gamma")}


class Golden:
    """One file: what to build, what to feed, what must come out."""

    def __init__(self, path: Path) -> None:
        self.arrays = dict(np.load(path))
        meta = json.loads(str(self.arrays.pop("meta")))
        self.name, self.parameters = meta["module"], meta["parameters"]
        options = {k: v for k, v in meta["arguments"].items() if k not in FIXED.get(self.name, ())}
        if "dct_size" in options:
            options["dct_size"] = options["dct_size"][0]  # 7 x 7; ours is square
        self.channels = options.pop("channels", None) or options.pop("dim")
        self.options: dict[str, Any] = options

    def module(self) -> nn.Module:
        """Build the module with the reference's parameters."""
        module = create_attention(self.name, self.channels, **self.options).eval()
        state = {
            k.removeprefix("state/"): torch.from_numpy(v)
            for k, v in self.arrays.items()
            if k.startswith("state")
        }
        module.load_state_dict(state, strict=True)
        return module

    def tensor(self, key: str, dtype: torch.dtype) -> torch.Tensor:
        return torch.from_numpy(self.arrays[key]).to(dtype)


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


def assert_close(name: str, actual: torch.Tensor | None, expected: torch.Tensor) -> None:
    assert actual is not None, f"{name} is missing"
    atol = TOLERANCE[expected.dtype] * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(
        actual.detach(), expected, rtol=0, atol=atol, msg=lambda text: f"{name}: {text}"
    )


def test_every_module_has_vectors() -> None:
    assert {Golden(path).name for path in FILES} == {
        *("SCSA", "SE", "ECA", "FCA", "CBAM", "CA", "SA", "EMA", "CPCA", "AFGCA", "ELA")
    }


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_equals_reference(golden: Golden, dtype: torch.dtype) -> None:
    module = golden.module().to(dtype)
    x = golden.tensor("input", dtype).requires_grad_()
    y = module(x)
    y.backward(golden.tensor("grad_output", dtype))
    assert_close("output", y, golden.tensor("output", dtype))
    assert_close("grad_input", x.grad, golden.tensor("grad_input", dtype))
    gradients = {f"grad/{name}": p.grad for name, p in module.named_parameters()}
    assert set(gradients) == {key for key in golden.arrays if key.startswith("grad/")}
    for key, gradient in gradients.items():
        assert_close(key, gradient, golden.tensor(key, dtype))


def test_parameter_count(golden: Golden) -> None:
    assert sum(p.numel() for p in golden.module().parameters()) == golden.parameters


def test_constant_buffers_are_made_not_only_loaded(golden: Golden) -> None:
    """FCA's DCT filters come from their formula; a fresh module has the reference's."""
    fresh = create_attention(golden.name, golden.channels, **golden.options)
    for name, buffer in fresh.named_buffers():
        if not name.startswith("conv.bn."):  # running statistics are learned
            assert_close(name, buffer, golden.tensor(f"state/{name}", torch.float32))
