"""``scsa-yolo models``: its arguments, and the table that it prints."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from scsa_yolo.support.arguments import (
    add_force,
    add_json,
    check_json,
    give_json,
    stdout_for_json,
    ultralytics_on_stderr,
)

if TYPE_CHECKING:
    from scsa_yolo.modelfiles.catalogue import Entry, Row

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``scsa-yolo models``."""
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
    sizes.add_argument("--all-scales", action="store_true", help="list every size")
    parser.add_argument(
        "--recount",
        action="store_true",
        help="build and count each model here, a second or more each (default: the packaged table)",
    )
    form = parser.add_mutually_exclusive_group()
    add_json(form, "the table")
    form.add_argument("--csv", action="store_true", help="print CSV")
    add_force(parser)


def run(args: argparse.Namespace) -> int:
    """Run ``scsa-yolo models``; returns 0.

    Raises:
        ValueError: No model matches.
        OSError: The file of ``--json`` cannot be written.
    """
    from scsa_yolo.modelfiles import catalogue, costs

    check_json(args.json, force=args.force)
    every = catalogue.entries()
    chosen = catalogue.select(every, args.text, None if args.all_scales else args.scales)
    with _saying() as say:
        rows = costs.rows(chosen, recount=args.recount, say=say)
        if args.json is not None:
            with stdout_for_json(args.json):
                listed = [asdict(row) for row in rows]
            give_json(args.json, listed)
            return 0
        if args.csv:
            print(catalogue.as_csv(rows))
            return 0
        _print_table(rows)
    _print_notes(every, chosen, args)
    return 0


def _print_table(rows: Iterable[Row]) -> None:
    from scsa_yolo.modelfiles import catalogue

    wide = shutil.get_terminal_size((catalogue.WIDE, 24)).columns >= catalogue.WIDE
    print(catalogue.HEADER if wide else catalogue.NARROW_HEADER, flush=True)
    as_line: Callable[[Row], str] = catalogue.line if wide else catalogue.narrow_line
    for row in rows:
        print(as_line(row), flush=True)
    if not wide:
        print(
            "\nStock's numbers and the attention's rows: --csv, --json, or"
            f" {catalogue.WIDE} columns."
        )


def _print_notes(every: list[Entry], chosen: list[Entry], args: argparse.Namespace) -> None:
    from scsa_yolo.modelfiles import catalogue, costs

    print(f"\n{catalogue.NOTE}")
    table = costs.read_table()
    if table and not args.recount:
        print(
            f"Counted with Ultralytics {table.versions['ultralytics']}; --recount counts with"
            " the installed one."
        )
    if len(chosen) < len(every) and not args.text:
        print(
            f"{len(every) - len(chosen)} more sizes: scsa-yolo models --all-scales,"
            " or a name: scsa-yolo models yolo11s"
        )
    for path in catalogue.training_settings():
        print(
            f"Training settings, no model: {path.name}:\n  yolo train cfg={path.name}"
            " model=rtdetr-r18-scsa.yaml data=..."
        )


@contextlib.contextmanager
def _saying() -> Iterator[Callable[[str], None]]:
    """Yield what says which model is being counted: one line on a terminal, lines elsewhere."""
    on_terminal = sys.stderr.isatty()

    def say(text: str) -> None:
        ultralytics_on_stderr()  # counting imports it
        if on_terminal:
            print(f"\r\x1b[K{text}\r", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    try:
        yield say
    finally:
        if on_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
