"""The public names of the package, whatever was imported before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import scsa_yolo


@pytest.mark.parametrize("name", scsa_yolo.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(scsa_yolo, name) is not None


@pytest.mark.parametrize(
    "first",
    [
        "pass",
        "from scsa_yolo.grafting import graft",
        "import scsa_yolo.injection, scsa_yolo.grafting",
    ],
)
def test_functions_are_not_hidden_by_their_modules(
    run_python: Callable[..., Any], first: str
) -> None:
    code = (
        f"{first}\nimport scsa_yolo\nprint('kinds', type(scsa_yolo.graft).__name__,"
        " type(scsa_yolo.inject).__name__)"
    )
    assert run_python(code).lines("kinds") == ["kinds function function"]


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(AttributeError, match="no attribute 'scsa'; it has PCSA, SCSA"):
        scsa_yolo.scsa  # noqa: B018
