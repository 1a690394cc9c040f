"""The packaged plans: each is a valid plan of what the paper compares, with enough seeds, and a
cost that adds up.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from scsa_yolo.paired.differences import seeds_needed
from scsa_yolo.study.planning import paper
from scsa_yolo.study.planning.arms import arm_yaml
from scsa_yolo.study.planning.plan import Plan, load, parse
from scsa_yolo.study.planning.schedule import schedule
from scsa_yolo.study.reporting.verdict import is_reference

ROOT = Path(__file__).resolve().parents[2]
NAMES = [path.name for path in paper.plans() if path.stem.startswith("table")]
TABLE5 = ("yolov8n", "yolov9t", "yolov10n", "yolo11n", "rtdetr-r18")


@pytest.fixture
def plan_of(tiny_data: Path):
    """Return the maker of a small plan."""

    def make(**changed: object) -> Plan:
        content = {
            "name": "small",
            "models": ["yolov8n.yaml"],
            "data": [str(tiny_data)],
            "arms": {"stock": {}, "one-size-up": {"scale": "s"}},
            "control": "stock",
            "seeds": [0, 1],
            "repeats": {"arm": "stock", "seed": 0, "times": 1},
            "train": {"epochs": 3, "imgsz": 64},
        }
        return parse({**content, **changed})

    return make


def test_all_three_tables_are_packaged() -> None:
    assert {f"table5-{model}.yaml" for model in TABLE5} | {
        "table1-yolov8n.yaml",
        "table6-yolov8n.yaml",
    } == {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_plan_is_valid_and_named_as_its_file(name: str) -> None:
    plan = load(paper.find(name))
    assert f"{plan.name}.yaml" == name
    for data in plan.data:
        assert (ROOT / "data" / data).is_file()
    ids = [run.id for run in schedule(plan)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", NAMES)
def test_seeds_are_the_fewest_that_can_carry_a_verdict(name: str) -> None:
    plan = load(paper.find(name))
    tested = [
        name for name, arm in plan.arms.items() if name != plan.control and not is_reference(arm)
    ]
    comparisons = len(tested) * len(plan.models) * len(plan.data)
    assert len(plan.seeds) == seeds_needed(plan.verdict["alpha"], comparisons)


@pytest.mark.parametrize("name", NAMES)
def test_every_arm_can_be_grafted(name: str) -> None:
    plan = load(paper.find(name))
    texts = [arm_yaml(model, arm)[1] for model in plan.models for arm in plan.arms.values()]
    rows = [yaml.safe_load(text)["backbone"] + yaml.safe_load(text)["head"] for text in texts]
    assert all(
        a != b for i, a in enumerate(rows) for b in rows[:i]
    )  # no two arms are the same model


def test_the_demo_plan_is_small() -> None:
    plan = load(paper.find("demo"))
    assert (len(plan.arms), len(plan.seeds), len(schedule(plan))) == (2, 3, 6)


def test_rtdetr_is_trained_as_its_settings_say() -> None:
    settings = yaml.safe_load((ROOT / "models/rt-detr/rtdetr-train.yaml").read_text())
    train = load(paper.find("table5-rtdetr-r18")).train
    assert {key: train[key] for key in settings} == settings


def test_find_prefers_a_local_file_and_lists_the_packaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert paper.find("table5-yolov8n").is_file()
    (tmp_path / "table5-yolov8n.yaml").write_text("name: mine\n")
    assert paper.find("table5-yolov8n.yaml") == Path("table5-yolov8n.yaml")
    with pytest.raises(
        FileNotFoundError, match=r"no plan 'table7'.*study init.*table1-yolov8n, table5-"
    ):
        paper.find("table7")


@pytest.mark.parametrize(
    ("data", "images"),
    [
        ("COCO-scsa.yaml", 118_287),
        ("VOC-scsa.yaml", 16_551),
        ("coco.yaml", 118_287),
        ("VisDrone.yaml", 6_471),
    ],
)
def test_images_of_a_set_that_is_not_here(yolo_home: object, data: str, images: int) -> None:
    assert paper.train_images(data) == images


def test_images_are_counted_where_they_are(tiny_data: Path) -> None:
    tiny_data.write_text(tiny_data.read_text().replace("images/train", "images/train # 99 images"))
    assert paper.train_images(str(tiny_data)) == 4


def test_stated_images_do_not_depend_on_the_disk(tiny_data: Path, plan_of) -> None:
    tiny_data.write_text(tiny_data.read_text().replace("images/train", "images/train # 99 images"))
    assert paper.train_images(str(tiny_data), stated=True) == 99
    gflops = {("yolov8n.yaml", "stock"): 1.0, ("yolov8n.yaml", "one-size-up"): 2.0}
    found = paper.estimate(plan_of(), 1, gflops, stated=True)
    assert {share.images for share in found.shares} == {99}


def test_the_page_counts_stated_images(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    made = paper.Estimate(1, 1.0, 1, 1.0, ())
    monkeypatch.setattr(paper, "estimate", lambda *_, stated: asked.append(stated) or made)
    paper.table()
    assert {*asked} == {True}


@pytest.mark.parametrize(("hours", "text"), [(0.00092, "under 0.1"), (0.1, "0.1"), (312, "310")])
def test_hours_are_rough(hours: float, text: str) -> None:
    assert paper._hours(hours) == text


def test_a_machine_without_gpu_is_told(plan_of, monkeypatch: pytest.MonkeyPatch) -> None:
    gflops = {("yolov8n.yaml", "stock"): 1.0, ("yolov8n.yaml", "one-size-up"): 2.0}
    for here in (True, False):
        monkeypatch.setattr("torch.cuda.is_available", lambda here=here: here)
        assert ("this machine has no GPU" in paper.report(plan_of(), 1, gflops)) is not here


def test_cost_adds_up(plan_of) -> None:
    from scsa_yolo.complexity import cost, load

    n, s = (cost(load(name).model, 64).gflops for name in ("yolov8n.yaml", "yolov8s.yaml"))
    found = paper.estimate(plan_of(), tflops=0.001)
    assert found.runs == 5  # two arms, two seeds, one repeat of stock
    assert found.hours == pytest.approx(
        3 * 4 * 3 * (3 * n + 2 * s) / 1 / 3600
    )  # 0.001 TFLOP/s is 1 GFLOP/s
    counted = {("yolov8n.yaml", "stock"): n, ("yolov8n.yaml", "one-size-up"): s}
    assert paper.estimate(plan_of(), 0.002, counted).hours == pytest.approx(found.hours / 2)
    assert paper.estimate(
        plan_of(train={"epochs": 6, "imgsz": 64, "fraction": 0.5}), 0.001
    ).hours == pytest.approx(found.hours)


@pytest.mark.parametrize("tflops", [0, -1, float("nan"), float("inf")])
def test_throughput_must_be_over_zero(plan_of, tflops: float) -> None:
    for ask in (paper.estimate, paper.report):
        with pytest.raises(ValueError, match="--tflops must be a number over 0"):
            ask(plan_of(), tflops)


def test_report_says_what_it_is(plan_of, tmp_path: Path) -> None:
    text = paper.report(plan_of(), tflops=7)
    assert "estimated and not measured" in text
    assert "at an assumed 7 TFLOP/s" in text
    assert "5 runs x 3 epochs x 4 pictures" in text
    (tmp_path / "away.yaml").write_text(
        "path: nowhere\ntrain: images/train\nval: images/val\nnames: [one]\n"
    )
    assert "not estimated" in paper.report(plan_of(data=[str(tmp_path / "away.yaml")]))
    assert "not estimated" in paper.report(plan_of(train={"imgsz": [64, 96]}))


def test_page_has_the_table() -> None:
    """All names and runs; the hours of one plan, as counting all takes half a minute."""
    page = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    rows = dict(
        re.findall(r"^\| `(table[^`]+)` \|.*\| ([\d,]+) \| [\d,]+ \|$", page, flags=re.MULTILINE)
    )
    assert rows == {Path(name).stem: str(len(schedule(load(paper.find(name))))) for name in NAMES}
    hours = re.search(r"^\| `table5-yolov8n` .*\| ([\d,]+) \|$", page, flags=re.MULTILINE)[1]
    plan = load(paper.find("table5-yolov8n"))
    assert paper.estimate(plan, stated=True).hours == pytest.approx(
        float(hours.replace(",", "")), rel=0.1
    )
