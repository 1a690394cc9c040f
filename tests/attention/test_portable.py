"""Portable graphs: the module's numbers, in 4-D convolutions and plain arithmetic alone."""

from __future__ import annotations

import copy
import io
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from onnx import shape_inference

from scsa_yolo.attention import attention_names, create_attention
from scsa_yolo.blocks import fix_size, fold, use_portable

# the exporters are deprecated by torch, and TorchScript with them
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:Constant folding:UserWarning"
)
ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Sqrt", "Sigmoid", "Softmax", "Relu", "Clip", "Erf"}
MEANS = {"ReduceMean", "ReduceMax", "ReduceSum", "AveragePool", "MaxPool", "GlobalAveragePool"}
PLACES = {"Reshape", "Transpose", "Concat", "Slice", "Identity", "Constant", "Pad", "Conv"}
PRODUCTS = {"SCSA", "PCSA"}  # whose equations have matrix products
OURS = (
    "SCSA",
    "SMSA",
    "PCSA",
    "SE",
    "ECA",
    "FCA",
    "CBAM",
    "CA",
    "SA",
    "EMA",
    "CPCA",
    "AFGCA",
    "ELA",
)
CONTROLS = ("Conv1x1",)
OPTIONS: list[tuple[str, int, dict[str, Any]]] = [
    *((name, 16, {}) for name in (*OURS, *CONTROLS)),
    ("SCSA", 16, {"heads": 4}),
    ("SCSA", 16, {"heads": 4, "shuffle": True}),
    ("SCSA", 16, {"norm": "layer"}),
    ("SCSA", 16, {"norm": "batch"}),
    ("SCSA", 16, {"norm": "none"}),
    ("SCSA", 16, {"gate": "softmax"}),
    ("SCSA", 16, {"shared": False, "norm_first": True}),
    ("SCSA", 16, {"kernels": [3]}),
    ("SCSA", 16, {"first": "channel"}),
    ("SCSA", 16, {"parts": "spatial"}),
    ("SCSA", 16, {"parts": "channel", "qkv_bias": True, "scale": "positions"}),
    ("SCSA", 16, {"cover_edge": True}),
    ("SCSA", 16, {"cover_edge": True, "pool": "max"}),
    ("SCSA", 16, {"pool": "max"}),
    ("SCSA", 16, {"window": "global"}),
    ("SCSA", 6, {}),
    ("SCSA", 1, {}),
    ("SA", 16, {"groups": 2}),
    ("SA", 15, {}),
    ("EMA", 16, {"factor": 4}),
    ("EMA", 16, {"factor": 1}),
    ("ECA", 16, {"kernel_size": 5}),
    ("AFGCA", 16, {"kernel_size": 5}),
    ("FCA", 16, {"frequencies": "low8"}),
    ("ELA", 16, {"groups": 4}),
    ("SCSA", 16, {"fast": False}),
    ("EMA", 16, {"fast": False}),
]


def module_for(name: str, channels: int, options: dict[str, Any]) -> torch.nn.Module:
    """A module in inference, its weights away from where they start."""
    torch.manual_seed(0)
    module = create_attention(name, channels, **options).eval()
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.data.add_(torch.rand_like(tensor) * 0.4)
    return module


def graph_of(module: torch.nn.Module, x: torch.Tensor, opset: int) -> onnx.ModelProto:
    file = io.BytesIO()
    with torch.no_grad():
        torch.onnx.export(module, (x,), file, opset_version=opset, dynamo=False)
    model = onnx.load_from_string(file.getvalue())
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto, x: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def ranks(model: onnx.ModelProto) -> dict[str, int]:
    """The number of dimensions of what the nodes compute."""
    graph = shape_inference.infer_shapes(model).graph
    described = [*graph.input, *graph.value_info, *graph.output]
    return {value.name: len(value.type.tensor_type.shape.dim) for value in described}


def test_every_module_of_ours_is_tried() -> None:
    assert {name for name, _, _ in OPTIONS} >= set(OURS) | set(CONTROLS)
    assert set(attention_names()) >= set(OURS)


@pytest.mark.parametrize("folded", [False, True], ids=["live", "folded"])
@pytest.mark.parametrize(("name", "channels", "options"), OPTIONS, ids=str)
def test_onnx(name: str, channels: int, options: dict[str, Any], folded: bool) -> None:
    module = module_for(name, channels, options)
    plain = copy.deepcopy(module)
    plain.fast = False  # type: ignore[assignment]
    use_portable(module)
    if folded:
        fix_size(fold(module), "onnx")
    for batch, height, width in ((1, 20, 20), (2, 9, 16), (2, 5, 3)):
        x = torch.randn(batch, channels, height, width) * 2 + 1
        model = graph_of(module, x, 13)
        with torch.no_grad():
            expected = plain(x)
        check_close(run(model, x), expected)
        check_operators(model, name)


def check_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal to 1e-5 of the largest value."""
    scale = float(expected.abs().max())
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-5)


def check_operators(model: onnx.ModelProto, name: str) -> None:
    known = ranks(model)
    allowed = ARITHMETIC | MEANS | PLACES | ({"MatMul"} if name in PRODUCTS else set())
    weights = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        assert node.op_type in allowed, node.op_type
        if node.op_type == "Conv":
            assert known[node.input[0]] == 4
        if node.op_type != "Constant":
            computed = [out for out in node.output if node.input[0] not in weights]
            assert {known.get(out, 4) for out in computed} <= {4}, node


@pytest.mark.parametrize("opset", [11, 17, 20])
@pytest.mark.parametrize("name", OURS)
def test_operators_do_not_depend_on_the_opset(name: str, opset: int) -> None:
    module, x = use_portable(module_for(name, 16, {})), torch.randn(1, 16, 14, 14)
    model = graph_of(module, x, opset)
    check_operators(model, name)
    with torch.no_grad():
        check_close(run(model, x), module(x))


@pytest.mark.parametrize("name", ["SCSA", "EMA", "SA", "FCA"])
def test_torch_export(name: str) -> None:
    module, x = module_for(name, 16, {}), torch.randn(1, 16, 14, 14)
    with torch.no_grad():
        expected = module(x)
        program = torch.export.export(use_portable(module), (x,), strict=False)
        torch.testing.assert_close(program.module()(x), expected, rtol=1e-5, atol=1e-5)
    operators = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not any("group_norm" in one or "conv1d" in one for one in operators)


def test_nothing_changes_where_nothing_is_traced_or_it_is_taken_back() -> None:
    module, x = module_for("SCSA", 16, {}), torch.randn(1, 16, 14, 14)
    with torch.no_grad():
        expected = module(x)
        before = {node.op_type for node in graph_of(module, x, 17).graph.node}
        assert torch.equal(use_portable(module)(x), expected)
        after = {node.op_type for node in graph_of(use_portable(module, False), x, 17).graph.node}
    assert before == after
    assert before & {"InstanceNormalization", "LayerNormalization"}


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # torch's own batch norm
def test_training_mode_and_models_without_attention() -> None:
    module, x = use_portable(module_for("CA", 16, {})).train(), torch.randn(2, 16, 8, 8)
    expected = copy.deepcopy(module)(x)
    traced = torch.jit.trace(copy.deepcopy(module), (x,), check_trace=False)
    torch.testing.assert_close(traced(x), expected)
    with pytest.raises(ValueError, match="holds no attention module of scsa_yolo"):
        use_portable(torch.nn.Conv2d(3, 3, 1))
