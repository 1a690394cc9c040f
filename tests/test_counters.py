"""Counters of operations, Ultralytics' own and others: they see what the attention computes."""

from __future__ import annotations

from typing import Any

import pytest
import thop
import torch
from torch import nn
from ultralytics.nn import tasks
from ultralytics.utils.torch_utils import get_flops

from scsa_yolo.attention import attention_names, create_attention

C, H, W = 64, 40, 40
WITH_WORK = sorted(set(attention_names()) - {"Identity"})


def counted(module: nn.Module) -> tuple[int, int]:
    operations, parameters = thop.profile(module, (torch.rand(1, C, H, W),), verbose=False)
    return int(operations), int(parameters)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", WITH_WORK)
def test_thop_sees_every_module(name: str, training: bool) -> None:
    module = create_attention(name, C).train(training)
    operations, parameters = counted(module)
    assert operations > 0
    assert parameters == sum(p.numel() for p in module.parameters())
    assert module.training is training


def test_thop_counts_smsa_by_hand() -> None:
    """Four depthwise convolutions over rows and columns; then two group norms, two operations a
    value (subtract and divide have been folded, scale and shift are left).
    """
    convolutions = sum(C // 4 * kernel * (H + W) for kernel in (3, 5, 7, 9))
    norms = 4 * C * (H + W)
    assert counted(create_attention("SMSA", C))[0] in (convolutions, convolutions + norms)


def test_thop_counts_a_folded_module_as_the_unfolded_one() -> None:
    """A fused model is what predict, val and export make; its summary shows the same work."""
    module = create_attention("SCSA", C).eval()
    before = counted(module)
    module.fold()
    assert counted(module) == before


def test_a_models_summary_holds_its_attention() -> None:
    rows = [[-1, 1, "Conv", [16, 3, 2]], [-1, 1, "C2f{}", [16, True]]]

    def model(name: str) -> Any:
        backbone = [[*row[:2], row[2].format(name), row[3]] for row in rows]
        d = {"nc": 2, "scale": "n", "backbone": backbone, "head": [[[0, 1], 1, "Detect", ["nc"]]]}
        return tasks.DetectionModel(d, verbose=False)

    stock = get_flops(model(""), 64)
    for name in ("SCSA", "SMSA", "PCSA", "ELA", "SA"):
        assert get_flops(model(f"_{name}"), 64) > stock, name


def test_fvcore_sees_every_module() -> None:
    fvcore = pytest.importorskip("fvcore.nn")
    for name in WITH_WORK:
        module = create_attention(name, C).eval()
        analysis = fvcore.FlopCountAnalysis(module, (torch.rand(1, C, H, W),))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        assert analysis.total() > 0, name
        parameters = fvcore.parameter_count(module)[""]
        assert parameters == sum(p.numel() for p in module.parameters())
