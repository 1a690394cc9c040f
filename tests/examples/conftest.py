"""Detectors that find many different boxes without having been trained, exported once for all tests
here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

SCORES = 1.5  # standard deviation of class scores before the sigmoid


def draw_picture(height: int, width: int) -> np.ndarray:
    """Blurred noise with bright and dark patches: something at every place and scale."""
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 255, (9, 7, 3), dtype=np.uint8), (width, height))
    for _ in range(12):
        x, y = int(rng.integers(0, width - 30)), int(rng.integers(0, height - 30))
        picture[y : y + int(rng.integers(8, 30)), x : x + int(rng.integers(8, 30))] = rng.integers(
            0, 255, 3
        )
    return picture


def liven(net: nn.Module, picture: np.ndarray) -> None:
    """Give a fresh detector outputs that depend on place and picture: its own would be alike
    everywhere.
    """
    rng = torch.Generator().manual_seed(1)
    flat = cv2.resize(picture, (128, 128))[..., ::-1].transpose(2, 0, 1) / np.float32(255)
    images = torch.from_numpy(np.stack([flat, flat[:, ::-1], flat[:, :, ::-1], 1 - flat]))
    for tensor in (*net.parameters(), *net.buffers()):
        if tensor.is_floating_point():
            tensor.data.mul_(1 + 0.2 * (torch.rand(tensor.shape, generator=rng) - 0.5))
    for module in net.modules():
        if isinstance(
            module, nn.BatchNorm2d
        ):  # its statistics are those of these pictures from now on
            module.momentum = 0.9
            module.train()
    for _ in range(3):
        net(images)
    net.eval()
    for layer, spread in _last_layers(net.model[-1]):
        layer.weight.data.normal_(0, 0.3, generator=rng)
        layer.register_forward_hook(
            lambda layer, _, out, spread=spread: seen.update({layer: (spread, out.std())})
        )
    seen: dict[nn.Module, tuple[float, torch.Tensor]] = {}
    net.model[-1].train(
        not hasattr(net.model[-1], "dec_score_head")
    )  # in training both branches of v10's head run
    net(images)
    net.eval()
    for layer, (spread, deviation) in seen.items():
        layer.weight.data.mul_(spread / deviation)
        if spread == SCORES:
            layer.bias.data.fill_(-4)  # the best of 80 classes is then about 0.5
    for layer, _ in _last_layers(net.model[-1]):
        layer._forward_hooks.clear()


def _last_layers(head: nn.Module) -> list[tuple[nn.Module, float]]:
    """The layers whose outputs are boxes and scores, and how far these should spread."""
    if hasattr(head, "dec_score_head"):
        boxes = [mlp.layers[-1] for mlp in head.dec_bbox_head]
        return [(layer, SCORES) for layer in head.dec_score_head] + [
            (layer, 0.3) for layer in boxes
        ]
    named = [
        (name, branch[-1])
        for name, part in head.named_children()
        for branch in _branches(name, part)
    ]
    return [(layer, 3.0 if name.endswith("cv2") else SCORES) for name, layer in named]


def _branches(name: str, part: Any) -> Any:
    return part if name.endswith(("cv2", "cv3")) and isinstance(part, nn.ModuleList) else ()


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture whose sides fit no stride."""
    path = (
        tmp_path_factory.mktemp("picture") / "Straße.png"
    )  # a name that cv2.imread cannot open on Windows
    path.write_bytes(cv2.imencode(".png", draw_picture(213, 157))[1].tobytes())
    return path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, picture: Path) -> Callable[..., Path]:
    """Export a detector by name with Ultralytics' arguments; the same twice is made once."""
    made: dict[str, Path] = {}

    def export(name: str, **settings: Any) -> Path:
        key = f"{name} {sorted(settings.items())}"
        if key not in made:
            from ultralytics import RTDETR, YOLO

            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.manual_seed(0)
                model = (RTDETR if name.startswith("rtdetr") else YOLO)(f"{name}.yaml")
                liven(model.model, draw_picture(213, 157))
            if settings["format"] == "onnx":
                settings["simplify"] = False  # three quarters of the time
            folder = tmp_path_factory.mktemp(name)
            model.save(folder / f"{name}.pt")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the tracers' notes
                again = type(model)(folder / f"{name}.pt")
                made[key] = Path(again.export(device="cpu", **settings))
        return made[key]

    return export
