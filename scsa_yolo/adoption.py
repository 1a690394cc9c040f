"""Take over SCSA modules of other code bases: the same weights, and the options that they need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from scsa_yolo.attention import SCSA
from scsa_yolo.blocks.foreign import foreign_options, is_foreign
from scsa_yolo.support.text import counted

_TOLERANCE = 1e-4  # of the largest output; float32 rounding stays far below


def adopt(
    source: nn.Module | Mapping[str, torch.Tensor], *, heads: int | None = None, **options: Any
) -> nn.Module:
    """Return our SCSA with the weights of another code base's, computing the same.

    Tensors of the authors' code and its copies fit ours by name and shape, whatever the options
    were; public copies have 8 or 4 heads by default, ours has 1. So weights that are simply loaded
    may compute something else, without an error. Here heads, window, kernels, pooling, gate and
    bias are read from the module, and both are run on one map to see that they agree.

    Args:
        source: An SCSA of another code base; or any model that holds some, which are exchanged in
            place; or the state dict of a single SCSA, which does not say how many heads it had.
        heads: Of a state dict: the number of heads that it was trained with.
        options: Of a state dict: the other options that differ from ours.

    Returns:
        The new SCSA, or ``source`` with its SCSAs exchanged.

    Raises:
        ValueError: Nothing to adopt, a module whose numbers ours does not give, or a state dict
            without ``heads``.

    Example:
        >>> from scsa_yolo.attention import SCSA
        >>> adopt(SCSA(32, heads=4).state_dict(), heads=4).heads
        4
    """
    if isinstance(source, Mapping):
        return _from_tensors(source, heads, options)
    if heads is not None or options:
        raise ValueError(
            "heads and other options are read from the module; give them for a state dict alone"
        )
    if is_foreign(source):
        return _from_module(source)
    found = [name for name, module in source.named_modules() if is_foreign(module)]
    if not found:
        raise ValueError(
            f"{type(source).__name__} holds no SCSA of another code base: a module with the"
            " children local_dwc, global_dwc_s, norm_h, q, k, v and the attribute head_num"
        )
    ready = {name: _from_module(source.get_submodule(name)) for name in found}
    for name, module in ready.items():
        parent, _, child = name.rpartition(".")
        setattr(source.get_submodule(parent), child, module)
    return source


def _from_tensors(
    tensors: Mapping[str, torch.Tensor], heads: int | None, options: Mapping[str, Any]
) -> SCSA:
    width = tensors.get("norm.weight")
    if width is None:
        raise ValueError(
            "this is no state dict of a single SCSA: it has no 'norm.weight'. For a model that"
            " holds SCSA, build the model with its own code and call adopt(model); found"
            f" {counted(len(tensors), 'tensor')}"
        )
    if heads is None:
        raise ValueError(
            "a state dict does not hold the number of heads. Look it up in the code that trained"
            " it (head_num; public copies have 8 or 4 by default) and type adopt(tensors, heads=8)"
        )
    module = SCSA(len(width), heads=heads, **options)
    if module.heads != heads:
        raise ValueError(f"{len(width)} channels can't be split into {heads} heads")
    module.load_state_dict(tensors)
    return module


def _from_module(foreign: nn.Module) -> SCSA:
    like: Any = foreign.norm.weight
    module = SCSA(len(like), **foreign_options(foreign))
    module.load_state_dict(foreign.state_dict())
    module.to(device=like.device, dtype=like.dtype)
    _compare(foreign, module, like)
    module.train(foreign.training)
    return module


def _compare(foreign: nn.Module, module: SCSA, like: torch.Tensor) -> None:
    """Run both on one map of a size that every window divides, and refuse other numbers."""
    training = foreign.training
    x = torch.linspace(-2, 2, len(like) * 28 * 28, device=like.device, dtype=like.dtype)
    x = x.sin().view(1, len(like), 28, 28)
    try:
        with torch.no_grad():
            theirs, ours = foreign.eval()(x.clone()), module.eval()(x.clone())
    finally:
        foreign.train(training)
    apart = float((theirs - ours).abs().max() / theirs.abs().max().clamp(min=1e-12))
    if not apart <= _TOLERANCE:
        raise ValueError(
            f"{type(foreign).__module__}.{type(foreign).__name__} does not compute what its options"
            f" say: its outputs differ from ours by {apart:.2g} of the largest. Its forward was"
            " changed, so it can't be adopted"
        )
