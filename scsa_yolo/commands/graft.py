"""``scsa-yolo graft``: its arguments, and what it prints and writes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scsa_yolo.support.arguments import ultralytics_on_stderr

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``scsa-yolo graft``."""
    parser.add_argument(
        "model",
        help=(
            "name or path of a model YAML, .yaml may be left out; a scale letter in a stock name is"
            " kept: yolo11s.yaml"
        ),
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


def run(args: argparse.Namespace) -> int:
    """Run ``scsa-yolo graft``; returns 0.

    Raises:
        ValueError: Model, attention, slot, rows or an option is wrong, or the graft does not build.
        OSError: The file cannot be written.
    """
    ultralytics_on_stderr()
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
