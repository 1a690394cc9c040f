"""Rows of model YAMLs: ``C2f_SCSA``, bare ``SCSA``, and our own layers, built by the stock
``parse_model``.

Rows are lowered to stock names in a copy, stock code builds, then the built units get their slot.
So scales, repeats, the head's ``legacy`` flag and every later upstream rule stay stock.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import torch
import yaml
from torch import nn
from ultralytics.nn import tasks

from scsa_yolo.attention import attention_class, attention_names, create_attention
from scsa_yolo.attention.base import check_choice
from scsa_yolo.blocks import (
    BLOCKS_WITH_UNITS,
    PARTS,
    SLOTS,
    STARTS,
    IdentityStart,
    give_slot,
    resnet_vd,
    slot_width,
    units,
)
from scsa_yolo.host.table import LayerTable

# Our own layers, each built as cls(c1, c2, n, *rest) from a row [from, n, name, [c2, *rest]].
OWN_LAYERS: dict[str, Callable[..., nn.Module]] = {
    "ResNetVDStem": lambda c1, c2, n: resnet_vd.ResNetVDStem(c1, c2),
    "ResNetVDLayer": resnet_vd.ResNetVDLayer,
}
# parse_model puts its local of this name, the widths of all layers so far, where an argument names
# it
WIDTHS = "ch"


@dataclass
class Row:
    """One row of a model YAML that is ours."""

    index: int  # of the layer, over backbone and head
    name: str  # as written
    block: str | None  # the stock block or own layer; None for a bare attention row
    attention: str | None  # None for an own layer without attention
    args: list[Any]  # without the options
    options: dict[str, Any] = field(default_factory=dict)
    slot: str = "mid"
    start: str = "paper"

    def __str__(self) -> str:
        return f"model row {self.index} ({self.name})"

    def error(self, message: str) -> ValueError:
        """Return the error that names this row."""
        return ValueError(f"{self}: {message}")

    def make(self, channels: int) -> nn.Module:
        """Build this row's attention for a map of ``channels`` channels."""
        assert self.attention is not None
        try:
            attention = create_attention(self.attention, channels, **self.options)
        except (TypeError, ValueError) as error:
            raise self.error(str(error)) from error
        return IdentityStart(attention, channels) if self.start == "identity" else attention


