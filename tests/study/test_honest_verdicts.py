"""What must not be called better or worse: unfinished and censored plans, unlike training, tiny or
lopsided differences, and several data sets looked at as if each were alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

from scsa_yolo.paired.differences import Comparison
from scsa_yolo.study.planning.plan import PlanError, load, parse, plan_hash
from scsa_yolo.study.planning.schedule import Run, schedule
from scsa_yolo.study.records.record import blank, write
from scsa_yolo.study.reporting import plots
from scsa_yolo.study.reporting.evidence import Setting, collect
from scsa_yolo.study.reporting.findings import Finding, find
from scsa_yolo.study.reporting.report import report
from scsa_yolo.study.reporting.verdict import (
    HARMS,
    IMPROVES,
    NO_DIFFERENCE,
    OPEN,
    RESOLUTION,
    UNDECIDED,
    Rules,
    judge,
)
from scsa_yolo.study.running.status import status

Change = Callable[[Run, dict[str, Any]], "dict[str, Any] | None"]
WORDS = (IMPROVES, HARMS, NO_DIFFERENCE)


@pytest.fixture(autouse=True)
def no_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("differences", "learning_curves"):
        monkeypatch.setattr(plots, name, lambda *data: "<svg></svg>")


@pytest.fixture
def study_of(tmp_path: Path) -> Callable[..., Path]:
    """Return the maker of a study whose arm `scsa` gains `effect`; `change` edits or drops."""

    def make(change: Change, effect: float = 0.02, **plan: Any) -> Path:
        folder = tmp_path / "study"
        content = {
            "name": "made",
            "models": ["yolov8n.yaml"],
            "data": ["a.yaml"],
            "arms": {"stock": {}, "scsa": {"attention": "SCSA"}},
            "control": "stock",
            "seeds": list(range(12)),
            "train": {"epochs": 3, "imgsz": 64, "batch": 4},
            **plan,
        }
        folder.mkdir()
        (folder / "plan.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        parsed = load(folder / "plan.yaml")
        for run in schedule(parsed):
            luck = np.random.default_rng([run.seed, run.arm == "scsa"]).normal(0, 0.003)
            score = round(0.3 + luck + effect * (run.arm == "scsa"), 6)
            record = change(run, _record(run, content, plan_hash(parsed), score))
            if record is not None:
                write(folder, record)
        return folder

    return make


def _record(run: Run, plan: dict[str, Any], digest: str, score: float) -> dict[str, Any]:
    fields = {key: getattr(run, key) for key in ("id", "model", "data", "arm", "seed", "repeat")}
    return {
        **blank({"plan": plan, "plan_hash": digest, "run": fields}),
        "status": "done",
        "arguments": {"epochs": 3, "imgsz": 64, "batch": 4, "seed": run.seed},
        "data_fingerprint": {"val": {"images": 4, "boxes": 8, "hash": "sha256:00"}},
        "epochs": [{"epoch": e, "metrics/mAP50-95(B)": score * e / 3} for e in (1, 2, 3)],
        "final": {"AP": score},
    }


def failed(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "status": "failed", "error": "loss is NaN", "final": {}, "epochs": []}


def kept(run: Run, record: dict[str, Any]) -> dict[str, Any]:
    return record


def found_in(folder: Path) -> Finding:
    return find(collect(folder))[0]


def page_of(folder: Path) -> str:
    return report(folder).with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("effect", "word"), [(0.02, IMPROVES), (-0.02, HARMS)])
def test_a_whole_study_has_its_word(
    study_of: Callable[..., Path], effect: float, word: str
) -> None:
    assert found_in(study_of(kept, effect)).verdicts["scsa"].word == word


# Failures.


@pytest.mark.parametrize("fails", ["scsa", "stock", "both"])
@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("effect", [0.02, -0.02, 0.0])
def test_failed_runs_leave_no_verdict(
    study_of: Callable[..., Path], fails: str, count: int, effect: float
) -> None:
    def change(run: Run, record: dict[str, Any]) -> dict[str, Any]:
        bad = run.seed >= 12 - count and fails in (run.arm, "both")
        return failed(record) if bad else record

    folder = study_of(change, effect, verdict={"margin": 0.1})
    finding = found_in(folder)
    assert finding.verdicts["scsa"].word == UNDECIDED
    text = page_of(folder)
    assert f"{count} of 12 planned pairs" in text
    answer = next(line for line in text.splitlines() if line.startswith("**Answer.**"))
    assert f"Planned pairs that are missing: scsa {count} of 12" in answer
    assert "--retry-failed" in answer
    assert not any(f"*{word}*," in text for word in WORDS)


def test_a_done_run_without_the_metric_is_a_missing_pair(study_of: Callable[..., Path]) -> None:
    def change(run: Run, record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "final": {"AP": None}} if (run.arm, run.seed) == ("scsa", 3) else record

    assert found_in(study_of(change)).verdicts["scsa"].word == UNDECIDED


def test_an_arm_that_failed_does_not_help_the_others() -> None:
    gain = Comparison({seed: 0.02 + seed / 1e4 for seed in range(7)})
    alone = judge({"a": gain, "b": gain}, Rules())
    beside = judge({"a": gain, "b": gain}, Rules(), blocked={"b": "a pair is missing"})
    assert beside["a"].p == alone["a"].p == 2 * gain.p
    assert (beside["b"].word, beside["b"].p) == (UNDECIDED, None)
    assert beside["b"].refusal == "a pair is missing"


# Looks before the end.


@pytest.mark.parametrize("done", [1, 6, 11])
def test_no_word_before_the_last_run(
    study_of: Callable[..., Path], done: int, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = study_of(lambda run, record: record if run.seed < done else None)
    assert found_in(folder).verdicts["scsa"].word == OPEN
    text = page_of(folder)
    assert "No verdict yet for scsa" in text
    assert f"{24 - 2 * done} of 24 planned runs have no usable record" in text
    assert not any(f"*{word}*," in text for word in (*WORDS, UNDECIDED))
    assert "p = " not in text.split("What the words mean")[0]
    said = status(folder)
    assert not any(word in said for word in WORDS)


def test_a_repeat_without_a_record_leaves_the_plan_open(study_of: Callable[..., Path]) -> None:
    repeats = {"arm": "stock", "seed": 0, "times": 1}
    folder = study_of(lambda run, record: None if run.repeat else record, repeats=repeats)
    assert found_in(folder).verdicts["scsa"].word == OPEN


def test_one_open_data_set_leaves_all_open(study_of: Callable[..., Path]) -> None:
    def change(run: Run, record: dict[str, Any]) -> dict[str, Any] | None:
        return None if (run.data, run.seed, run.arm) == ("b.yaml", 11, "scsa") else record

    folder = study_of(change, data=["a.yaml", "b.yaml"])
    words = [finding.verdicts["scsa"].word for finding in find(collect(folder))]
    assert words == [OPEN, OPEN]


# Several data sets.


def test_holm_covers_all_data_sets_and_models(study_of: Callable[..., Path]) -> None:
    arms = {"stock": {}, "scsa": {"attention": "SCSA"}, "one": {"attention": "Conv1x1"}}
    folder = study_of(kept, data=["a.yaml", "b.yaml"], models=["m.yaml", "n.yaml"], arms=arms)
    found = find(collect(folder))
    assert len(found) == 4
    assert {finding.verdicts[arm].family for finding in found for arm in ("scsa", "one")} == {4}
    assert found[0].verdicts["scsa"].p == pytest.approx(4 * found[0].comparisons["scsa"].p_both)
    assert "Holm over 4 arms" in page_of(folder)


def test_eight_seeds_are_too_few_for_two_arms_on_four_sets() -> None:
    gain = Comparison({seed: 0.02 + seed / 1e4 for seed in range(8)})
    every = {(data, arm): gain for data in "wxyz" for arm in "ab"}
    found = judge(every, Rules())
    assert {verdict.word for verdict in found.values()} == {UNDECIDED}
    assert "it takes 9 seeds" in found["w", "a"].refusal


# Training that was not alike.


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"epochs": [{"epoch": e} for e in range(1, 21)]}, "epochs 20 and 3"),
        ({"arguments": {"epochs": 3, "imgsz": 96, "batch": 4}}, "imgsz 96 and 64"),
        ({"arguments": {"epochs": 3, "imgsz": 64, "batch": 8}}, "batch 8 and 4"),
        ({"data_fingerprint": {"val": {"hash": "sha256:11"}}}, "the data"),
    ],
)
def test_unlike_training_has_no_verdict(
    study_of: Callable[..., Path], changed: dict[str, Any], words: str
) -> None:
    folder = study_of(lambda run, record: {**record, **(changed if run.arm == "scsa" else {})})
    verdict = found_in(folder).verdicts["scsa"]
    assert verdict.word == UNDECIDED
    assert f"scsa and stock were not trained alike: {words}" in verdict.refusal
    text = page_of(folder)
    assert "None: every planned run" not in text
    assert "### To be looked at" in text


def test_epochs_are_counted_compared_and_shown(study_of: Callable[..., Path]) -> None:
    def change(run: Run, record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "epochs": record["epochs"][:2]} if run.seed == 5 else record

    text = page_of(study_of(change))
    assert "not the same for all runs: epochs trained: 2 (2 runs); 3 (22 runs)" in text
    assert "| 2 / 3 |" in text


def test_fewer_epochs_than_planned_in_all_runs(study_of: Callable[..., Path]) -> None:
    folder = study_of(lambda run, record: {**record, "epochs": record["epochs"][:2]})
    assert "every run trained 2 epochs, and the plan says 3" in page_of(folder)


def test_planned_early_stops_are_said_and_judged(study_of: Callable[..., Path]) -> None:
    def change(run: Run, record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "epochs": record["epochs"][:2]} if run.arm == "scsa" else record

    train = {"epochs": 3, "imgsz": 64, "batch": 4, "patience": 1}
    folder = study_of(change, train=train)
    assert found_in(folder).verdicts["scsa"].word == IMPROVES
    assert "epochs trained: 2 (12 runs); 3 (12 runs)" in page_of(folder)


@pytest.mark.parametrize("key", ["versions", "hardware", "code"])
def test_other_conditions_are_listed(study_of: Callable[..., Path], key: str) -> None:
    values = {
        "versions": {"torch": "2.5.0"},
        "hardware": {"gpu": "another"},
        "code": {"commit": "abc", "dirty": False},
    }
    folder = study_of(lambda run, record: {**record, key: values[key]} if run.seed else record)
    text = page_of(folder)
    assert "not the same for all runs: " in text
    assert "None: every planned run" not in text


def test_an_arm_that_changed_between_seeds_is_named(study_of: Callable[..., Path]) -> None:
    folder = study_of(lambda run, record: {**record, "parameters": 100 + (run.seed > 5)})
    assert "runs of scsa differ in parameters or in attention modules" in page_of(folder)


# Size of the difference.


@pytest.mark.parametrize(("mean", "word"), [(0.9, NO_DIFFERENCE), (1.1, IMPROVES)])
def test_what_reads_as_nothing_is_nothing(mean: float, word: str) -> None:
    values = {seed: RESOLUTION * mean * (1 + seed / 1e4) for seed in range(8)}
    verdict = judge({"arm": Comparison(values)}, Rules())["arm"]
    assert verdict.word == word
    assert ("last digit" in verdict.refusal) == (word == NO_DIFFERENCE)
    mirrored = Comparison({seed: -value for seed, value in values.items()})
    assert judge({"arm": mirrored}, Rules())["arm"].word == (HARMS if word == IMPROVES else word)


def test_a_gain_below_the_margin_says_so_in_the_headline(study_of: Callable[..., Path]) -> None:
    text = page_of(study_of(kept, 0.004, verdict={"margin": 0.01}))
    assert "by less than the margin of 1.00 points: scsa (12 paired seeds)." in text
    assert "Better AP than stock: scsa" not in text


@pytest.mark.parametrize(("pairs", "word"), [(4, UNDECIDED), (5, UNDECIDED), (6, NO_DIFFERENCE)])
def test_few_pairs_are_not_equal(pairs: int, word: str) -> None:
    close = Comparison({seed: 1e-4 * (-1) ** seed * (1 + seed / 100) for seed in range(pairs)})
    assert judge({"arm": close}, Rules())["arm"].word == word


# Lopsided differences.


def test_the_studentized_bootstrap_bends_with_the_skew() -> None:
    values = [0.01, 0.011, 0.012, 0.009, 0.01, 0.011, 0.03, 0.05, 0.002]
    found = Comparison(dict(enumerate(values)))
    assert found.skew is not None
    assert found.skew.skewness > 1
    assert found.skew.p < 0.05
    assert found.t is not None
    interval = found.bootstrap_t.interval
    assert interval is not None
    assert interval[1] - found.mean > found.mean - interval[0]  # the long tail is above


def test_the_larger_p_decides() -> None:
    found = Comparison(dict(enumerate([0.001, 0.02, 0.0001, 0.03, 0.002, 0.05])))
    assert found.p == 2 / 2**6
    assert found.bootstrap_t.p is not None
    assert found.p_both == max(found.p, found.bootstrap_t.p)
    assert judge({"arm": found}, Rules())["arm"].p == found.p_both


def test_mirrored_differences_mirror_everything() -> None:
    values = [0.01, 0.011, 0.03, -0.009, 0.02, 0.05]
    one, other = (Comparison(dict(enumerate([s * v for v in values]))) for s in (1, -1))
    assert one.skew.skewness == pytest.approx(-other.skew.skewness)
    mirrored = tuple(-bound for bound in reversed(other.bootstrap_t.interval))
    assert one.bootstrap_t.interval == pytest.approx(mirrored)
    assert one.bootstrap_t.p == pytest.approx(other.bootstrap_t.p)


@pytest.mark.parametrize("values", [[], [0.1], [0.1, 0.2], [0.1, 0.2, 0.3]])
def test_too_few_for_the_studentized_bootstrap(values: list[float]) -> None:
    assert Comparison(dict(enumerate(values))).bootstrap_t.interval is None


def test_equal_differences_are_a_point() -> None:
    same = Comparison(dict.fromkeys(range(6), 0.0))
    assert same.bootstrap_t == ((0.0, 0.0), 1.0)
    assert same.skew is None


def test_the_report_says_what_its_test_assumes(study_of: Callable[..., Path]) -> None:
    def change(run: Run, record: dict[str, Any]) -> dict[str, Any]:
        low = (run.arm, run.seed) == ("scsa", 4)
        return {**record, "final": {"AP": 0.01}} if low else record

    text = page_of(study_of(change))
    assert "### How far the test holds" in text
    assert "The differences of scsa are lopsided" in text
    assert "12 pairs can miss what comes in fewer than 22 of 100 runs" in text


# Settings of the plan.


@pytest.mark.parametrize(
    "verdict",
    [
        {"alpha": 0.9},
        {"alpha": 0.11},
        {"alpha": 0},
        {"alpha": float("nan")},
        {"alpha": True},
        {"alpha": "0.05"},
        {"confidence": 0.01},
        {"confidence": 0.89},
        {"confidence": 1},
        {"confidence": 0.9999},
        {"margin": 0.2},
        {"margin": -0.001},
        {"margin": 5},
    ],
)
def test_settings_that_prove_nothing_are_refused(
    verdict: dict[str, Any], content: Callable[..., dict[str, Any]]
) -> None:
    key = next(iter(verdict))
    with pytest.raises(
        PlanError, match=rf"verdict\.{key}: (must be a number from|nan is no number)"
    ):
        parse(content(verdict=verdict))


def test_settings_within_their_bounds(content: Callable[..., dict[str, Any]]) -> None:
    for verdict in ({"alpha": 0.1}, {"confidence": 0.9}, {"margin": 0.1}, {"margin": 0}):
        assert parse(content(verdict=verdict)).verdict.items() >= verdict.items()


# Names and latency.


@pytest.mark.parametrize(
    ("data", "title"),
    [
        ("sets/BCCD/data.yaml", "yolov8n on BCCD"),
        ("sets/BCCD/dataset.yml", "yolov8n on BCCD"),
        ("data.yaml", "yolov8n on data"),
        ("bccd.yaml", "yolov8n on bccd"),
    ],
)
def test_a_data_yaml_has_its_folders_name(data: str, title: str) -> None:
    assert Setting("yolov8n.yaml", data).title == title


def test_latency_of_records_is_not_in_a_report(study_of: Callable[..., Path]) -> None:
    latency = {"median": 31.7, "p95": 70.1, "imgsz": 64, "batch": 1, "device": "cpu", "threads": 1}
    folder = study_of(lambda run, record: {**record, "latency_ms": latency})
    text = page_of(folder)
    assert "31.7" not in text
    assert "scsa-yolo bench measures all arms in turns" in text
    assert "31.7" in (folder / "report.csv").read_text(encoding="utf-8")


def test_the_noise_floor_that_is_missing_is_said(study_of: Callable[..., Path]) -> None:
    text = page_of(study_of(kept))
    assert "cannot say how much of a difference two equal runs would show" in text
    assert "How far two equal runs differ was not measured." in text


def test_a_report_is_the_same_wherever_its_folder_lies(
    study_of: Callable[..., Path], tmp_path: Path
) -> None:
    folder = study_of(kept, data=["x/data.yaml"])
    again = shutil.copytree(folder, tmp_path / "deep" / "study")
    assert page_of(folder) == page_of(again)


def test_a_phone_is_told_where_the_verdict_is(study_of: Callable[..., Path]) -> None:
    page = report(study_of(kept)).read_text(encoding="utf-8")
    assert '<p class="swipe">Swipe sideways: the last column is verdict.</p>' in page
    assert "@media (max-width: 48rem) { .swipe { display: block;" in page
