"""The rules of the four words, and how often chance alone is called an improvement."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from scsa_yolo.paired.differences import Comparison
from scsa_yolo.study.planning.plan import Arm
from scsa_yolo.study.reporting.verdict import (
    HARMS,
    IMPROVES,
    NO_DIFFERENCE,
    UNDECIDED,
    WORDS,
    Rules,
    decide,
    is_reference,
    judge,
)


def compare(*values: float) -> Comparison:
    return Comparison(dict(enumerate(values)))


GAIN = compare(0.02, 0.03, 0.025, 0.028, 0.022, 0.031, 0.024)
LOSS = compare(*(-value for value in GAIN.values))
NEAR = compare(0.001, -0.001, 0.002, -0.002, 0.001, -0.001, 0.0005)
WIDE = compare(0.05, -0.06, 0.04, -0.02, 0.06, -0.05, 0.01)
NOTHING = compare()


@pytest.mark.parametrize(
    ("comparison", "word"),
    [
        (GAIN, IMPROVES),
        (LOSS, HARMS),
        (NEAR, NO_DIFFERENCE),
        (WIDE, UNDECIDED),
        (NOTHING, UNDECIDED),
    ],
)
@pytest.mark.parametrize("interval", ["t", "bca"])
def test_four_words(comparison: Comparison, word: str, interval: str) -> None:
    assert word in WORDS
    assert judge({"arm": comparison}, Rules(interval=interval))["arm"].word == word


def test_p_after_correction_decides() -> None:
    assert decide(0.05, GAIN, Rules()) == IMPROVES
    assert decide(0.0501, GAIN, Rules()) == UNDECIDED
    assert decide(None, GAIN, Rules()) == UNDECIDED


def test_interval_must_keep_clear_of_zero() -> None:
    assert decide(0.001, WIDE, Rules()) == UNDECIDED


def test_a_small_but_certain_gain_is_a_gain() -> None:
    small = compare(0.001, 0.0012, 0.0009, 0.0011, 0.001, 0.0013)
    assert decide(small.p, small, Rules(margin=0.005)) == IMPROVES
    assert decide(0.2, small, Rules(margin=0.005)) == NO_DIFFERENCE


def test_bca_alone_shows_no_equivalence() -> None:
    three = compare(0.003, -0.002, 0.004)
    assert three.bca is not None
    assert max(map(abs, three.bca)) < 0.005 < max(map(abs, three.t or ()))
    assert decide(three.p, three, Rules(margin=0.005)) == UNDECIDED


def test_equal_runs_are_no_difference_and_one_run_is_nothing() -> None:
    assert judge({"identity": compare(0.0, 0.0, 0.0)}, Rules())["identity"].word == NO_DIFFERENCE
    assert judge({"identity": compare(0.0)}, Rules())["identity"].word == UNDECIDED


def test_holm_covers_the_arms_under_test_alone() -> None:
    found = judge({"a": GAIN, "b": GAIN, "identity": GAIN}, Rules(), ("identity",))
    assert GAIN.p == 2 / 2**7
    assert (found["a"].p, found["identity"].p) == (2 * GAIN.p, GAIN.p)
    assert (found["a"].family, found["identity"].family) == (2, 1)
    assert {verdict.word for verdict in found.values()} == {IMPROVES}
    four = judge(dict.fromkeys("abcd", GAIN), Rules())
    assert four["a"].p == 4 * GAIN.p > 0.05
    assert four["a"].word == UNDECIDED


def test_an_arm_without_pairs_stays_in_the_family() -> None:
    found = judge({"a": GAIN, "failed": NOTHING}, Rules())
    assert found["a"].p == 2 * GAIN.p
    assert (found["failed"].p, found["failed"].refusal) == (None, "no pair of finished runs")


@pytest.mark.parametrize(
    ("pairs", "arms", "words"),
    [
        (5, 1, ("5 pairs", "below 0.0625", "6 seeds")),
        (6, 1, ()),
        (6, 2, ("6 pairs and 2 arms", "below 0.0625", "7 seeds")),
        (6, 3, ("6 pairs and 3 arms", "below 0.0938", "7 seeds")),
        (7, 3, ()),
        (1, 1, ("1 pair:", "below 1;", "6 seeds")),
    ],
)
def test_refusal_says_how_many_seeds(pairs: int, arms: int, words: tuple[str, ...]) -> None:
    comparison = Comparison(dict.fromkeys(range(pairs), 0.03))
    verdict = judge({f"arm{i}": comparison for i in range(arms)}, Rules())["arm0"]
    assert all(word in verdict.refusal for word in words), verdict.refusal
    assert bool(verdict.refusal) == bool(words)
    assert (verdict.word == IMPROVES) == (not words)


def test_refusal_of_an_arm_that_lost_runs() -> None:
    found = judge(
        {"whole": Comparison(dict.fromkeys(range(7), 0.03)), "lost": compare(0.03, 0.02, 0.03)},
        Rules(),
    )
    assert found["whole"].refusal == ""
    assert found["lost"].refusal.startswith("3 pairs: p cannot fall below 0.25; it takes 6 seeds")


@pytest.mark.parametrize(
    ("arm", "reference"),
    [
        (Arm("scsa", attention="SCSA"), False),
        (Arm("pretrained", pretrained="x.pt"), False),
        (Arm("identity", attention="Identity"), True),
        (Arm("conv", attention="Conv1x1"), True),
        (Arm("up", scale="s"), True),
    ],
)
def test_references(arm: Arm, reference: bool) -> None:
    assert is_reference(arm) is reference


def words_of(differences: np.ndarray, rules: Rules) -> list[str]:
    """Verdicts of a study; an array of arms by seeds."""
    arms = {
        f"arm{i}": Comparison(dict(enumerate(row.tolist()))) for i, row in enumerate(differences)
    }
    return [verdict.word for verdict in judge(arms, rules).values()]


@pytest.mark.parametrize("shape", [(1, 6), (3, 8)])
def test_chance_is_seldom_called_an_improvement(shape: tuple[int, int]) -> None:
    # No arm differs from the control; all share the control's run of each seed, as in a study.
    rng, rules, called = np.random.default_rng(7), Rules(), {IMPROVES: 0, HARMS: 0}
    for _ in range(500):
        scores = rng.normal(0.2, 0.01, (shape[0] + 1, shape[1]))
        words = words_of(scores[1:] - scores[0], rules)
        for word in called:
            called[word] += word in words
    assert called[IMPROVES] <= 25
    assert called[HARMS] <= 25
    assert (
        sum(called.values()) > 0
    )  # the test can fail: with so many seeds the rules can call something


@pytest.mark.parametrize("shape", [(1, 6), (3, 8)])
def test_a_strong_effect_is_found(shape: tuple[int, int]) -> None:
    rng, found = np.random.default_rng(8), 0
    for _ in range(40):
        scores = rng.normal(0.2, 0.004, (shape[0] + 1, shape[1]))
        words = words_of(scores[1:] + 0.03 - scores[0], Rules())
        found += words == [IMPROVES] * shape[0]
    assert found >= 38
