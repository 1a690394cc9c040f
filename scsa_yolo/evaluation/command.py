"""``scsa-yolo evaluate``: its arguments, and what it prints and writes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``scsa-yolo evaluate``."""
    parser.description = (
        "Measure a detector by COCO's and VisDrone's rules, beside Ultralytics' own mAP, in one"
        " pass."
    )
    parser.add_argument(
        "model", metavar="MODEL", help="what Ultralytics can run: .pt, .onnx, .engine ..."
    )
    parser.add_argument("data", metavar="DATA", help="data YAML: a path or a name")
    parser.add_argument("--split", default="val", help="train, val or test (default: val)")
    parser.add_argument(
        "--imgsz", type=int, help="long side in px (default: as trained or exported)"
    )
    parser.add_argument("--batch", type=int, help="pictures at a time (default: Ultralytics')")
    parser.add_argument("--device", help="as for Ultralytics: cpu, 0, mps ...")
    parser.add_argument(
        "--rules", choices=("coco", "visdrone", "both"), help="default: by the data set"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="where files go (default: a new runs/evaluate/...)"
    )
    parser.add_argument(
        "--conf", type=float, default=0.001, help="least score of a detection (default: 0.001)"
    )
    parser.add_argument("--iou", type=float, default=0.7, help="of the suppression (default: 0.7)")
    parser.add_argument(
        "--max-det", type=int, default=500, help="detections per picture at most (default: 500)"
    )
    parser.add_argument(
        "--by-index", action="store_true", help="match classes by number though names differ"
    )
    parser.add_argument("--no-charts", action="store_true", help="draw no bar charts")


def run(args: argparse.Namespace) -> int:
    """Run ``scsa-yolo evaluate``; returns 0, or 2 after one line that says what is wrong."""
    try:
        _evaluate(args)
    except (ValueError, ImportError, OSError) as error:
        print(f"scsa-yolo evaluate: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _evaluate(args: argparse.Namespace) -> None:
    from scsa_yolo.evaluation.evaluator import evaluate
    from scsa_yolo.evaluation.report import format_report, free_folder, write_charts, write_files

    if (
        args.out and (args.out / "evaluation.json").exists()
    ):  # known before the model runs for an hour
        raise FileExistsError(
            f"{args.out / 'evaluation.json'} is there already; choose another --out"
        )
    names = ("split", "rules", "imgsz", "batch", "device", "conf", "iou", "max_det", "by_index")
    result = evaluate(args.model, args.data, **{name: getattr(args, name) for name in names})
    print(f"\n{format_report(result)}\n")
    default = f"{Path(args.model).stem}-{Path(args.data).stem}-{args.split}"
    folder = args.out or free_folder(Path("runs", "evaluate", default))
    files = write_files(result, folder)
    if not args.no_charts:
        try:
            files += write_charts(result, folder)
        except ImportError as error:
            print(f"scsa-yolo evaluate: no charts: {error}", file=sys.stderr)
    print(f"wrote {', '.join(str(file) for file in files)}")
