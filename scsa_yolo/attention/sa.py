"""SA, shuffle attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.base import Attention, check_int, largest_divisor
from scsa_yolo.attention.functional import recorded
from scsa_yolo.attention.norms import instance_norm


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

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    def __init__(self, channels: int, *, groups: int = 64) -> None:
        super().__init__(check_int("channels", channels, low=2, owner=type(self).__name__))
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
        self.check_input(x)
        if self.channels % 2:
            return torch.cat((self._attend(x[:, :-1]), x[:, -1:]), dim=1)
        return self._attend(x)

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        halves = x.reshape(-1, self.groups, 2, self.width, height, width)
        first, second = halves[:, :, 0], halves[:, :, 1]  # (B, G, C / 2G, H, W)
        gate_c = (self.c_w * first.mean(dim=(3, 4), keepdim=True) + self.c_b).sigmoid()
        gate_s = self._positions(second.flatten(0, 1)).sigmoid().reshape(second.shape)
        gate_c, gate_s = gate_c.to(x.dtype), gate_s.to(x.dtype)
        if self.groups % 2 == 0 and not recorded():  # compiled, too: out= a view is refused there
            return self._shuffled_product((first, second), (gate_c, gate_s))
        out = torch.stack((first * gate_c, second * gate_s), dim=2)
        return (
            out.reshape(-1, 2, self.groups * self.width, height, width)
            .transpose(1, 2)
            .flatten(1, 2)
        )

    def _shuffled_product(
        self, halves: Sequence[torch.Tensor], gates: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Write each half's product to where the shuffle would take it, instead of stacking and
        copying.

        The shuffle turns channels (2, G / 2, half of a group, C / 2G) into (G / 2, half of a group,
        C / 2G, 2).
        """
        batch, groups, width, *size = halves[0].shape
        out = halves[0].new_empty(batch, groups // 2, 2, width, 2, *size)
        for index, (half, gate) in enumerate(zip(halves, gates)):
            place = out[:, :, index].permute(0, 3, 1, 2, 4, 5)
            torch.mul(half.unflatten(1, (2, -1)), gate.unflatten(1, (2, -1)), out=place)
        return out.flatten(1, 4)

    def _positions(self, x: torch.Tensor) -> torch.Tensor:
        """Return s_w * gn(x) + s_b as one normalisation."""
        scale, shift = self.s_w.flatten(), self.s_b.flatten()
        weight, bias = self.gn.weight * scale, self.gn.bias * scale + shift
        return instance_norm(x, self.gn.num_channels, weight, bias, self.gn.eps)

    def shown_options(self) -> dict[str, Any]:
        """The number of groups in force."""
        return {"groups": self.groups}
