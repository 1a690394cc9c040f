"""The result of an evaluation, typed; a study keeps it, a report prints it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from html import escape
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


@dataclass(frozen=True, repr=False)
class Evaluation:
    """All that one evaluation found.

    Attributes:
        model: ``name``, ``path``, ``sha256``, ``attention`` (number of modules by name).
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
        found = {row.rules: row.scores for row in self.of("all")}
        if rules not in found:
            raise KeyError(f"no {rules!r} in this evaluation; it has {list(found)}")
        return found[rules]

    def of(self, group: str, rules: str | None = None) -> Iterator[Row]:
        """Yield the rows of a group by one set of rules: ``all``, ``class``, ``light`` ...

        Args:
            group: ``all``, ``class`` or a condition.
            rules: One of the names above. None: every set of rules for ``all``, whose rows are one
                a rule; for other groups COCO's rules, or VisDrone's where COCO's were not applied,
                since rows of two rules never stand in one table.
        """
        if rules is None and group != "all":
            rules = self.main_rules
        for row in self.rows:
            if row.group == group and rules in (None, row.rules):
                yield row

    @property
    def main_rules(self) -> str:
        """COCO's rules where they were applied, otherwise VisDrone's."""
        return COCO if any(row.rules == COCO for row in self.rows) else VISDRONE

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

    def table(self) -> list[dict[str, Any]]:
        """Return every row as a flat dictionary, all with the same keys; scores as shares of 1."""
        fixed = {"model": self.model["name"], "data": self.data["name"]}
        fixed["split"] = self.data["split"]
        flat = []
        for row in self.rows:
            plain = asdict(row)
            scores = plain.pop("scores")
            flat.append({**fixed, **plain, **scores})
        return flat

    def frame(self) -> Any:
        """Return :meth:`table` as a pandas data frame.

        Raises:
            ImportError: pandas is missing.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "frame() needs pandas. Type: pip install pandas; table() gives the same without it"
            ) from error
        return pandas.DataFrame(self.table())

    def __repr__(self) -> str:
        """One line: which model on which data, and the headline."""
        data = self.data
        where = f"{self.model['name']} on {data['name']}, {data['split']}"
        counts = f"{data['images']} pictures, {data['boxes']} boxes"
        found = {row.rules: row.scores for row in self.of("all")}
        scores = found.get(self.main_rules, Scores())
        headline = f"AP {_percent(scores.ap)}, AP50 {_percent(scores.ap50)} by {self.main_rules}"
        return f"<Evaluation of {where} ({counts}): {headline}, {len(self.rows)} rows>"

    def _repr_html_(self) -> str:
        """A small table for notebooks: the scores over all pictures, in percent."""
        heads = ("rules", "AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L")
        names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
        lines = []
        for row in self.of("all"):
            values = [_percent(getattr(row.scores, name)) for name in names]
            lines.append("".join(f"<td>{escape(cell)}</td>" for cell in (row.rules, *values)))
        head = "".join(f"<th>{name}</th>" for name in heads)
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        title = escape(f"{self.model['name']} on {self.data['name']}, {self.data['split']}")
        notes = "".join(f"<p>Note: {escape(note)}.</p>" for note in self.notes)
        return f"<p>{title}</p><table><tr>{head}</tr>{body}</table>{notes}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
