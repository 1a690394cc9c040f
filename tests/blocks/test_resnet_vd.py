"""ResNet-vd: shapes, layout, and the error for arguments that make no stage."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scsa_yolo.blocks.resnet_vd import BasicBlockVD, ResNetVDLayer, ResNetVDStem


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 33), (4, 7), (1, 1)])
def test_the_stem_quarters_the_sides(height: int, width: int) -> None:
    y = ResNetVDStem(3, 32)(torch.rand(2, 3, height, width))
    assert y.shape == (2, 32, -(-height // 4), -(-width // 4))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 5), (1, 1)])
def test_a_stage(height: int, width: int, stride: int) -> None:
    layer = ResNetVDLayer(16, 24, 3, stride)
    y = layer(torch.rand(2, 16, height, width))
    assert y.shape == (2, 24, -(-height // stride), -(-width // stride))
    assert (y >= 0).all()


def test_the_shortcuts_of_a_stage() -> None:
    """The first block pools before its 1x1 convolution, so that no position is skipped; the others
    pass x on.
    """
    first, second = ResNetVDLayer(16, 24, 2, 2).blocks
    pool, conv = first.shortcut
    assert isinstance(pool, nn.AvgPool2d)
    assert (conv.conv.kernel_size, conv.conv.stride) == ((1, 1), (1, 1))
    assert isinstance(second.shortcut, nn.Identity)
    plain = ResNetVDLayer(16, 16, 1, 1).blocks[0]
    assert isinstance(plain.shortcut[0], nn.Identity)


def test_a_block_adds_its_shortcut() -> None:
    block = BasicBlockVD(8, 8).eval()
    x = torch.randn(1, 8, 5, 5)
    assert torch.equal(block(x), torch.relu(block.cv2(block.cv1(x)) + x))


@pytest.mark.parametrize(("n", "s"), [(0, 1), (1, 3), (1, 0), (-1, 2)])
def test_no_stage(n: int, s: int) -> None:
    with pytest.raises(ValueError, match=f"n={n!r} and s={s!r}"):
        ResNetVDLayer(16, 24, n, s)


def test_every_parameter_gets_a_gradient() -> None:
    model = nn.Sequential(
        ResNetVDStem(3, 16), ResNetVDLayer(16, 16, 2, 1), ResNetVDLayer(16, 32, 2, 2)
    )
    model(torch.rand(2, 3, 64, 48)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
