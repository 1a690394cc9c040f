"""The studies in studies/: every record is whole, of its plan and of committed code; the pages are
made from them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from scsa_yolo.attention import attention_class
from scsa_yolo.study.planning import plan as plans
from scsa_yolo.study.planning.schedule import schedule
from scsa_yolo.study.records.record import load_all

STUDIES = sorted(path.parent for path in (Path(__file__).parents[2] / "studies").glob("*/records"))


@pytest.fixture(params=STUDIES, ids=lambda path: path.name)
def study(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_there_is_evidence() -> None:
    assert {path.name for path in STUDIES} >= {"bccd-160", "hituav-256"}


def test_records_are_whole_and_of_the_plan(study: Path) -> None:
    plan = plans.load(study / "plan.yaml")
    records = load_all(study, plans.plan_hash(plan))
    assert records
    assert {record["id"] for record in records} <= {run.id for run in schedule(plan)}
    assert len({record["hash"] for record in records}) == len(records)
    for record in records:
        assert record["status"] == "done"
        assert record["code"] is not None
        assert not record["code"]["dirty"], "a run of code that nobody can get"
        assert [epoch["epoch"] for epoch in record["epochs"]] == [
            *range(1, plan.train["epochs"] + 1)
        ]
        assert set(plan.metrics) <= record["final"].keys()


def test_arms_hold_what_they_say(study: Path) -> None:
    plan = plans.load(study / "plan.yaml")
    for record in load_all(study):
        name = plan.arms[record["arm"]].attention
        found = record["attention"]
        if name is None:
            assert found["count"] == 0
        else:
            cls = attention_class(name)
            assert found["class"] == f"{cls.__module__}.{cls.__qualname__}"
            assert found["count"] == 10  # YOLOv8-N's bottlenecks


def test_one_data_set_each(study: Path) -> None:
    assert len({str(record["data_fingerprint"]) for record in load_all(study)}) == 1


def test_pages_are_made_from_the_records(study: Path, tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("matplotlib")
    from scsa_yolo.study.reporting.report import report

    report(study, tmp_path)
    for name in ("report.md", "report.csv"):
        remade, kept = ((folder / name).read_text(encoding="utf-8") for folder in (tmp_path, study))
        assert remade == kept, f"type: scsa-yolo study report studies/{study.name}"
