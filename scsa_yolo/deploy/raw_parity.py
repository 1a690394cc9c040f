"""Raw outputs of a graph compared with PyTorch's, kind of column by kind of column.

Outputs mix pixels, scores, mask coefficients, keypoints, angles and class numbers, and an error of
0.5 is nothing in a box and all in a score. So every kind of column has a scale of its own: the
largest value of that kind in PyTorch's output, for scores at least a thousandth, since runtimes'
sigmoids are exact to 1e-7 only. Errors are shares of it.

The largest error says all of float32. Rounded precisions have single large errors that mean
nothing, so two more figures are taken, which a systematic fault cannot pass: the mean error of the
worst column as a share of what is usual in it (of a box's coordinates: of the boxes' size), and the
mean error of the largest scores.

Graphs that pick the best rows themselves (RT-DETR's queries, top-k heads, embedded NMS) give rows
whose order rounding may change, and at the cut one row may replace another. There each row is
compared with its nearest. Rows without a counterpart are left out where they lie at the cut; the
best rows must all be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

__all__ = ["SCORE_FLOOR", "Layout", "RawParity", "compare_raw", "worse"]

SCORE_FLOOR = 1e-3  # scale of scores at least
BLIND = 4e-6  # scores that no larger one is beside cannot be told from rounding
STRAY_ROWS = 0.01  # share of selected rows, of the lower half, that may have no counterpart
STRAY_AT_CUT = 0.1  # the same, of rows whose score is that of the last row
STRAY_FROM = 1e-3  # distance of a row from its nearest beyond which it has no counterpart
AT_CUT = 2e-3  # how near to the last score, as a share of the largest, a row is at the cut
VARIES = 0.03  # deviation of a kind, as a share of its scale, from which its pattern counts
TOP = 100  # largest scores whose mean error is taken
BOXES, SCORES, CLASSES, VALUES = "boxes", "scores", "class numbers", "values"


@dataclass(frozen=True)
class Layout:
    """How an output is laid out.

    Attributes:
        axis: The axis of the columns: 1 of (B, 4 + classes, N), 2 of (B, N, ...); None: an output
            of one kind.
        kinds: Where a kind of columns ends, such as (4,) for boxes, then scores.
        selected: Whether the graph has chosen the rows.
        score: The column of the score that the rows were chosen by, if it is among the columns.
        names: What each kind is; default: boxes, scores, and values from there on.
        per_point: Numbers of a keypoint where keypoints follow from the last of ``kinds`` on; the
            third of three is a confidence, which is a kind of its own.
        corners: Whether boxes are corners and not centre and size.
        cut: The least score of a row that the graph gives.
    """

    axis: int | None = None
    kinds: tuple[int, ...] = ()
    selected: bool = False
    score: int | None = None
    names: tuple[str, ...] = ()
    per_point: int = 0
    corners: bool = False
    cut: float = 0.0

    def groups(self, columns: int) -> list[tuple[str, np.ndarray]]:
        """Return the kinds of that many columns, each with its columns."""
        if self.axis is None:
            return [(self.names[0] if self.names else VALUES, np.arange(columns))]
        parts = [part for part in np.split(np.arange(columns), self.kinds) if len(part)]
        third = CLASSES if self.selected and len(self.kinds) >= 3 else VALUES
        usual = (BOXES, SCORES, third, *[VALUES] * len(parts))
        names = self.names or usual[: len(parts)]
        found = list(zip(names, parts))
        if self.per_point == 3:
            _, points = found.pop()
            is_score = (points - points[0]) % 3 == 2
            found += [("keypoints", points[~is_score]), ("keypoint scores", points[is_score])]
        return found


@dataclass(frozen=True)
class RawParity:
    """Raw outputs compared.

    Attributes:
        shapes: Of PyTorch's outputs.
        max_abs: Largest difference, in the outputs' units.
        mean_abs: Mean difference, in the outputs' units.
        max_rel: Largest difference as a share of the scale of its kind.
        mean_rel: Mean of these shares.
        column: Mean difference of the worst column, as a share of its usual value.
        top: Mean difference of the largest scores, as a share of them.
        alike: Least correlation of a kind's values with PyTorch's; 1 where rows are chosen.
        flips: Share of class numbers of a map that differ.
        stray: Selected rows without a counterpart, as a share; they are in no figure above.
        problem: Why outputs could not be compared, or "".
        unseen: What PyTorch's own output is too empty to show, each in a few words.
    """

    shapes: tuple[tuple[int, ...], ...] = ()
    max_abs: float = 0.0
    mean_abs: float = 0.0
    max_rel: float = 0.0
    mean_rel: float = 0.0
    column: float = 0.0
    top: float = 0.0
    alike: float = 1.0
    flips: float = 0.0
    stray: float = 0.0
    problem: str = ""
    unseen: tuple[str, ...] = ()


FIGURES = ("max_abs", "mean_abs", "max_rel", "mean_rel", "column", "top", "flips", "stray")


def worse(one: RawParity | None, other: RawParity) -> RawParity:
    """Return the larger of each figure; unseen is only what neither could see."""
    if one is None:
        return other
    figures: dict[str, Any] = {
        name: max(getattr(one, name), getattr(other, name)) for name in FIGURES
    }
    both = tuple(what for what in one.unseen if what in other.unseen)
    figures["alike"] = min(one.alike, other.alike)
    return replace(other, **figures, problem=one.problem or other.problem, unseen=both)


def compare_raw(
    expected: Sequence[np.ndarray], got: Sequence[np.ndarray], layout: Layout
) -> RawParity:
    """Compare the outputs of a graph with PyTorch's; ``layout`` is that of the first."""
    shapes = tuple(tuple(int(side) for side in part.shape) for part in expected)
    if not expected:
        return RawParity(problem="PyTorch gave no output")
    if len(got) < len(expected):
        return RawParity(shapes, problem=f"{len(got)} outputs in the place of {len(expected)}")
    parts = []
    for index, (wanted, found) in enumerate(zip(expected, got)):
        if problem := _problem(index, wanted, found):
            return RawParity(shapes, problem=problem)
        parts.append(_compare(wanted, found, layout if index == 0 else _of_maps(wanted)))
    total: RawParity | None = None
    sizes = np.array([part.size for part in expected], dtype=float)
    for part in parts:
        total = worse(total, part)
    means: dict[str, Any] = {
        name: float(np.average([getattr(part, name) for part in parts], weights=sizes))
        for name in ("mean_abs", "mean_rel")
        if sizes.sum()
    }
    unseen = tuple(what for part in parts for what in part.unseen)
    return replace(total or RawParity(), shapes=shapes, unseen=unseen, **means)


