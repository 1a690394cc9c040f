"""This checkout against an earlier commit: attention, conversion and import, timed in turns.

    python benchmarks/against.py 490c06a [--what attention,convert,import] [--rounds 30]

Three contestants take turns in every round: the earlier commit, this checkout, and this checkout
again. Each is a process of its own, and one runs at a time. The table gives the ratio of medians of
this checkout to the earlier commit with its 95 % interval over paired rounds, and beside it the
ratio of this checkout to itself, which is noise by construction.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import convert

from scsa_yolo.paired import turns

ROOT = Path(__file__).resolve().parents[1]
MODULES = ("SCSA", "CA", "ELA", "EMA", "CBAM")
SHAPES = ((16, 160), (64, 40), (128, 20))  # channels and side of the map
KINDS = ("forward", "folded", "step")

# A worker reads a line, does what it names, and answers with milliseconds.
ATTENTION = """
import copy, json, sys, time
import torch
from scsa_yolo.attention import create_attention
torch.set_num_threads(int(sys.argv[1]))
cases = {}
for name, channels, side, kind in json.loads(sys.argv[2]):
    torch.manual_seed(0)
    module = create_attention(name, channels)
    with torch.no_grad():  # gates near 1: an overwritten map would end in slow denormal numbers
        for key, parameter in module.named_parameters():
            if "norm" in key and parameter.dim() == 1:
                parameter.fill_(0.0 if key.endswith("weight") else 30.0)
    if kind == "step":
        x = torch.randn(4, channels, side, side, requires_grad=True)
        grad = torch.randn_like(x)
        def run(module=module.train(), x=x, grad=grad):
            x.grad = None
            module(x).backward(grad)
    else:
        x = torch.randn(1, channels, side, side)
        module.eval()
        if kind == "folded":
            module.fold()
        def run(module=module, x=x):
            with torch.no_grad():
                module(x)
    cases[f"{name} {channels} {side} {kind}"] = run
for line in sys.stdin:
    run = cases[line.strip()]
    run()
    calls, start = 0, time.perf_counter()
    while calls < 5 or time.perf_counter() - start < 0.02:
        run()
        calls += 1
    print((time.perf_counter() - start) / calls * 1e3, flush=True)
"""
CONVERT = """
import os, sys, tempfile, time
from scsa_yolo.datasets import convert_dataset
name, source = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    begin = time.process_time()
    convert_dataset(name, source, folder + "/set", workers=1)
    print((time.process_time() - begin) * 1e3)
"""
IMPORT = """
import time
begin = time.perf_counter()
import scsa_yolo
print((time.perf_counter() - begin) * 1e3)
"""


@dataclass(frozen=True)
class Row:
    """One measurement: ratios of medians with their 95 % intervals; above 1 is slower."""

    what: str
    before_ms: float
    ratio: turns.Ratio
    itself: turns.Ratio

    def __str__(self) -> str:
        return (
            f"| {self.what} | {self.before_ms:.3g} | {_text(self.ratio)} | {_text(self.itself)} |"
        )


def _text(ratio: turns.Ratio) -> str:
    return f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"


def unpack(revision: str, folder: Path) -> Path:
    """Put the files of a commit into a folder, as git stores them."""
    command = ["git", "-C", str(ROOT), "archive", revision]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    for name in ("models", "data", "plans"):  # where a wheel has them
        (folder / "scsa_yolo" / name).symlink_to(folder / name)
    return folder


def environment(root: Path) -> dict[str, str]:
    """Return the environment in which ``import scsa_yolo`` finds the package below ``root``."""
    return {**os.environ, "PYTHONPATH": str(root), "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}


@contextlib.contextmanager
def worker(root: Path, code: str, *words: str) -> Iterator[Callable[[str], float]]:
    """Start a worker; give the function that asks it for a measurement."""
    command = [sys.executable, "-c", code, *words]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(root), text=True, cwd=root, **pipes) as process:

        def ask(case: str) -> float:
            print(case, file=process.stdin, flush=True)
            return float(process.stdout.readline())

        yield ask
        process.stdin.close()


def once(root: Path, code: str, *words: str) -> float:
    """Run a fresh process and return what it measured."""
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(
        command, env=environment(root), cwd=root, check=True, capture_output=True, text=True
    )
    return float(done.stdout.split()[-1])


def compare(what: str, calls: list[Callable[[], float]], rounds: int) -> Row:
    """Let the calls take turns: the earlier commit, this checkout, this checkout again."""
    series: list[list[float]] = [[] for _ in calls]
    for number in range(rounds):
        for shift in range(len(calls)):
            index = (number + shift) % len(calls)
            series[index].append(calls[index]())
    before, now, again = series
    ratio, itself = turns.ratio(now, before), turns.ratio(again, now)
    row = Row(what, turns.median(before), ratio, itself)
    print(row, flush=True)
    return row


def attention(roots: list[Path], rounds: int, threads: int) -> list[Row]:
    """Forward and step of some modules at a detector's shapes."""
    cases = [(name, *shape, kind) for name in MODULES for shape in SHAPES for kind in KINDS]
    rows = []
    with contextlib.ExitStack() as stack:
        words = (str(threads), json.dumps(cases))
        workers = [stack.enter_context(worker(root, ATTENTION, *words)) for root in roots]
        for case in cases:
            name = " ".join(map(str, case))
            calls = [lambda ask=ask, name=name: ask(name) for ask in workers]
            rows.append(compare(name, calls, rounds))
    return rows


def conversion(roots: list[Path], rounds: int, share: float, folder: Path) -> list[Row]:
    """CPU time of converting sets as large as the real ones, times ``share``."""
    makers = {"visdrone": convert.make_visdrone, "exdark": convert.make_exdark}
    rows = []
    for name, make in makers.items():
        source = folder / name
        source.mkdir()
        make(source, share)
        words = (name, str(source))
        calls = [lambda root=root, words=words: once(root, CONVERT, *words) for root in roots]
        rows.append(compare(f"convert {name}, share {share}", calls, rounds))
    return rows


def imports(roots: list[Path], rounds: int) -> list[Row]:
    """Importing the package in a fresh interpreter: what every ``import torch`` pays."""
    calls = [lambda root=root: once(root, IMPORT) for root in roots]
    return [compare("import scsa_yolo", calls, rounds)]


def main() -> None:
    """Measure what was asked for; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision", help="the earlier commit")
    parser.add_argument("--what", default="attention,convert,import", help="parts, by commas")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--share", type=float, default=0.25, help="of the real sets' files")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the record there")
    args = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="scsa-against-") as name:
        before = Path(name) / "before"
        before.mkdir()
        roots = [unpack(args.revision, before), ROOT, ROOT]
        print(f"| what | {args.revision}, ms | now / {args.revision} | now / now |")
        print("|---|--:|--:|--:|")
        if "attention" in args.what:
            rows += attention(roots, args.rounds, args.threads)
        if "convert" in args.what:
            rows += conversion(roots, max(5, args.rounds // 3), args.share, Path(name))
        if "import" in args.what:
            rows += imports(roots, args.rounds * 3)
    record = {
        "before": args.revision,
        "rounds": args.rounds,
        "threads": args.threads,
        "machine": platform.platform(),
        "load": os.getloadavg(),
        "rows": [asdict(row) for row in rows],
    }
    if args.json:
        args.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
