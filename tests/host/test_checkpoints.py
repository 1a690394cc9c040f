"""Checkpoints name our classes by path: the names are frozen, and safe for
``torch.load(weights_only=True)``.
"""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import pickletools
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics.nn import tasks

import scsa_yolo.attention
import scsa_yolo.blocks
from scsa_yolo.attention import Attention
from scsa_yolo.blocks import slotted

# The checkpoint format. A class that is renamed or moved makes saved models unreadable: leave its
# old name importable (a line in the old module) and keep it here. New module classes are added here
# when they are released.
FROZEN = [
    "scsa_yolo.attention.afgca.AFGCA",
    "scsa_yolo.attention.ca.CA",
    "scsa_yolo.attention.cbam.CBAM",
    "scsa_yolo.attention.controls.Conv1x1",
    "scsa_yolo.attention.controls.Identity",
    "scsa_yolo.attention.cpca.CPCA",
    "scsa_yolo.attention.eca.ECA",
    "scsa_yolo.attention.ela.ELA",
    "scsa_yolo.attention.ema.EMA",
    "scsa_yolo.attention.fca.FCA",
    "scsa_yolo.attention.pcsa.PCSA",
    "scsa_yolo.attention.sa.SA",
    "scsa_yolo.attention.scsa.SCSA",
    "scsa_yolo.attention.se.SE",
    "scsa_yolo.attention.smsa.SMSA",
    "scsa_yolo.blocks.feedforward.FeedForward",
    "scsa_yolo.blocks.feedforward.FeedForwardMid",
    "scsa_yolo.blocks.feedforward.FeedForwardOut",
    "scsa_yolo.blocks.identity_start.IdentityStart",
    "scsa_yolo.blocks.resnet_vd.BasicBlockVD",
    "scsa_yolo.blocks.resnet_vd.BasicBlockVDMid",
    "scsa_yolo.blocks.resnet_vd.BasicBlockVDOut",
    "scsa_yolo.blocks.resnet_vd.ResNetVDLayer",
    "scsa_yolo.blocks.resnet_vd.ResNetVDStem",
    "scsa_yolo.blocks.stock.BottleneckMid",
    "scsa_yolo.blocks.stock.BottleneckOut",
    "scsa_yolo.blocks.stock.CIBOut",
    "scsa_yolo.blocks.stock.GhostBottleneckMid",
    "scsa_yolo.blocks.stock.GhostBottleneckOut",
    "scsa_yolo.blocks.stock.RepBottleneckMid",
    "scsa_yolo.blocks.stock.RepBottleneckOut",
    "scsa_yolo.blocks.stock.ResNetBlockMid",
    "scsa_yolo.blocks.stock.ResNetBlockOut",
    "scsa_yolo.blocks.timm.BasicBlockMid",
    "scsa_yolo.blocks.timm.BasicBlockOut",
    "scsa_yolo.blocks.timm.BottleneckMid",
    "scsa_yolo.blocks.timm.BottleneckOut",
    "scsa_yolo.blocks.timm.RepVggBlockOut",
    "scsa_yolo.blocks.timm.RepViTBlockMid",
    "scsa_yolo.blocks.timm.RepViTBlockOut",
    "scsa_yolo.blocks.torchvision.BasicBlockMid",
    "scsa_yolo.blocks.torchvision.BasicBlockOut",
    "scsa_yolo.blocks.torchvision.BottleneckMid",
    "scsa_yolo.blocks.torchvision.BottleneckOut",
    "scsa_yolo.blocks.torchvision.InvertedResidualMid",
    "scsa_yolo.blocks.torchvision.InvertedResidualOut",
    "scsa_yolo.blocks.torchvision.InvertedResidualV3Mid",
    "scsa_yolo.blocks.torchvision.InvertedResidualV3Out",
    "scsa_yolo.blocks.torchvision.ShiftedWindowAttentionOut",
    "scsa_yolo.blocks.torchvision.ShiftedWindowAttentionV2Out",
]
HAS_TIMM = importlib.util.find_spec("timm") is not None  # optional


