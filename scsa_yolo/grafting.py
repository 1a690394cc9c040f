"""Put an attention module into the residual units of a model YAML: a dictionary in, a new
dictionary out.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from scsa_yolo.attention.base import check_choice
from scsa_yolo.blocks import (
    BLOCKS,
    BLOCKS_WITH_FFN,
    BLOCKS_WITH_UNITS,
    FFN,
    FFN_BLOCKS,
    KINDS,
    PARTS,
    SLOTS,
    check_attention_options,
)
from scsa_yolo.support.words import closest, hint


def graft(
    model: str | Path | Mapping[str, Any],
    attention: str,
    *,
    slot: str = "mid",
    rows: int | Iterable[int] | Mapping[int, Mapping[str, Any] | None] | None = None,
    units: str = "residual",
    **options: Any,
) -> dict[str, Any]:
    """Return the model's dictionary with ``attention`` in its residual units; ``model`` itself is
    not changed.

    Args:
        model: A stock or packaged YAML name (``yolo11s-seg.yaml``), the path of a YAML, or its
            dictionary. A scale letter in a name keeps that scale alone, so that the result is the
            size that was asked for.
        attention: A registered name, see ``scsa_yolo.attention_names()``.
        slot: ``"mid"``, before the unit's last convolution, or ``"out"``, after it.
        rows: Layer indices, counted over backbone and head, that get it: one or several; None for
            every row with residual units. A mapping gives rows options of their own, which win over
            ``options``: ``{2: {"window": 9}, 4: {}}``.
        units: ``"residual"``, or ``"ffn"``: the feed-forward branches of attention blocks instead
            (PSABlock in C2PSA, ABlock in A2C2f). The rows are then called ``C2PSAFFN_SCSA``.
        options: The attention's options, and ``start="identity"``; they are written into each row.

    Raises:
        ValueError: An unknown attention, option or slot; a row without residual units; a model that
            has attention rows already, or no row that could have one.
        FileNotFoundError: There is no such YAML.
    """
    d = deepcopy(dict(model)) if isinstance(model, Mapping) else load_model(model)
    _check_model(d)
    for part in PARTS:
        d[part] = [[*row[:3], list(row[3])] for row in d[part]]  # there may be tuples
    written = {**({} if slot == "mid" else {"slot": slot}), **options}
    _check_options(attention, written)
    _refuse_grafted(d)
    check_choice("units", units, KINDS)
    beside = FFN if units == "ffn" else ""
    for row, own_options in _chosen_rows(d, rows, units):
        own = {**written, **own_options}
        _check_options(attention, own)
        row[2] = f"{row[2]}{beside}_{attention}"
        row[3] = [*row[3], dict(own)] if own else list(row[3])
    return d


def load_model(name: str | Path) -> dict[str, Any]:
    """Return the dictionary of a stock, packaged or local model YAML, with the named scale alone if
    there is one.

    Raises:
        ValueError: ``name`` is no YAML of a model.
        FileNotFoundError: There is no such YAML.
    """
    from scsa_yolo.host import register, registered

    if not registered():
        register()
    from ultralytics.nn.tasks import yaml_model_load

    path = Path(name)
    if not path.suffix:
        path = path.with_suffix(".yaml")  # yolov8n, as the other commands take it
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise ValueError(
            f"graft takes a model YAML, got '{name}'. Type: {path.with_suffix('.yaml')}"
        )
    try:
        d = yaml_model_load(str(path))
    except FileNotFoundError as error:
        raise FileNotFoundError(_no_such_model(path)) from error
    scale, scales = d.pop("scale", ""), d.get("scales")
    d.pop("yaml_file", None)
    if scale and isinstance(scales, dict):
        if scale not in scales:
            raise ValueError(
                f"'{name}' asks for scale {scale!r}, the model has {', '.join(map(repr, scales))}"
            )
        d["scales"] = {scale: scales[scale]}
    return d


def _no_such_model(path: Path) -> str:
    from ultralytics import __version__
    from ultralytics.utils import ROOT

    known = sorted(found.name for found in (ROOT / "cfg" / "models").rglob("*.yaml"))
    meant = hint(closest(path.name, known, cutoff=0.7))
    return (
        f"there is no model YAML '{path}', neither in {Path.cwd()} nor in Ultralytics"
        f" {__version__}.{meant}"
    )


def has_units(row: Sequence[Any], kind: str = "residual") -> bool:
    """Tell whether a row [from, repeats, module, args] is a stock block with units of this kind:
    ``"residual"``, or ``"ffn"``, the feed-forward branches of attention blocks.
    """
    name, args = row[2], row[3]
    if name == "A2C2f":
        area_attention = len(args) < 2 or bool(args[1])
        return area_attention == (kind == "ffn")
    if kind == "ffn":
        attends = name != "C3k2" or (len(args) > 3 and bool(args[3]))
        return f"{name}{FFN}" in FFN_BLOCKS and attends
    if name == "ResNetLayer":
        return len(args) < 4 or not args[3]
    return name in BLOCKS


def layers(d: Mapping[str, Any]) -> Iterator[tuple[int, list[Any]]]:
    """Yield the rows of backbone and head with their layer indices."""
    yield from enumerate(row for part in PARTS for row in d[part])


def _check_model(d: Mapping[str, Any]) -> None:
    for part in PARTS:
        rows = d.get(part)
        if not isinstance(rows, (list, tuple)) or not all(_is_row(row) for row in rows):
            raise ValueError(
                f"{part!r} of a model must be a list of rows [from, repeats, module, args], got"
                f" {rows!r}"
            )


def _is_row(row: Any) -> bool:
    listed = isinstance(row, (list, tuple)) and len(row) == 4
    return listed and isinstance(row[3], (list, tuple))


def _check_options(attention: str, written: Mapping[str, Any]) -> None:
    """Refuse what a row could not hold, by building one module; the caller's random numbers are
    left alone.
    """
    options = dict(written)
    check_choice("slot", options.pop("slot", "mid"), SLOTS)
    start = options.pop("start", "paper")
    check_attention_options(attention, start=start, options=options)


def _refuse_grafted(d: Mapping[str, Any]) -> None:
    from scsa_yolo.host.rows import read_rows

    ours = next((row for row in read_rows(dict(d)) if row.attention), None)
    if ours is not None:
        raise ValueError(
            f"this model has attention rows already (row {ours.index}: {ours.name}). Graft onto the"
            " stock YAML instead, for example graft('yolov8n.yaml', ...), or change the names of"
            " its rows by hand"
        )


def _chosen_rows(
    d: Mapping[str, Any], rows: Any, kind: str
) -> list[tuple[list[Any], Mapping[str, Any]]]:
    """Return the chosen rows, each with the options that it alone gets."""
    able = {index: row for index, row in layers(d) if has_units(row, kind)}
    called = "feed-forward units" if kind == "ffn" else "residual units"
    if not able:
        blocks = BLOCKS_WITH_FFN if kind == "ffn" else BLOCKS_WITH_UNITS
        raise ValueError(
            f"this model has no row with {called} to graft onto. In a copy of its YAML, write"
            " a bare row such as [-1, 1, SCSA, []] where the map should be attended to. Blocks"
            f" with {called}: {blocks}"
        )
    if rows is None:
        return [(row, {}) for row in able.values()]
    listed = ", ".join(f"{index} {row[2]}" for index, row in able.items())
    chosen = _indices(rows, f"with {called} ({listed})")
    if not chosen or not all(index in able for index in chosen):
        raise ValueError(f"rows must be among those with {called} ({listed}), got {list(chosen)!r}")
    own = rows if isinstance(rows, Mapping) else {}
    return [(able[index], _own_options(index, own.get(index))) for index in chosen]


def _indices(rows: Any, listed: str) -> dict[int, None]:
    """Return the layer numbers that ``rows`` holds, each once and in its order."""
    alone = isinstance(rows, int) and not isinstance(rows, bool)
    given = [rows] if alone else rows
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise ValueError(
            f"rows takes layer numbers such as [2, 4, 6], got {rows!r}. Those {listed} can have"
            " attention"
        )
    chosen: dict[int, None] = {}
    for item in given:
        try:
            number = None if isinstance(item, bool) else operator.index(item)
        except TypeError:  # text, a fraction, a list
            number = None
        if number is None:
            raise ValueError(f"rows must be among those {listed}, and {item!r} is no layer number")
        chosen[number] = None
    return chosen


def _own_options(index: int, options: Any) -> Mapping[str, Any]:
    if options is None:  # a YAML's `2:` with nothing behind it
        return {}
    if not isinstance(options, Mapping):
        raise ValueError(
            f"rows: the options of row {index} must be a mapping such as {{'window': 9}}, got"
            f" {options!r}"
        )
    return options


def to_yaml(d: Mapping[str, Any], *, header: str) -> str:
    """Return the text of a model YAML: the header as comments, settings, then one row a line with
    its index.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    settings = {key: value for key, value in d.items() if key not in PARTS}
    lines += ["", *(f"{key}: {_flow(value)}" for key, value in settings.items() if key != "scales")]
    if "scales" in settings:
        lines += ["scales: # [depth, width, max_channels]"]
        lines += [f"  {key}: {_flow(value)}" for key, value in settings["scales"].items()]
    index = 0
    for part in PARTS:
        lines += ["", f"{part}:", "  # [from, repeats, module, args]"]
        for row in d[part]:
            lines.append(f"  - {_flow(row)} # {index}")
            index += 1
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")
