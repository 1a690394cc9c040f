"""The residual units of Ultralytics' own blocks, with a slot.

Bottleneck lies in C2f, C3, C3x, C3k, C3k2 and A2C2f, RepBottleneck in RepNCSPELAN4, CIB in C2fCIB,
ResNetBlock in ResNetLayer, GhostBottleneck in C3Ghost. PSABlock and ABlock are attention already
and get no slot.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from ultralytics.nn.modules.block import (
    CIB,
    Bottleneck,
    GhostBottleneck,
    RepBottleneck,
    ResNetBlock,
)

from scsa_yolo.blocks.slot import Slot, add_unit


class BottleneckMid(Bottleneck):
    """Bottleneck with attention between its two convolutions."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply cv1, attention, cv2, and the shortcut where the block has one."""
        y = self.cv2(self.attn(self.cv1(x)))
        return x + y if self.add else y


class BottleneckOut(Bottleneck):
    """Bottleneck with attention after its last convolution."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply cv1, cv2, attention, and the shortcut where the block has one."""
        y = self.attn(self.cv2(self.cv1(x)))
        return x + y if self.add else y


class RepBottleneckMid(RepBottleneck):
    """RepBottleneck with attention between its two convolutions."""

    attn: nn.Module
    forward = BottleneckMid.forward


class RepBottleneckOut(RepBottleneck):
    """RepBottleneck with attention after its last convolution."""

    attn: nn.Module
    forward = BottleneckOut.forward


class CIBOut(CIB):
    """CIB with attention after its last convolution, which is depthwise: the branch has no other
    place.
    """

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the five convolutions, attention, and the shortcut where the block has one."""
        y = self.attn(self.cv1(x))
        return x + y if self.add else y


class ResNetBlockMid(ResNetBlock):
    """ResNet bottleneck block with attention between its 3x3 and its last 1x1 convolution."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply cv1, cv2, attention, cv3, and the shortcut."""
        return F.relu(self.cv3(self.attn(self.cv2(self.cv1(x)))) + self.shortcut(x))


class ResNetBlockOut(ResNetBlock):
    """ResNet bottleneck block with attention after its last convolution."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply cv1, cv2, cv3, attention, and the shortcut."""
        return F.relu(self.attn(self.cv3(self.cv2(self.cv1(x)))) + self.shortcut(x))


class GhostBottleneckMid(GhostBottleneck):
    """GhostBottleneck with attention on the input of its last GhostConv."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the branch with attention before its last part, and the shortcut."""
        branch: Any = self.conv
        return branch[-1](self.attn(branch[:-1](x))) + self.shortcut(x)


class GhostBottleneckOut(GhostBottleneck):
    """GhostBottleneck with attention after its last GhostConv."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the branch, attention, and the shortcut."""
        return self.attn(self.conv(x)) + self.shortcut(x)


def _ghost_out(unit: Any) -> int:
    last = unit.conv[-1]
    return int(last.cv1.conv.out_channels + last.cv2.conv.out_channels)


for _stock, _mid, _out in (
    (Bottleneck, BottleneckMid, BottleneckOut),
    (RepBottleneck, RepBottleneckMid, RepBottleneckOut),
):
    add_unit(
        _stock,
        mid=Slot(_mid, attrgetter("cv2.conv.in_channels")),
        out=Slot(_out, attrgetter("cv2.conv.out_channels")),
    )
add_unit(CIB, out=Slot(CIBOut, lambda unit: unit.cv1[-1].conv.out_channels))
add_unit(
    ResNetBlock,
    mid=Slot(ResNetBlockMid, attrgetter("cv3.conv.in_channels")),
    out=Slot(ResNetBlockOut, attrgetter("cv3.conv.out_channels")),
)
add_unit(
    GhostBottleneck,
    mid=Slot(GhostBottleneckMid, lambda unit: unit.conv[-1].cv1.conv.in_channels),
    out=Slot(GhostBottleneckOut, _ghost_out),
)
