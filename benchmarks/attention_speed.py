"""SCSA against the same written plainly: forward, a training step, and what is kept for backward.

    python benchmarks/attention_speed.py [--threads 2]

Interleaved, ratio of medians. Writes benchmarks/records/attention_speed.json and prints a table.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from scsa_yolo import SCSA
from scsa_yolo.deploy.latency import in_turns

HERE = Path(__file__).resolve().parent
ORACLE = HERE.parent / "tests" / "attention" / "plain_scsa.py"
SHAPES = ((16, 160), (32, 80), (64, 40), (128, 20))  # channels and side of the map: YOLOv8-N's, at 640 pixels


def plain_scsa() -> type[nn.Module]:
    """The oracle of the tests."""
    spec = importlib.util.spec_from_file_location("plain_scsa", ORACLE)
    if spec is None or spec.loader is None:
        raise ImportError(f"{ORACLE} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PlainSCSA


def medians(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """Median milliseconds of each call, taken in turns."""
    return [statistics.median(series) for series in in_turns(calls, rounds)]


def step(module: nn.Module, x: torch.Tensor, grad: torch.Tensor) -> Callable[[], None]:
    """A forward and backward pass."""

    def run() -> None:
        x.grad = None
        module(x).backward(grad)

    return run


def full_size_kept(module: nn.Module, x: torch.Tensor) -> int:
    """Tensors of the map's size that autograd keeps, besides the input."""
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        module(x)
    return len({t.data_ptr() for t in kept if t.numel() >= x.numel()} - {x.data_ptr()})


def measure(plain_class: type[nn.Module], channels: int, side: int) -> dict[str, float]:
    """Both, checked equal and then timed, at one shape."""
    plain, fast = plain_class(channels), SCSA(channels)
    fast.load_state_dict(plain.state_dict())
    x = torch.randn(1, channels, side, side)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x), rtol=1e-5, atol=1e-5)
        forward = medians([lambda: plain(x), lambda: fast(x)], 200)
    batch = torch.randn(8, channels, side, side, requires_grad=True)
    grad = torch.randn(batch.shape)
    training = medians([step(plain, batch, grad), step(fast, batch, grad)], 40)
    return {
        "channels": channels,
        "side": side,
        "forward_ms_plain": forward[0],
        "forward_ms": forward[1],
        "forward_speedup": forward[0] / forward[1],
        "step_ms_plain": training[0],
        "step_ms": training[1],
        "step_speedup": training[0] / training[1],
        "full_size_kept_plain": full_size_kept(plain, batch),
        "full_size_kept": full_size_kept(fast, batch),
    }


def main() -> None:
    """Measure all shapes; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    plain, rows = plain_scsa(), []
    print("channels, side: forward (batch 1), step (batch 8), full-size tensors kept besides the input")
    for channels, side in SHAPES:
        row = measure(plain, channels, side)
        rows.append(row)
        kept = f"{row['full_size_kept_plain']} -> {row['full_size_kept']}"
        print(
            f"{channels:>4}, {side:>3}: {row['forward_speedup']:.2f}x, {row['step_speedup']:.2f}x, {kept}", flush=True
        )
    record = {"torch": torch.__version__, "threads": threads, "machine": platform.processor() or platform.machine()}
    path = HERE / "records" / "attention_speed.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**record, "load": os.getloadavg(), "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
