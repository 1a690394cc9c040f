"""The feed-forward branch of Ultralytics' attention blocks, with a slot.

PSABlock (in C2PSA, C2fPSA and some C3k2), PSA and ABlock (in A2C2f) have two branches: attention of
their own, which stays as it is, and two 1x1 convolutions, ``x + ffn(x)``. That second branch is a
residual unit like any other, but it gets a slot only where it is asked for: rows name it by
``FFN`` (``C2PSAFFN_SCSA``), since other projects use ``C2PSA_SCSA`` for a block whose own attention
was exchanged.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from ultralytics.nn.modules.block import PSA, ABlock, PSABlock

from scsa_yolo.blocks.slot import Slot, add_feed_forward


class FeedForward(nn.Sequential):
    """What the two below are: a feed-forward unit that has a slot."""

    attn: nn.Module


class FeedForwardMid(FeedForward):
    """Two 1x1 convolutions with attention between them, on the widened map."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the first convolution, attention, and the second convolution."""
        return self[1](self.attn(self[0](x)))


class FeedForwardOut(FeedForward):
    """Two 1x1 convolutions with attention after them, before the addition."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply both convolutions and attention."""
        return self.attn(self[1](self[0](x)))


def _width(unit: Any, place: int) -> int:
    return int(unit[place].conv.out_channels)


torch.serialization.add_safe_globals([FeedForward])
add_feed_forward(
    {PSABlock: "ffn", PSA: "ffn", ABlock: "mlp"},
    mid=Slot(FeedForwardMid, lambda unit: _width(unit, 0)),
    out=Slot(FeedForwardOut, lambda unit: _width(unit, 1)),
)
