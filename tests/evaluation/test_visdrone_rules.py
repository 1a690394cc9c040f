"""Every expected number here was worked out by hand from the MATLAB toolkit's code."""

from __future__ import annotations

import numpy as np
import pytest

from scsa_yolo.datasets.layout.side import IgnoreBox
from scsa_yolo.evaluation.boxes import Detections, Truth
from scsa_yolo.evaluation.measure import measure_visdrone
from scsa_yolo.evaluation.result import VISDRONE, VISDRONE_PLAIN
from scsa_yolo.evaluation.visdrone_rules import Picture, inside_regions, score

A, B = (10, 10, 20, 20), (50, 50, 20, 20)  # left, top, width, height
FAR = (80, 80, 15, 15)


def picture(gt: list[tuple], dt: list[tuple]) -> Picture:
    """`gt` holds (box, class), `dt` (box, class, score) in descending score."""
    return Picture(
        np.array([box for box, _ in gt], float).reshape(-1, 4),
        np.array([number for _, number in gt], int),
        np.array([box for box, *_ in dt], float).reshape(-1, 4),
        np.array([number for _, number, _ in dt], int),
        np.array([confidence for *_, confidence in dt], float),
    )


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ((10, 10, 20, 20), True),  # the region itself
        (
            (20, 10, 20, 20),
            True,
        ),  # columns 21 to 40, painted to 30: 200 of 400 px, and half is enough
        ((21, 10, 20, 20), False),  # 180 of 400 px
        ((20.4, 10.4, 20.4, 20.4), True),  # rounded to the second case first
        ((20.5, 10, 20, 20), False),  # halves are rounded up, to the third case
        (
            (0, 0, 10, 10),
            False,
        ),  # moved to 1, 1: columns and rows 2 to 11, painted from 10: 4 of 100 px
        ((12, 12, 0, 0), True),  # a side of 0 counts as 1
        ((60, 60, 5, 5), False),
    ],
)
def test_half_of_a_box_in_a_region(box: tuple[float, ...], inside: bool) -> None:
    assert inside_regions(np.array([box]), np.array([A], float), 100, 100).tolist() == [inside]


def test_regions_that_overlap_count_once_and_end_at_the_border() -> None:
    box = np.array([(25.0, 10, 20, 20)])  # 100 of 400 px are in A
    assert not inside_regions(box, np.array([A, A, A], float), 100, 100)[0]
    wide = np.array([(0.0, 0, 500, 500)])
    assert inside_regions(np.array([(90.0, 90, 30, 30)]), wide, 100, 100).tolist() == [
        False
    ]  # 100 of 900 px are seen
    assert inside_regions(np.zeros((0, 4)), wide, 100, 100).shape == (0,)
    assert inside_regions(box, np.zeros((0, 4)), 100, 100).tolist() == [False]


def test_ap_is_the_whole_area_under_the_envelope() -> None:
    # hit, miss, hit: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1 -> 1/2 * 1 + 1/2 * 2/3
    found = score([picture([(A, 0), (B, 0)], [(A, 0, 0.9), (FAR, 0, 0.8), (B, 0, 0.7)])], 1)
    assert found.ap[0] == pytest.approx(np.full(10, 5 / 6))
    assert found.ar[0, 0] == pytest.approx([0.5, 1, 1, 1])


def test_average_is_weighted_by_the_pictures_that_hold_a_class() -> None:
    seen, missed = picture([(A, 0)], [(A, 0, 0.9)]), picture([(A, 0), (B, 1)], [(A, 0, 0.9)])
    found = score([seen, seen, missed], 3)
    assert found.weights.tolist() == [3, 1, 0]
    assert found.mean(found.ap) == pytest.approx(3 / 4)  # (1 + 1 + 1 + 0) / 4
    assert found.plain_mean(found.ap) == pytest.approx(
        1 / 2
    )  # the class without a box is in neither


def test_caps_are_over_all_classes_of_a_picture() -> None:
    found = score([picture([(A, 0), (B, 1)], [(A, 0, 0.9), (B, 1, 0.8)])], 2)
    assert found.ar[:, 0, 0].tolist() == [1, 0]  # one detection a picture: it is of class 0
    assert found.ar[:, 0, 1].tolist() == [1, 1]


@pytest.mark.parametrize(("before", "ap"), [(499, 1.0), (500, 0.0)])
def test_what_comes_after_500_detections_is_not_seen(before: int, ap: float) -> None:
    others = [(FAR, 1, 0.9)] * before
    assert score([picture([(A, 0)], [*others, (A, 0, 0.5)])], 2).ap[0, 0] == ap


