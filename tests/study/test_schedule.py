"""The order of runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from scsa_yolo.study.planning.plan import parse
from scsa_yolo.study.planning.schedule import schedule

Content = Callable[..., dict[str, Any]]


def test_every_arm_of_a_seed_comes_before_the_next_seed(content: Content) -> None:
    runs = schedule(parse(content(seeds=[3, 1, 2])))
    assert [(run.seed, run.arm) for run in runs] == [
        (s, a) for s in (3, 1, 2) for a in ("stock", "scsa")
    ]
    assert runs[1].id == "yolov8n__tiny__scsa__s3"


def test_a_study_that_stops_anywhere_has_one_incomplete_seed_at_most(content: Content) -> None:
    plan = parse(content(models=["yolov8n.yaml", "yolo11n.yaml"], seeds=[0, 1, 2, 3]))
    runs = schedule(plan)
    assert len(runs) == len({run.id for run in runs}) == 16
    for stop in range(len(runs) + 1):
        counts = Counter(run.seed for run in runs[:stop])
        assert sum(count < 4 for count in counts.values()) <= 1


def test_repeats_follow_their_seed_under_names_of_their_own(content: Content) -> None:
    runs = schedule(parse(content(repeats={"arm": "stock", "seed": 0, "times": 2})))
    assert [run.id.removeprefix("yolov8n__tiny__") for run in runs] == [
        "stock__s0",
        "scsa__s0",
        "stock__s0__r1",
        "stock__s0__r2",
        "stock__s1",
        "scsa__s1",
    ]
    assert [run.repeat for run in runs] == [0, 0, 1, 2, 0, 0]
