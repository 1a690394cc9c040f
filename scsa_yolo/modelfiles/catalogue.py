"""The packaged model YAMLs: the names to type, and the table of what each model costs beside the
stock model it was made from.

Nothing here builds a model: :mod:`scsa_yolo.modelfiles.costs` counts, and keeps the counts.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from scsa_yolo.support.packaged import packaged_folder
from scsa_yolo.support.text import csv_cell

if TYPE_CHECKING:
    from torch import nn

MARK = "-scsa"  # in the stems of packaged models with attention
SIZES = "tnsmbclex"  # the size letters of all families, from small to large


@dataclass(frozen=True)
class Entry:
    """A packaged model at one size."""

    name: str  # to type after model=
    family: str  # the folder under models/
    kind: str  # the stem without its size: entries of one kind differ in size alone
    size: str  # the letter, or "" where the family has none
    file: str  # its YAML below models/, such as v8/yolov8-scsa.yaml

    @property
    def stock(self) -> str | None:
        """The name of the model without attention, None where that is this one."""
        return self.name.replace(MARK, "") if MARK in self.name else None


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    name: str
    task: str
    parameters: int
    gflops: float
    attention_gflops: (
        float  # convolutions and matrix products of the attention modules; part of gflops
    )
    attention: dict[str, list[int]]  # name of the module -> layer index of each one
    stock: str | None
    stock_parameters: int | None
    stock_gflops: float | None


def entries() -> list[Entry]:
    """Return every packaged model at every size, families in the order of their folders."""
    found: list[Entry] = []
    for path in _files():
        content = read_yaml(path)
        if "backbone" in content:
            found += _sizes(path, content)
    return sorted(found, key=_order)


def training_settings() -> list[Path]:
    """Return the packaged YAMLs under models/ that are training settings (``cfg=``), not models."""
    return [path for path in _files() if "backbone" not in read_yaml(path)]


def select(found: Iterable[Entry], text: str = "", sizes: str | None = "") -> list[Entry]:
    """Choose entries for the table.

    Args:
        found: The entries to choose from.
        text: Part of the name; ``""`` for all.
        sizes: Size letters to list; ``""`` for the smallest of each kind, None for all.

    Raises:
        ValueError: No entry is left; the message lists the names.
    """
    found = list(found)
    chosen = [entry for entry in found if text.lower() in entry.name.lower()]
    if sizes:
        chosen = [entry for entry in chosen if entry.size and entry.size in sizes]
    elif sizes == "":
        chosen = list({entry.kind: entry for entry in reversed(chosen)}.values())[::-1]
    if not chosen:
        asked = " and ".join(
            [*([repr(text)] if text else []), *([f"size {sizes}"] if sizes else [])]
        )
        stems = ", ".join(dict.fromkeys(entry.kind for entry in found))
        raise ValueError(
            f"no packaged model matches {asked}. There are, in sizes of their families: {stems}"
        )
    return chosen


def places(model: nn.Module) -> dict[str, list[int]]:
    """Return the layer index of each attention module of a built model, by the module's name."""
    from scsa_yolo.blocks import IdentityStart
    from scsa_yolo.host.transfer import attention_modules

    found: dict[str, list[int]] = {}  # names of modules inside a model read model.<layer>...
    for name, module in attention_modules(model).items():
        inner = module.attention if isinstance(module, IdentityStart) else module
        found.setdefault(type(inner).__name__, []).append(int(name.split(".")[1]))
    return found


_HEADS = "{:<27}{:<9}{:>11}{:>11}{:>9}{:>7}{:>7}{:>8}  {}"  # the columns of line()
HEADER = _HEADS.format(
    "model", "task", "parameters", "stock", "more", "GFLOPs", "stock", "more", "attention: rows"
)
_NARROW_HEADS = "{:<24}{:>12}{:>9}{:>9}{:>9}  {}"
NARROW_HEADER = _NARROW_HEADS.format("model", "parameters", "more", "GFLOPs", "more", "attention")
WIDE = 119  # columns that line() needs; fewer columns get narrow_line()


