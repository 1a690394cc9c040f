"""INT8: which layers lose accuracy, found in PyTorch, and an ONNX file quantized with chosen layers
left in float.

A layer is one convolution or linear layer, or one attention module as a whole. :func:`layer_report`
quantizes one at a
time, as integer runtimes do it: weights symmetric for each output channel, activations with one
scale and offset for the tensor, from the ranges seen in calibration. What runtimes fuse or keep in
float is not imitated, so the report ranks layers; what an INT8 file loses is measured on the file.

Folded attention writes its result over its input and computes with constants made of the weights
before: ranges and rounding are therefore taken while the attention is not folded.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scsa_yolo.deploy.int8_onnx import quantize_onnx
from scsa_yolo.support.files import write_json

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = [
    "LayerLoss",
    "fake_quantized",
    "layer_names",
    "calibrate",
    "format_report",
    "layer_report",
    "quantize_onnx",
    "unfolded",
    "write_report",
]

LEVELS = 255  # of an 8-bit activation


@dataclass(frozen=True)
class LayerLoss:
    """What quantizing one layer alone does.

    Attributes:
        layer: Dotted name in the model.
        kind: Class of the layer.
        attention: Whether it is an attention module.
        raw_mean: Mean error of the raw output, as a share of the scale of boxes and of scores.
        raw_max: Largest error, likewise.
        lost: Share of the boxes above the threshold, of both models, that have no counterpart of
            their class with an IoU of 0.5; None for heads whose raw output is not one of anchors.
    """

    layer: str
    kind: str
    attention: bool
    raw_mean: float
    raw_max: float
    lost: float | None


def layer_names(model: nn.Module) -> dict[str, nn.Module]:
    """Return what can be quantized: attention modules as a whole; convolutions and linear layers
    elsewhere.
    """
    from scsa_yolo.host.transfer import attention_modules

    found = dict(attention_modules(model))
    inside = tuple(f"{name}." for name in found)
    for name, module in model.named_modules():
        if _is_plain(module) and not name.startswith(inside):
            found[name] = module
    return {
        name: module for name, module in model.named_modules() if name in found
    }  # in the model's order


def _is_plain(module: nn.Module) -> bool:
    from torch import nn

    return isinstance(module, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear))


@contextlib.contextmanager
def unfolded(model: nn.Module) -> Iterator[None]:
    """Let the attention run as it was trained: constants anew at each call, inputs left as they
    are; afterwards what was folded is folded again.
    """
    from scsa_yolo.attention.base import Attention

    names = ("is_folded", "overwrites", "_watch")  # the last: whose map it may overwrite
    folded: list[tuple[Attention, dict[str, Any]]] = []
    for module in model.modules():
        if isinstance(module, Attention) and module.is_folded:
            kept = {name: vars(module)[name] for name in names if name in vars(module)}
            folded.append((module, kept))
            module.unfold()
    try:
        yield
    finally:
        for module, kept in folded:
            vars(module).update(kept)


@contextlib.contextmanager
def fake_quantized(
    model: nn.Module, layers: Iterable[str], ranges: dict[str, tuple[float, float, float, float]]
) -> Iterator[None]:
    """Run the model with some layers rounded to 8 bits; weights, hooks and folding are as they were
    afterwards.

    Args:
        model: In eval mode.
        layers: Names from :func:`layer_names`.
        ranges: Least and greatest input, least and greatest output of each, from calibration.

    Raises:
        ValueError: The model has no such layer, or its ranges are not known.
    """
    import torch

    known, hooks, saved = layer_names(model), [], []
    with unfolded(model):  # outside: constants are made again of the weights as they were
        try:
            for name in layers:
                _refuse_unknown(name, known, ranges)
                saved += _rounded_weights(known[name])
                hooks += _rounding_hooks(known[name], ranges[name])
            yield
        finally:
            for hook in hooks:
                hook.remove()
            with torch.no_grad():
                for weight, before in saved:
                    weight.copy_(before)


def _refuse_unknown(name: str, known: dict[str, Any], ranges: dict[str, Any]) -> None:
    if name not in known:
        few = ", ".join(list(known)[:5])
        raise ValueError(f"the model has no layer {name!r} to quantize; it has {few} ...")
    if name not in ranges:
        raise ValueError(f"no range of {name!r} is known: calibrate the model first")


def _rounded_weights(module: nn.Module) -> list[tuple[nn.Parameter, torch.Tensor]]:
    """Round the weights of a layer in place, and return them with what they were."""
    import torch

    saved = []
    for weight in module.parameters():
        if weight.ndim > 1:
            saved.append((weight, weight.detach().clone()))
            with torch.no_grad():
                weight.copy_(_round_weight(weight))
    return saved


def _rounding_hooks(module: nn.Module, ends: tuple[float, float, float, float]) -> list[Any]:
    """Round what a layer takes, and what it hands on where it is an attention module."""
    low, high, least, most = ends

    def before(_: nn.Module, x: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (_round(x[0], low, high), *x[1:])

    def after(_: nn.Module, x: tuple[torch.Tensor, ...], y: torch.Tensor) -> torch.Tensor:
        return _round(y, least, most)

    hooks: list[Any] = [module.register_forward_pre_hook(before)]
    if not _is_plain(module):  # a convolution's result goes on in 32 bits
        hooks.append(module.register_forward_hook(after))
    return hooks


def _round(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Round to 8 bits between two values, 0 among them, and cut what is beyond."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / LEVELS or 1.0
    zero = round(-low / step)
    return ((x / step).round() + zero).clamp(0, LEVELS).sub(zero).mul(step)


def _round_weight(weight: torch.Tensor) -> torch.Tensor:
    """Round to 8 bits, symmetric, with a step for each output channel."""
    flat = weight.flatten(1)
    step = (flat.abs().amax(dim=1) / 127).clamp(min=1e-12).reshape(-1, *[1] * (weight.ndim - 1))
    return (weight / step).round().clamp(-127, 127) * step


def calibrate(
    model: nn.Module, images: torch.Tensor, percentile: float = 100.0
) -> dict[str, tuple[float, float, float, float]]:
    """Return the ranges of every layer's input and output over the images.

    Args:
        model: In eval mode.
        images: (N, 3, H, W), RGB from 0 to 1.
        percentile: 100: least and greatest; 99.9: a thousandth at both ends is cut off, image by
            image.

    Raises:
        ValueError: A percentile out of its range, no image, or values that are no numbers.
    """
    import torch

    if not 50 < percentile <= 100:
        raise ValueError(f"percentile must be above 50 and at most 100, got {percentile}")
    if not len(images):
        raise ValueError("calibration needs at least one image")
    seen: dict[str, list[float]] = {}

    def widen(name: str, first: int, t: torch.Tensor) -> None:
        ends = _ends(t, percentile)
        if not all(map(math.isfinite, ends)):
            raise ValueError(
                f"{name}: its values are no finite numbers (NaN or infinity), so it has no range"
            )
        old = seen.setdefault(name, [math.inf, -math.inf] * 2)
        old[first] = min(old[first], ends[0])
        old[first + 1] = max(old[first + 1], ends[1])

    def watch(name: str, module: nn.Module) -> list[Any]:
        # the input before the layer runs: a layer may write its result over it
        def before(_: nn.Module, x: tuple[torch.Tensor, ...]) -> None:
            widen(name, 0, x[0])

        def after(_: nn.Module, x: tuple[torch.Tensor, ...], y: torch.Tensor) -> None:
            widen(name, 2, y)

        return [module.register_forward_pre_hook(before), module.register_forward_hook(after)]

    hooks = []
    try:
        with unfolded(model), torch.inference_mode():
            for name, module in layer_names(model).items():
                hooks += watch(name, module)
            for image in images:
                model(image[None])
    finally:
        for hook in hooks:
            hook.remove()
    return {name: (ends[0], ends[1], ends[2], ends[3]) for name, ends in seen.items()}


def _ends(t: torch.Tensor, percentile: float) -> tuple[float, float]:
    if percentile == 100:
        return float(t.amin()), float(t.amax())
    flat = np.asarray(t.detach().float().cpu()).ravel()
    low, high = np.percentile(flat, (100 - percentile, percentile))
    return float(low), float(high)


def layer_report(
    model: nn.Module,
    images: np.ndarray,
    *,
    calibration: np.ndarray | None = None,
    percentile: float = 100.0,
    conf: float = 0.25,
    say: Callable[[str], None] = lambda _: None,
) -> list[LayerLoss]:
    """Quantize one layer at a time and measure what that changes; the worst comes first.

    Args:
        model: A detector of Ultralytics' in float32; fused, as exporters fuse it, is what counts.
            It stays as it is: the work is done on a copy.
        images: (N, 3, H, W) float32, RGB from 0 to 1, on which the change is measured.
        calibration: Images for the ranges (default: the same).
        percentile: See :func:`calibrate`.
        conf: Threshold of the boxes that are compared.
        say: Told which layer is next.
    """
    import torch

    model = copy.deepcopy(model).eval()
    x = torch.from_numpy(np.ascontiguousarray(images))
    seen = x if calibration is None else torch.from_numpy(np.ascontiguousarray(calibration))
    with unfolded(model):
        return _losses(model, x, calibrate(model, seen, percentile), conf, say)


def _losses(
    model: nn.Module,
    x: torch.Tensor,
    ranges: dict[str, tuple[float, float, float, float]],
    conf: float,
    say: Callable[[str], None],
) -> list[LayerLoss]:
    layers = {name: module for name, module in layer_names(model).items() if name in ranges}
    expected, losses = _outputs(model, x), []
    for number, (name, module) in enumerate(layers.items(), 1):
        say(f"layer {number} of {len(layers)}: {name}")
        with fake_quantized(model, [name], ranges):
            got = _outputs(model, x)
        mean, most, lost = _change(model, expected, got, conf)
        losses.append(
            LayerLoss(name, type(module).__name__, not _is_plain(module), mean, most, lost)
        )
    return sorted(losses, key=lambda loss: -loss.raw_mean)


def _outputs(model: nn.Module, x: torch.Tensor) -> np.ndarray:
    import torch

    with torch.inference_mode():
        out = model(x)
    return (out[0] if isinstance(out, (list, tuple)) else out).float().numpy()


def _change(
    model: nn.Module, expected: np.ndarray, got: np.ndarray, conf: float
) -> tuple[float, float, float | None]:
    from scsa_yolo.deploy.parity import Boxes, Layout, compare_boxes, compare_raw

    layers: Any = model.model
    head = layers[-1]  # its raw output is (B, 4 + classes, anchors), or rows that it chose
    anchors = type(head).__name__ != "RTDETRDecoder" and not getattr(head, "end2end", False)
    layout = Layout(axis=1, kinds=(4,)) if anchors else Layout(axis=2, kinds=(4,), selected=True)
    raw = compare_raw([expected], [got], layout)
    if not anchors:
        return raw.mean_rel, raw.max_rel, None
    import torch
    from ultralytics.utils.nms import non_max_suppression

    sides = []
    for output in (expected, got):
        found = [
            rows.numpy() for rows in non_max_suppression(torch.from_numpy(output.copy()), conf, 0.7)
        ]
        sides.append([Boxes(rows[:, :4], rows[:, 4], rows[:, 5].astype(int)) for rows in found])
    boxes = compare_boxes(sides[0], sides[1], threshold=conf, slack=0.0)
    total = boxes.pytorch + boxes.exported
    return raw.mean_rel, raw.max_rel, boxes.lost / total if total else 0.0


def format_report(losses: Sequence[LayerLoss], limit: int = 15) -> str:
    """Return a table of the worst layers, and what attention loses beside all other layers."""
    lines = [f"{'layer':<36} {'kind':<10} {'mean error':>10} {'largest':>9} {'boxes lost':>10}"]
    for loss in losses[:limit]:
        lost = "" if loss.lost is None else f"{loss.lost:.1%}"
        lines.append(
            f"{loss.layer:<36} {loss.kind:<10} {loss.raw_mean:>10.2e} {loss.raw_max:>9.2e}"
            f" {lost:>10}"
        )
    for name, part in (("attention", True), ("other", False)):
        values = [loss.raw_mean for loss in losses if loss.attention is part]
        if values:
            lines.append(
                f"{len(values)} {name} layers: median {np.median(values):.2e}, largest"
                f" {max(values):.2e}"
            )
    return "\n".join(lines)


def write_report(losses: Sequence[LayerLoss], path: Path) -> None:
    """Write the losses as JSON, whole or not at all."""
    write_json(path, [asdict(loss) for loss in losses], indent=1)
