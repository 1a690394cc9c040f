"""An export with its proof: reload it where it will run, and compare it with PyTorch on pictures
and data.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scsa_yolo.deploy.export import Exported, quiet
from scsa_yolo.deploy.images import network_input
from scsa_yolo.deploy.layouts import layout_of, stride_of
from scsa_yolo.deploy.parity import (
    TOLERANCES,
    Boxes,
    BoxParity,
    RawParity,
    compare_boxes,
    compare_raw,
    failures,
    worse,
)
from scsa_yolo.deploy.runtimes import MissingRuntime, Runner, load, reason

__all__ = ["Proof", "check_shapes", "layout_of", "prove"]

# Ultralytics' threshold of predict, and lower ones where that leaves too few boxes to compare.
THRESHOLDS = (0.25, 0.05, 0.01, 0.001)
ENOUGH = 10  # boxes
RESPONSE = 1e-2  # outputs must differ by more, as a share of their scale, on another picture
BOX_TASKS = frozenset({"detect", "segment", "pose", "obb"})
NOT_SEEN_OF = {
    "segment": "masks were compared as coefficients and prototypes, not as pixels",
    "pose": "keypoints were compared in the raw outputs, not on the pictures",
    "classify": "no boxes: the scores of all classes were compared",
    "semantic": "no boxes: the map was compared pixel by pixel at the size of the input",
    "depth": "no boxes: the map was compared pixel by pixel at the size of the input",
}
Say = Callable[[str], None]


@dataclass
class Proof:
    """What was found of one exported model.

    Attributes:
        runtime: Name and version of what ran it, or "".
        raw: Comparison of raw outputs by shape (B, C, H, W).
        boxes: Final boxes; None if not compared.
        map_change: Metrics on the data by name: PyTorch's value, the exported model's, and the
            points gained or lost, in percent; None without data.
        latency: Medians in ms of PyTorch and of the runtime, their ratio, rounds; None if not
            measured.
        failed: What is beyond the tolerance; empty where parity holds.
        unseen: Why equality is not proven though nothing differs: what could not be compared.
        not_run: Why nothing was compared, or "".
        notes: What a reader should know.
        judged: The precision whose tolerance boxes and mAP are held to.
    """

    runtime: str = ""
    raw: dict[tuple[int, ...], RawParity] = field(default_factory=dict)
    boxes: BoxParity | None = None
    map_change: dict[str, dict[str, float]] | None = None
    latency: dict[str, Any] | None = None
    failed: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    not_run: str = ""
    notes: list[str] = field(default_factory=list)
    judged: str = "float32"

    @property
    def verdict(self) -> str:
        """``equal``, ``differs``, ``not proven`` or ``not run``."""
        if self.not_run:
            return "not run"
        if self.failed:
            return "differs"
        return "not proven" if self.unseen else "equal"


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
    found.judged = made.precision
    if made.format == "openvino" and made.precision == "float32" and _computes_in_bfloat16():
        found.judged = "float16"
        found.notes.append(
            "this CPU has bfloat16, in which OpenVINO computes by default: so boxes and mAP are"
            " held to the tolerance of float16; raw outputs were computed in float32"
        )
    say("comparing raw outputs")
    for shape in check_shapes(made):
        found.raw[shape] = _raw(reference, runner, pictures, shape, made)
    found.unseen += _unseen(reference, pictures, made, list(found.raw.values()))
    if made.task in BOX_TASKS and made.shape[1] == 3:
        say(f"comparing final boxes of {len(pictures)} pictures")
        found.boxes = _boxes(made, checkpoint, pictures, found)
    elif made.task in BOX_TASKS:
        found.notes.append(f"no boxes compared: the pictures have {made.shape[1]} channels")
    if made.task in NOT_SEEN_OF:
        found.notes.append(NOT_SEEN_OF[made.task])
    if data:
        _measure(made, checkpoint, data, found, say)
    if rounds:
        say(f"timing both in turns, {rounds} rounds")
        found.latency = _latency(reference, runner, pictures, made, rounds)
    _judge(made, found)
    return found


def _judge(made: Exported, found: Proof) -> None:
    """Note what is beyond the tolerance, and what nothing was there to decide by."""
    changes = {
        name: (values["pytorch"], values["change"])
        for name, values in (found.map_change or {}).items()
        if values["pytorch"] > 0
    }
    raw = list(found.raw.values())
    found.failed += failures(
        made.precision, raw, found.boxes, None, judged=found.judged, changes=changes
    )
    if found.map_change and not changes:
        found.notes.append("PyTorch's own mAP is 0 on this data: its change shows nothing")
    seen = bool(changes) or (found.boxes is not None and not found.boxes.empty)
    if made.precision == "int8" and made.task in BOX_TASKS and not seen:
        found.unseen.append(
            "no box was found and no mAP measured, and INT8's raw values alone decide nothing."
            " Type data=my.yaml, or pictures with objects: --images FOLDER"
        )


def _unseen(
    reference: Runner, pictures: Sequence[np.ndarray], made: Exported, raw: list[RawParity]
) -> list[str]:
    """Return what these pictures cannot show, whatever was exported."""
    found: list[str] = []
    total: RawParity | None = None
    for part in raw:
        total = worse(total, part)
    if total is not None and not total.problem:
        found += [f"{what}. Choose pictures with objects: --images" for what in total.unseen]
    if found or not raw or any(part.problem for part in raw):
        return found
    images = network_input(pictures, made.shape, stretch="RTDETR" in made.head)
    first, other = reference(images), reference(1 - images)
    answer = compare_raw(first, other, layout_of(made, first))
    response = max(answer.max_rel, answer.flips)
    if not answer.problem and response < RESPONSE:
        found.append(
            f"PyTorch's own outputs hardly depend on the picture ({response:.0e} of their scale),"
            " as those of a model that is not trained: a wrong graph could give the same"
        )
    return found


def _measure(made: Exported, checkpoint: str | Path, data: str, found: Proof, say: Say) -> None:
    """Measure both on the data, where Ultralytics gives both the same input."""
    if made.shape[2] != made.shape[3]:
        found.notes.append(
            "no mAP: Ultralytics validates a checkpoint on squares, and the export is a rectangle"
        )
        return
    say(f"measuring both on {data}")
    found.map_change = _map_change(made, checkpoint, data)
    found.notes.append(
        "mAP of both was measured with rect=False; yolo val gives a checkpoint rectangles"
        " (rect=True), and so another figure"
    )


def check_shapes(made: Exported) -> list[tuple[int, ...]]:
    """Return the shape of the export, and for a dynamic one other batches, other sizes and
    rectangles.
    """
    batch, channels, height, width = made.shape
    stride = stride_of(made.reference)
    if not made.dynamic:
        return [made.shape]
    other = (
        2 if batch == 1 and not made.nms else 1
    )  # an embedded NMS is unrolled for the export's batch
    lower = max(stride, height // 2 // stride * stride)
    return [
        made.shape,
        (other, channels, height + stride, width + 3 * stride),
        (1, channels, lower, width),
    ]


def _raw(
    reference: Runner,
    runner: Runner,
    pictures: Sequence[np.ndarray],
    shape: tuple[int, ...],
    made: Exported,
) -> RawParity:
    """Compare at one shape on every picture, and return the worst of each figure."""
    worst: RawParity | None = None
    for first in range(0, len(pictures), shape[0]):
        images = network_input(pictures, shape, stretch="RTDETR" in made.head, first=first)
        expected = reference(images)
        try:
            got = runner(images)
        except Exception as error:  # noqa: BLE001  each runtime has its own
            size = "x".join(map(str, shape))
            return RawParity(problem=f"{runner.name} does not run at {size}: {reason(error)}")
        part = compare_raw(expected, got, layout_of(made, expected))
        if part.problem:
            return part
        worst = worse(worst, part)
    return worst or RawParity(problem="there was no picture to compare on")


def _boxes(
    made: Exported, checkpoint: str | Path, pictures: Sequence[np.ndarray], found: Proof
) -> BoxParity | None:
    """Let Ultralytics predict with both, as a user would."""
    asked = made.settings.get("conf")
    thresholds = THRESHOLDS if asked is None and not made.nms else (float(asked or THRESHOLDS[0]),)
    settings = {
        key: made.settings[key]
        for key in ("iou", "max_det", "agnostic_nms")
        if key in made.settings
    }
    try:
        for conf in thresholds:
            expected = _predict(checkpoint, made, pictures, conf=conf, **settings)
            if sum(len(side.scores) for side in expected) >= ENOUGH:
                break
        got = _predict(made.path, made, pictures, conf=conf, **settings)
    except Exception as error:  # noqa: BLE001  the runtime of any vendor
        found.failed.append(f"Ultralytics cannot predict: {reason(error)}")
        return None
    top = max((float(side.scores.max(initial=0.0)) for side in expected), default=0.0)
    boxes = compare_boxes(
        expected,
        got,
        threshold=conf,
        slack=TOLERANCES[found.judged].score * top,
        most=int(settings.get("max_det", 300)),
    )
    if boxes.empty:
        found.notes.append(f"neither found a box with a score of {conf}: raw outputs decide")
    elif conf < thresholds[0]:
        found.notes.append(
            f"few boxes reach a score of {thresholds[0]}: those from {conf} on were compared"
        )
    return boxes


def _predict(
    model: str | Path, made: Exported, pictures: Sequence[np.ndarray], **settings: Any
) -> list[Boxes]:
    batch, _, height, width = made.shape
    rounded_up = math.ceil(len(pictures) / batch) * batch
    chosen = [pictures[index % len(pictures)] for index in range(rounded_up)]
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
            part = chosen[start : start + batch]
            for result in runner.predict(part, device=_device(made), **settings):
                found.append(_boxes_of(result))
    return found[: len(pictures)]


def _boxes_of(result: Any) -> Boxes:
    if result.obb is None:
        table = result.boxes.cpu().numpy()
        return Boxes(table.xyxy, table.conf, table.cls)
    table = result.obb.cpu().numpy()
    return Boxes(table.xyxy, table.conf, table.cls, turned=table.xywhr)


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


def _map_change(made: Exported, checkpoint: str | Path, data: str) -> dict[str, dict[str, float]]:
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
            opened = _open(model, made.task)
            metrics = opened.val(project=folder, name="val", exist_ok=True, **settings)
            results.append(_figures(metrics))
    before, after = results
    return {
        name: {"pytorch": value, "exported": after[name], "change": after[name] - value}
        for name, value in before.items()
    }


def _figures(metrics: Any) -> dict[str, float]:
    """Return a validation's figures by name, in percent: of boxes, masks and keypoints each its
    mAP, of other tasks what Ultralytics chooses the best weights by.
    """
    found: dict[str, float] = {}
    for part, title in (("box", ""), ("seg", " of masks"), ("pose", " of keypoints")):
        values = getattr(metrics, part, None)
        if values is not None and hasattr(values, "map50"):
            found[f"mAP50{title}"] = 100 * float(values.map50)
            found[f"mAP50-95{title}"] = 100 * float(values.map)
    return found or {"fitness": 100 * float(metrics.fitness)}


def _latency(
    reference: Runner,
    runner: Runner,
    pictures: Sequence[np.ndarray],
    made: Exported,
    rounds: int,
) -> dict[str, Any]:
    from scsa_yolo.paired import turns as latency

    images = network_input(pictures, made.shape, stretch="RTDETR" in made.head)
    series = latency.in_turns([lambda: reference(images), lambda: runner(images)], rounds, settle=1)
    middle = [latency.median(times) for times in series]
    return {
        "pytorch_ms": middle[0],
        "exported_ms": middle[1],
        "ratio": middle[1] / middle[0],
        "rounds": rounds,
    }
