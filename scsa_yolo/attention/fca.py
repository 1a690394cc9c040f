"""FCA, frequency channel attention."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.base import Attention, check_choice, check_int, largest_divisor
from scsa_yolo.attention.fast import cpu, direct, portable
from scsa_yolo.attention.fast.paths import Ways, choose
from scsa_yolo.attention.functional import hidden_width
from scsa_yolo.attention.pooling import pool_adaptively

# FcaNet's rankings of the 7 x 7 grid's frequencies, best first: vertical, then horizontal index of
# each.
RANKINGS = {
    "top": (
        "00 01 60 05 02 10 12 40 50 16 30 04 06 03 35 22 46 63 33 53 55 21 61 52 54 32 31 41 23 20"
        " 65 13"
    ),
    "low": (
        "00 01 10 11 02 20 21 12 22 03 30 40 04 13 31 05 14 23 32 41 50 06 15 24 33 42 51 60 16 25"
        " 34 43"
    ),
    "bot": (
        "66 14 34 36 26 43 11 24 44 45 56 15 42 62 25 51 64 13 65 20 23 41 31 32 54 52 61 21 55 53"
        " 33 63"
    ),
}
GRID = 7
CHOICES = tuple(f"{kind}{count}" for kind in RANKINGS for count in (1, 2, 4, 8, 16, 32))


class FCA(Attention):
    r"""Frequency channel attention, FcaNet (Qin et al., ICCV 2021,
    https://arxiv.org/abs/2012.11879).

    SE with other descriptors than the mean: the channels are cut into K blocks, and block k is
    described by the k-th of K chosen frequencies of the two-dimensional DCT of the map, pooled to S
    x S:

    .. math::
        z_c = \sum_{i,j} B^{u_k}_i B^{v_k}_j\, \mathrm{Pool}_S(X_c)_{ij}, \qquad
        B^u_i = \sqrt{\tfrac{1 + [u > 0]}{S}} \cos\frac{\pi u (i + 1/2)}{S}

    .. math:: \mathrm{FCA}(X) = X \cdot \sigma(W_2\, \mathrm{ReLU}(W_1 z))

    The frequencies are counted on a 7 x 7 grid; a larger S multiplies them by S / 7 rounded down.

    State-dict names: ``dct_layer.weight`` (a buffer of C x S x S), ``fc.0``, ``fc.2``. Maps of
    other sizes than S, smaller ones too, are pooled adaptively as in the reference. Under tracing
    and export the same pooling is written as two matrix products, because ONNX has no adaptive
    pooling to a size that does not divide the map's; sizes stay
    dynamic. Deliberate differences from the reference code: its K must divide C, and ``reduction``
    must not exceed C.

    Args:
        channels: Width C, at least 1.
        reduction: C divided by the hidden width, at least 1; that width is rounded down, and never
            below 1.
        frequencies: ``"top"``, ``"low"`` or ``"bot"`` (FcaNet's best, lowest or worst ranked) and
            K, one of 1, 2, 4, 8, 16, 32. K is limited to the largest divisor of C that is not above
            it, the first of the ranking.
        dct_size: S, at least 7.
        fast: False computes the plain equations always, as ``use_plain`` does.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    ways = Ways(direct=direct.fca, cpu=cpu.fca, portable=portable.fca)

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        frequencies: str = "top16",
        dct_size: int = GRID,
        fast: bool = True,
    ) -> None:
        super().__init__(channels, fast=fast)
        owner = type(self).__name__
        self.reduction = check_int("reduction", reduction, low=1, owner=owner)
        self.dct_size = check_int("dct_size", dct_size, low=GRID, owner=owner)
        kind, asked = (
            check_choice("frequencies", frequencies, CHOICES, owner=owner)[:3],
            int(frequencies[3:]),
        )
        count = largest_divisor(channels, asked)
        self.frequencies = f"{kind}{count}"
        self.dct_layer = nn.Module()  # holds the buffer under the reference's name
        self.dct_layer.register_buffer(
            "weight", dct_filters(channels, RANKINGS[kind].split()[:count], dct_size)
        )
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
        """The equations, as they are written above."""
        return x * self.gate(self.describe(x)).to(x.dtype)

    def describe(self, x: torch.Tensor) -> torch.Tensor:
        """Return each channel's descriptor (B, C): its frequency of the pooled map."""
        pooled = pool_adaptively(x, self.dct_size) * self.dct_layer.weight
        return pooled.sum(dim=(2, 3))

    def gate(self, z: torch.Tensor) -> torch.Tensor:
        """Descriptors (B, C) to (B, C, 1, 1)."""
        gate: torch.Tensor = self.fc(z)
        return gate[:, :, None, None]

    def live_width(self) -> int | None:
        """The bottleneck's."""
        return getattr(self.fc[0], "in_features", None)

    def shown_options(self) -> dict[str, Any]:
        """The reduction, the frequencies in force and the DCT's size."""
        return {
            "reduction": self.reduction,
            "frequencies": self.frequencies,
            "dct_size": self.dct_size,
        }


def dct_filters(channels: int, pairs: list[str], size: int) -> torch.Tensor:
    """Return (channels, size, size): one DCT basis function for each block of channels, ``pairs``
    as in RANKINGS.
    """
    position = (torch.arange(size, dtype=torch.float64) + 0.5) * math.pi / size
    basis = torch.stack(
        [
            (u * (size // GRID) * position).cos() * math.sqrt((1 + (u > 0)) / size)
            for u in range(GRID)
        ]
    )
    filters = torch.stack([torch.outer(basis[int(pair[0])], basis[int(pair[1])]) for pair in pairs])
    return filters.repeat_interleave(channels // len(pairs), dim=0).float()
