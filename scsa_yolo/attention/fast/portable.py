"""Graphs for runtimes that want 4-D convolutions and plain arithmetic, as accelerators do.

Written for the size of the example alone. No map, profile or descriptor leaves its four dimensions,
norms are written out as means and products, and nothing is moved into the batch: what is left are
Conv, ReduceMean, ReduceMax, Add, Sub, Mul, Div, Sqrt, Sigmoid, Softmax, Relu, Clip, AveragePool,
Reshape, Transpose, Concat and Slice, and MatMul for the two products of PCSA.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from scsa_yolo.attention.fast.direct import Pair, activate, kernels
from scsa_yolo.attention.fast.folded import constants, not_traced
from scsa_yolo.attention.functional import as_type, plain_sizes, widen

POSITIONS = (2, 3)


def sizes(x: torch.Tensor) -> tuple[int, ...]:
    """Return the sizes of ``x`` as ints."""
    return plain_sizes(x) if torch.jit.is_tracing() else tuple(x.shape)


def pointwise(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """(B, C, H, W) times (C) plus (C), as a depthwise 1 x 1 convolution."""
    kernel = weight.reshape(-1, 1, 1, 1)
    return F.conv2d(x, kernel, bias, groups=sizes(kernel)[0])


def whiten(x: torch.Tensor, over: tuple[int, ...], eps: float) -> torch.Tensor:
    """Subtract the mean over dimensions and divide by the standard deviation."""
    x = widen(x)
    centred = x - x.mean(dim=over, keepdim=True)
    variance = (centred * centred).mean(dim=over, keepdim=True)
    return centred / (variance + eps).sqrt()


def group_norm(x: torch.Tensor, norm: nn.GroupNorm) -> torch.Tensor:
    """Apply a GroupNorm to (B, C, H, W), its affine part as a convolution."""
    shape = sizes(x)
    if norm.num_groups == 1:
        normal = whiten(x, (1, 2, 3), norm.eps)
    elif norm.num_groups == shape[1]:
        normal = whiten(x, POSITIONS, norm.eps)
    else:
        share, positions = shape[1] // norm.num_groups, shape[2] * shape[3]
        groups = x.reshape(shape[0], norm.num_groups, share, positions)
        normal = whiten(groups, POSITIONS, norm.eps).reshape(shape)
    return pointwise(as_type(normal, x.dtype), norm.weight, norm.bias)


# --- SMSA, PCSA, SCSA


def scsa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """SMSA, then PCSA."""
    if m.parts == "spatial":
        return smsa(m, x)
    if m.parts == "channel":
        return pcsa(m, x)
    return smsa(m, pcsa(m, x)) if m.first == "channel" else pcsa(m, smsa(m, x))


def smsa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """Each direction alone, its profile (B, C, H, 1) or (B, C, 1, W)."""
    return x * (_spatial_gate(m, x, 3) * _spatial_gate(m, x, 2))


def _spatial_gate(m: Any, x: torch.Tensor, mean_over: int) -> torch.Tensor:
    norm, suffix = m.norm_h, ""
    if mean_over == 2:
        norm, suffix = m.norm_w, "" if m.shared else "_w"
    profile = x.mean(dim=mean_over, keepdim=True)
    if m.norm_first:
        profile = _normalise(profile, norm)
    weight, bias = _kernels(m, suffix, x)
    profile = along(profile, weight.unsqueeze(1), bias, max(m.kernels) // 2, mean_over, m.channels)
    if not m.norm_first:
        profile = _normalise(profile, norm)
    return as_type(activate(m, profile, 5 - mean_over), x.dtype)


def _kernels(m: Any, suffix: str, x: torch.Tensor) -> Pair:
    """Return the joint kernel (C, k) and bias (C), in a traced graph as constants."""
    if not torch.jit.is_tracing():
        return kernels(m, suffix, None)
    with not_traced(), torch.no_grad():
        return kernels(m, suffix, constants(m, x))


def along(
    profile: torch.Tensor, kernel: torch.Tensor, bias: Any, reach: int, mean_over: int, groups: int
) -> torch.Tensor:
    """Pass a profile through a 1-D kernel (O, I, k), as a convolution of two dimensions."""
    padding = (reach, 0) if mean_over == 3 else (0, reach)
    return F.conv2d(profile, kernel.unsqueeze(mean_over), bias, padding=padding, groups=groups)


def _normalise(profile: torch.Tensor, norm: Any) -> torch.Tensor:
    if isinstance(norm, nn.GroupNorm):
        return group_norm(profile, norm)
    if isinstance(norm, nn.modules.batchnorm._BatchNorm):
        return _batch_norm(profile, norm)
    return profile


def _batch_norm(x: torch.Tensor, norm: Any) -> torch.Tensor:
    """Apply the stored statistics of a batch norm, as a convolution."""
    gain = norm.weight / (norm.running_var + norm.eps).sqrt()
    return pointwise(x, gain, norm.bias - norm.running_mean * gain)


def pcsa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """The norm's affine part and the projections are depthwise 1 x 1 convolutions."""
    compressed = _compress(m, x)
    y = as_type(whiten(compressed, (1, 2, 3), m.norm.eps), x.dtype)
    _, _, height, width = sizes(y)
    per_head = m.channels // m.heads
    root = (height * width if m.scale == "positions" else per_head) ** -0.25
    q, k = (_heads(m, _project(m, y, conv, root)) for conv in (m.q, m.k))
    v = _heads(m, _project(m, y, m.v).mean(dim=POSITIONS, keepdim=True))
    attention = (q @ k.transpose(2, 3)).softmax(dim=3)
    joined = _join(m, attention @ v)
    return x * as_type(activate(m, joined, 1), x.dtype)


