"""A module of somebody else's package: picked up through its entry point, a row at once, trains and
reloads.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PACKAGE = '''
"""A third party's attention: a gate per channel, learned."""

import torch
from scsa_yolo.attention import Attention
from torch import nn


class Gate(Attention):
    def __init__(self, channels: int, *, bias: float = 0.0) -> None:
        super().__init__(channels)
        self.gate = nn.Parameter(torch.full((channels,), float(bias)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check_input(x)
        return x * self.gate.sigmoid().to(x.dtype).view(1, -1, 1, 1)
'''
ENTRY_POINTS = "[scsa_yolo.attention]\nGATE = their_gate:Gate\n"
BROKEN = "[scsa_yolo.attention]\nBROKEN = no_such_module:Nothing\n"


def install(folder: Path, name: str, entry_points: str, code: str = "") -> None:
    """Lay a package out as pip does: its module, and the metadata that names its entry points."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(code)
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n"
    )
    (metadata / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def site(tmp_path: Path) -> str:
    folder = tmp_path / "site"
    install(folder, "their_gate", ENTRY_POINTS, PACKAGE)
    return str(folder)


def test_it_is_a_row_and_trains(yolo_home: Any, site: str, tiny_data: Path) -> None:
    yolo_home.python(
        "from scsa_yolo.grafting import graft, to_yaml; from pathlib import"
        " Path;Path('yolov8n-gate.yaml').write_text(to_yaml(graft('yolov8n.yaml', 'GATE',"
        " bias=2.0), header='GATE'))",
        PYTHONPATH=site,
    )
    where = (f"project={yolo_home.folder}", "name=run")
    settings = ("imgsz=64", "epochs=1", "batch=4", "device=cpu", "plots=False", *where)
    done = yolo_home.yolo(
        "train", "model=yolov8n-gate.yaml", f"data={tiny_data}", *settings, PYTHONPATH=site
    )
    assert "C2f_GATE" in done.text
    code = (
        "import os; os.environ['ULTRALYTICS_SAFE_LOAD'] = '1';"
        "from ultralytics import YOLO; model = YOLO('run/weights/best.pt').model;"
        "print('gates', sum(type(m).__name__ == 'Gate' for m in model.modules()))"
    )
    assert yolo_home.python(code, PYTHONPATH=site).lines("gates") == ["gates 10"]


def test_it_is_an_injection_and_passes_the_check(run_python: Callable[..., Any], site: str) -> None:
    code = (
        "from torchvision.models import resnet18\n"
        "from scsa_yolo.injection import inject\n"
        "from scsa_yolo.testing import check_attention\n"
        "model = inject(resnet18(), 'GATE', bias=1.0)\n"
        "print('gates', sum(type(m).__name__ == 'Gate' for m in model.modules()))\n"
        "check_attention('GATE', channels=(16,), sizes=((5, 9),))\n"
    )
    assert run_python(code, PYTHONPATH=site).lines("gates") == ["gates 8"]


def test_a_broken_one_is_named_and_does_no_harm(
    run_python: Callable[..., Any], tmp_path: Path
) -> None:
    install(tmp_path / "site", "their_broken", BROKEN)
    code = (
        "from scsa_yolo import attention_names as n; print('names', 'SCSA' in n(), 'BROKEN' in n())"
    )
    done = run_python(code, PYTHONPATH=str(tmp_path / "site"))
    assert done.lines("names") == ["names True False"]
    assert "attention 'BROKEN' from no_such_module:Nothing was not loaded" in done.text
