"""CPCA, channel prior convolutional attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from scsa_yolo.attention.base import Attention, check_int
from scsa_yolo.attention.fast import direct, portable, traced
from scsa_yolo.attention.fast.paths import Ways, choose
from scsa_yolo.attention.functional import hidden_width, saturate


class CPCA(Attention):
    r"""Channel prior convolutional attention (Huang et al. 2024, https://arxiv.org/abs/2306.05196).

    A channel gate from mean and maximum, then a spatial map of its own for every channel, from
    depthwise strips of 7,
    11 and 21 pixels on a depthwise 5 x 5; one 1 x 1 convolution :math:`P` is used three times:

    .. math::
        Y = \mathrm{GELU}(P X), \quad
        Z = Y \cdot \big(\sigma(M(\mathrm{avg}_{h,w} Y)) + \sigma(M(\max_{h,w} Y))\big)

    .. math::
        D = D_{5 \times 5} Z, \quad S = D + \textstyle\sum_{k \in \{7, 11, 21\}} D_{k \times 1} D_{1 \times k} D,
        \quad \mathrm{CPCA}(X) = P(Z \cdot P S)

    with :math:`M(z) = W_2\,\mathrm{ReLU}(W_1 z + b_1) + b_2` of C / reduction hidden channels. Unlike the other modules
    this is no gate on X: its output is a product of features, which grows with the square of the
    input. In float16 values beyond that type's range stay at its end instead of becoming infinite,
    which batch normalisation further on would never forget; other types are left alone.

    State-dict names: ``ca.fc1``, ``ca.fc2``, ``dwc5_5``, ``dwc1_7`` to ``dwc21_1``, ``conv``.
    Deliberate differences from the SCSA authors' code: below ``reduction`` channels the hidden
    width is 1 instead of 0, and where several values share a maximum its gradient is divided evenly
    among them.

    Args:
        channels: Width C, at least 1.
        reduction: C divided by the hidden width of the channel gate, at least 1; that width is
            rounded down, and never below 1.
        fast: False computes the plain equations always, as ``use_plain`` does.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    ways = Ways(direct.cpca, traced=traced.cpca, portable=portable.cpca)

    def __init__(self, channels: int, *, reduction: int = 16, fast: bool = True) -> None:
        super().__init__(channels, fast=fast)
        self.reduction = check_int("reduction", reduction, low=1, owner=type(self).__name__)
        hidden = hidden_width(channels, reduction)
        self.ca = nn.ModuleDict(
            {"fc1": nn.Conv2d(channels, hidden, 1), "fc2": nn.Conv2d(hidden, channels, 1)}
        )
        self.dwc5_5 = _depthwise(channels, 5, 5)
        self.dwc1_7, self.dwc7_1 = _depthwise(channels, 1, 7), _depthwise(channels, 7, 1)
        self.dwc1_11, self.dwc11_1 = _depthwise(channels, 1, 11), _depthwise(channels, 11, 1)
        self.dwc1_21, self.dwc21_1 = _depthwise(channels, 1, 21), _depthwise(channels, 21, 1)
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh the channels, then every position of every channel."""
        return choose(self, x)(self, x)

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """The equations, as they are written above."""
        y = F.gelu(self.conv(x))
        z = y * self.channel_gate(y).to(y.dtype)
        return self.weigh(z).to(x.dtype)

    def weigh(self, z: torch.Tensor) -> torch.Tensor:
        """Weigh every position of every channel of ``z``."""
        d = self.dwc5_5(z)
        strips = self.dwc7_1(self.dwc1_7(d)) + self.dwc11_1(self.dwc1_11(d))
        strips = strips + self.dwc21_1(self.dwc1_21(d))
        spatial = saturate(self.conv(d + strips))
        return saturate(self.conv(saturate(z * spatial)))

    def channel_gate(self, y: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, 1, 1), from 0 to 2."""
        mean, peak = y.mean(dim=(2, 3), keepdim=True), y.amax(dim=(2, 3), keepdim=True)
        return self._bottleneck(mean).sigmoid() + self._bottleneck(peak).sigmoid()

    def _bottleneck(self, z: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.ca["fc2"](F.relu(self.ca["fc1"](z)))
        return out

    def live_width(self) -> int | None:
        """That of the 1 x 1 convolution."""
        return getattr(self.conv, "in_channels", None)

    def shown_options(self) -> dict[str, Any]:
        """The reduction."""
        return {"reduction": self.reduction}


def _depthwise(channels: int, height: int, width: int) -> nn.Conv2d:
    """Return a depthwise convolution that keeps the map's size."""
    padding = (height // 2, width // 2)
    return nn.Conv2d(channels, channels, (height, width), padding=padding, groups=channels)