def path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def module_classes(package: ModuleType) -> set[type[nn.Module]]:
    """Every module class that a package defines, the abstract base aside."""
    names = {m.name for m in pkgutil.iter_modules(package.__path__)} - (
        set() if HAS_TIMM else {"timm"}
    )
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in sorted(names)]
    classes = {
        value for module in modules for value in vars(module).values() if isinstance(value, type)
    }
    ours = {
        cls
        for cls in classes
        if issubclass(cls, nn.Module) and cls.__module__.startswith(package.__name__)
    }
    return ours - {Attention}


CLASSES = sorted(module_classes(scsa_yolo.attention) | module_classes(scsa_yolo.blocks), key=path)


@pytest.mark.parametrize("name", FROZEN)
def test_a_name_in_checkpoints_stays_importable(name: str) -> None:
    module, _, cls = name.rpartition(".")
    if module == "scsa_yolo.blocks.timm" and not HAS_TIMM:
        pytest.skip("needs timm: pip install 'scsa-yolo[test]'")
    assert issubclass(getattr(importlib.import_module(module), cls), nn.Module)


@pytest.mark.parametrize("cls", CLASSES, ids=path)
def test_a_module_class_is_frozen_and_safe(cls: type[nn.Module]) -> None:
    assert path(cls) in FROZEN, (
        "a new class in checkpoints: add it to FROZEN, and keep its name from now on"
    )
    assert cls in torch.serialization.get_safe_globals()


def small(attention: str, **options: Any) -> nn.Sequential:
    """Every block with units, and a bare row, in a few layers."""
    backbone = [
        [-1, 1, "ResNetVDStem", [16]],
        [-1, 1, f"ResNetVDLayer_{attention}", [16, 1, options]],
        [-1, 1, f"C2f_{attention}", [16, True, options]],
        [-1, 1, f"C3Ghost_{attention}", [16, True, options]],
        [-1, 1, f"C2fCIB_{attention}", [16, True, options]],
        [-1, 1, f"RepNCSPELAN4_{attention}", [16, 16, 8, 1, options]],
        [-1, 1, f"ResNetLayer_{attention}", [16, 8, 1, False, 1, options]],
        [-1, 1, attention, [{key: value for key, value in options.items() if key != "slot"}]],
    ]
    d = {"nc": 2, "scale": "n", "backbone": backbone, "head": []}
    return tasks.parse_model(d, 3, verbose=False)[0].eval()


@pytest.mark.parametrize("options", [{}, {"slot": "out"}, {"start": "identity"}], ids=str)
@pytest.mark.parametrize("attention", ["SCSA", "PCSA", "SMSA"])
def test_a_whole_module_passes_restricted_loading(
    attention: str, options: dict[str, Any], tmp_path: Path
) -> None:
    model = small(attention, **options)
    stock = {
        cls for module in model.modules() if not path(cls := type(module)).startswith("scsa_yolo")
    }
    torch.save(model, tmp_path / "model.pt")
    with torch.serialization.safe_globals([*stock, set]):  # Ultralytics allows its own and torch's
        loaded = torch.load(tmp_path / "model.pt", weights_only=True)
    assert [type(unit) for _, unit in slotted(loaded)] == [type(unit) for _, unit in slotted(model)]
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(loaded(x), model(x))


def test_pickles_hold_nothing_but_known_classes() -> None:
    """No function, partial or bound method of ours lies in a module: safe loading would refuse
    it.
    """
    operations = pickletools.genops(pickle.dumps(small("SCSA"), protocol=2))
    named = {
        argument.replace(" ", ".") for opcode, argument, _ in operations if opcode.name == "GLOBAL"
    }
    assert {name for name in named if name.startswith("scsa_yolo")} <= set(FROZEN)
    assert "scsa_yolo.blocks.stock.BottleneckMid" in named


def test_ultralytics_own_restricted_loader(tmp_path: Path) -> None:
    from ultralytics import YOLO
    from ultralytics.nn.tasks import torch_safe_load

    file = tmp_path / "model.pt"
    YOLO("yolov8n-scsa.yaml").save(file)
    checkpoint, _ = torch_safe_load(str(file), safe_only=True)
    assert sum(1 for _ in slotted(checkpoint["model"])) == 10
    rows = [row[2] for row in checkpoint["model"].yaml["backbone"]]
    assert rows.count("C2f_SCSA") == 4
