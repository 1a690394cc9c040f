"""Weights from a stock checkpoint: loaded by Ultralytics, counted and reported by us."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from ultralytics.utils import LOGGER

from scsa_yolo.attention import attention_class, attention_names
from scsa_yolo.blocks import IdentityStart, slotted


def load(
    original: Callable[..., Any], self: nn.Module, weights: Any, *args: Any, **kwargs: Any
) -> Any:
    """Work of the wrapper of ``BaseModel.load(weights, verbose=True)``: load as stock, then say
    what was moved.
    """
    result = original(self, weights, *args, **kwargs)
    verbose = args[0] if args else kwargs.get("verbose", True)
    if verbose and (attention := attention_modules(self)):
        source = (weights.get("ema") or weights["model"]) if isinstance(weights, dict) else weights
        LOGGER.info(transfer_report(self, source, attention))
    return result


def attention_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the attention modules of a model by dotted name: those in slots, and bare rows."""
    found: dict[str, Any] = {f"{name}.attn".lstrip("."): unit.attn for name, unit in slotted(model)}
    classes = (IdentityStart, *(attention_class(name) for name in attention_names()))
    for name, module in model.named_modules():
        inside = any(name == known or name.startswith(f"{known}.") for known in found)
        if type(module) in classes and not inside:
            found[name] = module
    return found


def transfer_report(model: nn.Module, source: nn.Module, attention: dict[str, nn.Module]) -> str:
    """Return one line: how many stock tensors came over, which did not, and how many are new."""
    theirs, ours = source.state_dict(), model.state_dict()
    new = {key for key in ours for name in attention if key.startswith(f"{name}.")}
    stock = [key for key in ours if key not in new]
    moved = [key for key in stock if key in theirs and theirs[key].shape == ours[key].shape]
    left = [key for key in stock if key not in set(moved)]
    known = [key for key in new if key in theirs and theirs[key].shape == ours[key].shape]
    parts = [f"scsa_yolo: {len(moved)} of {len(stock)} stock tensors transferred"]
    if left:
        shown = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
        parts.append(f"{len(left)} differ in shape or are missing ({shown})")
    if known:
        parts.append(f"{len(known)} of {len(new)} attention tensors transferred")
    fresh = len(new) - len(known)
    if fresh:
        parts.append(f"{fresh} tensors in {len(attention)} attention modules are new")
    return "; ".join(parts)
