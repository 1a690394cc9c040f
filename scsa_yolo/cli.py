"""The ``scsa-yolo`` command: a thin face over the rooms of the package.

A command is one entry of :data:`COMMANDS`. Its two functions add its arguments and call a room;
what they import beyond the standard library they import inside, so that ``--help`` is there at
once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from scsa_yolo import __version__

if TYPE_CHECKING:
    from scsa_yolo.modelfiles.catalogue import Row

USAGE_ERROR = 2


@dataclass(frozen=True)
class Command:
    """A subcommand: one line of what it does, examples, its arguments, and what it runs (returning
    the exit code).
    """

    summary: str
    examples: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _doctor(args: argparse.Namespace) -> int:
    from scsa_yolo.commands import doctor

    found = []
    for check in doctor.checks():
        found.append(check)
        if not args.json:
            print(doctor.text(check), flush=True)
    print(doctor.as_json(found) if args.json else f"\n{doctor.verdict(found)}")
    return int(any(check.state == doctor.PROBLEM for check in found))


def _models_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "text",
        nargs="?",
        default="",
        help="list only names that contain this, such as yolo11 or -seg",
    )
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--scales",
        default="",
        metavar="nsmlx",
        help="list these sizes (default: each family's smallest)",
    )
    sizes.add_argument(
        "--all-scales", action="store_true", help="list every size; large ones take seconds each"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")


def _models(args: argparse.Namespace) -> int:
    _keep_stdout_for_results()
    from scsa_yolo.modelfiles import catalogue

    every = catalogue.entries()
    chosen = catalogue.select(every, args.text, None if args.all_scales else args.scales)
    rows = catalogue.rows(chosen)
    if args.json or args.csv:
        listed = list(_progress(rows, len(chosen)))
        print(
            json.dumps([asdict(row) for row in listed], indent=2)
            if args.json
            else catalogue.as_csv(listed)
        )
        return 0
    print(catalogue.HEADER, flush=True)
    for row in _progress(rows, len(chosen)):
        print(catalogue.line(row), flush=True)
    print(f"\n{catalogue.NOTE}")
    if len(chosen) < len(every) and not args.text:
        print(
            f"{len(every) - len(chosen)} more sizes: scsa-yolo models --all-scales, or a name:"
            " scsa-yolo models yolo11s"
        )
    for path in catalogue.training_settings():
        print(
            f"Training settings, no model: {path.name}: yolo train cfg={path.name}"
            " model=rtdetr-r18-scsa.yaml data=..."
        )
    return 0


def _progress(rows: Iterator[Row], total: int) -> Iterator[Row]:
    """Pass rows on, and say on a terminal which of how many is being counted."""
    show = sys.stderr.isatty()
    for number in range(1, total + 1):
        if show:
            print(f"\rcounting {number} of {total}", end="", file=sys.stderr, flush=True)
        row = next(rows)
        if show:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        yield row


def _graft_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        help="name or path of a model YAML; a scale letter in a stock name is kept: yolo11s.yaml",
    )
    parser.add_argument("attention", help="name of the attention module, such as SCSA or EMA")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="write this file (default: print)"
    )
    parser.add_argument(
        "--slot",
        default="mid",
        help="mid: before the unit's last convolution (default); out: after it",
    )
    parser.add_argument(
        "--units",
        default="residual",
        help="residual: branches of convolutions (default); ffn: the feed-forward branches of"
        " attention blocks, in C2PSA and A2C2f",
    )
    parser.add_argument(
        "--rows",
        metavar="2,4,6",
        help="layer numbers that get it (default: all with residual units)",
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="option of the attention, such as window=9; repeatable",
    )
    parser.add_argument(
        "--start",
        help="identity: start as the model without attention; paper: as published (default)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite FILE if it exists")


def _graft(args: argparse.Namespace) -> int:
    _keep_stdout_for_results()
    from scsa_yolo.modelfiles import graft_file

    if args.output is not None:
        graft_file.refuse_existing(args.output, force=args.force)
    options = graft_file.parse_options(args.option)
    if args.start not in (None, "paper"):
        options["start"] = args.start
    rows = None if args.rows is None else graft_file.parse_rows(args.rows)
    d, text = graft_file.grafted(
        args.model,
        args.attention,
        command=args.typed,
        slot=args.slot,
        rows=rows,
        units=args.units,
        options=options,
    )
    path = args.output or Path(graft_file.default_name(args.model, args.attention))
    graft_file.check_name(path, d)
    built = graft_file.check_builds(text, path.name)
    if args.output is None:
        print(text, end="", flush=True)
    else:
        graft_file.write(path, text, force=args.force)
    print(graft_file.summary(d, built, None if args.output is None else str(path)), file=sys.stderr)
    return 0


def _keep_stdout_for_results() -> None:
    """Import Ultralytics while stdout is stderr, where its logger then writes: ``graft ... >
    my.yaml`` stays YAML.
    """
    with contextlib.redirect_stdout(sys.stderr):
        import ultralytics.utils  # noqa: F401


# Commands whose rooms bring their own arguments: modules with add_arguments(parser) and run(args)
# -> exit code.
_DATA = {
    "convert": (
        "scsa_yolo.datasets.convert.command",
        "turn a native format into Ultralytics' layout",
    ),
    "check": ("scsa_yolo.datasets.check.command", "say what is wrong with a data set"),
    "show": ("scsa_yolo.datasets.show.command", "draw samples of a data set"),
}
_EVALUATE = "scsa_yolo.evaluation.command"
_BENCH = "scsa_yolo.benchmark.command"
_EXPORT = "scsa_yolo.deploy.command"
_STUDY = "scsa_yolo.study.command"


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    for name, (module, summary) in _DATA.items():
        import_module(module).add_arguments(actions.add_parser(name, help=summary))


def _data(args: argparse.Namespace) -> int:
    return import_module(_DATA[args.action][0]).run(args)


def _room(module: str, summary: str, examples: str) -> Command:
    """Return the command of a room that brings its own arguments."""

    def arguments(parser: argparse.ArgumentParser) -> None:
        import_module(module).add_arguments(parser)

    def run(args: argparse.Namespace) -> int:
        return import_module(module).run(args)

    return Command(summary, examples, arguments, run)


COMMANDS: dict[str, Command] = {
    "doctor": Command(
        "check the installation and say what to type for whatever is wrong",
        "scsa-yolo doctor",
        _doctor_arguments,
        _doctor,
    ),
    "models": Command(
        "list the packaged model YAMLs, what they cost, and where the attention sits",
        "scsa-yolo models yolo11\nscsa-yolo models --scales ns --csv > models.csv",
        _models_arguments,
        _models,
    ),
    "graft": Command(
        "put an attention module into the residual units of any model YAML",
        "scsa-yolo graft yolo11s-seg.yaml EMA -o yolo11s-seg-ema.yaml\nscsa-yolo graft yolov8n.yaml"
        " SCSA --rows 4,6,8 --option window=9 --option gate=softmax --start identity",
        _graft_arguments,
        _graft,
    ),
    "data": Command(
        "convert a data set from its native format, check one before training, or draw samples"
        " of it",
        "scsa-yolo data convert visdrone ~/VisDrone ~/datasets/VisDrone-scsa\n"
        "scsa-yolo data check scsa-demo.yaml\n"
        "scsa-yolo data show scsa-demo.yaml -o samples.png",
        _data_arguments,
        _data,
    ),
    "evaluate": _room(
        _EVALUATE,
        "measure a detector by object size, by condition, and by COCO's and VisDrone's rules",
        "scsa-yolo evaluate runs/detect/train/weights/best.pt scsa-demo.yaml",
    ),
    "bench": _room(
        _BENCH,
        "measure latency, throughput and memory of models in turns, against the first of them",
        "scsa-yolo bench yolov8n.yaml yolov8n-scsa.yaml yolov8n+EMA\n"
        "scsa-yolo bench best.pt best.onnx --imgsz 320 --csv bench.csv",
    ),
    "export": _room(
        _EXPORT,
        "export a model, and prove that the result is equal: raw outputs, boxes, mAP, latency",
        "scsa-yolo export best.pt format=onnx,openvino dynamic=True data=scsa-demo.yaml",
    ),
    "study": _room(
        _STUDY,
        "compare models on your data with paired seeds, and say what the numbers carry",
        "scsa-yolo study init plan.yaml\nscsa-yolo study run plan.yaml\nscsa-yolo study report"
        " runs/study/demo",
    ),
}


class _Parser(argparse.ArgumentParser):
    """Errors as everywhere here: one line, and what to type."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"scsa-yolo: {message}. Type: {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    top = _Parser(
        prog="scsa-yolo",
        description=(
            "SCSA and other attention modules for YOLO and RT-DETR, on unmodified Ultralytics."
        ),
        epilog=(
            "Training, validation and export are the stock yolo command: "
            "yolo train model=yolov8n-scsa.yaml data=scsa-demo.yaml imgsz=320 epochs=20"
        ),
    )
    top.add_argument("--version", action="version", version=f"scsa-yolo {__version__}")
    subparsers = top.add_subparsers(dest="command", metavar="command", required=True)
    for name, command in COMMANDS.items():
        sub = subparsers.add_parser(
            name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            epilog="examples:\n"
            + "\n".join(f"  {example}" for example in command.examples.splitlines()),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.arguments(sub)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``scsa-yolo`` and return its exit code: 0, 1 when a check failed, 2 for wrong input."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        args = parser().parse_args(arguments)
        args.typed = shlex.join(["scsa-yolo", *arguments])
        return COMMANDS[args.command].run(args)
    except SystemExit as stop:  # argparse, after --help, --version or an error that it has printed
        return int(stop.code or 0)
    except BrokenPipeError:  # the reader, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        return _fail(f"{error}. Type: scsa-yolo doctor", 1)
    except (ValueError, OSError) as error:
        return _fail(str(error), USAGE_ERROR)


def _fail(message: str, code: int) -> int:
    print(f"scsa-yolo: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
