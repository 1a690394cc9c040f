"""Put an attention module into the residual units of a built model: torchvision's, timm's, or any
with known units.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import torch
from torch import nn

from scsa_yolo.attention.base import check_choice
from scsa_yolo.blocks import (
    KINDS,
    SLOTS,
    check_attention_options,
    feedforward,
    give_slot,
    make_attention,
    slot_width,
    slotted,
)
from scsa_yolo.blocks import units as find_units
from scsa_yolo.support.packaged import page

# Libraries whose units are a module of their own, imported when a model holds parts of that
# library.
LIBRARIES = {"torchvision": "scsa_yolo.blocks.torchvision", "timm": "scsa_yolo.blocks.timm"}
FAMILIES = (
    "torchvision's ResNet, ResNeXt, Wide ResNet, MobileNetV2, MobileNetV3 and Swin (V1, V2), and"
    " detectors or segmenters on them; timm's ResNet, RepVGG and RepViT; Ultralytics' blocks"
)

Where = str | re.Pattern[str] | Callable[[str, nn.Module], bool]
_Module = TypeVar("_Module", bound=nn.Module)


def inject(
    module: _Module,
    attention: str,
    *,
    slot: str = "mid",
    where: Where | None = None,
    start: str = "paper",
    units: str = "residual",
    **options: Any,
) -> _Module:
    """Give the residual units of ``module`` a slot named ``attn`` with ``attention``; in place.

    Units change their class, no child changes its name: stock keys of the state dict stay,
    ``*.attn.*`` is new. All attention modules are built before the first unit is changed, so an
    error leaves ``module`` as it was. Their initial
    weights are drawn aside: the global random state is the same before and after. Inject before the
    optimizer, DDP or ``torch.compile`` sees the model. ``docs/inject.md`` says where the slot is in
    each family.

    Args:
        module: Any torch module that contains units of a known family.
        attention: A registered name, see ``scsa_yolo.attention_names()``.
        slot: ``"mid"``, before the unit's last convolution, or ``"out"``, after it.
        where: The units that get it, by dotted name: a glob (``"layer[34].*"``), a compiled regular
            expression that is searched for (``re.compile(r"layer[34]")``), or a callable of name
            and unit. None for all.
        start: ``"paper"``, or ``"identity"``: the model first computes what it did without
            attention, see ``scsa_yolo.blocks.IdentityStart``.
        units: ``"residual"``, or ``"ffn"``: the feed-forward branches of Ultralytics' attention
            blocks instead (PSABlock, PSA, ABlock).
        options: The attention's options.

    Returns:
        ``module`` itself.

    Raises:
        ValueError: An unknown attention, option, slot or start; no unit, or none that ``where``
            chooses; a chosen unit that has a slot already; a width the attention cannot take.
        TypeError: ``module`` is no torch module or ``where`` none of the above.

    Example:
        >>> from torchvision.models import resnet18
        >>> model = inject(resnet18(), "SCSA", where="layer4.*")
        >>> type(model.layer4[0].attn).__name__
        'SCSA'
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"inject takes a torch.nn.Module, got {type(module).__name__}")
    check_choice("slot", slot, SLOTS)
    check_choice("units", units, KINDS)
    check_attention_options(attention, start=start, options=options)  # no fault of a unit
    _import_units(module)
    with torch.random.fork_rng(devices=[]):
        chosen = _choose(module, where, units)
        built = [_build(name, unit, attention, slot, start, options) for name, unit in chosen]
    for (_, unit), ready in zip(chosen, built):
        give_slot(unit, ready, slot)
    return module


def _import_units(module: nn.Module) -> None:
    """Make the units of the libraries known that ``module`` has parts of; neither library is
    required.
    """
    for library in {
        type(child).__module__.partition(".")[0] for child in module.modules()
    } & LIBRARIES.keys():
        importlib.import_module(LIBRARIES[library])


def _choose(module: nn.Module, where: Where | None, kind: str) -> list[tuple[str, nn.Module]]:
    free = list(find_units(module, kind))
    feed_forward = kind == "ffn"
    taken = [
        (name, unit)
        for name, unit in slotted(module)
        if isinstance(unit, feedforward.FeedForward) == feed_forward
    ]
    if not free and not taken:
        raise ValueError(
            f"{type(module).__name__} has no {'feed-forward' if feed_forward else 'residual'} unit"
            f" of a known family. Known: {FAMILIES}."
            f" For others see {page('inject')}"
        )
    wanted = _matcher(where)
    again = [name for name, unit in taken if wanted(name, unit)]
    if again:
        raise ValueError(
            f"these units have a slot already: {_listed(again)}. Inject into a fresh model, or"
            " choose other units with where=; without a slot:"
            f" {_listed([name for name, _ in free])}"
        )
    chosen = [(name, unit) for name, unit in free if wanted(name, unit)]
    if not chosen:
        raise ValueError(
            f"where={where!r} chooses none of the units:"
            f" {_listed([name for name, _ in free + taken])}"
        )
    return chosen


def _matcher(where: Where | None) -> Callable[[str, nn.Module], bool]:
    if where is None:
        return lambda name, unit: True
    if isinstance(where, str):
        return lambda name, unit: fnmatchcase(name, where)
    if isinstance(where, re.Pattern) and isinstance(where.pattern, str):
        return lambda name, unit: where.search(name) is not None
    if callable(where):
        return lambda name, unit: bool(where(name, unit))
    raise TypeError(
        "where must be a glob such as 'layer4.*', a compiled regular expression of text, or a"
        f" callable(name, unit), got {where!r}"
    )


def _listed(names: Sequence[str], at_most: int = 40) -> str:
    shown = ", ".join(name or "the module itself" for name in names[:at_most]) or "none"
    return shown if len(names) <= at_most else f"{shown} and {len(names) - at_most} more"


def _build(
    name: str, unit: nn.Module, attention: str, slot: str, start: str, options: dict[str, Any]
) -> nn.Module:
    try:
        return make_attention(attention, slot_width(unit, slot), start=start, options=options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"unit {name or 'itself'} ({type(unit).__name__}): {error}") from error
