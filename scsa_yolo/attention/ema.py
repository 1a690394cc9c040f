"""EMA, efficient multi-scale attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.base import Attention, check_int, largest_divisor
from scsa_yolo.attention.fast import direct, portable, traced, train
from scsa_yolo.attention.fast.paths import Ways, choose
from scsa_yolo.attention.functional import call_norm


class EMA(Attention):
    r"""Efficient multi-scale attention with cross-spatial learning (Ouyang et al., ICASSP 2023).

    The channels are cut into G = factor groups of n = C / G, which share all parameters. In each
    group X a branch of 1 x 1 convolutions gates the map along both directions and normalises each
    channel, and a 3 x 3 convolution looks at the neighbourhood; each branch's mean, as a softmax
    over its channels, weighs the map of the other:

    .. math::
        U = \mathrm{GN}\big(X \cdot \sigma(F_1(\tfrac1W \textstyle\sum_w X)) \cdot \sigma(F_1(\tfrac1H \sum_h X))\big),
        \qquad V = F_3(X)

    .. math:: \mathrm{EMA}(X) = X \cdot \sigma\big(\mathrm{sm}(\bar U)^\top V + \mathrm{sm}(\bar V)^\top U\big)

    GN has one group a channel, so the mean of its output is its bias exactly: :math:`\mathrm{sm}(\bar U)` is read from
    there instead of from the map. In groups of one channel both softmaxes are 1, and :math:`F_3` is
    a depthwise convolution. Both leave the numbers as they are.

    Paper: https://arxiv.org/abs/2305.13563. State-dict names: ``gn``, ``conv1x1``, ``conv3x3``.
        Deliberate difference
    from the reference code: it needs a multiple of ``factor`` channels; here the factor is limited
        by the width.

    Args:
        channels: Width C, at least 1.
        factor: Number of groups G, at least 1; limited to the largest divisor of C that is not
            above it (16 at 16 channels, where each group has one channel; choose 4 or 8 to let
            channels meet in narrow layers).
        fast: False computes the plain equations always, as ``use_plain`` does.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    ways = Ways(direct.ema, train=train.ema, traced=traced.ema, portable=portable.ema)

    def __init__(self, channels: int, *, factor: int = 32, fast: bool = True) -> None:
        super().__init__(channels, fast=fast)
        self.factor = largest_divisor(
            channels, check_int("factor", factor, low=1, owner=type(self).__name__)
        )
        width = channels // self.factor
        self.gn = nn.GroupNorm(width, width)
        self.conv1x1 = nn.Conv2d(width, width, 1)
        self.conv3x3 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale each position of each group by its gate."""
        return choose(self, x)(self, x)

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """The equations, as they are written above."""
        height, width = x.shape[2:]
        n = getattr(self.gn, "num_channels", self.channels // self.factor)
        groups = x.reshape(-1, n, height, width)  # (B G, n, H, W)
        u = call_norm(self.gn, self.plain_positions(groups))
        v = self.conv3x3(groups)
        weights_u, weights_v = (t.mean(dim=(2, 3)).softmax(dim=1)[:, None] for t in (u, v))
        gate = weights_u.to(v.dtype) @ v.flatten(2) + weights_v.to(u.dtype) @ u.flatten(2)
        gate = gate.sigmoid().to(x.dtype).reshape(-1, 1, height, width)
        return (groups * gate).reshape(x.shape)

    def plain_positions(self, x: torch.Tensor) -> torch.Tensor:
        """Gate each group of a map along the height and along the width."""
        height, width = x.shape[2:]
        n = getattr(self.conv1x1, "in_channels", self.channels // self.factor)
        groups = x.reshape(-1, n, height, width)
        profiles = torch.cat((groups.mean(dim=3), groups.mean(dim=2)), dim=2)
        gates = self.conv1x1(profiles.unsqueeze(3)).sigmoid().to(x.dtype)
        gated = groups * gates[:, :, :height] * gates[:, :, height:].transpose(2, 3)
        return gated.reshape(x.shape)

    def takes_width(self, channels: int) -> bool:
        """Whole groups."""
        return self.any_width and channels % self.gn.num_channels == 0

    def shown_options(self) -> dict[str, Any]:
        """The number of groups in force."""
        return {"factor": self.factor}
