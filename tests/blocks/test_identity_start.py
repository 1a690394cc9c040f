"""The blend that starts at nothing."""

from __future__ import annotations

import pytest
import torch

from scsa_yolo.attention import SCSA
from scsa_yolo.blocks import IdentityStart


@pytest.fixture
def blended() -> IdentityStart:
    torch.manual_seed(0)
    return IdentityStart(SCSA(16), 16)


@pytest.mark.parametrize("shape", [(2, 16, 20, 14), (1, 16, 1, 1)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_it_starts_as_the_identity(
    blended: IdentityStart, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x = torch.randn(shape, dtype=dtype)
    assert torch.equal(blended.to(dtype)(x), x)


def test_a_blend_of_one_is_the_attention(blended: IdentityStart) -> None:
    torch.nn.init.ones_(blended.blend)
    x = torch.randn(2, 16, 20, 14)
    assert torch.allclose(blended(x), blended.attention(x), atol=1e-6)


def test_the_attention_learns_from_the_second_step_on(blended: IdentityStart) -> None:
    x, target = torch.randn(2, 16, 20, 14), torch.randn(2, 16, 20, 14)
    optimizer = torch.optim.SGD(blended.parameters(), lr=0.1)
    first = [p.detach().clone() for p in blended.attention.parameters()]
    for step in range(2):
        optimizer.zero_grad()
        (blended(x) - target).square().mean().backward()
        gradients = [bool(p.grad.abs().sum() > 0) for p in blended.attention.parameters()]
        assert all(gradients) if step else not any(gradients)
        assert blended.blend.grad.abs().sum() > 0
        optimizer.step()
    moved = [
        not torch.equal(a, b) for a, b in zip(first, blended.attention.parameters(), strict=True)
    ]
    assert all(moved)
