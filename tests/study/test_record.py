"""Records: written at once, sealed, and refused by name when something is wrong with them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scsa_yolo.study.records import record as records
from scsa_yolo.study.records.record import KEYS, RecordError, blank, load_all, read, write

JOB = {
    "plan": {"name": "small"},
    "plan_hash": "sha256:0123456789abcdef",
    "run": {
        "id": "m__d__stock__s0",
        "model": "m.yaml",
        "data": "d.yaml",
        "arm": "stock",
        "seed": 0,
        "repeat": 0,
    },
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path, {**blank(JOB), "status": "done", "final": {"AP": 0.25}})


def test_what_was_written_is_read(path: Path, tmp_path: Path) -> None:
    found = read(path, JOB["plan_hash"])
    assert tuple(found) == KEYS
    assert (found["id"], found["final"], found["seconds"]) == (
        "m__d__stock__s0",
        {"AP": 0.25},
        None,
    )
    assert load_all(tmp_path) == [found]
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # nothing temporary stays


def cut(text: str) -> str:
    return text[: len(text) // 2]


def edited(text: str) -> str:
    return text.replace("0.25", "0.35")


def without_a_key(text: str) -> str:
    content = json.loads(text)
    del content["gflops"]
    return json.dumps(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "is damaged"),
        (edited, "its hash does not fit its content"),
        (without_a_key, "damaged or was edited: keys gflops"),
        (lambda text: "", "is damaged"),
        (lambda text: "[]", "is no record of a study"),
    ],
)
def test_a_damaged_record_is_named_and_kept(
    path: Path, damage: Callable[[str], str], message: str
) -> None:
    damaged = damage(path.read_text())
    path.write_text(damaged)
    with pytest.raises(RecordError, match=message) as caught:
        load_all(path.parents[1])
    assert f"mv '{path}'" in str(caught.value)
    assert path.read_text() == damaged


def test_a_record_of_another_plan(path: Path) -> None:
    with pytest.raises(RecordError, match="the record of another plan") as caught:
        read(path, "sha256:ffff")
    assert str(path) in str(caught.value)


def test_a_record_under_another_name(path: Path) -> None:
    copy = path.with_name("m__d__stock__s1.json")
    copy.write_text(path.read_text())
    with pytest.raises(RecordError, match="the record of m__d__stock__s0 under another name"):
        read(copy)


def test_a_record_of_a_newer_form(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 2}))
    with pytest.raises(RecordError, match="form 2"):
        read(path)


def test_a_write_that_fails_leaves_the_earlier_record(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_text()

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(path.parents[1], {**blank(JOB), "status": "failed"})
    assert path.read_text() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_number_that_is_none_never_gets_into_a_record(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path, {**blank(JOB), "status": "done", "final": {"AP": float("nan")}})
    assert load_all(tmp_path) == []


def test_the_hash_is_of_everything_else(path: Path) -> None:
    content = read(path)
    assert records.sealed(content)["hash"] == content["hash"]
    assert records.sealed({**content, "seconds": 1.0})["hash"] != content["hash"]