def line(row: Row) -> str:
    """Return a row of the table, under :data:`HEADER`."""
    start = f"{row.name:<27}{row.task:<9}{row.parameters:>11,}"
    if row.stock_parameters is None or row.stock_gflops is None:
        return f"{start}{'':>20}{row.gflops:>7.2f}{'':>15}  {where(row) or 'none'}"
    more, more_gflops = row.parameters - row.stock_parameters, row.gflops - row.stock_gflops
    return (
        f"{start}{row.stock_parameters:>11,}{more:>+9,}"
        f"{row.gflops:>7.2f}{row.stock_gflops:>7.2f}{more_gflops:>+8.4f}  {where(row)}"
    )


def narrow_line(row: Row) -> str:
    """Return a row of the table for 80 columns, under :data:`NARROW_HEADER`."""
    more = more_gflops = ""
    if row.stock_parameters is not None and row.stock_gflops is not None:
        more = f"{row.parameters - row.stock_parameters:+,}"
        more_gflops = f"{row.gflops - row.stock_gflops:+.4f}"
    counts = ", ".join(f"{len(at)} {name}" for name, at in row.attention.items())
    name = row.name.removesuffix(".yaml")
    numbers = (f"{row.parameters:,}", more, f"{row.gflops:.2f}", more_gflops)
    return _NARROW_HEADS.format(name, *numbers, counts or "none")


def where(row: Row) -> str:
    """Return the places of a row's attention: 10 SCSA: 2,4,6,8,12,15,18,21."""
    listed = {name: ",".join(map(str, dict.fromkeys(at))) for name, at in row.attention.items()}
    return "; ".join(f"{len(row.attention[name])} {name}: {at}" for name, at in listed.items())


def as_csv(listed: Iterable[Row]) -> str:
    """Return rows as CSV with a header line, the places of the attention as in the table."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(field.name for field in fields(Row))
    for row in listed:
        values = {**asdict(row), "attention": where(row)}
        writer.writerow(csv_cell(value) for value in values.values())
    return file.getvalue().removesuffix("\n")


NOTE = """\
At 640 x 640 pixels, before fusing, 80 classes (classification: 1000). GFLOPs
of the stock layers are Ultralytics' own count, as in model.info(); convolutions
and matrix products of the attention are added, gates and pooling are not."""


def _files() -> list[Path]:
    return sorted(packaged_folder("models").rglob("*.yaml"))


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, an empty one where it holds something else."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built
    loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    return loaded if isinstance(loaded, dict) else {}


def _sizes(path: Path, content: dict[str, Any]) -> Iterator[Entry]:
    """Yield the sizes of one file: those of its scales, or the one in its name."""
    family, stem = path.parent.name, path.stem
    file = f"{family}/{path.name}"
    split = re.fullmatch(r"(yolov?\d+)([a-z]?)(-.*)?", stem)
    if split is None:
        # RT-DETR: r18, r34, resnet50 and resnet101 are names, and the YAML has one scale at most
        kind = re.sub(r"-(r|resnet)\d+", "", stem)
        yield Entry(path.name, family, kind, "", file)
        return
    version, letter, rest = split[1], split[2], split[3] or ""
    sizes = [letter] if letter else sorted(content.get("scales", {}), key=SIZES.index)
    for size in sizes:
        yield Entry(f"{version}{size}{rest}.yaml", family, f"{version}{rest}", size, file)


def _order(entry: Entry) -> tuple[Any, ...]:
    version = int(
        re.sub(r"\D", "", entry.family) or 1_000
    )  # RT-DETR's folder has none and comes last
    number = re.search(r"rtdetr-(r|resnet)(\d+)", entry.name)
    size = (number[1], int(number[2])) if number else ("", SIZES.find(entry.size))
    return version, entry.kind.count("-"), entry.kind, size
