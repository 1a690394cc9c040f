"""What TensorRT takes, by NVIDIA's list: exports of our detectors pass, and graphs that break a
rule are found.
"""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scsa_yolo.deploy.operators import (
    Range,
    anchors,
    not_portable,
    operator_list,
    operators,
    trtexec,
    unsupported,
    versions,
)

onnx = pytest.importorskip("onnx")
helper, FLOAT, INT64 = onnx.helper, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Export a packaged detector to ONNX."""

    def export(name: str, dynamic: bool, simplify: bool) -> Path:
        from ultralytics import RTDETR, YOLO

        model = (RTDETR if name.startswith("rtdetr") else YOLO)(f"{name}.yaml")
        file = tmp_path_factory.mktemp(name) / f"{name}.pt"
        model.save(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracers' notes
            settings = {
                "imgsz": (128, 160),
                "dynamic": dynamic,
                "simplify": simplify,
                "device": "cpu",
            }
            return Path(type(model)(file).export(format="onnx", **settings))

    return export


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize(
    ("name", "simplify"),
    [
        ("yolov8n-scsa", True),
        ("yolov8n-scsa", False),
        ("yolov9t-scsa", False),
        ("yolov10n-scsa", False),
        ("yolo11n-scsa", False),
        ("rtdetr-r18-scsa", False),
    ],
)
def test_our_exports_pass(
    exported: Any, needs: Any, name: str, simplify: bool, dynamic: bool
) -> None:
    needs("onnxslim")
    file = exported(name, dynamic, simplify)
    assert any("attn" in node.name for node in onnx.load(file).graph.node), (
        "the graph has no attention to check"
    )
    for release in (
        versions() if name == "yolov8n-scsa" else versions()[:1]
    ):  # the oldest allows least
        found = unsupported(file, release)
        if (
            name.startswith("rtdetr") and dynamic
        ):  # Ultralytics' decoder, without us too, limits indices
            decoder = [
                finding
                for finding in found
                if finding.operator == "Clip" and "attn" not in finding.node
            ]
            assert len(decoder) in (0, 2)  # none in earlier releases
            found = [finding for finding in found if finding not in decoder]
        assert not found, "\n".join(map(str, found))


def graph(
    tmp_path: Path,
    *nodes: Any,
    opset: int = 18,
    shape: tuple[Any, ...] = (1, 3, 8, 8),
    constants: dict[str, Any] | None = None,
) -> Path:
    """Write an ONNX file of these nodes, from the tensor x to y."""
    import numpy as np

    entry = helper.make_tensor_value_info("x", FLOAT, shape)
    out = helper.make_tensor_value_info("y", FLOAT, None)
    given = [
        onnx.numpy_helper.from_array(np.asarray(value), name)
        for name, value in (constants or {}).items()
    ]
    made = helper.make_graph(list(nodes), "g", [entry], [out], given)
    file = tmp_path / "g.onnx"
    onnx.save(
        helper.make_model(
            made,
            opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("my.own", 1)],
            ir_version=10,
        ),
        file,
    )
    return file


def node(operator: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    return helper.make_node(
        operator, inputs.split(), outputs.split(), name=operator.lower(), **attributes
    )


CASES = {
    "values give a size": ([node("NonZero", "x")], {}, "NonZero nonzero: the size of its output depends on values"),
    "not on the list": ([node("Unique", "x")], {}, "not on the list of TensorRT 10.1"),
    "a plugin": ([helper.make_node("Mine", ["x"], ["y"], domain="my.own")], {}, "the domain my.own"),
    "a type": (
        [node("Cast", "x", "i", to=INT64), node("Clip", "i low", "c"), node("Cast", "c", to=FLOAT)],
        {"low": 0},
        "Clip clip: INT64 tensors",
    ),
    "a shape of values": (
        [node("ReduceMax", "x", "m", keepdims=0), node("Cast", "m", "i", to=INT64), node("Reshape", "i one", "n"),
         node("Expand", "x n")],
        {"one": [1]},
        "its shape, and so the size of its output, depends on values",
    ),
    "axes of a shape": (
        [node("Shape", "x", "s"), node("Slice", "s a b", "t"), node("Slice", "x a b t")],
        {"a": [0], "b": [1]},
        "its axes must be constant",
    ),
    "a large K": (
        [node("Flatten", "x", "f"), node("TopK", "f k", "y i")], {"k": [4000]}, "needs sorted=1 and K below 3840"
    ),
    "cubic": (
        [helper.make_node("Resize", ["x", "", "s"], ["y"], name="resize", mode="cubic")],
        {"s": [1.0, 1.0, 2.0, 2.0]},
        "mode=cubic",
    ),
    "zero point": (
        [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z")], {"s": 0.1, "z": "int8"},
        "zero points other than 0",
    ),
    "indices of pooling": ([node("MaxPool", "x", "y i", kernel_shape=[2, 2])], {}, "only its first output"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_breaking_a_rule_is_found(tmp_path: Path, case: str) -> None:
    import numpy as np

    nodes, constants, says = CASES[case]
    types = {float: np.float32, int: np.int64}
    given = {
        name: (
            np.int8(3)
            if value == "int8"
            else np.array(value, types[type(value[0] if isinstance(value, list) else value)])
        )
        for name, value in constants.items()
    }
    found = [str(finding) for finding in unsupported(graph(tmp_path, *nodes, constants=given))]
    assert any(says in line for line in found), found


def test_sizes_of_the_input_may_give_sizes(tmp_path: Path) -> None:
    """What dynamic exports do: a shape that follows the input's is no finding."""
    nodes = [node("Shape", "x", "s"), node("ConstantOfShape", "s", "z"), node("Add", "x z")]
    assert unsupported(graph(tmp_path, *nodes, shape=("n", 3, "h", "w"))) == []


