"""SMSA, shareable multi-semantic spatial attention: the first half of SCSA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from scsa_yolo.attention import plain
from scsa_yolo.attention.base import (
    Attention,
    check_bool,
    check_choice,
    check_odd,
    largest_divisor,
)
from scsa_yolo.attention.fast import cpu, direct, portable, traced
from scsa_yolo.attention.fast.paths import Ways, choose
from scsa_yolo.attention.plain import BRANCHES

GATES = ("sigmoid", "softmax")
NORMS = ("group", "batch", "layer", "none")


class SMSA(Attention):
    r"""Shareable multi-semantic spatial attention (Si et al., Neurocomputing 2025, equations 1 to
    5).

    Each channel is averaged over the width and over the height. Both profiles are split along the
    channels into K = 4 sub-features, and the k-th passes a depthwise 1-D convolution of the k-th
    kernel, shared by the two directions:

    .. math::
        X^H_k = \mathrm{DWConv1d}_{k}\big(\mathrm{split}_k(\tfrac1W \sum_w X)\big), \qquad
        X^W_k = \mathrm{DWConv1d}_{k}\big(\mathrm{split}_k(\tfrac1H \sum_h X)\big)

    .. math::
        \mathrm{SMSA}(X) = X \cdot \sigma(\mathrm{GN}^H_K([X^H_k]_k)) \cdot \sigma(\mathrm{GN}^W_K([X^W_k]_k))

    Source: https://arxiv.org/abs/2407.05128. State-dict names are those of the authors' code.

    Args:
        channels: Width C, at least 1. Where the number of kernels does not divide C, the largest
            number of branches that does is used, with the first kernels.
        kernels: One odd kernel size (in positions) per branch, one to four of them. The paper's
            ablation: ``[3]``, ``[7]``, ``[3, 7]``.
        gate: ``"sigmoid"``, or ``"softmax"`` over the positions of a profile.
        norm: ``"group"`` (one group a branch), or the ablations ``"batch"``, ``"layer"`` (one
            group) and ``"none"``.
        norm_first: Normalise the profiles before the convolutions instead of after them (ablation
            "GN prior").
        shared: Use the same convolutions for both directions; False (ablation) gives the width its
            own.
        fast: False computes the plain equations always, as ``use_plain`` does.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    ways = Ways(direct.smsa, cpu.smsa, traced.smsa, portable=portable.smsa)

    def __init__(
        self,
        channels: int,
        *,
        kernels: Sequence[int] = (3, 5, 7, 9),
        gate: str = "sigmoid",
        norm: str = "group",
        norm_first: bool = False,
        shared: bool = True,
        fast: bool = True,
    ) -> None:
        super().__init__(channels, fast=fast)
        self._init_spatial(
            kernels=kernels, gate=gate, norm=norm, norm_first=norm_first, shared=shared
        )

    def _init_spatial(
        self, *, kernels: Sequence[int], gate: str, norm: str, norm_first: bool, shared: bool
    ) -> None:
        """Create the parameters of SMSA on ``self``; SCSA shares this, because the authors' names
        are flat.
        """
        owner = type(self).__name__
        if isinstance(kernels, (str, int)) or not 1 <= len(kernels) <= len(BRANCHES):
            raise ValueError(
                f"{owner}: kernels must list one to four odd sizes such as [3, 5, 7, 9], got"
                f" {kernels!r}"
            )
        sizes = [check_odd("kernels", k, owner=owner) for k in kernels]
        self.gate = check_choice("gate", gate, GATES, owner=owner)
        self.norm_kind = check_choice("norm", norm, NORMS, owner=owner)
        self.norm_first = check_bool("norm_first", norm_first, owner=owner)
        self.shared = check_bool("shared", shared, owner=owner)
        self.branches = largest_divisor(self.channels, len(sizes))
        self.kernels = tuple(sizes[: self.branches])
        width = self.channels // self.branches
        for suffix in ("",) if shared else ("", "_w"):
            for name, size in zip(BRANCHES, self.kernels):
                conv = nn.Conv1d(width, width, size, padding=size // 2, groups=width)
                self.add_module(name + suffix, conv)
        self.norm_h = self._make_norm()
        self.norm_w = self._make_norm()

    def _make_norm(self) -> nn.Module:
        if self.norm_kind == "batch":
            return nn.BatchNorm1d(self.channels)
        if self.norm_kind == "none":
            return nn.Identity()
        return nn.GroupNorm(self.branches if self.norm_kind == "group" else 1, self.channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale the map by its gates along the height and along the width."""
        return choose(self, x)(self, x)

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """Equations 1 to 5."""
        return plain.smsa(self, x)

    @property
    def has_spatial(self) -> bool:
        """Whether SMSA is there."""
        return True

    @property
    def has_channel(self) -> bool:
        """Whether PCSA is there."""
        return False

    def live_width(self) -> int | None:
        """That of the branches together."""
        convs = [getattr(self, name) for name in BRANCHES[: self.branches]]
        if not all(hasattr(conv, "in_channels") for conv in convs):
            return None
        return sum(int(conv.in_channels) for conv in convs)

    def shown_options(self) -> dict[str, Any]:
        """Kernels in force and the gate, then the ablations that are on."""
        ablations = {"norm": (self.norm_kind, "group"), "norm_first": (self.norm_first, False)}
        ablations["shared"] = (self.shared, True)
        changed = {key: value for key, (value, default) in ablations.items() if value != default}
        return {"kernels": self.kernels, "gate": self.gate, **changed}