def test_a_labelled_box_is_found_once() -> None:
    found = score([picture([(A, 0)], [(A, 0, 0.9), (A, 0, 0.8)])], 1)
    assert found.ap[0, 0] == 1  # the second is wrong, but comes after full recall
    found = score([picture([(A, 0), (B, 0)], [(A, 0, 0.9), (A, 0, 0.8), (B, 0, 0.7)])], 1)
    assert found.ap[0, 0] == pytest.approx(5 / 6)


def test_thresholds() -> None:
    shifted = (
        15,
        10,
        20,
        20,
    )  # IoU with A: 300 / 500 = 0.6 is over three thresholds; moved a little to be sure
    near = (14.9, 10, 20, 20)  # 302 / 498 = 0.606
    assert score([picture([(A, 0)], [(near, 0, 0.9)])], 1).ap[0].tolist() == [1] * 3 + [0] * 7
    assert score([picture([(A, 0)], [(shifted, 0, 0.9)])], 1).ap[0, :2].tolist() == [1, 1]


def test_of_equal_overlaps_the_later_box_is_taken() -> None:
    # the detection lies between two boxes; the second detection then fits the first one only if
    # that is still free
    left, right, middle = (10, 10, 20, 20), (16, 10, 20, 20), (13, 10, 20, 20)
    found = score([picture([(left, 0), (right, 0)], [(middle, 0, 0.9), (left, 0, 0.8)])], 1)
    assert found.ar[0, 0, 3] == 1
    found = score([picture([(right, 0), (left, 0)], [(middle, 0, 0.9), (left, 0, 0.8)])], 1)
    assert found.ar[0, 9, 3] == 0.5


def test_nothing_found_and_nothing_there() -> None:
    assert score([picture([(A, 0)], [])], 1).mean(np.ones((1, 10))) == 1
    assert score([picture([(A, 0)], [])], 1).ap.max() == 0
    empty = score([picture([], [(A, 0, 0.9)])], 2)
    assert empty.mean(empty.ap) is None
    assert empty.plain_mean(empty.ap) is None
    assert score([], 1).mean(np.zeros((1, 10))) is None


def test_regions_take_labelled_boxes_and_detections_and_others_play_no_part() -> None:
    boxes = np.array([(10, 10, 30, 30), (50, 50, 70, 70)], float)
    region = IgnoreBox(None, (45, 45, 75, 75), "region")
    others = IgnoreBox(None, (80, 80, 95, 95), "others")
    truth = Truth("a", 100, 100, boxes, np.array([0, 0]), (region, others))
    found = Detections.sorted(
        np.array([(50, 50, 70, 70), (81, 81, 94, 94), (10, 10, 30, 30)]),
        np.array([0.9, 0.8, 0.7]),
        np.zeros(3),
    )
    rows = {
        row.rules: row
        for row in measure_visdrone([(truth, found)], {0: "car"})
        if row.group == "all"
    }
    assert rows[VISDRONE].boxes == 1
    assert rows[VISDRONE].scores.ap == pytest.approx(
        0.5
    )  # the one on "others" is wrong, and comes first
    assert rows[VISDRONE_PLAIN].scores.ar_500 == 1


@pytest.mark.parametrize(("order", "recall"), [("left right", 1.0), ("right left", 0.5)])
def test_equal_overlap_at_a_threshold_that_leaves_one_choice(order: str, recall: float) -> None:
    """The detection in the middle overlaps both by 0.74; at 0.7 the second one fits the left box
    alone, so it is found only if the first has taken the right one: the later of the two.
    """
    boxes = {"left": (10, 10, 20, 20), "right": (16, 10, 20, 20)}
    labelled = [(boxes[name], 0) for name in order.split()]
    found = score([picture(labelled, [((13, 10, 20, 20), 0, 0.9), (boxes["left"], 0, 0.8)])], 1)
    assert found.ar[0, 4, 3] == recall


@pytest.mark.parametrize(("right", "hits"), [(20, 1), (19.9, 0)])
def test_an_overlap_of_exactly_the_threshold_counts(right: float, hits: int) -> None:
    """Half of the box is found: 0.5, the lowest threshold."""
    found = score([picture([((0, 0, 40, 10), 0)], [((0, 0, right, 10), 0, 0.9)])], 1)
    assert found.ar[0, 0, 3] == hits


@pytest.mark.parametrize(("rank", "seen"), [(9, 1), (10, 0)])
def test_the_caps_count_from_one(rank: int, seen: int) -> None:
    others = [(FAR, 1, 0.9)] * rank
    found = score([picture([(A, 0)], [*others, (A, 0, 0.5)])], 2)
    assert found.ar[0, 0, 1] == seen  # at most 10 detections
