"""Full-size passes of the modules whose output is the map times gates along its height and width
(CA, ELA).

What :mod:`scsa_yolo.attention.gating` does for SCSA: where autograd records, a backward of our own
makes one full-size tensor and keeps none besides the input, so that time and memory of these
modules compare like for like with SCSA's. A module that only gates channels keeps none anyway, and
gains nothing by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.gating import SpatialGates, scale, small_backward, trains_eagerly


def scale_positions(
    x: torch.Tensor,
    gates: SpatialGates,
    module: nn.Module,
    times: Callable[..., torch.Tensor] = torch.mul,
) -> torch.Tensor:
    """Return ``x * gate_h * gate_w``.

    Args:
        x: (B, C, H, W).
        gates: Maps the means over the width (B, C, H) and over the height (B, C, W) to gates of the
            same shapes and type.
        module: Has the parameters that ``gates`` uses.
        times: The first product, where autograd does not record; ``Attention.times`` may write into
            ``x``.
    """
    if trains_eagerly():
        return _ScaledPositions.apply(x, gates, *module.parameters())
    gate_h, gate_w = gates(x.mean(dim=3), x.mean(dim=2))
    return scale(times(x, gate_w.unsqueeze(2)), gate_h.unsqueeze(3))


class _ScaledPositions(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, gates: SpatialGates, *parameters: torch.Tensor
    ) -> torch.Tensor:
        mean_h, mean_w = x.mean(dim=3).requires_grad_(), x.mean(dim=2).requires_grad_()
        with torch.enable_grad():  # the small graph, cut off from x; autograd runs it in backward
            gate_h, gate_w = gates(mean_h, mean_w)
        ctx.save_for_backward(x, *parameters)
        ctx.small = (mean_h, mean_w, gate_h, gate_w)
        return (x * gate_w.detach().unsqueeze(2)).mul_(gate_h.detach().unsqueeze(3))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, *parameters = ctx.saved_tensors
        mean_h, mean_w, gate_h, gate_w = ctx.small
        high, wide = gate_h.detach(), gate_w.detach()
        product = grad * x
        grad_w = (high.unsqueeze(2) @ product).squeeze(
            2
        )  # a vector on the right would cost several passes
        grad_h = product.mul_(wide.unsqueeze(2)).sum(dim=3)
        grad_mean_h, grad_mean_w, *learned = small_backward(
            (gate_h, gate_w), (mean_h, mean_w, *parameters), (grad_h, grad_w)
        )
        # fresh memory costs more than a product: the last use of it is the result
        grad_x = torch.mul(grad, high.unsqueeze(3), out=product)
        torch.addcmul(grad_mean_h.unsqueeze(3) / x.shape[3], grad_x, wide.unsqueeze(2), out=grad_x)
        grad_x.add_(grad_mean_w.unsqueeze(2), alpha=1 / x.shape[2])
        return (grad_x, None, *learned)
