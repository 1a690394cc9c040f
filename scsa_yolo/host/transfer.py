"""Weights from a stock checkpoint: loaded by Ultralytics, counted and reported by us."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from ultralytics.utils import LOGGER

from scsa_yolo.attention import Attention, attention_class, attention_names
from scsa_yolo.blocks import UNTRAINED, IdentityStart, slotted
from scsa_yolo.blocks.foreign import foreign_options, is_foreign
from scsa_yolo.support.text import counted


def load(
    original: Callable[..., Any], self: nn.Module, weights: Any, *args: Any, **kwargs: Any
) -> Any:
    """Work of the wrapper of ``BaseModel.load(weights, verbose=True)``: load as stock, then say
    what was moved.
    """
    attention = attention_modules(self)
    source = weights
    if isinstance(weights, dict):
        source = weights.get("ema") or weights.get("model")
    if not attention or not isinstance(source, nn.Module):  # stock has the error for what is none
        return original(self, weights, *args, **kwargs)
    _compare_settings(source, attention)
    new = _without_counterpart(self, source, attention)
    before = {key: (tensor, _version(tensor)) for key, tensor in _tensors(self).items()}
    with _hidden(self, new):
        result = original(self, weights, *args, **kwargs)
    moved = _moved(self, source, before)
    _mark(source, attention, set(moved))
    verbose = args[0] if args else kwargs.get("verbose", True)
    if verbose:
        LOGGER.info(_report(self, attention, moved))
    return result


def _compare_settings(source: nn.Module, attention: dict[str, nn.Module]) -> None:
    """Refuse, or name, attention of the same tensors and other settings.

    Raises:
        ValueError: An SCSA of another code base would compute something else here.
    """
    others = dict(source.named_modules())
    for name, module in attention.items():
        ours, theirs = _blended(module), _blended(others.get(name, module))
        if is_foreign(theirs):
            _compare_foreign(name, ours, theirs)
        elif isinstance(ours, Attention) and type(theirs) is type(ours):
            before, now = theirs.shown_options(), ours.shown_options()
            if before != now:
                LOGGER.warning(
                    f"scsa_yolo: {name} was trained with {before or 'its defaults'} and is now"
                    f" {now or 'at its defaults'}: its weights may fit and compute something else"
                )
                return  # one line: all rows of a model have such options as a rule


def _compare_foreign(name: str, ours: nn.Module, theirs: nn.Module) -> None:
    options = foreign_options(theirs)
    differ = {
        key: value
        for key, value in options.items()
        if key in ("heads", "window") and getattr(ours, key, value) != value
    }
    if differ:
        written = ", ".join(f"{key}: {value}" for key, value in differ.items())
        raise ValueError(
            f"the weights of {name} come from an SCSA of another code base with {differ}: here they"
            f" would compute something else. Write {{{written}}} as the options of its row, or see"
            " scsa_yolo.adopt"
        )


def _blended(module: nn.Module) -> nn.Module:
    return module.attention if isinstance(module, IdentityStart) else module


def _without_counterpart(
    model: nn.Module, source: nn.Module, attention: dict[str, nn.Module]
) -> set[str]:
    """Return the attention's tensors that ``source`` has nothing for."""
    theirs = source.state_dict()
    ours = {key: tensor for key, tensor in model.state_dict().items() if _in(key, attention)}
    return {
        key
        for key, tensor in ours.items()
        if key not in theirs or theirs[key].shape != tensor.shape
    }


def _in(key: str, attention: Iterable[str]) -> bool:
    return any(key.startswith(f"{name}.") for name in attention)


@contextmanager
def _hidden(model: nn.Module, keys: set[str]) -> Iterator[None]:
    """Leave ``keys`` out of the model's state dict.

    Stock code takes over class names only where every tensor of the model came over. New attention
    can't come, so it must not count. What is loaded stays the same.
    """

    def leave_out(module: nn.Module, state: dict[str, Any], prefix: str, local: Any) -> None:
        for key in keys:
            state.pop(f"{prefix}{key}", None)

    handle = model.register_state_dict_post_hook(leave_out)
    try:
        yield
    finally:
        handle.remove()


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return model.state_dict(keep_vars=True)


def _version(tensor: torch.Tensor) -> int:
    """Return how often a tensor was written to; inference tensors don't count it."""
    return -1 if tensor.is_inference() else tensor._version


def _moved(
    model: nn.Module, source: nn.Module, before: dict[str, tuple[torch.Tensor, int]]
) -> dict[str, bool]:
    """Return the tensors that stock code filled from ``source``, and whether as a whole.

    In part are those whose first channels or whose rows of known classes came over.
    """
    theirs = source.state_dict()
    moved: dict[str, bool] = {}
    for key, tensor in _tensors(model).items():
        other = theirs.get(key)
        if other is None:
            continue
        known, version = before.get(key, (None, 0))
        if other.shape == tensor.shape and torch.equal(other.to(tensor), tensor.detach()):
            moved[key] = True
        elif known is tensor:
            if _version(tensor) > version:
                moved[key] = False
        elif _shares_rows(tensor.detach(), other):
            moved[key] = False
    return moved


def _shares_rows(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Tell whether a tensor that stock code made anew holds a row (a class) of the other."""
    if ours.dim() == 0 or ours.shape[1:] != theirs.shape[1:]:
        return False
    same = ours.flatten(1)[:, None] if ours.dim() > 1 else ours[:, None, None]
    rows = theirs.to(ours).reshape(1, len(theirs), -1)
    return bool((same == rows).all(-1).any())


def _mark(source: nn.Module, attention: dict[str, nn.Module], moved: set[str]) -> None:
    """Note which attention came with weights: all its tensors, from one that was trained."""
    theirs = attention_modules(source)
    for name, module in attention.items():
        keys = [f"{name}.{key}" for key in module.state_dict()]
        drawn = name in theirs and vars(theirs[name]).get(UNTRAINED)
        if keys and moved.issuperset(keys) and not drawn:
            vars(module).pop(UNTRAINED, None)


def attention_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the attention modules of a model by dotted name: those in slots, and bare rows."""
    found: dict[str, Any] = {f"{name}.attn".lstrip("."): unit.attn for name, unit in slotted(model)}
    classes = (IdentityStart, *(attention_class(name) for name in attention_names()))
    for name, module in model.named_modules():
        inside = any(name == known or name.startswith(f"{known}.") for known in found)
        if type(module) in classes and not inside:
            found[name] = module
    return found


def _report(model: nn.Module, attention: dict[str, nn.Module], moved: dict[str, bool]) -> str:
    """Return one line: how many stock tensors came over, which did not, and how many are new."""
    ours = model.state_dict()
    new = [key for key in ours if _in(key, attention)]
    stock = [key for key in ours if not _in(key, attention)]
    left = [key for key in stock if key not in moved]
    partly = [key for key in stock if not moved.get(key, True)]
    known = [key for key in new if key in moved]
    parts = [f"scsa_yolo: {len(stock) - len(left)} of {len(stock)} stock tensors transferred"]
    if partly:
        parts.append(f"{len(partly)} of them in part ({_listed(partly)})")
    if left:
        parts.append(f"{len(left)} differ in shape or are missing ({_listed(left)})")
    if known:
        parts.append(f"{len(known)} of {len(new)} attention tensors transferred")
    fresh = len(new) - len(known)
    if fresh:
        tensors = counted(fresh, "tensor")
        modules = counted(len(attention), "attention module")
        parts.append(f"{tensors} in {modules} {'is' if fresh == 1 else 'are'} new")
    return "; ".join(parts)


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
