"""The ten other modules written plainly, equation by equation: the oracles for the fast ones.

Each function takes a module, whose parameters it uses, and its input. Nothing is done in place,
nothing is recomputed, and every layer is called as the layer that it is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from scsa_yolo.attention.pooling import pooling_matrix


def se(m: Any, x: torch.Tensor) -> torch.Tensor:
    return x * m.fc(x.mean(dim=(2, 3)))[:, :, None, None]


def eca(m: Any, x: torch.Tensor) -> torch.Tensor:
    gate = m.conv(x.mean(dim=(2, 3))[:, None]).sigmoid()
    return x * gate.transpose(1, 2)[..., None]


def fca(m: Any, x: torch.Tensor) -> torch.Tensor:
    if (
        torch.jit.is_tracing()
    ):  # ONNX has no adaptive pooling to a size that does not divide the map's
        height, width = (pooling_matrix(side, m.dct_size, x) for side in x.shape[2:])
        pooled = height @ x @ width.t()
    else:
        pooled = F.adaptive_avg_pool2d(x, m.dct_size)
    return x * m.fc((pooled * m.dct_layer.weight).sum(dim=(2, 3)))[:, :, None, None]


def cbam(m: Any, x: torch.Tensor) -> torch.Tensor:
    mean, peak = x.mean(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    x = x * (m.mlp_chans(mean) + m.mlp_chans(peak)).sigmoid()
    profile = torch.cat((x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)), dim=1)
    return x * m.mlp_spaces(profile).sigmoid()


def ca(m: Any, x: torch.Tensor) -> torch.Tensor:
    height = x.shape[2]
    profiles = torch.cat((x.mean(dim=3), x.mean(dim=2)), dim=2)[..., None]
    y = F.hardswish(m.conv["bn"](m.conv["conv"](profiles)))
    gate_h, gate_w = (
        m.attn_h(y[:, :, :height]).sigmoid(),
        m.attn_w(y[:, :, height:]).sigmoid().transpose(2, 3),
    )
    return x * gate_h * gate_w


def sa(m: Any, x: torch.Tensor) -> torch.Tensor:
    if m.channels % 2:
        return torch.cat((sa_even(m, x[:, :-1]), x[:, -1:]), dim=1)
    return sa_even(m, x)


def sa_even(m: Any, x: torch.Tensor) -> torch.Tensor:
    b, _, h, w = x.shape
    halves = x.reshape(b, m.groups, 2, m.width, h, w)
    first, second = halves[:, :, 0], halves[:, :, 1]
    gate_c = (m.c_w * first.mean(dim=(3, 4), keepdim=True) + m.c_b).sigmoid()
    normal = _group_norm(second.flatten(0, 1), m.gn).reshape(second.shape)
    gate_s = (m.s_w * normal + m.s_b).sigmoid()
    out = torch.stack((first * gate_c, second * gate_s), dim=2)
    return out.reshape(b, 2, m.groups * m.width, h, w).transpose(1, 2).flatten(1, 2)


def ema(m: Any, x: torch.Tensor) -> torch.Tensor:
    b, c, h, w = x.shape
    groups = x.reshape(b * m.factor, c // m.factor, h, w)
    profiles = torch.cat((groups.mean(dim=3), groups.mean(dim=2)), dim=2)[..., None]
    joined = m.conv1x1(profiles)
    gate_h, gate_w = joined[:, :, :h].sigmoid(), joined[:, :, h:].sigmoid().transpose(2, 3)
    u, v = _group_norm(groups * gate_h * gate_w, m.gn), m.conv3x3(groups)
    weight_u, weight_v = (t.mean(dim=(2, 3)).softmax(dim=1)[:, None] for t in (u, v))
    gate = weight_u @ v.flatten(2) + weight_v @ u.flatten(2)
    return (groups * gate.sigmoid().reshape(-1, 1, h, w)).reshape(x.shape)


def cpca(m: Any, x: torch.Tensor) -> torch.Tensor:
    y = F.gelu(m.conv(x))
    z = y * (
        _bottleneck(m, y.mean(dim=(2, 3), keepdim=True))
        + _bottleneck(m, y.amax(dim=(2, 3), keepdim=True))
    )
    d = m.dwc5_5(z)
    strips = m.dwc7_1(m.dwc1_7(d)) + m.dwc11_1(m.dwc1_11(d)) + m.dwc21_1(m.dwc1_21(d))
    return m.conv(z * m.conv(d + strips))


def _bottleneck(m: Any, z: torch.Tensor) -> torch.Tensor:
    return m.ca["fc2"](F.relu(m.ca["fc1"](z))).sigmoid()


def afgca(m: Any, x: torch.Tensor) -> torch.Tensor:
    z = x.mean(dim=(2, 3), keepdim=True)
    u, v = m.conv1(z.flatten(2).transpose(1, 2)), m.fc(z).flatten(2).transpose(1, 2)
    rows, columns = (
        (v * u.sum(dim=2, keepdim=True)).sigmoid(),
        (u * v.sum(dim=2, keepdim=True)).sigmoid(),
    )
    share = m.mix["w"].sigmoid()
    gate = m.conv1(share * rows + (1 - share) * columns).sigmoid()
    return x * gate.transpose(1, 2)[..., None]


def ela(m: Any, x: torch.Tensor) -> torch.Tensor:
    gate_h = _group_norm(m.conv(x.mean(dim=3)), m.gn).sigmoid()
    gate_w = _group_norm(m.conv(x.mean(dim=2)), m.gn).sigmoid()
    return x * gate_h[:, :, :, None] * gate_w[:, :, None, :]


def _group_norm(x: torch.Tensor, norm: nn.GroupNorm) -> torch.Tensor:
    return torch.group_norm(
        x, norm.num_groups, norm.weight, norm.bias, norm.eps
    )  # one value a group is legal here


PLAIN = {
    "SE": se,
    "ECA": eca,
    "FCA": fca,
    "CBAM": cbam,
    "CA": ca,
    "SA": sa,
    "EMA": ema,
    "CPCA": cpca,
    "AFGCA": afgca,
    "ELA": ela,
}


class Plain(nn.Module):
    """A module of the ten, computed plainly, with its own parameters."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return PLAIN[type(self.module).__name__](self.module, x)
