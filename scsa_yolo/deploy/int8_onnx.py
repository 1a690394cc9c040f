"""An ONNX file quantized to 8 bits by ONNX Runtime, with chosen layers left in float."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scsa_yolo.support.files import replacing

__all__ = ["quantize_onnx"]

# What Ultralytics quantizes in ONNX files; all else stays in float.
WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})
QUANTIZED = frozenset({"QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger"})
FLOAT32 = 1  # ONNX's number of the type


def quantize_onnx(
    source: str | Path, target: str | Path, images: np.ndarray, *, keep: Sequence[str] = ("attn",)
) -> list[str]:
    """Quantize an ONNX file to 8 bits with ONNX Runtime, some nodes left in float.

    As Ultralytics does it, only Conv, Gemm and MatMul are quantized, so that the decoding of boxes
    stays in float. On top of that, nodes stay whose path holds one of ``keep``: ``"attn"`` is the
    attention in its slots, ``"model.22"`` would be the layer of that number.

    Args:
        source: Exported in float32, with any batch, of one size or dynamic.
        target: Where the result goes; an earlier file there stays if this fails.
        images: (N, 3, H, W) float32, RGB from 0 to 1, prepared as the detector's input; some
            hundred of the task's own. A file of a fixed batch gets them in batches; the last one is
            filled up with the first pictures.
        keep: Parts of node paths; empty: nothing more stays in float.

    Returns:
        The nodes that ``keep`` left in float.

    Raises:
        ImportError: ONNX or ONNX Runtime is missing.
        ValueError: A part in ``keep`` is in no path, the images do not fit the file, or the file is
            not one of float32.
        OSError: A file cannot be read or written.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantFormat, quantize_static
    except ImportError as error:
        raise ImportError(
            "quantizing needs onnx and onnxruntime. Type: pip install 'scsa-yolo[export]'"
        ) from error

    source, target = Path(source), Path(target)
    graph = _graph(source, onnx)
    nodes = list(graph.node)
    name, batch = _check_images(source, graph, images)
    paths = _paths(source, nodes, keep)
    kept = [
        node.name
        for node in nodes
        if node.op_type in WEIGHTED and set(keep) & set(paths[node.name])
    ]
    float_nodes = [node.name for node in nodes if node.op_type not in WEIGHTED]
    with tempfile.TemporaryDirectory(prefix=".scsa-yolo-", dir=target.parent) as folder:
        made = Path(folder) / "int8.onnx"
        quantize_static(
            str(source),
            str(made),
            _reader(name, batches(images, batch)),
            quant_format=QuantFormat.QDQ,
            nodes_to_exclude=kept + float_nodes,
        )
        with replacing(target) as temporary:
            temporary.write_bytes(made.read_bytes())
    return kept


def _graph(source: Path, onnx: Any) -> Any:
    """Read the graph, and refuse one that is no float32 graph."""
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such file")
    try:
        graph = onnx.load(str(source)).graph
    except Exception as error:  # protobuf's own
        raise ValueError(f"{source}: not an ONNX model: {str(error).splitlines()[0]}") from error
    if any(node.op_type in QUANTIZED for node in graph.node):
        raise ValueError(f"{source} is quantized already. Type the file exported in float32")
    return graph


def _paths(source: Path, nodes: Sequence[Any], keep: Sequence[str]) -> dict[str, list[str]]:
    """Return the steps of each node's path, and refuse a part of ``keep`` that is in none."""
    if isinstance(keep, str):
        raise ValueError(f"keep is a list of parts of paths, such as ('{keep}',), got {keep!r}")
    paths = {node.name: node.name.strip("/").split("/") for node in nodes}
    unknown = [part for part in keep if not any(part in path for path in paths.values())]
    if unknown:
        known = sorted({"/".join(path[:-1]) for path in paths.values() if path[1:]})
        raise ValueError(
            f"no node of {source} has {', '.join(unknown)} in its path; paths are"
            f" {', '.join(known)}"
        )
    return paths


def _check_images(source: Path, graph: Any, images: np.ndarray) -> tuple[str, int]:
    """Return the input's name and how many pictures a call takes; refuse images that do not fit."""
    weights = {tensor.name for tensor in graph.initializer}
    entry = next(value for value in graph.input if value.name not in weights)
    if entry.type.tensor_type.elem_type != FLOAT32:
        raise ValueError(
            f"{source}: its input is not float32. Export it without half=True and int8=True first"
        )
    images = np.asarray(images)
    if images.ndim != 4 or not len(images):
        raise ValueError(
            f"images must be (N, channels, height, width), at least one, got {images.shape}"
        )
    if images.dtype.kind != "f" or not 0 <= images.min() <= images.max() <= 1:
        raise ValueError(
            "images must be numbers from 0 to 1, got"
            f" {images.dtype} from {images.min()} to {images.max()}"
        )
    sides = [dim.dim_value or None for dim in entry.type.tensor_type.shape.dim]
    if any(side not in (None, given) for side, given in zip(sides[1:], images.shape[1:])):
        wanted = " x ".join("any" if side is None else str(side) for side in sides[1:])
        given = " x ".join(map(str, images.shape[1:]))
        raise ValueError(
            f"{source} takes pictures of {wanted} (channels x height x width), these are {given}"
        )
    return entry.name, sides[0] or 1


def batches(images: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield float32 batches of ``size`` pictures; the last is filled up with the first pictures."""
    for first in range(0, len(images), size):
        order = [(first + place) % len(images) for place in range(size)]
        yield np.ascontiguousarray(images[order], dtype=np.float32)


def _reader(name: str, pictures: Iterator[np.ndarray]) -> Any:
    """Return what ONNX Runtime asks for one batch after the other."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, Any] | None:
            batch = next(pictures, None)
            return None if batch is None else {name: batch}

    return Reader()
