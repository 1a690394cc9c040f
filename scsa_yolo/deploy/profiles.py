"""Profiles of a TensorRT engine: the command that builds one for sizes and batches of the user's
choice.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Range", "anchors", "trtexec"]

STRIDE = 32  # of a file whose metadata name none


@dataclass(frozen=True)
class Range:
    """Least, usual and greatest of a size, as TensorRT's profiles want it."""

    low: int
    usual: int
    high: int

    def __post_init__(self) -> None:
        if not 1 <= self.low <= self.usual <= self.high:
            raise ValueError(
                f"a range needs 1 <= low <= usual <= high, got {self.low}, {self.usual},"
                f" {self.high}"
            )


def trtexec(
    onnx_file: str | Path, size: Range, batch: Range | None = None, *, half: bool = True
) -> str:
    """Write the command that builds an engine of any size and batch within given ranges.

    Ultralytics' own ``yolo export format=engine dynamic=True`` fixes the profile: least 1 x 32 x
    32, usual the size and batch of the export, greatest twice that size. It needs no command, and
    its engine holds Ultralytics' metadata; but it takes long to build, its memory is planned for
    four times the pixels, and heads that take the best 300 of all anchors (RT-DETR, and v10 and 26
    end to end) cannot run at 32 x 32, which has 21. Hence this.

    Args:
        onnx_file: Exported with ``dynamic=True``.
        size: Sides of the input in pixels.
        batch: Pictures at a time (default: 1 alone).
        half: Let TensorRT use float16.

    Raises:
        ValueError: The file has no open sizes, a side is no multiple of the network's stride, or
            the head needs more anchors than the least size has.
        OSError: The file cannot be read.
    """
    import onnx

    path, batch = Path(onnx_file), batch or Range(1, 1, 1)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    model = onnx.load(str(path))
    graph = model.graph
    (entry,) = [
        value
        for value in graph.input
        if value.name not in {tensor.name for tensor in graph.initializer}
    ]
    sides = entry.type.tensor_type.shape.dim
    if not all(sides[axis].dim_param for axis in (0, 2, 3)):
        raise ValueError(f"{path}: its sizes are fixed; export it with dynamic=True")
    stride = _stride(model)
    _check_sides(size, stride)
    most = max(_counts(graph), default=0)
    if most > anchors(size.low):
        least = next(side for side in range(size.low, 10000, stride) if anchors(side) >= most)
        raise ValueError(
            f"{path}: the head takes the best {most} of all anchors, and {size.low} x {size.low}"
            f" pixels have {anchors(size.low)}; the least size is {least}"
        )
    channels = sides[1].dim_value or 3
    ends = zip(
        ("min", "opt", "max"),
        (batch.low, batch.usual, batch.high),
        (size.low, size.usual, size.high),
    )
    shapes = [
        f"--{end}Shapes={entry.name}:{count}x{channels}x{side}x{side}" for end, count, side in ends
    ]
    words = ["trtexec", f"--onnx={path}", f"--saveEngine={path.with_suffix('.engine')}", *shapes]
    return shlex.join([*words, "--fp16"] if half else words)


def _stride(model: Any) -> int:
    """Return the network's stride, as Ultralytics writes it into the file's metadata."""
    stored = {entry.key: entry.value for entry in model.metadata_props}
    text = stored.get("stride", "")
    return int(text) if text.isdecimal() and int(text) > 0 else STRIDE


def _check_sides(size: Range, stride: int) -> None:
    """Refuse sides that the network cannot halve to the end: its maps would not fit together."""
    sides = (size.low, size.usual, size.high)
    wrong = [side for side in sides if side % stride]
    if not wrong:
        return
    nearest = [max(stride, round(side / stride) * stride) for side in sides]
    raise ValueError(
        f"size: {', '.join(map(str, dict.fromkeys(wrong)))}: not a multiple of the network's"
        f" stride, {stride}; next to it: {_neighbours(wrong, stride)}."
        f" Type: Range({', '.join(map(str, nearest))})"
    )


def _neighbours(sides: list[int], stride: int) -> str:
    """Return the multiples below and above each side, in words."""
    found = []
    for side in dict.fromkeys(sides):
        below = side // stride * stride
        above = below + stride
        found.append(f"{below} or {above}" if below else str(above))
    return ", ".join(found)


def anchors(side: int) -> int:
    """Return how many anchors a square input has on strides 8, 16 and 32."""
    return sum((side // stride) ** 2 for stride in (8, 16, 32))


def _counts(graph: Any) -> Iterator[int]:
    """The constant K of every TopK."""
    import onnx

    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    for node in graph.node:
        if node.op_type == "TopK" and node.input[1] in constants:
            yield int(onnx.numpy_helper.to_array(constants[node.input[1]]).ravel()[0])
