from __future__ import annotations

import sys

import numpy as np
import pytest

from scsa_yolo.datasets.layout.side import IgnoreBox
from scsa_yolo.evaluation.boxes import Detections, Truth, clear_regions
from scsa_yolo.evaluation.coco_rules import CocoTable
from scsa_yolo.evaluation.evaluator import _known
from scsa_yolo.evaluation.measure import condition_groups, measure_coco, measure_ultralytics
from scsa_yolo.evaluation.result import COCO, COCO_NOTHING_IGNORED, ULTRALYTICS, ULTRALYTICS_AGAIN

pytest.importorskip("faster_coco_eval")

A, B, C = (10, 10, 30, 30), (40, 40, 60, 60), (70, 10, 90, 30)  # left, top, right, bottom
INNER = (44, 44, 50, 50)  # a ninth of B


def truth(
    *boxes: tuple, ignore: tuple[IgnoreBox, ...] = (), image: str = "a", **conditions: str
) -> Truth:
    """`boxes` are (corners, class)."""
    xyxy = np.array([box for box, _ in boxes], float).reshape(-1, 4)
    return Truth(image, 100, 100, xyxy, np.array([c for _, c in boxes], int), ignore, conditions)


def found(*boxes: tuple) -> Detections:
    """`boxes` are (corners, class, score)."""
    xyxy = np.array([box for box, *_ in boxes], float).reshape(-1, 4)
    scores = np.array([s for *_, s in boxes], float)
    return Detections.sorted(xyxy, scores, np.array([c for _, c, _ in boxes], int))


def ap50(
    labelled: Truth, detections: Detections, classes: int = 2, honour: bool = True
) -> float | None:
    return CocoTable([(labelled, detections)], classes, honour).score()[0].ap50


def test_perfect_and_blind_detectors() -> None:
    labelled = truth((A, 0), (B, 1))
    overall, each = CocoTable([(labelled, found((A, 0, 0.9), (B, 1, 0.8)))], 3).score()
    assert (overall.ap, overall.ap50, overall.ap75, overall.ar_100) == (1, 1, 1, 1)
    assert overall.ap_small == 1
    assert overall.ap_large is None  # no such box
    assert each[2].ap is None  # no box of the class: in no mean
    assert CocoTable([(labelled, found())], 2).score()[0].ap == 0
    assert CocoTable([(truth(), found())], 2).score()[0].ap is None


def test_the_mean_of_101_points() -> None:
    # hit, miss, hit: 51 points at 1, 50 at 2/3; VisDrone's area for the same is 5/6
    overall = ap50(truth((A, 0), (B, 0)), found((A, 0, 0.9), (C, 0, 0.8), (B, 0, 0.7)))
    assert overall == pytest.approx((51 + 50 * 2 / 3) / 101)


# A is labelled; B is to be ignored, and what is found on it comes first. Wrong there halves the AP
# of A.
@pytest.mark.parametrize(
    ("reason", "first", "expected"),
    [
        ("crowd", [(B, 0, 0.9)], 1.0),
        (
            "crowd",
            [(B, 0, 0.9), (B, 0, 0.8), (INNER, 0, 0.7)],
            1.0,
        ),  # any number, any part of the crowd
        ("crowd", [(B, 1, 0.9)], 1.0),  # no box of class 1: that class is in no mean
        ("difficult", [(B, 0, 0.9)], 1.0),
        ("difficult", [(B, 0, 0.9), (B, 0, 0.8)], 1.0),  # VOC: any number of them
        (
            "difficult",
            [(INNER, 0, 0.9)],
            0.5,
        ),  # VOC: the usual overlap decides, and this is a ninth
        ("difficult", [(C, 0, 0.9)], 0.5),
    ],
)
def test_boxes_to_ignore_of_a_class(reason: str, first: list[tuple], expected: float) -> None:
    labelled = truth((A, 0), ignore=(IgnoreBox(0, B, reason),))
    detections = found(*first, (A, 0, 0.5))
    assert ap50(labelled, detections) == pytest.approx(expected)
    if first[0][1] == 0:
        assert ap50(labelled, detections, honour=False) == pytest.approx(1 / (1 + len(first)))


