"""The only place that chooses between a module's plain equations and its fast ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from scsa_yolo.attention.fast.mode import traced, watched, watched_in_graph
from scsa_yolo.attention.functional import plain_sizes

Way = Callable[[Any, torch.Tensor], torch.Tensor]


def plain(module: Any, x: torch.Tensor) -> torch.Tensor:
    """Compute the plain equations, which call every child as the layer that it is."""
    result: torch.Tensor = module.plain(x)
    return result


def always(module: Any) -> bool:
    """Fit every module of the class."""
    return True


@dataclass(frozen=True)
class Ways:
    """The fast ways of one class; what is missing is done by ``direct``, and that plainly.

    Attributes:
        direct: Fewer or cheaper operators, on any device, under autograd and compilers too.
        cpu: Inference in float32 on a CPU.
        traced: Graphs of ``torch.jit.trace`` and of ONNX, in operators that runtimes run best.
        train: A backward of our own.
        trains: Tells whether ``train`` knows the module's options.
        exports: Tells whether ``traced`` knows the module's options and mode.
        portable: Graphs in 4-D convolutions and plain arithmetic; the plain equations have no other
            operators where this is missing.
    """

    direct: Way = plain
    cpu: Way | None = None
    traced: Way | None = None
    train: Way | None = None
    trains: Callable[[Any], bool] = always
    exports: Callable[[Any], bool] = always
    portable: Way = plain


def choose(module: Any, x: torch.Tensor) -> Way:
    """Return the way that computes ``module`` of ``x`` here and now.

    The fast ways are for when nobody looks on. Whoever does, by hooks, masks, parametrizations,
    functional transforms or a tracer of its own, gets the plain equations.
    """
    module.check_input(x)
    ways: Ways = module.ways
    if module.portable and traced() and not module.training:
        known = module.channels == _width(x) and not watched_in_graph(module)
        return ways.portable if known else plain
    if torch.compiler.is_compiling():
        ordinary = module.fast and module.channels == x.shape[1]
        return ways.direct if ordinary and not watched_in_graph(module) else plain
    if torch.jit.is_tracing():
        ordinary = module.fast and module.channels == plain_sizes(x)[1]
        if not ordinary or watched_in_graph(module):
            return plain
        return ways.traced if ways.traced and ways.exports(module) else ways.direct
    if not module.fast or module.channels != x.shape[1] or watched(module, x):
        return plain
    if torch.is_grad_enabled():
        return ways.train if ways.train and ways.trains(module) else ways.direct
    if ways.cpu and x.dtype == torch.float32 and x.is_cpu:
        return ways.cpu
    return ways.direct


def _width(x: torch.Tensor) -> int:
    """Return the channels of ``x``, while it is traced too."""
    return plain_sizes(x)[1] if torch.jit.is_tracing() else x.shape[1]


def use_plain(model: torch.nn.Module, plain: bool = True) -> torch.nn.Module:
    """Let every attention module in ``model`` compute its plain equations, whoever looks on.

    The numbers are the same up to rounding; it is slower. The trainer of Ultralytics rebuilds a
    model from its YAML: there write the option ``fast: false`` into the row.

    Args:
        model: An attention module, or a model that holds some.
        plain: False gives the fast ways back.

    Returns:
        ``model``.

    Raises:
        ValueError: There is no attention module of this package in ``model``.
    """
    found = [child for child in model.modules() if isinstance(getattr(child, "ways", None), Ways)]
    if not found:
        name = type(model).__name__
        raise ValueError(
            f"{name} holds no attention module of scsa_yolo. Give use_plain the model that does,"
            " for example the one that scsa_yolo.inject returned"
        )
    for child in found:
        child.fast = not plain  # type: ignore[assignment]
    return model
