"""blocks.fold(): attention in units may write into the unit's map, attention elsewhere may not."""

from __future__ import annotations

import torch
from torch import nn
from ultralytics.nn.modules.block import C2f

from scsa_yolo.attention import SCSA
from scsa_yolo.blocks import IdentityStart, fold, give_slot, units


def block(attention: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    module = C2f(16, 16, 1, True)
    for parameter in attention.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.3)
    give_slot(next(unit for _, unit in units(module)), attention)
    return module.eval()


def test_units_overwrite_and_numbers_stay() -> None:
    module, x = block(SCSA(8)), torch.randn(2, 16, 20, 14)
    kept = x.clone()
    with torch.no_grad():
        before = module(x)
        assert fold(module) is module
        assert module.m[0].attn.overwrites
        torch.testing.assert_close(module(x), before, rtol=1e-5, atol=1e-6)
    assert torch.equal(x, kept)


def test_a_layer_of_its_own_does_not_overwrite() -> None:
    module, x = nn.Sequential(SCSA(8)).eval(), torch.randn(1, 8, 14, 14)
    kept = x.clone()
    with torch.no_grad():
        fold(module)(x)
    assert not module[0].overwrites
    assert torch.equal(x, kept)


def test_an_identity_start_still_has_the_map_that_it_blends() -> None:
    module, x = block(IdentityStart(SCSA(8), 8)), torch.randn(1, 16, 14, 14)
    with torch.no_grad():
        before = module(x)
        fold(module)
        assert not module.m[0].attn.attention.overwrites
        torch.testing.assert_close(module(x), before, rtol=1e-5, atol=1e-6)


def test_training_after_folding() -> None:
    module, x = block(SCSA(8)), torch.randn(1, 16, 14, 14)
    fold(module).train()
    module(x).sum().backward()
    assert all(parameter.grad is not None for parameter in module.m[0].attn.parameters())
