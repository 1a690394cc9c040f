"""Ultralytics' own exporter, in a place of its own: the result takes the place of an earlier one
only when it is whole.

What the exporter traces is kept, so that the exported graph can be compared with exactly that in
PyTorch.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import logging
import os
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scsa_yolo.blocks import use_portable
from scsa_yolo.deploy.formats import FORMATS
from scsa_yolo.deploy.runtimes import reason

__all__ = [
    "GRAPHS",
    "ExportError",
    "Exported",
    "check_graph",
    "export",
    "open_model",
    "place_of",
    "put",
    "quiet",
]


# How the attention is written: in operators that CPU runtimes run best, or that accelerators take.
GRAPHS = ("tuned", "portable")


class ExportError(ValueError):
    """An export that could not be made; the message is one line that says why."""


@dataclass
class Exported:
    """An exported model and what it must equal.

    Attributes:
        path: The file or folder.
        format: As Ultralytics calls it.
        reference: The torch module that was traced: fused, in float32, on the CPU.
        shape: (B, C, H, W) of the example it was traced with.
        settings: What the exporter ran with, where it departs from nothing asked: as typed.
        precision: ``"float32"``, ``"float16"`` or ``"int8"``.
        dynamic: Whether batch and sizes are open.
        task: ``detect``, ``segment`` ...
        head: Class of the last layer.
        end2end: Whether the graph selects the final boxes itself, by top-k or by an embedded NMS.
        nms: Whether NMS is embedded.
        seconds: How long it took.
        warnings: Ultralytics'.
        graph: One of `GRAPHS`.
    """

    path: Path
    format: str
    reference: Any
    shape: tuple[int, ...]
    settings: dict[str, Any]
    precision: str
    dynamic: bool
    task: str
    head: str
    end2end: bool
    nms: bool
    seconds: float
    warnings: list[str] = field(default_factory=list)
    graph: str = GRAPHS[0]


def open_model(model: str | Path) -> Any:
    """Return the Ultralytics model of a checkpoint, or of a model YAML.

    Raises:
        ExportError: There is none, it cannot be read, or it is exported already.
    """
    import scsa_yolo

    scsa_yolo.register()
    from ultralytics import RTDETR, YOLO

    name = str(model)
    if Path(name).suffix not in {".pt", ".yaml", ".yml"}:
        raise ExportError(
            f"{name} is no checkpoint. Type the .pt file that training wrote, such as best.pt"
        )
    maker = RTDETR if Path(name).stem.lower().startswith("rtdetr") else YOLO
    try:
        opened = maker(name)
    except FileNotFoundError as error:
        raise ExportError(f"{name}: no such file") from error
    except Exception as error:  # what unpickling anybody's file may raise
        raise ExportError(f"{name}: Ultralytics cannot load this model: {reason(error)}") from error
    if opened.model is None or not hasattr(opened.model, "stride"):
        raise ExportError(f"{name} holds no model of Ultralytics'")
    return opened


def export(
    opened: Any,
    format: str,
    settings: dict[str, Any],
    *,
    folder: Path | None = None,
    graph: str = GRAPHS[0],
) -> Exported:
    """Export a model that :func:`open_model` opened.

    Args:
        opened: The model; it stays as it is.
        format: One of Ultralytics' formats.
        settings: Ultralytics' settings of the export.
        folder: Where the result goes; default: beside the checkpoint, as stock.
        graph: ``"tuned"``: in operators that CPU runtimes run best. ``"portable"``: in 4-D
            convolutions and plain arithmetic, for one size; see ``blocks.use_portable``.

    Raises:
        ImportError: A package that makes the format is missing; the message says what to type.
        ExportError: The exporter failed. Files of earlier exports are as they were.
        ValueError: The graph is unknown, the model has no attention, or its sizes are to be open.
    """
    check_graph(graph, settings)
    _require(format, _precision(settings.get("quantize")))
    source = Path(str(opened.ckpt_path or opened.model_name))
    folder = folder or place_of(opened)
    begin, log = time.perf_counter(), _Warnings()
    seen: dict[str, _Seen] = {}
    with tempfile.TemporaryDirectory(prefix=".scsa-yolo-", dir=folder) as name:
        place = Path(name)
        model = copy.deepcopy(opened.model)
        if graph == "portable":
            use_portable(model)
        model.pt_path = str(place / f"{source.stem}.pt")  # the exporter writes beside it
        made = _run_exporter(opened, model, {**settings, "format": format}, seen, log)
        inside = Path(made).resolve().relative_to(place.resolve()).parts
        final = _put(place / inside[0], folder / inside[0])
    exporter = seen["exporter"]
    nms = bool(exporter.nms)
    return Exported(
        path=final.joinpath(*inside[1:]),
        format=format,
        reference=exporter.reference,
        shape=exporter.shape,
        settings=settings,
        precision=_precision(exporter.quantize),
        dynamic=bool(exporter.dynamic),
        task=str(exporter.metadata["task"]),
        head=type(opened.model.model[-1]).__name__,
        end2end=bool(exporter.metadata.get("end2end")) or nms,
        nms=nms,
        seconds=time.perf_counter() - begin,
        warnings=log.lines,
        graph=graph,
    )


def check_graph(graph: str, settings: dict[str, Any]) -> None:
    """Refuse a graph that is unknown, or that the settings do not allow.

    Raises:
        ValueError: The message says what to type.
    """
    if graph not in GRAPHS:
        raise ValueError(f"--graph {graph} is unknown. Type: --graph {' or --graph '.join(GRAPHS)}")
    if graph == "portable" and settings.get("dynamic"):
        raise ValueError(
            "--graph portable is a graph of one size: leave dynamic=True out, and type the size:"
            " imgsz=640"
        )


def place_of(opened: Any) -> Path:
    """Return where exports of a model go by default: beside its checkpoint."""
    return Path(str(opened.ckpt_path)).parent if opened.ckpt_path else Path()


def put(made: Exported, place: Path, folder: Path) -> Exported:
    """Move an export from the folder ``place``, where it was proven, into ``folder``."""
    inside = made.path.resolve().relative_to(place.resolve()).parts
    final = _put(place / inside[0], folder / inside[0])
    return replace(made, path=final.joinpath(*inside[1:]))


@dataclass
class _Seen:
    """The exporter at the moment before it writes."""

    reference: Any
    shape: tuple[int, ...]
    metadata: dict[str, Any]
    quantize: Any
    dynamic: Any
    nms: Any


def _run_exporter(
    opened: Any, model: Any, settings: dict[str, Any], seen: dict[str, _Seen], log: _Warnings
) -> str:
    from ultralytics.engine.exporter import Exporter

    defaults = {
        "imgsz": opened.model.args.get("imgsz", 640),
        "batch": 1,
        "data": None,
        "device": None,
    }
    overrides = {**defaults, "verbose": False, **settings, "mode": "export"}
    if (
        settings.get("quantize") != 8
    ):  # pictures of calibration: formats without INT8 refuse the argument
        overrides["data"] = None
    try:
        with quiet(log, verbose=bool(settings.get("verbose"))):
            exporter = Exporter(overrides=overrides)
            exporter.callbacks["on_export_start"].append(
                lambda running: seen.update(exporter=_look(running))
            )
            made = exporter(model=model)
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # exporters of a dozen vendors, one of which calls sys.exit
        raise ExportError(f"{settings['format']}: the export failed: {reason(error)}") from error
    if not made or "exporter" not in seen or not Path(made).exists():
        raise ExportError(
            f"{settings['format']}: Ultralytics' exporter wrote nothing. Type verbose=True to see"
            " its log"
        )
    return str(made)


def _look(exporter: Any) -> _Seen:
    """Copy what the exporter is about to trace."""
    from ultralytics.engine.exporter import NMSModel

    model, args = copy.deepcopy(exporter.model).cpu().float(), copy.copy(exporter.args)
    embedded = args.nms and args.format not in {"coreml", "mlmodel", "imx"}
    reference = NMSModel(model, args) if embedded else model
    shape = tuple(int(side) for side in exporter.im.shape)
    return _Seen(
        reference.eval(), shape, dict(exporter.metadata), args.quantize, args.dynamic, args.nms
    )


def _precision(quantize: Any) -> str:
    if quantize in {None, 32}:
        return "float32"
    return "float16" if quantize == 16 else "int8"


def _require(format: str, precision: str) -> None:
    """Refuse before any work what cannot be made here: Ultralytics itself would install packages
    unasked.
    """
    known = FORMATS.get(format)
    missing = [
        name for name in (known.needs if known else ()) if importlib.util.find_spec(name) is None
    ]
    if known and missing:
        raise ImportError(f"{format} needs {', '.join(missing)}. Type: {known.install}")
    besides = known.int8 if known and precision == "int8" else ()
    if missing := [name for name in besides if importlib.util.find_spec(name) is None]:
        raise ImportError(
            f"{format} in INT8 needs {', '.join(missing)}. Type: pip install {' '.join(missing)}"
        )


def _put(made: Path, final: Path) -> Path:
    """Move a file or a folder to where an earlier one may be, which is there until the new one
    is.
    """
    if not made.is_dir() and not final.is_dir():
        os.replace(made, final)
        return final
    aside = made.with_name(f"{final.name}.earlier")
    if final.exists():
        os.replace(final, aside)
    try:
        os.replace(made, final)
    except OSError:
        if aside.exists():
            os.replace(aside, final)
        raise
    if aside.is_dir():
        shutil.rmtree(aside)
    return final


class _Warnings(logging.Handler):
    """Ultralytics' warnings, kept for the report."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", record.getMessage())
        line = " ".join(plain.split()).removeprefix("WARNING ⚠️ ")
        if line and line not in self.lines:
            self.lines.append(line)


@contextlib.contextmanager
def quiet(keep: logging.Handler | None = None, *, verbose: bool = False) -> Iterator[None]:
    """Silence Ultralytics' log and warnings of torch's exporters, of which the user can change
    nothing.
    """
    from ultralytics.utils import LOGGER

    handlers, propagate = list(LOGGER.handlers), LOGGER.propagate
    if not verbose:
        LOGGER.handlers, LOGGER.propagate = [keep] if keep else [logging.NullHandler()], False
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nowhere:
            warnings.simplefilter("ignore")
            with contextlib.nullcontext() if verbose else contextlib.redirect_stdout(nowhere):
                yield
    finally:
        LOGGER.handlers, LOGGER.propagate = handlers, propagate
