"""What a residual unit is, and how one is given a slot named ``attn``.

A unit is a block's smallest residual branch. It gets its slot by exchanging its class for a
subclass whose forward
calls ``self.attn``: the children keep their names, so every stock key of the state dict keeps name
and shape, and only
``*.attn.*`` is new. Class paths are part of the checkpoint format: never rename one without leaving
the old name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.base import check_choice

SLOTS = ("mid", "out")
# The attribute of an attention module that no training and no checkpoint has touched. It goes with
# the module, into worker processes and saved models too, until training begins.
UNTRAINED = "untrained"


@dataclass(frozen=True)
class Slot:
    """A place in a unit: the subclass that has it, and the width (channels) of the map that passes
    there.
    """

    cls: type[nn.Module]
    width: Callable[[Any], int]


KINDS = ("residual", "ffn")  # the kinds of units: branches of convolutions, feed-forward branches
_UNITS: dict[type[nn.Module], dict[str, Slot]] = {}
_FEED_FORWARD: dict[type[nn.Module], str] = {}  # the block that has one -> its name there
_FEED_FORWARD_PLACES: dict[str, Slot] = {}


def add_unit(stock: type[nn.Module], *, out: Slot, mid: Slot | None = None) -> None:
    """Make instances of exactly ``stock`` units.

    Args:
        stock: The class of the unit without a slot.
        out: The slot after the last convolution, before the addition.
        mid: The slot on the activation that feeds the last convolution; None where the branch has
            no such place, then ``out`` serves for both.
    """
    _UNITS[stock] = {"out": out, "mid": mid or out}
    torch.serialization.add_safe_globals(
        sorted({s.cls for s in _UNITS[stock].values()}, key=lambda cls: cls.__name__)
    )


def add_feed_forward(owners: Mapping[type[nn.Module], str], *, mid: Slot, out: Slot) -> None:
    """Make a child of each of ``owners``, by name, a feed-forward unit: an ``nn.Sequential`` of two
    convolutions whose result is added to its input.
    """
    _FEED_FORWARD.update(owners)
    _FEED_FORWARD_PLACES.update(mid=mid, out=out)
    torch.serialization.add_safe_globals([mid.cls, out.cls])


def units(module: nn.Module, kind: str = "residual") -> Iterator[tuple[str, nn.Module]]:
    """Yield the units without a slot in ``module``, itself included, with their dotted names.

    Args:
        module: Any torch module.
        kind: ``"residual"``, branches of convolutions, or ``"ffn"``, the feed-forward branches of
            attention blocks.
    """
    for name, child in module.named_modules():
        if kind == "residual" and type(child) in _UNITS:
            yield name, child
        branch = _FEED_FORWARD.get(type(child)) if kind == "ffn" else None
        unit = None if branch is None else getattr(child, branch)
        if unit is not None and type(unit) is nn.Sequential:
            yield f"{name}.{branch}".lstrip("."), unit


def slot_width(unit: nn.Module, slot: str = "mid") -> int:
    """Return the width (channels) of the map that would pass the slot of ``unit``.

    Raises:
        ValueError: An unknown slot, or ``unit`` is no unit or has a slot already.
    """
    return int(_place(unit, slot).width(unit))


def _place(unit: nn.Module, slot: str) -> Slot:
    check_choice("slot", slot, SLOTS)
    if type(unit) is nn.Sequential and _FEED_FORWARD_PLACES and len(unit) == 2:
        return _FEED_FORWARD_PLACES[slot]
    if type(unit) not in _UNITS:
        raise ValueError(f"{type(unit).__name__} is no residual unit without a slot")
    return _UNITS[type(unit)][slot]


def give_slot(unit: nn.Module, attention: nn.Module, slot: str = "mid") -> None:
    """Give ``unit`` its slot, ``unit.attn``, with ``attention`` in it, in the unit's mode, type and
    place.

    Args:
        unit: An instance of a class that :func:`units` yields.
        attention: Takes maps of :func:`slot_width` channels.
        slot: ``"mid"`` or ``"out"``.

    Raises:
        ValueError: An unknown slot, or ``unit`` is no unit or has a slot already.
    """
    place = _place(unit, slot)
    like = next(unit.parameters())
    unit.attn = attention.to(device=like.device, dtype=like.dtype).train(unit.training)
    mark_untrained(attention)
    unit.__class__ = place.cls


def mark_untrained(attention: nn.Module) -> None:
    """Note that ``attention`` is as it was drawn; ``freeze`` and transfers go by it."""
    vars(attention)[UNTRAINED] = True


def slotted(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the units that have a slot, with their dotted names; the attention is ``unit.attn``."""
    every = [*_UNITS.values(), _FEED_FORWARD_PLACES]
    classes = {place.cls for places in every for place in places.values()}
    yield from ((name, child) for name, child in module.named_modules() if type(child) in classes)
