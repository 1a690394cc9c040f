"""Rows of model YAMLs: ``C2f_SCSA``, bare ``SCSA``, and our own layers, built by the stock ``parse_model``.

Rows are lowered to stock names in a copy, stock code builds, then the built units get their slot. So scales, repeats,
the head's ``legacy`` flag and every later upstream rule stay stock.
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
from scsa_yolo.blocks import SLOTS, IdentityStart, give_slot, resnet_vd, units
from scsa_yolo.host.table import LayerTable

# Our own layers, each built as cls(c1, c2, n, *rest) from a row [from, n, name, [c2, *rest]].
OWN_LAYERS: dict[str, Callable[..., nn.Module]] = {
    "ResNetVDStem": lambda c1, c2, n: resnet_vd.ResNetVDStem(c1, c2),
    "ResNetVDLayer": resnet_vd.ResNetVDLayer,
}
# Stock blocks that contain residual units, for error messages; any other stock name is tried as well.
BLOCKS_WITH_UNITS = (
    "C2, C2f, C2fAttn, C2fCIB, C3, C3Ghost, C3k2, C3x, A2C2f (where a2 is false), Bottleneck, BottleneckCSP, "
    "GhostBottleneck, RepNCSPELAN4, ResNetLayer, ResNetVDLayer"
)
STARTS = ("paper", "identity")
PARTS = ("backbone", "head")


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

    def error(self, message: str) -> ValueError:
        """Return the error that names this row."""
        return ValueError(f"model row {self.index} ({self.name}): {message}")

    def make(self, channels: int) -> nn.Module:
        """Build this row's attention for a map of ``channels`` channels."""
        assert self.attention is not None
        try:
            attention = create_attention(self.attention, channels, **self.options)
        except (TypeError, ValueError) as error:
            raise self.error(str(error)) from error
        return IdentityStart(attention, channels) if self.start == "identity" else attention


