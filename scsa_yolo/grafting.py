"""Put an attention module into the residual units of a model YAML: a dictionary in, a new
dictionary out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
import yaml

from scsa_yolo.attention import create_attention
from scsa_yolo.attention.base import check_choice
from scsa_yolo.blocks import BLOCKS, BLOCKS_WITH_UNITS, PARTS, SLOTS, STARTS


def graft(
    model: str | Path | Mapping[str, Any],
    attention: str,
    *,
    slot: str = "mid",
    rows: Sequence[int] | Mapping[int, Mapping[str, Any]] | None = None,
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
        rows: Layer indices, counted over backbone and head, that get it; None for every row with
            residual units. A mapping gives rows options of their own, which win over ``options``:
            ``{2: {"window": 9}, 4: {}}``.
        options: The attention's options, and ``start="identity"``; they are written into each row.

    Raises:
        ValueError: An unknown attention, option or slot; a row without residual units; a model that
            has attention rows already, or no row that could have one.
        FileNotFoundError: There is no such YAML.
    """
    d = deepcopy(dict(model)) if isinstance(model, Mapping) else load_model(model)
    _check_model(d)
    written = {**({} if slot == "mid" else {"slot": slot}), **options}
    _check_options(attention, written)
    _refuse_grafted(d)
    for index, row in _chosen_rows(d, rows).items():
        own = {**written, **rows[index]} if isinstance(rows, Mapping) else written
        _check_options(attention, own)
        row[2] = f"{row[2]}_{attention}"
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
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise ValueError(
            f"graft takes a model YAML, got '{name}'. Type: {path.with_suffix('.yaml')}"
        )
    try:
        d = yaml_model_load(str(name))
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
    close = get_close_matches(path.name, known, n=1, cutoff=0.7)
    hint = f" Did you mean {close[0]}?" if close else ""
    return (
        f"there is no model YAML '{path}', neither in {Path.cwd()} nor in Ultralytics"
        f" {__version__}.{hint}"
    )


def has_units(row: Sequence[Any]) -> bool:
    """Tell whether a row [from, repeats, module, args] is a stock block with residual units."""
    name, args = row[2], row[3]
    if name == "A2C2f":
        return len(args) > 1 and not args[1]
    if name == "ResNetLayer":
        return len(args) < 4 or not args[3]
    return name in BLOCKS


def layers(d: Mapping[str, Any]) -> Iterator[tuple[int, list[Any]]]:
    """Yield the rows of backbone and head with their layer indices."""
    yield from enumerate(row for part in PARTS for row in d[part])


def _check_model(d: Mapping[str, Any]) -> None:
    for part in PARTS:
        rows = d.get(part)
        if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
            raise ValueError(
                f"{part!r} of a model must be a list of rows [from, repeats, module, args], got"
                f" {rows!r}"
            )


def _is_row(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 4 and isinstance(row[3], (list, tuple))


def _check_options(attention: str, written: Mapping[str, Any]) -> None:
    """Refuse what a row could not hold, by building one module; the caller's random numbers are
    left alone.
    """
    for key, choices in (("slot", SLOTS), ("start", STARTS)):
        check_choice(key, written.get(key, choices[0]), choices)
    options = {key: value for key, value in written.items() if key not in ("slot", "start")}
    with torch.random.fork_rng(devices=[]):
        create_attention(attention, 64, **options)


def _refuse_grafted(d: Mapping[str, Any]) -> None:
    from scsa_yolo.host.rows import read_rows

    ours = next((row for row in read_rows(dict(d)) if row.attention), None)
    if ours is not None:
        raise ValueError(
            f"this model has attention rows already (row {ours.index}: {ours.name}). Graft onto the"
            " stock YAML instead, for example graft('yolov8n.yaml', ...), or change the names of"
            " its rows by hand"
        )


def _chosen_rows(d: Mapping[str, Any], rows: Iterable[int] | None) -> dict[int, list[Any]]:
    able = {index: row for index, row in layers(d) if has_units(row)}
    if not able:
        raise ValueError(
            "this model has no row with residual units to graft onto. In a copy of its YAML, write"
            " a bare row such as [-1, 1, SCSA, []] where the map should be attended to. Blocks"
            f" with residual units: {BLOCKS_WITH_UNITS}"
        )
    if rows is None:
        return able
    chosen = list(rows)
    wrong = [index for index in chosen if isinstance(index, bool) or index not in able]
    if wrong or not chosen:
        listed = ", ".join(f"{index} {row[2]}" for index, row in able.items())
        raise ValueError(f"rows must be among those with residual units ({listed}), got {chosen!r}")
    return {index: able[index] for index in chosen}


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
