"""`evaluate`: a model, a data set, one pass, and the scores by every set of rules that applies."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from scsa_yolo.datasets.layout.dataset import Layout, load_layout
from scsa_yolo.datasets.layout.side import SideFiles
from scsa_yolo.evaluation.boxes import Detections, Truth
from scsa_yolo.evaluation.coco_rules import require_faster_coco_eval
from scsa_yolo.evaluation.disagreement import disagreements
from scsa_yolo.evaluation.ground_truth import GroundTruth, read_ground_truth
from scsa_yolo.evaluation.measure import (
    Pairs,
    ignored_counts,
    measure_coco,
    measure_ultralytics,
    measure_visdrone,
)
from scsa_yolo.evaluation.predict import (
    EvaluationError,
    Run,
    digest,
    load_model,
    model_path,
    run_model,
)
from scsa_yolo.evaluation.result import Evaluation, Row
from scsa_yolo.host.transfer import attention_modules
from scsa_yolo.support.naming import data_name, model_name
from scsa_yolo.support.text import printable

__all__ = ["RULES", "evaluate"]

RULES = ("coco", "visdrone", "both")
_PACKAGES = ("scsa-yolo", "ultralytics", "torch", "numpy", "faster-coco-eval")
_FEW = 50  # labelled boxes; a group with fewer moves by points when a few detections do


def evaluate(
    model: Any,
    data: str | Path,
    *,
    split: str = "val",
    rules: str | None = None,
    imgsz: int | None = None,
    batch: int | None = None,
    device: str | None = None,
    conf: float = 0.001,
    iou: float = 0.7,
    max_det: int = 500,
    by_index: bool = False,
    rect: bool | None = None,
    threads: int | None = None,
    verbose: bool | None = None,
    **settings: Any,
) -> Evaluation:
    """Measure a detector on a data set by COCO's rules, VisDrone's, or both, beside Ultralytics'
    own mAP.

    The model runs once, through Ultralytics' own validator. Ultralytics leaves a ``.cache`` file
    beside the labels.

    Args:
        model: A path that Ultralytics can load (``.pt``, ``.onnx``, ``.engine`` ...) or a loaded
            Ultralytics model.
        data: A data YAML: a path, a folder, or a name that Ultralytics or this package knows.
        split: ``train``, ``val`` or ``test``.
        rules: One of `RULES`. None: COCO's, and VisDrone's too where the side file says the data is
            VisDrone.
        imgsz: Long side, px. None: what the model was trained or exported with.
        batch: Pictures at a time. None: Ultralytics' default.
        device: As for Ultralytics, such as ``"cpu"`` or ``"0"``.
        conf: Detections below this score are dropped.
        iou: Threshold of the suppression, for models that need one.
        max_det: Detections per picture at most.
        by_index: Match classes by number although the model's class names differ from the data's.
        rect: Whether pictures are padded to their own shape, not to squares. None: Ultralytics'
            default, which is True for a ``.pt`` and False for an export of one size. Take one
            value for both sides of a comparison: it moves AP by about a point.
        threads: CPU threads. None: as many as Ultralytics takes.
        verbose: Whether Ultralytics logs and shows its progress. None: on a terminal.
        **settings: Any other setting of Ultralytics' validation, such as ``workers`` or ``half``.

    Raises:
        EvaluationError, DataSetError: Model and data cannot be measured; one line says why and what
            to do.
        ImportError: faster-coco-eval is missing.
    """
    if rules not in (None, *RULES):
        raise EvaluationError(f"no rules {rules!r}; there are {', '.join(RULES)}")
    if threads is not None and threads < 1:
        raise EvaluationError(f"threads must be at least 1, got {threads}")
    require_faster_coco_eval()
    layout = _available(load_layout(data), split)
    ground = read_ground_truth(layout, split)
    ground.check_sizes()
    loaded = load_model(model)
    _check_names(loaded.names, layout.names, by_index)
    chosen = {"imgsz": imgsz, "batch": batch, "device": device, "rect": rect}
    settings |= {name: value for name, value in chosen.items() if value is not None}
    settings |= {"conf": conf, "iou": iou, "max_det": max_det}
    _keep_threads(loaded, threads)
    with _log(verbose):
        run = run_model(loaded, layout.yaml, split=split, **settings)
    truths = ground.truths(run.sizes)
    pairs = [(truth, _known(run.found[truth.image], layout.names)) for truth in truths]
    rows = tuple(_rows(pairs, ground, run, rules))
    by_number = by_index and loaded.names != layout.names
    notes = [
        *_notes(ground, truths, run, by_number),
        *_shape_notes(rect, run.settings),
        *disagreements(rows, truths, run.found, run.uncut),
    ]
    return Evaluation(
        model=_describe_model(loaded, model),
        data=_describe_data(ground, truths),
        settings=run.settings,
        versions=_versions(),
        rows=rows,
        notes=tuple(notes),
        speed_ms=run.speed,
    )


def _keep_threads(loaded: Any, threads: int | None) -> None:
    """Set the threads at the start of the validation: Ultralytics sets its own when it is asked for
    a device.
    """
    if threads is None:
        return
    import torch

    def set_threads(validator: Any) -> None:
        torch.set_num_threads(threads)

    loaded.add_callback("on_val_start", set_threads)


@contextlib.contextmanager
def _log(verbose: bool | None) -> Iterator[None]:
    """Keep Ultralytics' log and progress bars to what `verbose` says.

    Its bars follow the level of its logger. Off a terminal every step of a bar would be a line.
    """
    if verbose is None:
        verbose = sys.stderr.isatty()
    logger = logging.getLogger("ultralytics")
    level = logger.level
    logger.setLevel(level if verbose else logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _available(layout: Layout, split: str) -> Layout:
    """Have Ultralytics fetch what the YAML says how to get."""
    if layout.missing(split) and layout.download:
        from ultralytics.data.utils import check_det_dataset

        check_det_dataset(str(layout.yaml), split=split)
        return load_layout(layout.yaml)
    return layout


def _check_names(ours: dict[int, str], theirs: dict[int, str], by_index: bool) -> None:
    if by_index or ours == theirs:
        return
    if len(ours) != len(theirs):
        what = f"the model has {len(ours)} classes, the data {len(theirs)}"
    else:
        number = next(i for i in theirs if ours.get(i) != theirs[i])
        what = (
            f"class {number} is {ours.get(number)!r} in the model and {theirs[number]!r} in the"
            " data"
        )
    raise EvaluationError(
        f"{what}; if they mean the same by number, say so with --by-index (by_index=True)"
    )


def _rows(pairs: Pairs, ground: GroundTruth, run: Run, rules: str | None) -> list[Row]:
    names = ground.layout.names
    if rules is None:
        rules = "both" if _is_visdrone(ground.side) else "coco"
    rows = measure_coco(pairs, names) if rules != "visdrone" else []
    if rules != "coco":
        rows += measure_visdrone(pairs, names)
    uncut = [(truth, _known(run.uncut[truth.image], names)) for truth, _ in pairs]
    return rows + measure_ultralytics(uncut, names, run.own)


def _known(found: Detections, names: dict[int, str]) -> Detections:
    """Drop detections of classes that the data does not have, which --by-index lets through."""
    return found.where(found.classes < len(names))


def _notes(ground: GroundTruth, truths: list[Truth], run: Run, by_index: bool) -> Iterable[str]:
    left_out = len(ground.labels) - len({os.path.abspath(image) for image in run.sizes})
    if left_out:
        yield (
            f"Ultralytics left out {_pictures(left_out)}; see `scsa-yolo data check"
            f" {ground.layout.yaml}`"
        )
    if by_index:
        yield "the model's class names differ from the data's; classes were matched by number"
    yield from _side_notes(ground, truths)
    fullest = max((len(found.scores) for found in run.found.values()), default=0)
    if fullest >= run.settings["max_det"]:
        full = sum(
            1 for found in run.found.values() if len(found.scores) >= run.settings["max_det"]
        )
        yield (
            f"max_det={run.settings['max_det']} cut off detections in {_pictures(full)}; a larger"
            " value may find more"
        )
    crowded = sum(1 for truth in truths if len(truth.classes) and max(_counts(truth)) > 100)
    if crowded:
        yield (
            f"over 100 boxes of a class in {_pictures(crowded)}; COCO's rules count 100 detections"
            " of a class at most"
        )
    few = [
        f"{ground.layout.names[number]} {count}"
        for number, count in _totals(truths)
        if count < _FEW
    ]
    if few:
        more = f" and {len(few) - 6} more" if len(few) > 6 else ""
        yield (
            "classes of few boxes, whose AP a few detections move by points:"
            f" {', '.join(few[:6])}{more}"
        )


def _is_visdrone(side: SideFiles) -> bool:
    return any(file.dataset.lower().startswith("visdrone") for file in side.files)


def _side_notes(ground: GroundTruth, truths: list[Truth]) -> Iterable[str]:
    """Say which side files were read, what they ignore, and where they do not fit."""
    if not ground.side:
        yield "no side file belongs to these pictures, so no box was ignored"
        return
    names = [_shown(file.path, ground.layout.root) for file in ground.side.files]
    read = printable(", ".join(names))
    counts = ignored_counts(truths)
    ignored = [f"{number} {reason} ({_rule(reason, truths)})" for reason, number in counts.items()]
    yield f"side file {read}; boxes to ignore: {', '.join(ignored) or 'none'}"
    bare = sum(1 for truth in truths if not ground.side.of(Path(truth.image)))
    if bare:
        yield f"{_pictures(bare)} without a line in the side file; nothing was ignored there"
    unfit = sum(1 for truth in truths if not ground.fits(truth.image))
    if unfit:
        yield (
            f"the side file's boxes are other in number than the label rows of {_pictures(unfit)},"
            " so what it says of single boxes, such as their area, was not used there"
        )


def _rule(reason: str, truths: list[Truth]) -> str:
    """Say by which rule boxes of this reason are ignored."""
    boxes = [box for truth in truths for box in truth.ignore if box.reason == reason]
    named = {box.cls is not None for box in boxes}
    if named == {False}:
        return "half of a detection inside"
    if reason == "crowd":
        return "COCO's iscrowd"
    return "usual overlap" if named == {True} else "usual overlap, or half inside without a class"


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _shape_notes(asked: bool | None, settings: dict[str, Any]) -> Iterable[str]:
    """Say how pictures were fed where this differs from what was asked, or from a ``.pt``."""
    if settings.get("rect"):
        return
    if asked:
        yield "rect=True was asked for, but an export of one size takes squares: rect is False"
    elif asked is None:
        yield (
            "pictures were padded to squares (rect False), as this kind of model asks; a .pt takes"
            " their own shape unless --no-rect (rect=False) is given, and that moves AP"
        )


def _pictures(number: int) -> str:
    return f"{number} picture{'' if number == 1 else 's'}"


def _counts(truth: Truth) -> list[int]:
    return [int((truth.classes == c).sum()) for c in set(truth.classes.tolist())]


def _totals(truths: list[Truth]) -> list[tuple[int, int]]:
    """Classes and their boxes."""
    return sorted(Counter(int(c) for truth in truths for c in truth.classes).items())


def _describe_model(loaded: Any, given: Any) -> dict[str, Any]:
    path = model_path(loaded)
    network = loaded.model if hasattr(loaded.model, "modules") else None
    modules = attention_modules(network).values() if network is not None else ()
    attention = Counter(type(_inner(module)).__name__ for module in modules)
    named = path if path else given if isinstance(given, str | Path) else None
    name = type(loaded).__name__ if named is None else model_name(named, attention)
    return {
        "name": name,
        "path": str(path) if path else None,
        "sha256": digest(loaded),
        "attention": dict(attention),
    }


def _inner(module: Any) -> Any:
    """Return the attention inside a module that starts as the identity."""
    from scsa_yolo.blocks import IdentityStart

    return module.attention if isinstance(module, IdentityStart) else module


def _describe_data(ground: GroundTruth, truths: list[Truth]) -> dict[str, Any]:
    layout = ground.layout
    present = {int(c) for truth in truths for c in truth.classes}
    return {
        "name": data_name(layout.yaml),
        "yaml": str(layout.yaml),
        "split": ground.split,
        "sources": [
            os.path.relpath(source, layout.root) for source in layout.sources(ground.split)
        ],
        "fingerprint": ground.fingerprint,
        "images": len(truths),
        "boxes": sum(len(truth.classes) for truth in truths),
        "classes": [name for number, name in layout.names.items() if number in present],
        "absent_classes": [name for number, name in layout.names.items() if number not in present],
        "side_files": [printable(_shown(file.path, layout.root)) for file in ground.side.files],
        "ignored": ignored_counts(truths),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            from scsa_yolo import __version__

            found[package] = __version__ if package == "scsa-yolo" else "unknown"
    return found
