"""SMSA, shareable multi-semantic spatial attention: the first half of SCSA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from scsa_yolo.attention.base import (
    FOLDED,
    Attention,
    check_bool,
    check_choice,
    check_odd,
    group_norm,
    largest_divisor,
)
from scsa_yolo.attention.functional import average, plain_sizes, runs_plainly_on_cpu
from scsa_yolo.attention.gating import scale
from scsa_yolo.attention.norms import affine_traced

GATES = ("sigmoid", "softmax")
NORMS = ("group", "batch", "layer", "none")
# The authors' names of the four branches, in the order of their kernels: they are the keys of the
# state dict.
BRANCHES = ("local_dwc", "global_dwc_s", "global_dwc_m", "global_dwc_l")
SQUARE = ("square_kernel", "square_bias", "square_gain", "square_shift")  # constants of square maps
# values of a sequence (B x C x L) up to which products beat oneDNN's Conv1d, measured on two cores
SHORT = 8192


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
        self.check_input(x)
        return self._spatial(x)

    def _spatial(self, x: torch.Tensor) -> torch.Tensor:
        if torch.jit.is_tracing():
            gate_h, gate_w = self._traced_gates(x)
            return x * (gate_h * gate_w)  # for runtimes that broadcast row by row
        if self._is_square(x):
            gate_h, gate_w = self._square_gates(x)
        else:
            gate_h, gate_w = self._spatial_gates(average(x, 3), average(x, 2))
        return scale(self.times(x, gate_w.unsqueeze(2)), gate_h.unsqueeze(3))

    def _spatial_gates(
        self, profile_h: torch.Tensor, profile_w: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn the profiles (B, C, H) and (B, C, W) into gates of the same shapes and type."""
        dtype = profile_h.dtype
        if self.norm_first:
            profile_h, profile_w = (
                _normalise(profile_h, self.norm_h),
                _normalise(profile_w, self.norm_w),
            )
        if self.shared:
            profile_h, profile_w = self._mix_both(profile_h, profile_w)
        else:
            profile_h, profile_w = self._mix(profile_h, ""), self._mix(profile_w, "_w")
        if not self.norm_first:
            profile_h, profile_w = (
                _normalise(profile_h, self.norm_h),
                _normalise(profile_w, self.norm_w),
            )
        # GroupNorm runs in float32 under autocast; gates of the map's own type keep the full-size
        # product in that type
        return self._activate(profile_h, 2).to(dtype), self._activate(profile_w, 2).to(dtype)

    def _traced_gates(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the gates (B, C, H, 1) and (B, C, 1, W) for an exported graph."""
        if self.in_onnx_of_one_size() and self.folded(SQUARE[0]) is not None:
            height, width = plain_sizes(x)[2:]
            if height == width:
                return self._traced_square_gates(x)
        gate_w = self._traced_gate(x, 2, self.norm_w, "" if self.shared else "_w")
        return self._traced_gate(x, 3, self.norm_h, ""), gate_w

    def _traced_square_gates(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the gates of a square map for an ONNX graph: the directions side by side, as 2 C
        channels.

        Few nodes, and of kinds that ONNX Runtime leaves in the map's own layout: it would give each
        4-D convolution and pooling two nodes that change the layout and back, dearer than a
        convolution of a profile.
        """
        kernel, bias, gain, shift = self._square_constants()
        norm: Any = self.norm_h
        both = torch.cat((x.mean(dim=3), x.mean(dim=2)), dim=1)  # (B, 2 C, L)
        reach = max(self.kernels) // 2  # of the traced kernel it would be a tensor
        both = F.conv1d(
            both,
            torch.cat((kernel, kernel)),
            bias.squeeze(1),
            padding=reach,
            groups=2 * self.channels,
        )
        both = torch.group_norm(both, 2 * norm.num_groups, None, None, norm.eps)
        gate_h, gate_w = (
            self._activate(affine_traced(both, gain, shift), 2)
            .to(x.dtype)
            .split(self.channels, dim=1)
        )
        return gate_h.unsqueeze(3), gate_w.unsqueeze(2)

    def _traced_gate(
        self, x: torch.Tensor, mean_over: int, norm: nn.Module, suffix: str
    ) -> torch.Tensor:
        """Return one gate, (B, C, H, 1) or (B, C, 1, W), in the operators that exported graphs run
        best.

        Each direction alone needs no size of the map, so that a graph of symbolic sizes computes
        none for it, and the profile stays 4-D, so that no node turns it into a gate.
        """
        if (
            self.runtime == "openvino"
        ):  # pools in a tenth of the time that its mean over the height takes
            height, width = plain_sizes(x)[2:]
            profile = F.avg_pool2d(x, (height, 1) if mean_over == 2 else (1, width))
        else:
            profile = x.mean(dim=mean_over, keepdim=True)
        if self.norm_first:
            profile = _normalise_traced(profile, norm, mean_over)
        weight, bias = self._kernel(suffix)
        centred = self.folded("centred")
        if mean_over == 2 and centred is not None:
            bias = centred
        reach = max(self.kernels) // 2  # of the traced weight it would be a tensor
        padding = (reach, 0) if mean_over == 3 else (0, reach)
        kernel = weight.unsqueeze(1).unsqueeze(mean_over)
        profile = F.conv2d(profile, kernel, bias, padding=padding, groups=self.channels)
        if not self.norm_first:
            profile = _normalise_traced(profile, norm, mean_over)
        return self._activate(profile, 5 - mean_over).to(x.dtype)

    def _activate(self, profile: torch.Tensor, positions: int) -> torch.Tensor:
        return profile.softmax(dim=positions) if self.gate == "softmax" else profile.sigmoid()

    def _mix(self, profile: torch.Tensor, suffix: str) -> torch.Tensor:
        """Pass the branches of one profile (B, C, L) through their convolutions, as one with
        zero-padded kernels.
        """
        weight, bias = self._kernel(suffix)
        reach = max(self.kernels) // 2
        return depthwise(F.pad(profile, (reach, reach)), weight, bias)

    def _mix_both(
        self, height: torch.Tensor, width: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pass both profiles through the shared convolutions at once: one sequence, zeros between
        and around them.
        """
        weight, bias = self._kernel("")
        reach, length_h = max(self.kernels) // 2, height.shape[2]
        mixed = depthwise(self._in_line(height, width), weight, bias)
        return mixed[:, :, :length_h], mixed[:, :, length_h + reach :]

    def _in_line(self, height: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
        """Put both profiles into one sequence, with as many zeros between and around them as a
        kernel reaches.
        """
        gap = self.folded("gap")
        if gap is None or height.shape[0] != 1:
            gap = height.new_zeros(1, 1, 1).expand(
                height.shape[0], height.shape[1], max(self.kernels) // 2
            )
        return torch.cat((gap, height, gap, width, gap), dim=2)

    def _is_square(self, x: torch.Tensor) -> bool:
        """Tell whether the way through one norm is open for a map: folded, on a CPU, square and not
        too large.
        """
        if self.folded(SQUARE[0]) is None or not runs_plainly_on_cpu(
            x
        ):  # first: a graph must not depend on sizes
            return False
        batch, channels, height, width = x.shape
        return height == width and 2 * batch * channels * height <= SHORT

    def _square_constants(self) -> list[Any]:
        """Return the kernel (C, 1, k), the biases (2 C, 1), and both norms' weights and biases (2
        C), as folded.
        """
        return [self._buffers[FOLDED + name] for name in SQUARE]

    def _square_gates(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return both gates of a square map (B, C, L, L) on a CPU: the directions as (B, 2 C, L),
        through one norm.

        The profiles stay sums: means would only divide what is normalised anyway, by L, so the
        biases of the convolutions are multiplied by it instead, and the norm's epsilon by its
        square. The same numbers.
        """
        kernel, bias, gain, shift = self._square_constants()
        norm: Any = self.norm_h
        (batch, channels, length), taps = x.shape[:3], kernel.shape[2]
        line = self._in_line(x.sum(dim=3), x.sum(dim=2))
        row, next_side = line.shape[2], length + taps // 2
        windows = line.as_strided(
            (batch, 2, channels, length, taps), (channels * row, next_side, row, 1, 1)
        )
        mixed = (
            (windows * kernel).sum(dim=4).view(batch, 2 * channels, length).add_(bias, alpha=length)
        )
        both = torch.group_norm(mixed, 2 * norm.num_groups, gain, shift, norm.eps * length**2)
        return self._activate(both, 2).chunk(2, dim=1)

    def _kernel(self, suffix: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the branches' weights as (C, largest kernel), smaller kernels padded with zeros,
        and biases (C).
        """
        folded = self.folded("kernel" + suffix), self.folded("bias" + suffix)
        if folded[0] is not None and folded[1] is not None:
            return folded[0], folded[1]
        convs: list[Any] = [getattr(self, name + suffix) for name in BRANCHES[: self.branches]]
        pads = [(max(self.kernels) - size) // 2 for size in self.kernels]
        weight = torch.cat([_pad(conv.weight.squeeze(1), pad) for conv, pad in zip(convs, pads)])
        return weight, torch.cat([conv.bias for conv in convs])

    def constants(self) -> dict[str, torch.Tensor]:
        """The joint kernels and their biases, the zeros between the profiles of one map; for square
        ones both norms.
        """
        suffixes = ("",) if self.shared else ("", "_w")
        pairs = {suffix: self._kernel(suffix) for suffix in suffixes}
        found = {
            name + suffix: pair[i]
            for suffix, pair in pairs.items()
            for i, name in enumerate(("kernel", "bias"))
        }
        found["gap"] = found["kernel"].new_zeros(1, self.channels, max(self.kernels) // 2)
        if self.norm_first or not isinstance(self.norm_h, nn.GroupNorm):
            return found
        found["centred"] = _centred(found["bias" + suffixes[-1]], self.norm_h.num_groups)
        if self.shared:
            norms = (self.norm_h, self.norm_w)
            affine = [
                torch.cat([getattr(norm, name) for norm in norms]) for name in ("weight", "bias")
            ]
            twice = torch.cat([found["bias"]] * 2)
            found.update(zip(SQUARE, (found["kernel"].unsqueeze(1), twice.unsqueeze(1), *affine)))
        return found

    def shown_options(self) -> dict[str, Any]:
        """Kernels in force and the gate, then the ablations that are on."""
        ablations = {"norm": (self.norm_kind, "group"), "norm_first": (self.norm_first, False)}
        ablations["shared"] = (self.shared, True)
        changed = {key: value for key, (value, default) in ablations.items() if value != default}
        return {"kernels": self.kernels, "gate": self.gate, **changed}


def _pad(kernel: torch.Tensor, pad: int) -> torch.Tensor:
    if not torch.jit.is_tracing():
        return F.pad(kernel, (pad, pad))
    zeros = kernel.new_zeros(
        kernel.shape[0], pad
    )  # F.pad of a constant is nothing that the ONNX exporter can fold
    return torch.cat((zeros, kernel, zeros), dim=1)


def depthwise(padded: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Depthwise 1-D convolution of (B, C, L + k - 1) by (C, k), to (B, C, L).

    On a CPU the set-up of oneDNN's Conv1d costs more than a short sequence: there the products are
    written out.
    """
    if runs_plainly_on_cpu(padded) and padded.numel() <= SHORT:
        return (
            (padded.unfold(2, weight.shape[1], 1) * weight.unsqueeze(1))
            .sum(dim=3)
            .add_(bias.unsqueeze(1))
        )
    return F.conv1d(padded, weight.unsqueeze(1), bias, groups=weight.shape[0])


def _centred(bias: torch.Tensor, groups: int) -> torch.Tensor:
    """Return biases (C) that GroupNorm makes the same of: a shift of a whole group is taken out
    again.

    Two convolutions with one and the same bias are what OpenVINO does not merge with their bias.
    """
    per_group = bias.view(groups, -1)
    return (per_group - per_group.mean(dim=1, keepdim=True)).flatten()


def _normalise(profile: torch.Tensor, norm: nn.Module) -> torch.Tensor:
    return group_norm(profile, norm) if isinstance(norm, nn.GroupNorm) else norm(profile)


def _normalise_traced(profile: torch.Tensor, norm: nn.Module, mean_over: int) -> torch.Tensor:
    """Normalise (B, C, H, 1) or (B, C, 1, W).

    The affine part of GroupNorm is a depthwise 1 x 1 convolution: one operator, and one that
    OpenVINO computes on the profile. A product it would carry, with the sigmoid after it, into the
    loop over the map's pixels.
    """
    if not isinstance(norm, nn.GroupNorm):
        return norm(profile.squeeze(mean_over)).unsqueeze(mean_over)
    profile = torch.group_norm(profile, norm.num_groups, None, None, norm.eps)
    return F.conv2d(profile, norm.weight.view(-1, 1, 1, 1), norm.bias, groups=norm.num_channels)
