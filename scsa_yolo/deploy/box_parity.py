"""Final boxes of an exported model and of PyTorch, matched picture by picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["BoxParity", "Boxes", "compare_boxes"]


@dataclass(frozen=True)
class Boxes:
    """Final boxes of one picture: corners (N, 4) in its pixels, scores (N,) and class numbers
    (N,); of turned boxes also (N, 5): centre, size and angle in radians.
    """

    xyxy: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    turned: np.ndarray | None = None


@dataclass(frozen=True)
class BoxParity:
    """Final boxes compared, over all pictures.

    Attributes:
        pytorch: Boxes that PyTorch found.
        exported: Boxes that the exported model found.
        matched50: Pairs of one class with an IoU of at least 0.5.
        matched95: Of them, those with at least 0.95.
        lost: Boxes of either without a counterpart, though their score is clear of the threshold.
        score: Largest difference of scores in a pair.
        shift: Largest distance that a corner's coordinate moved in a pair, in pixels of the
            picture.
        iou: Mean IoU of the pairs.
        top: PyTorch's largest score.
        threshold: The least score that was asked for.
    """

    pytorch: int = 0
    exported: int = 0
    matched50: int = 0
    matched95: int = 0
    lost: int = 0
    score: float = 0.0
    shift: float = 0.0
    iou: float = 1.0
    top: float = 1.0
    threshold: float = 0.25

    @property
    def empty(self) -> bool:
        """Neither found anything: the comparison shows nothing."""
        return not (self.pytorch or self.exported)

    @property
    def lost_share(self) -> float:
        """Lost boxes as a share of all different boxes, from 0 to 1."""
        different = self.pytorch + self.exported - self.matched50
        return min(1.0, self.lost / different) if different > 0 else 0.0


def compare_boxes(
    expected: Sequence[Boxes],
    got: Sequence[Boxes],
    *,
    threshold: float,
    slack: float,
    most: int = 300,
) -> BoxParity:
    """Match final boxes picture by picture: pairs of one class, the largest IoU first.

    Args:
        expected: PyTorch's boxes of each picture.
        got: Those of the exported model.
        threshold: The least score that was asked for.
        slack: A box this near above the threshold need not have a counterpart.
        most: The largest number of boxes of a picture; where it is reached, the last score is the
            threshold.
    """
    pytorch = exported = matched50 = matched95 = lost = 0
    score, shift, overlaps = 0.0, 0.0, 0.0
    for a, b in zip(expected, got, strict=True):
        pairs = _pairs(a, b)
        alone = np.ones(len(a.scores), bool), np.ones(len(b.scores), bool)
        for i, j, overlap in pairs:
            alone[0][i] = alone[1][j] = False
            score = max(score, abs(float(a.scores[i] - b.scores[j])))
            shift = max(shift, float(np.abs(a.xyxy[i] - b.xyxy[j]).max()))
            overlaps += overlap
            matched95 += overlap >= 0.95
        full = [side.scores for side in (a, b) if len(side.scores) >= most > 0]
        cut = max([threshold, *(float(scores.min()) for scores in full)]) + slack
        for rest, side in zip(alone, (a, b)):
            lost += int((rest & (side.scores > cut)).sum())
        pytorch, exported = pytorch + len(a.scores), exported + len(b.scores)
        matched50 += len(pairs)
    return BoxParity(
        pytorch,
        exported,
        matched50,
        matched95,
        lost,
        score,
        shift,
        iou=overlaps / matched50 if matched50 else 1.0,
        top=max((float(side.scores.max(initial=0.0)) for side in expected), default=0.0),
        threshold=threshold,
    )


def _pairs(a: Boxes, b: Boxes) -> list[tuple[int, int, float]]:
    """Return pairs (index, index, IoU) of boxes of one class that overlap by at least half."""
    if a.turned is not None and b.turned is not None:
        iou = _turned_iou(a.turned, b.turned)
    else:
        iou = _iou(a.xyxy, b.xyxy)
    iou[a.classes[:, None] != b.classes[None]] = 0
    pairs = []
    while iou.size and iou.max() >= 0.5:
        i, j = np.unravel_index(int(iou.argmax()), iou.shape)
        pairs.append((int(i), int(j), float(iou[i, j])))
        iou[i, :], iou[:, j] = 0, 0
    return pairs


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clip(0).prod(axis=2)
    area_a, area_b = ((side[:, 2:] - side[:, :2]).clip(0).prod(axis=1) for side in (a, b))
    return common / np.maximum(area_a[:, None] + area_b[None] - common, 1e-9)


def _turned_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Ultralytics' IoU of turned boxes."""
    import torch
    from ultralytics.utils.metrics import batch_probiou

    first, second = (torch.from_numpy(np.asarray(side, dtype=np.float64)) for side in (a, b))
    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    return batch_probiou(first, second).numpy()