def _problem(index: int, wanted: np.ndarray, found: np.ndarray) -> str:
    if wanted.shape != found.shape:
        return f"output {index} has the shape {found.shape}, PyTorch's has {wanted.shape}"
    if not np.isfinite(found).all() and np.isfinite(wanted).all():
        return f"output {index} holds values that are no numbers"
    if not np.isfinite(wanted).all():
        return f"output {index} of PyTorch holds values that are no numbers: a weight may be broken"
    return ""


def _of_maps(output: np.ndarray) -> Layout:
    """Return the layout of an output besides the first: maps, or vectors, channel by channel."""
    return Layout(axis=1, names=(VALUES,)) if output.ndim > 1 else Layout()


def _compare(wanted: np.ndarray, found: np.ndarray, layout: Layout) -> RawParity:
    if not wanted.size:
        return RawParity(unseen=("an empty output",))
    if wanted.dtype.kind in "iub":  # a map of class numbers, which the graph has chosen
        share = float((wanted != found).mean())
        alone = len(np.unique(wanted)) == 1
        return RawParity(flips=share, unseen=("a map of one class alone",) if alone else ())
    wanted, found = wanted.astype(np.float64), found.astype(np.float64)
    if layout.axis is None:
        wanted, found = wanted.reshape(-1, 1), found.reshape(-1, 1)
    else:
        wanted = np.moveaxis(wanted, layout.axis, -1)
        found = np.moveaxis(found, layout.axis, -1)
    groups = layout.groups(wanted.shape[-1])
    scale = _scales(wanted, groups)
    unseen = tuple(_unseen(wanted, groups, layout))
    error, stray, at, alike = np.abs(wanted - found), 0.0, wanted, 1.0
    if not layout.selected:
        alike = _likeness(wanted, found, groups, scale)
    else:
        pairs = [_nearest(a, b, scale, layout) for a, b in zip(wanted, found)]
        error = np.concatenate([pair[0] for pair in pairs])
        at = np.concatenate([pair[1] for pair in pairs])
        stray = max(pair[2] for pair in pairs)
    if not error.size:
        return RawParity(stray=stray, unseen=unseen)
    relative = error / scale
    return RawParity(
        max_abs=float(error.max()),
        mean_abs=float(error.mean()),
        max_rel=float(relative.max()),
        mean_rel=float(relative.mean()),
        column=_worst_column(error, at, groups, layout),
        top=_top_error(error, at, groups),
        alike=alike,
        stray=stray,
        unseen=unseen,
    )


