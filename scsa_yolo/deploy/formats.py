"""Formats as data: what makes and runs each, and what was found to work with our modules, or why it
does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["FORMATS", "LIMITS", "SUPPORT", "Format", "Support", "limits", "support_table"]

EXTRA = "pip install 'scsa-yolo[export]'"


@dataclass(frozen=True)
class Format:
    """A format that this package knows more of than Ultralytics' exporter says.

    Attributes:
        title: What people call it.
        needs: Modules that an export imports.
        install: What to type where one is missing.
        int8: Modules that an INT8 export needs besides.
        here: Why its files do not run on this kind of machine, or "".
    """

    title: str
    needs: tuple[str, ...] = ()
    install: str = EXTRA
    int8: tuple[str, ...] = ()
    here: str = ""


FORMATS: dict[str, Format] = {
    "onnx": Format("ONNX", ("onnx", "onnxruntime", "onnxslim")),
    "openvino": Format("OpenVINO", ("openvino",), int8=("nncf",)),
    "torchscript": Format("TorchScript"),
    "engine": Format(
        "TensorRT", ("onnx", "tensorrt"), "pip install tensorrt onnx onnxslim, with an NVIDIA GPU"
    ),
    "ncnn": Format("NCNN", ("ncnn", "pnnx"), "pip install ncnn pnnx"),
    "coreml": Format(
        "CoreML", ("coremltools",), "pip install coremltools", here="CoreML runs on macOS only"
    ),
    "mnn": Format("MNN", ("onnx", "MNN"), "pip install MNN onnx onnxslim"),
    "litert": Format(
        "LiteRT", ("litert_torch", "ai_edge_litert"), "pip install litert-torch ai-edge-litert"
    ),
}


# What is known not to work of a module in a format, whatever the model; said before the export.
LIMITS: dict[tuple[str, str], str] = {
    ("ncnn", "SA"): (
        "SA does not run in NCNN: it splits channels into groups along the batch, and NCNN has no"
        " batch axis. Choose another format or module"
    ),
}


def limits(format: str, model: Any) -> list[str]:
    """Return what is known not to work of a model's attention modules in a format."""
    from scsa_yolo.host.transfer import attention_modules

    kinds = {type(module).__name__ for module in attention_modules(model).values()}
    return [told for (name, kind), told in LIMITS.items() if name == format and kind in kinds]


@dataclass(frozen=True)
class Support:
    """One cell of the support table.

    Attributes:
        format: As Ultralytics calls it.
        option: ``static``, ``dynamic``, ``half`` ...
        works: Whether a model with our modules exports, loads and passes parity.
        proof: The test, or the recorded run, that a "yes" rests on.
        reason: Why not, with versions, or what a "yes" is limited by.
        date: Of a recorded run.
    """

    format: str
    option: str
    works: bool
    proof: str = ""
    reason: str = ""
    date: str = ""


_FORMATS_TEST = "tests/deploy/test_export_formats.py"
_DAY = "2026-11-21"
_WITH = "yolov8n-scsa at 96 px, Ultralytics 8.4.190, torch 2.15.0, Python 3.11 on Linux"

SUPPORT: tuple[Support, ...] = (
    Support(
        "onnx",
        "static, rectangle, batch 8",
        True,
        f"{_FORMATS_TEST}::test_static_rectangle_and_batch",
    ),
    Support(
        "onnx", "dynamic", True, f"{_FORMATS_TEST}::test_dynamic_runs_at_other_sizes_and_batches"
    ),
    Support("onnx", "half", True, f"{_FORMATS_TEST}::test_half"),
    Support("onnx", "nms", True, f"{_FORMATS_TEST}::test_nms_inside_the_graph"),
    Support("onnx", "end2end", True, f"{_FORMATS_TEST}::test_heads_that_choose_rows"),
    Support("onnx", "opset 13 to 20, simplify off", True, f"{_FORMATS_TEST}::test_opsets"),
    Support(
        "onnx",
        "int8",
        True,
        "yolo11n-scsa at 160 px: mean error 2.5e-4 of the scale",
        "Ultralytics' own static quantization",
        _DAY,
    ),
    Support(
        "onnx",
        "dynamo exporter",
        True,
        "every module alone, opset 18 and 22, static and dynamic, to 3e-7 of its scale in ONNX"
        " Runtime 1.31.1",
        "by torch.onnx.export(dynamo=True) with onnxscript; Ultralytics' exporter always takes the"
        " legacy one",
        _DAY,
    ),
    Support(
        "openvino",
        "dynamic",
        True,
        f"{_FORMATS_TEST}::test_dynamic_runs_at_other_sizes_and_batches",
    ),
    Support("openvino", "static", True, f"{_FORMATS_TEST}::test_modules_in_openvino"),
    Support("openvino", "end2end", True, f"{_FORMATS_TEST}::test_heads_that_choose_rows"),
    Support(
        "openvino",
        "half",
        True,
        "yolo11n-scsa at 320 px, OpenVINO 2026.4.1: 2.4e-6 of the scale",
        date=_DAY,
    ),
    Support(
        "openvino",
        "int8",
        True,
        "yolo11n-scsa at 160 px with nncf 3.4.0: mean error 3.8e-6 of the scale",
        "needs nncf, which is in no extra: pip install nncf",
        _DAY,
    ),
    Support(
        "torchscript",
        "static",
        True,
        "tests/deploy/test_export_command.py::test_torchscript_passes",
    ),
    Support("torchscript", "half", False, reason="Ultralytics makes it on a GPU only; not run"),
    Support(
        "engine",
        "all",
        False,
        reason="not run: needs an NVIDIA GPU and TensorRT, whose libraries no registry holds",
    ),
    Support(
        "ncnn",
        "static",
        True,
        f"ncnn 1.0.20261020, pnnx 20260526: 7e-5 of the scale; {_WITH}",
        date=_DAY,
    ),
    Support("ncnn", "SA", False, reason=LIMITS["ncnn", "SA"]),
    Support(
        "litert",
        "static",
        True,
        f"litert-torch 0.10.0, ai-edge-litert 2.3.0: 3e-5 of the scale; {_WITH}",
        date=_DAY,
    ),
    Support(
        "coreml",
        "static",
        False,
        reason=(
            "coremltools 9.0 calls int() on arrays of one element, which NumPy 2.4.6 refuses; with"
            " NumPy 2.2 the model converts. Its files run on macOS only, so parity was not run"
        ),
        date=_DAY,
    ),
)


def support_table() -> str:
    """Return :data:`SUPPORT` as the Markdown table of docs/deploy.md."""
    rows = ["| format | option | works | proof, or why not |", "|---|---|---|---|"]
    for one in SUPPORT:
        proof = f"`{one.proof}`" if one.proof.startswith("tests/") else one.proof
        told = ". ".join(part for part in (proof, one.reason, one.date) if part)
        rows.append(
            f"| {FORMATS[one.format].title} | {one.option} | {'yes' if one.works else 'no'} |"
            f" {told} |"
        )
    return "\n".join(rows)
