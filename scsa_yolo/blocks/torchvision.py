"""The residual units of torchvision's models, with a slot.

ResNet blocks also make up ResNeXt, Wide ResNet and the backbones of torchvision's Faster, Mask and
Keypoint R-CNN, FCOS, RetinaNet, FCN and DeepLab; the inverted residuals those of SSDLite and
LR-ASPP. Imported only for torchvision's models.

Every forward is the stock one with ``self.attn`` put in. The additions are out of place, since an
attention module may need its own output for its gradient.
"""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import mobilenetv2, mobilenetv3, resnet, swin_transformer

from scsa_yolo.blocks.slot import Slot, add_unit


def _shortcut(unit: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return x if unit.downsample is None else unit.downsample(x)


class BasicBlockMid(resnet.BasicBlock):
    """BasicBlock with attention between its two convolutions."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the first convolution, attention, the second convolution, and the shortcut."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(self.attn(y)))
        return self.relu(y + _shortcut(self, x))


class BasicBlockOut(resnet.BasicBlock):
    """BasicBlock with attention after its last norm."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply both convolutions, attention, and the shortcut."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.attn(self.bn2(self.conv2(y)))
        return self.relu(y + _shortcut(self, x))


class BottleneckMid(resnet.Bottleneck):
    """Bottleneck with attention between its 3x3 and its last 1x1 convolution."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply two convolutions, attention, the last convolution, and the shortcut."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(self.attn(y)))
        return self.relu(y + _shortcut(self, x))


class BottleneckOut(resnet.Bottleneck):
    """Bottleneck with attention after its last norm."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply three convolutions, attention, and the shortcut."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.attn(self.bn3(self.conv3(y)))
        return self.relu(y + _shortcut(self, x))


class InvertedResidualMid(mobilenetv2.InvertedResidual):
    """MobileNetV2's block with attention between depthwise convolution and projection, as in the
    authors' code.
    """

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply expansion, depthwise convolution, attention, projection, and the shortcut where the
        block has one.
        """
        *before, project, norm = self.conv
        y = x
        for layer in before:
            y = layer(y)
        y = norm(project(self.attn(y)))
        return x + y if self.use_res_connect else y


class InvertedResidualOut(mobilenetv2.InvertedResidual):
    """MobileNetV2's block with attention after the norm of its projection."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block's layers, attention, and the shortcut where the block has one."""
        y = self.attn(self.conv(x))
        return x + y if self.use_res_connect else y


class InvertedResidualV3Mid(mobilenetv3.InvertedResidual):
    """MobileNetV3's block with attention before its projection; its own squeeze and excitation
    stays before it.
    """

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layers before the projection, attention, the projection, and the shortcut where
        there is one.
        """
        *before, project = self.block
        y = x
        for layer in before:
            y = layer(y)
        y = project(self.attn(y))
        return y + x if self.use_res_connect else y


class InvertedResidualV3Out(mobilenetv3.InvertedResidual):
    """MobileNetV3's block with attention after its projection."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block's layers, attention, and the shortcut where the block has one."""
        y = self.attn(self.block(x))
        return y + x if self.use_res_connect else y


# A Swin block calls its window attention `attn` already. Its unit is therefore that module itself,
# the first of the block's two residual branches, whose slot then is `<block>.attn.attn`.
def _attend(attention: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Apply ``attention``, which takes (B, C, H, W), to (B, H, W, C)."""
    return attention(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ShiftedWindowAttentionOut(swin_transformer.ShiftedWindowAttention):
    """Swin's window attention with attention on its result, before the addition. Shape: (B, H, W,
    C) to the same.
    """

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply window attention, then attention over the whole map."""
        return _attend(self.attn, super().forward(x))


class ShiftedWindowAttentionV2Out(swin_transformer.ShiftedWindowAttentionV2):
    """Swin V2's window attention with attention on its result, before its norm. Shape: (B, H, W, C)
    to the same.
    """

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply window attention, then attention over the whole map."""
        return _attend(self.attn, super().forward(x))


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
add_unit(
    mobilenetv2.InvertedResidual,
    mid=Slot(InvertedResidualMid, lambda unit: unit.conv[-2].in_channels),
    out=Slot(InvertedResidualOut, lambda unit: unit.conv[-2].out_channels),
)
add_unit(
    mobilenetv3.InvertedResidual,
    mid=Slot(InvertedResidualV3Mid, lambda unit: unit.block[-1][0].in_channels),
    out=Slot(InvertedResidualV3Out, lambda unit: unit.block[-1][0].out_channels),
)
add_unit(
    swin_transformer.ShiftedWindowAttention,
    out=Slot(ShiftedWindowAttentionOut, lambda unit: unit.proj.out_features),
)
add_unit(
    swin_transformer.ShiftedWindowAttentionV2,
    out=Slot(ShiftedWindowAttentionV2Out, lambda unit: unit.proj.out_features),
)
