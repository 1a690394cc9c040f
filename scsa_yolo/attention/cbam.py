"""CBAM, convolutional block attention module."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.base import Attention, check_int, check_odd
from scsa_yolo.attention.fast import direct, portable
from scsa_yolo.attention.fast.paths import Ways, choose
from scsa_yolo.attention.functional import hidden_width

MIN_HIDDEN = 8  # the reference's floor


class CBAM(Attention):
    r"""Convolutional block attention module (Woo et al., ECCV 2018,
    https://arxiv.org/abs/1807.06521).

    A channel gate from the mean and the maximum of each channel, through one shared bottleneck
    without biases; then a spatial gate from the mean and the maximum over the channels:

    .. math::
        Y = X \cdot \sigma\big(M(\mathrm{avg}_{h,w} X) + M(\max_{h,w} X)\big), \qquad M(z) = W_2\,\mathrm{ReLU}(W_1 z)

    .. math:: \mathrm{CBAM}(X) = Y \cdot \sigma\big(\mathrm{Conv}_{k \times k}([\mathrm{avg}_c Y, \max_c Y])\big)

    State-dict names: ``mlp_chans.0``, ``mlp_chans.2``, ``mlp_spaces``. As in the SCSA authors' code
    the bottleneck is
    never narrower than 8, so the module is the same at every width. Deliberate differences from
    that code: the spatial kernel may have any odd size (theirs pads for 7 alone), and where several
    values share a maximum its gradient is divided evenly among them instead of going to the first.

    Args:
        channels: Width C, at least 1.
        reduction: C divided by the bottleneck's width, at least 1; the width is rounded down, and
            never below 8.
        kernel_size: Odd side of the spatial kernel in pixels of the map, at least 1.
        fast: False computes the plain equations always, as ``use_plain`` does.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    ways = Ways(direct=direct.cbam, portable=portable.cbam)

    def __init__(
        self, channels: int, *, reduction: int = 16, kernel_size: int = 7, fast: bool = True
    ) -> None:
        super().__init__(channels, fast=fast)
        owner = type(self).__name__
        self.reduction = check_int("reduction", reduction, low=1, owner=owner)
        check_odd("kernel_size", kernel_size, owner=owner)
        hidden = hidden_width(channels, reduction, MIN_HIDDEN)
        self.mlp_chans = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1, bias=False),
        )
        self.mlp_spaces = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale the channels, then the positions."""
        return choose(self, x)(self, x)

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """The equations, as they are written above."""
        mean, peak = x.mean(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
        gate = (self.mlp_chans(mean) + self.mlp_chans(peak)).sigmoid()
        y = x * gate.to(x.dtype)
        profile = torch.cat((y.mean(dim=1, keepdim=True), y.amax(dim=1, keepdim=True)), dim=1)
        return y * self.mlp_spaces(profile).sigmoid().to(x.dtype)

    def live_width(self) -> int | None:
        """The bottleneck's."""
        return getattr(self.mlp_chans[0], "in_channels", None)

    def shown_options(self) -> dict[str, Any]:
        """The reduction and the spatial kernel."""
        return {"reduction": self.reduction, "kernel_size": self.mlp_spaces.kernel_size[0]}
