"""SA, shuffle attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.base import Attention, check_int, largest_divisor
from scsa_yolo.attention.fast import cpu, direct, portable, traced
from scsa_yolo.attention.fast.paths import Ways, choose
from scsa_yolo.attention.functional import call_norm


class SA(Attention):
    r"""Shuffle attention, SA-Net (Zhang and Yang, ICASSP 2021, https://arxiv.org/abs/2102.00240).

    The channels are cut into G groups, and each group into two halves. One half is gated per
    channel by its mean, the other per position by its normalised values; four vectors of C / 2G
    numbers are shared by all groups:

    .. math:: X'_{k1} = X_{k1} \cdot \sigma(c_w \cdot \mathrm{avg}_{h,w}(X_{k1}) + c_b)

    .. math:: X'_{k2} = X_{k2} \cdot \sigma(s_w \cdot \mathrm{GN}(X_{k2}) + s_b)

    A shuffle then interleaves the first C / 2 channels of the result with the last C / 2. ``s_w``
    and ``s_b`` are
    folded into the affine step of GN: the same numbers with one pass over the map less.

    State-dict names: ``c_w``, ``c_b``, ``s_w``, ``s_b``, ``gn``. ``c_w`` and ``s_w`` start at 0, so
    a fresh module
    scales everything by :math:`\sigma(1)`. Deliberate differences from the SCSA authors' code: it needs a multiple of
    2G channels; here G is limited by the rule below. Three channels a group run there by broadcasting over halves of 2
    and 1; here the halves of a group are always equal.

    Args:
        channels: Width C, at least 2.
        groups: G, at least 1; limited to the largest divisor of C / 2 that is not above it. Of an
            odd width the last channel passes unchanged, and the rule holds for the others.
        fast: False computes the plain equations always, as ``use_plain`` does.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    ways = Ways(direct.sa, cpu=cpu.sa, traced=traced.sa, portable=portable.sa)

    def __init__(self, channels: int, *, groups: int = 64, fast: bool = True) -> None:
        super().__init__(
            check_int("channels", channels, low=2, owner=type(self).__name__), fast=fast
        )
        check_int("groups", groups, low=1, owner=type(self).__name__)
        self.groups = largest_divisor(channels // 2, groups)
        self.width = channels // 2 // self.groups  # channels in each half of a group
        self.c_w = nn.Parameter(torch.zeros(1, self.width, 1, 1))
        self.c_b = nn.Parameter(torch.ones(1, self.width, 1, 1))
        self.s_w = nn.Parameter(torch.zeros(1, self.width, 1, 1))
        self.s_b = nn.Parameter(torch.ones(1, self.width, 1, 1))
        self.gn = nn.GroupNorm(self.width, self.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Gate the halves of each group, then shuffle the channels."""
        return choose(self, x)(self, x)

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """The equations, as they are written above; of an odd width the last channel passes."""
        whole = x.shape[1] // (2 * self.width) * (2 * self.width)
        out = self._plain_even(x[:, :whole])
        return torch.cat((out, x[:, whole:]), dim=1) if self.channels % 2 else out

    def _plain_even(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        halves = x.reshape(batch, -1, 2, self.width, height, width)
        first, second = halves[:, :, 0], halves[:, :, 1]  # (B, G, C / 2G, H, W)
        gate_c = (self.c_w * first.mean(dim=(3, 4), keepdim=True) + self.c_b).sigmoid()
        normal = call_norm(self.gn, second.flatten(0, 1)).reshape(second.shape)
        gate_s = (self.s_w * normal + self.s_b).sigmoid()
        out = torch.stack((first * gate_c.to(x.dtype), second * gate_s.to(x.dtype)), dim=2)
        out = out.reshape(batch, 2, channels // 2, height, width)  # its two halves, interleaved
        return out.transpose(1, 2).flatten(1, 2)

    def takes_width(self, channels: int) -> bool:
        """Whole groups, and the last channel of an odd width."""
        return self.any_width and channels % (2 * self.width) == self.channels % 2

    def shown_options(self) -> dict[str, Any]:
        """The number of groups in force."""
        return {"groups": self.groups}
