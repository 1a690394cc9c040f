"""``scsa-yolo export``: export as ``yolo export`` does, and prove each result equal to the
checkpoint.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scsa_yolo.deploy.formats import limits
from scsa_yolo.support.arguments import (
    add_force,
    add_json,
    add_quiet,
    check_json,
    give_json,
    operands_anywhere,
    stdout_for_json,
)

__all__ = ["add_arguments", "run"]

EXIT_DIFFERS = 1
INTERRUPTED = 130
MODEL_ENDINGS = {".pt", ".yaml", ".yml"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``scsa-yolo export``."""
    parser.description = (
        "Export a checkpoint with Ultralytics' own exporter, reload each result in its"
        " runtime,\ncompare it with PyTorch on real pictures, time both in turns, and write a"
        " report beside\nit. A file is in its place only when the comparison is over. Exit code 1"
        " when one is\nnot proven equal. A .pt file is a pickle: opening it runs what its maker put"
        " in. Open\nthose of people you trust, or set ULTRALYTICS_SAFE_LOAD=1."
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="MODEL | KEY=VALUE",
        help=(
            "the checkpoint, and settings as for yolo export: imgsz=640 half=True dynamic=True"
            " batch=8 opset=17 nms=True data=my.yaml ..."
        ),
    )
    # nargs="+" because several could always follow: what is no format or picture is sorted out
    parser.add_argument(
        "--format",
        nargs="+",
        default=[],
        metavar="NAMES",
        help="onnx (default), openvino ...; several: onnx,openvino",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        default=[],
        metavar="PATH",
        help=(
            "pictures or folders to compare on (default: some of the validation pictures that the"
            " model was trained with, else Ultralytics' two)"
        ),
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="where (default: beside the checkpoint)"
    )
    for name, metavar, what in (
        ("imgsz", "PX", "side of the pictures, as imgsz=PX"),
        ("batch", "N", "pictures a call, as batch=N"),
        ("device", "D", "cpu or a GPU's number, as device=D"),
    ):
        parser.add_argument(f"--{name}", metavar=metavar, help=what)
    parser.add_argument(
        "--graph",
        metavar="NAME",
        default="tuned",
        help=(
            "tuned (default): the attention in operators that CPU runtimes run best; portable: in"
            " 4-D convolutions and plain arithmetic, for NPUs and their compilers, at one size;"
            " the operators of an ONNX file are listed"
        ),
    )
    parser.add_argument(
        "--rounds", type=int, default=20, help="timed rounds of the latency; 0: none (default: 20)"
    )
    parser.add_argument(
        "--threads", type=int, help="CPU threads of both sides (default: each as it likes)"
    )
    add_json(parser, "the proofs")
    add_quiet(parser)
    add_force(parser)
    operands_anywhere(parser, "words")


