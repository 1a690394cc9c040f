"""EMA, efficient multi-scale attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from scsa_yolo.attention.base import Attention, check_int, largest_divisor
from scsa_yolo.attention.gating import scale
from scsa_yolo.attention.norms import instance_norm
from scsa_yolo.attention.scaling import scale_positions


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

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    def __init__(self, channels: int, *, factor: int = 32) -> None:
        super().__init__(channels)
        self.factor = largest_divisor(
            channels, check_int("factor", factor, low=1, owner=type(self).__name__)
        )
        width = channels // self.factor
        self.gn = nn.GroupNorm(width, width)
        self.conv1x1 = nn.Conv2d(width, width, 1)
        self.conv3x3 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale each position of each group by its gate."""
        self.check_input(x)
        if self.factor == self.channels:
            return self._single(x)
        height, width = x.shape[2:]
        groups = x.reshape(-1, self.channels // self.factor, height, width)  # (B G, n, H, W)
        u = instance_norm(
            self._gate_positions(groups),
            self.gn.num_channels,
            self.gn.weight,
            self.gn.bias,
            self.gn.eps,
        )
        v = self.conv3x3(groups)
        weights_v = self.gn.bias.softmax(dim=0)[None]  # (1, n): the mean of u is gn's bias
        weights_u = v.mean(dim=(2, 3)).softmax(dim=1)[:, None]  # (B G, 1, n)
        gate = weights_v.to(v.dtype) @ v.flatten(2) + weights_u.to(u.dtype) @ u.flatten(
            2
        )  # (B G, 1, H W)
        return (groups * gate.sigmoid().to(x.dtype).reshape(-1, 1, height, width)).reshape(x.shape)

    def _single(self, x: torch.Tensor) -> torch.Tensor:
        """Groups of one channel: both softmaxes are 1, and the 3 x 3 convolution of all groups is a
        depthwise one.
        """
        shared = (self.gn.weight, self.gn.bias, self.conv3x3.weight, self.conv3x3.bias)
        weight, bias, kernel, shift = (
            p.repeat(self.channels, *[1] * (p.dim() - 1)) for p in shared
        )
        u = instance_norm(self._gate_positions(x), self.channels, weight, bias, self.gn.eps)
        gate = u + F.conv2d(x, kernel, shift, padding=1, groups=self.channels)
        return scale(gate.sigmoid().to(x.dtype), x)

    def _gate_positions(self, groups: torch.Tensor) -> torch.Tensor:
        if torch.jit.is_tracing():
            gate_h = self._gate(groups.mean(dim=3, keepdim=True))
            gate_w = self._gate(groups.mean(dim=2, keepdim=True))
            return groups * (gate_h * gate_w)
        return scale_positions(groups, self._gates, self.conv1x1)

    def _gates(
        self, mean_h: torch.Tensor, mean_w: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        joined = self._gate(torch.cat((mean_h, mean_w), dim=2)[..., None]).squeeze(3)
        return joined[:, :, : mean_h.shape[2]], joined[:, :, mean_h.shape[2] :]

    def _gate(self, profile: torch.Tensor) -> torch.Tensor:
        """Turn a profile of four dimensions into a gate of the same shape and type."""
        conv = self.conv1x1
        single = conv.in_channels == 1
        mixed = profile * conv.weight.view(()) + conv.bias if single else conv(profile)
        return mixed.sigmoid().to(profile.dtype)

    def shown_options(self) -> dict[str, Any]:
        """The number of groups in force."""
        return {"factor": self.factor}
