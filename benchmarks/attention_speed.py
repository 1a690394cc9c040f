"""SCSA against the same written plainly: forward, a training step, and what is kept for backward.

    python benchmarks/attention_speed.py [--threads 2]

Interleaved, ratio of medians; plain runs twice, against itself as the noise. "In a unit" is SCSA as
``model.fuse()`` leaves it in a detector's unit: constants folded, and the result written into the
unit's own map. The moved bytes' share is the time that the full-size passes would take at the speed
of a copy of the map, measured in the same turns, of the time in a unit. Writes
benchmarks/records/attention_speed.json and prints a table.
"""

from __future__ import annotations

import argparse
import copy
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
from scsa_yolo.paired.turns import in_turns

HERE = Path(__file__).resolve().parent
ORACLE = HERE.parent / "tests" / "attention" / "plain_scsa.py"
PASSES = (
    9  # reads and writes of the map: two means (1 each), three products (2 each), one pooling (1)
)
SHAPES = (
    (16, 160),
    (32, 80),
    (64, 40),
    (128, 20),
)  # channels and side of the map: YOLOv8-N's, at 640 pixels


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


def check(plain: nn.Module, fast: SCSA, x: torch.Tensor) -> None:
    """Compare before anything is timed."""
    fast.load_state_dict(plain.state_dict())
    folded = copy.deepcopy(fast).eval()
    folded.fold(overwrite=True)
    with torch.no_grad():
        for module in (fast, folded):
            torch.testing.assert_close(module(x.clone()), plain(x), rtol=1e-5, atol=1e-5)


def open_gates(module: nn.Module) -> None:
    """Make every gate 1: a map that is overwritten again and again would end in denormal numbers,
    which are slow.
    """
    for norm in (module.norm_h, module.norm_w, module.norm):
        nn.init.constant_(norm.weight, 0.0)
        nn.init.constant_(norm.bias, 30.0)
    nn.init.constant_(module.v.weight, 1.0)


def measure(plain_class: type[nn.Module], channels: int, side: int) -> dict[str, float]:
    """Both, checked equal and then timed, at one shape."""
    plain, fast = plain_class(channels), SCSA(channels)
    check(plain, fast, torch.randn(1, channels, side, side))
    x, there = torch.randn(1, channels, side, side), torch.empty(1, channels, side, side)
    with torch.no_grad():
        open_gates(plain)
        fast.eval().load_state_dict(plain.state_dict())
        unit, folded = x.clone(), copy.deepcopy(fast)
        folded.fold(overwrite=True)
        calls = [
            lambda: plain(x),
            lambda: plain(x),
            lambda: fast(x),
            lambda: folded(unit),
            lambda: there.copy_(x),
        ]
        forward = medians(calls, 300)
    batch = torch.randn(8, channels, side, side, requires_grad=True)
    grad = torch.randn(batch.shape)
    fast.train()  # undoes nothing here: what was folded is a copy
    training = medians(
        [step(plain, batch, grad), step(plain, batch, grad), step(fast, batch, grad)], 60
    )
    return {
        "channels": channels,
        "side": side,
        "forward_ms_plain": forward[0],
        "forward_noise": forward[1] / forward[0],
        "forward_speedup": forward[0] / forward[2],
        "forward_speedup_in_unit": forward[0] / forward[3],
        "forward_floor_share": PASSES / 2 * forward[4] / forward[3],  # a copy reads and writes
        "step_ms_plain": training[0],
        "step_noise": training[1] / training[0],
        "step_speedup": training[0] / training[2],
        "full_size_kept_plain": full_size_kept(plain, batch),
        "full_size_kept": full_size_kept(fast, batch),
    }


def line(row: dict[str, float]) -> str:
    """A row of the table."""
    return (
        f"| {row['channels']}, {row['side']} x {row['side']} | {row['forward_speedup']:.2f} |"
        f" {row['forward_speedup_in_unit']:.2f} | {row['forward_noise']:.2f} |"
        f" {row['forward_floor_share']:.0%} | {row['step_speedup']:.2f} | {row['step_noise']:.2f} |"
        f" {row['full_size_kept_plain']} -> {row['full_size_kept']} |"
    )


def main() -> None:
    """Measure all shapes; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--write", action="store_true", help="write benchmarks/records/attention_speed.json"
    )
    args = parser.parse_args()
    threads = args.threads
    torch.set_num_threads(threads)
    plain, rows = plain_scsa(), []
    print(
        "| channels, map | forward | in a unit | noise | moved bytes' share | step | noise | kept |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for channels, side in SHAPES:
        row = measure(plain, channels, side)
        rows.append(row)
        print(line(row), flush=True)
    if not args.write:
        return
    record = {
        "torch": torch.__version__,
        "threads": threads,
        "machine": platform.processor() or platform.machine(),
    }
    path = HERE / "records" / "attention_speed.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        json.dumps({**record, "load": os.getloadavg(), "rows": rows}, indent=1) + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
