"""PCSA, progressive channel-wise self-attention: the second half of SCSA."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.base import (
    Attention,
    check_bool,
    check_choice,
    check_float,
    check_int,
    group_norm,
    largest_divisor,
)
from scsa_yolo.attention.functional import runs_plainly_on_cpu
from scsa_yolo.attention.gating import pool_windows
from scsa_yolo.attention.norms import affine_traced, whole_norm_onnx
from scsa_yolo.attention.smsa import GATES

POOLS = ("avg", "max")
SCALES = ("channels", "positions")
# A sum of products beats a matrix product up to FEW products (B x C x C x N), in sums of LONG terms
# (N) and more.
FEW, LONG = 1 << 17, 16


class PCSA(Attention):
    r"""Progressive channel-wise self-attention (Si et al., Neurocomputing 2025, equations 6 to 13).

    The map is compressed by windows of 7 x 7, normalised, and its channels attend to each other
    over the N positions that remain; the mean over these positions gates the channels:

    .. math::
        Y = \mathrm{GN}_1(\mathrm{Pool}_{7 \times 7}(X)), \quad Q = w_q Y,\; K = w_k Y,\; V = w_v Y
        \;\text{(per channel)}

    .. math::
        \mathrm{PCSA}(X) = X \cdot \sigma\Big(\tfrac1N \sum_n \mathrm{softmax}(Q K^\top / \sqrt{d})\, V\Big)

    with d = C / heads. The mean over positions is linear, so it is taken of V before the product: C
    x C times C x 1 instead of C x C times C x N, the same numbers.

    Source: https://arxiv.org/abs/2407.05128. State-dict names are those of the authors' code.

    Args:
        channels: Width C, at least 1.
        heads: Number of attention heads; limited to the largest divisor of C that is not above it.
        window: Side and stride of the pooling window in pixels of the map, at least 1, or
            ``"global"`` (the authors' ``window_size=-1``, their ablation "w/o progressive
            compression"): one mean over the whole map. A map smaller than the window is pooled as a
            whole.
        pool: ``"avg"`` or ``"max"``.
        gate: ``"sigmoid"``, or ``"softmax"`` over the channels.
        qkv_bias: Give q, k and v a bias.
        attn_drop: Dropout probability of the attention matrix in training, from 0 to 1.
        cover_edge: Pool the rows and columns beyond the last full window too, as smaller windows.
            The authors' code does not see them: of a 20 x 20 map it sees 14 x 14.
        scale: ``"channels"`` divides by sqrt(d); the ablation ``"positions"`` divides by sqrt(N).
        shuffle: Interleave the channels of SMSA's branches before they are split into heads, and
            undo it after, so that each head attends over all branches (ablation "multi-head +
            shuffle"; needs heads above 1 to matter).

    Shape: (B, C, H, W) to (B, C, H, W), any B, H, W of at least 1.

    Raises:
        ValueError: An argument is of the wrong type or range, or the input is not 4-D.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int = 1,
        window: int | str = 7,
        pool: str = "avg",
        gate: str = "sigmoid",
        qkv_bias: bool = False,
        attn_drop: float = 0.0,
        cover_edge: bool = False,
        scale: str = "channels",
        shuffle: bool = False,
    ) -> None:
        super().__init__(channels)
        self.gate = check_choice("gate", gate, GATES, owner=type(self).__name__)
        self._init_compression(window=window, pool=pool, cover_edge=cover_edge)
        self._init_channel(
            heads=heads, qkv_bias=qkv_bias, attn_drop=attn_drop, scale=scale, shuffle=shuffle
        )

    def _init_compression(self, *, window: int | str, pool: str, cover_edge: bool) -> None:
        """Check how the map is compressed; SCSA shares this."""
        owner = type(self).__name__
        if window != "global" and (
            isinstance(window, (bool, str)) or not isinstance(window, int) or window < 1
        ):
            raise ValueError(
                f"{owner}: window must be an int of at least 1 or 'global', got {window!r}"
            )
        self.window = window
        self.pool = check_choice("pool", pool, POOLS, owner=owner)
        self.cover_edge = check_bool("cover_edge", cover_edge, owner=owner)
        if window == "global" and (pool == "max" or cover_edge):
            raise ValueError(
                f"{owner}: window='global' averages the whole map: leave pool and cover_edge out"
                " with it"
            )

    def _init_channel(
        self, *, heads: int, qkv_bias: bool, attn_drop: float, scale: str, shuffle: bool
    ) -> None:
        """Create the parameters of PCSA on ``self``; SCSA shares this, because the authors' names
        are flat.
        """
        owner = type(self).__name__
        self.heads = largest_divisor(self.channels, check_int("heads", heads, low=1, owner=owner))
        check_bool("qkv_bias", qkv_bias, owner=owner)
        self.scale = check_choice("scale", scale, SCALES, owner=owner)
        self.shuffle = check_bool("shuffle", shuffle, owner=owner)
        self.norm = nn.GroupNorm(1, self.channels)
        for name in ("q", "k", "v"):
            self.add_module(
                name,
                nn.Conv2d(self.channels, self.channels, 1, groups=self.channels, bias=qkv_bias),
            )
        self.attn_drop = nn.Dropout(
            check_float("attn_drop", attn_drop, low=0.0, high=1.0, owner=owner)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale each channel by what the channels attend to."""
        self.check_input(x)
        return self._channel(x)

    def _channel(self, x: torch.Tensor) -> torch.Tensor:
        return self.times(x, self._channel_gate(self._compress(x)))

    def _channel_gate(self, compressed: torch.Tensor) -> torch.Tensor:
        """Turn a compressed map (B, C, h, w) into its gate (B, C, 1, 1), of the same type."""
        if (
            self.heads == 1
            and self.q.bias is None
            and not self.training
            and runs_plainly_on_cpu(compressed)
        ):
            return self._channel_gate_on_cpu(group_norm(compressed, self.norm).flatten(2))
        affine = (
            not torch.jit.is_tracing()
        )  # traced, the norm's affine part is folded into the projections
        y = (
            group_norm(compressed, self.norm) if affine else self._normalised_traced(compressed)
        ).flatten(2)
        # Half of the scale goes into each factor, before the sum over N: in float16 the plain
        # product could overflow.
        root = (y.shape[2] if self.scale == "positions" else self.channels // self.heads) ** -0.25
        q, k = (
            self._heads(self._project(y, self.q, root)),
            self._heads(self._project(y, self.k, root)),
        )
        if affine:  # linear, so on the mean
            v = self._project(y.mean(dim=2, keepdim=True), self.v)
        else:  # that way round OpenVINO 2026.4 is wrong from the second picture of a batch on
            v = self._project(y, self.v).mean(dim=2, keepdim=True)
        v = self._heads(v)  # (B, heads, d, 1)
        attention = (q @ k.transpose(-2, -1)).softmax(dim=-1)
        if self.attn_drop.p:
            attention = self.attn_drop(attention)
        return self._activate_channels(self._join(attention @ v.to(attention.dtype))).to(
            compressed.dtype
        )

    def _channel_gate_on_cpu(self, y: torch.Tensor) -> torch.Tensor:
        """Turn the normalised (B, C, N) into the gate (B, C, 1, 1): one head, no bias, float32.

        q and k scale channels, so their product is that of y with itself, times the products of
        their weights.
        """
        weights = self.folded("products")
        weights = self._products(y.shape[2]) if weights is None else weights
        if y.numel() * self.channels <= FEW and y.shape[2] >= LONG:
            alike = (y.unsqueeze(1) * y.unsqueeze(2)).sum(dim=3)
        else:
            alike = torch.bmm(y, y.transpose(1, 2))
        attention = alike.mul_(weights).softmax(dim=-1)
        values = self.folded("values")
        v = y.sum(dim=2).mul_(self.v.weight.view(-1) if values is None else values)
        gate = (attention * v.unsqueeze(1)).sum(dim=2, keepdim=True).mul_(1 / y.shape[2])
        return self._activate_channels(gate.unsqueeze(3))

    def _normalised_traced(self, compressed: torch.Tensor) -> torch.Tensor:
        """Return the bare normalisation; its affine part is folded into the projections."""
        if self.in_onnx_of_one_size():
            return whole_norm_onnx(compressed, self.norm.eps)
        return torch.group_norm(compressed, 1, None, None, self.norm.eps)

    def _products(self, positions: int) -> torch.Tensor:
        """Return (C, C): each weight of q times each of k, times the scale."""
        root = (positions if self.scale == "positions" else self.channels) ** -0.5
        return (self.q.weight.view(-1, 1) * root) * self.k.weight.view(1, -1)

    def _activate_channels(self, gate: torch.Tensor) -> torch.Tensor:
        return gate.softmax(dim=1) if self.gate == "softmax" else gate.sigmoid()

    def constants(self) -> dict[str, torch.Tensor]:
        """The products of q's and k's weights, where they do not depend on the size of the map, and
        v's in a row.
        """
        fixed = self.heads == 1 and self.scale == "channels" and self.q.bias is None
        return (
            {"products": self._products(0), "values": self.v.weight.view(-1).clone()}
            if fixed
            else {}
        )

    def _project(self, y: torch.Tensor, conv: Any, root: Any = None) -> torch.Tensor:
        """Apply a depthwise 1 x 1 convolution, times ``root``, to (B, C, N) as the product that it
        is.
        """
        weight, bias = conv.weight.view(-1), conv.bias
        if root is not None:
            weight, bias = weight * root, None if bias is None else bias * root
        if torch.jit.is_tracing():
            shift = weight * self.norm.bias
            return affine_traced(
                y, weight * self.norm.weight, shift if bias is None else shift + bias
            )
        y = y * weight.unsqueeze(1)
        return y if bias is None else y + bias.unsqueeze(1)

    def _heads(self, t: torch.Tensor) -> torch.Tensor:
        """(B, C, N) to (B, heads, C / heads, N), or as it is for one head."""
        if self.heads == 1:
            return t
        if (
            self.shuffle
        ):  # channel c of head h is channel c * heads + h: every head gets a share of each branch
            return t.unflatten(1, (self.channels // self.heads, self.heads)).transpose(1, 2)
        return t.unflatten(1, (self.heads, self.channels // self.heads))

    def _join(self, t: torch.Tensor) -> torch.Tensor:
        """What :meth:`_heads` makes of (B, C, 1) to (B, C, 1, 1)."""
        if self.heads > 1:
            t = (t.transpose(1, 2) if self.shuffle else t).flatten(1).unsqueeze(2)
        return t.unsqueeze(3)

    def _compress(self, x: torch.Tensor) -> torch.Tensor:
        if isinstance(self.window, str):
            return x.mean(dim=(2, 3), keepdim=True)
        return pool_windows(x, self.window, self.pool, cover_edge=self.cover_edge)

    def shown_options(self) -> dict[str, Any]:
        """Heads in force, window, and what departs from the defaults."""
        ablations = {
            "pool": (self.pool, "avg"),
            "qkv_bias": (self.q.bias is not None, False),
            "attn_drop": (self.attn_drop.p, 0.0),
            "cover_edge": (self.cover_edge, False),
            "scale": (self.scale, "channels"),
            "shuffle": (self.shuffle, False),
        }
        changed = {key: value for key, (value, default) in ablations.items() if value != default}
        return {"heads": self.heads, "window": self.window, "gate": self.gate, **changed}
