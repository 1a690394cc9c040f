"""Normalisations that exported graphs have one operator for."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional as F

from scsa_yolo.attention.functional import plain_sizes

LAYER_NORM_OPSET = 17
# Lost in 1 + EPS in every type, so the step stays exact; torch 2.10 and 2.11 refuse an epsilon of 0.
NO_EPS = 1e-30


def instance_norm(
    x: torch.Tensor, channels: int, weight: torch.Tensor, bias: torch.Tensor, eps: float
) -> torch.Tensor:
    """Normalise each channel of (B, C, H, W) over its positions, then apply ``weight`` and ``bias``
    (C).

    Eagerly this is GroupNorm with a group a channel, since torch's own instance normalisation is
    six times as slow on a CPU. The ONNX exporter writes that as five operators, three of which pass
    over the map. ``channels`` is C as a plain int, which a traced tensor cannot tell.
    """
    if torch.jit.is_tracing() and torch.onnx.is_in_onnx_export():
        return _InstanceNorm.apply(x, weight, bias, eps)
    return torch.group_norm(x, channels, weight, bias, eps)


def whole_norm_onnx(x: torch.Tensor, eps: float) -> torch.Tensor:
    """Normalise (B, C, H, W) over all but the batch, in an ONNX graph that is for one size alone.

    That is GroupNorm with one group and without its affine part, which the exporter writes as three
    operators.
    """
    return _WholeNorm.apply(x, eps, plain_sizes(x)[1:], x.dtype)


def affine_traced(t: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """(B, C, N) times (C) plus (C) as one operator of an exported graph: a batch norm of mean 0 and
    variance 1.
    """
    mean, variance = torch.zeros_like(weight), torch.ones_like(weight)
    return F.batch_norm(t, mean, variance, weight, bias, training=False, eps=NO_EPS)


class _InstanceNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
    ) -> torch.Tensor:
        return torch.group_norm(x, x.shape[1], weight, bias, eps)

    @staticmethod
    def symbolic(graph: Any, x: Any, weight: Any, bias: Any, eps: float) -> Any:
        return graph.op("InstanceNormalization", x, weight, bias, epsilon_f=eps).setType(x.type())


class _WholeNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, eps: float, sizes: tuple[int, ...], dtype: torch.dtype
    ) -> torch.Tensor:
        return torch.group_norm(x, 1, None, None, eps)

    @staticmethod
    def symbolic(graph: Any, x: Any, eps: float, sizes: tuple[int, ...], dtype: torch.dtype) -> Any:
        def constant(value: torch.Tensor) -> Any:
            return graph.op("Constant", value_t=value)

        if graph.opset >= LAYER_NORM_OPSET:
            ones = constant(torch.ones(sizes, dtype=dtype))
            return graph.op("LayerNormalization", x, ones, axis_i=1, epsilon_f=eps).setType(
                x.type()
            )
        row = graph.op("Reshape", x, constant(torch.tensor([0, 1, math.prod(sizes)])))
        gain, shift = constant(torch.ones(1, dtype=dtype)), constant(torch.zeros(1, dtype=dtype))
        row = graph.op("InstanceNormalization", row, gain, shift, epsilon_f=eps)
        return graph.op("Reshape", row, constant(torch.tensor([0, *sizes]))).setType(x.type())