def test_another_class_is_not_excused() -> None:
    labelled = truth(
        (A, 0), (C, 1), ignore=(IgnoreBox(0, B, "crowd"), IgnoreBox(0, B, "difficult"))
    )
    assert ap50(labelled, found((A, 0, 0.9), (B, 1, 0.8), (C, 1, 0.7))) == pytest.approx(
        (1 + 0.5) / 2
    )


def test_an_ignored_box_is_never_missed_and_never_takes_a_labelled_ones_detection() -> None:
    for reason in ("crowd", "difficult"):
        labelled = truth((A, 0), ignore=(IgnoreBox(0, B, reason), IgnoreBox(0, A, reason)))
        assert ap50(labelled, found((A, 0, 0.5))) == 1


@pytest.mark.parametrize("reason", ["region", "dontcare", "others"])
def test_regions_of_no_class_delete_by_half_of_the_own_area(reason: str) -> None:
    labelled = truth((A, 0), (B, 1), ignore=(IgnoreBox(None, (40, 40, 50, 60), reason),))
    rows = measure_coco([(labelled, found((B, 0, 0.9), (A, 0, 0.8)))], {0: "a", 1: "b"})
    overall = {row.rules: row for row in rows if row.group == "all"}
    assert overall[COCO].boxes == 1  # B lies half in the region and went too
    assert overall[COCO].scores.ap == 1
    assert overall[COCO_NOTHING_IGNORED].scores.ap50 == pytest.approx(0.25)


def test_sizes_by_the_segments_area_where_it_is_known() -> None:
    box = np.array([[10.0, 10.0, 70.0, 70.0]])  # 3600 square pixels: medium
    plain = Truth("a", 100, 100, box, np.array([0]))
    thin = Truth("a", 100, 100, box, np.array([0]), areas=np.array([900.0]))  # its segment: small
    detections = Detections(box, np.array([0.9]), np.array([0]))
    for labelled, small, medium in ((plain, None, 1.0), (thin, 1.0, None)):
        scores, _ = CocoTable([(labelled, detections)], 1).score()
        assert (scores.ap_small, scores.ap_medium) == (pytest.approx(small), pytest.approx(medium))


def test_groups_by_condition() -> None:
    day, night = {"light": "Window", "place": "indoor"}, {"light": "Low"}
    pairs = [
        (truth((A, 0), image="1", **day), found((A, 0, 0.9))),
        (truth((A, 0), (B, 1), image="2", **night), found((A, 0, 0.9))),
        (truth((A, 0), image="3"), found()),
    ]
    assert condition_groups([t for t, _ in pairs]) == {
        "light": {"Low": [1], "Window": [0]},
        "place": {"indoor": [0]},
    }
    rows = {(row.group, row.value): row for row in measure_coco(pairs, {0: "a", 1: "b"})}
    low, window = rows["light", "Low"], rows["light", "Window"]
    assert (low.images, low.boxes, low.classes, low.scores.ap50) == (1, 2, 2, 0.5)
    assert (window.images, window.boxes, window.classes, window.scores.ap50) == (1, 1, 1, 1)
    assert rows["all", ""].scores.ap50 == pytest.approx(
        (67 / 101 + 0) / 2
    )  # 2 of 3 found: 67 of 101 points
    assert (rows["class", "a"].images, rows["class", "b"].boxes) == (3, 1)


