"""ResNet-18-vd and ResNet-34-vd, the backbones of RT-DETR that Ultralytics lacks, as two YAML rows.

ResNet-vd (He et al., Bag of Tricks, CVPR 2019, https://arxiv.org/abs/1812.01187): a stem of three
3x3 convolutions, and shortcuts that average-pool before their 1x1 convolution, so that no position
is skipped. Laid out as in RT-DETR (Zhao et al., CVPR 2024, https://arxiv.org/abs/2304.08069), whose
r18 and r34 project every stage's first shortcut. Built of Ultralytics' ``Conv``, so that
``model.fuse()`` folds its batch norms.
"""

from __future__ import annotations

from operator import attrgetter

import torch
from torch import nn
from torch.nn import functional as F
from ultralytics.nn.modules.conv import Conv

from scsa_yolo.blocks.slot import Slot, add_unit


class ResNetVDStem(nn.Module):
    """Three 3x3 convolutions, the first of stride 2, then max pooling of stride 2.

    Args:
        c1: Input channels.
        c2: Output channels; the first two convolutions have half of them.

    Shape: (B, c1, H, W) to (B, c2, H / 4, W / 4), rounded up.
    """

    def __init__(self, c1: int, c2: int) -> None:
        super().__init__()
        self.conv1 = Conv(c1, c2 // 2, 3, 2, act=nn.ReLU(inplace=True))
        self.conv2 = Conv(c2 // 2, c2 // 2, 3, act=nn.ReLU(inplace=True))
        self.conv3 = Conv(c2 // 2, c2, 3, act=nn.ReLU(inplace=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reduce the image to a quarter of its sides."""
        return F.max_pool2d(self.conv3(self.conv2(self.conv1(x))), 3, 2, 1)


class BasicBlockVD(nn.Module):
    """ResNet basic block of the vd kind: two 3x3 convolutions and a shortcut.

    Args:
        c1: Input channels.
        c2: Output channels.
        s: Stride of the first convolution, 1 or 2.
        project: Give the shortcut a 1x1 convolution (after average pooling where the stride is 2).

    Shape: (B, c1, H, W) to (B, c2, H / s, W / s), rounded up.
    """

    def __init__(self, c1: int, c2: int, s: int = 1, project: bool = False) -> None:
        super().__init__()
        self.cv1 = Conv(c1, c2, 3, s, act=nn.ReLU(inplace=True))
        self.cv2 = Conv(c2, c2, 3, act=False)
        pool = nn.AvgPool2d(2, 2, ceil_mode=True) if s == 2 else nn.Identity()
        self.shortcut = (
            nn.Sequential(pool, Conv(c1, c2, 1, act=False)) if project else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply both convolutions and add the shortcut."""
        return F.relu(self.cv2(self.cv1(x)) + self.shortcut(x))


class BasicBlockVDMid(BasicBlockVD):
    """BasicBlockVD with attention between its two convolutions."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply cv1, attention, cv2, and the shortcut."""
        return F.relu(self.cv2(self.attn(self.cv1(x))) + self.shortcut(x))


class BasicBlockVDOut(BasicBlockVD):
    """BasicBlockVD with attention after its last convolution."""

    attn: nn.Module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply cv1, cv2, attention, and the shortcut."""
        return F.relu(self.attn(self.cv2(self.cv1(x))) + self.shortcut(x))


class ResNetVDLayer(nn.Module):
    """A stage: ``n`` basic blocks, the first with the stride and a projected shortcut.

    Args:
        c1: Input channels.
        c2: Output channels.
        n: Number of blocks, at least 1.
        s: Stride of the stage, 1 or 2.

    Shape: (B, c1, H, W) to (B, c2, H / s, W / s), rounded up.
    """

    def __init__(self, c1: int, c2: int, n: int = 1, s: int = 1) -> None:
        super().__init__()
        if n < 1 or s not in (1, 2):
            raise ValueError(
                f"ResNetVDLayer takes at least 1 block and a stride of 1 or 2, got n={n!r} and"
                f" s={s!r}"
            )
        rest = (BasicBlockVD(c2, c2) for _ in range(n - 1))
        self.blocks = nn.Sequential(BasicBlockVD(c1, c2, s, project=True), *rest)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the blocks in turn."""
        return self.blocks(x)


torch.serialization.add_safe_globals([ResNetVDStem, BasicBlockVD, ResNetVDLayer])
add_unit(
    BasicBlockVD,
    mid=Slot(BasicBlockVDMid, attrgetter("cv2.conv.in_channels")),
    out=Slot(BasicBlockVDOut, attrgetter("cv2.conv.out_channels")),
)
