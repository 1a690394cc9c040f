"""The support table: the page shows the data, and every test that it names exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from scsa_yolo.deploy.formats import FORMATS, SUPPORT, Support, support_table

REPO = Path(__file__).parents[2]


def test_the_page_shows_the_table() -> None:
    assert support_table() in (REPO / "docs" / "deploy.md").read_text(encoding="utf-8"), (
        "put support_table() there"
    )


@pytest.mark.parametrize("one", SUPPORT, ids=lambda one: f"{one.format} {one.option}")
def test_a_yes_has_its_proof_and_a_no_its_reason(one: Support) -> None:
    assert one.format in FORMATS
    assert one.proof if one.works else one.reason
    if one.proof.startswith("tests/"):
        file, name = one.proof.split("::")
        assert f"def {name}(" in (REPO / file).read_text(encoding="utf-8")
    elif one.works:
        assert one.date or one.reason
