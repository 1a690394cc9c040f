"""Whether TensorRT takes an exported graph, by NVIDIA's published list: no GPU and no TensorRT
needed to ask.

`tensorrt_operators.json` holds what the list says: operators, types, inputs that must be constant.
On top of it the
graph must not have shapes that depend on values in it: an engine would need an output allocator for
them, and memory planned for the worst.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scsa_yolo.deploy.profiles import Range, anchors, trtexec

__all__ = [
    "Finding",
    "OperatorList",
    "Range",
    "anchors",
    "not_portable",
    "operator_list",
    "operators",
    "trtexec",
    "unsupported",
    "versions",
]

ATTENTION = "attn"  # the step of the nodes' paths that names our modules in residual units
NORMS = frozenset(
    {"InstanceNormalization", "LayerNormalization", "GroupNormalization", "BatchNormalization"}
)
FOUR_DIMENSIONS = frozenset({"Conv", "MatMul", "Gemm", "AveragePool", "MaxPool"})
DATA = Path(__file__).with_name("tensorrt_operators.json")
SIZED_BY_VALUES = frozenset({"NonZero", "Unique", "Compress", "NonMaxSuppression"})
CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
# Inputs that say how large an output is; what flows into them must not depend on the picture.
SHAPE_INPUTS = {
    "ConstantOfShape": ("input",),
    "Expand": ("shape",),
    "OneHot": ("depth",),
    "Pad": ("pads", "axes"),
    "Range": ("start", "limit", "delta"),
    "Reshape": ("shape",),
    "Resize": ("roi", "scales", "sizes"),
    "Slice": ("starts", "ends", "axes", "steps"),
    "Split": ("split",),
    "Squeeze": ("axes",),
    "Tile": ("repeats",),
    "TopK": ("K",),
    "Unsqueeze": ("axes",),
}
# Which of a node's type variables the list speaks of, where it is not that of the first input.
TYPED_BY = {
    "Cast": ("T1", "T2"),
    "CastLike": ("T1", "T2"),
    "ConstantOfShape": ("T2",),
    "Where": ("T",),
}
TYPE_NAMES = {
    1: "FP32",
    2: "UINT8",
    3: "INT8",
    6: "INT32",
    7: "INT64",
    9: "BOOL",
    10: "FP16",
    11: "DOUBLE",
    16: "BF16",
}
CONSTANT, SHAPE, VALUE = range(
    3
)  # what a tensor depends on: nothing, sizes of the input, the picture


@dataclass(frozen=True)
class Finding:
    """Something that the list does not allow: the node's name, its operator and what is wrong, in a
    line.
    """

    node: str
    operator: str
    problem: str

    def __str__(self) -> str:
        return f"{self.operator} {self.node}: {self.problem}"


@dataclass(frozen=True)
class OperatorList:
    """NVIDIA's list for one release of TensorRT.

    Attributes:
        tensorrt: The release.
        date: When it came out, as the list's own repository says (ISO).
        opset: Least and greatest opset.
        types: Tensor types by operator; what is not here is not supported.
        constant_inputs: Inputs that must be constant when the engine is built, by operator.
        unchecked: Restrictions that are not checked here, by operator.
    """

    tensorrt: str
    date: str
    opset: tuple[int, int]
    types: dict[str, frozenset[str]]
    constant_inputs: dict[str, list[str]]
    unchecked: dict[str, str]


@cache
def _lists() -> dict[str, OperatorList]:
    found: dict[str, OperatorList] = {}
    for entry in json.loads(DATA.read_text(encoding="utf-8"))["lists"]:
        base = found.get(entry.get("changes", ""))
        types = {
            op: frozenset(group["types"])
            for group in entry["supported"]
            for op in group["operators"]
        }
        found[entry["tensorrt"]] = OperatorList(
            tensorrt=entry["tensorrt"],
            date=entry["date"],
            opset=(entry["opset"][0], entry["opset"][1]),
            types={**(base.types if base else {}), **types},
            constant_inputs={**(base.constant_inputs if base else {}), **entry["constant_inputs"]},
            unchecked={**(base.unchecked if base else {}), **entry["unchecked"]},
        )
    return found


def versions() -> tuple[str, ...]:
    """Return the releases of TensorRT whose lists are here, oldest first."""
    return tuple(_lists())


def operator_list(tensorrt: str | None = None) -> OperatorList:
    """Return the list of a release (default: the oldest, which is the strictest).

    Raises:
        ValueError: There is no list of that release here.
    """
    tensorrt = versions()[0] if tensorrt is None else tensorrt
    if tensorrt not in _lists():
        raise ValueError(
            f"no operator list for TensorRT {tensorrt!r}; known: {', '.join(versions())}"
        )
    return _lists()[tensorrt]


def unsupported(path: str | Path, tensorrt: str | None = None) -> list[Finding]:
    """Check every node of an ONNX file against NVIDIA's list, and that no shape depends on the
    picture.

    Args:
        path: The file.
        tensorrt: The release (default: the oldest known).

    Returns:
        What is not allowed, in the graph's order; empty where TensorRT should take the file.

    Raises:
        ValueError: There is no list of that release, or the file is no ONNX model.
        OSError: The file cannot be read.
    """
    known = operator_list(tensorrt)
    return list(_Check(_read(path), known).findings())


def operators(path: str | Path, inside: str = "") -> dict[str, int]:
    """Count the operators of an ONNX file.

    Args:
        path: The file.
        inside: A step of the nodes' paths, such as ``"attn"``: only those below it.

    Returns:
        Counts by name, most first; constants, which compute nothing, are left out.

    Raises:
        ValueError: The file is no ONNX model.
        OSError: The file cannot be read.
    """
    graph = _read(path).graph
    names = [node.op_type for node in graph.node if _is_inside(node, inside)]
    return dict(Counter(names).most_common())


def not_portable(path: str | Path, inside: str = "") -> list[Finding]:
    """Return what is not in the form that accelerators take: norms as one operator, and
    convolutions, products and poolings of other than four dimensions.

    Args and errors are those of :func:`operators`.
    """
    ranks = _Check(_read(path), operator_list()).ranks
    found = []
    for node in _read(path).graph.node:
        if not _is_inside(node, inside):
            continue
        rank = ranks.get(node.input[0], 4) if node.input else 4
        if node.op_type in NORMS:
            found.append(Finding(node.name, node.op_type, "a norm as one operator"))
        elif node.op_type in FOUR_DIMENSIONS and rank != 4:
            found.append(Finding(node.name, node.op_type, f"of {rank} dimensions, not 4"))
    return found


def _is_inside(node: Any, step: str) -> bool:
    named = not step or step in node.name.split("/")
    return named and node.op_type not in ("Constant", "Identity")


def _read(path: str | Path) -> Any:
    """Read an ONNX file, with the shapes of what its nodes compute."""
    import onnx
    from onnx import shape_inference

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return shape_inference.infer_shapes(onnx.load(str(path)), data_prop=True)
    except Exception as error:  # protobuf, or the inference's own
        raise ValueError(f"{path}: not an ONNX model: {str(error).splitlines()[0]}") from error


class _Check:
    """One graph against one list; tensors are noted as the nodes, which ONNX keeps in order, are
    met.
    """

    def __init__(self, model: Any, known: OperatorList) -> None:
        self.model, self.known, graph = model, known, model.graph
        self.opset = next(
            (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0
        )
        described = [*graph.input, *graph.value_info, *graph.output]
        self.types: dict[str, int] = {
            value.name: value.type.tensor_type.elem_type for value in described
        }
        self.ranks = {
            v.name: len(v.type.tensor_type.shape.dim)
            for v in described
            if v.type.tensor_type.HasField("shape")
        }
        self.types.update({tensor.name: tensor.data_type for tensor in graph.initializer})
        self.depends: dict[str, int] = {tensor.name: CONSTANT for tensor in graph.initializer}
        self.values = {tensor.name: tensor for tensor in graph.initializer}
        self.depends.update({v.name: VALUE for v in graph.input if v.name not in self.values})

    def findings(self) -> Iterator[Finding]:
        low, high = self.known.opset
        if not low <= self.opset <= high:
            said = (
                f"TensorRT {self.known.tensorrt} takes opsets {low} to {high}, the file has"
                f" {self.opset}"
            )
            yield Finding("(file)", "opset", said)
        for node in self.model.graph.node:
            for problem in self._problems(node):
                yield Finding(
                    node.name or (node.output[0] if node.output else "?"), node.op_type, problem
                )
            self._note(node)

    def _note(self, node: Any) -> None:
        """Note what a node's outputs depend on."""
        inputs = [self.depends.get(name, VALUE) for name in node.input if name]
        kind = max(inputs, default=CONSTANT)
        if node.op_type in ("Shape", "Size"):
            kind = min(kind, SHAPE)
        self.depends.update(dict.fromkeys(node.output, kind))
        if node.op_type == "Constant":
            self.values.update((node.output[0], a.t) for a in node.attribute if a.name == "value")

    def _problems(self, node: Any) -> Iterator[str]:
        operator, release = node.op_type, self.known.tensorrt
        if node.domain not in ("", "ai.onnx"):
            yield f"an operator of the domain {node.domain}, which needs a plugin"
            return
        if operator not in self.known.types:
            yield f"not on the list of TensorRT {release}"
            return
        if operator in SIZED_BY_VALUES:
            yield "the size of its output depends on values"
        if operator in CONTROL_FLOW:
            yield "control flow: what is computed depends on values"
        allowed = self.known.types[operator]
        for name in sorted(set(self._types(node)) - allowed):
            yield f"{name} tensors; the list of TensorRT {release} has {', '.join(sorted(allowed))}"
        inputs = self._inputs(node)
        for name in self.known.constant_inputs.get(operator, ()):
            if self.depends.get(inputs.get(name, ""), CONSTANT) != CONSTANT:
                yield f"its {name} must be constant"
        for name in SHAPE_INPUTS.get(operator, ()):
            if self.depends.get(inputs.get(name, ""), CONSTANT) == VALUE:
                yield f"its {name}, and so the size of its output, depends on values"
        if operator in self.known.unchecked:
            yield f"a restriction that is not checked here: {self.known.unchecked[operator]}"
        yield from self._restrictions(node, inputs)

    def _inputs(self, node: Any) -> dict[str, str]:
        """Tensors by the names that the operator's definition gives its inputs; left-out ones are
        not there.
        """
        import onnx

        formal = onnx.defs.get_schema(node.op_type, max(self.opset, 1)).inputs
        return {entry.name: name for entry, name in zip(formal, node.input) if name}

    def _types(self, node: Any) -> Iterator[str]:
        """Types of the tensors of which the list speaks: those that share the first input's type
        variable.
        """
        import onnx

        schema = onnx.defs.get_schema(node.op_type, max(self.opset, 1))
        first = schema.inputs[0].type_str if schema.inputs else schema.outputs[0].type_str
        meant = TYPED_BY.get(node.op_type, (first,))
        for formal, names in ((schema.inputs, node.input), (schema.outputs, node.output)):
            for index, name in enumerate(names):
                entry = formal[min(index, len(formal) - 1)]  # the last may stand for many
                if name and entry.type_str in meant and (number := self.types.get(name)):
                    yield TYPE_NAMES.get(number, f"type {number}")

    def _restrictions(self, node: Any, inputs: dict[str, str]) -> Iterator[str]:
        """What the list says in words of operators that detectors use."""
        import onnx

        operator, first = node.op_type, node.input[0] if node.input else ""
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        rank = self.ranks.get(first)
        if operator in ("AveragePool", "MaxPool", "LpPool") and set(
            attributes.get("dilations", [1])
        ) != {1}:
            yield "dilations other than 1"
        if operator in ("AveragePool", "MaxPool") and rank not in (None, 4, 5):
            yield f"pooling over {rank - 2} axes; 2 or 3 are supported"
        if operator in ("MaxPool", "LayerNormalization") and any(node.output[1:]):
            yield "only its first output is supported"
        if operator == "GridSample" and rank not in (None, 4):
            yield f"an input of {rank} axes; 4 are supported"
        if operator == "ScatterND" and attributes.get("reduction", b"none") != b"none":
            yield "reductions are not supported"
        if operator == "TopK":
            count = self._number(inputs.get("K", ""))
            if attributes.get("sorted", 1) != 1 or (count is not None and count >= 3840):
                yield "needs sorted=1 and K below 3840"
        if operator == "Resize":
            yield from _resize(attributes)
        zero = inputs.get("y_zero_point", inputs.get("x_zero_point", ""))
        if operator in ("QuantizeLinear", "DequantizeLinear") and self._number(zero) not in (
            None,
            0,
        ):
            yield "zero points other than 0"

    def _number(self, name: str) -> int | None:
        """The value of a constant, the first that is not 0 of several; None where it is no
        constant.
        """
        import onnx

        if name not in self.values:
            return None
        flat = onnx.numpy_helper.to_array(self.values[name]).ravel()
        return int(next((value for value in flat if value != 0), 0))


def _resize(attributes: dict[str, Any]) -> Iterator[str]:
    allowed = {
        "mode": ("nearest", "linear"),
        "coordinate_transformation_mode": (
            "half_pixel",
            "pytorch_half_pixel",
            "tf_half_pixel_for_nn",
            "asymmetric",
            "align_corners",
        ),
        "nearest_mode": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
        "keep_aspect_ratio_policy": ("stretch",),
        "antialias": (0,),
    }  # fmt: skip
    for name, choices in allowed.items():
        value = attributes.get(name, choices[0])
        value = value.decode() if isinstance(value, bytes) else value
        if value not in choices:
            yield f"{name}={value}; the list has {', '.join(map(str, choices))}"
