"""``scsa-yolo bench``: its arguments, and what it prints and writes."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scsa_yolo.benchmark.presets import PRESETS, preset
from scsa_yolo.support.arguments import (
    STDOUT,
    add_force,
    add_json,
    add_quiet,
    give_json,
    operands_anywhere,
    stdout_for_json,
)

if TYPE_CHECKING:
    from scsa_yolo.benchmark.calls import Settings

__all__ = ["add_arguments", "run"]

INTERRUPTED = 130
EVERY = 10.0  # seconds between lines of progress where there is no terminal

_MODELS = """the first is the reference of all ratios. A model is one of: a model YAML, stock, packaged or any path
(yolov8n, yolo11s-scsa.yaml); the same with attention in its residual units, options after colons (yolov8n+EMA,
yolov8n+SCSA:slot=out:window=9); a torchvision classifier, with attention or not (resnet50+SCSA); a checkpoint
(best.pt); an exported file (best.onnx, best_openvino_model, best.torchscript, best.engine)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``scsa-yolo bench``."""
    parser.description = (
        "Measure latency and throughput of models that take turns in one run, with the first\n"
        "against itself as noise. A .pt file is a pickle: opening it runs what its maker put\n"
        "in. Open those of people you trust, or set ULTRALYTICS_SAFE_LOAD=1."
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help=_MODELS)
    listed = "; ".join(f"{name}: {one.summary}" for name, one in PRESETS.items())
    parser.add_argument("--preset", metavar="NAME", help=f"instead of models. {listed}")
    parser.add_argument(
        "--attention", metavar="NAMES", help="with --preset: these modules, such as SCSA,EMA"
    )
    parser.add_argument(
        "--formats",
        metavar="NAMES",
        help="pytorch,onnx,openvino,torchscript,engine (default: pytorch)",
    )
    _add_conditions(parser)
    _add_timing(parser)
    for kind, what in (("csv", "the table"), ("plot", "the latencies as a picture, .png")):
        parser.add_argument(f"--{kind}", metavar="FILE", type=Path, help=f"write {what}")
    add_json(parser, "everything, each single time included,")
    add_quiet(parser)
    add_force(parser)
    operands_anywhere(parser, "models")


def _add_conditions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=int, metavar="N", help="pictures a call (default: 1)")
    parser.add_argument(
        "--imgsz", type=int, metavar="PX", help="side of the pictures (default: 640)"
    )
    parser.add_argument(
        "--device", help="cpu, a GPU's number such as 0, mps (default: a GPU if there is one)"
    )
    precision = parser.add_mutually_exclusive_group()
    precision.add_argument(
        "--precision", metavar="NAME", help="fp32 (default), fp16, bf16, amp; for pytorch alone"
    )
    precision.add_argument(
        "--half", action="store_const", const="fp16", dest="precision", help="--precision fp16"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's)")
    parser.add_argument(
        "--compile", action="store_const", const=True, help="run networks through torch.compile"
    )
    parser.add_argument(
        "--channels-last", action="store_const", const=True, help="use that memory format"
    )
    parser.add_argument(
        "--no-fuse",
        action="store_const",
        const=False,
        dest="fuse",
        help="keep batch norms and attention as trained",
    )


def _add_timing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="each model is timed once a round (default: 60)"
    )
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="stop then, though rounds are left"
    )
    parser.add_argument(
        "--warm-up", type=int, metavar="N", help="rounds before the timed ones (default: 3)"
    )
    parser.add_argument(
        "--against",
        metavar="WHICH",
        help="ratios to the first model (first, default) or to it in the same format (format)",
    )
    parser.add_argument(
        "--noise-limit",
        type=float,
        metavar="SHARE",
        help="claim nothing when the first model differs from itself by more (default: 0.03)",
    )
    parser.add_argument(
        "--no-memory",
        action="store_const",
        const=False,
        dest="memory",
        help="skip the peak memory (a process a model)",
    )


def run(args: argparse.Namespace) -> int:
    """Run ``scsa-yolo bench``; returns 0, or 130 when it was interrupted, what was measured until
    then printed and written.

    Raises:
        ValueError: A model, preset, format or setting is wrong.
        OSError: A file cannot be read or written.
    """
    groups, defaults = _groups(args)
    _check_files(args)
    with contextlib.redirect_stdout(sys.stderr):  # where Ultralytics' logger then writes
        import ultralytics.utils  # noqa: F401
    from scsa_yolo.benchmark.measuring import bench
    from scsa_yolo.benchmark.output import table, write_csv, write_json, write_plot

    with stdout_for_json(args.json), _progress(quiet=args.quiet) as say:
        result = bench(groups, _settings(args, defaults), say=say)
    if args.json == STDOUT:
        give_json(args.json, result.to_dict())
    else:
        print(table(result), flush=True)
    writers: dict[str, Callable[[Any, Path], object]] = {
        "csv": write_csv,
        "json": write_json,
        "plot": write_plot,
    }
    for kind, write in writers.items():
        path = getattr(args, kind)
        if path is not None and path != STDOUT:
            write(result, path)
            print(f"wrote {path}", file=sys.stderr)
    return INTERRUPTED if result.environment.get("interrupted") else 0


def _groups(args: argparse.Namespace) -> tuple[list[list[str]], dict[str, Any]]:
    """Return the models in groups, and the defaults that a preset changes."""
    if args.preset is None:
        if args.attention is not None:
            raise ValueError(
                "--attention belongs to --preset. Without one, type the models: yolov8n"
                " yolov8n+SCSA"
            )
        if not args.models:
            raise ValueError(
                f"name models, such as yolov8n yolov8n+SCSA, or --preset {' or '.join(PRESETS)}"
            )
        return [args.models], {}
    if args.models:
        raise ValueError(
            f"--preset {args.preset} brings its models: leave out {', '.join(args.models)}"
        )
    chosen = preset(args.preset)
    return chosen.groups(_names(args.attention or "")), chosen.settings


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _settings(args: argparse.Namespace, defaults: dict[str, Any]) -> Settings:
    from dataclasses import fields

    from scsa_yolo.benchmark.calls import Settings

    typed = {field.name: getattr(args, field.name) for field in fields(Settings)}
    typed["formats"] = None if args.formats is None else tuple(_names(args.formats.lower()))
    return Settings(
        **{**defaults, **{name: value for name, value in typed.items() if value is not None}}
    )


def _check_files(args: argparse.Namespace) -> None:
    """Refuse files that could not be written, before minutes of work."""
    paths = [path for path in (args.csv, args.json, args.plot) if path not in (None, STDOUT)]
    if not paths:
        return
    from scsa_yolo.modelfiles.graft_file import refuse_existing

    if len(set(paths)) < len(paths):
        raise ValueError(
            f"two of --csv, --json and --plot name one file: {', '.join(map(str, paths))}"
        )
    for path in paths:
        refuse_existing(path, force=args.force)
    if args.plot is not None:
        from scsa_yolo.benchmark.output import check_plot

        check_plot(args.plot)


@contextlib.contextmanager
def _progress(*, quiet: bool) -> Any:
    """Yield what shows one line of progress on a terminal, and clears it in the end; elsewhere a
    line at each step, of the rounds one every ten seconds.
    """
    if quiet:
        yield lambda text: None
        return
    if not sys.stderr.isatty():
        yield _every(EVERY, time.monotonic)
        return

    def rewrite(text: str) -> None:
        end = "" if text.startswith(("round ", "preparing ", "peak ")) else "\n"
        print(f"\r\x1b[K{text}", end=end, file=sys.stderr, flush=True)

    try:
        yield rewrite
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _every(seconds: float, clock: Callable[[], float]) -> Callable[[str], None]:
    """Return what prints lines, those of rounds no more often than ``seconds`` allow."""
    last = -seconds

    def say(text: str) -> None:
        nonlocal last
        if text.startswith("round "):
            if clock() - last < seconds:
                return
            last = clock()
        print(text, file=sys.stderr, flush=True)

    return say
