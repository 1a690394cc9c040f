"""A plan and records of version 0.1.0 are read for ever, with the hashes that they had."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scsa_yolo.study.planning.plan import load, plan_hash
from scsa_yolo.study.planning.schedule import schedule
from scsa_yolo.study.records.record import KEYS, load_all

OLD = Path(__file__).parents[1] / "fixtures" / "study"
PLAN_HASH = "sha256:a4e1dfd1053d4239c2d50af9492b4ea5142f74419b1663fb79563d9efc6882a3"
HASHES = {
    "yolov8n__bccd__scsa__s0": (
        "sha256:ccaa482918e8e78b2c3411a33577e6c47b9c3e909b483f0202e79d9480c2873d"
    ),
    "yolov8n__bccd__stock__s0": (
        "sha256:49ff21a487670379a1bc2655ab7e349afc6073924673df4f43c508a6b0df2fdb"
    ),
}


def test_an_old_plan_keeps_its_hash_and_its_runs() -> None:
    plan = load(OLD / "plan.yaml")
    assert plan_hash(plan) == PLAN_HASH
    assert [run.id for run in schedule(plan)][:2] == list(HASHES)[::-1]
    assert len(schedule(plan)) == 18


def test_old_records_keep_their_keys_and_hashes() -> None:
    records = load_all(OLD, PLAN_HASH)
    assert {record["id"]: record["hash"] for record in records} == HASHES
    assert {*KEYS} >= {*records[0]}
    scsa = next(record for record in records if record["arm"] == "scsa")
    assert scsa["final"]["AP50"] == pytest.approx(0.6507, abs=5e-5)
    assert scsa["attention"]["class"] == "scsa_yolo.attention.scsa.SCSA"


def test_an_old_study_gives_a_report(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("matplotlib")
    from scsa_yolo.study.reporting.report import report

    folder = shutil.copytree(OLD, tmp_path / "old")
    text = report(folder).with_suffix(".md").read_text(encoding="utf-8")
    assert "2 of 18 planned runs finished" in text
    assert PLAN_HASH in text
