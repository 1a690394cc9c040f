"""Is an exported model the model? Raw outputs, final boxes and mAP, each compared with PyTorch's.

Outputs mix pixels, scores and class numbers, and an error of 0.5 is nothing in a box and all in a
score. So every kind
of column has a scale of its own: the largest value of that kind in PyTorch's output, for scores at
least a hundredth, below which none is used and runtimes' sigmoids are exact to 1e-7 only. Errors
are shares of it.

Graphs that pick the best rows themselves (RT-DETR's queries, top-k heads, embedded NMS) give rows
whose order rounding may change, and at the cut one row may replace another. There each row is
compared with its nearest, and a hundredth of the rows may have no counterpart; where the score that
they are cut by is known, a tenth of those that lie at the cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = [
    "SCORE_FLOOR",
    "TOLERANCES",
    "BoxParity",
    "Boxes",
    "Layout",
    "RawParity",
    "Tolerance",
    "compare_boxes",
    "compare_raw",
    "failures",
]

SCORE_FLOOR = 0.01  # scale of scores at least
STRAY_ROWS = 0.01  # share of selected rows that may have no counterpart
STRAY_AT_CUT = 0.1  # the same, of rows whose score is that of the last row


@dataclass(frozen=True)
class Tolerance:
    """What a precision may change.

    Attributes:
        raw_max: Largest error of raw outputs, as a share of their scale; None: does not count.
        raw_mean: Mean error of raw outputs, as a share of their scale; None: does not count.
        raw_always: Whether raw outputs count even where boxes or an mAP are there to decide.
        lost: Share of boxes that may have no counterpart of their class with an IoU of 0.5.
        score: Largest change of a score; boxes this near to the threshold need no counterpart.
        map50: Points of mAP50 that may be lost.
    """

    raw_max: float | None
    raw_mean: float | None
    raw_always: bool
    lost: float
    score: float
    map50: float


TOLERANCES: dict[str, Tolerance] = {
    "float32": Tolerance(
        raw_max=1e-3, raw_mean=None, raw_always=True, lost=0.005, score=0.005, map50=0.1
    ),
    "float16": Tolerance(
        raw_max=3e-2, raw_mean=None, raw_always=False, lost=0.02, score=0.05, map50=0.3
    ),
    "int8": Tolerance(
        raw_max=None, raw_mean=5e-2, raw_always=False, lost=0.2, score=0.2, map50=3.0
    ),
}


@dataclass(frozen=True)
class Layout:
    """How a detector's first output is laid out.

    Attributes:
        axis: The axis of the columns: 1 of (B, 4 + classes, N), 2 of (B, N, ...); None: an output
            of one kind.
        kinds: Where a kind of columns ends, such as (4,) for boxes, then scores.
        selected: Whether the graph has chosen the rows.
        score: The column of the score that the rows were chosen by, if it is among the columns.
    """

    axis: int | None = None
    kinds: tuple[int, ...] = ()
    selected: bool = False
    score: int | None = None


@dataclass(frozen=True)
class RawParity:
    """Raw outputs compared.

    Attributes:
        shapes: Of PyTorch's outputs.
        max_abs: Largest difference, in the outputs' units.
        mean_abs: Mean difference, in the outputs' units.
        max_rel: Largest difference as a share of the scale of its kind.
        mean_rel: Mean of these shares.
        stray: Selected rows without a counterpart, as a share; they are in no figure above.
        problem: Why outputs could not be compared, or "".
    """

    shapes: tuple[tuple[int, ...], ...] = ()
    max_abs: float = 0.0
    mean_abs: float = 0.0
    max_rel: float = 0.0
    mean_rel: float = 0.0
    stray: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class Boxes:
    """Final boxes of one picture: corners (N, 4) in its pixels, scores (N,) and class numbers
    (N,).
    """

    xyxy: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


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
    """

    pytorch: int = 0
    exported: int = 0
    matched50: int = 0
    matched95: int = 0
    lost: int = 0
    score: float = 0.0
    shift: float = 0.0

    @property
    def empty(self) -> bool:
        """Neither found anything: the comparison shows nothing."""
        return not (self.pytorch or self.exported)


