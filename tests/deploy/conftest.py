"""Small checkpoints whose outputs depend on every weight, so that parity means something."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

GAIN = 1.5  # a little less than what SiLU takes from a normal distribution


def enliven(model: torch.nn.Module) -> None:
    """Move parameters and buffers, and let signals through: outputs of a fresh detector hardly
    depend on its features.

    Convolutions keep the size of what they pass on, and class scores spread around a twentieth,
    without ties at 0 or 1.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if (
                isinstance(module, torch.nn.Conv2d) and module.weight.requires_grad
            ):  # DFL's holds numbers to count by
                module.weight.normal_(
                    0, GAIN / module.weight[0].numel() ** 0.5, generator=generator
                )
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.is_floating_point() and "dfl" not in name:
                noise = torch.randn(2, *tensor.shape, generator=generator)
                tensor.mul_(1 + 0.1 * noise[0]).add_(0.05 * tensor.abs().mean() * noise[1])
        hooks = [conv.register_forward_hook(spread) for conv in score_layers(model.model[-1])]
        run_heads(model.eval(), torch.rand(4, 3, 128, 128, generator=generator))
    for hook in hooks:
        hook.remove()


def run_heads(model: torch.nn.Module, pictures: torch.Tensor) -> None:
    """Run a model by each head that it has: Ultralytics' versions differ in which is the
    default.
    """
    if getattr(model.model[-1], "one2one_cv3", None) is None:
        model(pictures)
        return
    default = model.end2end
    for end2end in (True, False, default):
        model.end2end = end2end
        model(pictures)


def score_layers(head: torch.nn.Module) -> list[torch.nn.Conv2d]:
    """Return the convolutions that give class scores in YOLO's heads; RT-DETR has none."""
    branches = (getattr(head, name, None) or () for name in ("cv3", "one2one_cv3"))
    return [level[-1] for branch in branches for level in branch]


def spread(conv: torch.nn.Conv2d, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
    """Rescale a convolution so that its output has a deviation of 0.5 around -3 in each channel."""
    centred = output - conv.bias.view(-1, 1, 1)
    factor = 0.5 / output.std(dim=(0, 2, 3))
    conv.weight.mul_(factor.view(-1, 1, 1, 1))
    conv.bias.copy_(-3 - factor * centred.mean(dim=(0, 2, 3)))


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the maker of a checkpoint of a model YAML; one is made once."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            import scsa_yolo

            scsa_yolo.register()
            from ultralytics import RTDETR, YOLO

            model = (RTDETR if name.startswith("rtdetr") else YOLO)(f"{name}.yaml")
            enliven(model.model)
            made[name] = tmp_path_factory.mktemp("checkpoint") / f"{name}.pt"
            model.save(made[name])
        return made[name]

    return make


@pytest.fixture
def checkpoint(make_checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of yolov8n with SCSA in a folder of its own."""
    copy = tmp_path / "best.pt"
    copy.write_bytes(make_checkpoint("yolov8n-scsa").read_bytes())
    return copy


@pytest.fixture
def export_command() -> Callable[..., int]:
    """Run ``scsa-yolo export`` without timing anything."""

    def run(*words: Any) -> int:
        from scsa_yolo.deploy import command

        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        return command.run(parser.parse_args([*map(str, words), "--rounds", "0"]))

    return run
