"""From labelled boxes and detections to rows of scores: the rules, applied to all pictures and to
groups of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from scsa_yolo.evaluation import visdrone_rules
from scsa_yolo.evaluation.boxes import Detections, Truth, clear_regions, to_xywh
from scsa_yolo.evaluation.coco_rules import CocoTable
from scsa_yolo.evaluation.result import (
    COCO,
    COCO_NOTHING_IGNORED,
    ULTRALYTICS,
    ULTRALYTICS_AGAIN,
    VISDRONE,
    VISDRONE_PLAIN,
    Row,
    Scores,
)
from scsa_yolo.evaluation.visdrone_rules import Picture, VisDroneScores

__all__ = ["condition_groups", "measure_coco", "measure_ultralytics", "measure_visdrone"]

Pairs = Sequence[tuple[Truth, Detections]]
# ExDark's own order, which its tables keep; values of other conditions are sorted by name
_LIGHTS = (
    "Low",
    "Ambient",
    "Object",
    "Single",
    "Weak",
    "Strong",
    "Screen",
    "Window",
    "Shadow",
    "Twilight",
)


def measure_coco(pairs: Pairs, names: dict[int, str]) -> list[Row]:
    """Score by COCO's rules: all pictures, each class, and each value of each condition.

    If the data has boxes to ignore, a further row says what the same detections score when none is
    ignored.

    Args:
        pairs: Labelled boxes and detections, a pair for each picture.
        names: Class names by number.
    """
    table = CocoTable(pairs, len(names))
    overall, each = table.score()
    rows = [_row(COCO, "all", "", table.truths, overall)]
    if any(truth.ignore for truth, _ in pairs):
        plain = CocoTable(pairs, len(names), honour_ignore=False)
        rows.append(_row(COCO_NOTHING_IGNORED, "all", "", plain.truths, plain.score()[0]))
    for number, name in names.items():
        holders, boxes = _holders(table.truths, number)
        rows.append(Row(COCO, "class", name, holders, boxes, int(boxes > 0), each[number]))
    for condition, groups in condition_groups(table.truths).items():
        for value, chosen in groups.items():
            scores = table.score(chosen)[0]
            rows.append(_row(COCO, condition, value, [table.truths[i] for i in chosen], scores))
    return rows


def measure_visdrone(pairs: Pairs, names: dict[int, str]) -> list[Row]:
    """Score by the VisDrone toolkit's rules: all pictures by its average and by the plain mean, and
    each class.

    Only ignored regions are ignored: in the toolkit's code "others" play no part, and no labelled
        box is a crowd.
    """
    cleared = [clear_regions(truth, found, truth.regions(("region",))) for truth, found in pairs]
    scores = visdrone_rules.score([_picture(truth, found) for truth, found in cleared], len(names))
    truths = [truth for truth, _ in cleared]
    images, boxes = len(truths), sum(len(truth.classes) for truth in truths)
    classes = int((scores.weights > 0).sum())
    rows = [Row(VISDRONE, "all", "", images, boxes, classes, _summary(scores, plain=False))]
    rows.append(
        Row(VISDRONE_PLAIN, "all", "", images, boxes, classes, _summary(scores, plain=True))
    )
    for number, name in names.items():
        holders, boxes = _holders(truths, number)
        part = VisDroneScores(*(v[[number]] for v in (scores.ap, scores.ar, scores.weights)))
        rows.append(
            Row(
                VISDRONE, "class", name, holders, boxes, int(boxes > 0), _summary(part, plain=False)
            )
        )
    return rows


def measure_ultralytics(pairs: Pairs, names: dict[int, str], own: dict[str, Any]) -> list[Row]:
    """Return Ultralytics' own numbers, and the same computed again from what was captured: they
    must agree.

    Args:
        pairs: Labelled boxes and detections that were not cut at the borders, a pair for each
            picture.
        names: Class names by number.
        own: ``map``, ``map50`` and ``maps`` by class, as the validator gave them.
    """
    truths = [truth for truth, _ in pairs]
    row = _row(ULTRALYTICS, "all", "", truths, Scores(ap=own["map"], ap50=own["map50"]))
    again = Scores(*CocoTable(pairs, len(names), honour_ignore=False).trapezoid())
    rows = [row, replace(row, rules=ULTRALYTICS_AGAIN, scores=again)]
    for number, ap in own["maps"].items():
        rows.append(
            Row(ULTRALYTICS, "class", names[number], *_holders(truths, number), 1, Scores(ap=ap))
        )
    return rows


def condition_groups(truths: Sequence[Truth]) -> dict[str, dict[str, list[int]]]:
    """Return the positions of the pictures by condition and value. A picture without the condition
    is in no group.
    """
    groups: dict[str, dict[str, list[int]]] = {}
    for i, truth in enumerate(truths):
        for condition, value in truth.conditions.items():
            groups.setdefault(condition, {}).setdefault(value, []).append(i)
    rank = {light: i for i, light in enumerate(_LIGHTS)}
    return {
        condition: dict(
            sorted(values.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0]))
        )
        for condition, values in sorted(groups.items())
    }


def ignored_counts(truths: Iterable[Truth]) -> dict[str, int]:
    """Count the boxes to ignore by reason."""
    return dict(sorted(Counter(box.reason for truth in truths for box in truth.ignore).items()))


def _row(rules: str, group: str, value: str, truths: Sequence[Truth], scores: Scores) -> Row:
    classes = {int(c) for truth in truths for c in truth.classes}
    boxes = sum(len(truth.classes) for truth in truths)
    return Row(rules, group, value, len(truths), boxes, len(classes), scores)


def _holders(truths: Iterable[Truth], number: int) -> tuple[int, int]:
    """Pictures that hold a class, and its labelled boxes."""
    counts = [int((truth.classes == number).sum()) for truth in truths]
    return sum(1 for count in counts if count), sum(counts)


def _picture(truth: Truth, found: Detections) -> Picture:
    return Picture(
        to_xywh(truth.xyxy), truth.classes, to_xywh(found.xyxy), found.classes, found.scores
    )


def _summary(scores: VisDroneScores, plain: bool) -> Scores:
    mean = scores.plain_mean if plain else scores.mean
    at_50, at_75 = (int(np.isclose(visdrone_rules.THRESHOLDS, t).argmax()) for t in (0.5, 0.75))
    recall = {f"ar_{cap}": mean(scores.ar[:, :, c]) for c, cap in enumerate(visdrone_rules.CAPS)}
    return Scores(
        ap=mean(scores.ap), ap50=mean(scores.ap[:, at_50]), ap75=mean(scores.ap[:, at_75]), **recall
    )