def run(args: argparse.Namespace) -> int:
    """Run ``scsa-yolo export``; returns 0, 1 when a format is not proven equal or could not be
    made, 2 for wrong input, 130 when it was interrupted.
    """
    try:
        with stdout_for_json(args.json):
            code, proofs = _export(args)
    except KeyboardInterrupt:
        print(
            "scsa-yolo export: interrupted; what was not proven was removed, files of earlier"
            " exports are as they were",
            file=sys.stderr,
        )
        return INTERRUPTED
    except (ValueError, OSError, ImportError) as error:
        print(f"scsa-yolo export: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    if args.json is not None:
        give_json(args.json, proofs)
    return code


def _export(args: argparse.Namespace) -> tuple[int, list[dict[str, Any]]]:
    from scsa_yolo.deploy.export import check_graph, open_model
    from scsa_yolo.deploy.images import choose_images, read_images
    from scsa_yolo.deploy.settings import check_formats, parse_settings

    model, formats, images, words = _sorted(args)
    if args.rounds < 0 or (args.threads is not None and args.threads < 1):
        raise ValueError("--rounds must be at least 0, and --threads at least 1")
    check_json(args.json, force=args.force)
    if args.output is not None and args.output.exists() and not args.output.is_dir():
        raise ValueError(f"-o {args.output}: a file; export writes into a folder")
    chosen, settings = check_formats(formats), parse_settings(words)
    check_graph(args.graph, settings)
    if images:
        choose_images(images, ())  # a wrong path is said before the model is opened
    opened = open_model(model)
    source = str(opened.ckpt_path or model)
    paths, told = choose_images(images, (settings.get("data"), _trained_with(opened)))
    pictures = read_images(paths)
    if not args.quiet:
        _say_what(opened)
        print(f"compared on {told}", flush=True)
    job = _Job(opened, source, settings, pictures, paths, args)
    rows, failed = [], 0
    for number, name in enumerate(chosen, 1):
        for limit in limits(name, opened.model):
            print(f"{name}: {limit}", file=sys.stderr, flush=True)
        prefix = f"[{number}/{len(chosen)}] {name}:"
        result = _one(job, name, _speaker(prefix, quiet=args.quiet), _speaker(prefix))
        failed += result is None or result[1].verdict != "equal"
        rows += [] if result is None else [result]
    _print([(made, proof) for made, proof, _ in rows])
    for _, _, content in rows:
        for line in listing(content):
            print(line)
    return (EXIT_DIFFERS if failed else 0), [content for _, _, content in rows]


@dataclass(frozen=True)
class _Job:
    """What all formats of a run share."""

    opened: Any
    source: str
    settings: dict[str, Any]
    pictures: list[Any]
    paths: list[Path]
    args: argparse.Namespace


def _one(
    job: _Job, name: str, say: Callable[[str], None], tell: Callable[[str], None]
) -> tuple[Any, Any, dict[str, Any]] | None:
    """Export one format, prove it, and put it in its place with its report; None where it could
    not be made, which is said.

    Until it is proven the file lies in a folder of its own, which goes whatever happens.
    """
    from scsa_yolo.deploy.export import ExportError, export, place_of, put
    from scsa_yolo.deploy.parity_report import record, report_path, write
    from scsa_yolo.deploy.proof import prove

    folder = job.args.output or place_of(job.opened)
    folder.mkdir(parents=True, exist_ok=True)
    data = str(job.settings["data"]) if job.settings.get("data") else None
    with tempfile.TemporaryDirectory(prefix=".scsa-yolo-unproven-", dir=folder) as place:
        say("exporting")
        try:
            graph = job.args.graph
            made = export(job.opened, name, job.settings, folder=Path(place), graph=graph)
        except (ExportError, ImportError) as error:
            tell(f"not made: {' '.join(str(error).split())}")
            return None
        proof = prove(
            made,
            job.source,
            job.pictures,
            data=data,
            rounds=job.args.rounds,
            threads=job.args.threads,
            say=say,
        )
        made = put(made, Path(place), folder)
    path = report_path(made)
    images = [str(image) for image in job.paths]
    content = record(made, proof, model=job.source, images=images, data=data)
    content["operators"] = operators_of(made.path) if made.graph == "portable" else None
    write(path, content)
    say(f"{proof.verdict}; {made.path} and {path.name}")
    return made, proof, content


def operators_of(path: Path) -> dict[str, Any] | None:
    """Return the operators of an ONNX file with their counts, those of the attention apart, and
    what in them is not of the portable form; None for other formats.
    """
    if path.suffix != ".onnx":
        return None
    from scsa_yolo.deploy.operators import ATTENTION, not_portable, operators

    return {
        "all": operators(path),
        "attention": operators(path, inside=ATTENTION),
        "not_portable": [str(one) for one in not_portable(path, inside=ATTENTION)],
    }


def listing(content: dict[str, Any]) -> list[str]:
    """Return the lines that list a portable graph's operators."""
    name, found = content["exported"]["name"], content["operators"]
    if found is None:
        if content["graph"] != "portable":
            return []
        return [f"{name}: operators are listed of ONNX files. Type: --format onnx"]
    lines = [f"\n{name}: its operators"]
    for part, title in (("attention", "of the attention"), ("all", "of the whole graph")):
        counts = ", ".join(f"{count} {operator}" for operator, count in found[part].items())
        lines.append(f"  {title}: {counts}")
    return lines + [f"  not of the portable form: {one}" for one in found["not_portable"]]


def _trained_with(opened: Any) -> str | None:
    """Return the data set that the checkpoint says it was trained with."""
    stored = getattr(opened, "ckpt", None)
    arguments = stored.get("train_args") if isinstance(stored, dict) else None
    data = (arguments or {}).get("data") if isinstance(arguments, dict) else None
    return str(data) if data else None


def _sorted(args: argparse.Namespace) -> tuple[str, list[str], list[str], list[str]]:
    """Sort what was typed, in any order, into the model, formats, pictures and settings."""
    models: list[str] = []
    settings: list[str] = []
    formats: list[str] = []
    images: list[str] = []
    words = list(args.words)
    for word in args.format:
        is_format = "=" not in word and not Path(word).suffix
        (formats if is_format else words).append(word)
    for word in args.images:
        (words if "=" in word or Path(word).suffix in MODEL_ENDINGS else images).append(word)
    for word in words:
        key, equals, value = word.partition("=")
        if key == "model" and equals:
            models.append(value)
        elif key == "format" and equals:
            formats.append(value)
        elif key == "images" and equals:
            images += value.split(",")
        elif key == "graph" and equals:
            args.graph = value
        elif equals or not Path(word).suffix:
            settings.append(word)
        else:
            models.append(word)
    for name in ("imgsz", "batch", "device"):
        value = getattr(args, name)
        settings += [] if value is None else [f"{name}={value}"]
    if len(models) != 1:
        typed = f"got {', '.join(models)}" if models else "got none"
        raise ValueError(
            f"one model is exported at a time, {typed}. Type: scsa-yolo export best.pt --format"
            " onnx"
        )
    listed = [part for word in formats for part in word.split(",")]
    return models[0], listed, images, settings


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


def _speaker(prefix: str, *, quiet: bool = False) -> Callable[[str], None]:
    def say(text: str) -> None:
        if not quiet:
            print(f"{prefix} {text}", file=sys.stderr, flush=True)

    return say


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
