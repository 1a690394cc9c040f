"""model.fuse() folds attention, on models of ours alone, and a fused model can be trained again."""

from __future__ import annotations

import pytest
import torch
from ultralytics import RTDETR, YOLO
from ultralytics.nn.tasks import DetectionModel

from scsa_yolo.attention import SCSA


def attention(model: torch.nn.Module) -> list[SCSA]:
    return [module for module in model.modules() if isinstance(module, SCSA)]


@pytest.mark.parametrize(
    "name", ["yolov8n-scsa.yaml", "yolov10n-scsa.yaml", "rtdetr-r18-scsa.yaml"]
)
def test_fuse_folds_and_keeps_numbers(name: str) -> None:
    torch.manual_seed(0)
    model = (RTDETR if "rtdetr" in name else YOLO)(name).model.eval()
    x = torch.rand(1, 3, 160, 128)  # RT-DETR of earlier releases needs 300 positions
    with torch.no_grad():
        before = model(x)
        model.fuse(verbose=False)
        after = model(x)
    before, after = (y[0] if isinstance(y, (tuple, list)) else y for y in (before, after))
    modules = attention(model)
    assert modules
    assert all(module.is_folded for module in modules)
    if "rtdetr" not in name:  # its queries swap places by rounding
        torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)


def test_a_model_fused_while_in_training_mode_folds_once_it_is_evaluated() -> None:
    model = DetectionModel("yolov8n-scsa.yaml", verbose=False).train()
    model.fuse(verbose=False)
    assert not any(module.overwrites for module in attention(model))
    model.eval().fuse(verbose=False)
    assert all(module.overwrites for module in attention(model))
    model.train()
    assert not any(module.overwrites for module in attention(model))


def test_stock_models_fuse_as_ever() -> None:
    model = DetectionModel("yolov8n.yaml", verbose=False).eval()
    assert model.fuse(verbose=False) is model
    assert model.is_fused()
