"""Words of messages: the name that was meant."""

from __future__ import annotations

import pytest

from scsa_yolo.support.words import closest, hint


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("C2F", ["C2", "C2f", "C3"], "C2f"),  # capitals come before another letter
        ("c2", ["C2", "C2f"], "C2"),
        ("identity", ["SCSA", "Identity"], "Identity"),
        ("SCSE", ["SE", "SCSA"], "SCSA"),
        ("xyzzy", ["SCSA"], None),
        ("", ["SCSA"], None),
        (3, ["3"], None),
        ("a", [], None),
        ("ab", ["AB", "Ab"], "AB"),  # the first of two that differ in capitals alone
    ],
)
def test_the_closest_name(word: object, known: list[str], expected: str | None) -> None:
    assert closest(word, known) == expected


def test_a_hint_is_a_sentence_or_nothing() -> None:
    assert hint("SCSA") == " Did you mean SCSA?"
    assert hint(None) == ""
