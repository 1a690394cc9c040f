"""SCSA as the paper writes it, equations 1 to 13, and every ablation: nothing fast here.

This is what runs whenever somebody looks on: every child is called as the layer that it is, so that
hooks, masks, wrappers and tracers see all there is. The sizes are read from the map and from the
children, so a pruned module computes what its pruned layers say.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.base import largest_divisor
from scsa_yolo.attention.functional import call_norm
from scsa_yolo.attention.pooling import pool_windows

# The authors' names of the four branches, in the order of their kernels: they are the keys of the
# state dict.
BRANCHES = ("local_dwc", "global_dwc_s", "global_dwc_m", "global_dwc_l")


def scsa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """PCSA(SMSA(X)), or what the ablations ``parts`` and ``first`` leave of it."""
    if m.parts == "spatial":
        return smsa(m, x)
    if m.parts == "channel":
        return pcsa(m, x)
    return smsa(m, pcsa(m, x)) if m.first == "channel" else pcsa(m, smsa(m, x))


def smsa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """Equation 5: the map times its gates along the height and along the width."""
    gate_h = profile_gate(m, x.mean(dim=3), m.norm_h, "")  # equation 1, the mean over the width
    gate_w = profile_gate(m, x.mean(dim=2), m.norm_w, "" if m.shared else "_w")
    gate_h, gate_w = gate_h.unsqueeze(3), gate_w.unsqueeze(2)
    return x * gate_h.to(x.dtype) * gate_w.to(x.dtype)


def profile_gate(m: Any, profile: torch.Tensor, norm: nn.Module, suffix: str) -> torch.Tensor:
    """Equations 2 to 4: a profile (B, C, L) in sub-features, each through its own convolution."""
    if m.norm_first:
        profile = call_norm(norm, profile)
    convs = [getattr(m, name + suffix) for name in BRANCHES[: m.branches]]
    equal = m.channels // m.branches
    widths = [getattr(conv, "in_channels", equal) for conv in convs]  # uneven once pruned
    parts = profile.split(widths, dim=1)
    mixed = torch.cat([conv(part) for conv, part in zip(convs, parts)], dim=1)
    if not m.norm_first:
        mixed = call_norm(norm, mixed)
    return mixed.softmax(dim=2) if m.gate == "softmax" else mixed.sigmoid()


def pcsa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """Equations 6 to 13: the channels attend to each other, and their mean gates the map."""
    y = call_norm(m.norm, compress(m, x))  # equations 6 and 7
    q, k, v = (split_heads(m, conv(y).flatten(2)) for conv in (m.q, m.k, m.v))  # 8 to 10
    # Half of the scale goes into each factor: in float16 the plain product could overflow.
    root = (q.shape[3] if m.scale == "positions" else q.shape[2]) ** -0.25
    weights = ((q * root) @ (k * root).transpose(-2, -1)).softmax(dim=-1)  # equation 11
    attended = join_heads(m, m.attn_drop(weights) @ v.to(weights.dtype))
    gate = attended.mean(dim=2)[:, :, None, None]  # equation 12
    gate = gate.softmax(dim=1) if m.gate == "softmax" else gate.sigmoid()
    return x * gate.to(x.dtype)  # equation 13


def compress(m: Any, x: torch.Tensor) -> torch.Tensor:
    """Equation 6: the map, pooled by windows."""
    if isinstance(m.window, str):
        return x.mean(dim=(2, 3), keepdim=True)
    return pool_windows(x, m.window, m.pool, cover_edge=m.cover_edge)


def split_heads(m: Any, t: torch.Tensor) -> torch.Tensor:
    """(B, C, N) to (B, heads, C / heads, N); shuffled, each head gets a share of every branch."""
    width = m.q.out_channels if hasattr(m.q, "out_channels") else m.channels
    heads = largest_divisor(width, m.heads)
    if m.shuffle:  # channel c of head h is channel c * heads + h
        return t.unflatten(1, (width // heads, heads)).transpose(1, 2)
    return t.unflatten(1, (heads, width // heads))


def join_heads(m: Any, t: torch.Tensor) -> torch.Tensor:
    """What :func:`split_heads` made, back to (B, C, N)."""
    return (t.transpose(1, 2) if m.shuffle else t).flatten(1, 2)
