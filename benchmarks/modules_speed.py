"""All eleven modules against the same written plainly: forward, a training step, and their ONNX
graphs.

    python benchmarks/modules_speed.py [--threads 2] [--modules EMA,CPCA] [--forward 100] [--steps
    20]

Interleaved, ratio of medians. Nodes are counted after onnxslim, with weights and running statistics
moved off their initial values, at which multiplications by 1 fold away. Writes
benchmarks/records/modules_speed.json when all modules are measured, and prints a table.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import io
import json
import os
import platform
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from attention_speed import SHAPES, full_size_kept, medians, step
from torch import nn

from scsa_yolo import create_attention
from scsa_yolo.blocks import fix_size, fold

HERE = Path(__file__).resolve().parent
ORACLES = HERE.parent / "tests" / "attention"
NAMES = ("SCSA", "SE", "ECA", "FCA", "CBAM", "CA", "SA", "EMA", "CPCA", "AFGCA", "ELA")
OPSET = 17


def oracles(name: str) -> ModuleType:
    """A file of plain forms, from the tests."""
    spec = importlib.util.spec_from_file_location(name, ORACLES / f"{name}.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{ORACLES / name}.py cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def twins(name: str, channels: int) -> tuple[nn.Module, nn.Module]:
    """The plain module and ours, with the same weights."""
    torch.manual_seed(0)
    ours = create_attention(name, channels)
    with torch.no_grad():
        for tensor in (
            *ours.parameters(),
            *(b for key, b in ours.named_buffers() if "running" in key),
        ):
            tensor.add_(torch.rand_like(tensor), alpha=0.1)
    if name != "SCSA":
        return oracles("plain_modules").Plain(copy.deepcopy(ours)), ours
    plain = oracles("plain_scsa").PlainSCSA(channels)
    plain.load_state_dict(ours.state_dict())
    return plain, ours


def onnx_graph(module: nn.Module, x: torch.Tensor) -> Any:
    """The simplified graph of a module."""
    import onnx
    import onnxslim

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter on its own deprecation
        torch.onnx.export(module, (x,), file, opset_version=OPSET, dynamo=False, input_names=["x"])
    return onnxslim.slim(onnx.load_from_string(file.getvalue()))


def runner(graph: Any, x: torch.Tensor, threads: int) -> Callable[[], list[Any]]:
    """A run of the graph by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = {"x": x.numpy()}
    return lambda: session.run(None, feed)


def compared(kind: str, before: float, after: float) -> dict[str, float]:
    """The milliseconds of both and their ratio, as a record has them."""
    return {f"{kind}_ms_plain": before, f"{kind}_ms": after, f"{kind}_speedup": before / after}


def measure(name: str, channels: int, side: int, args: argparse.Namespace) -> dict[str, Any]:
    """Both, checked equal and then timed, at one shape."""
    plain, ours = (module.eval() for module in twins(name, channels))
    x = torch.randn(1, channels, side, side)
    with torch.no_grad():
        expected = plain(x)
        torch.testing.assert_close(
            ours(x), expected, rtol=1e-5, atol=1e-5 * max(1.0, expected.abs().max().item())
        )
        forward = medians([lambda: plain(x), lambda: ours(x)], args.forward)
    exported = fix_size(fold(copy.deepcopy(ours)))  # as Ultralytics' export has it
    graphs = [onnx_graph(module, x) for module in (plain, exported)]
    runtime = medians([runner(graph, x, args.threads) for graph in graphs], args.forward)
    plain.train()
    ours.train()
    batch = torch.randn(8, channels, side, side, requires_grad=True)
    grad = torch.randn(batch.shape)
    training = medians([step(plain, batch, grad), step(ours, batch, grad)], args.steps)
    return {
        "module": name,
        "channels": channels,
        "side": side,
        **compared("forward", *forward),
        **compared("step", *training),
        **compared("onnxruntime", *runtime),
        "full_size_kept_plain": full_size_kept(plain, batch),
        "full_size_kept": full_size_kept(ours, batch),
        "nodes_plain": len(graphs[0].graph.node),
        "nodes": len(graphs[1].graph.node),
    }


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    times = "".join(
        f"{row[f'{kind}_ms']:>10.3f} {row[f'{kind}_speedup']:>6.2f}x"
        for kind in ("forward", "step", "onnxruntime")
    )
    kept = f"{row['full_size_kept_plain']} -> {row['full_size_kept']}"
    nodes = f"{row['nodes_plain']} -> {row['nodes']}"
    return f"{row['module']:<6}{row['channels']:>5}{row['side']:>5}{times}{kept:>12}{nodes:>12}"


def main() -> None:
    """Measure all modules at all shapes; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--modules", default=",".join(NAMES), help="names, with commas between them"
    )
    parser.add_argument(
        "--forward", type=int, default=100, help="rounds of forward passes (batch 1)"
    )
    parser.add_argument("--steps", type=int, default=20, help="rounds of training steps (batch 8)")
    parser.add_argument(
        "--write",
        action="store_true",
        help="write benchmarks/records/modules_speed.json (all modules)",
    )
    args = parser.parse_args()
    names = args.modules.split(",")
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        parser.error(f"unknown modules {', '.join(unknown)}. Known: {', '.join(NAMES)}")
    torch.set_num_threads(args.threads)
    print(
        "module, channels, side; ms and gain over plain: forward, step, ONNX Runtime; full-size"
        " kept; ONNX nodes"
    )
    rows = []
    for name in names:
        for channels, side in SHAPES:
            rows.append(measure(name, channels, side, args))
            print(line(rows[-1]), flush=True)
    if not args.write or set(names) != set(NAMES):
        return
    machine = platform.processor() or platform.machine()
    record = {
        "torch": torch.__version__,
        "threads": args.threads,
        "machine": machine,
        "load": os.getloadavg(),
    }
    path = HERE / "records" / "modules_speed.json"
    path.write_text(json.dumps({**record, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
