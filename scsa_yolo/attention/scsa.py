"""SCSA, spatial and channel synergistic attention: SMSA, then PCSA on its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from scsa_yolo.attention.base import Attention
from scsa_yolo.attention.pcsa import PCSA
from scsa_yolo.attention.smsa import SMSA


class SCSA(SMSA, PCSA):
    r"""Spatial and channel synergistic attention (Si et al., Neurocomputing 2025, equations 1 to 13).

    .. math:: \mathrm{SCSA}(X) = \mathrm{PCSA}(\mathrm{SMSA}(X))

    Spatial gates of several receptive fields go first and guide the channel self-attention; see :class:`SMSA` and
    :class:`PCSA` for the equations. At the defaults it has 16 parameters a channel, and equals the authors' code
    (https://github.com/HZAI-ZJNU/SCSA) to float32 rounding, state-dict names included.

    Deliberate differences from that code: any map size (theirs raises below 7 x 7), any width (theirs needs a multiple
    of 4), and shapes stay dynamic in exports.

    Args:
        channels: Width C, at least 1.
        heads, window, pool, qkv_bias, attn_drop: See :class:`PCSA`.
        kernels: See :class:`SMSA`.
        gate: ``"sigmoid"`` or ``"softmax"``, for both halves.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.

    Example:
        >>> SCSA(64)(torch.rand(2, 64, 20, 20)).shape
        torch.Size([2, 64, 20, 20])
    """

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
    ) -> None:
        Attention.__init__(self, channels)
        self._init_spatial(kernels=kernels, gate=gate)
        self._init_channel(heads=heads, window=window, pool=pool, qkv_bias=qkv_bias, attn_drop=attn_drop)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply SMSA, then PCSA."""
        self.check_input(x)
        return self._channel(self._spatial(x))

    def shown_options(self) -> dict[str, Any]:
        """Options of both halves."""
        return {**SMSA.shown_options(self), **PCSA.shown_options(self)}
