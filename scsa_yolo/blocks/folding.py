"""Attention made ready for inference, as fused batch norms are, and for graphs of one size."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn

from scsa_yolo.attention.base import Attention
from scsa_yolo.attention.fast.folded import watch_unit
from scsa_yolo.blocks.slot import slotted

Module = TypeVar("Module", bound=nn.Module)


def fold(module: Module) -> Module:
    """Prepare the attention modules in ``module`` for inference, in place; the numbers stay the
    same.

    What depends on weights alone is computed once, and anew when the weights have changed. In the
    slot of a residual unit the map is fresh from the layer before and nothing else reads it, so the
    attention writes its result there instead of into new memory, as long as no hook on it, on the
    unit or on a layer of the unit may have kept that map. While gradients are recorded the live
    weights are used. ``train()`` and loading a state dict undo it. Ultralytics' ``fuse()`` calls
    this, and so do its predict, val and export; for any other model call it after ``eval()``.

    Returns:
        ``module``.
    """
    # not what a blend in a slot holds: it still needs the map
    units: dict[Any, nn.Module] = {unit.attn: unit for _, unit in slotted(module)}
    for child in module.modules():
        if isinstance(child, Attention):
            child.fold(overwrite=child in units)
            if child.overwrites:
                watch_unit(child, units[child])
    return module


def fix_size(module: Module, runtime: str | None = "onnx") -> Module:
    """Let graphs that are traced from ``module`` hold for the size of their example alone, in
    place.

    Known sizes let the attention choose operators that the runtime is faster at. Where the graph is
    to take other sizes, leave this out. Ultralytics' ``export`` does it unless it is told
    ``dynamic=True``; do it after :func:`fold` before a ``torch.onnx.export`` of your own. It
    changes neither the numbers nor anything that is not traced.

    Args:
        module: A model, or a part of one.
        runtime: Ultralytics' name of the format, such as ``"onnx"`` or ``"openvino"``; those that
            nothing is known of get the graph that holds for any size. None takes it back.

    Returns:
        ``module``.
    """
    for child in module.modules():
        if isinstance(child, Attention):
            child.runtime = runtime
    return module


def use_portable(module: Module, portable: bool = True) -> Module:
    """Let graphs that are traced from ``module`` be of 4-D convolutions and plain arithmetic, in
    place.

    For accelerators and their compilers, which often refuse, or compute elsewhere, norms as one
    operator, 1-D convolutions and maps of other than four dimensions. The numbers are the same up
    to rounding; a CPU is slower at such a graph. It holds for the size and batch of its example
    alone. ``scsa-yolo export --graph portable`` does this; do it before Ultralytics' ``export`` or
    a ``torch.onnx.export`` of your own. Nothing changes that is not traced.

    Args:
        module: A model, or a part of one.
        portable: False takes it back.

    Returns:
        ``module``.

    Raises:
        ValueError: There is no attention module of this package in ``module``.
    """
    found = [child for child in module.modules() if isinstance(child, Attention)]
    if not found:
        raise ValueError(
            f"{type(module).__name__} holds no attention module of scsa_yolo: its graph is stock's,"
            " which this does not change. Leave use_portable, or --graph portable, out"
        )
    for child in found:
        child.portable = portable
    return module
