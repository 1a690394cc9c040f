"""ELA, efficient local attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.base import Attention, check_int, check_odd, largest_divisor
from scsa_yolo.attention.fast import direct, portable, traced, train
from scsa_yolo.attention.fast.paths import Ways, choose
from scsa_yolo.attention.functional import call_norm


class ELA(Attention):
    r"""Efficient local attention (Xu and Wan 2024, https://arxiv.org/abs/2403.01123).

    The map's means over the width and over the height pass one depthwise 1-D convolution without
    bias and one group normalisation, both shared by the two directions:

    .. math::
        \mathrm{ELA}(X) = X \cdot \sigma\big(\mathrm{GN}_G(F_k(\tfrac1W \textstyle\sum_w X))\big)
        \cdot \sigma\big(\mathrm{GN}_G(F_k(\tfrac1H \textstyle\sum_h X))\big)

    State-dict names: ``conv``, ``gn``. Deliberate difference from the SCSA authors' code: it needs
    a multiple of 16 channels; here G is limited by the width.

    Args:
        channels: Width C, at least 1.
        kernel_size: Odd number of taps k along a profile, at least 1.
        groups: Number of normalisation groups G, at least 1; limited to the largest divisor of C
            that is not above it.
        fast: False computes the plain equations always, as ``use_plain`` does.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    ways = Ways(direct.ela, train=train.ela, traced=traced.ela, portable=portable.ela)

    def __init__(
        self, channels: int, *, kernel_size: int = 7, groups: int = 16, fast: bool = True
    ) -> None:
        super().__init__(channels, fast=fast)
        owner = type(self).__name__
        check_odd("kernel_size", kernel_size, owner=owner)
        check_int("groups", groups, low=1, owner=owner)
        self.conv = nn.Conv1d(
            channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=False
        )
        self.gn = nn.GroupNorm(largest_divisor(channels, groups), channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale the map by its gates along the height and along the width."""
        return choose(self, x)(self, x)

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """The equation, as it is written above."""
        gate_h = call_norm(self.gn, self.conv(x.mean(dim=3))).sigmoid().unsqueeze(3)
        gate_w = call_norm(self.gn, self.conv(x.mean(dim=2))).sigmoid().unsqueeze(2)
        return x * gate_h.to(x.dtype) * gate_w.to(x.dtype)

    def live_width(self) -> int | None:
        """That of the convolution."""
        return getattr(self.conv, "in_channels", None)

    def shown_options(self) -> dict[str, Any]:
        """The kernel size and the number of groups in force."""
        return {"kernel_size": self.conv.kernel_size[0], "groups": self.gn.num_groups}
