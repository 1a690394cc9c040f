"""Formats as data: what makes and runs each, and what was found to work with our modules, or why it does not."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FORMATS", "SUPPORT", "Format", "Support"]

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
    "engine": Format("TensorRT", ("onnx", "tensorrt"), "pip install tensorrt onnx onnxslim, with an NVIDIA GPU"),
    "ncnn": Format("NCNN", ("ncnn", "pnnx"), "pip install ncnn pnnx"),
    "coreml": Format("CoreML", ("coremltools",), "pip install coremltools", here="CoreML runs on macOS only"),
    "litert": Format("LiteRT", ("litert_torch", "ai_edge_litert"), "pip install litert-torch ai-edge-litert"),
}


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


SUPPORT: tuple[Support, ...] = ()