def parse_model(original: Callable[..., Any], d: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    """Work of the wrapper of ``ultralytics.nn.tasks.parse_model(d, ch, verbose=True)``; ``d`` is not changed."""
    rows = read_rows(d)
    if not rows:
        return original(d, *args, **kwargs)
    lowered = _lower(d, rows)
    with LayerTable() as table:
        model, save = original(lowered, *args, **kwargs)
        layers = [row for part in PARTS for row in lowered[part]]
        # Attention draws its initial weights aside: stock weights and all later draws stay as without it, so that
        # models which differ in the slot alone start equal under one seed.
        with torch.random.fork_rng(devices=[]):
            for row in rows:
                built = model[row.index]
                count = _finish(model, row, layers[row.index])
                table.replace(built, model[row.index], row, count)
    return model, save


def yaml_model_load(original: Callable[..., Any], path: Any) -> Any:
    """Work of the wrapper of ``ultralytics.nn.tasks.yaml_model_load(path)``: name the file when it is not a model."""
    try:
        d = original(path)
    except (yaml.YAMLError, TypeError) as error:  # TypeError: stock assigns keys to what is no mapping
        raise ValueError(f"model file '{path}' is not valid YAML of a model: {error}") from error
    missing = [part for part in PARTS if not isinstance(d.get(part), list)]
    if missing:
        raise ValueError(
            f"model file '{path}' has no list {' and '.join(map(repr, missing))}. A model YAML holds 'backbone' and "
            "'head', lists of rows [from, repeats, module, args]. Type: scsa-yolo models"
        )
    return d


def read_rows(d: dict[str, Any]) -> list[Row]:
    """Return the rows of ``d`` that are ours, their options checked.

    Raises:
        ValueError: A row of ours is malformed, names an unknown attention or block, or has a wrong option.
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
        raise ValueError(f"model row {index}: a row is [from, repeats, module, args], got {list(row)!r}")
    options = dict(row[3][-1]) if row[3] and isinstance(row[3][-1], dict) else {}
    read = Row(index, name, block, attention, [a for a in row[3] if not isinstance(a, dict)])
    if attention is None and options:
        raise read.error(f"options {options!r} need an attention, such as {name}_SCSA")
    read.slot = _choice(read, "slot", options.pop("slot", "mid"), SLOTS)
    read.start = _choice(read, "start", options.pop("start", "paper"), STARTS)
    read.options = options
    if attention is not None:
        with torch.random.fork_rng(devices=[]):
            read.make(64)  # a wrong option is refused before anything is built
    return read


def _choice(row: Row, key: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise row.error(f"{key} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return str(value)


def _split_name(index: int, name: Any) -> tuple[str, str | None, str | None] | None:
    """Split ``C2f_SCSA`` into ("C2f_SCSA", "C2f", "SCSA"); None for what is not ours."""
    if not isinstance(name, str) or hasattr(tasks, name) or name.startswith(("nn.", "torchvision.")):
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

    A bare row becomes ``nn.Identity`` and an own layer ``Index``, stock layers that pass the width on and set it. Their
    argument ``"ch"`` makes parse_model put its list of widths there, from which :func:`_width` reads.
    """
    lowered = {**d, **{part: deepcopy(d.get(part) or []) for part in PARTS}}
    ours = {row.index: row for row in rows}
    for index, written in enumerate(row for part in PARTS for row in lowered[part]):
        row = ours.get(index)
        if row is None:
            continue
        if row.block is None:
            written[2:] = ["nn.Identity", ["ch"]]
        elif row.block in OWN_LAYERS:
            if not row.args:
                raise row.error("the first argument is the number of output channels")
            written[2:] = ["Index", [row.args[0], "ch"]]
        else:
            written[2:] = [row.block, list(row.args)]
    return lowered


def _finish(model: nn.Sequential, row: Row, lowered: list[Any]) -> int:
    """Replace placeholders and fill slots of one built layer; return the number of attention modules."""
    layer = model[row.index]
    if row.block is None or row.block in OWN_LAYERS:
        layer = _replace_placeholder(model, row, lowered)
    if row.attention is None:
        return 0
    found = [unit for _, unit in units(layer)]
    for unit in found:
        give_slot(unit, row.make, row.slot)
    if not found and row.block is not None:
        raise row.error(
            f"no residual unit in {row.block} to put {row.attention} into (PSABlock and ABlock are attention already and "
            f"have none). Blocks with residual units: {BLOCKS_WITH_UNITS}. For a layer of its own write the row "
            f"[-1, 1, {row.attention}, []]"
        )
    _count_parameters(layer)
    return len(found) or len(list(layer.children()) if isinstance(layer, nn.Sequential) else [layer])


def _replace_placeholder(model: nn.Sequential, row: Row, lowered: list[Any]) -> nn.Module:
    placeholder = model[row.index]
    repeats = len(placeholder) if isinstance(placeholder, nn.Sequential) else 1
    width = _width(row, placeholder.f, lowered)
    if row.block is None:
        made = [row.make(width) for _ in range(repeats)]
        layer = made[0] if repeats == 1 else nn.Sequential(*made)
    else:
        try:
            layer = OWN_LAYERS[row.block](width, row.args[0], repeats, *row.args[1:])
        except (TypeError, ValueError) as error:
            raise row.error(str(error)) from error
    for name in ("i", "f", "type"):
        setattr(layer, name, getattr(placeholder, name))
    _count_parameters(layer)
    model[row.index] = layer
    return layer


def _count_parameters(layer: Any) -> None:
    layer.np = sum(p.numel() for p in layer.parameters())  # what Ultralytics sums up in its profiles


def _width(row: Row, source: Any, lowered: list[Any]) -> int:
    widths = lowered[3][-1]  # parse_model's own list, put there by the argument "ch"
    if not isinstance(source, int):
        raise row.error(f"takes one input, got from={source!r}")
    if not isinstance(widths, list):
        raise row.error("this Ultralytics no longer tells widths to rows; please report its version (scsa-yolo doctor)")
    return int(widths[source if row.index == 0 or source >= 0 else row.index + source])
