"""Detect with ONNX Runtime alone.

    pip install onnxruntime opencv-python numpy
    python onnxruntime_detect.py best.onnx street.jpg -o out.jpg

Neither torch, Ultralytics nor scsa_yolo is needed: the attention is part of the graph. ``boxes.py``
    lies beside this.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import boxes
import numpy as np
import onnxruntime


def load(path: Path) -> boxes.Detector:
    """Open an exported ONNX file, on a GPU where ONNX Runtime has one."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    known = onnxruntime.get_available_providers()
    providers = [
        name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in known
    ]
    try:
        session = onnxruntime.InferenceSession(str(path), providers=providers)
    except Exception as error:  # ONNX Runtime has a family of its own, some of it without names
        raise ValueError(f"{path}: ONNX Runtime cannot open this: {error}") from error
    entry = session.get_inputs()[0]
    stored = session.get_modelmeta().custom_metadata_map
    return boxes.Detector(
        infer=lambda x: session.run(None, {entry.name: x})[0],
        shape=tuple(side if isinstance(side, int) else None for side in entry.shape),
        metadata={name: value(text) for name, text in stored.items()},
        dtype=np.float16 if "float16" in entry.type else np.float32,
    )


def value(text: str) -> Any:
    """Turn a stored text into what it says: a number, a list, a dictionary, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


if __name__ == "__main__":
    sys.exit(boxes.command(load, "Detect with an exported ONNX file."))
