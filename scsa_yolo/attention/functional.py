"""Small pieces that several attention modules share."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch


def hidden_width(channels: int, reduction: int, floor: int = 1) -> int:
    """Return the bottleneck's width, channels / reduction rounded down and at least ``floor``."""
    return max(channels // reduction, floor)


def adaptive_kernel(channels: int) -> int:
    """Return the odd kernel size that the ECA paper derives from a width: (log2(C) + 1) / 2, made
    odd upwards.
    """
    size = int((math.log2(channels) + 1) / 2)
    return size if size % 2 else size + 1


def check_kernel(value: int | str, named: dict[str, int], *, channels: int, owner: str) -> int:
    """Resolve a kernel over the channels: a name of ``named`` or an odd int, limited to taps that
    meet a channel.
    """
    if isinstance(value, str) and value in named:
        size = named[value]
    elif isinstance(value, bool) or not isinstance(value, int) or value < 1 or value % 2 == 0:
        choices = " or ".join(map(repr, named))
        raise ValueError(
            f"{owner}: kernel_size must be an odd int of at least 1 or {choices}, got {value!r}"
        )
    else:
        size = value
    return min(size, 2 * channels - 1)


def plain_sizes(x: torch.Tensor) -> tuple[int, ...]:
    """Return the sizes of ``x`` as ints while it is traced, too: what is made of them holds for
    these sizes alone.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return tuple(int(size) for size in x.shape)


def widen(t: torch.Tensor) -> torch.Tensor:
    """Return ``t`` in at least float32: for sums and products of descriptors, whose range float16
    may not hold.
    """
    return as_type(t, torch.promote_types(t.dtype, torch.float32))


def as_type(t: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return ``t`` in a type; a traced graph gets no operator where it is of that type already."""
    return t if t.dtype == dtype else t.to(dtype)


def saturate(t: torch.Tensor) -> torch.Tensor:
    """Keep float16 values within its finite range; NaN stays NaN, and other types are returned as
    they are.
    """
    return t.clamp(-65504.0, 65504.0) if t.dtype == torch.float16 else t


def call_norm(norm: Any, x: torch.Tensor) -> torch.Tensor:
    """Return ``norm(x)``, also where a group is a single value, which ``nn.GroupNorm`` refuses.

    Such groups are legal here (a 1 x 1 map of one image, as many groups as channels): their result
    is the bias. There the layer is called with the image twice.
    """
    groups = getattr(norm, "num_groups", None)
    if groups is None:
        result: torch.Tensor = norm(x)
        return result
    sizes = plain_sizes(x) if torch.jit.is_tracing() else x.shape
    single = sizes[0] == 1 and math.prod(sizes[1:]) == groups
    with warnings.catch_warnings():
        if torch.jit.is_tracing():  # torch's own check of the size, done once by the example
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
        result = norm(torch.cat((x, x)))[:1] if single else norm(x)
    return result
