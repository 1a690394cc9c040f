"""``scsa-yolo data convert``: arguments here, the work in ``conversion``. Importing this costs
nothing.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scsa_yolo.datasets.convert.report import Report

NAMES = ("visdrone", "exdark", "flir", "voc", "coco")
OK, PROBLEMS, USAGE, INTERRUPTED = 0, 1, 2, 130

_EPILOG = """\
examples:
  scsa-yolo data convert visdrone ~/VisDrone ~/datasets/VisDrone-scsa
  scsa-yolo data convert flir FLIR_ADAS_v2.zip ~/datasets/FLIR-ADAS-v2-rgb --spectrum rgb
  scsa-yolo data convert voc ~/HIT-UAV ~/datasets/HIT-UAV --pixels edges --ignore DontCare

exit status: 0 converted; 1 stopped by --strict or a full disk, or converted with a loss that the
last line names; 2 the request cannot be carried out; 130 interrupted. Where it was stopped, the
same command goes on."""


def add_data_convert(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``convert`` to the subparsers of ``scsa-yolo data``; ``args.run(args)`` carries it
    out.
    """
    help_ = "turn a data set's native format into Ultralytics' layout"
    parser: argparse.ArgumentParser = subparsers.add_parser("convert", help=help_)
    add_arguments(parser)
    parser.set_defaults(run=run)
    return parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``scsa-yolo data convert``."""
    parser.description = (
        "Turn a data set as its owners publish it into one that `yolo train` takes. SOURCE is only"
        " read."
    )
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("name", metavar="NAME", choices=NAMES, help=", ".join(NAMES))
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="the unpacked data set, an archive, or a folder of archives",
    )
    parser.add_argument("dest", metavar="DEST", help="folder to make; it appears when it is whole")
    add = parser.add_argument
    add(
        "--images",
        choices=("link", "copy", "hardlink"),
        default="link",
        help="default: link (symbolic)",
    )
    add(
        "--paint-ignored",
        action="store_true",
        help="paint ignored regions grey, in copies of their images",
    )
    add(
        "--strict",
        action="store_true",
        help="stop at the first thing that cannot be read, or that is a guess",
    )
    add(
        "--max-loss",
        type=float,
        default=0.25,
        metavar="S",
        help="share of pictures or rows that errors may cost before the exit status is 1;"
        " default: 0.25",
    )
    add("--force", action="store_true", help="replace a finished conversion in DEST")
    add("--workers", type=int, metavar="N", help="threads that read and copy")
    add(
        "--show",
        type=int,
        default=5,
        metavar="N",
        help="findings of each sort on the screen; default: 5",
    )
    add(
        "--classes",
        type=_names,
        default=(),
        metavar="A,B",
        help="voc, coco, flir: the classes, in this order",
    )
    add(
        "--ignore",
        type=_names,
        default=(),
        metavar="A,B",
        help="voc, coco: classes that are no ground truth",
    )
    add(
        "--difficult",
        choices=("ignore", "keep"),
        default="ignore",
        help="voc: difficult objects; default: ignore",
    )
    pixels = (
        "voc: (1, 1) is the first pixel and the last belongs to the box, or plain 0-based edges"
    )
    add(
        "--pixels",
        choices=("inclusive", "edges"),
        default="inclusive",
        help=f"{pixels}; default: inclusive",
    )
    add(
        "--val-share",
        type=float,
        default=None,
        metavar="S",
        help="voc, coco: share drawn as val by the pictures' content, where the source has no val;"
        " default: 0.2 for voc without lists, else none",
    )
    add("--seed", type=int, default=0, help="seed of that draw; default: 0")
    add(
        "--sizes",
        choices=("auto", "stated", "file"),
        default="auto",
        help="voc, coco, flir: which size the boxes lie in where the stated one is not the"
        " picture's; default: auto (the one that holds the boxes)",
    )
    add("--spectrum", choices=("thermal", "rgb"), default="thermal", help="flir: default: thermal")
    add(
        "--annotations",
        type=_names,
        default=(),
        metavar="A,B",
        help="coco: JSON files to read, by name or path",
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def run(args: argparse.Namespace) -> int:
    """Convert, print the report, and return the exit status."""
    from dataclasses import fields

    from scsa_yolo.datasets.convert.conversion import Stopped, Unbalanced, convert_dataset
    from scsa_yolo.datasets.convert.writer import WriteError
    from scsa_yolo.datasets.native.options import Options
    from scsa_yolo.datasets.native.records import UsageError

    try:
        if args.workers is not None and args.workers < 1:
            raise UsageError(f"--workers must be at least 1, got {args.workers}")
        if not 0 <= args.max_loss <= 1:
            raise UsageError(f"--max-loss must lie between 0 and 1, got {args.max_loss}")
        report = convert_dataset(
            args.name,
            args.source,
            args.dest,
            Options(**{field.name: getattr(args, field.name) for field in fields(Options)}),
            strict=args.strict,
            force=args.force,
            workers=args.workers,
            keep=max(args.show, 0),
            progress=sys.stderr.isatty(),
            say=print,
        )
    except UsageError as error:
        print(f"scsa-yolo data convert: {error}", file=sys.stderr)
        return USAGE
    except (Stopped, Unbalanced, WriteError) as error:
        print(f"scsa-yolo data convert: {error}", file=sys.stderr)
        return PROBLEMS
    except KeyboardInterrupt:
        print(
            "scsa-yolo data convert: interrupted; the same command goes on where this one stopped",
            file=sys.stderr,
        )
        return INTERRUPTED
    print(report.text(args.dest))
    return _end(report, args)


def _end(report: Report, args: argparse.Namespace) -> int:
    """Say what to do next."""
    from pathlib import Path

    from scsa_yolo.datasets.convert.splits import yaml_in

    dest = Path(args.dest).expanduser()
    data = f"{args.dest.rstrip('/')}/{yaml_in(dest)}"
    problems = list(report.problems(args.max_loss))
    if problems:
        print(
            f"scsa-yolo data convert: {'; '.join(problems)}. {data} is there, but see above before"
            " you use it",
            file=sys.stderr,
        )
        return PROBLEMS
    if report.has_train:
        print(f"\ntrain on it: yolo train model=yolov8n-scsa.yaml data={data}")
    else:
        print(f"\nnothing to train on; evaluate on it: scsa-yolo evaluate MODEL data={data}")
    return OK
