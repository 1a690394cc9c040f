"""The residual units of timm's ResNets, RepVGG and RepViT, with a slot. Imported only by what has
timm (1.0 or later).

timm's own attention (``se`` of ResNets and RepViT) is stock and stays where it is, so every stock
key stays too. Every forward is the stock one with ``self.attn`` put in. The additions are out of
place, since an attention module may need its own output for its gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models import byobnet, repvit, resnet
from torch import nn

from scsa_yolo.blocks.slot import Slot, add_unit


def _basic_before_last(unit: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the activation that feeds the last convolution of a BasicBlock."""
    return unit.aa(unit.act1(unit.drop_block(unit.bn1(unit.conv1(x)))))


def _bottleneck_before_last(unit: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the activation that feeds the last convolution of a Bottleneck."""
    y = unit.act1(unit.bn1(unit.conv1(x)))
    return unit.aa(unit.act2(unit.drop_block(unit.bn2(unit.conv2(y)))))


def _add(unit: nn.Module, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the branch's result ``y``, dropped where timm drops paths, plus the shortcut of
    ``x``.
    """
    y = y if unit.drop_path is None else unit.drop_path(y)
    return y + (x if unit.downsample is None else unit.downsample(x))


def _own(unit: nn.Module, y: torch.Tensor) -> torch.Tensor:
    """Apply the block's own attention where timm gave it one."""
    return y if unit.se is None else unit.se(y)


class BasicBlockMid(resnet.BasicBlock):
    """BasicBlock with attention between its two convolutions."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the first convolution, attention, the second convolution, and the shortcut."""
        y = self.bn2(self.conv2(self.attn(_basic_before_last(self, x))))
        return self.act2(_add(self, _own(self, y), x))


class BasicBlockOut(resnet.BasicBlock):
    """BasicBlock with attention after its last norm and timm's own attention."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply both convolutions, attention, and the shortcut."""
        y = self.bn2(self.conv2(_basic_before_last(self, x)))
        return self.act2(_add(self, self.attn(_own(self, y)), x))


class BottleneckMid(resnet.Bottleneck):
    """Bottleneck with attention between its 3x3 and its last 1x1 convolution."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply two convolutions, attention, the last convolution, and the shortcut."""
        y = self.bn3(self.conv3(self.attn(_bottleneck_before_last(self, x))))
        return self.act3(_add(self, _own(self, y), x))


class BottleneckOut(resnet.Bottleneck):
    """Bottleneck with attention after its last norm and timm's own attention."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply three convolutions, attention, and the shortcut."""
        y = self.bn3(self.conv3(_bottleneck_before_last(self, x)))
        return self.act3(_add(self, self.attn(_own(self, y)), x))


class RepVggBlockOut(byobnet.RepVggBlock):
    """RepVggBlock with attention on the sum of its branches, before its activation.

    timm's forward has that place already, filled with ``nn.Identity``. The branches' sum stays
    linear, so that ``reparameterize()`` still folds them into one convolution.
    """

    attn: nn.Module


class RepViTBlockMid(repvit.RepViTBlock):
    """RepViTBlock with attention where its squeeze and excitation sits, after it, before the
    channel mixer.
    """

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the token mixer, attention, and the channel mixer with its shortcut."""
        x = self.attn(self.se(self.token_mixer(x)))
        return x + self.channel_mixer(x)


class RepViTBlockOut(repvit.RepViTBlock):
    """RepViTBlock with attention on the channel mixer's result, before the addition."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the token mixer, and the channel mixer with attention and its shortcut."""
        x = self.se(self.token_mixer(x))
        return x + self.attn(self.channel_mixer(x))


def _repvgg_width(unit: Any) -> int:
    if not isinstance(unit.attn, nn.Identity):
        raise ValueError(
            f"timm put {type(unit.attn).__name__} into this RepVggBlock's attn, and its weights"
            " would be lost. Build the model without timm's attention, or set attn = nn.Identity()"
            " first"
        )
    conv = unit.conv_kxk.conv if unit.reparam_conv is None else unit.reparam_conv
    return conv.out_channels


def _repvit_width(unit: Any) -> int:
    conv = unit.channel_mixer.conv1
    return getattr(
        conv, "c", conv
    ).in_channels  # fuse() puts a bare convolution in ConvNorm's place


add_unit(
    resnet.BasicBlock,
    mid=Slot(BasicBlockMid, lambda unit: unit.conv2.in_channels),
    out=Slot(BasicBlockOut, lambda unit: unit.conv2.out_channels),
)
add_unit(
    resnet.Bottleneck,
    mid=Slot(BottleneckMid, lambda unit: unit.conv3.in_channels),
    out=Slot(BottleneckOut, lambda unit: unit.conv3.out_channels),
)
add_unit(byobnet.RepVggBlock, out=Slot(RepVggBlockOut, _repvgg_width))
add_unit(
    repvit.RepViTBlock,
    mid=Slot(RepViTBlockMid, _repvit_width),
    out=Slot(RepViTBlockOut, _repvit_width),
)
