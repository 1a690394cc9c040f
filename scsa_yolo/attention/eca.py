"""ECA, efficient channel attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.base import Attention
from scsa_yolo.attention.fast import direct, portable
from scsa_yolo.attention.fast.paths import Ways, choose
from scsa_yolo.attention.functional import adaptive_kernel, check_kernel


class ECA(Attention):
    r"""Efficient channel attention (Wang et al., CVPR 2020, https://arxiv.org/abs/1910.03151).

    Channel means pass one 1-D convolution of k taps along the channels, without bias, in place of
    SE's bottleneck:

    .. math:: \mathrm{ECA}(X) = X \cdot \sigma(\mathrm{Conv1d}_k(z)), \qquad z = \tfrac{1}{HW} \sum_{h,w} X

    State-dict name: ``conv``.

    Args:
        channels: Width C, at least 1.
        kernel_size: An odd number of taps, at least 1, or the name of a rule. ``"scsa"``: as in the
            SCSA authors' comparison, 1 below 96 channels and 3 from there. ``"adaptive"``: the ECA
            paper's own, :math:`(\log_2 C + 1) / 2` made odd upwards (3 at 16 to 64 channels, 5 at
            128 to 512). The default reproduces the compared numbers; note that one tap mixes no
            channels. More than 2C - 1 taps would reach past both ends from every channel, so k is
            limited to that.
        fast: False computes the plain equations always, as ``use_plain`` does.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    ways = Ways(direct=direct.se, portable=portable.eca)

    def __init__(
        self, channels: int, *, kernel_size: int | str = "scsa", fast: bool = True
    ) -> None:
        super().__init__(channels, fast=fast)
        rules = {"scsa": 1 if channels < 96 else 3, "adaptive": adaptive_kernel(channels)}
        size = check_kernel(kernel_size, rules, channels=channels, owner=type(self).__name__)
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale each channel by its gate."""
        return choose(self, x)(self, x)

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """The equation, as it is written above."""
        return x * self.gate(x)

    def gate(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, 1, 1)."""
        gate = self.conv(x.mean(dim=(2, 3))[:, None]).sigmoid()  # (B, 1, C)
        gate = gate.transpose(1, 2)[..., None]
        return gate.to(x.dtype)

    def shown_options(self) -> dict[str, Any]:
        """The kernel size in force."""
        return {"kernel_size": self.conv.kernel_size[0]}