def _scales(wanted: np.ndarray, groups: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """Return the scale of each column: the largest value of its kind."""
    scale = np.empty(wanted.shape[-1])
    for name, columns in groups:
        peak = float(np.abs(wanted[..., columns]).max(initial=0.0))
        least = SCORE_FLOOR if name.endswith(SCORES) else 0.0
        scale[columns] = max(peak, least) or 1.0
    return scale


def _unseen(wanted: np.ndarray, groups: list[tuple[str, np.ndarray]], layout: Layout) -> list[str]:
    """Return the kinds of which PyTorch's output shows nothing."""
    found = []
    for name, columns in groups:
        if name == CLASSES:
            continue
        peak = float(np.abs(wanted[..., columns]).max(initial=0.0))
        if name == SCORES and layout.selected and peak == 0:
            return ["PyTorch itself found nothing on these pictures"]
        if peak <= (BLIND if name.endswith(SCORES) else 0.0):
            found.append(f"{name} that are all 0, or too small to compare")
    return found


def _worst_column(
    error: np.ndarray,
    wanted: np.ndarray,
    groups: list[tuple[str, np.ndarray]],
    layout: Layout,
) -> float:
    """Return the mean error of the worst column, as a share of what is usual in it."""
    flat_error = error.reshape(-1, error.shape[-1])
    flat = np.abs(wanted.reshape(-1, wanted.shape[-1]))
    usual = flat.mean(axis=0)
    least = np.zeros_like(usual)
    for name, columns in groups:
        least[columns] = 0.1 * usual[columns].mean()
        if name.endswith(SCORES):
            least[columns] = np.maximum(least[columns], SCORE_FLOOR)
        elif name == BOXES and len(columns) == 4:
            size = _size(wanted.reshape(-1, wanted.shape[-1])[:, columns], layout)
            usual[columns] = np.maximum(np.minimum(usual[columns], size), 0.02 * usual[columns])
        elif name == CLASSES:
            usual[columns] = max(1.0, float(usual[columns].mean()))
    shares = flat_error.mean(axis=0) / np.maximum(np.maximum(usual, least), 1e-12)
    return float(shares.max())


def _size(boxes: np.ndarray, layout: Layout) -> float:
    """Return the usual side of the boxes."""
    sides = boxes[:, 2:] - boxes[:, :2] if layout.corners else boxes[:, 2:]
    return float(np.abs(sides).mean())


def _likeness(
    wanted: np.ndarray,
    found: np.ndarray,
    groups: list[tuple[str, np.ndarray]],
    scale: np.ndarray,
) -> float:
    """Return the least correlation of a kind; kinds that hardly vary have none."""
    least = 1.0
    for name, columns in groups:
        a, b = wanted[..., columns], found[..., columns]
        if len(columns) > 1 and a.ndim > 2:  # what varies within a column: not what columns are
            a, b = (side - side.reshape(-1, len(columns)).mean(axis=0) for side in (a, b))
        a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
        spread = float(np.sqrt((a * a).mean()))
        if name == CLASSES or spread < VARIES * float(scale[columns].max()):
            continue
        length = float(np.sqrt((a * a).sum() * (b * b).sum()))
        least = min(least, float((a * b).sum()) / length if length else 0.0)
    return least


def _top_error(
    error: np.ndarray, wanted: np.ndarray, groups: list[tuple[str, np.ndarray]]
) -> float:
    """Return the mean error of the largest scores as a share of them, of the worst kind."""
    worst = 0.0
    for name, columns in groups:
        if not name.endswith(SCORES):
            continue
        values, errors = wanted[..., columns].ravel(), error[..., columns].ravel()
        chosen = np.argsort(values)[::-1][:TOP]
        total = max(float(values[chosen].sum()), SCORE_FLOOR * len(chosen))
        worst = max(worst, float(errors[chosen].sum()) / total)
    return worst


def _nearest(
    wanted: np.ndarray, found: np.ndarray, scale: np.ndarray, layout: Layout
) -> tuple[np.ndarray, np.ndarray, float]:
    """Compare each row with its nearest on the other side, and leave out those without one.

    Returns:
        Differences, the rows of PyTorch that they belong to, and the share of rows left out.
    """
    distance = np.zeros((len(wanted), len(found)))
    for column in range(wanted.shape[1]):
        # one at a time: rows x rows x 84 columns would fill the memory
        apart = np.abs(wanted[:, column, None] - found[None, :, column]) / scale[column]
        np.maximum(distance, apart, out=distance)
    ahead, back = distance.argmin(axis=1), distance.argmin(axis=0)
    errors = np.concatenate([np.abs(wanted - found[ahead]), np.abs(wanted[back] - found)])
    rows = np.concatenate([wanted, wanted[back]])
    worst = np.concatenate([distance.min(axis=1), distance.min(axis=0)])
    stray = np.zeros(len(worst), bool)
    for allowed, share in _may_be_stray(wanted, found, scale, layout):
        far = np.flatnonzero(allowed & (worst > STRAY_FROM))
        stray[far[np.argsort(worst[far])[::-1][: int(share * len(worst))]]] = True
    return errors[~stray], rows[~stray], float(stray.mean())


def _may_be_stray(
    wanted: np.ndarray, found: np.ndarray, scale: np.ndarray, layout: Layout
) -> list[tuple[np.ndarray, float]]:
    """Return which rows of both sides may lack a counterpart, and what share of all rows."""
    sides = [_row_scores(rows, layout) for rows in (wanted, found)]
    if layout.score is None:  # chosen by a score that is not among the columns
        lower = [scores <= np.median(scores) for scores in sides]
        return [(np.concatenate(lower), STRAY_ROWS)]
    near = AT_CUT * scale[layout.score]
    cuts = [max(float(scores.min()), layout.cut) + near for scores in sides]
    at_cut = [scores <= max(cuts) for scores in sides]
    return [(np.concatenate(at_cut), STRAY_AT_CUT)]


def _row_scores(rows: np.ndarray, layout: Layout) -> np.ndarray:
    if layout.score is not None:
        return rows[:, layout.score]
    for name, columns in layout.groups(rows.shape[1]):
        if name == SCORES:
            return rows[:, columns].max(axis=1)
    return np.zeros(len(rows))
