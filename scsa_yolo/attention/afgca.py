"""AFGCA, adaptive fine-grained channel attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.base import Attention
from scsa_yolo.attention.fast import direct, portable
from scsa_yolo.attention.fast.paths import Ways, choose
from scsa_yolo.attention.functional import adaptive_kernel, check_kernel, widen


class AFGCA(Attention):
    r"""Adaptive fine-grained channel attention (Sun et al., Neural Networks 2024).

    The channel means z give a local descriptor, by k taps along the channels, and a global one, by
    a full linear map; their correlation matrix, summed over its rows and over its columns, gives
    two gates, and a learned share w mixes them before a last pass of the same taps:

    .. math:: u = \mathrm{Conv1d}_k(z), \quad v = W z + b, \quad M = u\, v^\top

    .. math::
        g = \sigma(w)\, \sigma\big(\textstyle\sum_i M_{ij}\big)
        + (1 - \sigma(w))\, \sigma\big(\textstyle\sum_j M_{ij}\big), \qquad
        \mathrm{AFGCA}(X) = X \cdot \sigma(\mathrm{Conv1d}_k(g))

    M has rank one: its row and column sums are :math:`v \sum_i u_i` and :math:`u \sum_j v_j`, so it is never formed.
    That leaves the numbers as they are, with C products instead of C squared.

    Paper: https://doi.org/10.1016/j.neunet.2024.106314. State-dict names: ``conv1``, ``fc``,
    ``mix.w`` (which starts at -0.8). The sums over the channels are taken in float32 at least: in
    float16 they could overflow.

    Args:
        channels: Width C, at least 1.
        kernel_size: An odd number of taps, at least 1, or ``"adaptive"``, as in the authors' code:
            :math:`(\log_2 C + 1) / 2` made odd upwards. Limited to 2C - 1.
        fast: False computes the plain equations always, as ``use_plain`` does.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    ways = Ways(direct=direct.se, portable=portable.afgca)

    def __init__(
        self, channels: int, *, kernel_size: int | str = "adaptive", fast: bool = True
    ) -> None:
        super().__init__(channels, fast=fast)
        rules = {"adaptive": adaptive_kernel(channels)}
        size = check_kernel(kernel_size, rules, channels=channels, owner=type(self).__name__)
        self.conv1 = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        self.fc = nn.Conv2d(channels, channels, 1)
        self.mix = nn.ParameterDict({"w": nn.Parameter(torch.full((1,), -0.8))})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale each channel by its gate."""
        return choose(self, x)(self, x)

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """The equations, as they are written above."""
        return x * self.gate(x)

    def gate(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, 1, 1)."""
        z = x.mean(dim=(2, 3), keepdim=True)
        u = widen(self.conv1(z.flatten(2).transpose(1, 2)))  # (B, 1, C)
        v = widen(self.fc(z).flatten(2).transpose(1, 2))
        rows = (v * u.sum(dim=2, keepdim=True)).sigmoid()
        columns = (u * v.sum(dim=2, keepdim=True)).sigmoid()
        mixed = columns + (rows - columns) * self.mix["w"].sigmoid()
        gate = self.conv1(mixed.to(x.dtype)).sigmoid()
        return gate.transpose(1, 2)[..., None].to(x.dtype)

    def live_width(self) -> int | None:
        """That of the linear map over the channels."""
        return getattr(self.fc, "in_channels", None)

    def shown_options(self) -> dict[str, Any]:
        """The kernel size in force."""
        return {"kernel_size": self.conv1.kernel_size[0]}
