"""``scsa-yolo data check``: what is wrong with a data set, before hours of training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scsa_yolo.support.arguments import (
    STDOUT,
    add_force,
    add_json,
    check_json,
    give_json,
    stdout_for_json,
)
from scsa_yolo.support.files import require_place
from scsa_yolo.support.text import printable

if TYPE_CHECKING:
    from scsa_yolo.datasets.check.rules import Findings
    from scsa_yolo.datasets.check.scan import SplitCount
    from scsa_yolo.datasets.layout.dataset import Layout

__all__ = ["add_arguments", "run"]

_WIDTH = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``scsa-yolo data check``."""
    parser.description = (
        "Say what is wrong with a detection data set in Ultralytics' layout. Nothing is written"
        " to it."
    )
    parser.add_argument("data", metavar="DATA", help="data YAML: a path or a name")
    parser.add_argument(
        "--split", action="append", metavar="SPLIT", help="check this split only (may be repeated)"
    )
    parser.add_argument(
        "--pixels", action="store_true", help="decode every picture: finds those cut short; slow"
    )
    parser.add_argument(
        "--imgsz", type=int, default=640, help="long side for the sizes of boxes (default: 640)"
    )
    parser.add_argument(
        "--plots", metavar="DIR", type=Path, help="write a picture with drawn boxes and histograms"
    )
    add_json(parser, "everything that was found")
    add_force(parser)
    parser.add_argument(
        "--show",
        type=int,
        default=5,
        metavar="N",
        help="places shown for each finding (default: 5)",
    )
    parser.add_argument("--workers", type=int, help="threads (default: as many as CPUs, at most 8)")


def run(args: argparse.Namespace) -> int:
    """Run ``scsa-yolo data check``; returns 0, 1 if the data has errors, 2 after one line if it
    cannot be checked.
    """
    try:
        return _check(args)
    except (ValueError, ImportError, OSError) as error:
        print(f"scsa-yolo data check: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _check(args: argparse.Namespace) -> int:
    from scsa_yolo.datasets.check.scan import check_data
    from scsa_yolo.datasets.demo.maker import draw_if_missing
    from scsa_yolo.datasets.layout.dataset import load_layout

    layout = load_layout(args.data)
    draw_if_missing(layout)
    splits = args.split or list(layout.splits)
    _check_places(args, splits)
    counts, findings = check_data(layout, splits, args.pixels, args.workers)
    with stdout_for_json(args.json):
        print(printable(_report(layout, counts, findings, args.imgsz, args.show)))
        if args.plots:
            from scsa_yolo.datasets.check.plots import write_plots

            for file in write_plots(layout, counts, args.plots, args.imgsz, force=args.force):
                print(printable(f"wrote {file}"))
    if args.json:
        give_json(args.json, to_dict(layout, counts, findings, args.imgsz))
    return int(findings.count("error") > 0)


def _check_places(args: argparse.Namespace, splits: Sequence[str]) -> None:
    """Make sure that what is to be written can be, before all pictures are read."""
    if args.imgsz < 1:
        raise ValueError(f"--imgsz must be at least 1, not {args.imgsz}")
    if args.workers is not None and args.workers < 1:
        raise ValueError(f"--workers must be at least 1, not {args.workers}")
    check_json(args.json, force=args.force)
    if args.json and args.json != STDOUT:
        require_place(args.json, force=args.force)
    if args.plots:
        from scsa_yolo.datasets.check.plots import check_plots

        check_plots(args.plots, splits, force=args.force)


def to_dict(
    layout: Layout, counts: dict[str, SplitCount], findings: Findings, imgsz: int
) -> dict[str, Any]:
    """Return counts and findings as plain values for JSON."""
    names = layout.names
    splits = {
        split: {
            "images": count.images,
            "labelled": count.labelled,
            "boxes": int(count.boxes.sum()),
            "classes": {names[i]: int(boxes) for i, boxes in enumerate(count.boxes)},
            "shares_native": dict(zip(("small", "medium", "large"), count.shares(), strict=True)),
            "shares_at_imgsz": dict(
                zip(("small", "medium", "large"), count.shares(imgsz), strict=True)
            ),
            "sizes": _sizes(count),
        }
        for split, count in counts.items()
    }
    return {
        "format": "scsa-yolo check 1",
        "yaml": printable(layout.yaml),
        "imgsz": imgsz,
        "errors": findings.count("error"),
        "warnings": findings.count("warning"),
        "splits": splits,
        "findings": [finding.to_dict() for finding in findings.all()],
    }


def _sizes(count: SplitCount) -> dict[str, int]:
    """Pictures by size, the most frequent first."""
    import numpy as np

    sizes, numbers = np.unique(count.sizes, axis=0, return_counts=True)
    order = np.argsort(-numbers, kind="stable")
    return {f"{sizes[i][0]}x{sizes[i][1]}": int(numbers[i]) for i in order}


def _report(
    layout: Layout, counts: dict[str, SplitCount], findings: Findings, imgsz: int, show: int
) -> str:
    parts = [f"{layout.yaml}  ({len(layout.names)} classes)"]
    if counts:
        parts += [_splits(counts, imgsz), _classes(layout, counts)]
    parts += [_finding(found, show) for found in findings.all()]
    totals = {level: findings.count(level) for level in ("error", "warning", "note")}
    parts.append(
        ", ".join(
            f"{number} {level}{'' if number == 1 else 's'}" for level, number in totals.items()
        )
    )
    return "\n\n".join(parts)


def _splits(counts: dict[str, SplitCount], imgsz: int) -> str:
    at = f"at {imgsz} px"
    head = (
        f"{'split':<8}{'images':>9}{'with boxes':>12}{'boxes':>10}  "
        f" {'S / M / L %':<20}{at:<20}sizes"
    )
    lines = [head, "-" * (len(head) + 20)]
    for split, count in counts.items():
        native, scaled = (
            " / ".join(f"{100 * v:.1f}" for v in count.shares(size)) for size in (None, imgsz)
        )
        sizes = _sizes(count)
        most = ", ".join(f"{size} ({number})" for size, number in list(sizes.items())[:2])
        more = f" and {len(sizes) - 2} more" if len(sizes) > 2 else ""
        row = (
            f"{split:<8}{count.images:>9}{count.labelled:>12}{int(count.boxes.sum()):>10}  "
            f" {native:<20}{scaled:<20}"
        )
        lines.append(f"{row}{most}{more}"[:_WIDTH])
    return "\n".join(
        [*lines, "S / M / L: shares of boxes under 32x32 px, under 96x96 px, and larger"]
    )


def _classes(layout: Layout, counts: dict[str, SplitCount]) -> str:
    width = min(40, max(12, *(len(name) + 5 for name in layout.names.values())))
    head = f"{'boxes by class':<{max(width, 16)}}" + "".join(f"{split:>10}" for split in counts)
    lines = [head, "-" * len(head)]
    for number, name in layout.names.items():
        label = f"{number:>3} {name}"[: max(width, 16)]
        lines.append(
            f"{label:<{max(width, 16)}}"
            + "".join(f"{c.boxes[number]:>10}" for c in counts.values())
        )
    return "\n".join(lines)


def _finding(found: Any, show: int) -> str:
    lines = [f"{found.level}: {found.code}: {found.count} x {found.meaning}"]
    lines.append(f"    to do: {found.advice}")
    lines += [f"    {place}" for place in found.where[:show]]
    if found.count > show > 0:
        lines.append(f"    ... and {found.count - show} more")
    return "\n".join(lines)
