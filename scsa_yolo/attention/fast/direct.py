"""Fewer and cheaper operators for the same numbers: on any device, under autograd and compilers
too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from scsa_yolo.attention.fast.folded import Constants, constants, joint_kernel, scale, times
from scsa_yolo.attention.fast.mode import recorded, traced
from scsa_yolo.attention.plain import compress

Pair = tuple[torch.Tensor, torch.Tensor]


def group_norm(x: torch.Tensor, norm: Any) -> torch.Tensor:
    """Apply ``norm`` to (B, C, ...) without the check of ``nn.GroupNorm`` that refuses one value
    per group.

    Such groups are legal here (a 1 x 1 map, a batch of one, a width as small as the number of
    groups): their result is the bias.
    """
    return torch.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)


def normalise(norm: nn.Module, profile: torch.Tensor) -> torch.Tensor:
    """Apply one of SMSA's norms to a profile (B, C, L)."""
    if isinstance(norm, nn.GroupNorm):
        return group_norm(profile, norm)
    result: torch.Tensor = norm(profile)
    return result


# --- SMSA, PCSA, SCSA


def scsa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """SMSA, then PCSA on its result, which is fresh."""
    found = constants(m, x)
    if m.parts == "spatial":
        return _spatial(m, x, found)
    if m.parts == "channel":
        return _channel(m, x)
    if m.first == "channel":
        return _spatial(m, _channel(m, x), found)
    z = _spatial(m, x, found)
    return scale(z, channel_gate(m, compress(m, z)))


def smsa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """Both directions through one convolution."""
    return _spatial(m, x, constants(m, x))


def pcsa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """The mean over positions is taken of V, before the product."""
    return _channel(m, x)


def _spatial(m: Any, x: torch.Tensor, found: Constants | None) -> torch.Tensor:
    gate_h, gate_w = spatial_gates(m, x.mean(dim=3), x.mean(dim=2), found)
    return scale(times(m, x, gate_w.unsqueeze(2)), gate_h.unsqueeze(3))


def _channel(m: Any, x: torch.Tensor) -> torch.Tensor:
    return times(m, x, channel_gate(m, compress(m, x)))


def kernels(m: Any, suffix: str, found: Constants | None) -> Pair:
    """Return the joint kernel (C, k) and bias (C), as folded or of the live weights."""
    if found is None or found.kernel is None:
        return joint_kernel(m, suffix)
    kept = (found.kernel_w, found.bias_w) if suffix else (found.kernel, found.bias)
    return kept  # type: ignore[return-value]


def spatial_gates(
    m: Any, height: torch.Tensor, width: torch.Tensor, found: Constants | None = None
) -> Pair:
    """Turn the profiles (B, C, H) and (B, C, W) into gates of the same shapes and type."""
    dtype = height.dtype
    if m.norm_first:
        height, width = normalise(m.norm_h, height), normalise(m.norm_w, width)
    if m.shared:
        height, width = _mix_both(m, height, width, found)
    else:
        height, width = _mix(m, height, "", found), _mix(m, width, "_w", found)
    if not m.norm_first:
        height, width = normalise(m.norm_h, height), normalise(m.norm_w, width)
    # GroupNorm runs in float32 under autocast; gates of the map's own type keep the full-size
    # product in that type
    return activate(m, height, 2).to(dtype), activate(m, width, 2).to(dtype)


def activate(m: Any, t: torch.Tensor, dim: int) -> torch.Tensor:
    """Make a gate of ``t``; a softmax gate runs along ``dim``."""
    return t.softmax(dim=dim) if m.gate == "softmax" else t.sigmoid()


def _mix(m: Any, profile: torch.Tensor, suffix: str, found: Constants | None) -> torch.Tensor:
    """Pass the branches of one profile (B, C, L) through their convolutions, as one."""
    weight, bias = kernels(m, suffix, found)
    reach = max(m.kernels) // 2
    return depthwise(F.pad(profile, (reach, reach)), weight, bias)


def _mix_both(m: Any, height: torch.Tensor, width: torch.Tensor, found: Constants | None) -> Pair:
    """Pass both profiles through the shared convolutions at once: one sequence."""
    weight, bias = kernels(m, "", found)
    reach, length = max(m.kernels) // 2, height.shape[2]
    mixed = depthwise(in_line(height, width, reach, found), weight, bias)
    return mixed[:, :, :length], mixed[:, :, length + reach :]


