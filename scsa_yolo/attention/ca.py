"""CA, coordinate attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from scsa_yolo.attention.base import Attention, check_int
from scsa_yolo.attention.fast import direct, portable, traced, train
from scsa_yolo.attention.fast.paths import Ways, choose
from scsa_yolo.attention.functional import hidden_width

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
        fast: False computes the plain equations always, as ``use_plain`` does.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    ways = Ways(
        direct.ca, train=train.ca, traced=traced.ca, exports=traced.evaluates, portable=portable.ca
    )

    def __init__(self, channels: int, *, reduction: int = 32, fast: bool = True) -> None:
        super().__init__(channels, fast=fast)
        self.reduction = check_int("reduction", reduction, low=1, owner=type(self).__name__)
        hidden = hidden_width(channels, reduction, MIN_HIDDEN)
        self.conv = nn.ModuleDict(
            {"conv": nn.Conv2d(channels, hidden, 1, bias=False), "bn": nn.BatchNorm2d(hidden)}
        )
        self.attn_h = nn.Conv2d(hidden, channels, 1)
        self.attn_w = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale the map by its gates along the height and along the width."""
        return choose(self, x)(self, x)

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """The equations, as they are written above."""
        height = x.shape[2]
        profiles = torch.cat((x.mean(dim=3), x.mean(dim=2)), dim=2)
        y = self.bottleneck(profiles.unsqueeze(3))  # (B, m, H + W, 1)
        gate_h = self.attn_h(y[:, :, :height]).sigmoid()
        gate_w = self.attn_w(y[:, :, height:]).sigmoid().transpose(2, 3)
        return x * gate_h.to(x.dtype) * gate_w.to(x.dtype)

    def bottleneck(self, profiles: torch.Tensor) -> torch.Tensor:
        """(B, C, L, 1) to (B, m, L, 1)."""
        return F.hardswish(self.conv["bn"](self.conv["conv"](profiles)))

    def live_width(self) -> int | None:
        """The bottleneck's."""
        return getattr(self.conv["conv"], "in_channels", None)

    def shown_options(self) -> dict[str, Any]:
        """The reduction."""
        return {"reduction": self.reduction}
