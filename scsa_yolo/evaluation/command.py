"""``scsa-yolo evaluate``: its arguments, and what it prints and writes."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scsa_yolo.support.arguments import (
    STDOUT,
    Renamed,
    add_force,
    add_json,
    add_quiet,
    check_json,
    give_json,
    say_old,
    sorted_operands,
    stdout_for_json,
    ultralytics_on_stderr,
)

if TYPE_CHECKING:
    from scsa_yolo.evaluation.result import Evaluation

__all__ = ["add_arguments", "run"]

_TRUST = (
    "A .pt file can run code when it is opened. Open one of a stranger only with\n"
    "ULTRALYTICS_SAFE_LOAD=1 in the environment: then it may hold weights and known classes only."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``scsa-yolo evaluate``."""
    parser.description = (
        "Measure a detector by COCO's and VisDrone's rules, beside Ultralytics' own mAP, in one"
        f" pass.\n{_TRUST}"
    )
    parser.add_argument(
        "model", metavar="MODEL", help="what Ultralytics can run: .pt, .onnx, .engine ..."
    )
    parser.add_argument("data", metavar="data=X.yaml", help="data YAML: a path or a name")
    _add_conditions(parser)
    parser.add_argument(
        "--rules", choices=("coco", "visdrone", "both"), help="default: by the data set"
    )
    parser.add_argument(
        "--by-index", action="store_true", help="match classes by number though names differ"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        type=Path,
        help="where files go (default: a new runs/evaluate/...)",
    )
    parser.add_argument("--out", dest="output", metavar="DIR", type=Path, action=Renamed, now="-o")
    parser.add_argument("--no-charts", action="store_true", help="draw no bar charts")
    add_json(parser)
    add_force(parser)
    add_quiet(parser)


def _add_conditions(parser: argparse.ArgumentParser) -> None:
    """Add what the validator runs with."""
    add = parser.add_argument
    add("--split", metavar="S", default="val", help="train, val or test (default: val)")
    add("--imgsz", metavar="PX", type=int, help="long side (default: as trained or exported)")
    add("--batch", metavar="N", type=int, help="pictures at a time (default: Ultralytics')")
    add("--device", metavar="D", help="as for Ultralytics: cpu, 0, mps ...")
    add("--threads", metavar="N", type=int, help="CPU threads (default: Ultralytics')")
    add(
        "--rect",
        action=argparse.BooleanOptionalAction,
        help=(
            "pad pictures to their own shape, or all to squares (default: Ultralytics': own shape"
            " for a .pt, squares for an export of one size). Take one for both sides of a"
            " comparison: it moves AP"
        ),
    )
    add(
        "--conf",
        metavar="SCORE",
        type=float,
        default=0.001,
        help="least score of a detection (default: 0.001)",
    )
    add(
        "--iou",
        metavar="SHARE",
        type=float,
        default=0.7,
        help="of the suppression (default: 0.7)",
    )
    add(
        "--max-det",
        metavar="N",
        type=int,
        default=500,
        help="detections per picture at most (default: 500)",
    )


def run(args: argparse.Namespace) -> int:
    """Run ``scsa-yolo evaluate``; returns 0.

    Raises:
        ValueError: Model and data cannot be measured; one line says why and what to do.
        ImportError: A package is missing.
        OSError: A file cannot be read or written.
    """
    model, data = _operands([args.model, args.data])
    check_json(args.json, force=args.force)
    ultralytics_on_stderr()
    from scsa_yolo.evaluation.evaluator import evaluate
    from scsa_yolo.evaluation.report import format_report, refuse_file

    if args.output:  # known before the model runs for an hour
        refuse_file(args.output / "evaluation.json", force=args.force)
    with stdout_for_json(args.json):
        result = evaluate(model, data, **_settings(args))
    if args.json is not None:
        give_json(args.json, result.to_dict())
    if args.json != STDOUT:
        print(f"\n{format_report(result)}\n")
    if args.json is None or args.output:
        with stdout_for_json(args.json):
            _write(result, args)
    return 0


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    names = "split rules imgsz batch device conf iou max_det by_index rect threads"
    found = {name: getattr(args, name) for name in names.split()}
    return {**found, "verbose": False if args.quiet else None}


def _operands(words: list[str]) -> tuple[str, str]:
    """Return model and data, in whatever order and form they were typed."""
    bare, named = sorted_operands(words, ("model", "data"))
    for name in ("model", "data"):
        if name not in named and bare:
            named[name] = bare.pop(0)
            if name == "data":
                say_old("DATA by its place alone", f"data={named[name]}")
    if bare or len(named) < 2:
        raise ValueError(
            f"one model and one data set, not {' '.join(words)}. Type: scsa-yolo evaluate best.pt"
            " data=my.yaml"
        )
    return named["model"], named["data"]


def _write(result: Evaluation, args: argparse.Namespace) -> None:
    """Write the files of a result, and say where they are."""
    from scsa_yolo.evaluation.report import free_folder, write_charts, write_files

    folder = args.output or free_folder(Path("runs", "evaluate", _folder_name(result)))
    files = write_files(result, folder, force=args.force)
    if not args.no_charts:
        try:
            files += write_charts(result, folder)
        except ImportError as error:
            print(f"scsa-yolo: no charts: {error}", file=sys.stderr)
    print(f"wrote {', '.join(str(file) for file in files)}")


def _folder_name(result: Evaluation) -> str:
    """Return a name for the files' folder: model, data, split, without what a shell minds."""
    model = result.model["name"].removesuffix(".yaml").removesuffix(".pt")
    parts = (model, result.data["name"], result.data["split"])
    return "-".join(re.sub(r"[^\w.+-]+", "-", part).strip("-") for part in parts)
