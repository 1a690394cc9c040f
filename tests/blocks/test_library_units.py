"""The units of torchvision and timm: with an identity in the slot they are the stock blocks, bit
for bit.
"""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn

from scsa_yolo.blocks import slotted
from scsa_yolo.injection import inject

SLOTS = ("mid", "out")


def seeded(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(2)  # dropout, dropped paths and blocks
    return model(images)


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("training", [False, True])
def test_an_identity_in_the_slot_is_the_stock_model(
    family: Any, slot: str, training: bool, images: torch.Tensor
) -> None:
    stock = copy.deepcopy(family.stock).train(training)
    model = inject(copy.deepcopy(stock), "Identity", slot=slot)
    want, got = seeded(stock, images), seeded(model, images)
    assert torch.equal(want, got)
    assert stock.state_dict().keys() == model.state_dict().keys()
    if training:
        want.square().sum().backward()
        got.square().sum().backward()
        grads = dict(model.named_parameters())
        for name, p in stock.named_parameters():
            # Autograd sums the two paths of a block in another order.
            torch.testing.assert_close(grads[name].grad, p.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("slot", SLOTS)
def test_every_unit_gets_its_width_and_a_gradient(
    family: Any, slot: str, images: torch.Tensor
) -> None:
    model = inject(copy.deepcopy(family.stock), "SCSA", slot=slot).train()
    made = list(slotted(model))
    assert len(made) == family.units
    assert made[0][1].attn.channels == family.widths[slot]
    seeded(model, images).square().sum().backward()
    assert all(p.grad is not None for _, unit in made for p in unit.attn.parameters())


@pytest.mark.parametrize("slot", SLOTS)
def test_stock_keys_stay_and_only_attn_is_new(family: Any, slot: str) -> None:
    model = inject(copy.deepcopy(family.stock), "SCSA", slot=slot)
    new = {f"{name}.attn.{key}" for name, unit in slotted(model) for key in unit.attn.state_dict()}
    missing, unexpected = model.load_state_dict(family.stock.state_dict(), strict=False)
    assert new
    assert set(missing) == new
    assert not unexpected


@pytest.mark.parametrize("slot", SLOTS)
def test_copies_and_files_keep_the_slot(family: Any, slot: str, images: torch.Tensor) -> None:
    model = inject(copy.deepcopy(family.stock), "ECA", slot=slot).eval()
    want = seeded(model, images)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert torch.equal(seeded(other, images), want)
    safe = torch.serialization.get_safe_globals()
    assert all(type(unit) in safe for _, unit in slotted(model))
