"""SCSA written plainly, equation by equation: the oracle for the fast one. State-dict names are the
authors'.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

NAMES = ("local_dwc", "global_dwc_s", "global_dwc_m", "global_dwc_l")


class PlainSCSA(nn.Module):
    """SCSA for widths that 4 divides, on maps of any size: a side below the window is pooled as a
    whole.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int = 1,
        window: int = 7,
        kernels: tuple[int, ...] = (3, 5, 7, 9),
    ) -> None:
        super().__init__()
        self.channels, self.heads, self.window = channels, heads, window
        part = channels // 4
        for name, size in zip(NAMES, (3, 5, 7, 9)):
            self.add_module(name, nn.Conv1d(part, part, size, padding=size // 2, groups=part))
        self.norm_h = nn.GroupNorm(4, channels)
        self.norm_w = nn.GroupNorm(4, channels)
        self.norm = nn.GroupNorm(1, channels)
        for name in "qkv":
            self.add_module(name, nn.Conv2d(channels, channels, 1, groups=channels, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, c, h, w = x.shape
        gate_h = self.profile_gate(x.mean(3), self.norm_h).view(b, c, h, 1)  # equations 1 to 4
        gate_w = self.profile_gate(x.mean(2), self.norm_w).view(b, c, 1, w)
        x = x * gate_h * gate_w  # equation 5
        y = self.norm(
            F.avg_pool2d(x, (min(self.window, h), min(self.window, w)))
        )  # equations 6 and 7
        q, k, v = (
            getattr(self, name)(y).reshape(b, self.heads, c // self.heads, -1) for name in "qkv"
        )  # 8 to 10
        attention = (q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5).softmax(
            -1
        ) @ v  # equation 11
        return x * attention.reshape(b, c, -1).mean(2).sigmoid().view(
            b, c, 1, 1
        )  # equations 12 and 13

    def profile_gate(self, profile: torch.Tensor, norm: nn.GroupNorm) -> torch.Tensor:
        parts = profile.split(self.channels // 4, 1)
        return norm(
            torch.cat([getattr(self, name)(part) for name, part in zip(NAMES, parts)], 1)
        ).sigmoid()
