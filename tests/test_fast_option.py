"""`fast: false`, the plain equations, reaches every module of a row, a graft and an injection."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import resnet18
from ultralytics.nn import tasks

from scsa_yolo.attention import Attention, attention_names, register_attention
from scsa_yolo.grafting import graft
from scsa_yolo.host.transfer import attention_modules
from scsa_yolo.injection import inject

ROW = [-1, 1, "C2f", [16, True]]
SMALL: dict[str, Any] = {"nc": 2, "scale": "n", "backbone": [ROW], "head": []}


def options(model: nn.Module) -> list[Any]:
    return [module.fast for module in model.modules() if isinstance(module, Attention)]


@pytest.mark.parametrize("name", attention_names())
def test_it_reaches_every_module(name: str) -> None:
    model, _ = tasks.parse_model(graft(SMALL, name, fast=False), 16, verbose=False)
    assert options(model) == [False]
    bare = {**SMALL, "backbone": [[-1, 2, name, [{"fast": False}]]]}
    assert options(tasks.parse_model(bare, 16, verbose=False)[0]) == [False, False]


def test_it_survives_identity_start_and_an_injection() -> None:
    model = inject(resnet18(), "SCSA", start="identity", fast=False)
    assert options(model) == [False] * 8
    assert len(attention_modules(model)) == 8


@pytest.mark.usefixtures("attention_registry")
@pytest.mark.filterwarnings("ignore:attention 'Theirs'")  # is never in a checkpoint
def test_a_third_partys_module_without_it_says_so() -> None:
    @register_attention("Theirs")
    class Theirs(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    with pytest.raises(ValueError, match=r"Theirs has no option 'fast' \('fast' is an option of"):
        graft(SMALL, "Theirs", fast=False)
