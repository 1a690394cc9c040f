"""SMSA, shareable multi-semantic spatial attention: the first half of SCSA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from scsa_yolo.attention.base import Attention, check_bool, check_choice, check_odd, group_norm, largest_divisor
from scsa_yolo.attention.gating import scale

GATES = ("sigmoid", "softmax")
NORMS = ("group", "batch", "layer", "none")
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
        kernels: One odd kernel size (in positions) per branch, one to four of them. The paper's ablation: ``[3]``,
            ``[7]``, ``[3, 7]``.
        gate: ``"sigmoid"``, or ``"softmax"`` over the positions of a profile.
        norm: ``"group"`` (one group a branch), or the ablations ``"batch"``, ``"layer"`` (one group) and ``"none"``.
        norm_first: Normalise the profiles before the convolutions instead of after them (ablation "GN prior").
        shared: Use the same convolutions for both directions; False (ablation) gives the width its own.

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernels: Sequence[int] = (3, 5, 7, 9),
        gate: str = "sigmoid",
        norm: str = "group",
        norm_first: bool = False,
        shared: bool = True,
    ) -> None:
        super().__init__(channels)
        self._init_spatial(kernels=kernels, gate=gate, norm=norm, norm_first=norm_first, shared=shared)

    def _init_spatial(self, *, kernels: Sequence[int], gate: str, norm: str, norm_first: bool, shared: bool) -> None:
        """Create the parameters of SMSA on ``self``; SCSA shares this, because the authors' names are flat."""
        owner = type(self).__name__
        if isinstance(kernels, (str, int)) or not 1 <= len(kernels) <= len(BRANCHES):
            raise ValueError(f"{owner}: kernels must list one to four odd sizes such as [3, 5, 7, 9], got {kernels!r}")
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
        self.check_input(x)
        return self._spatial(x)

    def _spatial(self, x: torch.Tensor) -> torch.Tensor:
        gate_h, gate_w = self._spatial_gates(x.mean(dim=3), x.mean(dim=2))
        return scale(x * gate_w.unsqueeze(2), gate_h.unsqueeze(3))

    def _spatial_gates(self, profile_h: torch.Tensor, profile_w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn the profiles (B, C, H) and (B, C, W) into gates of the same shapes and type."""
        dtype = profile_h.dtype
        if self.norm_first:
            profile_h, profile_w = _normalise(profile_h, self.norm_h), _normalise(profile_w, self.norm_w)
        if self.shared:
            profile_h, profile_w = self._mix_both(profile_h, profile_w)
        else:
            profile_h, profile_w = self._mix(profile_h, ""), self._mix(profile_w, "_w")
        if not self.norm_first:
            profile_h, profile_w = _normalise(profile_h, self.norm_h), _normalise(profile_w, self.norm_w)
        # GroupNorm runs in float32 under autocast; gates of the map's own type keep the full-size product in that type
        return self._activate(profile_h).to(dtype), self._activate(profile_w).to(dtype)

    def _activate(self, profile: torch.Tensor) -> torch.Tensor:
        return profile.softmax(dim=2) if self.gate == "softmax" else profile.sigmoid()

    def _mix(self, profile: torch.Tensor, suffix: str) -> torch.Tensor:
        """Pass the branches of one profile (B, C, L) through their convolutions, as one with zero-padded kernels."""
        weight, bias = self._kernel(suffix)
        reach = weight.shape[1] // 2
        return depthwise(F.pad(profile, (reach, reach)), weight, bias, profile.shape[2])

    def _mix_both(self, height: torch.Tensor, width: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pass both profiles through the shared convolutions at once: one sequence, zeros between and around them."""
        weight, bias = self._kernel("")
        reach, length_h, length_w = weight.shape[1] // 2, height.shape[2], width.shape[2]
        gap = torch.zeros_like(height[:, :, :1]).expand(-1, -1, reach)
        mixed = depthwise(torch.cat((gap, height, gap, width, gap), dim=2), weight, bias, length_h + reach + length_w)
        return mixed[:, :, :length_h], mixed[:, :, length_h + reach :]

    def _kernel(self, suffix: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the branches' weights as (C, largest kernel), smaller kernels padded with zeros, and biases (C)."""
        convs: list[Any] = [getattr(self, name + suffix) for name in BRANCHES[: self.branches]]
        pads = [(max(self.kernels) - size) // 2 for size in self.kernels]
        weight = torch.cat([_pad(conv.weight.squeeze(1), pad) for conv, pad in zip(convs, pads)])
        return weight, torch.cat([conv.bias for conv in convs])

    def shown_options(self) -> dict[str, Any]:
        """Kernels in force and the gate, then the ablations that are on."""
        ablations = {"norm": (self.norm_kind, "group"), "norm_first": (self.norm_first, False)}
        ablations["shared"] = (self.shared, True)
        changed = {key: value for key, (value, default) in ablations.items() if value != default}
        return {"kernels": self.kernels, "gate": self.gate, **changed}


def _pad(kernel: torch.Tensor, pad: int) -> torch.Tensor:
    zeros = kernel.new_zeros(kernel.shape[0], pad)  # F.pad of a constant is nothing that the ONNX exporter can fold
    return torch.cat((zeros, kernel, zeros), dim=1)


def depthwise(padded: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, length: int) -> torch.Tensor:
    """Depthwise 1-D convolution of (B, C, length + k - 1) by (C, k): a sum of k shifted products.

    On a CPU these cost a fraction of oneDNN's depthwise Conv1d; a GPU and an exported graph prefer the one operator.
    """
    if padded.device.type != "cpu" or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return F.conv1d(padded, weight.unsqueeze(1), bias, groups=weight.shape[0])
    mixed = bias.unsqueeze(1)
    for tap, factors in enumerate(weight.unsqueeze(2).unbind(1)):
        mixed = torch.addcmul(mixed, padded[:, :, tap : tap + length], factors)
    return mixed


def _normalise(profile: torch.Tensor, norm: nn.Module) -> torch.Tensor:
    return group_norm(profile, norm) if isinstance(norm, nn.GroupNorm) else norm(profile)
