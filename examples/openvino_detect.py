"""Detect with OpenVINO alone.

    pip install openvino opencv-python numpy pyyaml
    python openvino_detect.py best_openvino_model street.jpg -o out.jpg

Neither torch, Ultralytics nor scsa_yolo is needed: the attention is part of the graph. ``boxes.py``
    lies beside this.
"""

from __future__ import annotations

import sys
from pathlib import Path

import boxes
import openvino
import yaml


def load(path: Path, device: str = "CPU") -> boxes.Detector:
    """Open the folder that an export wrote; devices are OpenVINO's: CPU, GPU, NPU."""
    files = sorted(path.glob("*.xml"))
    if not files or not (path / "metadata.yaml").is_file():
        raise FileNotFoundError(
            f"{path}: not a folder of an OpenVINO export: it lacks an .xml or metadata.yaml"
        )
    core = openvino.Core()
    try:
        graph = core.read_model(files[0])
        compiled = core.compile_model(graph, device, {"PERFORMANCE_HINT": "LATENCY"})
    except RuntimeError as error:
        raise ValueError(f"{path}: OpenVINO cannot open this: {error}") from error
    return boxes.Detector(
        infer=lambda x: compiled(x)[0],
        shape=tuple(
            side.get_length() if side.is_static else None for side in graph.input().partial_shape
        ),
        metadata=yaml.safe_load((path / "metadata.yaml").read_text(encoding="utf-8")),
    )


if __name__ == "__main__":
    sys.exit(boxes.command(load, "Detect with the folder of an OpenVINO export."))
