"""Slots: which classes are units, the width at each slot, and what the forward pass computes."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from ultralytics.nn.modules.block import (
    CIB,
    Bottleneck,
    C3k2,
    GhostBottleneck,
    RepBottleneck,
    ResNetBlock,
)

from scsa_yolo.attention import SCSA
from scsa_yolo.blocks import give_slot, slot_width, slotted, units
from scsa_yolo.blocks.resnet_vd import BasicBlockVD

C = 16


class Double(nn.Module):
    """An attention whose place in the forward pass shows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1] == self.channels
        return 2 * x


def fill(unit: nn.Module, make: Callable[[int], nn.Module], slot: str = "mid") -> nn.Module:
    """Give a unit its slot, with an attention of the width there."""
    attention = make(slot_width(unit, slot))
    give_slot(unit, attention, slot)
    return attention


def shortcut(unit: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x + y if unit.add else y


# unit, width at mid, width at out, forward with a doubling at mid, and at out
UNITS = {
    "Bottleneck": (
        lambda: Bottleneck(C, C, e=0.25),
        (4, C),
        lambda u, x: shortcut(u, x, u.cv2(2 * u.cv1(x))),
        lambda u, x: shortcut(u, x, 2 * u.cv2(u.cv1(x))),
    ),
    "Bottleneck without shortcut": (
        lambda: Bottleneck(C, 24, shortcut=True),
        (12, 24),
        lambda u, x: u.cv2(2 * u.cv1(x)),
        lambda u, x: 2 * u.cv2(u.cv1(x)),
    ),
    "RepBottleneck": (
        lambda: RepBottleneck(C, C, e=1.0),
        (C, C),
        lambda u, x: x + u.cv2(2 * u.cv1(x)),
        lambda u, x: x + 2 * u.cv2(u.cv1(x)),
    ),
    "CIB": (
        lambda: CIB(C, C),
        (C, C),
        lambda u, x: x + 2 * u.cv1(x),
        lambda u, x: x + 2 * u.cv1(x),
    ),
    "ResNetBlock": (
        lambda: ResNetBlock(C, 8, s=2, e=4),
        (8, 32),
        lambda u, x: F.relu(u.cv3(2 * u.cv2(u.cv1(x))) + u.shortcut(x)),
        lambda u, x: F.relu(2 * u.cv3(u.cv2(u.cv1(x))) + u.shortcut(x)),
    ),
    "GhostBottleneck": (
        lambda: GhostBottleneck(C, 24, 3, 2),
        (12, 24),
        lambda u, x: u.conv[2](2 * u.conv[1](u.conv[0](x))) + u.shortcut(x),
        lambda u, x: 2 * u.conv(x) + u.shortcut(x),
    ),
    "BasicBlockVD": (
        lambda: BasicBlockVD(C, 24, 2, project=True),
        (24, 24),
        lambda u, x: F.relu(u.cv2(2 * u.cv1(x)) + u.shortcut(x)),
        lambda u, x: F.relu(2 * u.cv2(u.cv1(x)) + u.shortcut(x)),
    ),
}


@pytest.mark.parametrize("slot", ["mid", "out"])
@pytest.mark.parametrize("name", UNITS)
def test_the_slot_is_where_it_says(name: str, slot: str) -> None:
    make, widths, mid, out = UNITS[name]
    unit = make().eval()
    stock = deepcopy(unit)
    attention = fill(unit, Double, slot)
    assert unit.attn is attention
    assert attention.channels == widths[("mid", "out").index(slot)]
    x = torch.rand(2, C, 12, 10)
    assert torch.equal(unit(x), (mid if slot == "mid" else out)(stock, x))
    assert unit.state_dict().keys() == stock.state_dict().keys()
    assert isinstance(unit, type(stock)), "what Ultralytics asks with isinstance stays true"


@pytest.mark.parametrize("name", UNITS)
def test_a_fused_unit_keeps_its_attention(name: str) -> None:
    """Fusing sets ``forward`` of each Conv, never that of a unit."""
    from ultralytics.nn.tasks import BaseModel

    torch.manual_seed(0)
    unit = UNITS[name][0]()
    fill(unit, SCSA)
    model = BaseModel()
    model.model = nn.Sequential(unit)
    x = torch.rand(2, C, 12, 10)
    for _ in range(3):
        unit(x)  # gives the batch norms statistics of their own
    model.eval()
    before = unit(x)
    model.is_fused = lambda *_: False  # older releases take a model of few norms for a fused one
    model.fuse(verbose=False)
    assert torch.allclose(unit(x), before, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in unit.modules())


def test_units_of_a_block_are_found_in_order_and_once() -> None:
    block = C3k2(C, C, n=2, c3k=True)
    assert [name for name, _ in units(block)] == [
        f"m.{i}.m.{j}" for i in range(2) for j in range(2)
    ]
    for _, unit in list(units(block)):
        fill(unit, SCSA)
    assert not list(units(block))
    assert len(list(slotted(block))) == 4


def test_a_unit_is_itself_found() -> None:
    unit = Bottleneck(C, C)
    assert [(name, module) for name, module in units(unit)] == [("", unit)]


@pytest.mark.parametrize("cls", ["PSABlock", "ABlock"])
def test_attention_blocks_are_no_units(cls: str) -> None:
    from ultralytics.nn.modules import block

    module = (
        block.PSABlock(128, num_heads=2) if cls == "PSABlock" else block.ABlock(128, num_heads=4)
    )
    assert not list(units(module))


def test_the_attention_takes_the_units_kind_and_mode() -> None:
    unit = Bottleneck(C, C).double().eval()
    fill(unit, SCSA)
    assert {p.dtype for p in unit.parameters()} == {torch.float64}
    assert not unit.attn.training


def test_only_new_keys_are_the_attentions() -> None:
    unit = Bottleneck(C, C)
    before = dict(unit.state_dict())
    attention = fill(unit, SCSA)
    after = unit.state_dict()
    assert {key for key in after if key not in before} == {
        f"attn.{key}" for key in attention.state_dict()
    }
    assert all(after[key] is not None and torch.equal(after[key], before[key]) for key in before)


def test_a_wrong_slot() -> None:
    with pytest.raises(ValueError, match="slot must be one of 'mid', 'out', got 'in'"):
        give_slot(Bottleneck(C, C), SCSA(C), "in")


@pytest.mark.parametrize(
    "module", [nn.Conv2d(1, 1, 1), nn.Sequential(Bottleneck(C, C))], ids=["Conv2d", "Sequential"]
)
def test_what_is_no_unit(module: nn.Module) -> None:
    with pytest.raises(
        ValueError, match=f"{type(module).__name__} is no residual unit without a slot"
    ):
        give_slot(module, SCSA(C))


def test_a_slot_is_given_once() -> None:
    unit = Bottleneck(C, C)
    fill(unit, SCSA)
    with pytest.raises(ValueError, match="BottleneckMid is no residual unit without a slot"):
        give_slot(unit, SCSA(C), "out")