def in_line(
    height: torch.Tensor, width: torch.Tensor, reach: int, found: Constants | None = None
) -> torch.Tensor:
    """Put both profiles into one sequence, with as many zeros between and around them as a kernel
    reaches.
    """
    if found is not None and found.gap is not None and height.shape[0] == 1:
        gap = found.gap
    else:
        gap = height.new_zeros(1, 1, 1).expand(height.shape[0], height.shape[1], reach)
    return torch.cat((gap, height, gap, width, gap), dim=2)


# Values of a sequence (B x C x L) up to which products beat oneDNN's Conv1d, measured on two cores.
SHORT = 8192


def runs_plainly_on_cpu(t: torch.Tensor) -> bool:
    """Tell whether ``t`` is float32 on a CPU and nothing records, traces or compiles.

    There the first call of each kind of operator between two convolutions costs tens of
    microseconds, its code having left the caches: few kinds, and simple ones, count for more than
    few calls.
    """
    return t.is_cpu and t.dtype == torch.float32 and not recorded()


def depthwise(padded: torch.Tensor, weight: torch.Tensor, bias: Any) -> torch.Tensor:
    """Depthwise 1-D convolution of (B, C, L + k - 1) by (C, k), to (B, C, L).

    On a CPU the set-up of oneDNN's Conv1d costs more than a short sequence: there the products are
    written out.
    """
    if runs_plainly_on_cpu(padded) and padded.numel() <= SHORT:
        windows = padded.unfold(2, weight.shape[1], 1)
        mixed = (windows * weight.unsqueeze(1)).sum(dim=3)
        return mixed if bias is None else mixed.add_(bias.unsqueeze(1))
    return F.conv1d(padded, weight.unsqueeze(1), bias, groups=weight.shape[0])


