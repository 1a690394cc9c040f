"""Detectors with an attention module against stock: latency of one picture, fused, in PyTorch.

    python benchmarks/detector_speed.py [--threads 2] [--attention SCSA] [--imgsz 640] [--rounds 60]

Interleaved, ratio of medians, with stock against itself as the noise floor. Writes
benchmarks/records/detector_speed.json and prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from pathlib import Path
from typing import Any

import torch
from timing import in_turns

from scsa_yolo.graft import graft

HERE = Path(__file__).resolve().parent
MODELS = ("yolov8n", "yolo11n", "yolov9t", "yolov10n")


def network(model: Any) -> torch.nn.Module:
    """The fused network of a model name or dictionary, for inference."""
    from ultralytics.nn.tasks import DetectionModel

    return DetectionModel(model, verbose=False).eval().fuse(verbose=False)


def grafted(name: str, attention: str) -> dict[str, Any]:
    """The dictionary of a stock model with attention in its units, at the scale of its name."""
    d = graft(f"{name}.yaml", attention)
    return {**d, "scale": next(iter(d["scales"]))} if d.get("scales") else d


def measure(name: str, attention: str, imgsz: int, rounds: int) -> dict[str, Any]:
    """Stock, stock again, and with attention."""
    stock, again, ours = network(f"{name}.yaml"), network(f"{name}.yaml"), network(grafted(name, attention))
    x = torch.rand(1, 3, imgsz, imgsz)
    with torch.no_grad():
        series = in_turns([lambda: stock(x), lambda: again(x), lambda: ours(x)], rounds)
    base, control, with_attention = (statistics.median(one) for one in series)
    return {
        "model": name,
        "attention": attention,
        "stock_ms": base,
        "attention_ms": with_attention,
        "ratio": with_attention / base,
        "stock_to_itself": control / base,
    }


def main() -> None:
    """Measure all models; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--attention", default="SCSA")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for name in MODELS:
        row = measure(name, args.attention, args.imgsz, args.rounds)
        rows.append(row)
        print(f"{name:<10}{row['ratio']:.3f}x stock (stock to itself {row['stock_to_itself']:.3f}x)", flush=True)
    record = {"torch": torch.__version__, **vars(args), "machine": platform.processor() or platform.machine()}
    path = HERE / "records" / "detector_speed.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**record, "load": os.getloadavg(), "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
