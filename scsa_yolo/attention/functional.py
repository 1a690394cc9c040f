"""Small pieces that several attention modules share."""

from __future__ import annotations

import math
import warnings

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


def traced() -> bool:
    """Tell whether a graph is being made of what runs: traced, or compiled."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


def recorded() -> bool:
    """Tell whether autograd records or a graph is being made: then nothing may be overwritten."""
    return torch.is_grad_enabled() or traced()


def runs_plainly_on_cpu(t: torch.Tensor) -> bool:
    """Tell whether ``t`` is float32 on a CPU and nothing records, traces or compiles.

    There the first call of each kind of operator between two convolutions costs tens of
    microseconds, its code having
    left the caches: few kinds, and simple ones, count for more than few calls.
    """
    return t.device.type == "cpu" and t.dtype == torch.float32 and not recorded()


def plain_sizes(x: torch.Tensor) -> tuple[int, ...]:
    """Return the sizes of ``x`` as ints while it is traced, too: what is made of them holds for
    these sizes alone.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return tuple(int(size) for size in x.shape)


def average(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Return the mean of ``x`` over one dimension."""
    if runs_plainly_on_cpu(x):  # the division of a mean is a kind of operator of its own
        return x.sum(dim=dim).mul_(1 / x.shape[dim])
    return x.mean(dim=dim)


def widen(t: torch.Tensor) -> torch.Tensor:
    """Return ``t`` in at least float32: for sums and products of descriptors, whose range float16
    may not hold.
    """
    return t.to(torch.promote_types(t.dtype, torch.float32))


def saturate(t: torch.Tensor) -> torch.Tensor:
    """Keep float16 values within its finite range; NaN stays NaN, and other types are returned as
    they are.
    """
    return t.clamp(-65504.0, 65504.0) if t.dtype == torch.float16 else t