def channel_gate(m: Any, compressed: torch.Tensor) -> torch.Tensor:
    """Turn a compressed map (B, C, h, w) into its gate (B, C, 1, 1), of the same type."""
    y = group_norm(compressed, m.norm).flatten(2)
    # Half of the scale goes into each factor, before the sum over N: in float16 the plain product
    # could overflow.
    root = (y.shape[2] if m.scale == "positions" else m.channels // m.heads) ** -0.25
    q, k = (_heads(m, _project(y, conv, root)) for conv in (m.q, m.k))
    v = _heads(m, _project(y.mean(dim=2, keepdim=True), m.v))  # linear, so on the mean
    attention = (q @ k.transpose(-2, -1)).softmax(dim=-1)
    if m.attn_drop.p:
        attention = m.attn_drop(attention)
    joined = _join(m, attention @ v.to(attention.dtype))
    return activate(m, joined, 1).to(compressed.dtype)


def _project(y: torch.Tensor, conv: Any, root: Any = None) -> torch.Tensor:
    """Apply a depthwise 1 x 1 convolution, times ``root``, to (B, C, N) as the product that it
    is.
    """
    weight, bias = conv.weight.view(-1), conv.bias
    if root is not None:
        weight, bias = weight * root, None if bias is None else bias * root
    y = y * weight.unsqueeze(1)
    return y if bias is None else y + bias.unsqueeze(1)


def _heads(m: Any, t: torch.Tensor) -> torch.Tensor:
    """(B, C, N) to (B, heads, C / heads, N), or as it is for one head."""
    if m.heads == 1:
        return t
    width = m.channels // m.heads
    if m.shuffle:  # channel c of head h is channel c * heads + h
        return t.unflatten(1, (width, m.heads)).transpose(1, 2)
    return t.unflatten(1, (m.heads, width))


def _join(m: Any, t: torch.Tensor) -> torch.Tensor:
    """What :func:`_heads` makes of (B, C, 1), to (B, C, 1, 1)."""
    if m.heads > 1:
        t = (t.transpose(1, 2) if m.shuffle else t).flatten(1).unsqueeze(2)
    return t.unsqueeze(3)


# --- The others


def se(m: Any, x: torch.Tensor) -> torch.Tensor:
    """SE, into its input where that is allowed."""
    return times(m, x, m.gate(x))


def fca(m: Any, x: torch.Tensor) -> torch.Tensor:
    """FCA, into its input where that is allowed."""
    return times(m, x, m.gate(m.describe(x)).to(x.dtype))


def cbam(m: Any, x: torch.Tensor) -> torch.Tensor:
    """CBAM: the sum of the bottleneck's two results is its last layer of one sum."""
    squeeze, excite = m.mlp_chans[0], m.mlp_chans[2]
    mean, peak = x.mean(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    hidden = F.relu(squeeze(mean)) + F.relu(squeeze(peak))
    x = times(m, x, excite(hidden).sigmoid().to(x.dtype))
    profile = torch.cat((x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)), dim=1)
    return scale(x, m.mlp_spaces(profile).sigmoid().to(x.dtype))


def ca_gates(m: Any, mean_h: torch.Tensor, mean_w: torch.Tensor) -> Pair:
    """Turn CA's profiles (B, C, H) and (B, C, W) into gates of the same shapes and type."""
    height = mean_h.shape[2]
    y = m.bottleneck(torch.cat((mean_h, mean_w), dim=2)[..., None])  # (B, m, H + W, 1)
    gate_h, gate_w = m.attn_h(y[:, :, :height]).sigmoid(), m.attn_w(y[:, :, height:]).sigmoid()
    return gate_h.squeeze(3).to(mean_h.dtype), gate_w.squeeze(3).to(mean_h.dtype)


def ca(m: Any, x: torch.Tensor) -> torch.Tensor:
    """CA, without a full-size gate."""
    return _scale_positions(m, x, ca_gates(m, x.mean(dim=3), x.mean(dim=2)))


def ela_gates(m: Any, mean_h: torch.Tensor, mean_w: torch.Tensor) -> Pair:
    """Turn ELA's profiles into gates: one convolution for both, in one sequence."""
    reach, height, dtype = m.conv.kernel_size[0] // 2, mean_h.shape[2], mean_h.dtype
    mixed = depthwise(in_line(mean_h, mean_w, reach), m.conv.weight.squeeze(1), None)
    gate_h = group_norm(mixed[:, :, :height], m.gn).sigmoid()
    gate_w = group_norm(mixed[:, :, height + reach :], m.gn).sigmoid()
    return gate_h.to(dtype), gate_w.to(dtype)


def ela(m: Any, x: torch.Tensor) -> torch.Tensor:
    """ELA, both directions through one convolution."""
    return _scale_positions(m, x, ela_gates(m, x.mean(dim=3), x.mean(dim=2)))


def _scale_positions(m: Any, x: torch.Tensor, gates: Pair) -> torch.Tensor:
    gate_h, gate_w = gates
    return scale(times(m, x, gate_w.unsqueeze(2)), gate_h.unsqueeze(3))


def cpca(m: Any, x: torch.Tensor) -> torch.Tensor:
    """CPCA: oneDNN's depthwise convolutions are two to twenty times as fast with channels last."""
    y = F.gelu(m.conv(x))
    z = y * m.channel_gate(y).to(y.dtype)
    last = x.device.type == "cpu" and not torch.compiler.is_compiling()
    out = m.weigh(z.contiguous(memory_format=torch.channels_last) if last else z).to(x.dtype)
    return out.contiguous() if last and x.is_contiguous() else out


def instance_norm(x: torch.Tensor, channels: int, affine: Pair, eps: float) -> torch.Tensor:
    """Normalise each channel of (B, C, H, W) over its positions, then apply weight and bias (C).

    GroupNorm with a group a channel: torch's own instance norm is six times as slow on a CPU.
    """
    return torch.group_norm(x, channels, affine[0], affine[1], eps)


def ema_gate(m: Any, profile: torch.Tensor) -> torch.Tensor:
    """Turn a profile of four dimensions into a gate of the same shape and type."""
    conv = m.conv1x1
    single = conv.in_channels == 1
    mixed = profile * conv.weight.view(()) + conv.bias if single else conv(profile)
    return mixed.sigmoid().to(profile.dtype)


def ema_gates(m: Any, mean_h: torch.Tensor, mean_w: torch.Tensor) -> Pair:
    """Turn EMA's profiles (B G, n, H) and (B G, n, W) into gates."""
    joined = ema_gate(m, torch.cat((mean_h, mean_w), dim=2)[..., None]).squeeze(3)
    return joined[:, :, : mean_h.shape[2]], joined[:, :, mean_h.shape[2] :]


def _ema_positions(m: Any, groups: torch.Tensor) -> torch.Tensor:
    gate_h, gate_w = ema_gates(m, groups.mean(dim=3), groups.mean(dim=2))
    return scale(groups * gate_w.unsqueeze(2), gate_h.unsqueeze(3))


def ema(m: Any, x: torch.Tensor) -> torch.Tensor:
    """EMA, with the mean of the norm's output read from its bias."""
    return ema_with(m, x, _ema_positions, instance_norm)


def ema_with(m: Any, x: torch.Tensor, positions: Any, norm: Any) -> torch.Tensor:
    """EMA, with one way or another to gate the positions and to normalise."""
    if m.factor == m.channels:
        return _ema_single(m, x, positions, norm)
    gn, (height, width) = m.gn, x.shape[2:]
    groups = x.reshape(-1, m.channels // m.factor, height, width)  # (B G, n, H, W)
    u = norm(positions(m, groups), gn.num_channels, (gn.weight, gn.bias), gn.eps)
    v = m.conv3x3(groups)
    weights_v = _weights_of_bias(gn.bias, groups.shape[0]).to(v.dtype)  # the mean of u is gn's bias
    weights_u = v.mean(dim=(2, 3)).softmax(dim=1)[:, None].to(u.dtype)  # (B G, 1, n)
    gate = weights_v @ v.flatten(2) + weights_u @ u.flatten(2)  # (B G, 1, H W)
    gate = gate.sigmoid().to(x.dtype).reshape(-1, 1, height, width)
    return (groups * gate).reshape(x.shape)


def _weights_of_bias(bias: torch.Tensor, groups: int) -> torch.Tensor:
    """Return the softmax of ``bias`` (n), as (1, n) or, while gradients are recorded, (B G, 1, n).

    The gradient of a softmax is a small difference of large sums. Taken group by group the sums are
    short; taken once over all groups, float32 lost two digits of the bias's gradient.
    """
    if torch.is_grad_enabled() and not traced():
        return bias.expand(groups, 1, -1).softmax(dim=2)
    return bias.softmax(dim=0)[None]


def _ema_single(m: Any, x: torch.Tensor, positions: Any, norm: Any) -> torch.Tensor:
    """Groups of one channel: both softmaxes are 1, and the 3 x 3 convolution of all groups is a
    depthwise one.
    """
    gn, conv, count = m.gn, m.conv3x3, m.channels
    u = norm(positions(m, x), count, (gn.weight.repeat(count), gn.bias.repeat(count)), gn.eps)
    kernel, shift = conv.weight.repeat(count, 1, 1, 1), conv.bias.repeat(count)
    gate = u + F.conv2d(x, kernel, shift, padding=1, groups=count)
    return scale(gate.sigmoid().to(x.dtype), x)


def sa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """SA, with scale and shift folded into the normalisation."""
    return sa_with(m, x, instance_norm, sa_join)


def sa_with(m: Any, x: torch.Tensor, norm: Any, join: Any) -> torch.Tensor:
    """SA, with one way or another to normalise and to put the halves together."""
    if m.channels % 2:
        return torch.cat((_sa_even(m, x[:, :-1], norm, join), x[:, -1:]), dim=1)
    return _sa_even(m, x, norm, join)


def _sa_even(m: Any, x: torch.Tensor, norm: Any, join: Any) -> torch.Tensor:
    height, width = x.shape[2:]
    halves = x.reshape(-1, m.groups, 2, m.width, height, width)
    first, second = halves[:, :, 0], halves[:, :, 1]  # (B, G, C / 2G, H, W)
    gate_c = (m.c_w * first.mean(dim=(3, 4), keepdim=True) + m.c_b).sigmoid()
    gain, shift = m.s_w.flatten(), m.s_b.flatten()
    affine = m.gn.weight * gain, m.gn.bias * gain + shift
    normal = norm(second.flatten(0, 1), m.gn.num_channels, affine, m.gn.eps)
    gate_s = normal.sigmoid().reshape(second.shape)
    result: torch.Tensor = join(m, (first, second), (gate_c.to(x.dtype), gate_s.to(x.dtype)))
    return result


def sa_join(m: Any, halves: Pair, gates: Pair) -> torch.Tensor:
    """Put the halves together, and interleave the channels of the result's two halves."""
    out = torch.stack((halves[0] * gates[0], halves[1] * gates[1]), dim=2)
    size = halves[0].shape[3:]
    return out.reshape(-1, 2, m.groups * m.width, *size).transpose(1, 2).flatten(1, 2)
