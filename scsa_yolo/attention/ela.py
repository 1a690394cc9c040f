"""ELA, efficient local attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from scsa_yolo.attention.base import Attention, check_int, check_odd, group_norm, largest_divisor
from scsa_yolo.attention.scaling import scale_positions
from scsa_yolo.attention.smsa import depthwise


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

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    def __init__(self, channels: int, *, kernel_size: int = 7, groups: int = 16) -> None:
        super().__init__(channels)
        owner = type(self).__name__
        check_odd("kernel_size", kernel_size, owner=owner)
        check_int("groups", groups, low=1, owner=owner)
        self.conv = nn.Conv1d(
            channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=False
        )
        self.gn = nn.GroupNorm(largest_divisor(channels, groups), channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale the map by its gates along the height and along the width."""
        self.check_input(x)
        if torch.jit.is_tracing():
            return x * (self._traced_gate(x, 3) * self._traced_gate(x, 2))
        return scale_positions(x, self._gates, self, self.times)

    def _gates(
        self, mean_h: torch.Tensor, mean_w: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn the profiles (B, C, H) and (B, C, W) into gates of the same shapes and type.

        One convolution for both: they are joined to one sequence, with zeros between and around
            them.
        """
        reach, height = self.conv.kernel_size[0] // 2, mean_h.shape[2]
        gap = mean_h.new_zeros(1, 1, 1).expand(*mean_h.shape[:2], reach)
        joined = torch.cat((gap, mean_h, gap, mean_w, gap), dim=2)
        mixed = depthwise(
            joined, self.conv.weight.squeeze(1), self.conv.weight.new_zeros(self.channels)
        )
        gate_h, gate_w = mixed[:, :, :height], mixed[:, :, height + reach :]
        return (
            group_norm(gate_h, self.gn).sigmoid().to(mean_h.dtype),
            group_norm(gate_w, self.gn).sigmoid().to(mean_h.dtype),
        )

    def _traced_gate(self, x: torch.Tensor, mean_over: int) -> torch.Tensor:
        """Return one gate, (B, C, H, 1) or (B, C, 1, W), in the operators that exported graphs run
        best.
        """
        kernel, gn, reach = (
            self.conv.weight.unsqueeze(mean_over),
            self.gn,
            self.conv.kernel_size[0] // 2,
        )
        padding = (reach, 0) if mean_over == 3 else (0, reach)
        profile = F.conv2d(
            x.mean(dim=mean_over, keepdim=True), kernel, padding=padding, groups=self.channels
        )
        profile = torch.group_norm(profile, gn.num_groups, None, None, gn.eps)
        # the norm's affine part as a convolution: one operator instead of two
        profile = F.conv2d(profile, gn.weight.view(-1, 1, 1, 1), gn.bias, groups=self.channels)
        return profile.sigmoid().to(x.dtype)

    def shown_options(self) -> dict[str, Any]:
        """The kernel size and the number of groups in force."""
        return {"kernel_size": self.conv.kernel_size[0], "groups": self.gn.num_groups}
