"""SCSA, spatial and channel synergistic attention: SMSA, then PCSA on its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from scsa_yolo.attention import plain
from scsa_yolo.attention.base import Attention, check_choice
from scsa_yolo.attention.fast import cpu, direct, portable, traced, train
from scsa_yolo.attention.fast.paths import Ways, choose
from scsa_yolo.attention.pcsa import PCSA
from scsa_yolo.attention.smsa import SMSA

PARTS = ("both", "spatial", "channel")
ORDERS = ("spatial", "channel")


class SCSA(SMSA, PCSA):
    r"""Spatial and channel synergistic attention (Si et al., Neurocomputing 2025, equations 1 to
    13).

    .. math:: \mathrm{SCSA}(X) = \mathrm{PCSA}(\mathrm{SMSA}(X))

    Spatial gates of several receptive fields go first and guide the channel self-attention; see
    :class:`SMSA` and :class:`PCSA` for the equations. At the defaults it has 16 parameters a
    channel, and equals the authors' code (https://github.com/HZAI-ZJNU/SCSA) to float32 rounding,
    state-dict names included.

    Deliberate differences from that code: any map size (theirs raises below 7 x 7), any width
    (theirs needs a multiple of 4), and shapes stay dynamic in exports. The authors released no code
    for the ablations of their Table 1; the options that make them follow the paper's words, and
    what each does is said in :class:`SMSA` and :class:`PCSA`.

    Args:
        channels: Width C, at least 1.
        heads, window, pool, qkv_bias, attn_drop, cover_edge, scale, shuffle: See :class:`PCSA`.
        kernels, norm, norm_first, shared: See :class:`SMSA`.
        gate: ``"sigmoid"`` or ``"softmax"``, for both halves.
        parts: ``"both"``, or the ablations ``"spatial"`` (without PCSA) and ``"channel"`` (without
            SMSA).
        first: ``"spatial"``, or the ablation ``"channel"``: PCSA before SMSA.
        fast: False computes the plain equations always, as ``use_plain`` does.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.

    Example:
        >>> SCSA(64)(torch.rand(2, 64, 20, 20)).shape
        torch.Size([2, 64, 20, 20])
    """

    ways = Ways(
        direct.scsa,
        cpu.scsa,
        traced.scsa,
        train.scsa,
        trains=train.scsa_trains,
        portable=portable.scsa,
    )

    def __init__(
        self,
        channels: int,
        *,
        heads: int = 1,
        window: int | str = 7,
        kernels: Sequence[int] = (3, 5, 7, 9),
        pool: str = "avg",
        gate: str = "sigmoid",
        qkv_bias: bool = False,
        attn_drop: float = 0.0,
        cover_edge: bool = False,
        scale: str = "channels",
        shuffle: bool = False,
        norm: str = "group",
        norm_first: bool = False,
        shared: bool = True,
        parts: str = "both",
        first: str = "spatial",
        fast: bool = True,
    ) -> None:
        Attention.__init__(self, channels, fast=fast)
        self.parts = check_choice("parts", parts, PARTS, owner=type(self).__name__)
        self.first = check_choice("first", first, ORDERS, owner=type(self).__name__)
        self._init_spatial(
            kernels=kernels, gate=gate, norm=norm, norm_first=norm_first, shared=shared
        )
        self._init_compression(window=window, pool=pool, cover_edge=cover_edge)
        self._init_channel(
            heads=heads, qkv_bias=qkv_bias, attn_drop=attn_drop, scale=scale, shuffle=shuffle
        )
        self._drop_parts()

    def _drop_parts(self) -> None:
        """Remove the parameters of a half that an ablation leaves out: they would never get a
        gradient.
        """
        channel = {"norm", "q", "k", "v", "attn_drop"}
        gone = {"both": set(), "spatial": channel, "channel": {*self._modules} - channel}[
            self.parts
        ]
        for name in gone:
            delattr(self, name)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply SMSA, then PCSA."""
        return choose(self, x)(self, x)

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """Equations 1 to 13."""
        return plain.scsa(self, x)

    @property
    def has_spatial(self) -> bool:
        """Whether SMSA is there."""
        return self.parts != "channel"

    @property
    def has_channel(self) -> bool:
        """Whether PCSA is there."""
        return self.parts != "spatial"

    def live_width(self) -> int | None:
        """That of the half that is there."""
        return PCSA.live_width(self) if self.has_channel else SMSA.live_width(self)

    def shown_options(self) -> dict[str, Any]:
        """Options of the halves that are there."""
        spatial = SMSA.shown_options(self) if self.parts != "channel" else {}
        channel = PCSA.shown_options(self) if self.parts != "spatial" else {}
        order = {"first": self.first} if self.first != "spatial" else {}
        parts = {"parts": self.parts} if self.parts != "both" else {}
        return {**parts, **order, **spatial, **channel}