def _compress(m: Any, x: torch.Tensor) -> torch.Tensor:
    if isinstance(m.window, str):
        return x.mean(dim=POSITIONS, keepdim=True)
    height, width = sizes(x)[2:]
    kernel = (min(m.window, height), min(m.window, width))
    if m.pool == "max":
        return F.max_pool2d(x, kernel, ceil_mode=m.cover_edge)
    if not m.cover_edge:
        return F.avg_pool2d(x, kernel)
    # Runtimes differ in what they divide the last, smaller windows by: full windows of zeros, and
    # then the share of each that lies in the map.
    full = _lengthen(_lengthen(x, 2, -height % kernel[0]), 3, -width % kernel[1])
    pooled = F.avg_pool2d(full, kernel)
    rows, columns = _shares(height, kernel[0]), _shares(width, kernel[1])
    factors = [[row * column for column in columns] for row in rows]
    return pooled * _constant([[factors]], x)


def _lengthen(x: torch.Tensor, dim: int, by: int) -> torch.Tensor:
    """Append zeros along a side; of F.pad the exporter makes a dozen operators that stay."""
    if by == 0:
        return x
    shape = list(sizes(x))
    shape[dim] = by
    with not_traced() if torch.jit.is_tracing() else nullcontext():
        zeros = torch.zeros(shape, dtype=x.dtype, device=x.device)
    return torch.cat((x, zeros), dim=dim)


def _constant(values: list[Any], like: torch.Tensor) -> torch.Tensor:
    """Return values as a tensor that a traced graph holds as it is."""
    with not_traced() if torch.jit.is_tracing() else nullcontext():
        return torch.tensor(values, dtype=like.dtype, device=like.device)


def _shares(length: int, side: int) -> list[float]:
    """Return by what the mean of each window on a side is too small."""
    starts = range(0, length, side)
    return [side / min(side, length - start) for start in starts]


def _project(m: Any, y: torch.Tensor, conv: Any, root: float = 1.0) -> torch.Tensor:
    """Apply the norm's affine part, a projection and a scale, as one convolution."""
    weight = conv.weight.view(-1) * root
    shift = weight * m.norm.bias
    if conv.bias is not None:
        shift = shift + conv.bias * root
    return pointwise(y, weight * m.norm.weight, shift)


