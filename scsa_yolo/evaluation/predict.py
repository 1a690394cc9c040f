"""Run a model once through Ultralytics' own validator, and keep what it found in the pixels of each
picture.

The validator is the model's own class with one method extended, so that loading, letterboxing,
suppression and the mAP that Ultralytics reports are all Ultralytics'. Relied on:
``Model.val(validator=...)``, and of ``DetectionValidator`` ``update_metrics``, ``_prepare_batch``,
``eval_json`` and ``metrics.box`` (8.4.108 to 8.4.190).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from scsa_yolo.evaluation.boxes import Detections

__all__ = ["EvaluationError", "Run", "load_model", "run_model"]


class EvaluationError(ValueError):
    """An evaluation that cannot be made; the message is one line that says why and what to do."""


@dataclass
class Run:
    """What one pass of the validator gave.

    Attributes:
        found: Detections by path of the picture, in its own pixels, cut at its borders.
        uncut: The same, not cut: on these Ultralytics computes its own mAP.
        sizes: Width and height of each picture as decoded, in pixels.
        own: Ultralytics' own mAP: ``map`` and ``map50``, and ``maps`` by class, as shares of 1.
        settings: The settings the validator ran with.
        speed: Milliseconds per picture, by step.
    """

    found: dict[str, Detections] = field(default_factory=dict)
    uncut: dict[str, Detections] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    speed: dict[str, float] = field(default_factory=dict)


def load_model(model: Any) -> Any:
    """Return an Ultralytics model: `model` itself, or what Ultralytics loads from that path.

    Raises:
        EvaluationError: Ultralytics cannot load it, or it is no detector of boxes.
    """
    if isinstance(model, str | Path):
        path = Path(model)
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise EvaluationError(f"{model}: not a regular file, so no model")
        from ultralytics import YOLO

        try:
            model = YOLO(str(model))
        except FileNotFoundError as error:
            raise EvaluationError(f"{model}: no such model") from error
        except Exception as error:
            reason = f"{_first_line(error)}{_safe_loading()}"
            raise EvaluationError(
                f"{model}: Ultralytics cannot load this model: {reason}"
            ) from error
    if model.task != "detect":
        raise EvaluationError(
            f"the model's task is {model.task!r}, and evaluate measures detectors of boxes only; "
            f"use `yolo {model.task} val`"
        )
    return model


def _safe_loading() -> str:
    """Say that files with code of their own are refused, where that was asked for."""
    asked = os.environ.get("ULTRALYTICS_SAFE_LOAD", "").lower() in ("1", "true")
    return ". ULTRALYTICS_SAFE_LOAD is set: only weights and known classes open" if asked else ""


def digest(model: Any) -> str | None:
    """Return the SHA-256 of the model's file (of its files in sorted order for a folder), None
    without a file.
    """
    path = model_path(model)
    if path is None:
        return None
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            while chunk := content.read(1 << 20):
                total.update(chunk)
    return total.hexdigest()


def model_path(model: Any) -> Path | None:
    """Return the file or folder that an Ultralytics model was loaded from."""
    for candidate in (
        getattr(model, "ckpt_path", None),
        model.model,
        getattr(model, "model_name", None),
    ):
        if isinstance(candidate, str | Path) and Path(candidate).exists():
            return Path(candidate)
    return None


def run_model(model: Any, data: Path, **settings: Any) -> Run:
    """Validate `model` on `data`, with any of Ultralytics' settings.

    Args:
        model: An Ultralytics model whose task is ``detect``.
        data: A data YAML.
        **settings: ``split``, ``imgsz``, ``batch``, ``device``, ``conf``, ``iou``, ``max_det`` ...

    Raises:
        EvaluationError: Ultralytics could not run the model on this data.
    """
    run = Run()
    validator = _recording(model._smart_load("validator"), run)
    with tempfile.TemporaryDirectory(
        prefix="scsa-yolo-"
    ) as folder:  # Ultralytics wants a run folder; it stays empty
        try:
            model.val(
                validator=validator,
                data=str(data),
                project=folder,
                name="val",
                plots=False,
                verbose=False,
                **settings,
            )
        except Exception as error:  # a model is anybody's code
            what = f"{type(error).__name__}: {_first_line(error)}"
            raise EvaluationError(f"Ultralytics could not run the model: {what}") from error
    return run


def _recording(base: Any, run: Run) -> type:
    """Return a validator class that does as `base`, and notes detections in `run`."""
    from ultralytics.models.rtdetr import RTDETRValidator

    stretched = issubclass(base, RTDETRValidator)

    class RecordingValidator(base):
        def update_metrics(self, preds: list[dict[str, Any]], batch: dict[str, Any]) -> None:
            for i, pred in enumerate(preds):
                prepared = self._prepare_batch(i, batch)
                image, (height, width) = str(prepared["im_file"]), prepared["ori_shape"]
                boxes = _native(_array(pred["bboxes"]), prepared, stretched)
                found = Detections.sorted(boxes, _array(pred["conf"]), _array(pred["cls"]))
                run.sizes[image], run.uncut[image] = (int(width), int(height)), found
                run.found[image] = replace(
                    found, xyxy=np.clip(found.xyxy, 0, (width, height, width, height))
                )
            super().update_metrics(preds, batch)

        def eval_json(self, stats: dict[str, Any]) -> dict[str, Any]:
            # on COCO's own layout this would put COCOeval's numbers in the place of Ultralytics'
            return stats

        def finalize_metrics(self) -> None:
            super().finalize_metrics()
            box = self.metrics.box
            maps = {
                int(c): float(ap)
                for c, ap in zip(box.ap_class_index, box.all_ap.mean(1), strict=True)
            }
            run.own = {"map": float(box.map), "map50": float(box.map50), "maps": maps}
            names = ("imgsz", "batch", "conf", "iou", "max_det", "rect", "agnostic_nms")
            run.settings = {name: getattr(self.args, name) for name in names} | {
                "device": str(self.device)
            }
            run.speed = {name: round(float(value), 3) for name, value in self.speed.items()}

    return RecordingValidator


def _native(boxes: Any, prepared: dict[str, Any], stretched: bool) -> Any:
    """Turn (N, 4) corners on the network's input into corners on the picture.

    Ultralytics' `scale_preds` does the same, but cuts at the borders, takes the vertical scale for
    both sides, which rounding makes differ on small pictures, and serves RT-DETR in newer versions
    only.
    """
    (height, width), (high, wide) = prepared["ori_shape"], prepared["imgsz"]
    if stretched:  # RT-DETR's input is a square that the picture fills
        return boxes * (width / wide, height / high, width / wide, height / high)
    (down, across), (left, top) = prepared["ratio_pad"]
    return (boxes - (left, top, left, top)) / (across, down, across, down)


def _array(values: Any) -> Any:
    return values.detach().float().cpu().numpy().astype(np.float64)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
