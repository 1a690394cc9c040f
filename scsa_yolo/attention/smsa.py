"""SMSA, shareable multi-semantic spatial attention: the first half of SCSA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.base import Attention, check_choice, check_odd, group_norm, largest_divisor

GATES = ("sigmoid", "softmax")
# The authors' names of the four branches, in the order of their kernels: they are the keys of the state dict.
BRANCHES = ("local_dwc", "global_dwc_s", "global_dwc_m", "global_dwc_l")


class SMSA(Attention):
    r"""Shareable multi-semantic spatial attention (Si et al., Neurocomputing 2025, equations 1 to 5).

    Each channel is averaged over the width and over the height. Both profiles are split along the channels into K = 4
    sub-features, and the k-th passes a depthwise 1-D convolution of the k-th kernel, shared by the two directions:

    .. math::
        X^H_k = \mathrm{DWConv1d}_{k}\big(\mathrm{split}_k(\tfrac1W \sum_w X)\big), \qquad
        X^W_k = \mathrm{DWConv1d}_{k}\big(\mathrm{split}_k(\tfrac1H \sum_h X)\big)

    .. math::
        \mathrm{SMSA}(X) = X \cdot \sigma(\mathrm{GN}^H_K([X^H_k]_k)) \cdot \sigma(\mathrm{GN}^W_K([X^W_k]_k))

    Source: https://arxiv.org/abs/2407.05128. State-dict names are those of the authors' code.

    Args:
        channels: Width C, at least 1. Where the number of kernels does not divide C, the largest number of branches
            that does is used, with the first kernels.
        kernels: One odd kernel size (in positions) per branch, one to four of them.
        gate: ``"sigmoid"``, or ``"softmax"`` over the positions of a profile.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    def __init__(self, channels: int, *, kernels: Sequence[int] = (3, 5, 7, 9), gate: str = "sigmoid") -> None:
        super().__init__(channels)
        self._init_spatial(kernels=kernels, gate=gate)

    def _init_spatial(self, *, kernels: Sequence[int], gate: str) -> None:
        """Create the parameters of SMSA on ``self``; SCSA shares this, because the authors' names are flat."""
        owner = type(self).__name__
        if isinstance(kernels, (str, int)) or not 1 <= len(kernels) <= len(BRANCHES):
            raise ValueError(f"{owner}: kernels must list one to four odd sizes such as [3, 5, 7, 9], got {kernels!r}")
        sizes = [check_odd("kernels", k, owner=owner) for k in kernels]
        self.gate = check_choice("gate", gate, GATES, owner=owner)
        self.branches = largest_divisor(self.channels, len(sizes))
        self.kernels = tuple(sizes[: self.branches])
        width = self.channels // self.branches
        for name, size in zip(BRANCHES, self.kernels):  # noqa: B905  zip stops at the branches that exist
            self.add_module(name, nn.Conv1d(width, width, size, padding=size // 2, groups=width))
        self.norm_h = nn.GroupNorm(self.branches, self.channels)
        self.norm_w = nn.GroupNorm(self.branches, self.channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale the map by its gates along the height and along the width."""
        self.check_input(x)
        return self._spatial(x)

    def _spatial(self, x: torch.Tensor) -> torch.Tensor:
        gate_h = self._profile_gate(x.mean(dim=3), self.norm_h)
        gate_w = self._profile_gate(x.mean(dim=2), self.norm_w)
        # GroupNorm runs in float32 under autocast; gates of the map's own type keep the full-size product in that type
        return x * gate_h.unsqueeze(3).to(x.dtype) * gate_w.unsqueeze(2).to(x.dtype)

    def _profile_gate(self, profile: torch.Tensor, norm: nn.GroupNorm) -> torch.Tensor:
        """Turn a profile (B, C, L) into its gate, (B, C, L)."""
        parts = profile.split(self.channels // self.branches, dim=1)
        mixed = [getattr(self, name)(part) for name, part in zip(BRANCHES, parts)]  # noqa: B905
        normed = group_norm(torch.cat(mixed, dim=1), norm)
        return normed.softmax(dim=2) if self.gate == "softmax" else normed.sigmoid()

    def shown_options(self) -> dict[str, Any]:
        """Kernels in force and the gate."""
        return {"kernels": self.kernels, "gate": self.gate}
