"""Graphs of ``torch.jit.trace`` and of ONNX, in the operators that runtimes run best."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from scsa_yolo.attention.fast import direct
from scsa_yolo.attention.fast.direct import Pair, activate, kernels
from scsa_yolo.attention.fast.folded import Constants, Square, constants
from scsa_yolo.attention.functional import plain_sizes
from scsa_yolo.attention.plain import compress

LAYER_NORM_OPSET = 17
# Lost in 1 + EPS in every type, so the step stays exact; torch 2.10 and 2.11 refuse an epsilon of
# 0.
NO_EPS = 1e-30


def onnx_of_one_size(m: Any) -> bool:
    """Tell whether a graph is being traced to ONNX, for the size of its example alone."""
    return m.runtime is not None and torch.onnx.is_in_onnx_export()


# --- SMSA, PCSA, SCSA


def scsa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """SMSA, then PCSA."""
    if m.parts == "spatial":
        return smsa(m, x)
    if m.parts == "channel":
        return pcsa(m, x)
    return smsa(m, pcsa(m, x)) if m.first == "channel" else pcsa(m, smsa(m, x))


def smsa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """The product of the gates first: for runtimes that broadcast row by row."""
    found = constants(m, x)
    if found is not None and found.square is not None and onnx_of_one_size(m):
        height, width = plain_sizes(x)[2:]
        if height == width:
            gate_h, gate_w = _square_gates(m, x, found.square)
            return x * (gate_h * gate_w)
    gate_w = _gate(m, x, 2, found)
    gate_h = _gate(m, x, 3, found)
    return x * (gate_h * gate_w)


def _square_gates(m: Any, x: torch.Tensor, square: Square) -> Pair:
    """Return the gates of a square map for an ONNX graph: the directions side by side, as 2 C
    channels.

    Few nodes, and of kinds that ONNX Runtime leaves in the map's own layout: it would give each
    4-D convolution and pooling two nodes that change the layout and back, dearer than a
    convolution of a profile.
    """
    kernel, norm, reach = square.kernel, m.norm_h, max(m.kernels) // 2
    both = torch.cat((x.mean(dim=3), x.mean(dim=2)), dim=1)  # (B, 2 C, L)
    twice, bias = torch.cat((kernel, kernel)), square.bias.squeeze(1)
    both = F.conv1d(both, twice, bias, padding=reach, groups=2 * m.channels)
    both = torch.group_norm(both, 2 * norm.num_groups, None, None, norm.eps)
    both = activate(m, affine(both, square.gain, square.shift), 2).to(x.dtype)
    gate_h, gate_w = both.split(m.channels, dim=1)
    return gate_h.unsqueeze(3), gate_w.unsqueeze(2)


def _gate(m: Any, x: torch.Tensor, mean_over: int, found: Constants | None) -> torch.Tensor:
    """Return one gate, (B, C, H, 1) or (B, C, 1, W).

    Each direction alone needs no size of the map, so that a graph of symbolic sizes computes none
    for it, and the profile stays 4-D, so that no node turns it into a gate.
    """
    norm, suffix = m.norm_h, ""
    if mean_over == 2:
        norm, suffix = m.norm_w, "" if m.shared else "_w"
    profile = _profile(m, x, mean_over)
    if m.norm_first:
        profile = _normalise(profile, norm, mean_over)
    weight, bias = kernels(m, suffix, found)
    if mean_over == 2 and found is not None and found.centred is not None:
        bias = found.centred
    reach = max(m.kernels) // 2  # of the traced weight it would be a tensor
    padding = (reach, 0) if mean_over == 3 else (0, reach)
    kernel = weight.unsqueeze(1).unsqueeze(mean_over)
    profile = F.conv2d(profile, kernel, bias, padding=padding, groups=m.channels)
    if not m.norm_first:
        profile = _normalise(profile, norm, mean_over)
    return activate(m, profile, 5 - mean_over).to(x.dtype)


def _profile(m: Any, x: torch.Tensor, mean_over: int) -> torch.Tensor:
    """Average the map over one direction, which stays as a dimension of 1."""
    if m.runtime != "openvino":
        return x.mean(dim=mean_over, keepdim=True)
    height, width = plain_sizes(x)[2:]  # OpenVINO pools in a tenth of the time of its mean
    return F.avg_pool2d(x, (height, 1) if mean_over == 2 else (1, width))


def _normalise(profile: torch.Tensor, norm: Any, mean_over: int) -> torch.Tensor:
    """Normalise (B, C, H, 1) or (B, C, 1, W).

    The affine part of GroupNorm is a depthwise 1 x 1 convolution: one operator, and one that
    OpenVINO computes on the profile. A product it would carry, with the sigmoid after it, into the
    loop over the map's pixels.
    """
    if not isinstance(norm, nn.GroupNorm):
        result: torch.Tensor = norm(profile.squeeze(mean_over)).unsqueeze(mean_over)
        return result
    profile = torch.group_norm(profile, norm.num_groups, None, None, norm.eps)
    return F.conv2d(profile, norm.weight.view(-1, 1, 1, 1), norm.bias, groups=norm.num_channels)


def pcsa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """The affine part of the norm is folded into the projections."""
    compressed = compress(m, x)
    y = _whole_norm(m, compressed).flatten(2)
    root = (y.shape[2] if m.scale == "positions" else m.channels // m.heads) ** -0.25
    q, k = (direct._heads(m, _project(m, y, conv, root)) for conv in (m.q, m.k))
    # That way round: OpenVINO 2026.4 is wrong from the second picture of a batch on with the mean
    # taken first.
    v = direct._heads(m, _project(m, y, m.v).mean(dim=2, keepdim=True))
    attention = (q @ k.transpose(-2, -1)).softmax(dim=-1)
    if m.attn_drop.p:
        attention = m.attn_drop(attention)
    joined = direct._join(m, attention @ v.to(attention.dtype))
    return x * activate(m, joined, 1).to(compressed.dtype)


def _whole_norm(m: Any, x: torch.Tensor) -> torch.Tensor:
    """Normalise (B, C, H, W) over all but the batch, without the affine part.

    GroupNorm with one group is three operators of the exporter, of one size alone it is one.
    """
    if onnx_of_one_size(m):
        result: torch.Tensor = _WholeNorm.apply(x, m.norm.eps, plain_sizes(x)[1:], x.dtype)
        return result
    return torch.group_norm(x, 1, None, None, m.norm.eps)


def _project(m: Any, y: torch.Tensor, conv: Any, root: Any = None) -> torch.Tensor:
    """Apply the norm's affine part and a depthwise 1 x 1 convolution, times ``root``, as one."""
    weight, bias = conv.weight.view(-1), conv.bias
    if root is not None:
        weight, bias = weight * root, None if bias is None else bias * root
    shift = weight * m.norm.bias
    return affine(y, weight * m.norm.weight, shift if bias is None else shift + bias)


