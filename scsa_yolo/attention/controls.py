"""Controls for comparisons: what a slot, or parameters alone, do without any attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.base import Attention
from scsa_yolo.attention.functional import as_type
from scsa_yolo.attention.registry import create_attention


class Identity(Attention):
    """The slot alone: returns its input. What changes against the stock model is then not the
    attention's doing.

    Args:
        channels: Width C, at least 1. Nothing depends on it; it keeps the vocabulary of the others.
        fast: Makes no difference here.

    Shape: (B, C, H, W) to (B, C, H, W).

    Raises:
        ValueError: ``channels`` is not an int of at least 1, or the input is not 4-D.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x`` itself."""
        self.check_input(x)
        return x

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x`` itself."""
        return x

    def takes_width(self, channels: int) -> bool:
        """Any: nothing depends on it."""
        return True


class Conv1x1(Attention):
    r"""Capacity control: a grouped 1 x 1 convolution with about as many parameters as an attention
    module.

    A module that beats ``Identity`` may do so by its parameters alone. This one spends the same
    number on a linear map at each position, with no view of other positions and no gate:

    .. math:: Y_c = \sum_{c' \in \text{block}(c)} W_{c c'} X_{c'}

    Blocks of n channels cost n parameters a channel; n is the divisor of C nearest to the other
    module's parameters a channel (the smaller of two equally near). For SCSA, 16 a channel, the
    counts are equal at every multiple of 16.
    W starts as the identity: a model with this control starts as the model with ``Identity``.

    Args:
        channels: Width C, at least 1.
        match: The registered name of the attention to match, at its default options.
        fast: Makes no difference here.

    Shape: (B, C, H, W) to (B, C, H, W).

    Raises:
        ValueError: An argument is of the wrong type or range, ``match`` is a control, or the input
            is not 4-D.
    """

    def __init__(self, channels: int, *, match: str = "SCSA", fast: bool = True) -> None:
        super().__init__(channels, fast=fast)
        if match in CONTROLS:
            raise ValueError(
                f"Conv1x1: match must name an attention module such as 'SCSA', got {match!r}"
            )
        self.match = match
        with torch.device("meta"):  # counts without drawing from the random generator
            asked = (
                sum(p.numel() for p in create_attention(match, channels).parameters()) / channels
            )
        divisors = [d for d in range(1, channels + 1) if channels % d == 0]
        width = min(divisors, key=lambda d: (abs(d - asked), d))
        self.conv = nn.Conv2d(channels, channels, 1, groups=channels // width, bias=False)
        nn.init.dirac_(self.conv.weight, groups=self.conv.groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix the channels of each block at each position."""
        self.check_input(x)
        return self.plain(x)

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """One convolution."""
        out: torch.Tensor = self.conv(x)
        return as_type(out, x.dtype)

    def live_width(self) -> int | None:
        """That of the convolution."""
        return getattr(self.conv, "in_channels", None)

    def shown_options(self) -> dict[str, Any]:
        """What is matched, and the number of blocks."""
        return {"match": self.match, "groups": self.conv.groups}


CONTROLS = (Identity.__name__, Conv1x1.__name__)
