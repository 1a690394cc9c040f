"""CA, coordinate attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from scsa_yolo.attention.base import Attention, check_int
from scsa_yolo.attention.functional import hidden_width
from scsa_yolo.attention.scaling import scale_positions

MIN_HIDDEN = 8  # the paper's floor


class CA(Attention):
    r"""Coordinate attention (Hou et al., CVPR 2021, https://arxiv.org/abs/2103.02907).

    The map's means over the width and over the height, joined into one sequence of H + W positions,
    pass a shared 1 x 1 convolution to m channels, batch normalisation and h-swish; each part then
    gives the gate along its direction:

    .. math:: [f^h, f^w] = \delta(\mathrm{BN}(F_1([\tfrac1W \textstyle\sum_w X, \tfrac1H \sum_h X])))

    .. math:: \mathrm{CA}(X) = X \cdot \sigma(F_h(f^h)) \cdot \sigma(F_w(f^w))

    State-dict names: ``conv.conv``, ``conv.bn``, ``attn_h``, ``attn_w``. The bottleneck is never
    narrower than 8, as in the paper and in the SCSA authors' code, so the module is the same at
    every width. The batch statistics are taken over B (H + W) positions, at least two: training
    works on one image with a 1 x 1 map.

    Args:
        channels: Width C, at least 1.
        reduction: C / m, at least 1; m is rounded down, and never below 8.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    def __init__(self, channels: int, *, reduction: int = 32) -> None:
        super().__init__(channels)
        self.reduction = check_int("reduction", reduction, low=1, owner=type(self).__name__)
        hidden = hidden_width(channels, reduction, MIN_HIDDEN)
        self.conv = nn.ModuleDict(
            {"conv": nn.Conv2d(channels, hidden, 1, bias=False), "bn": nn.BatchNorm2d(hidden)}
        )
        self.attn_h = nn.Conv2d(hidden, channels, 1)
        self.attn_w = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale the map by its gates along the height and along the width."""
        self.check_input(x)
        if torch.jit.is_tracing() and not self.training:
            # Apart the directions need no size of the map: a graph of symbolic sizes computes none.
            gate_h = self.attn_h(self._bottleneck(x.mean(dim=3, keepdim=True))).sigmoid()
            gate_w = self.attn_w(self._bottleneck(x.mean(dim=2, keepdim=True))).sigmoid()
            return x * (gate_h * gate_w).to(x.dtype)
        return scale_positions(x, self._gates, self, self.times)

    def _gates(
        self, mean_h: torch.Tensor, mean_w: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn the profiles (B, C, H) and (B, C, W) into gates of the same shapes and type."""
        height = mean_h.shape[2]
        y = self._bottleneck(torch.cat((mean_h, mean_w), dim=2)[..., None])  # (B, m, H + W, 1)
        gate_h, gate_w = (
            self.attn_h(y[:, :, :height]).sigmoid(),
            self.attn_w(y[:, :, height:]).sigmoid(),
        )
        return gate_h.squeeze(3).to(mean_h.dtype), gate_w.squeeze(3).to(mean_h.dtype)

    def _bottleneck(self, profiles: torch.Tensor) -> torch.Tensor:
        return F.hardswish(self.conv["bn"](self.conv["conv"](profiles)))

    def shown_options(self) -> dict[str, Any]:
        """The reduction."""
        return {"reduction": self.reduction}
