"""The result of an evaluation, typed; a study keeps it, a report prints it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = [
    "COCO",
    "COCO_NOTHING_IGNORED",
    "ULTRALYTICS",
    "ULTRALYTICS_AGAIN",
    "VISDRONE",
    "VISDRONE_PLAIN",
    "Evaluation",
    "Row",
    "Scores",
]

COCO = "coco"
COCO_NOTHING_IGNORED = "coco, nothing ignored"
ULTRALYTICS = "ultralytics"
ULTRALYTICS_AGAIN = "ultralytics, recomputed"
VISDRONE = "visdrone"
VISDRONE_PLAIN = "visdrone, plain class mean"


@dataclass(frozen=True)
class Scores:
    """Average precision and recall as shares of 1; None where the rules do not give it or no box is
    of that kind.

    Sizes are COCO's: below 32x32 px, below 96x96 px, larger. ``ar_n`` allows n detections: per
    class and picture by COCO's rules, per picture over all classes by VisDrone's.
    """

    ap: float | None = None
    ap50: float | None = None
    ap75: float | None = None
    ap_small: float | None = None
    ap_medium: float | None = None
    ap_large: float | None = None
    ar_1: float | None = None
    ar_10: float | None = None
    ar_100: float | None = None
    ar_500: float | None = None


@dataclass(frozen=True)
class Row:
    """Scores of one group of pictures or boxes.

    Attributes:
        rules: One of the names above.
        group: ``all``, ``class``, or a condition such as ``light``.
        value: Which of them, such as a class name or ``Twilight``; empty for ``all``.
        images: Pictures in the group; for a class, those that hold it.
        boxes: Labelled boxes that count.
        classes: Classes with a labelled box in the group: the mean is over these.
        scores: The scores.
    """

    rules: str
    group: str
    value: str
    images: int
    boxes: int
    classes: int
    scores: Scores


@dataclass(frozen=True)
class Evaluation:
    """All that one evaluation found.

    Attributes:
        model: ``name``, ``path``, ``sha256``.
        data: ``name``, ``yaml``, ``split``, ``sources``, ``fingerprint``, ``images``, ``boxes``,
            ``classes`` (those with a labelled box), ``absent_classes``, ``side_files`` (those that
            were read), ``ignored`` (boxes to ignore by reason).
        settings: What the validator ran with.
        versions: Of the packages involved.
        rows: The scores.
        notes: What a reader of the numbers should know.
        speed_ms: Per picture, by step, as Ultralytics took it; not a benchmark.
    """

    model: dict[str, Any]
    data: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    speed_ms: dict[str, float] = field(default_factory=dict)

    def overall(self, rules: str = COCO) -> Scores:
        """Return the scores over all pictures by these rules.

        Raises:
            KeyError: The evaluation did not apply these rules.
        """
        for row in self.of("all"):
            if row.rules == rules:
                return row.scores
        raise KeyError(
            f"no {rules!r} in this evaluation; it has {[row.rules for row in self.of('all')]}"
        )

    def of(self, group: str) -> Iterator[Row]:
        """Yield the rows of a group: ``all``, ``class``, ``light`` ..."""
        return (row for row in self.rows if row.group == group)

    def conditions(self) -> list[str]:
        """Return the conditions that the data set has, in order."""
        return [
            group
            for group in dict.fromkeys(row.group for row in self.rows)
            if group not in ("all", "class")
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"format": "scsa-yolo evaluation 1", **asdict(self)}