def parse_model(original: Callable[..., Any], d: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    """Work of the wrapper of ``ultralytics.nn.tasks.parse_model(d, ch, verbose=True)``; ``d`` is
    not changed.
    """
    rows = read_rows(d)
    if not rows:
        return original(d, *args, **kwargs)
    lowered = _lower(d, rows)
    with LayerTable() as table:
        model, save = original(lowered, *args, **kwargs)
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


def read_rows(d: dict[str, Any]) -> list[Row]:
    """Return the rows of ``d`` that are ours, their options checked.

    Raises:
        ValueError: A row of ours is malformed, names an unknown attention or block, or has a wrong
            option.
    """
    rows = [row for part in PARTS for row in d.get(part) or []]
    ours = [read_row(index, row) for index, row in enumerate(rows)]
    return [row for row in ours if row is not None]


def read_row(index: int, row: Any) -> Row | None:
    """Return one row of a model YAML as a :class:`Row` if it is ours, else None."""
    if not isinstance(row, (list, tuple)):
        return None
    split = next((found for item in row if (found := _split_name(index, item))), None)
    if split is None:
        return None
    name, block, attention = split
    if len(row) != 4 or row[2] != name or not isinstance(row[3], (list, tuple)):
        raise ValueError(
            f"model row {index}: a row is [from, repeats, module, args], got {list(row)!r}"
        )
    args = list(row[3])
    options = dict(args.pop()) if args and isinstance(args[-1], dict) else {}
    read = Row(index, name, block, attention, args)
    _check_shape(read, row, options)
    read.slot = check_choice("slot", options.pop("slot", "mid"), SLOTS, owner=str(read))
    read.start = check_choice("start", options.pop("start", "paper"), STARTS, owner=str(read))
    read.options = options
    if attention is not None:
        with torch.random.fork_rng(devices=[]):
            read.make(64)  # a wrong option is refused before anything is built
    return read


def _check_shape(read: Row, row: Any, options: dict[str, Any]) -> None:
    """Refuse what stock code would misread, or silently drop, in a row of ours."""
    if not isinstance(row[0], int) or not isinstance(row[1], int):
        raise read.error(
            f"takes one input and a number of repeats, got from={row[0]!r}, repeats={row[1]!r}"
        )
    if any(isinstance(argument, dict) for argument in read.args):
        raise read.error(f"options are one mapping, the last of the arguments, got {row[3]!r}")
    if read.attention is None and options:
        raise read.error(f"options {options!r} need an attention, such as {read.name}_SCSA")
    if read.block is None and (read.args or "slot" in options):
        raise read.error(
            "a layer of its own keeps its input's width and has no slot: its arguments are [] or"
            f" one mapping of options, got {row[3]!r}"
        )
    if read.block in OWN_LAYERS and not (
        read.args and isinstance(read.args[0], int) and read.args[0] > 0
    ):
        raise read.error(f"the first argument is the number of output channels, got {row[3]!r}")


def _split_name(index: int, name: Any) -> tuple[str, str | None, str | None] | None:
    """Split ``C2f_SCSA`` into ("C2f_SCSA", "C2f", "SCSA"); None for what is not ours."""
    if (
        not isinstance(name, str)
        or hasattr(tasks, name)
        or name.startswith(("nn.", "torchvision."))
    ):
        return None  # a name that Ultralytics has is always its own
    if name in OWN_LAYERS:
        return name, name, None
    if name in attention_names():
        return name, None, name
    block, underscore, attention = name.partition("_")
    if not underscore or not block.isidentifier():
        return None
    known_block, known_attention = _is_block(block), attention in attention_names()
    if known_block and not known_attention:
        try:
            attention_class(attention)
        except ValueError as error:
            raise ValueError(f"model row {index} ({name}): {error}") from error
    if known_attention and not known_block:
        close = get_close_matches(block, [*dir(tasks), *OWN_LAYERS], n=1)
        hint = f" Did you mean {close[0]}_{attention}?" if close else ""
        raise ValueError(
            f"model row {index} ({name}): unknown block {block!r}.{hint} "
            f"Blocks with residual units: {BLOCKS_WITH_UNITS}"
        )
    return (name, block, attention) if known_block else None


def _is_block(name: str) -> bool:
    found = getattr(tasks, name, None)
    return name in OWN_LAYERS or (isinstance(found, type) and issubclass(found, nn.Module))


def _lower(d: dict[str, Any], rows: list[Row]) -> dict[str, Any]:
    """Return a copy of ``d`` in stock names.

    A bare row becomes ``nn.Identity`` and an own layer ``Index``, stock layers that pass the width
    on and set it. Their argument ``WIDTHS`` makes parse_model put its list of widths there, from
    which :func:`_width` reads.
    """
    lowered = {**d, **{part: deepcopy(d.get(part) or []) for part in PARTS}}
    ours = {row.index: row for row in rows}
    for index, written in enumerate(row for part in PARTS for row in lowered[part]):
        row = ours.get(index)
        if row is None:
            continue
        if row.block is None:
            written[2:] = ["nn.Identity", [WIDTHS]]
        elif row.block in OWN_LAYERS:
            written[2:] = ["Index", [row.args[0], WIDTHS]]
        else:
            written[2:] = [row.block, list(row.args)]
    return lowered


def _finish(model: nn.Sequential, row: Row, lowered: list[Any]) -> int:
    """Put attention into one built layer, or in the place of one; return the number of attention
    modules.
    """
    layer = model[row.index] if row.block else _replace_placeholder(model, row, lowered)
    if row.attention is None:
        return 0
    found = [unit for _, unit in units(layer)]
    for unit in found:
        give_slot(unit, row.make(slot_width(unit, row.slot)), row.slot)
    if not found and row.block is not None:
        raise row.error(
            f"no residual unit in {row.block} to put {row.attention} into (PSABlock and ABlock are"
            f" attention already and have none). Blocks with residual units: {BLOCKS_WITH_UNITS}."
            f" For a layer of its own write the row [-1, 1, {row.attention}, []]"
        )
    _count_parameters(layer)
    return len(found) or len(
        list(layer.children()) if isinstance(layer, nn.Sequential) else [layer]
    )


def _replace_placeholder(model: nn.Sequential, row: Row, lowered: list[Any]) -> nn.Module:
    placeholder: Any = model[row.index]
    repeats = len(placeholder) if isinstance(placeholder, nn.Sequential) else 1
    width = _width(row, placeholder.f, lowered)
    if row.block is None:
        made = [row.make(width) for _ in range(repeats)]
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
