"""A start from stock weights: attention that is blended in from nothing."""

from __future__ import annotations

import torch
from torch import nn

STARTS = ("paper", "identity")  # the choices of `start` in rows, grafts and injections


class IdentityStart(nn.Module):
    """Blend an attention module in by a learned weight per channel that starts at 0: ``x + blend *
    (attn(x) - x)``.

    A fresh SCSA passes about 0.14 of its input (three sigmoid gates near one half), which wrecks
    features that were trained without it. With this blend a transferred model gives the stock
    outputs exactly before its first step. The attention's own weights get a gradient from the
    second step on, once ``blend`` has left 0. Not in the paper.

    Args:
        attention: The module to blend in; maps (B, C, H, W) to the same shape.
        channels: Its width C.

    Shape: (B, C, H, W) to (B, C, H, W).

    Raises:
        ValueError: A map of another width.
    """

    def __init__(self, attention: nn.Module, channels: int) -> None:
        super().__init__()
        self.attention = attention
        self.blend = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x`` moved towards ``attention(x)`` by ``blend``."""
        change = self.attention(x) - x  # first: the attention says what it takes
        if not torch.jit.is_tracing() and x.shape[1] != self.blend.numel():
            raise ValueError(
                f"IdentityStart was built for {self.blend.numel()} channels, got a map of"
                f" {x.shape[1]}: {tuple(x.shape)}. Build it, and the attention in it, with"
                f" {x.shape[1]} channels."
            )
        return x + self.blend.view(1, -1, 1, 1).to(x.dtype) * change


torch.serialization.add_safe_globals([IdentityStart])
