"""What counts as equal: outputs by kind of column, rows that change their order, boxes in pairs,
tolerances.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scsa_yolo.deploy.parity import (
    TOLERANCES,
    Boxes,
    BoxParity,
    Layout,
    RawParity,
    compare_boxes,
    compare_raw,
    failures,
)

DENSE = Layout(axis=1, kinds=(4,))
ROWS = Layout(axis=2, kinds=(4, 5, 6), selected=True)


def dense(rng: np.random.Generator) -> np.ndarray:
    """Boxes in pixels and scores: (2, 4 + 3, 50)."""
    return np.concatenate(
        [rng.uniform(0, 640, (2, 4, 50)), rng.uniform(0, 0.9, (2, 3, 50))], axis=1
    ).astype(np.float32)


def rows(rng: np.random.Generator, count: int = 300) -> np.ndarray:
    """Rows as a graph with a top-k gives them: corners, score, class."""
    scores = np.sort(rng.uniform(0.1, 0.9, (1, count, 1)), axis=1)[:, ::-1]
    parts = [rng.uniform(0, 640, (1, count, 4)), scores, rng.integers(0, 80, (1, count, 1))]
    return np.concatenate(parts, axis=2).astype(np.float32)


def test_equal_outputs_have_no_error() -> None:
    output = dense(np.random.default_rng(0))
    found = compare_raw([output], [output.copy()], DENSE)
    assert (found.max_abs, found.max_rel, found.problem) == (0, 0, "")
    assert found.shapes == ((2, 7, 50),)


def test_an_error_counts_by_its_kind_of_column() -> None:
    """Half a score is nothing beside 640 pixels, and all of a score."""
    output = dense(np.random.default_rng(0))
    score, box = output.copy(), output.copy()
    score[0, 5, 7] += 0.5
    box[0, 2, 7] += 0.5
    assert compare_raw([output], [score], DENSE).max_rel == pytest.approx(
        0.5 / output[:, 4:].max(), rel=1e-4
    )
    assert compare_raw([output], [box], DENSE).max_rel == pytest.approx(
        0.5 / output[:, :4].max(), rel=1e-4
    )
    assert compare_raw([output], [score], Layout()).max_rel < 1e-3, "in one scale it would pass"


def test_scores_that_nobody_uses_do_not_decide() -> None:
    output = dense(np.random.default_rng(0))
    output[:, 4:] *= 1e-5
    other = output.copy()
    other[:, 4:] += 2e-7
    assert compare_raw([output], [other], DENSE).max_rel == pytest.approx(2e-4, rel=1e-2)


def test_rows_may_change_their_order() -> None:
    output = rows(np.random.default_rng(0))
    swapped = output.copy()
    swapped[0, [3, 4]] = swapped[0, [4, 3]]
    assert compare_raw([output], [swapped], ROWS).max_rel == 0
    assert compare_raw([output], [swapped], Layout(axis=2, kinds=(4, 5, 6))).max_rel > 0.01


@pytest.mark.parametrize(("strays", "passes"), [(1, True), (3, True), (20, False)])
def test_a_few_rows_may_differ_at_the_cut(strays: int, passes: bool) -> None:
    rng = np.random.default_rng(0)
    output, other = rows(rng), None
    other = output.copy()
    other[0, -strays:] = rows(rng)[0, -strays:]
    found = compare_raw([output], [other], ROWS)
    assert (found.max_rel <= 1e-3) is passes
    assert 0 < found.stray <= 0.01


def test_rows_of_one_score_at_the_cut_may_be_others() -> None:
    rng = np.random.default_rng(0)
    output = rows(rng)
    output[0, 270:, 4] = 0.1
    other = output.copy()
    other[0, 285:, :4] = rng.uniform(0, 640, (15, 4))
    assert compare_raw([output], [other], replace(ROWS, score=4)).max_rel < 1e-3
    assert compare_raw([output], [other], ROWS).max_rel > 0.01
    other[0, :15, :4] = rng.uniform(0, 640, (15, 4))
    assert compare_raw([output], [other], replace(ROWS, score=4)).max_rel > 0.01, (
        "these were not at the cut"
    )


def test_outputs_that_cannot_be_compared_say_so() -> None:
    output = dense(np.random.default_rng(0))
    broken = output.copy()
    broken[0, 0, 0] = np.nan
    assert "shape (2, 7, 49)" in compare_raw([output], [output[:, :, 1:]], DENSE).problem
    assert "no numbers" in compare_raw([output], [broken], DENSE).problem
    assert "1 outputs in the place of 2" in compare_raw([output, output], [output], DENSE).problem


def boxes(*found: tuple[float, ...]) -> Boxes:
    """Boxes of (x, y, side, score, class)."""
    table = np.array(found, dtype=np.float64).reshape(-1, 5)
    corners = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:3]], axis=1)
    return Boxes(corners, table[:, 3], table[:, 4])


def test_boxes_pair_by_class_and_overlap() -> None:
    expected = boxes((0, 0, 100, 0.9, 0), (300, 0, 100, 0.8, 1), (0, 300, 100, 0.7, 2))
    got = boxes((0, 300, 100, 0.7, 3), (302, 1, 100, 0.75, 1), (20, 0, 100, 0.9, 0))
    found = compare_boxes([expected], [got], threshold=0.25, slack=0.01)
    assert (found.pytorch, found.exported, found.matched50, found.matched95, found.lost) == (
        3,
        3,
        2,
        0,
        2,
    )
    assert found.score == pytest.approx(0.05)
    assert found.shift == pytest.approx(20)


def test_boxes_at_the_threshold_need_no_counterpart() -> None:
    one = boxes((0, 0, 10, 0.9, 0), (50, 50, 10, 0.254, 0))
    other = boxes((0, 0, 10, 0.9, 0))
    assert compare_boxes([one], [other], threshold=0.25, slack=0.005).lost == 0
    assert compare_boxes([one], [other], threshold=0.25, slack=0.001).lost == 1
    assert compare_boxes([one], [other], threshold=0.1, slack=0.005, most=2).lost == 0, (
        "more were not asked for"
    )


def test_no_boxes_prove_nothing() -> None:
    empty = compare_boxes([boxes()], [boxes()], threshold=0.25, slack=0.01)
    assert empty.empty
    assert not failures("float32", [RawParity(max_rel=1e-4)], empty, None)
    assert failures("float16", [RawParity(max_rel=0.5)], empty, None), "then raw outputs decide"


@pytest.mark.parametrize(
    ("precision", "raw", "found", "change", "told"),
    [
        ("float32", RawParity(max_rel=2e-3), BoxParity(5, 5, 5, 5), 0.0, "raw outputs"),
        ("float32", RawParity(), BoxParity(5, 5, 4, 4, lost=1), None, "no counterpart"),
        ("float32", RawParity(), BoxParity(5, 5, 5, 5, score=0.01), None, "score changed"),
        ("float32", RawParity(), None, -0.2, "mAP50 fell"),
        ("float16", RawParity(max_rel=2e-3), BoxParity(5, 5, 5, 5), -0.2, ""),
        ("float16", RawParity(max_rel=0.5), None, -0.1, ""),
        ("int8", RawParity(max_rel=0.9, mean_rel=0.02), None, None, ""),
        ("int8", RawParity(mean_rel=0.2), None, None, "mean"),
        ("int8", RawParity(mean_rel=0.02), None, -5.0, "mAP50 fell"),
        ("float32", RawParity(problem="output 0 is gone"), None, None, "is gone"),
    ],
)
def test_tolerances(
    precision: str, raw: RawParity, found: BoxParity | None, change: float | None, told: str
) -> None:
    failed = failures(precision, [raw], found, change)
    assert len(failed) == bool(told)
    assert told in "".join(failed)


def test_tolerances_of_the_page_are_those_in_force() -> None:
    assert TOLERANCES["float32"].raw_max == 1e-3
    assert TOLERANCES["float32"].map50 == 0.1
    assert TOLERANCES["float16"].map50 == 0.3