def _heads(m: Any, t: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) to (B, heads, C / heads, h w)."""
    batch, channels, height, width = sizes(t)
    per_head, positions = channels // m.heads, height * width
    if m.shuffle:  # channel c of head h is channel c * heads + h
        return t.reshape(batch, per_head, m.heads, positions).transpose(1, 2)
    return t.reshape(batch, m.heads, per_head, positions)


def _join(m: Any, t: torch.Tensor) -> torch.Tensor:
    """(B, heads, C / heads, 1) to (B, C, 1, 1)."""
    t = t.transpose(1, 2) if m.shuffle else t
    return t.reshape(sizes(t)[0], m.channels, 1, 1)


# --- Gates of the channels


def se(m: Any, x: torch.Tensor) -> torch.Tensor:
    """SE; its linear layers are 1 x 1 convolutions."""
    return x * as_type(_perceptron(m.fc, x.mean(dim=POSITIONS, keepdim=True)), x.dtype)


def _perceptron(layers: Any, z: torch.Tensor) -> torch.Tensor:
    """Two linear layers without a bias on (B, C, 1, 1), ReLU between them, a sigmoid after."""
    hidden = F.relu(F.conv2d(z, layers[0].weight[:, :, None, None]))
    return F.conv2d(hidden, layers[2].weight[:, :, None, None]).sigmoid()


def eca(m: Any, x: torch.Tensor) -> torch.Tensor:
    """ECA; the channels are a column (B, 1, C, 1)."""
    gate = _mix_channels(m.conv, _as_column(x.mean(dim=POSITIONS, keepdim=True))).sigmoid()
    return x * as_type(_as_channels(gate), x.dtype)


def _as_column(z: torch.Tensor) -> torch.Tensor:
    batch, channels = sizes(z)[:2]
    return z.reshape(batch, 1, channels, 1)


def _as_channels(z: torch.Tensor) -> torch.Tensor:
    batch, _, channels, _ = sizes(z)
    return z.reshape(batch, channels, 1, 1)


def _mix_channels(conv: Any, column: torch.Tensor) -> torch.Tensor:
    reach = conv.kernel_size[0] // 2
    return F.conv2d(column, conv.weight.unsqueeze(3), padding=(reach, 0))


def afgca(m: Any, x: torch.Tensor) -> torch.Tensor:
    """AFGCA; the channels are a column, and its products with a row of sums are plain ones."""
    z = x.mean(dim=POSITIONS, keepdim=True)
    u, v = widen(_mix_channels(m.conv1, _as_column(z))), widen(_as_column(m.fc(z)))
    rows = (v * u.sum(dim=2, keepdim=True)).sigmoid()
    columns = (u * v.sum(dim=2, keepdim=True)).sigmoid()
    mixed = columns + (rows - columns) * m.mix["w"].sigmoid()
    gate = _mix_channels(m.conv1, as_type(mixed, x.dtype)).sigmoid()
    return x * as_type(_as_channels(gate), x.dtype)


def fca(m: Any, x: torch.Tensor) -> torch.Tensor:
    """FCA; bins of the pooling are means of slices where they are not all of one size."""
    pooled = _pool_bins(_pool_bins(x, 2, m.dct_size), 3, m.dct_size)
    z = (pooled * m.dct_layer.weight[None]).sum(dim=POSITIONS, keepdim=True)
    return x * as_type(_perceptron(m.fc, z), x.dtype)


def _pool_bins(x: torch.Tensor, dim: int, bins: int) -> torch.Tensor:
    """Average one side to ``bins`` values, as torch's adaptive pooling does."""
    length = sizes(x)[dim]
    if length == bins:
        return x
    if length % bins == 0:
        side = length // bins
        return F.avg_pool2d(x, (side, 1) if dim == 2 else (1, side))
    parts = []
    for i in range(bins):
        start, end = i * length // bins, -(-(i + 1) * length // bins)
        parts.append(x.narrow(dim, start, end - start).mean(dim=dim, keepdim=True))
    return torch.cat(parts, dim=dim)


# --- Gates of the positions


def ca(m: Any, x: torch.Tensor) -> torch.Tensor:
    """CA, each direction alone."""
    gate_h = m.attn_h(_ca_bottleneck(m, x.mean(dim=3, keepdim=True))).sigmoid()
    gate_w = m.attn_w(_ca_bottleneck(m, x.mean(dim=2, keepdim=True))).sigmoid()
    return x * as_type(gate_h * gate_w, x.dtype)


def _ca_bottleneck(m: Any, profile: torch.Tensor) -> torch.Tensor:
    y = _batch_norm(m.conv["conv"](profile), m.conv["bn"])
    return y * (y + 3).clamp(0, 6) / 6  # hard swish, an operator from opset 14 on only


def ela(m: Any, x: torch.Tensor) -> torch.Tensor:
    """ELA, each direction alone."""
    return x * (_ela_gate(m, x, 3) * _ela_gate(m, x, 2))


def _ela_gate(m: Any, x: torch.Tensor, mean_over: int) -> torch.Tensor:
    profile, reach = x.mean(dim=mean_over, keepdim=True), m.conv.kernel_size[0] // 2
    profile = along(profile, m.conv.weight, None, reach, mean_over, m.channels)
    return as_type(group_norm(profile, m.gn).sigmoid(), x.dtype)


