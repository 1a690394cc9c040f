"""Is an exported model the model? What each precision may change, and what is beyond it.

Raw outputs are compared in :mod:`scsa_yolo.deploy.raw_parity`, final boxes in
:mod:`scsa_yolo.deploy.box_parity`; both names are here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scsa_yolo.deploy.box_parity import Boxes, BoxParity, compare_boxes
from scsa_yolo.deploy.raw_parity import SCORE_FLOOR, Layout, RawParity, compare_raw, worse

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
    "worse",
]

SHARE_OF_MAP = 0.25  # of a weak model's own mAP: 3 points mean nothing where it has 4
LEAST_OF_MAP = 0.3  # points that may be lost however weak it is


@dataclass(frozen=True)
class Tolerance:
    """What a precision may change.

    Attributes:
        raw_max: Largest error of raw outputs, as a share of their scale; None: does not count.
        raw_mean: Mean error of raw outputs, as a share of their scale; None: does not count.
        raw_always: Whether these two count even where boxes or an mAP are there to decide.
        column: Mean error of the worst column, as a share of its usual value; always counts.
        top: Mean error of the largest scores, as a share of them; always counts.
        alike: Least correlation of a kind of values with PyTorch's; always counts.
        flips: Share of class numbers of a map that may differ; always counts.
        lost: Share of boxes that may have no counterpart of their class with an IoU of 0.5.
        iou: Least mean IoU of the boxes that have one.
        score: Largest change of a score, as a share of the largest score; boxes this near to the
            threshold need no counterpart.
        map50: Points of mAP50 that may be lost.
        map: Points of mAP50-95 that may be lost.
    """

    raw_max: float | None
    raw_mean: float | None
    raw_always: bool
    column: float
    top: float
    alike: float
    flips: float
    lost: float
    iou: float
    score: float
    map50: float
    map: float


TOLERANCES: dict[str, Tolerance] = {
    "float32": Tolerance(
        raw_max=1e-3,
        raw_mean=None,
        raw_always=True,
        column=1e-2,
        top=1e-2,
        alike=0.999,
        flips=1e-3,
        lost=0.005,
        iou=0.99,
        score=0.005,
        map50=0.1,
        map=0.1,
    ),
    "float16": Tolerance(
        raw_max=3e-2,
        raw_mean=None,
        raw_always=False,
        column=5e-2,
        top=5e-2,
        alike=0.99,
        flips=2e-2,
        lost=0.02,
        iou=0.95,
        score=0.05,
        map50=0.3,
        map=0.3,
    ),
    "int8": Tolerance(
        raw_max=None,
        raw_mean=5e-2,
        raw_always=True,
        column=0.25,
        top=0.35,
        alike=0.8,
        flips=0.2,
        lost=0.2,
        iou=0.8,
        score=0.2,
        map50=3.0,
        map=3.0,
    ),
}


def failures(
    precision: str,
    raw: Sequence[RawParity],
    boxes: BoxParity | None,
    map50_change: float | None,
    *,
    judged: str | None = None,
    changes: Mapping[str, tuple[float, float]] | None = None,
) -> list[str]:
    """Return what is beyond the tolerance of the precision, one line each; none: parity holds.

    Args:
        precision: A key of :data:`TOLERANCES`.
        raw: Comparisons at each shape that was run.
        boxes: Final boxes, None if they were not compared.
        judged: The precision whose tolerance boxes and mAP are held to; default: ``precision``.
        map50_change: The exported model's mAP50 minus PyTorch's, in points; None if there is no
            data set, or ``changes`` says it.
        changes: Metrics by name, such as ``"mAP50-95"``: PyTorch's value in percent, and the
            exported model's minus it.
    """
    decided = bool(changes) or map50_change is not None or (boxes is not None and not boxes.empty)
    found = [part.problem for part in raw if part.problem]
    found += _raw_failures(TOLERANCES[precision], raw, decided)
    allowed = TOLERANCES[judged or precision]
    if boxes is not None and not boxes.empty:
        found += _box_failures(allowed, boxes)
    if map50_change is not None and map50_change < -allowed.map50:
        found.append(f"mAP50 fell by {-map50_change:.2f} points, allowed {allowed.map50}")
    for name, (before, change) in (changes or {}).items():
        points = allowed.map if "95" in name else allowed.map50
        limit = min(points, max(LEAST_OF_MAP, SHARE_OF_MAP * before))
        if change < -limit:
            found.append(
                f"{name} fell by {-change:.2f} points of {before:.2f}, allowed {limit:.2g}"
            )
    return found


def _raw_failures(allowed: Tolerance, raw: Sequence[RawParity], decided: bool) -> list[str]:
    limits = [
        ("column", allowed.column, "the worst column, as a mean share of its usual value"),
        ("top", allowed.top, "the largest scores, as a mean share of them"),
        ("flips", allowed.flips, "class numbers of the map, as a share"),
    ]
    if allowed.raw_max is not None and (allowed.raw_always or not decided):
        limits.insert(0, ("max_rel", allowed.raw_max, "their scale (max)"))
    if allowed.raw_mean is not None and (allowed.raw_always or not decided):
        limits.insert(0, ("mean_rel", allowed.raw_mean, "their scale (mean)"))
    for name, limit, what in limits:
        worst = max((getattr(part, name) for part in raw), default=0.0)
        if worst > limit:  # one line is enough: the first figure says what the others repeat
            joined = "of" if name.endswith("_rel") else "in"
            return [f"raw outputs differ by {worst:.1e} {joined} {what}, allowed {limit:.0e}"]
    alike = min((part.alike for part in raw), default=1.0)
    if alike < allowed.alike:
        return [
            f"raw outputs differ in their pattern: correlation {alike:.3f}, at least"
            f" {allowed.alike} is due"
        ]
    return []


def _box_failures(allowed: Tolerance, boxes: BoxParity) -> list[str]:
    found = []
    if boxes.pytorch and not boxes.matched50:
        found.append(f"none of PyTorch's {boxes.pytorch} boxes was found again")
    elif boxes.lost_share > allowed.lost:
        share = f"{boxes.lost_share:.1%}"
        found.append(
            f"{boxes.lost} boxes have no counterpart ({share}), allowed {allowed.lost:.1%}"
        )
    if boxes.iou < allowed.iou:
        found.append(f"boxes overlap by {boxes.iou:.3f} in the mean, at least {allowed.iou} is due")
    if boxes.score > allowed.score * boxes.top:
        limit = allowed.score * boxes.top
        found.append(f"a score changed by {boxes.score:.3f}, allowed {limit:.2g}")
    return found
