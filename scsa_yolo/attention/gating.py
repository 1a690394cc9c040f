"""SCSA's full-size passes: three full-size tensors a training step, and none kept for backward besides the input.

SCSA multiplies a map X (B, C, H, W) by a gate along the height, one along the width and one per channel; all else that
it computes is small. So the full-size passes are what costs, in time and in memory. Left to autograd, products and
means make some ten full-size tensors in a step and keep two. The function here makes one forward and two backward, and
leaves the small rest to autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional as F

SpatialGates = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
ChannelGate = Callable[[torch.Tensor], torch.Tensor]


def trains_eagerly() -> bool:
    """Tell whether autograd records and nothing traces or compiles: when a backward of our own pays."""
    return torch.is_grad_enabled() and not (torch.jit.is_tracing() or torch.compiler.is_compiling())


def scale(fresh: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """Return ``fresh * gate``, in the memory of ``fresh`` where autograd does not need it."""
    return fresh * gate if torch.is_grad_enabled() else fresh.mul_(gate)


def gated_attention(
    x: torch.Tensor, spatial: SpatialGates, channel: ChannelGate, window: int, parameters: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return ``z * channel(avg_pool(z))`` with ``z = x * gate_h * gate_w``, the gates from the means of ``x``.

    Args:
        x: (B, C, H, W).
        spatial: Maps the means over the width (B, C, H) and over the height (B, C, W) to gates of the same shapes.
        channel: Maps the pooled product (B, C, h, w) to a gate (B, C, 1, 1).
        window: Side and stride of the pooling window; a smaller side of the map is pooled as a whole.
        parameters: What ``spatial`` and ``channel`` learn.
    """
    return _GatedAttention.apply(x, spatial, channel, window, *parameters)


class _GatedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, spatial: SpatialGates, channel: ChannelGate, window: int, *parameters: torch.Tensor
    ) -> torch.Tensor:
        kernel = (min(window, x.shape[2]), min(window, x.shape[3]))
        mean_h, mean_w = x.mean(dim=3).requires_grad_(), x.mean(dim=2).requires_grad_()
        with torch.enable_grad():  # the small graphs, cut off from x; autograd runs them in backward
            gate_h, gate_w = spatial(mean_h, mean_w)
        z = (x * gate_w.detach().unsqueeze(2)).mul_(gate_h.detach().unsqueeze(3))
        pooled = F.avg_pool2d(z, kernel).requires_grad_()
        with torch.enable_grad():
            gate_c = channel(pooled)
        ctx.save_for_backward(x, *parameters)
        ctx.small = (mean_h, mean_w, gate_h, gate_w, pooled, gate_c)
        ctx.kernel = kernel
        return z.mul_(gate_c.detach())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, *parameters = ctx.saved_tensors
        mean_h, mean_w, gate_h, gate_w, pooled, gate_c = ctx.small
        high, wide = gate_h.detach(), gate_w.detach()

        product = grad * x
        grad_c = ((high.unsqueeze(2) @ product) @ wide.unsqueeze(3)).reshape(gate_c.shape)
        grad_pooled, *by_channel = _small_backward((gate_c,), (pooled, *parameters), (grad_c,))

        grad_z = grad * gate_c.detach()
        _add_to_windows(grad_z, grad_pooled, ctx.kernel)
        torch.mul(grad_z, x, out=product)
        # a sum over one direction, weighted by the other's gate, is a matrix-vector product: one pass
        grad_h = (product @ wide.unsqueeze(3)).squeeze(3)
        grad_w = (high.unsqueeze(2) @ product).squeeze(2)
        del product
        grad_mean_h, grad_mean_w, *by_spatial = _small_backward(
            (gate_h, gate_w), (mean_h, mean_w, *parameters), (grad_h, grad_w)
        )
        grad_x = grad_z.mul_(wide.unsqueeze(2)).mul_(high.unsqueeze(3))
        grad_x.add_(grad_mean_h.unsqueeze(3), alpha=1 / x.shape[3]).add_(grad_mean_w.unsqueeze(2), alpha=1 / x.shape[2])
        learned = [b if a is None else a if b is None else a + b for a, b in zip(by_spatial, by_channel)]
        return (grad_x, None, None, None, *learned)


def _small_backward(
    outputs: tuple[torch.Tensor, ...], inputs: tuple[torch.Tensor, ...], grads: tuple[torch.Tensor, ...]
) -> list[Any]:
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    # retained: the caller's backward may run twice (retain_graph); the graph goes when its context goes
    found = iter(torch.autograd.grad(outputs, wanted, grads, retain_graph=True, allow_unused=True))
    return [next(found) if tensor.requires_grad else None for tensor in inputs]


def _add_to_windows(grad_z: torch.Tensor, grad_pooled: torch.Tensor, kernel: tuple[int, int]) -> None:
    """Add the backward of average pooling to ``grad_z`` in place: each window's share to its pixels."""
    rows, columns = grad_pooled.shape[2:]
    covered = grad_z[:, :, : rows * kernel[0], : columns * kernel[1]]
    windows = covered.unflatten(3, (columns, kernel[1])).unflatten(2, (rows, kernel[0]))  # (B, C, rows, 7, columns, 7)
    windows.add_(grad_pooled.unsqueeze(4).unsqueeze(3), alpha=1 / (kernel[0] * kernel[1]))
