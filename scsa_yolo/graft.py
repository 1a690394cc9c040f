"""Put an attention module into the residual units of a model YAML: a dictionary in, a new dictionary out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from scsa_yolo.attention import create_attention
from scsa_yolo.blocks import SLOTS

PARTS = ("backbone", "head")
# Blocks whose every instance has residual units. A2C2f has them where its second argument, a2, is false.
BLOCKS = (
    "Bottleneck",
    "BottleneckCSP",
    "C2",
    "C2f",
    "C2fAttn",
    "C2fCIB",
    "C3",
    "C3Ghost",
    "C3k2",
    "C3x",
    "GhostBottleneck",
    "RepNCSPELAN4",
    "ResNetLayer",
    "ResNetVDLayer",
)


def graft(
    model: str | Path | Mapping[str, Any],
    attention: str,
    *,
    slot: str = "mid",
    rows: Sequence[int] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Return the model's dictionary with ``attention`` in its residual units; ``model`` itself is not changed.

    Args:
        model: A stock or packaged YAML name (``yolo11s-seg.yaml``), the path of a YAML, or its dictionary. A scale
            letter in a name keeps that scale alone, so that the result is the size that was asked for.
        attention: A registered name, see ``scsa_yolo.attention_names()``.
        slot: ``"mid"``, before the unit's last convolution, or ``"out"``, after it.
        rows: Layer indices, counted over backbone and head, that get it; None for every row with residual units.
        options: The attention's options, and ``start="identity"``; they are written into each row.

    Raises:
        ValueError: An unknown attention, option or slot; a row without residual units; a model that has attention rows
            already, or no row that could have one.
        FileNotFoundError: There is no such YAML.
    """
    d = deepcopy(dict(model)) if isinstance(model, Mapping) else load_model(model)
    if slot not in SLOTS:
        raise ValueError(f"slot must be one of {', '.join(map(repr, SLOTS))}, got {slot!r}")
    create_attention(attention, 64, **{key: value for key, value in options.items() if key != "start"})
    if options.get("start", "paper") not in ("paper", "identity"):
        raise ValueError(f"start must be 'paper' or 'identity', got {options['start']!r}")
    _refuse_grafted(d)
    chosen = _chosen_rows(d, rows)
    written = {**({} if slot == "mid" else {"slot": slot}), **options}
    for row in chosen:
        row[2] = f"{row[2]}_{attention}"
        row[3] = [*row[3], dict(written)] if written else list(row[3])
    return d


def load_model(name: str | Path) -> dict[str, Any]:
    """Return the dictionary of a stock, packaged or local model YAML, with the named scale alone if there is one."""
    from scsa_yolo.host import register, registered

    if not registered():
        register()
    from ultralytics.nn.tasks import yaml_model_load

    d = yaml_model_load(str(name))
    scale, scales = d.pop("scale", ""), d.get("scales")
    d.pop("yaml_file", None)
    if scale and isinstance(scales, dict) and scale in scales:
        d["scales"] = {scale: scales[scale]}
    return d


def has_units(row: Sequence[Any]) -> bool:
    """Tell whether a row [from, repeats, module, args] is a stock block with residual units."""
    name, args = row[2], row[3]
    return name in BLOCKS or (name == "A2C2f" and len(args) > 1 and not args[1])


def layers(d: Mapping[str, Any]) -> Iterator[tuple[int, list[Any]]]:
    """Yield the rows of backbone and head with their layer indices."""
    yield from enumerate(row for part in PARTS for row in d[part])


def _refuse_grafted(d: Mapping[str, Any]) -> None:
    from scsa_yolo.host.rows import read_rows

    ours = next((row for row in read_rows(dict(d)) if row.attention), None)
    if ours is not None:
        raise ValueError(
            f"this model has attention rows already (row {ours.index}: {ours.name}). Graft onto the stock YAML "
            f"instead, for example graft('yolov8n.yaml', ...), or change the names of its rows by hand"
        )


def _chosen_rows(d: Mapping[str, Any], rows: Sequence[int] | None) -> list[list[Any]]:
    able = {index: row for index, row in layers(d) if has_units(row)}
    listed = ", ".join(f"{index} {row[2]}" for index, row in able.items())
    if not able:
        raise ValueError(
            "this model has no row with residual units to graft onto. Write a bare row such as [-1, 1, SCSA, []] where "
            f"the map should be attended to. Blocks with residual units: {', '.join(BLOCKS)}, A2C2f"
        )
    if rows is None:
        return list(able.values())
    wrong = [index for index in rows if isinstance(index, bool) or index not in able]
    if wrong or not rows:
        raise ValueError(f"rows must be among those with residual units ({listed}), got {list(rows)!r}")
    return [able[index] for index in dict.fromkeys(rows)]


def to_yaml(d: Mapping[str, Any], *, header: str) -> str:
    """Return the text of a model YAML: the header as comments, settings, then one row a line with its index."""
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
