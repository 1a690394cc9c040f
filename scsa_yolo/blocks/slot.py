"""What a residual unit is, and how one is given a slot named ``attn``.

A unit is a block's smallest residual branch. It gets its slot by exchanging its class for a
subclass whose forward
calls ``self.attn``: the children keep their names, so every stock key of the state dict keeps name
and shape, and only
``*.attn.*`` is new. Class paths are part of the checkpoint format: never rename one without leaving
the old name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.base import check_choice

SLOTS = ("mid", "out")


@dataclass(frozen=True)
class Slot:
    """A place in a unit: the subclass that has it, and the width (channels) of the map that passes
    there.
    """

    cls: type[nn.Module]
    width: Callable[[Any], int]


_UNITS: dict[type[nn.Module], dict[str, Slot]] = {}


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


def units(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the units without a slot in ``module``, itself included, with their dotted names."""
    yield from ((name, child) for name, child in module.named_modules() if type(child) in _UNITS)


def slot_width(unit: nn.Module, slot: str = "mid") -> int:
    """Return the width (channels) of the map that would pass the slot of ``unit``.

    Raises:
        ValueError: An unknown slot, or ``unit`` is no unit or has a slot already.
    """
    return int(_place(unit, slot).width(unit))


def _place(unit: nn.Module, slot: str) -> Slot:
    check_choice("slot", slot, SLOTS)
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
    unit.__class__ = place.cls


def slotted(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the units that have a slot, with their dotted names; the attention is ``unit.attn``."""
    classes = {place.cls for places in _UNITS.values() for place in places.values()}
    yield from ((name, child) for name, child in module.named_modules() if type(child) in classes)