def compare_raw(
    expected: Sequence[np.ndarray], got: Sequence[np.ndarray], layout: Layout
) -> RawParity:
    """Compare the outputs of a graph with PyTorch's; ``layout`` is that of the first."""
    shapes = tuple(tuple(int(side) for side in part.shape) for part in expected)
    if len(got) < len(expected):
        return RawParity(shapes, problem=f"{len(got)} outputs in the place of {len(expected)}")
    parts, stray = [], 0.0
    for index, (wanted, found) in enumerate(zip(expected, got)):
        if wanted.shape != found.shape:
            return RawParity(
                shapes,
                problem=f"output {index} has the shape {found.shape}, PyTorch's has {wanted.shape}",
            )
        if not np.isfinite(found).all() and np.isfinite(wanted).all():
            return RawParity(shapes, problem=f"output {index} holds values that are no numbers")
        here = layout if index == 0 else Layout()
        error, scale, strays = _errors(wanted.astype(np.float64), found.astype(np.float64), here)
        parts.append((error.ravel(), (error / scale).ravel()))
        stray = max(stray, strays)
    absolute = np.concatenate([part[0] for part in parts])
    relative = np.concatenate([part[1] for part in parts])
    if not len(absolute):
        return RawParity(shapes, stray=stray)
    return RawParity(
        shapes,
        max_abs=float(absolute.max()),
        mean_abs=float(absolute.mean()),
        max_rel=float(relative.max()),
        mean_rel=float(relative.mean()),
        stray=stray,
    )


