"""An export with its proof: reload it where it will run, and compare it with PyTorch on pictures
and data.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scsa_yolo.deploy.export import Exported, quiet
from scsa_yolo.deploy.images import network_input
from scsa_yolo.deploy.parity import (
    TOLERANCES,
    Boxes,
    BoxParity,
    Layout,
    RawParity,
    compare_boxes,
    compare_raw,
    failures,
)
from scsa_yolo.deploy.runtimes import MissingRuntime, Runner, load, reason

__all__ = ["Proof", "check_shapes", "layout_of", "prove"]

CONF = 0.25  # Ultralytics' threshold of predict
STRIDE = 32
Say = Callable[[str], None]


@dataclass
class Proof:
    """What was found of one exported model.

    Attributes:
        runtime: Name and version of what ran it, or "".
        raw: Comparison of raw outputs by shape (B, C, H, W).
        boxes: Final boxes; None if not compared.
        map_change: Points of mAP50 and mAP50-95 gained or lost, and the values, in percent; None
            without data.
        latency: Medians in ms of PyTorch and of the runtime, their ratio, rounds; None if not
            measured.
        failed: What is beyond the tolerance; empty where parity holds.
        not_run: Why nothing was compared, or "".
        notes: What a reader should know.
        judged: The precision whose tolerance boxes and mAP are held to.
    """

    runtime: str = ""
    raw: dict[tuple[int, ...], RawParity] = field(default_factory=dict)
    boxes: BoxParity | None = None
    map_change: dict[str, float] | None = None
    latency: dict[str, Any] | None = None
    failed: list[str] = field(default_factory=list)
    not_run: str = ""
    notes: list[str] = field(default_factory=list)
    judged: str = "float32"

    @property
    def verdict(self) -> str:
        """``equal``, ``differs`` or ``not run``."""
        return "not run" if self.not_run else "differs" if self.failed else "equal"


def prove(
    made: Exported,
    checkpoint: str | Path,
    pictures: Sequence[np.ndarray],
    *,
    data: str | None = None,
    rounds: int = 20,
    threads: int | None = None,
    say: Say = lambda _: None,
) -> Proof:
    """Compare an exported model with PyTorch.

    Args:
        made: The export.
        checkpoint: What it was made from, for Ultralytics' own predict and val.
        pictures: uint8 (H, W, 3) in BGR.
        data: A data YAML: mAP of both is measured on its validation split.
        rounds: Timed rounds of the latency; 0: none.
        threads: CPU threads of both sides when they are timed; default: each as it likes.
        say: Told which step begins.
    """
    found = Proof()
    device = _device(made)
    try:
        runner = load(made.path, device=device, threads=threads)
    except (MissingRuntime, ValueError) as error:
        found.not_run = str(error)
        return found
    found.runtime = f"{runner.name} {runner.version}"
    reference = load(made.reference, device=device, threads=threads)
    stretch = "RTDETR" in made.head
    found.judged = made.precision
    if made.format == "openvino" and made.precision == "float32" and _computes_in_bfloat16():
        found.judged = "float16"
        found.notes.append(
            "this CPU has bfloat16, in which OpenVINO computes by default: so boxes and mAP are"
            " held to the tolerance of float16; raw outputs were computed in float32"
        )
    say("comparing raw outputs")
    for shape in check_shapes(made):
        found.raw[shape] = _raw(reference, runner, pictures, shape, layout_of(made), stretch)
    if made.task in {"detect", "segment", "pose"} and made.shape[1] == 3:
        say(f"comparing final boxes of {len(pictures)} pictures")
        found.boxes = _boxes(made, checkpoint, pictures, found)
    else:
        found.notes.append(
            f"no boxes compared: the task is {made.task}, with {made.shape[1]} channels"
        )
    if data and made.shape[2] != made.shape[3]:
        found.notes.append(
            "no mAP: Ultralytics validates a checkpoint on squares, and the export is a rectangle"
        )
    elif data:
        say(f"measuring mAP on {data}, twice")
        found.map_change = _map_change(made, checkpoint, data)
    if rounds:
        say(f"timing both in turns, {rounds} rounds")
        found.latency = _latency(reference, runner, pictures, made.shape, rounds, stretch)
    change = found.map_change["map50"] if found.map_change else None
    if found.map_change and not found.map_change["map50_pytorch"]:
        change = None
        found.notes.append("PyTorch's own mAP50 is 0 on this data: its change shows nothing")
    found.failed += failures(
        made.precision, list(found.raw.values()), found.boxes, change, judged=found.judged
    )
    return found


def layout_of(made: Exported) -> Layout:
    """Return how the first output of a detector is laid out."""
    if made.task not in {"detect", "segment", "pose", "obb"}:
        return Layout()
    if "RTDETR" in made.head:
        return Layout(axis=2, kinds=(4,), selected=True)
    if made.end2end:
        return Layout(
            axis=2, kinds=(4, 5, 6), selected=True, score=4
        )  # corners, score, class, what a task adds
    return Layout(axis=1, kinds=(4,))


def check_shapes(made: Exported) -> list[tuple[int, ...]]:
    """Return the shape of the export, and for a dynamic one other batches, other sizes and
    rectangles.
    """
    batch, channels, height, width = made.shape
    if not made.dynamic:
        return [made.shape]
    other = (
        2 if batch == 1 and not made.nms else 1
    )  # an embedded NMS is unrolled for the export's batch
    lower = max(STRIDE, height // 2 // STRIDE * STRIDE)
    return [
        made.shape,
        (other, channels, height + STRIDE, width + 3 * STRIDE),
        (1, channels, lower, width),
    ]


def _raw(
    reference: Runner,
    runner: Runner,
    pictures: Sequence[np.ndarray],
    shape: tuple[int, ...],
    layout: Layout,
    stretch: bool,
) -> RawParity:
    """Compare at one shape on every picture, and return the worst."""
    worst = RawParity()
    for first in range(0, len(pictures), shape[0]):
        images = network_input(pictures, shape, stretch=stretch, first=first)
        expected = reference(images)
        try:
            got = runner(images)
        except Exception as error:  # noqa: BLE001  each runtime has its own
            return RawParity(
                problem=(
                    f"{runner.name} does not run at {'x'.join(map(str, shape))}: {reason(error)}"
                )
            )
        part = compare_raw(expected, got, layout)
        if part.problem:
            return part
        worst = max(worst, part, key=lambda parity: (parity.max_rel, bool(parity.shapes)))
    return worst


def _boxes(
    made: Exported, checkpoint: str | Path, pictures: Sequence[np.ndarray], found: Proof
) -> BoxParity | None:
    """Let Ultralytics predict with both, as a user would."""
    conf = float(made.settings.get("conf") or CONF)
    settings = {
        key: made.settings[key]
        for key in ("iou", "max_det", "agnostic_nms")
        if key in made.settings
    }
    try:
        expected = _predict(checkpoint, made, pictures, conf=conf, **settings)
        got = _predict(made.path, made, pictures, conf=conf, **settings)
    except Exception as error:  # noqa: BLE001  the runtime of any vendor
        found.failed.append(f"Ultralytics cannot predict: {reason(error)}")
        return None
    boxes = compare_boxes(
        expected,
        got,
        threshold=conf,
        slack=TOLERANCES[found.judged].score,
        most=int(settings.get("max_det", 300)),
    )
    if boxes.empty:
        found.notes.append(f"neither found a box with a score of {conf}: raw outputs decide")
    return boxes


def _predict(
    model: str | Path, made: Exported, pictures: Sequence[np.ndarray], **settings: Any
) -> list[Boxes]:
    batch, _, height, width = made.shape
    chosen = [
        pictures[index % len(pictures)] for index in range(-(-len(pictures) // batch) * batch)
    ]
    settings |= {
        "imgsz": [height, width],
        "rect": False,
        "save": False,
        "verbose": False,
        **_head(made),
    }
    found: list[Boxes] = []
    with quiet():
        runner = _open(model, made.task)
        for start in range(0, len(chosen), batch):
            for result in runner.predict(
                chosen[start : start + batch], device=_device(made), **settings
            ):
                table = result.boxes.cpu().numpy()
                found.append(Boxes(table.xyxy, table.conf, table.cls))
    return found[: len(pictures)]


def _head(made: Exported) -> dict[str, Any]:
    """Choose in PyTorch the head that was exported, where this version of Ultralytics lets one
    choose.
    """
    from ultralytics.utils import DEFAULT_CFG_DICT

    if "end2end" in DEFAULT_CFG_DICT:
        return (
            {"end2end": made.settings["end2end"]}
            if made.settings.get("end2end") is not None
            else {}
        )
    return {"nms": False} if made.settings.get("nms") is False else {}


def _device(made: Exported) -> str:
    """Where both sides run: on the GPU only what was exported for it and runs there."""
    wanted = str(made.settings.get("device", "cpu"))
    return wanted if made.format in {"engine", "torchscript"} and wanted != "None" else "cpu"


def _computes_in_bfloat16() -> bool:
    import openvino

    return openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT") == openvino.Type.bf16


def _open(model: str | Path, task: str) -> Any:
    from ultralytics import RTDETR, YOLO

    stem = Path(model).stem.lower()
    if stem.startswith("rtdetr"):
        return RTDETR(str(model))
    return YOLO(str(model)) if str(model).endswith(".pt") else YOLO(str(model), task=task)


def _map_change(made: Exported, checkpoint: str | Path, data: str) -> dict[str, float]:
    """Measure both with Ultralytics' own val, on inputs of the export's shape; in percent."""
    batch, _, height, width = made.shape
    settings = {
        "data": data,
        "imgsz": max(height, width),
        "batch": batch,
        "rect": False,
        "device": _device(made),
    }
    settings |= {"plots": False, "verbose": False, "workers": 0, **_head(made)}
    results = []
    with tempfile.TemporaryDirectory(prefix="scsa-yolo-") as folder, quiet():
        for model in (checkpoint, made.path):
            metrics = _open(model, made.task).val(
                project=folder, name="val", exist_ok=True, **settings
            )
            results.append((100 * float(metrics.box.map50), 100 * float(metrics.box.map)))
    (before50, before), (after50, after) = results
    return {
        "map50_pytorch": before50,
        "map50_exported": after50,
        "map50": after50 - before50,
        "map_pytorch": before,
        "map_exported": after,
        "map": after - before,
    }


def _latency(
    reference: Runner,
    runner: Runner,
    pictures: Sequence[np.ndarray],
    shape: tuple[int, ...],
    rounds: int,
    stretch: bool,
) -> dict[str, Any]:
    from scsa_yolo.paired import turns as latency

    images = network_input(pictures, shape, stretch=stretch)
    series = latency.in_turns([lambda: reference(images), lambda: runner(images)], rounds, settle=1)
    middle = [latency.median(times) for times in series]
    return {
        "pytorch_ms": middle[0],
        "exported_ms": middle[1],
        "ratio": middle[1] / middle[0],
        "rounds": rounds,
    }
