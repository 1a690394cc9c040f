"""The VisDrone-DET benchmark's own arithmetic, in NumPy.

It follows the organisers' MATLAB toolkit (https://github.com/VisDrone/VisDrone2018-DET-toolkit,
commit 0054457), whose numbers differ from COCO's on the same detections:

* a detection with half of its area or more in ignored regions is deleted before matching, and so is
  a labelled box (``dropObjectsInIgr.m``; both sides are first rounded to whole pixels and moved to
  at least 1);
* the cap of 500, or 1, 10, 100 for recall, is per picture over all classes together, not per class
  (``calcAccuracy.m`` takes the first rows of a result file; here they are in descending score);
* AP is the whole area under the monotone precision envelope, not the mean of 101 points
  (``VOCap.m``);
* the averages run over a list that names a class once for every picture that holds it, so that
  frequent classes weigh more (``calcAccuracy.m``: ``evalClass``). The plain mean over classes is
  given beside it;
* the category "others" acts no part: it is no labelled class, and no ignored region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CAPS", "THRESHOLDS", "Picture", "VisDroneScores", "inside_regions", "overlaps", "score"]

Array = NDArray[Any]
CAPS = (1, 10, 100, 500)  # detections per picture, all classes together
THRESHOLDS = np.arange(10) * 0.05 + 0.5


@dataclass(frozen=True)
class Picture:
    """Boxes of one picture, in pixels.

    Attributes:
        gt: (G, 4) labelled boxes as left, top, width, height.
        gt_classes: (G,) their classes.
        dt: (D, 4) detections, in descending score.
        dt_classes: (D,) their classes.
        dt_scores: (D,) their scores.
    """

    gt: Array
    gt_classes: Array
    dt: Array
    dt_classes: Array
    dt_scores: Array


@dataclass(frozen=True)
class VisDroneScores:
    """What the toolkit prints, as shares of 1.

    Attributes:
        ap: (C, 10) per class and IoU threshold.
        ar: (C, 10, 4) per class, threshold and cap.
        weights: (C,) pictures that hold the class: its weight in the toolkit's averages.
    """

    ap: Array
    ar: Array
    weights: Array

    def mean(self, values: Array) -> float | None:
        """Average (C, ...) values as the toolkit does, None if no picture holds a labelled box."""
        if not self.weights.sum():
            return None
        return float(np.average(values.reshape(len(values), -1).mean(1), weights=self.weights))

    def plain_mean(self, values: Array) -> float | None:
        """Average (C, ...) values over the classes that are there, each counted once."""
        present = self.weights > 0
        return float(values[present].mean()) if present.any() else None


def inside_regions(boxes: Array, regions: Array, width: int, height: int) -> Array:
    """Tell which boxes have half of their area or more in the union of the regions, as the toolkit
    counts pixels.

    Args:
        boxes: (N, 4) left, top, width, height in pixels.
        regions: (R, 4) likewise.
        width: Of the picture, pixels.
        height: Of the picture, pixels.

    Returns:
        (N,) bool.
    """
    if not len(boxes) or not len(regions):
        return np.zeros(len(boxes), bool)
    painted = np.zeros(
        (height + 1, width + 1), np.int64
    )  # row and column 0 stay empty: MATLAB counts from 1
    for x, y, w, h in np.maximum(1, _round(regions)):
        painted[y : min(height, y + h) + 1, x : min(width, x + w) + 1] = 1
    total = painted.cumsum(0).cumsum(1)
    x, y, w, h = np.maximum(1, _round(boxes)).T
    left, top = np.minimum(width, x), np.minimum(height, y)
    right, bottom = np.minimum(width, left + w), np.minimum(height, top + h)
    covered = total[top, left] + total[bottom, right] - total[top, right] - total[bottom, left]
    return covered / (w * h) >= 0.5


def score(pictures: Sequence[Picture], classes: int) -> VisDroneScores:
    """Score detections that were already cleared of ignored regions (`inside_regions`).

    Args:
        pictures: All pictures of the split.
        classes: Number of classes.
    """
    ap, ar = np.zeros((classes, 10)), np.zeros((classes, 10, len(CAPS)))
    weights = np.zeros(classes)
    for number in range(classes):
        found = [_of_class(picture, number) for picture in pictures]
        weights[number] = sum(1 for labelled, *_ in found if labelled)
        labelled = sum(count for count, *_ in found)
        scores = np.concatenate([part[1] for part in found]) if found else np.zeros(0)
        ranks = np.concatenate([part[2] for part in found]) if found else np.zeros(0)
        hits = np.concatenate([part[3] for part in found]) if found else np.zeros((0, 10), bool)
        order = np.argsort(-scores, kind="stable")
        ranks, hits = ranks[order], hits[order]
        for c, cap in enumerate(CAPS):
            ar[number, :, c] = hits[ranks < cap].sum(0) / max(1, labelled)
        ap[number] = [_area(hits[ranks < CAPS[-1], t], labelled) for t in range(10)]
    return VisDroneScores(ap, ar, weights)


def _round(values: Array) -> Array:
    """MATLAB's rounding, halves away from zero, to int."""
    return (np.sign(values) * np.floor(np.abs(values) + 0.5)).astype(np.int64)


def _of_class(picture: Picture, number: int) -> tuple[int, Array, Array, Array]:
    """Labelled boxes, and scores (D,), ranks among all detections (D,) and hits (D, 10) of a class
    in a picture.

    One pass serves all caps: matching is greedy in descending score, so a cap only cuts its tail.
    """
    gt = picture.gt[picture.gt_classes == number]
    ranks = np.flatnonzero(picture.dt_classes == number)
    ranks = ranks[ranks < CAPS[-1]]
    return len(gt), picture.dt_scores[ranks], ranks, _match(overlaps(picture.dt[ranks], gt))


def overlaps(dt: Array, gt: Array) -> Array:
    """(D, G) intersection over union of boxes given as left, top, width, height."""
    low = np.maximum(dt[:, None, :2], gt[None, :, :2])
    high = np.minimum(dt[:, None, :2] + dt[:, None, 2:], gt[None, :, :2] + gt[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(2)
    union = dt[:, 2:].prod(1)[:, None] + gt[:, 2:].prod(1)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def _match(shared: Array) -> Array:
    """(D, 10) whether each detection takes a free labelled box, the one it overlaps most, of equals
    the later.

    `shared` is (D, G) from `overlaps`, detections in descending score.
    """
    hits = np.zeros((len(shared), 10), bool)
    if not shared.size:
        return hits
    free = np.ones((10, shared.shape[1]), bool)
    last = shared.shape[1] - 1
    rows = np.arange(10)
    for d in np.flatnonzero((shared >= THRESHOLDS[0]).any(1)):
        open_to_it = np.where(free, shared[d], -1.0)
        best = last - open_to_it[:, ::-1].argmax(1)
        hits[d] = open_to_it[rows, best] >= THRESHOLDS
        free[rows[hits[d]], best[hits[d]]] = False
    return hits


def _area(hits: Array, labelled: int) -> float:
    """Area under the monotone envelope of precision over recall. `hits` (D,) in descending
    score.
    """
    true = hits.cumsum()
    recall = np.concatenate([[0.0], true / max(1, labelled), [1.0]])
    precision = np.concatenate([[0.0], true / np.arange(1, len(hits) + 1), [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall) * envelope[1:]).sum())
