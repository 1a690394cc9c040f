"""Rows of model YAMLs: ``C2f_SCSA``, bare ``SCSA``, and our own layers, built by the stock
``parse_model``.

Rows are lowered to stock names in a copy, stock code builds, then the built units get their slot.
So scales, repeats, the head's ``legacy`` flag and every later upstream rule stay stock.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
import yaml
from torch import nn

from scsa_yolo.blocks import (
    BLOCKS_WITH_FFN,
    BLOCKS_WITH_UNITS,
    FFN,
    FFN_BLOCKS,
    PARTS,
    give_slot,
    mark_untrained,
    slot_width,
    units,
)
from scsa_yolo.host.row import OWN_LAYERS, Row, misspelt, read_rows
from scsa_yolo.host.table import LayerTable

# parse_model puts its local of this name, the widths of all layers so far, where an argument names
# it
WIDTHS = "ch"


def parse_model(original: Callable[..., Any], d: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    """Work of the wrapper of ``ultralytics.nn.tasks.parse_model(d, ch, verbose=True)``; ``d`` is
    not changed.
    """
    rows = read_rows(d)
    if not rows:
        return _stock(original, d, d, *args, **kwargs)
    lowered = _lower(d, rows)
    with LayerTable() as table:
        model, save = _stock(original, d, lowered, *args, **kwargs)
        layers = [row for part in PARTS for row in lowered[part]]
        # Attention draws its initial weights aside: stock weights and all later draws stay as
        # without it, so that models which differ in the slot alone start equal under one seed.
        with torch.random.fork_rng(devices=[]):
            built = [model[row.index] for row in rows]
            for row in rows:
                if row.block in OWN_LAYERS:
                    _replace_placeholder(model, row, layers[row.index])
            for row, stock in zip(rows, built, strict=True):
                count = _finish(model, row, layers[row.index])
                table.replace(stock, model[row.index], row, count)
    return model, save


def _stock(
    original: Callable[..., Any], d: dict[str, Any], lowered: dict[str, Any], *args: Any, **kw: Any
) -> Any:
    """Build ``lowered`` by stock code; a name of ``d`` that is nearly ours is named as such."""
    try:
        return original(lowered, *args, **kw)
    except (AttributeError, KeyError, ValueError) as error:
        wrong = misspelt(d)
        if wrong is None:
            raise
        raise ValueError(wrong) from error


def yaml_model_load(original: Callable[..., Any], path: Any) -> Any:
    """Work of the wrapper of ``ultralytics.nn.tasks.yaml_model_load(path)``: name the file when it
    is not a model.
    """
    try:
        d = original(path)
    except (
        yaml.YAMLError,
        TypeError,
    ) as error:  # TypeError: stock assigns keys to what is no mapping
        raise ValueError(f"model file '{path}' is not valid YAML of a model: {error}") from error
    missing = [part for part in PARTS if not isinstance(d.get(part), list)]
    if missing:
        raise ValueError(
            f"model file '{path}' has no list {' and '.join(map(repr, missing))}. A model YAML"
            " holds 'backbone' and 'head', lists of rows [from, repeats, module, args]. Type:"
            " scsa-yolo models"
        )
    return d


def _lower(d: dict[str, Any], rows: list[Row]) -> dict[str, Any]:
    """Return a copy of ``d`` in stock names.

    A bare row becomes ``nn.Identity`` and an own layer ``Index``, stock layers that pass the width
    on and set it. Their argument ``WIDTHS`` makes parse_model put its list of widths there, from
    which :func:`_width` reads.
    """
    lowered = {**d, **{part: list(deepcopy(d.get(part) or [])) for part in PARTS}}
    ours = {row.index: row for row in rows}
    index = 0
    for part in PARTS:
        for place, written in enumerate(lowered[part]):
            if index in ours:
                lowered[part][place] = [*written[:2], *_stock_row(ours[index])]
            index += 1
    return lowered


def _stock_row(row: Row) -> list[Any]:
    """Return module and arguments of the stock row that is built in place of ``row``."""
    if row.block is None:
        return ["nn.Identity", [WIDTHS]]
    if row.block in OWN_LAYERS:
        return ["Index", [row.args[0], WIDTHS]]
    return [FFN_BLOCKS.get(row.block, row.block), list(row.args)]


def _finish(model: nn.Sequential, row: Row, lowered: list[Any]) -> int:
    """Put attention into one built layer, or in the place of one; return the number of attention
    modules.
    """
    layer = model[row.index] if row.block else _replace_placeholder(model, row, lowered)
    if row.attention is None:
        return 0
    found = [unit for _, unit in units(layer, row.kind)]
    for unit in found:
        give_slot(unit, row.make(slot_width(unit, row.slot)), row.slot)
    if not found and row.block is not None:
        raise _no_unit(row)
    _count_parameters(layer)
    return len(found) or len(
        list(layer.children()) if isinstance(layer, nn.Sequential) else [layer]
    )


def _no_unit(row: Row) -> ValueError:
    alone = f"For a layer of its own write the row [-1, 1, {row.attention}, []]"
    if row.kind == "ffn":
        return row.error(
            f"no feed-forward unit in this {FFN_BLOCKS[str(row.block)]} to put"
            f" {row.attention} into."
            f" Blocks that have them: {BLOCKS_WITH_FFN}. {alone}"
        )
    beside = f"{row.block}{FFN}"
    feed_forward = (
        f" For their feed-forward units write {beside}_{row.attention}."
        if beside in FFN_BLOCKS
        else ""
    )
    return row.error(
        f"no residual unit in {row.block} to put {row.attention} into (PSABlock and ABlock are"
        f" attention already and have none).{feed_forward} Blocks with residual units:"
        f" {BLOCKS_WITH_UNITS}. {alone}"
    )


def _replace_placeholder(model: nn.Sequential, row: Row, lowered: list[Any]) -> nn.Module:
    placeholder: Any = model[row.index]
    repeats = len(placeholder) if isinstance(placeholder, nn.Sequential) else 1
    width = _width(row, placeholder.f, lowered)
    if row.block is None:
        made = [row.make(width) for _ in range(repeats)]
        for attention in made:
            mark_untrained(attention)
        kind, layer = type(made[0]), made[0] if repeats == 1 else nn.Sequential(*made)
    else:
        try:
            layer = OWN_LAYERS[row.block](width, row.args[0], repeats, *row.args[1:])
        except (TypeError, ValueError) as error:
            raise row.error(str(error)) from error
        kind = type(layer)
    for name, value in (
        ("i", placeholder.i),
        ("f", placeholder.f),
        ("type", f"{kind.__module__}.{kind.__qualname__}"),
    ):
        setattr(layer, name, value)
    _count_parameters(layer)
    model[row.index] = layer
    return layer


def _count_parameters(layer: Any) -> None:
    layer.np = sum(
        p.numel() for p in layer.parameters()
    )  # what Ultralytics sums up in its profiles


def _width(row: Row, source: int, lowered: list[Any]) -> int:
    widths = lowered[3][-1]  # parse_model's own list, put there by the argument WIDTHS
    if not isinstance(widths, list):
        raise row.error(
            "this Ultralytics no longer tells widths to rows; please report its version (scsa-yolo"
            " doctor)"
        )
    return int(widths[source if row.index == 0 or source >= 0 else row.index + source])
