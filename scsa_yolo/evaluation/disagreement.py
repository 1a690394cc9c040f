"""Where two sets of rules give noticeably different numbers for one model: that, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from scsa_yolo.evaluation.boxes import Detections, Truth
from scsa_yolo.evaluation.result import (
    COCO,
    COCO_NOTHING_IGNORED,
    ULTRALYTICS,
    VISDRONE,
    Row,
    Scores,
)

__all__ = ["NOTICEABLE", "disagreements", "outside"]

NOTICEABLE = 0.02  # share of 1: two points of AP or AP50
_NAMES = {COCO: "COCO's rules", VISDRONE: "VisDrone's rules", ULTRALYTICS: "Ultralytics' own"}
_HALF = 0.5  # a box that lies outside its picture with more than this share of its area
_FEW = 0.01  # share of the detections
_CAP = 100  # detections of a class in a picture that COCO's rules count


def disagreements(
    rows: Sequence[Row],
    truths: Sequence[Truth],
    found: Mapping[str, Detections],
    uncut: Mapping[str, Detections],
) -> Iterator[str]:
    """Yield a note for each two sets of rules that differ by over two points of AP or AP50.

    Args:
        rows: Those over all pictures; others are passed over.
        truths: What the pictures show.
        found: Detections by picture, cut at its borders.
        uncut: The same, not cut.
    """
    overall = {row.rules: row.scores for row in rows if row.group == "all"}
    first = COCO if COCO in overall else VISDRONE
    for one, other in ((first, ULTRALYTICS), (COCO, VISDRONE)):
        if one not in overall or other not in overall:
            continue
        gap = _gap(overall[one].ap, overall[other].ap)
        gap50 = _gap(overall[one].ap50, overall[other].ap50)
        if max(gap, gap50) <= NOTICEABLE:
            continue
        name = "ap50" if gap50 >= gap else "ap"
        values = [100 * getattr(overall[rules], name) for rules in (one, other)]
        reasons = list(_reasons(one, other, overall, truths, found, uncut))
        yield (
            f"{name.upper()} is {values[0]:.2f} by {_NAMES[one]} and {values[1]:.2f} by"
            f" {_NAMES[other]}: {'; '.join(reasons)}. Compare numbers of one rule only"
        )


def outside(found: Detections, uncut: Detections) -> int:
    """Count the detections of which more than half lies outside their picture."""
    whole, inside = _areas(uncut), _areas(found)
    return int((inside < _HALF * whole).sum())


def _reasons(
    one: str,
    other: str,
    overall: Mapping[str, Scores],
    truths: Sequence[Truth],
    found: Mapping[str, Detections],
    uncut: Mapping[str, Detections],
) -> Iterator[str]:
    """Yield what the two rules do differently, what matters here first."""
    if other == ULTRALYTICS:
        total = sum(len(boxes.scores) for boxes in found.values())
        far = sum(outside(found[image], uncut[image]) for image in found)
        if far > _FEW * total:
            yield (
                f"{far:,} of {total:,} detections lie more than half outside their picture, as"
                " after few epochs"
            )
        yield f"{_NAMES[one]} cut boxes at the picture's borders first, Ultralytics does not"
        if COCO_NOTHING_IGNORED in overall or any(truth.ignore for truth in truths):
            yield "Ultralytics knows no boxes to ignore"
    else:
        yield (
            "VisDrone's weigh a class by the number of pictures that hold it, and take 500"
            " detections a picture"
        )
    crowded = sum(1 for truth in truths if _most(truth) > _CAP)
    if crowded and one == COCO:
        yield f"COCO's count {_CAP} detections of a class, and {crowded:,} pictures hold more boxes"


def _gap(first: float | None, second: float | None) -> float:
    if first is None or second is None:
        return 0.0
    return round(abs(first - second), 9)  # 0.50 and 0.48 differ by two points, not by more


def _most(truth: Truth) -> int:
    """Return the number of boxes of the picture's most frequent class."""
    return int(np.bincount(truth.classes.astype(int)).max()) if len(truth.classes) else 0


def _areas(found: Detections) -> np.ndarray:
    sides = found.xyxy[:, 2:] - found.xyxy[:, :2]
    return np.clip(sides, 0, None).prod(axis=1)