def _errors(
    wanted: np.ndarray, found: np.ndarray, layout: Layout
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return differences, scales that broadcast with them, and the share of rows without a
    counterpart.
    """
    if layout.axis is None:
        return np.abs(wanted - found), np.array(_peak(wanted)), 0.0
    wanted, found = np.moveaxis(wanted, layout.axis, -1), np.moveaxis(found, layout.axis, -1)
    scale = np.empty(wanted.shape[-1])
    for number, kind in enumerate(np.split(np.arange(wanted.shape[-1]), layout.kinds)):
        scale[kind] = max(_peak(wanted[..., kind]), SCORE_FLOOR if number else 0.0)
    if not layout.selected:
        return np.abs(wanted - found), scale, 0.0
    pairs = [_nearest(a, b, scale, layout.score) for a, b in zip(wanted, found)]
    return np.concatenate([error for error, _ in pairs]), scale, max(share for _, share in pairs)


def _peak(values: np.ndarray) -> float:
    peak = float(np.abs(values).max(initial=0.0))
    return peak if np.isfinite(peak) and peak > 0 else 1.0


def _nearest(
    wanted: np.ndarray, found: np.ndarray, scale: np.ndarray, score: int | None
) -> tuple[np.ndarray, float]:
    """Compare each row with its nearest on the other side, and leave out strays: the farthest, as
    many as may be.

    A row is a stray only where its distance is beyond float32's tolerance.
    """
    limit = TOLERANCES["float32"].raw_max or 0.0
    distance = np.zeros((len(wanted), len(found)))
    for column in range(
        wanted.shape[1]
    ):  # one at a time: rows x rows x 84 columns would fill the memory
        np.maximum(
            distance,
            np.abs(wanted[:, column, None] - found[None, :, column]) / scale[column],
            out=distance,
        )
    ahead, back = distance.argmin(axis=1), distance.argmin(axis=0)
    errors = np.concatenate([np.abs(wanted - found[ahead]), np.abs(wanted[back] - found)])
    worst = np.concatenate([distance.min(axis=1), distance.min(axis=0)])
    at_cut = np.zeros(len(worst), bool)
    if score is not None:
        sides = [
            rows[:, score] <= rows[:, score].min() + limit * scale[score]
            for rows in (wanted, found)
        ]
        at_cut = np.concatenate(sides)
    stray = np.zeros(len(worst), bool)
    for rows, share in ((at_cut, STRAY_AT_CUT), (~at_cut, STRAY_ROWS)):
        far = np.flatnonzero(rows & (worst > limit))
        stray[far[np.argsort(worst[far])[::-1][: int(share * len(worst))]]] = True
    return errors[~stray], float(stray.mean())


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
    totals, score, shift = np.zeros(5, dtype=int), 0.0, 0.0
    for a, b in zip(expected, got, strict=True):
        pairs = _pairs(a, b)
        alone = np.ones(len(a.scores), bool), np.ones(len(b.scores), bool)
        for i, j, overlap in pairs:
            alone[0][i] = alone[1][j] = False
            score = max(score, abs(float(a.scores[i] - b.scores[j])))
            shift = max(shift, float(np.abs(a.xyxy[i] - b.xyxy[j]).max()))
            totals[3] += overlap >= 0.95
        cuts = [
            threshold,
            *(float(side.scores.min()) for side in (a, b) if len(side.scores) >= most > 0),
        ]
        lost = sum(
            int((rest & (side.scores > max(cuts) + slack)).sum())
            for rest, side in zip(alone, (a, b))
        )
        totals += (len(a.scores), len(b.scores), len(pairs), 0, lost)
    pytorch, exported, matched50, matched95, lost = (int(total) for total in totals)
    return BoxParity(pytorch, exported, matched50, matched95, lost, score, shift)


def _pairs(a: Boxes, b: Boxes) -> list[tuple[int, int, float]]:
    """Return pairs (index, index, IoU) of boxes of one class that overlap by at least half."""
    low = np.maximum(a.xyxy[:, None, :2], b.xyxy[None, :, :2])
    high = np.minimum(a.xyxy[:, None, 2:], b.xyxy[None, :, 2:])
    common = (high - low).clip(0).prod(axis=2)
    area_a, area_b = ((side.xyxy[:, 2:] - side.xyxy[:, :2]).clip(0).prod(axis=1) for side in (a, b))
    iou = common / np.maximum(area_a[:, None] + area_b[None] - common, 1e-9)
    iou[a.classes[:, None] != b.classes[None]] = 0
    pairs = []
    while iou.size and iou.max() >= 0.5:
        i, j = np.unravel_index(int(iou.argmax()), iou.shape)
        pairs.append((int(i), int(j), float(iou[i, j])))
        iou[i, :], iou[:, j] = 0, 0
    return pairs


def failures(
    precision: str,
    raw: Sequence[RawParity],
    boxes: BoxParity | None,
    map50_change: float | None,
    *,
    judged: str | None = None,
) -> list[str]:
    """Return what is beyond the tolerance of the precision, one line each; none: parity holds.

    Args:
        precision: A key of :data:`TOLERANCES`.
        raw: Comparisons at each shape that was run.
        boxes: Final boxes, None if they were not compared.
        judged: The precision whose tolerance boxes and mAP are held to; default: ``precision``.
        map50_change: The exported model's mAP50 minus PyTorch's, in points; None if there is no
            data set.
    """
    allowed, found = TOLERANCES[precision], [part.problem for part in raw if part.problem]
    decided = map50_change is not None or (boxes is not None and not boxes.empty)
    if allowed.raw_always or not decided:
        for name, limit in (("max", allowed.raw_max), ("mean", allowed.raw_mean)):
            worst = max((getattr(part, f"{name}_rel") for part in raw), default=0.0)
            if limit is not None and worst > limit:
                found.append(
                    f"raw outputs differ by {worst:.1e} of their scale ({name}), allowed"
                    f" {limit:.0e}"
                )
    allowed = TOLERANCES[judged or precision]
    if boxes is not None and not boxes.empty:
        share = boxes.lost / max(boxes.pytorch, boxes.exported)
        if share > allowed.lost:
            found.append(
                f"{boxes.lost} boxes have no counterpart ({share:.1%}), allowed {allowed.lost:.0%}"
            )
        if boxes.score > allowed.score:
            found.append(f"a score changed by {boxes.score:.3f}, allowed {allowed.score}")
    if map50_change is not None and map50_change < -allowed.map50:
        found.append(f"mAP50 fell by {-map50_change:.2f} points, allowed {allowed.map50}")
    return found
