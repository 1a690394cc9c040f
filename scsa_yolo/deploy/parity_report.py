"""A proof for people and programs: a table on the screen, JSON beside the exported model."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from scsa_yolo.deploy.export import Exported
from scsa_yolo.deploy.parity import TOLERANCES
from scsa_yolo.deploy.proof import Proof
from scsa_yolo.support.files import write_json

__all__ = ["HEADER", "details", "line", "record", "report_path", "write"]

VERSION = 2  # of the JSON's layout; 2: map by name of the metric, unseen, more raw figures
PACKAGES = (
    "scsa-yolo",
    "ultralytics",
    "torch",
    "onnx",
    "onnxruntime",
    "onnxslim",
    "openvino",
    "nncf",
    "tensorrt",
    "ncnn",
    "ai-edge-litert",
)
_COLUMNS = (
    ("format", 12),
    ("types", 8),
    ("input", 13),
    ("raw max", 8),
    ("boxes", 8),
    ("shift px", 9),
    ("mAP50", 7),
    ("torch ms", 9),
    ("file ms", 8),
    ("MB", 6),
)  # with the verdict 100 letters
HEADER = "".join(
    f"{name:<{width}}" if i < 3 else f"{name:>{width}}" for i, (name, width) in enumerate(_COLUMNS)
)
HEADER += "  verdict"


def line(made: Exported, proof: Proof) -> str:
    """Return one line of the table under :data:`HEADER`."""
    raw, boxes, time = list(proof.raw.values()), proof.boxes, proof.latency
    shape = "x".join(map(str, made.shape)) + ("+" if made.dynamic else "")
    broken = any(part.problem for part in raw)
    change = (proof.map_change or {}).get("mAP50")
    cells = [
        made.format,
        made.precision,
        shape,
        _power(None if broken or not raw else max(part.max_rel for part in raw)),
        "-" if boxes is None else "none" if boxes.empty else f"{boxes.matched50}/{boxes.pytorch}",
        "-" if boxes is None or boxes.empty else f"{boxes.shift:.2f}",
        "-" if change is None else f"{change['change']:+.2f}",
        "-" if time is None else f"{time['pytorch_ms']:.1f}",
        "-" if time is None else f"{time['exported_ms']:.1f}",
        f"{size_of(made.path) / 1e6:.1f}",
    ]
    widths = [width for _, width in _COLUMNS]
    shown = [
        f"{cell:<{w}}" if i < 3 else f"{cell:>{w}}"
        for i, (cell, w) in enumerate(zip(cells, widths))
    ]
    return f"{''.join(shown)}  {proof.verdict}"


def details(made: Exported, proof: Proof) -> list[str]:
    """Return lines below the table: why a verdict is what it is, and what a reader should know."""
    why = [*proof.failed, *([proof.not_run] if proof.not_run else [])]
    why += [f"not proven: {text}" for text in proof.unseen]
    for name, values in (proof.map_change or {}).items():
        told = f"{values['pytorch']:.2f} in PyTorch, {values['exported']:.2f} exported"
        why.append(f"{name}: {told} ({values['change']:+.2f})")
    notes = [f"note: {text}" for text in (*proof.notes, *made.warnings)]
    return [f"{made.format}: {text}" for text in (*why, *notes)]


def report_path(made: Exported) -> Path:
    """Return where the JSON goes: beside the exported file or folder."""
    name = (
        made.path.name.removesuffix("_openvino_model")
        .removesuffix("_ncnn_model")
        .removesuffix(made.path.suffix if made.path.is_file() else "")
    )
    precision = "" if made.precision == "float32" else f"_{made.precision}"
    name = name.removesuffix("_int8") if made.precision == "int8" else name
    return made.path.with_name(f"{name}_{made.format}{precision}_parity.json")


def record(
    made: Exported, proof: Proof, *, model: str, images: list[str], data: str | None
) -> dict[str, Any]:
    """Return what the JSON holds. Shares are of 1, times in ms, mAP in percent."""
    boxes = None if proof.boxes is None else {**asdict(proof.boxes), "empty": proof.boxes.empty}
    return {
        "layout": VERSION,
        "model": {"name": Path(model).name, "sha256": digest(Path(model))},
        "exported": {
            "name": made.path.name,
            "sha256": digest(made.path),
            "bytes": size_of(made.path),
        },
        "format": made.format,
        "precision": made.precision,
        "dynamic": made.dynamic,
        "graph": made.graph,
        "nms": made.nms,
        "head": made.head,
        "task": made.task,
        "shape": list(made.shape),
        "settings": {key: _plain(value) for key, value in made.settings.items()},
        "export_seconds": round(made.seconds, 2),
        "runtime": proof.runtime,
        "images": [Path(image).name for image in images],
        "data": data,
        "tolerance": asdict(TOLERANCES[made.precision]),
        "boxes_held_to": proof.judged,
        "raw": [{"shape": list(shape), **asdict(part)} for shape, part in proof.raw.items()],
        "boxes": boxes,
        "map": proof.map_change,
        "latency": proof.latency,
        "verdict": proof.verdict,
        "failed": proof.failed,
        "unseen": proof.unseen,
        "not_run": proof.not_run,
        "notes": [*proof.notes, *made.warnings],
        "versions": _versions(),
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
        },
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write the JSON; an earlier one is there until the new one is whole."""
    write_json(path, content, indent=2)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, list)) else str(value)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in _files(path))


def digest(path: Path) -> str | None:
    """Return the SHA-256 of a file, of a folder's files in sorted order, or None where there is
    none.
    """
    if not path.exists():
        return None
    total = hashlib.sha256()
    for file in _files(path):
        total.update(file.read_bytes())
    return total.hexdigest()


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _power(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
