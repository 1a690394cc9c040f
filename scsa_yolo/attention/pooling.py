"""Poolings of maps of any size, eagerly and in graphs of symbolic sizes."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F


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


def pool_adaptively(x: torch.Tensor, size: int) -> torch.Tensor:
    """Average (B, C, H, W) to (B, C, size, size); sizes that tracing or export has made symbols
    stay symbols.
    """
    height, width = x.shape[2:]
    if isinstance(height, int) and isinstance(width, int):
        return x if height == width == size else F.adaptive_avg_pool2d(x, size)
    return pooling_matrix(height, size, x) @ x @ pooling_matrix(width, size, x).t()


def pooling_matrix(length: Any, bins: int, like: torch.Tensor) -> torch.Tensor:
    """Return the (bins, length) matrix of adaptive average pooling.

    Bin i averages the positions from floor(i L / bins) up to, not including, ceil((i + 1) L /
    bins).
    """
    index = torch.arange(bins, device=like.device)[:, None]
    start, end = index * length // bins, ((index + 1) * length + bins - 1) // bins
    position = torch.arange(length, device=like.device)
    inside = (position >= start) & (position < end)
    return (inside / (end - start)).to(like.dtype)
