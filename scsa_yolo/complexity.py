"""What a model costs: parameters, and floating-point operations with the attention's matrix
products.

Two counters work together, because neither sees everything. Ultralytics' own, behind
``model.info()``, counts the stock layers (convolutions, linear layers, norms; newer releases matrix
products too), on small pictures that it extrapolates from. What attention does between its layers,
and on maps that it has pooled, extrapolates badly, so torch's operator
counter takes the attention modules at the full map sizes: convolutions and matrix products, as a
GPU runs them. One multiplication with its addition is two operations in both. Gates, pooling and
other elementwise work of the attention is in neither.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

IMGSZ = 640  # pixels; the size of Ultralytics' and the paper's tables
_OF_A_LAYER = (
    "i",
    "f",
    "type",
    "np",
)  # what parse_model writes on each layer, and BaseModel.predict reads


@dataclass(frozen=True)
class Cost:
    """What a model costs at one picture size."""

    parameters: int
    flops: float  # of the whole model, the attention's own included
    attention_flops: int  # convolutions and matrix products of the attention modules

    @property
    def gflops(self) -> float:
        """Billions of operations of the whole model."""
        return self.flops / 1e9


def load(name: str | Path) -> Any:
    """Build a model YAML as the ``yolo`` command does and return the ``YOLO`` or ``RTDETR`` object,
    on the CPU.

    Raises:
        ValueError: The YAML is no model, or holds rows that cannot be built.
        FileNotFoundError: There is no such YAML.
    """
    from scsa_yolo.host import register, registered

    if not registered():
        register()
    from ultralytics import RTDETR, YOLO

    with quiet():
        return (
            RTDETR(str(name))
            if "rtdetr" in Path(name).stem.lower()
            else YOLO(str(name), verbose=False)
        )


def cost(model: nn.Module, imgsz: int = IMGSZ) -> Cost:
    """Count parameters and operations of a built model at ``imgsz`` x ``imgsz`` pixels; it is left
    as it was.
    """
    from ultralytics.utils.torch_utils import get_flops

    own = attention_flops(model, imgsz)
    with quiet():
        flops = get_flops(without_attention(model), imgsz) * 1e9
    return Cost(sum(p.numel() for p in model.parameters()), flops + own, own)


def attention_flops(model: nn.Module, imgsz: int = IMGSZ, device: str = "meta") -> int:
    """Count the convolutions and matrix products of the attention modules at the sizes of their
    maps.

    Args:
        model: A built model of Ultralytics.
        imgsz: Side of the picture in pixels.
        device: ``"meta"`` counts the operators that a GPU and an exported graph run, without
            computing anything; on a CPU some convolutions run as sums of elementwise products,
            which no counter sees.
    """
    from torch.utils.flop_counter import FlopCounterMode

    from scsa_yolo.host.transfer import attention_modules

    total = 0
    modules = attention_modules(model)
    for name, shape in map_shapes(model, tuple(modules), imgsz).items():
        module = deepcopy(modules[name]).to(device).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module(torch.zeros(shape, device=device))
        total += counter.get_total_flops()
    return total


def map_shapes(
    model: nn.Module, names: tuple[str, ...], imgsz: int = IMGSZ
) -> dict[str, torch.Size]:
    """Return the input shape of the named modules for one picture, without computing anything."""
    if not names:
        return {}
    shadow = deepcopy(model).to("meta").eval()
    shapes: dict[str, torch.Size] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[torch.Tensor]) -> None:
            shapes[name] = args[0].shape
            if len(shapes) == len(names):
                raise _AllSeen

        return hook

    for name in names:
        shadow.get_submodule(name).register_forward_pre_hook(note(name))
    channels = next(model.parameters()).shape[1]
    with suppress(_AllSeen), torch.no_grad():
        shadow(torch.empty(1, channels, imgsz, imgsz, device="meta"))
    return shapes


class _AllSeen(Exception):
    """Ends a forward pass before the head, whose anchors are not on the meta device."""


def without_attention(model: nn.Module) -> nn.Module:
    """Return a copy of ``model`` whose attention modules pass their input on."""
    from scsa_yolo.host.transfer import attention_modules

    copy = deepcopy(model)
    for name, module in attention_modules(copy).items():
        parent, _, child = name.rpartition(".")
        identity = nn.Identity()
        identity.__dict__.update(
            {key: vars(module)[key] for key in _OF_A_LAYER if key in vars(module)}
        )
        setattr(copy.get_submodule(parent), child, identity)
    return copy


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Ultralytics' log to errors."""
    logger = logging.getLogger("ultralytics")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
