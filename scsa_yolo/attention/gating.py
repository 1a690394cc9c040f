"""SCSA's full-size passes: two full-size tensors a training step, and none kept for backward
besides the input.

SCSA multiplies a map X (B, C, H, W) by a gate along the height, one along the width and one per
channel; all else that it computes is small. So the full-size passes are what costs, in time and in
memory. Left to autograd, products and means make some ten full-size tensors in a step and keep two.
The function here makes one forward and one backward, and leaves the small rest to autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from scsa_yolo.attention.functional import average, recorded, traced

SpatialGates = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
ChannelGate = Callable[[torch.Tensor], torch.Tensor]
# Values of a map from which a CPU averages rows first: a sum along them is vectorised, avg_pool2d
# is not. Below, one kind of operator less counts for more.
LARGE = 300_000


def trains_eagerly() -> bool:
    """Tell whether autograd records and nothing traces or compiles: when a backward of our own
    pays.
    """
    return torch.is_grad_enabled() and not traced()


def scale(fresh: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """Return ``fresh * gate``, in the memory of ``fresh`` where autograd does not need it."""
    # traced, too: a graph that differs with the mode of autograd fails torch's check of it
    return fresh * gate if recorded() else fresh.mul_(gate)


def gated_attention(
    x: torch.Tensor,
    spatial: SpatialGates,
    channel: ChannelGate,
    window: int,
    parameters: Sequence[torch.Tensor],
) -> torch.Tensor:
    """Return ``z * channel(avg_pool(z))`` with ``z = x * gate_h * gate_w``, the gates from the
    means of ``x``.

    Args:
        x: (B, C, H, W).
        spatial: Maps the means over the width (B, C, H) and over the height (B, C, W) to gates of
            the same shapes.
        channel: Maps the pooled product (B, C, h, w) to a gate (B, C, 1, 1).
        window: Side and stride of the pooling window; a smaller side of the map is pooled as a
            whole.
        parameters: What ``spatial`` and ``channel`` learn.
    """
    return _GatedAttention.apply(x, spatial, channel, window, *parameters)


class _GatedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        spatial: SpatialGates,
        channel: ChannelGate,
        window: int,
        *parameters: torch.Tensor,
    ) -> torch.Tensor:
        kernel = (min(window, x.shape[2]), min(window, x.shape[3]))
        mean_h, mean_w = x.mean(dim=3).requires_grad_(), x.mean(dim=2).requires_grad_()
        with (
            torch.enable_grad()
        ):  # the small graphs, cut off from x; autograd runs them in backward
            gate_h, gate_w = spatial(mean_h, mean_w)
        z = (x * gate_w.detach().unsqueeze(2)).mul_(gate_h.detach().unsqueeze(3))
        pooled = pool_windows(z, window, "avg").requires_grad_()
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
        high, wide, channel = gate_h.detach(), gate_w.detach(), gate_c.detach()

        product = grad * x
        by_column = (
            high.unsqueeze(2) @ product
        )  # one pass; a vector on the right would cost several
        grad_c = (by_column.squeeze(2) * wide).sum(dim=2).reshape(gate_c.shape)
        grad_pooled, *by_channel = small_backward((gate_c,), (pooled, *parameters), (grad_c,))

        # the gradient of z is grad * gate_c plus each window's share; here times x, below times the
        # spatial gates
        tiles, share = _tiles(grad_pooled, ctx.kernel, x.shape[3])
        product.mul_(channel)
        tiles(product).addcmul_(tiles(x), share)
        grad_w = (high.unsqueeze(2) @ product).squeeze(2)
        grad_h = product.mul_(wide.unsqueeze(2)).sum(dim=3)
        grad_mean_h, grad_mean_w, *by_spatial = small_backward(
            (gate_h, gate_w), (mean_h, mean_w, *parameters), (grad_h, grad_w)
        )
        # fresh memory costs more than a product: the last use of it is the result
        grad_x = torch.mul(grad, channel * high.unsqueeze(3), out=product)
        tiles(grad_x).addcmul_(share, tiles(high.unsqueeze(3)))
        torch.addcmul(grad_mean_h.unsqueeze(3) / x.shape[3], grad_x, wide.unsqueeze(2), out=grad_x)
        grad_x.add_(grad_mean_w.unsqueeze(2), alpha=1 / x.shape[2])
        learned = [
            b if a is None else a if b is None else a + b for a, b in zip(by_spatial, by_channel)
        ]
        return (grad_x, None, None, None, *learned)


def small_backward(
    outputs: tuple[torch.Tensor, ...],
    inputs: tuple[torch.Tensor, ...],
    grads: tuple[torch.Tensor, ...],
) -> list[Any]:
    """Return the gradients of ``inputs`` from those of ``outputs``; None for an input that needs
    none.
    """
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    # retained: the caller's backward may run twice (retain_graph); the graph goes when its context
    # goes
    found = iter(torch.autograd.grad(outputs, wanted, grads, retain_graph=True, allow_unused=True))
    return [next(found) if tensor.requires_grad else None for tensor in inputs]


def _tiles(
    grad_pooled: torch.Tensor, kernel: tuple[int, int], width: int
) -> tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor]:
    """Prepare the backward of average pooling: each window hands its share to its pixels.

    Returns:
        A view of (B, C, H, ...) as (B, C, rows of windows, rows of a window, ...), without what
        lies below the last, and the shares (B, C, rows of windows, 1, W), spread along the width
        and 0 beyond the last window: so the full-size sums run over whole rows, not over pieces of
        7 pixels.
    """
    rows, columns = grad_pooled.shape[2:]
    share = (grad_pooled / (kernel[0] * kernel[1])).repeat_interleave(kernel[1], dim=3)
    share = F.pad(share, (0, width - columns * kernel[1])).unsqueeze(3)
    return lambda t: t[:, :, : rows * kernel[0]].unflatten(2, (rows, kernel[0])), share


def pool_windows(
    x: torch.Tensor, window: int, kind: str, *, cover_edge: bool = False
) -> torch.Tensor:
    """Pool (B, C, H, W) by ``window`` x ``window`` tiles; a side smaller than the window is pooled
    as a whole.

    Rows and columns beyond the last full window are left out, or with ``cover_edge`` pooled as
    smaller windows.

    Under TorchScript and ONNX tracing sizes are 0-dim tensors, and a kernel must be a constant: the
    map is padded up to full windows instead, and the mean is corrected for the padding. Both ways
    give the same numbers. Under ``torch.export`` sizes are SymInts, and torch ties the graph to the
    side of two windows that its example is on: export dynamic sizes with an example of at least two
    windows a side (14 x 14 at the default).
    """
    height, width = x.shape[2:]
    if isinstance(height, torch.Tensor):
        return _pool_traced(x, window, kind, cover_edge)
    kernel = (min(window, height), min(window, width))
    if kind == "max":
        return F.max_pool2d(x, kernel, ceil_mode=cover_edge)
    if (
        not (cover_edge or torch.compiler.is_compiling())
        and x.device.type == "cpu"
        and x.numel() >= LARGE
    ):
        rows = height // kernel[0]
        x = average(x[:, :, : rows * kernel[0]].unflatten(2, (rows, kernel[0])), 3)
        kernel = (1, kernel[1])
    return F.avg_pool2d(x, kernel, ceil_mode=cover_edge)


def _pool_traced(x: torch.Tensor, window: int, kind: str, cover_edge: bool) -> torch.Tensor:
    missing: list[Any] = []
    share: Any = 1  # of a window that lies in the map
    size: Any  # a 0-dim tensor here
    for size in (x.shape[3], x.shape[2]):  # F.pad takes the last dimension first
        gap = torch.maximum(window - size, size - size)  # TensorRT has no clamp of integers
        missing += [0, (-size) % window if cover_edge else gap]
        share = share * (1 - gap.to(x.dtype) / window)
    if kind == "max":
        return F.max_pool2d(F.pad(x, missing, value=-torch.inf), window)
    if cover_edge:  # its last windows lie in the map in part
        share = F.avg_pool2d(F.pad(torch.ones_like(x[:1, :1]), missing), window)
    return F.avg_pool2d(F.pad(x, missing), window) / share
