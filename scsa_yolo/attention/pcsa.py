"""PCSA, progressive channel-wise self-attention: the second half of SCSA."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from scsa_yolo.attention import plain
from scsa_yolo.attention.base import (
    Attention,
    check_bool,
    check_choice,
    check_float,
    check_int,
    largest_divisor,
)
from scsa_yolo.attention.fast import cpu, direct, portable, traced
from scsa_yolo.attention.fast.paths import Ways, choose
from scsa_yolo.attention.smsa import GATES

POOLS = ("avg", "max")
SCALES = ("channels", "positions")


class PCSA(Attention):
    r"""Progressive channel-wise self-attention (Si et al., Neurocomputing 2025, equations 6 to 13).

    The map is compressed by windows of 7 x 7, normalised, and its channels attend to each other
    over the N positions that remain; the mean over these positions gates the channels:

    .. math::
        Y = \mathrm{GN}_1(\mathrm{Pool}_{7 \times 7}(X)), \quad Q = w_q Y,\; K = w_k Y,\; V = w_v Y
        \;\text{(per channel)}

    .. math::
        \mathrm{PCSA}(X) = X \cdot \sigma\Big(\tfrac1N \sum_n \mathrm{softmax}(Q K^\top / \sqrt{d})\, V\Big)

    with d = C / heads. The mean over positions is linear, so it is taken of V before the product: C
    x C times C x 1 instead of C x C times C x N, the same numbers.

    Source: https://arxiv.org/abs/2407.05128. State-dict names are those of the authors' code.

    Args:
        channels: Width C, at least 1.
        heads: Number of attention heads; limited to the largest divisor of C that is not above it.
        window: Side and stride of the pooling window in pixels of the map, at least 1, or
            ``"global"`` (the authors' ``window_size=-1``, their ablation "w/o progressive
            compression"): one mean over the whole map. A map smaller than the window is pooled as a
            whole.
        pool: ``"avg"`` or ``"max"``.
        gate: ``"sigmoid"``, or ``"softmax"`` over the channels.
        qkv_bias: Give q, k and v a bias.
        attn_drop: Dropout probability of the attention matrix in training, from 0 to 1.
        cover_edge: Pool the rows and columns beyond the last full window too, as smaller windows.
            The authors' code does not see them: of a 20 x 20 map it sees 14 x 14.
        scale: ``"channels"`` divides by sqrt(d); the ablation ``"positions"`` divides by sqrt(N).
        shuffle: Interleave the channels of SMSA's branches before they are split into heads, and
            undo it after, so that each head attends over all branches (ablation "multi-head +
            shuffle"; needs heads above 1 to matter).
        fast: False computes the plain equations always, as ``use_plain`` does.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    ways = Ways(direct.pcsa, cpu.pcsa, traced.pcsa, portable=portable.pcsa)

    def __init__(
        self,
        channels: int,
        *,
        heads: int = 1,
        window: int | str = 7,
        pool: str = "avg",
        gate: str = "sigmoid",
        qkv_bias: bool = False,
        attn_drop: float = 0.0,
        cover_edge: bool = False,
        scale: str = "channels",
        shuffle: bool = False,
        fast: bool = True,
    ) -> None:
        super().__init__(channels, fast=fast)
        self.gate = check_choice("gate", gate, GATES, owner=type(self).__name__)
        self._init_compression(window=window, pool=pool, cover_edge=cover_edge)
        self._init_channel(
            heads=heads, qkv_bias=qkv_bias, attn_drop=attn_drop, scale=scale, shuffle=shuffle
        )

    def _init_compression(self, *, window: int | str, pool: str, cover_edge: bool) -> None:
        """Check how the map is compressed; SCSA shares this."""
        owner = type(self).__name__
        if window != "global" and (
            isinstance(window, (bool, str)) or not isinstance(window, int) or window < 1
        ):
            raise ValueError(
                f"{owner}: window must be an int of at least 1 or 'global', got {window!r}"
            )
        self.window = window
        self.pool = check_choice("pool", pool, POOLS, owner=owner)
        self.cover_edge = check_bool("cover_edge", cover_edge, owner=owner)
        if window == "global" and (pool == "max" or cover_edge):
            raise ValueError(
                f"{owner}: window='global' averages the whole map: leave pool and cover_edge out"
                " with it"
            )

    def _init_channel(
        self, *, heads: int, qkv_bias: bool, attn_drop: float, scale: str, shuffle: bool
    ) -> None:
        """Create the parameters of PCSA on ``self``; SCSA shares this, because the authors' names
        are flat.
        """
        owner = type(self).__name__
        self.heads = largest_divisor(self.channels, check_int("heads", heads, low=1, owner=owner))
        check_bool("qkv_bias", qkv_bias, owner=owner)
        self.scale = check_choice("scale", scale, SCALES, owner=owner)
        self.shuffle = check_bool("shuffle", shuffle, owner=owner)
        self.norm = nn.GroupNorm(1, self.channels)
        for name in ("q", "k", "v"):
            self.add_module(
                name,
                nn.Conv2d(self.channels, self.channels, 1, groups=self.channels, bias=qkv_bias),
            )
        self.attn_drop = nn.Dropout(
            check_float("attn_drop", attn_drop, low=0.0, high=1.0, owner=owner)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale each channel by what the channels attend to."""
        return choose(self, x)(self, x)

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """Equations 6 to 13."""
        return plain.pcsa(self, x)

    @property
    def has_spatial(self) -> bool:
        """Whether SMSA is there."""
        return False

    @property
    def has_channel(self) -> bool:
        """Whether PCSA is there."""
        return True

    def live_width(self) -> int | None:
        """That of the projections."""
        return getattr(self.q, "in_channels", None)

    def shown_options(self) -> dict[str, Any]:
        """Heads in force, window, and what departs from the defaults."""
        ablations = {
            "pool": (self.pool, "avg"),
            "qkv_bias": (self.q.bias is not None, False),
            "attn_drop": (self.attn_drop.p, 0.0),
            "cover_edge": (self.cover_edge, False),
            "scale": (self.scale, "channels"),
            "shuffle": (self.shuffle, False),
        }
        changed = {key: value for key, (value, default) in ablations.items() if value != default}
        return {"heads": self.heads, "window": self.window, "gate": self.gate, **changed}