def cpca(m: Any, x: torch.Tensor) -> torch.Tensor:
    """CPCA; GELU by the error function, since it is an operator from opset 20 on only."""
    y = m.conv(x)
    y = y * ((y / math.sqrt(2)).erf() + 1) * 0.5
    return as_type(m.weigh(y * as_type(m.channel_gate(y), y.dtype)), x.dtype)


def cbam(m: Any, x: torch.Tensor) -> torch.Tensor:
    """CBAM, as it is written."""
    mean, peak = x.mean(dim=POSITIONS, keepdim=True), x.amax(dim=POSITIONS, keepdim=True)
    y = x * as_type((m.mlp_chans(mean) + m.mlp_chans(peak)).sigmoid(), x.dtype)
    profile = torch.cat((y.mean(dim=1, keepdim=True), y.amax(dim=1, keepdim=True)), dim=1)
    return y * as_type(m.mlp_spaces(profile).sigmoid(), x.dtype)


def ema(m: Any, x: torch.Tensor) -> torch.Tensor:
    """EMA; its groups stay channels, each layer is repeated for them as a grouped convolution."""
    batch, channels, height, width = sizes(x)
    count, n = m.factor, channels // m.factor
    gate_h = _repeated(m.conv1x1, x.mean(dim=3, keepdim=True), count).sigmoid()
    gate_w = _repeated(m.conv1x1, x.mean(dim=2, keepdim=True), count).sigmoid()
    gated = x * as_type(gate_h * gate_w, x.dtype)
    normal = as_type(whiten(gated, POSITIONS, m.gn.eps), x.dtype)
    u = pointwise(normal, _copies(m.gn.weight, count), _copies(m.gn.bias, count))
    v = _repeated(m.conv3x3, x, count)
    means = v.mean(dim=POSITIONS, keepdim=True).reshape(batch, count, n, 1)
    weights_u = as_type(means.softmax(dim=2), u.dtype).reshape(batch, channels, 1, 1)
    weights_v = _copies(m.gn.bias.softmax(dim=0), count)  # the mean of u is gn's bias
    mixed = u * weights_u + pointwise(v, as_type(weights_v, v.dtype), None)
    in_groups = (batch, count, n, height * width)
    gate = mixed.reshape(in_groups).sum(dim=2, keepdim=True).sigmoid()
    out = x.reshape(in_groups) * as_type(gate, x.dtype)
    return out.reshape(batch, channels, height, width)


def _repeated(conv: Any, x: torch.Tensor, count: int) -> torch.Tensor:
    """Apply a convolution of n channels to each of ``count`` groups of n."""
    weight, bias = _copies(conv.weight, count), _copies(conv.bias, count)
    return F.conv2d(x, weight, bias, padding=conv.padding, groups=count)


def _copies(weight: torch.Tensor, count: int) -> torch.Tensor:
    """Repeat along the first dimension, by what an exporter can compute of constants."""
    return torch.cat([weight] * count)


def sa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """SA; groups, their halves and positions are three of four dimensions."""
    if m.channels % 2 == 0:
        return _sa_even(m, x)
    whole = m.channels - 1
    return torch.cat((_sa_even(m, x.narrow(1, 0, whole)), x.narrow(1, whole, 1)), dim=1)


def _sa_even(m: Any, x: torch.Tensor) -> torch.Tensor:
    batch, channels, height, width = sizes(x)
    positions = height * width
    groups = x.reshape(batch, m.groups, 2 * m.width, positions)
    first, second = groups.narrow(2, 0, m.width), groups.narrow(2, m.width, m.width)
    column = (1, 1, m.width, 1)
    c_w, c_b, s_w, s_b = (t.reshape(column) for t in (m.c_w, m.c_b, m.s_w, m.s_b))
    gate_c = as_type((c_w * first.mean(dim=3, keepdim=True) + c_b).sigmoid(), x.dtype)
    gain, shift = m.gn.weight.reshape(column) * s_w, m.gn.bias.reshape(column) * s_w + s_b
    normal = whiten(second, (3,), m.gn.eps)
    gate_s = as_type((normal * gain + shift).sigmoid(), x.dtype)
    joined = torch.cat((first * gate_c, second * gate_s), dim=2)
    shuffled = joined.reshape(batch, 2, channels // 2, positions).transpose(1, 2)
    return shuffled.reshape(batch, channels, height, width)