def test_opset(tmp_path: Path) -> None:
    file = graph(tmp_path, node("Relu", "x"), opset=21)
    assert [str(f) for f in unsupported(file)] == [
        "opset (file): TensorRT 10.1 takes opsets 9 to 20, the file has 21"
    ]
    assert unsupported(file, "10.15") == []


def test_lists_say_version_and_date() -> None:
    assert versions() == ("10.1", "10.15")
    dates = [datetime.date.fromisoformat(operator_list(release).date) for release in versions()]
    assert dates == [datetime.date(2024, 6, 17), datetime.date(2026, 2, 2)]
    old, new = operator_list("10.1"), operator_list("10.15")
    assert (old.opset, new.opset) == ((9, 20), (9, 24))
    assert len(old.types) == 150
    assert old.types["GridSample"] == {"FP32", "FP16"}
    assert "INT64" in new.types["Pow"] - old.types["Pow"]
    assert new.constant_inputs["Slice"] == []


@pytest.mark.parametrize(
    ("name", "says"), [("missing.onnx", "no such file"), ("broken.onnx", "not an ONNX model")]
)
def test_bad_files(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises((OSError, ValueError), match=says):
        unsupported(tmp_path / name)
    with pytest.raises(ValueError, match=r"TensorRT '7'; known: 10\.1, 10\.15"):
        unsupported(tmp_path / name, "7")


def test_trtexec_names_every_shape(tmp_path: Path) -> None:
    file = graph(tmp_path, node("Relu", "x"), shape=("n", 3, "h", "w"))
    assert trtexec(file, Range(128, 640, 1280), Range(1, 2, 8)).split() == [
        "trtexec",
        f"--onnx={file}",
        f"--saveEngine={file.with_suffix('.engine')}",
        "--minShapes=x:1x3x128x128",
        "--optShapes=x:2x3x640x640",
        "--maxShapes=x:8x3x1280x1280",
        "--fp16",
    ]
    assert "--fp16" not in trtexec(file, Range(32, 32, 32), half=False)


def test_trtexec_refuses_what_cannot_run(tmp_path: Path) -> None:
    import numpy as np

    with pytest.raises(ValueError, match="export it with dynamic=True"):
        trtexec(graph(tmp_path, node("Relu", "x")), Range(32, 64, 96))
    with pytest.raises(ValueError, match="low <= usual <= high"):
        Range(64, 32, 96)
    nodes, best = [node("Flatten", "x", "f"), node("TopK", "f k", "y i")], {"k": np.array([300])}
    file = graph(tmp_path, *nodes, shape=("n", 3, "h", "w"), constants=best)
    with pytest.raises(
        ValueError,
        match=r"best 300 of all anchors, and 64 x 64 pixels have 84; the least size is 128",
    ):
        trtexec(file, Range(64, 640, 640))
    assert anchors(128) == 256 + 64 + 16
    assert "128x128" in trtexec(file, Range(128, 640, 640))


@pytest.mark.parametrize(
    ("stride", "size", "says"),
    [
        (
            None,
            (100, 640, 1280),
            r"100: not .* stride, 32; next to it: 96 or 128\. Type: Range\(96",
        ),
        (
            None,
            (320, 600, 1000),
            r"600, 1000: .* 576 or 608, 992 or 1024\. Type: Range\(320, 608, 992\)",
        ),
        (None, (1, 32, 64), r"1: .* next to it: 32\. Type: Range\(32, 32, 64\)"),
        (None, (100, 100, 100), r"size: 100: .* 96 or 128\. Type: Range\(96, 96, 96\)"),
        (64, (320, 640, 1248), r"1248: .* stride, 64; next to it: 1216 or 1280\."),
    ],
)
def test_trtexec_refuses_sizes_that_the_stride_does_not_divide(
    tmp_path: Path, stride: int | None, size: tuple[int, int, int], says: str
) -> None:
    file = graph(tmp_path, node("Relu", "x"), shape=("n", 3, "h", "w"))
    if stride is not None:
        model = onnx.load(file)
        helper.set_model_props(model, {"stride": str(stride)})
        onnx.save(model, file)
    with pytest.raises(ValueError, match=says):
        trtexec(file, Range(*size))


def test_operators_are_counted_and_what_is_not_portable_is_named(tmp_path: Path) -> None:
    import numpy as np

    weights = {"w": np.ones((2, 2, 1), np.float32), "g": np.ones(2, np.float32)}
    inside = helper.make_node("InstanceNormalization", ["y", "g", "g"], ["n"], "/attn/norm")
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], "/conv"), inside, node("Relu", "n")]
    file = graph(tmp_path, *nodes, shape=(1, 2, 8), constants=weights)
    assert operators(file) == {"Conv": 1, "InstanceNormalization": 1, "Relu": 1}
    assert operators(file, inside="attn") == {"InstanceNormalization": 1}
    found = list(map(str, not_portable(file)))
    assert found == [
        "Conv /conv: of 3 dimensions, not 4",
        "InstanceNormalization /attn/norm: a norm as one operator",
    ]
    assert list(map(str, not_portable(file, inside="attn"))) == found[1:]
    with pytest.raises(OSError, match="no such file"):
        operators(tmp_path / "missing.onnx")
