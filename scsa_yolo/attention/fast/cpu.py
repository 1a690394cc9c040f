"""Inference in float32 on a CPU.

There the first call of each kind of operator between two convolutions costs tens of microseconds,
its code having left the caches: few kinds, and simple ones, count for more than few calls.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from scsa_yolo.attention.fast import direct
from scsa_yolo.attention.fast.direct import SHORT, Pair, activate, group_norm
from scsa_yolo.attention.fast.folded import Constants, Square, constants, products, scale, times
from scsa_yolo.attention.plain import compress

# A sum of products beats a matrix product up to FEW products (B x C x C x N), in sums of LONG terms
# (N) and more.
FEW, LONG = 1 << 17, 16
# Values of a map from which a CPU averages rows first: a sum along them is vectorised, avg_pool2d
# is not. Below, one kind of operator less counts for more.
LARGE = 300_000


def average(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Return the mean of ``x`` over one dimension; a mean's division is a kind of its own."""
    return x.sum(dim=dim).mul_(1 / x.shape[dim])


def scsa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """SMSA, then PCSA on its result, which is fresh."""
    found = constants(m, x)
    if m.parts == "spatial":
        return _spatial(m, x, found)
    if m.parts == "channel":
        return _channel(m, x, found)
    if m.first == "channel":
        return _spatial(m, _channel(m, x, found), found)
    z = _spatial(m, x, found)
    return scale(z, _channel_gate(m, pool(m, z), found))


def smsa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """SMSA; folded, both directions of a square map go through one norm."""
    return _spatial(m, x, constants(m, x))


def pcsa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """PCSA; folded, q and k are one matrix of products of their weights."""
    return _channel(m, x, constants(m, x))


def _spatial(m: Any, x: torch.Tensor, found: Constants | None) -> torch.Tensor:
    batch, channels, height, width = x.shape
    short = height == width and 2 * batch * channels * height <= SHORT
    if short and found is not None and found.square is not None:
        gate_h, gate_w = _square_gates(m, x, found, found.square)
    else:
        gate_h, gate_w = direct.spatial_gates(m, average(x, 3), average(x, 2), found)
    return scale(times(m, x, gate_w.unsqueeze(2)), gate_h.unsqueeze(3))


def _square_gates(m: Any, x: torch.Tensor, found: Constants, square: Square) -> Pair:
    """Return both gates of a square map (B, C, L, L): the directions as (B, 2 C, L), one norm.

    The profiles stay sums: means would only divide what is normalised anyway, by L, so the biases
    of the convolutions are multiplied by it instead, and the norm's epsilon by its square. The
    same numbers.
    """
    norm, kernel = m.norm_h, square.kernel
    (batch, channels, length), taps = x.shape[:3], kernel.shape[2]
    line = direct.in_line(x.sum(dim=3), x.sum(dim=2), taps // 2, found)
    row, next_side = line.shape[2], length + taps // 2
    shape, strides = (batch, 2, channels, length, taps), (channels * row, next_side, row, 1, 1)
    mixed = (line.as_strided(shape, strides) * kernel).sum(dim=4)
    mixed = mixed.view(batch, 2 * channels, length).add_(square.bias, alpha=length)
    eps = norm.eps * length**2
    both = torch.group_norm(mixed, 2 * norm.num_groups, square.gain, square.shift, eps)
    gate_h, gate_w = activate(m, both, 2).chunk(2, dim=1)
    return gate_h, gate_w


def _channel(m: Any, x: torch.Tensor, found: Constants | None) -> torch.Tensor:
    return times(m, x, _channel_gate(m, pool(m, x), found))


def pool(m: Any, x: torch.Tensor) -> torch.Tensor:
    """Compress a map as ``plain.compress`` does; of a large one the rows are averaged first."""
    rows_first = m.pool == "avg" and not m.cover_edge and x.numel() >= LARGE
    if not rows_first or isinstance(m.window, str):
        return compress(m, x)
    high, wide = min(m.window, x.shape[2]), min(m.window, x.shape[3])
    rows = x.shape[2] // high
    x = average(x[:, :, : rows * high].unflatten(2, (rows, high)), 3)
    return F.avg_pool2d(x, (1, wide))


def _channel_gate(m: Any, compressed: torch.Tensor, found: Constants | None) -> torch.Tensor:
    """Turn the compressed map into the gate (B, C, 1, 1).

    With one head and no bias q and k scale channels, so their product is that of y with itself,
    times the products of their weights.
    """
    if m.heads != 1 or m.training or m.q.bias is not None:
        return direct.channel_gate(m, compressed)
    y = group_norm(compressed, m.norm).flatten(2)
    positions = y.shape[2]
    weights, values = (None, None) if found is None else (found.products, found.values)
    weights = products(m, positions) if weights is None else weights
    values = m.v.weight.view(-1) if values is None else values
    if y.numel() * m.channels <= FEW and positions >= LONG:
        alike = (y.unsqueeze(1) * y.unsqueeze(2)).sum(dim=3)
    else:
        alike = torch.bmm(y, y.transpose(1, 2))
    attention = alike.mul_(weights).softmax(dim=-1)
    v = y.sum(dim=2).mul_(values)
    gate = (attention * v.unsqueeze(1)).sum(dim=2, keepdim=True).mul_(1 / positions)
    return activate(m, gate.unsqueeze(3), 1)


# --- The others


def fca(m: Any, x: torch.Tensor) -> torch.Tensor:
    """FCA, the rows of a large map averaged first."""
    size, height = m.dct_size, x.shape[2]
    if x.numel() >= LARGE and not height == x.shape[3] == size:
        bins = [slice(i * height // size, -(-(i + 1) * height // size)) for i in range(size)]
        pooled = torch.stack([x[:, :, rows].mean(dim=2) for rows in bins], dim=2)
        return times(m, x, m.gate(m.describe(pooled)).to(x.dtype))
    return direct.fca(m, x)


def sa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """SA, each half's product written to where the shuffle takes it."""
    return direct.sa_with(m, x, direct.instance_norm, _sa_shuffled)


def _sa_shuffled(m: Any, halves: Pair, gates: Pair) -> torch.Tensor:
    """Write each half's product to where the shuffle would take it, instead of stacking and
    copying.

    The shuffle turns channels (2, G / 2, half of a group, C / 2G) into (G / 2, half of a group,
    C / 2G, 2).
    """
    if m.groups % 2:
        return direct.sa_join(m, halves, gates)
    batch, groups, width, *size = halves[0].shape
    out = halves[0].new_empty(batch, groups // 2, 2, width, 2, *size)
    for index, (half, gate) in enumerate(zip(halves, gates)):
        place = out[:, :, index].permute(0, 3, 1, 2, 4, 5)
        torch.mul(half.unflatten(1, (2, -1)), gate.unflatten(1, (2, -1)), out=place)
    return out.flatten(1, 4)
