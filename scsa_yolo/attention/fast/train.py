"""Training steps with a backward of our own: one full-size tensor, and none kept besides the input.

SCSA multiplies a map X (B, C, H, W) by a gate along the height, one along the width and one per
channel; CA, ELA and EMA by the first two. All else that they compute is small. So the full-size
passes are what costs, in time and in memory. Left to autograd, products and means make some ten
full-size tensors in a step of SCSA and keep two. The functions here make one forward and one
backward, and leave the small rest to autograd.

A backward that is itself recorded (``create_graph=True``) computes the plain equations again, with
the weights of its forward pass, so second derivatives are right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from scsa_yolo.attention.fast import direct
from scsa_yolo.attention.plain import compress

Reads = list[tuple[nn.Module, str]]
Plain = Callable[[torch.Tensor], torch.Tensor]


def reads_of(*children: nn.Module) -> Reads:
    """Return the weights of layers as (layer, name), also where they are no parameters.

    In a replica and in a sharded module they are plain attributes.
    """
    found: dict[int, tuple[nn.Module, str]] = {}
    for child in children:
        for name in ("weight", "bias"):
            weight = getattr(child, name, None)
            if weight is not None:
                found.setdefault(id(weight), (child, name))  # tied layers share one
    return list(found.values())


def scsa_trains(m: Any) -> bool:
    """Tell whether the backward of SCSA knows the options of ``m``."""
    ordinary = m.parts == "both" and m.first == "spatial" and not m.attn_drop.p
    return ordinary and isinstance(m.window, int) and m.pool == "avg" and not m.cover_edge


def scsa(m: Any, x: torch.Tensor) -> torch.Tensor:
    """SCSA."""
    reads = reads_of(*m.children())
    weights = [getattr(child, name) for child, name in reads]
    result: torch.Tensor = _GatedAttention.apply(x, m, reads, *weights)
    return result


def ca(m: Any, x: torch.Tensor) -> torch.Tensor:
    """CA."""
    children = (m.conv["conv"], m.conv["bn"], m.attn_h, m.attn_w)
    return _positions(m, x, direct.ca_gates, reads_of(*children), m.plain)


def ela(m: Any, x: torch.Tensor) -> torch.Tensor:
    """ELA."""
    return _positions(m, x, direct.ela_gates, reads_of(m.conv, m.gn), m.plain)


def ema(m: Any, x: torch.Tensor) -> torch.Tensor:
    """EMA: its groups are gated along both directions; autograd does the rest."""
    return direct.ema_with(m, x, _ema_positions, direct.instance_norm)


def _ema_positions(m: Any, groups: torch.Tensor) -> torch.Tensor:
    reads = reads_of(m.conv1x1)
    return _positions(m, groups, direct.ema_gates, reads, m.plain_positions)


def _positions(m: Any, x: torch.Tensor, gates: Any, reads: Reads, plain: Plain) -> torch.Tensor:
    weights = [getattr(child, name) for child, name in reads]
    result: torch.Tensor = _ScaledPositions.apply(x, m, gates, reads, plain, *weights)
    return result


class _GatedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, m: Any, reads: Reads, *weights: torch.Tensor
    ) -> torch.Tensor:
        kernel = (min(m.window, x.shape[2]), min(m.window, x.shape[3]))
        mean_h, mean_w = x.mean(dim=3).requires_grad_(), x.mean(dim=2).requires_grad_()
        with torch.enable_grad():  # the small graphs, cut off from x; autograd runs them backward
            gate_h, gate_w = direct.spatial_gates(m, mean_h, mean_w)
        z = (x * gate_w.detach().unsqueeze(2)).mul_(gate_h.detach().unsqueeze(3))
        pooled = compress(m, z).requires_grad_()
        with torch.enable_grad():
            gate_c = direct.channel_gate(m, pooled)
        ctx.save_for_backward(x, *weights)
        ctx.small = (mean_h, mean_w, gate_h, gate_w, pooled, gate_c)
        ctx.kernel, ctx.reads, ctx.plain = kernel, reads, m.plain
        return z.mul_(gate_c.detach())

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, *weights = ctx.saved_tensors
        if torch.is_grad_enabled():
            grad_x, *learned = _recorded_backward(ctx.plain, ctx.reads, x, weights, grad)
            return (grad_x, None, None, *learned)
        mean_h, mean_w, gate_h, gate_w, pooled, gate_c = ctx.small
        high, wide, channel = gate_h.detach(), gate_w.detach(), gate_c.detach()

        product = grad * x
        # one pass; a vector on the right would cost several
        by_column = high.unsqueeze(2) @ product
        grad_c = (by_column.squeeze(2) * wide).sum(dim=2).reshape(gate_c.shape)
        grad_pooled, *by_channel = small_backward((gate_c,), (pooled, *weights), (grad_c,))

        # the gradient of z is grad * gate_c plus each window's share; here times x, below times the
        # spatial gates
        tiles, share = _tiles(grad_pooled, ctx.kernel, x.shape[3])
        product.mul_(channel)
        tiles(product).addcmul_(tiles(x), share)
        grad_w = (high.unsqueeze(2) @ product).squeeze(2)
        grad_h = product.mul_(wide.unsqueeze(2)).sum(dim=3)
        gates, means = (gate_h, gate_w), (mean_h, mean_w)
        grad_mean_h, grad_mean_w, *by_spatial = small_backward(
            gates, (*means, *weights), (grad_h, grad_w)
        )
        # fresh memory costs more than a product: the last use of it is the result
        grad_x = torch.mul(grad, channel * high.unsqueeze(3), out=product)
        tiles(grad_x).addcmul_(share, tiles(high.unsqueeze(3)))
        torch.addcmul(grad_mean_h.unsqueeze(3) / x.shape[3], grad_x, wide.unsqueeze(2), out=grad_x)
        grad_x.add_(grad_mean_w.unsqueeze(2), alpha=1 / x.shape[2])
        learned = [_sum(a, b) for a, b in zip(by_spatial, by_channel)]
        return (grad_x, None, None, *learned)


class _ScaledPositions(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        m: Any,
        gates: Any,
        reads: Reads,
        plain: Plain,
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        mean_h, mean_w = x.mean(dim=3).requires_grad_(), x.mean(dim=2).requires_grad_()
        with torch.enable_grad():  # the small graph, cut off from x; autograd runs it in backward
            gate_h, gate_w = gates(m, mean_h, mean_w)
        ctx.save_for_backward(x, *weights)
        ctx.small = (mean_h, mean_w, gate_h, gate_w)
        ctx.reads, ctx.plain = reads, plain
        return (x * gate_w.detach().unsqueeze(2)).mul_(gate_h.detach().unsqueeze(3))

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, *weights = ctx.saved_tensors
        if torch.is_grad_enabled():
            grad_x, *learned = _recorded_backward(ctx.plain, ctx.reads, x, weights, grad)
            return (grad_x, None, None, None, None, *learned)
        mean_h, mean_w, gate_h, gate_w = ctx.small
        high, wide = gate_h.detach(), gate_w.detach()
        product = grad * x
        # a vector on the right would cost several passes
        grad_w = (high.unsqueeze(2) @ product).squeeze(2)
        grad_h = product.mul_(wide.unsqueeze(2)).sum(dim=3)
        gates, means = (gate_h, gate_w), (mean_h, mean_w)
        grad_mean_h, grad_mean_w, *learned = small_backward(
            gates, (*means, *weights), (grad_h, grad_w)
        )
        # fresh memory costs more than a product: the last use of it is the result
        grad_x = torch.mul(grad, high.unsqueeze(3), out=product)
        torch.addcmul(grad_mean_h.unsqueeze(3) / x.shape[3], grad_x, wide.unsqueeze(2), out=grad_x)
        grad_x.add_(grad_mean_w.unsqueeze(2), alpha=1 / x.shape[2])
        return (grad_x, None, None, None, None, *learned)


def _sum(a: Any, b: Any) -> Any:
    """Add gradients, either of which may be None."""
    return a if b is None else b if a is None else a + b


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


def _recorded_backward(
    plain: Plain, reads: Reads, x: torch.Tensor, weights: Sequence[torch.Tensor], grad: torch.Tensor
) -> list[Any]:
    """Return the gradients of ``x`` and ``weights`` as a graph of their own, of the plain
    equations.
    """
    inputs = (x, *weights)
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    with _as_in_forward(reads, weights):
        y = plain(x)
    found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True, allow_unused=True))
    return [next(found) if tensor.requires_grad else None for tensor in inputs]


@contextmanager
def _as_in_forward(reads: Reads, weights: Sequence[torch.Tensor]) -> Iterator[None]:
    """Let the layers hold the weights of the forward pass, which may have been lent to them for it
    alone (``functional_call``), and keep running statistics as they are.
    """
    norms = {child for child, _ in reads if isinstance(child, _BatchNorm) and child.training}
    places = [_place(child, name) for child, name in reads]
    before = [place[name] for place, (_, name) in zip(places, reads)]
    tracked = [norm.track_running_stats for norm in norms]
    try:
        _fill(places, reads, weights)
        for norm in norms:
            norm.track_running_stats = False
        yield
    finally:
        _fill(places, reads, before)
        for norm, value in zip(norms, tracked):
            norm.track_running_stats = value


def _place(child: nn.Module, name: str) -> dict[str, Any]:
    """Return the dictionary that holds a weight."""
    return child._parameters if name in child._parameters else vars(child)


def _fill(places: list[dict[str, Any]], reads: Reads, tensors: Sequence[torch.Tensor]) -> None:
    for place, (_, name), tensor in zip(places, reads, tensors):
        place[name] = tensor


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
