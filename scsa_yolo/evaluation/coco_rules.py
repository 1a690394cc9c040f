"""COCO's average precision and recall, computed by faster-coco-eval; nothing of its arithmetic is
repeated here.

What this file decides is which boxes it is shown, and how the ones to ignore are shown:

* ``crowd``: COCO's ``iscrowd``. A detection whose share in the crowd box reaches the threshold
  counts neither way, and any number of them may.
* other boxes to ignore that name a class (VOC's ``difficult``): the usual intersection over union
  decides, and a detection on such a box counts neither way. faster-coco-eval ignores boxes whose
  area is out of range, one detection each, so such a box is shown as often as there are detections
  that overlap it by half.
* what names no class (ignored regions, ``DontCare``): `clear_regions` before all else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scsa_yolo.evaluation.boxes import Detections, Truth, clear_regions, to_xywh
from scsa_yolo.evaluation.result import Scores
from scsa_yolo.evaluation.visdrone_rules import overlaps

__all__ = ["CocoTable", "require_faster_coco_eval"]

Array = NDArray[Any]
_OUT_OF_RANGE = 1e12  # px^2, beyond COCO's largest range, which ends at 1e10
_AREAS = ("all", "small", "medium", "large")
_CAPS = (1, 10, 100)  # detections per class and picture


def require_faster_coco_eval() -> None:
    """Raise ImportError, saying what to install, if faster-coco-eval is missing."""
    try:
        import faster_coco_eval  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'faster-coco-eval is missing: pip install "scsa-yolo[evaluation]"'
        ) from error


class CocoTable:
    """Labelled boxes and detections in faster-coco-eval's form, ready to be scored over any set of
    pictures.

    Args:
        pairs: Labelled boxes and detections, a pair for each picture.
        classes: Number of classes.
        honour_ignore: Whether boxes to ignore are ignored. If not, they are left out: a detection
            on one is wrong.
    """

    def __init__(
        self, pairs: Sequence[tuple[Truth, Detections]], classes: int, honour_ignore: bool = True
    ) -> None:
        require_faster_coco_eval()
        from faster_coco_eval import COCO

        if honour_ignore:
            pairs = [clear_regions(truth, found, truth.regions()) for truth, found in pairs]
        self.truths = [truth for truth, _ in pairs]
        self.classes = classes
        annotations: list[dict[str, Any]] = []
        for number, (truth, found) in enumerate(pairs, 1):
            for entry in _annotations(truth, found, honour_ignore):
                annotations.append({"id": len(annotations) + 1, "image_id": number, **entry})
        images = [
            {"id": i, "width": t.width, "height": t.height} for i, t in enumerate(self.truths, 1)
        ]
        categories = [{"id": c + 1, "name": str(c)} for c in range(classes)]
        self._gt = COCO({"images": images, "annotations": annotations, "categories": categories})
        results = _results(found for _, found in pairs)
        self._dt_images = results[:, 0].astype(int)
        self._dt = self._gt.loadRes(results)

    def score(self, chosen: Iterable[int] | None = None) -> tuple[Scores, list[Scores]]:
        """Score the pictures at positions `chosen`, or all; returns the mean and one row for each
        class.
        """
        precision, recall = self._run(range(len(self.truths)) if chosen is None else chosen, _CAPS)
        each = [_scores(precision[:, :, [c]], recall[:, [c]]) for c in range(self.classes)]
        return _scores(precision, recall), each

    def trapezoid(self) -> tuple[float | None, float | None]:
        """Return AP and AP50 with two of COCO's rules exchanged for Ultralytics'.

        Every detection counts, and the 101 points are joined to an area, where COCO takes their
        mean: the first point counts half, and precision at full recall counts as 0 (`compute_ap`'s
        sentinel), so a perfect class gets 99.5 %.
        """
        most = int(np.bincount(self._dt_images).max()) if len(self._dt_images) else 1
        precision = self._run(range(len(self.truths)), (1, 10, max(most, 100)))[0][:, :, :, 0, -1]
        present = precision[:, :, precision.min((0, 1)) > -1]
        if not present.size:
            return None, None
        present[:, -1] = 0
        areas = (present[:, 1:] + present[:, :-1]).mean(1) / 2
        return float(areas.mean()), float(areas[0].mean())

    def _run(self, chosen: Iterable[int], caps: Sequence[int]) -> tuple[Array, Array]:
        """Precision (threshold, recall, class, area, cap) and recall (threshold, class, area, cap),
        -1 for nothing.
        """
        from faster_coco_eval import COCOeval_faster

        run = COCOeval_faster(self._gt, self._dt, iouType="bbox", print_function=lambda *_: None)
        run.params.imgIds = sorted(i + 1 for i in chosen)
        run.params.catIds = [c + 1 for c in range(self.classes)]
        run.params.maxDets = list(caps)
        run.evaluate()
        run.accumulate()
        return np.asarray(run.eval["precision"]), np.asarray(run.eval["recall"])


def _annotations(truth: Truth, found: Detections, honour_ignore: bool) -> list[dict[str, Any]]:
    boxes = to_xywh(truth.xyxy)
    areas = boxes[:, 2] * boxes[:, 3] if truth.areas is None else truth.areas
    rows = [
        {**_annotation(int(c), box), "area": float(area)}
        for c, box, area in zip(truth.classes, boxes, areas, strict=True)
    ]
    for ignored in truth.ignore if honour_ignore else ():
        if ignored.cls is None:
            continue
        box = to_xywh(np.array([ignored.xyxy], float))
        if ignored.reason == "crowd":
            rows.append({**_annotation(ignored.cls, box[0]), "iscrowd": 1})
            continue
        rivals = to_xywh(found.xyxy[found.classes == ignored.cls])
        copies = int((overlaps(rivals, box) >= 0.5).sum())
        rows += [{**_annotation(ignored.cls, box[0]), "area": _OUT_OF_RANGE}] * copies
    return rows


def _annotation(number: int, xywh: Array) -> dict[str, Any]:
    box = [float(v) for v in xywh]
    return {"category_id": number + 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}


def _results(found: Iterable[Detections]) -> Array:
    """(N, 7) picture, left, top, width, height, score, class: the table that loadRes takes."""
    tables = [np.zeros((0, 7))]
    for number, one in enumerate(found, 1):
        column = np.full((len(one.scores), 1), number)
        tables.append(
            np.hstack([column, to_xywh(one.xyxy), one.scores[:, None], one.classes[:, None] + 1])
        )
    return np.concatenate(tables)


def _scores(precision: Array, recall: Array) -> Scores:
    """COCO's summary of its own tables: the mean of what is not -1."""

    def ap(thresholds: slice, area: str = "all") -> float | None:
        return _mean(precision[thresholds, :, :, _AREAS.index(area), -1])

    def ar(cap: int) -> float | None:
        return _mean(recall[:, :, 0, _CAPS.index(cap)])

    sizes = (ap(slice(None), area) for area in _AREAS[1:])
    return Scores(
        ap(slice(None)), ap(slice(0, 1)), ap(slice(5, 6)), *sizes, *(ar(cap) for cap in _CAPS)
    )


def _mean(values: Array) -> float | None:
    counted = values[values > -1]
    return float(counted.mean()) if counted.size else None