def affine(t: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """(B, C, N) times (C) plus (C) as one operator: a batch norm of mean 0 and variance 1."""
    mean, variance = torch.zeros_like(weight), torch.ones_like(weight)
    return F.batch_norm(t, mean, variance, weight, bias, training=False, eps=NO_EPS)


# --- The others


def evaluates(m: Any) -> bool:
    """Tell whether batch norm takes no statistics of the batch."""
    return not m.training


def ca(m: Any, x: torch.Tensor) -> torch.Tensor:
    """CA; apart the directions need no size of the map."""
    gate_h = m.attn_h(m.bottleneck(x.mean(dim=3, keepdim=True))).sigmoid()
    gate_w = m.attn_w(m.bottleneck(x.mean(dim=2, keepdim=True))).sigmoid()
    return x * (gate_h * gate_w).to(x.dtype)


def cpca(m: Any, x: torch.Tensor) -> torch.Tensor:
    """CPCA, in the map's own layout."""
    y = F.gelu(m.conv(x))
    out: torch.Tensor = m.weigh(y * m.channel_gate(y).to(y.dtype)).to(x.dtype)
    return out


def ela(m: Any, x: torch.Tensor) -> torch.Tensor:
    """ELA; the norm's affine part is a convolution, one operator instead of two."""
    return x * (_ela_gate(m, x, 3) * _ela_gate(m, x, 2))


def _ela_gate(m: Any, x: torch.Tensor, mean_over: int) -> torch.Tensor:
    kernel, gn, reach = m.conv.weight.unsqueeze(mean_over), m.gn, m.conv.kernel_size[0] // 2
    padding = (reach, 0) if mean_over == 3 else (0, reach)
    profile = x.mean(dim=mean_over, keepdim=True)
    profile = F.conv2d(profile, kernel, padding=padding, groups=m.channels)
    profile = torch.group_norm(profile, gn.num_groups, None, None, gn.eps)
    profile = F.conv2d(profile, gn.weight.view(-1, 1, 1, 1), gn.bias, groups=m.channels)
    return profile.sigmoid().to(x.dtype)


def ema(m: Any, x: torch.Tensor) -> torch.Tensor:
    """EMA, each direction alone."""
    return direct.ema_with(m, x, _ema_positions, instance_norm)


def _ema_positions(m: Any, groups: torch.Tensor) -> torch.Tensor:
    gate_h = direct.ema_gate(m, groups.mean(dim=3, keepdim=True))
    gate_w = direct.ema_gate(m, groups.mean(dim=2, keepdim=True))
    return groups * (gate_h * gate_w)


def sa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """SA, its norm as one operator."""
    return direct.sa_with(m, x, instance_norm, direct.sa_join)


def instance_norm(x: torch.Tensor, channels: int, affine: Pair, eps: float) -> torch.Tensor:
    """As ``direct.instance_norm``, which the ONNX exporter writes as five operators, three of which
    pass over the map.
    """
    if torch.onnx.is_in_onnx_export():
        result: torch.Tensor = _InstanceNorm.apply(x, affine[0], affine[1], eps)
        return result
    return direct.instance_norm(x, channels, affine, eps)


class _InstanceNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
    ) -> torch.Tensor:
        return torch.group_norm(x, x.shape[1], weight, bias, eps)

    @staticmethod
    def symbolic(graph: Any, x: Any, weight: Any, bias: Any, eps: float) -> Any:
        return graph.op("InstanceNormalization", x, weight, bias, epsilon_f=eps).setType(x.type())


class _WholeNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, eps: float, sizes: tuple[int, ...], dtype: torch.dtype
    ) -> torch.Tensor:
        return torch.group_norm(x, 1, None, None, eps)

    @staticmethod
    def symbolic(graph: Any, x: Any, eps: float, sizes: tuple[int, ...], dtype: torch.dtype) -> Any:
        def constant(value: torch.Tensor) -> Any:
            return graph.op("Constant", value_t=value)

        if graph.opset >= LAYER_NORM_OPSET:
            ones = constant(torch.ones(sizes, dtype=dtype))
            return graph.op("LayerNormalization", x, ones, axis_i=1, epsilon_f=eps).setType(
                x.type()
            )
        row = graph.op("Reshape", x, constant(torch.tensor([0, 1, math.prod(sizes)])))
        gain, shift = constant(torch.ones(1, dtype=dtype)), constant(torch.zeros(1, dtype=dtype))
        row = graph.op("InstanceNormalization", row, gain, shift, epsilon_f=eps)
        return graph.op("Reshape", row, constant(torch.tensor([0, *sizes]))).setType(x.type())
