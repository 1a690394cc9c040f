"""``scsa-yolo export``: export as ``yolo export`` does, and prove each result equal to the
checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["add_arguments", "run"]

EXIT_DIFFERS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``scsa-yolo export``."""
    parser.description = (
        "Export a checkpoint with Ultralytics' own exporter, reload each result in its"
        " runtime,\ncompare it with PyTorch on real pictures, time both in turns, and write a"
        " report beside\nit. Exit code 1 when one differs."
    )
    parser.add_argument(
        "words",
        nargs="+",
        metavar="MODEL | KEY=VALUE",
        help=(
            "the checkpoint, and settings as for yolo export: imgsz=640 half=True dynamic=True"
            " batch=8 opset=17 nms=True data=my.yaml ..."
        ),
    )
    # nargs="+" because settings may follow: words with an equals sign are taken out of these lists
    parser.add_argument(
        "--format",
        nargs="+",
        default=[],
        help="onnx (default), openvino ...; several: onnx,openvino",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        default=[],
        metavar="PATH",
        help="pictures or folders (default: Ultralytics' two)",
    )
    parser.add_argument(
        "--rounds", type=int, default=20, help="timed rounds of the latency; 0: none (default: 20)"
    )
    parser.add_argument(
        "--threads", type=int, help="CPU threads of both sides (default: each as it likes)"
    )


def run(args: argparse.Namespace) -> int:
    """Run ``scsa-yolo export``; returns 0, 1 when a format differs or could not be made, 2 for
    wrong input.
    """
    try:
        return _export(args)
    except (ValueError, OSError, ImportError) as error:
        print(f"scsa-yolo export: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _export(args: argparse.Namespace) -> int:
    from scsa_yolo.deploy.images import find_images, read_images
    from scsa_yolo.deploy.settings import check_formats, parse_settings

    model, formats, images, words = _sorted(args)
    if args.rounds < 0 or (args.threads is not None and args.threads < 1):
        raise ValueError("--rounds must be at least 0, and --threads at least 1")
    chosen, settings = check_formats(formats), parse_settings(words)
    paths = find_images(images)
    pictures = read_images(paths)
    from scsa_yolo.deploy.export import open_model

    opened = open_model(model)
    source = str(opened.ckpt_path or model)
    _say_what(opened)
    rows, failed = [], 0
    for number, name in enumerate(chosen, 1):
        say = _speaker(f"[{number}/{len(chosen)}] {name}:")
        result = _one(opened, source, name, settings, pictures, paths, args, say)
        if result is None:
            failed += 1
            continue
        rows.append(result)
        failed += result[1].verdict != "equal"
    _print(rows)
    return EXIT_DIFFERS if failed else 0


def _one(
    opened: Any,
    source: str,
    name: str,
    settings: dict[str, Any],
    pictures: list[Any],
    paths: list[Path],
    args: argparse.Namespace,
    say: Callable[[str], None],
) -> tuple[Any, Any] | None:
    """Export one format and prove it; None where it could not be made, which is said."""
    from scsa_yolo.deploy.export import ExportError, export
    from scsa_yolo.deploy.parity_report import record, report_path, write
    from scsa_yolo.deploy.proof import prove

    say("exporting")
    try:
        made = export(opened, name, settings)
    except (ExportError, ImportError) as error:
        say(f"not made: {' '.join(str(error).split())}")
        return None
    data = str(settings["data"]) if settings.get("data") else None
    proof = prove(
        made, source, pictures, data=data, rounds=args.rounds, threads=args.threads, say=say
    )
    path = report_path(made)
    write(
        path, record(made, proof, model=source, images=[str(image) for image in paths], data=data)
    )
    say(f"{proof.verdict}; {made.path} and {path.name}")
    return made, proof


def _sorted(args: argparse.Namespace) -> tuple[str, list[str], list[str], list[str]]:
    """Sort what was typed, in any order, into the model, formats, pictures and settings."""
    models, settings = [], []
    formats = [part for word in args.format if "=" not in word for part in word.split(",")]
    images = [word for word in args.images if "=" not in word]
    for word in [*args.words, *(word for word in (*args.format, *args.images) if "=" in word)]:
        key, equals, value = word.partition("=")
        if key == "model" and equals:
            models.append(value)
        elif key == "format" and equals:
            formats += value.split(",")
        elif key == "images" and equals:
            images += value.split(",")
        elif equals or not Path(word).suffix:
            settings.append(word)
        else:
            models.append(word)
    if len(models) != 1:
        typed = f"got {', '.join(models)}" if models else "got none"
        raise ValueError(
            f"one model is exported at a time, {typed}. Type: scsa-yolo export best.pt --format"
            " onnx"
        )
    return models[0], formats, images, settings


def _say_what(opened: Any) -> None:
    """Say which attention is about to be exported."""
    from scsa_yolo.host.transfer import attention_modules

    modules = [type(module).__name__ for module in attention_modules(opened.model).values()]
    if modules:
        counts = ", ".join(f"{modules.count(name)} {name}" for name in dict.fromkeys(modules))
        print(f"{opened.model_name or 'model'}: {counts}", flush=True)
    else:
        print(
            "no attention module of scsa_yolo in this model: it exports as stock does", flush=True
        )


def _speaker(prefix: str) -> Callable[[str], None]:
    return lambda text: print(f"{prefix} {text}", file=sys.stderr, flush=True)


def _print(rows: list[tuple[Any, Any]]) -> None:
    from scsa_yolo.deploy.parity_report import HEADER, details, line

    if not rows:
        return
    print(f"\n{HEADER}\n{'-' * len(HEADER)}")
    for made, proof in rows:
        print(line(made, proof))
    notes = [text for made, proof in rows for text in details(made, proof)]
    if notes:
        print("\n" + "\n".join(notes))
