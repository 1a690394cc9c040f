"""SE, squeeze and excitation."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.base import Attention, check_int
from scsa_yolo.attention.fast import direct, portable
from scsa_yolo.attention.fast.paths import Ways, choose
from scsa_yolo.attention.functional import hidden_width


class SE(Attention):
    r"""Squeeze-and-excitation (Hu et al., CVPR 2018, https://arxiv.org/abs/1709.01507).

    The mean of each channel passes a two-layer bottleneck without biases, and its result gates the
    channels:

    .. math:: \mathrm{SE}(X) = X \cdot \sigma(W_2\, \mathrm{ReLU}(W_1 z)), \qquad z = \tfrac{1}{HW} \sum_{h,w} X

    with :math:`W_1 \in \mathbb{R}^{m \times C}`, :math:`W_2 \in \mathbb{R}^{C \times m}`, m = C / reduction.

    State-dict names: ``fc.0``, ``fc.2``. Deliberate difference from the SCSA authors' code: below
    ``reduction`` channels m is 1 instead of 0, where that code's gate is a constant 1/2.

    Args:
        channels: Width C, at least 1.
        reduction: C / m, at least 1. m is rounded down, and never below 1.
        fast: False computes the plain equations always, as ``use_plain`` does.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    ways = Ways(direct=direct.se, portable=portable.se)

    def __init__(self, channels: int, *, reduction: int = 16, fast: bool = True) -> None:
        super().__init__(channels, fast=fast)
        self.reduction = check_int("reduction", reduction, low=1, owner=type(self).__name__)
        hidden = hidden_width(channels, reduction)
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale each channel by its gate."""
        return choose(self, x)(self, x)

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """The equation, as it is written above."""
        return x * self.gate(x)

    def gate(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C, 1, 1)."""
        gate: torch.Tensor = self.fc(x.mean(dim=(2, 3)))
        return gate[:, :, None, None].to(x.dtype)

    def live_width(self) -> int | None:
        """The bottleneck's."""
        return getattr(self.fc[0], "in_features", None)

    def shown_options(self) -> dict[str, Any]:
        """The reduction."""
        return {"reduction": self.reduction}
