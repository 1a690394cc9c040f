"""What a row of a model YAML says: ``C2f_SCSA``, bare ``SCSA`` and our own layers, read and
checked before anything is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from ultralytics.nn import tasks

from scsa_yolo.attention import attention_class, attention_names
from scsa_yolo.attention.base import check_choice
from scsa_yolo.blocks import (
    BLOCKS_WITH_FFN,
    BLOCKS_WITH_UNITS,
    FFN_BLOCKS,
    PARTS,
    SLOTS,
    STARTS,
    check_attention_options,
    make_attention,
    resnet_vd,
)
from scsa_yolo.support.words import closest, hint

# Our own layers, each built as cls(c1, c2, n, *rest) from a row [from, n, name, [c2, *rest]].
OWN_LAYERS: dict[str, Callable[..., nn.Module]] = {
    "ResNetVDStem": lambda c1, c2, n: resnet_vd.ResNetVDStem(c1, c2),
    "ResNetVDLayer": resnet_vd.ResNetVDLayer,
}


@dataclass
class Row:
    """One row of a model YAML that is ours."""

    index: int  # of the layer, over backbone and head
    name: str  # as written
    block: str | None  # the stock block, with FFN, or own layer; None for a bare attention row
    attention: str | None  # None for an own layer without attention
    args: list[Any]  # without the options
    options: dict[str, Any] = field(default_factory=dict)
    slot: str = "mid"
    start: str = "paper"

    def __str__(self) -> str:
        return f"model row {self.index} ({self.name})"

    @property
    def kind(self) -> str:
        """The kind of units that get the attention, see ``blocks.units``."""
        return "ffn" if self.block in FFN_BLOCKS else "residual"

    def error(self, message: str) -> ValueError:
        """Return the error that names this row."""
        return ValueError(f"{self}: {message}")

    def check(self) -> None:
        """Refuse a wrong option before anything is built."""
        assert self.attention is not None
        try:
            check_attention_options(self.attention, start=self.start, options=self.options)
        except (TypeError, ValueError) as error:
            raise self.error(str(error)) from error

    def make(self, channels: int) -> nn.Module:
        """Build this row's attention for a map of ``channels`` channels."""
        assert self.attention is not None
        try:
            return make_attention(self.attention, channels, start=self.start, options=self.options)
        except (TypeError, ValueError) as error:
            raise self.error(str(error)) from error


def read_rows(d: Mapping[str, Any]) -> list[Row]:
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
    options = dict(args.pop()) if args and isinstance(args[-1], Mapping) else {}
    read = Row(index, name, block, attention, args)
    _check_shape(read, row, options)
    read.slot = check_choice("slot", options.pop("slot", "mid"), SLOTS, owner=str(read))
    read.start = check_choice("start", options.pop("start", "paper"), STARTS, owner=str(read))
    read.options = options
    if attention is not None:
        read.check()
    return read


def _check_shape(read: Row, row: Any, options: dict[str, Any]) -> None:
    """Refuse what stock code would misread, or silently drop, in a row of ours."""
    source, repeats = row[0], row[1]
    if not _is_int(source) or not _is_int(repeats) or repeats < 1:
        raise read.error(
            "takes one input and a number of repeats of at least 1, got"
            f" from={source!r}, repeats={repeats!r}"
        )
    for argument in read.args:
        _check_argument(read, argument, row[3])
    if read.attention is None and options:
        raise read.error(f"options {options!r} need an attention, such as {read.name}_SCSA")
    if read.block is None and (read.args or "slot" in options):
        raise read.error(
            "a layer of its own keeps its input's width and has no slot: its arguments are [] or"
            f" one mapping of options, got {row[3]!r}"
        )
    width = read.args[0] if read.args else None
    if read.block in OWN_LAYERS and not (_is_int(width) and width > 0):
        raise read.error(f"the first argument is the number of output channels, got {row[3]!r}")


def _check_argument(read: Row, argument: Any, args: Any) -> None:
    """Refuse options that stand in the wrong place or in the wrong form."""
    if isinstance(argument, Mapping):
        raise read.error(f"options are one mapping, the last of the arguments, got {args!r}")
    if isinstance(argument, str) and any(mark in argument for mark in "{:="):
        raise read.error(
            "options are a mapping, the last of the arguments, and no text. Write {window: 9}"
            f" without quotes around it, got {argument!r}"
        )
    inside = argument if isinstance(argument, (list, tuple)) else ()
    if any(isinstance(item, (str, list, tuple, Mapping)) for item in inside):
        raise read.error(
            "options are one mapping such as {window: 9}, the last of the arguments, and no list,"
            f" got {argument!r}"
        )


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


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
        raise _unknown_block(index, name, block, attention)
    return (name, block, attention) if known_block else None


def _unknown_block(index: int, name: str, block: str, attention: str) -> ValueError:
    close = closest(block, _block_names())
    meant = None if close is None else f"{close}_{attention}"
    return ValueError(
        f"model row {index} ({name}): unknown block {block!r}.{hint(meant)} "
        f"Blocks with residual units: {BLOCKS_WITH_UNITS}. With feed-forward units, to be named"
        f" such as C2PSAFFN_{attention}: {BLOCKS_WITH_FFN}"
    )


def misspelt(d: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the first row whose name is one of ours but for its capitals or
    its underscore; None where there is no such row.

    Stock code ends in a bare KeyError there. Ask after it did: another extension may know the name.
    """
    rows = [row for part in PARTS for row in d.get(part) or []]
    for index, row in enumerate(rows):
        name = row[2] if isinstance(row, (list, tuple)) and len(row) > 2 else None
        if isinstance(name, str) and not hasattr(tasks, name):
            meant = _meant(name)
            if meant not in (None, name):
                return (
                    f"model row {index} ({name}): there is no module {name!r}.{hint(meant)}"
                    " Capitals and the underscore between block and attention count"
                )
    return None


def _meant(name: str) -> str | None:
    typed = name.replace("_", "").replace("-", "").lower()
    for attention in attention_names():
        block = typed.removesuffix(attention.lower())
        if block == typed:
            continue
        same = [known for known in ("", *_block_names()) if known.lower() == block]
        if same:
            return f"{same[0]}_{attention}".removeprefix("_")
    return None


def _block_names() -> Iterable[str]:
    """Yield the names of blocks, those that have units first."""
    yield from OWN_LAYERS
    yield from FFN_BLOCKS
    stock = [name for name in dir(tasks) if _is_block(name)]
    yield from sorted(stock, key=lambda name: (name not in BLOCKS_WITH_UNITS, name))


def _is_block(name: str) -> bool:
    found = getattr(tasks, name, None)
    known = name in OWN_LAYERS or name in FFN_BLOCKS
    return known or (isinstance(found, type) and issubclass(found, nn.Module))