def drawn_scenes(seed: int) -> list[tuple[Truth, Detections]]:
    """Boxes at random, and a detector that shifts, misses, doubts and invents."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(60):
        corner, sides = rng.uniform(0, 400, (rng.integers(1, 12), 2)), rng.uniform(10, 150, 2)
        boxes = np.concatenate(
            [corner, corner + sides * rng.uniform(0.5, 1.5, corner.shape)], axis=1
        )
        classes = rng.integers(0, 3, len(boxes))
        seen = rng.random(len(boxes)) < 0.85
        shifted = boxes[seen] + rng.normal(0, 0.06, (seen.sum(), 4)) * np.tile(sides, 2)
        wrong = np.sort(rng.uniform(0, 500, (4, 2, 2)), axis=1).reshape(4, 4)
        scores = np.concatenate([rng.beta(4, 2, seen.sum()), rng.beta(2, 4, 4)])
        kinds = np.concatenate([classes[seen], rng.integers(0, 3, 4)])
        labelled = Truth(str(i), 600, 600, boxes, classes)
        pairs.append((labelled, Detections.sorted(np.concatenate([shifted, wrong]), scores, kinds)))
    return pairs


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_ultralytics(seed: int) -> None:
    """Ultralytics' own metric is the oracle: its matching and its `ap_per_class`, fed the same
    detections.
    """
    import torch
    from ultralytics.models.yolo.detect import DetectionValidator
    from ultralytics.utils.metrics import ap_per_class, box_iou

    class Matcher(DetectionValidator):
        def __init__(self) -> None:
            self.iouv = torch.linspace(0.5, 0.95, 10)

    pairs, matcher = drawn_scenes(seed), Matcher()
    hits = [
        matcher.match_predictions(
            torch.tensor(d.classes),
            torch.tensor(t.classes),
            box_iou(torch.tensor(t.xyxy), torch.tensor(d.xyxy)),
        ).numpy()
        for t, d in pairs
    ]
    ap = ap_per_class(
        np.concatenate(hits),
        np.concatenate([d.scores for _, d in pairs]),
        np.concatenate([d.classes for _, d in pairs]),
        np.concatenate([t.classes for t, _ in pairs]),
    )[5]
    own = {"map": ap.mean(), "map50": ap[:, 0].mean(), "maps": dict(enumerate(ap.mean(1)))}
    assert 0.2 < own["map"] < 0.8
    rows = {
        row.rules: row.scores
        for row in measure_ultralytics(pairs, dict(enumerate("abc")), own)
        if not row.value
    }
    assert rows[ULTRALYTICS].ap == own["map"]
    assert rows[ULTRALYTICS_AGAIN].ap == pytest.approx(own["map"], abs=0.002)
    assert rows[ULTRALYTICS_AGAIN].ap50 == pytest.approx(own["map50"], abs=0.002)
    overall = CocoTable(pairs, 3).score()[0]
    assert overall.ap == pytest.approx(
        own["map"], abs=0.006
    )  # the trapezoid takes half of the first point
    assert overall.ap50 == pytest.approx(own["map50"], abs=0.006)


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ImportError, match=r'pip install "scsa-yolo\[evaluation\]"'):
        CocoTable([(truth((A, 0)), found())], 1)


def test_detections_of_classes_that_the_data_does_not_have_are_left_out() -> None:
    names = {0: "a", 1: "b"}
    detections = found((A, 0, 0.9), (A, 1, 0.8), (A, 2, 0.7), (A, 7, 0.6))
    assert _known(detections, names).classes.tolist() == [0, 1]
    assert _known(detections, {0: "a"}).classes.tolist() == [0]


@pytest.mark.parametrize(("share", "excused"), [(0.5, True), (0.49, False)])
def test_a_difficult_box_excuses_from_half_an_overlap_on(share: float, excused: bool) -> None:
    """A fifth detection at 0.9 on the difficult box, and the labelled one at 0.5."""
    part = (B[0], B[1], B[0] + (B[2] - B[0]) * share, B[3])
    labelled = truth((A, 0), ignore=(IgnoreBox(0, B, "difficult"),))
    expected = 1.0 if excused else 0.5
    assert ap50(labelled, found((part, 0, 0.9), (A, 0, 0.5))) == pytest.approx(expected)


def test_areas_follow_the_boxes_that_regions_leave() -> None:
    boxes = np.array([A, B], float)
    region = IgnoreBox(None, (40, 40, 60, 60), "region")
    areas = np.array([500.0, 2000.0])
    labelled = Truth("a", 100, 100, boxes, np.array([0, 0]), (region,), areas=areas)
    detections = found((A, 0, 0.9))
    scores = CocoTable([(labelled, detections)], 1).score()[0]
    assert scores.ap_small == 1
    assert scores.ap_medium is None
    kept = clear_regions(labelled, detections, labelled.regions())[0]
    assert kept.areas.tolist() == [500]
