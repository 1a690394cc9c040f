"""``scsa-yolo data show``: samples of a data set with their boxes drawn."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``scsa-yolo data show``."""
    parser.description = (
        "Draw samples of a data set with their boxes; regions and boxes to ignore are hatched."
    )
    parser.add_argument("data", metavar="DATA", help="data YAML: a path or a name")
    parser.add_argument("--split", default="val", help="train, val or test (default: val)")
    parser.add_argument("--n", type=int, default=16, help="pictures (default: 16)")
    parser.add_argument(
        "--seed", type=int, default=0, help="which ones: the same seed gives the same (default: 0)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, help="picture to write (default: NAME-SPLIT.png here)"
    )
    parser.add_argument(
        "--force", action="store_true", help="write over a file that is there already"
    )


def run(args: argparse.Namespace) -> int:
    """Run ``scsa-yolo data show``; returns 0, or 2 after one line that says what is wrong."""
    try:
        _show(args)
    except (ValueError, OSError) as error:
        print(f"scsa-yolo data show: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _show(args: argparse.Namespace) -> None:
    import cv2

    from scsa_yolo.datasets.demo.maker import draw_if_missing
    from scsa_yolo.datasets.layout.dataset import load_layout
    from scsa_yolo.datasets.show.draw import draw_sheet, pick
    from scsa_yolo.support.files import require_place, write_bytes
    from scsa_yolo.support.naming import data_name
    from scsa_yolo.support.text import printable

    if args.n < 1:
        raise ValueError(f"--n must be at least 1, not {args.n}")
    layout = load_layout(args.data)
    draw_if_missing(layout)
    output = args.output or Path(f"{data_name(layout.yaml)}-{args.split}.png")
    if output.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"{output}: cannot write this kind of picture; use .png or .jpg")
    require_place(output, force=args.force)
    images = layout.images(args.split)
    chosen = pick(images, args.n, args.seed)
    sheet = draw_sheet(layout, args.split, chosen)
    done, data = cv2.imencode(output.suffix or ".png", sheet)
    if not done or data is None:
        raise ValueError(f"{output}: the sheet is too large for this kind; use .png, or fewer --n")
    write_bytes(output, data.tobytes())
    drawn = f"{len(chosen)} of {len(images)} pictures of {args.split}, seed {args.seed}"
    print(printable(f"wrote {output}: {drawn}"))


_SUFFIXES = frozenset({"", ".png", ".jpg", ".jpeg", ".webp", ".bmp"})
