"""The plan: what is refused, what the message says, and what the hash stands for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from scsa_yolo.study.planning.plan import METRICS, PlanError, load, parse, plan_hash
from scsa_yolo.study.planning.template import TEMPLATE
from scsa_yolo.study.planning.verify import data_set, verify

Content = Callable[..., dict[str, Any]]

BAD = {
    "unknown key": (
        {"seed": [1]},
        r"plan: unknown key 'seed'\. Did you mean seeds\? Known: name, models",
    ),
    "missing key": ({"arms": None}, "the plan lacks arms"),
    "empty seeds": ({"seeds": []}, "seeds: must be a list of whole numbers"),
    "seeds no numbers": ({"seeds": [0, True]}, "seeds: must be a list of whole numbers"),
    "duplicate seeds": (
        {"seeds": [0, 1, 0]},
        "seeds: 0 more than once; equal runs are written under 'repeats'",
    ),
    "control is no arm": ({"control": "scas"}, "control: must be one of stock, scsa, got 'scas'"),
    "name with a slash": ({"name": "a/b"}, "name: a name is letters"),
    "name that joins ids": ({"name": "a__b"}, "name: a name is letters"),
    "arm name no text": ({"arms": {1: {}}, "control": "stock"}, "arms: a name is letters"),
    "no arms": ({"arms": {}}, "arms: must be a mapping"),
    "arm is a text": ({"arms": {"stock": "SCSA"}}, "arms.stock: must be a mapping"),
    "arm key": (
        {"arms": {"stock": {"atention": "SCSA"}}},
        r"arms.stock: unknown key 'atention'\. Did you mean attention",
    ),
    "option without attention": (
        {"arms": {"stock": {"options": {"window": 9}}}},
        "arms.stock.options: needs an attention",
    ),
    "slot in options": (
        {"arms": {"stock": {"attention": "SCSA", "options": {"slot": "out"}}}},
        "arms.stock.options: write slot beside options",
    ),
    "metric": ({"metrics": ["AP", "mAP"]}, r"metrics: unknown 'mAP'\..*Known: AP, AP50"),
    "metric twice": ({"metrics": ["AP", "AP"]}, "metrics: 'AP' comes twice"),
    "primary": ({"metrics": ["AP50"], "primary": "AP"}, "primary: must be one of AP50, got 'AP'"),
    "verdict key": (
        {"verdict": {"alfa": 0.1}},
        r"verdict: unknown key 'alfa'\. Did you mean alpha",
    ),
    "verdict alpha": (
        {"verdict": {"alpha": 5}},
        "verdict.alpha: must be a number from 1e-06 to 0.1",
    ),
    "verdict alpha 0": ({"verdict": {"alpha": 0}}, "verdict.alpha: must be a number from 1e-06"),
    "verdict interval": (
        {"verdict": {"interval": "normal"}},
        "verdict.interval: must be one of bca, t",
    ),
    "split": ({"split": "valid"}, "split: must be one of val, test, train"),
    "weights": ({"weights": "final"}, "weights: must be one of last, best"),
    "repeats arm": (
        {"repeats": {"arm": "x", "seed": 0}},
        "repeats.arm: must be one of stock, scsa",
    ),
    "repeats seed": (
        {"repeats": {"arm": "stock", "seed": 7}},
        "repeats.seed: must be one of 0, 1, got 7",
    ),
    "repeats times": (
        {"repeats": {"arm": "stock", "seed": 0, "times": 0}},
        "repeats.times: must be a whole number",
    ),
    "seed of 33 bits": ({"seeds": [2**32]}, "seeds: must be a list of whole numbers from 0 to 429"),
    "seed of 32 bits and a process": ({"seeds": [2**32 - 1]}, "seeds: must be a list"),
    "seed below 0": ({"seeds": [-1]}, "seeds: must be a list of whole numbers from 0"),
    "a very large seed": ({"seeds": [10**5000]}, "seeds: the number is too large"),
    "a bool as a seed": ({"seeds": [True]}, "seeds: must be a list of whole numbers"),
    "seeds with a fraction": ({"seeds": [1.0]}, "seeds: must be a list of whole numbers"),
    "a bool as the repeated seed": (
        {"repeats": {"arm": "stock", "seed": True}},
        "repeats.seed: must be one of 0, 1, got True",
    ),
    "no repeated seed": ({"repeats": {"arm": "stock"}}, "repeats.seed: must be one of 0, 1"),
    "very many repeats": (
        {"repeats": {"arm": "stock", "seed": 0, "times": 10**9}},
        "repeats.times: must be a whole number from 1 to 100",
    ),
    "a bool as repeats": (
        {"repeats": {"arm": "stock", "seed": 0, "times": True}},
        "repeats.times: must be a whole number",
    ),
    "rows a number": (
        {"arms": {"stock": {"attention": "SCSA", "rows": 4}}},
        r"arms.stock.rows: must be a list of layer numbers such as \[4\]",
    ),
    "rows a text": (
        {"arms": {"stock": {"attention": "SCSA", "rows": "2,4"}}},
        "arms.stock.rows: must be a list of layer numbers",
    ),
    "rows of texts": (
        {"arms": {"stock": {"attention": "SCSA", "rows": ["2"]}}},
        "arms.stock.rows: must be a list of layer numbers",
    ),
    "rows of bools": (
        {"arms": {"stock": {"attention": "SCSA", "rows": [True]}}},
        "arms.stock.rows: must be a list of layer numbers",
    ),
    "rows without options": (
        {"arms": {"stock": {"attention": "SCSA", "rows": {2: 9}}}},
        "arms.stock.rows.2: must be a mapping",
    ),
    "no rows": (
        {"arms": {"stock": {"attention": "SCSA", "rows": []}}},
        "arms.stock.rows: must be a list of layer numbers",
    ),
    "a date": (
        {"train": {"epochs": date(2024, 1, 1)}},
        "train.epochs: YAML reads this as a value of kind date",
    ),
    "a set": ({"accept": {"leak"}}, "accept: YAML reads this as a value of kind set"),
    "bytes": ({"name": b"x"}, "name: YAML reads this as a value of kind bytes"),
    "a date as a key": ({"arms": {date(2024, 1, 1): {}}}, "a key of arms: YAML reads this as"),
    "a line break in a name": ({"data": ["a\nb/c.yaml"]}, "data: a text must be without control"),
    "names that no file can have": (
        {"data": [f"{'a' * 150}.yaml"], "arms": {"b" * 90: {}}, "control": "b" * 90},
        "is too long for a file's name",
    ),
    "same stems": ({"data": ["a/x.yaml", "b/x.yaml"]}, "data: two are called 'x'"),
    "train is a list": ({"train": ["epochs"]}, "train: must be a mapping"),
}
UNKNOWN_HERE = {
    "model": ({"models": ["yolov8q.yaml"]}, "there is no model YAML 'yolov8q.yaml'"),
    "weights as a model": ({"models": ["yolov8n.pt"]}, "graft takes a model YAML"),
    "attention": (
        {"arms": {"stock": {"attention": "SCAS"}}},
        "unknown attention 'SCAS'.*Known: SCSA",
    ),
    "option": (
        {"arms": {"stock": {"attention": "SCSA", "options": {"windows": 9}}}},
        "arms.stock.*no option 'windows'.*window=7",
    ),
    "option's value": (
        {"arms": {"stock": {"attention": "SCSA", "options": {"window": 0}}}},
        "arms.stock.*window",
    ),
    "slot": (
        {"arms": {"stock": {"attention": "SCSA", "slot": "in"}}},
        "slot must be one of 'mid', 'out'",
    ),
    "rows": ({"arms": {"stock": {"attention": "SCSA", "rows": [0]}}}, "rows must be among"),
    "scale": ({"arms": {"stock": {"scale": "q"}}}, "arms.stock|no model YAML|scale"),
    "argument": (
        {"train": {"epoch": 3}},
        r"Ultralytics has no argument 'epoch'\. Did you mean epochs",
    ),
    "the study's argument": (
        {"train": {"seed": 3}},
        "train.seed: is the study's own: write it under 'seeds'",
    ),
    "kind of an argument": (
        {"train": {"epochs": 1, "lr0": "fast"}},
        "train.lr0: .*invalid type str",
    ),
    "no epochs": ({"train": {"imgsz": 64, "batch": 4}}, "train.epochs: a plan says it"),
    "batch chosen by the machine": (
        {"train": {"epochs": 1, "imgsz": 64, "batch": -1}},
        "train.batch",
    ),
    "weights to start from": (
        {"arms": {"stock": {"pretrained": "gone.pt"}}},
        "arms.stock.pretrained: there is no file 'gone.pt'",
    ),
    "a text argument": (
        {"train": {"epochs": 1, "imgsz": 64, "batch": 4, "optimizer": 5}},
        "train.optimizer: .*must be a (str|text)",
    ),
    "endless epochs": (
        {"train": {"epochs": 10**9, "imgsz": 64, "batch": 4}},
        "train.epochs: a plan says it, as a whole number from 1 to 100,000",
    ),
    "accepted finding": (
        {"accept": ["leek"]},
        r"accept: no finding 'leek' stops a run\. Did you mean leak",
    ),
}


@pytest.mark.parametrize(("changed", "message"), BAD.values(), ids=BAD)
def test_a_plan_of_the_wrong_form_is_refused(
    content: Content, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        parse(content(**changed))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("changed", "message"), UNKNOWN_HERE.values(), ids=UNKNOWN_HERE)
def test_names_that_mean_nothing_here_are_refused(
    content: Content, changed: dict[str, Any], message: str
) -> None:
    plan = parse(
        content(**changed) | ({"control": next(iter(changed["arms"]))} if "arms" in changed else {})
    )
    with pytest.raises(PlanError, match=message):
        verify(plan)


@pytest.mark.parametrize("value", [None, [], "plan", 3])
def test_what_is_no_mapping_is_no_plan(value: Any) -> None:
    with pytest.raises(PlanError, match="a plan is a mapping with the keys name, models"):
        parse(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", r"plan.yaml:1: no valid YAML"),
        (
            "name: a\nseeds: [0]\nname: b\n",
            r"plan.yaml:3: no valid YAML: the key 'name' comes twice",
        ),
        ("arms:\n  stock: {}\n  stock: {attention: SCSA}\n", "the key 'stock' comes twice"),
        ("", "plan.yaml: a plan is a mapping"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(PlanError, match=message):
        load(path)


def test_a_binary_file_is_no_plan(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(PlanError, match="not a text file"):
        load(tmp_path / "plan.yaml")


def test_a_missing_plan_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Type: scsa-yolo study init none\.yaml"):
        load(tmp_path / "none.yaml")


def test_the_hash_is_of_the_content_alone(write_plan: Callable[..., Path]) -> None:
    path = write_plan()
    first = plan_hash(load(path))
    turned = dict(reversed(yaml.safe_load(path.read_text()).items()))
    path.write_text(f"# words\n{yaml.safe_dump(turned, sort_keys=False, default_flow_style=True)}")
    assert plan_hash(load(path)) == first
    assert first.startswith("sha256:")
    assert plan_hash(load(write_plan(seeds=[0, 2]))) != first
    assert plan_hash(load(write_plan(name="other"))) != first


def test_a_value_that_json_cannot_hold_is_refused(content: Content) -> None:
    with pytest.raises(PlanError, match="JSON"):
        plan_hash(parse(content(train={"epochs": 1, "lr0": float("nan")})))


def test_defaults(content: Content) -> None:
    plan = parse(content())
    assert (plan.primary, plan.split, plan.weights, plan.accept) == ("AP", "val", "last", ())
    assert plan.metrics == ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
    assert plan.verdict == {"alpha": 0.05, "margin": 0.005, "interval": "bca", "confidence": 0.95}


def test_metrics_are_scores_of_the_evaluator() -> None:
    from dataclasses import fields

    from scsa_yolo.evaluation.result import COCO, ULTRALYTICS, VISDRONE, Scores

    rules, scores = zip(*METRICS.values(), strict=True)
    assert {*rules} == {COCO, VISDRONE, ULTRALYTICS}
    assert {*scores} <= {field.name for field in fields(Scores)}


def test_the_template_is_a_plan_with_and_without_its_examples() -> None:
    plan = parse(yaml.safe_load(TEMPLATE))
    assert verify(plan)
    keys = "scsa-wide", "identity", "conv1x1", "one-size-up", "repeats", "accept"
    lines = TEMPLATE.splitlines()
    opened = [
        line.replace("# ", "", 1) if line.lstrip("# ").split(":")[0] in keys else line
        for line in lines
    ]
    full = parse(yaml.safe_load("\n".join(opened)))
    assert {*keys[:4]} < {*full.arms}
    assert full.repeats is not None
    assert full.accept
    assert verify(full)


def test_a_data_set_that_does_not_resolve(content: Content, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"data: .*no such data YAML"):
        data_set(parse(content(data=["nowhere.yaml"])), "nowhere.yaml", tmp_path, print)


def test_a_split_that_the_data_lacks(content: Content, tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"no split 'test'; it has train, val"):
        data_set(parse(content(split="test")), str(tiny_data), tmp_path, print)


def test_findings_of_the_data_check_stop_unless_accepted(
    content: Content, tiny_data: Path, tmp_path: Path
) -> None:
    label = tiny_data.parent / "labels" / "train" / "0.txt"
    label.write_text("0 0.5 0.5 0.1 0.1\n7 0.5 0.5 0.1 0.1\n")
    found = data_set(parse(content()), str(tiny_data), tmp_path, print)
    assert [problem.split(":")[0] for problem in found.problems] == ["class-range"]
    again = data_set(parse(content(accept=["class-range"])), str(tiny_data), tmp_path, print)
    assert again.problems == ()
    label.write_text(
        "0 0.5 0.5 0.1 0.1\n"
    )  # mended: what was kept of the check is not believed any more
    assert data_set(parse(content()), str(tiny_data), tmp_path, print).problems == ()
    assert (tmp_path / "checks" / "tiny.json").is_file()


def test_a_check_fetches_nothing(content: Content, tmp_path: Path) -> None:
    path = tmp_path / "far.yaml"
    path.write_text(
        f"path: {tmp_path / 'far'}\ntrain: a\nval: b\nnames: [x]\ndownload: |\n  raise"
        " SystemExit('no')\n"
    )
    said: list[str] = []
    found = data_set(parse(content(data=[str(path)])), str(path), None, said.append)
    assert (found.fingerprint, found.problems) == ({}, ())
    assert "`scsa-yolo study run` does" in said[0]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 3000,
        "a: &a [*a]",
        "name: &a {x: *a}",
        f"seeds: [{'9' * 5000}]",
        f"seeds: [0x{'f' * 5000}]",
        "name: 2024-13-45",
        "name: 2024-01-01",
        "? [1]: 2",
        "? {a: b}\n: 2",
        "name: !!map [a]",
        "name: !!omap [a: 1]",
        "name: !!set {a, b}",
        "name: !!binary '!'",
        "name: !!python/object:os.system x",
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n"
        "c: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n"
        "name: [*d,*d,*d,*d,*d,*d,*d,*d]",
        "\x00",
        "---\na: 1\n---\nb: 2\n",
        "name: 1:60:99",
        "name: .inf",
        f"name: {'a' * 1_100_000}",
    ],
    ids=lambda text: text[:20],
)
def test_every_error_of_a_file_is_one_line_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(PlanError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def state_dict(path: Path) -> str:
    torch.save({"model.0.weight": torch.zeros(3)}, path)
    return "is no checkpoint that a run can start from"


def weights_in_a_box(path: Path) -> str:
    torch.save({"model": {"0.weight": torch.zeros(3)}}, path)
    return "is no checkpoint that a run can start from"


def tensor(path: Path) -> str:
    torch.save(torch.zeros(3), path)
    return "is no checkpoint that a run can start from"


def damaged(path: Path) -> str:
    path.write_bytes(b"PK\x03\x04half")
    return "is no checkpoint that a run can start from"


def empty(path: Path) -> str:
    path.write_bytes(b"")
    return "is no checkpoint that a run can start from"


def folder(path: Path) -> str:
    path.mkdir()
    return "there is no file"


@pytest.mark.parametrize("make", [state_dict, weights_in_a_box, tensor, damaged, empty, folder])
@pytest.mark.parametrize("place", ["arm", "train"])
def test_weights_that_no_run_could_start_from_are_refused(
    content: Content, tmp_path: Path, make: Callable[[Path], str], place: str
) -> None:
    path = tmp_path / "weights.pt"
    words = make(path)
    changed = (
        {"arms": {"stock": {"pretrained": str(path)}}}
        if place == "arm"
        else {"train": {"epochs": 1, "imgsz": 64, "batch": 4, "pretrained": str(path)}}
    )
    key = "arms.stock.pretrained" if place == "arm" else "train.pretrained"
    with pytest.raises(PlanError, match=f"{key}: .*{words}") as caught:
        verify(parse(content(**changed)))
    assert "\n" not in str(caught.value)


def test_weights_of_another_format_are_refused(content: Content, tmp_path: Path) -> None:
    (tmp_path / "w.onnx").write_bytes(b"x")
    plan = parse(content(arms={"stock": {"pretrained": str(tmp_path / "w.onnx")}}))
    with pytest.raises(PlanError, match=r"must be a checkpoint that ends in \.pt"):
        verify(plan)


def test_weights_are_opened_once_and_said(content: Content, tmp_path: Path) -> None:
    from ultralytics import YOLO

    path = tmp_path / "w.pt"
    YOLO("yolov8n.yaml").save(path)
    arms = {name: {"pretrained": str(path)} for name in ("stock", "again")}
    said: list[str] = []
    verify(parse(content(arms=arms)), said.append)
    assert len(said) == 1
    assert "w.pt: a .pt file can run code of whoever made it" in said[0]
    assert "ULTRALYTICS_SAFE_LOAD=1" in said[0]


FREEZE = {
    "attention by name": (["2.m.0.attn"], r"freezes attention of arm 'scsa' on yolov8n\.yaml"),
    "all but attention, of stock": ("all-but-attention", "needs a model with attention"),
    "a bool": (True, "must be a number of layers, a list such as"),
    "a text": ("10", "must be a number of layers, a list such as"),
    "below 0": (-1, "must be a number of layers, a list such as"),
    "bools in a list": ([True], "must be a number of layers, a list such as"),
}


@pytest.mark.parametrize(("freeze", "message"), FREEZE.values(), ids=FREEZE)
def test_a_plan_that_freezes_drawn_attention_is_refused(
    content: Content, freeze: Any, message: str
) -> None:
    train = {"epochs": 1, "imgsz": 64, "batch": 4, "freeze": freeze}
    with pytest.raises(PlanError, match=f"train.freeze: .*{message}"):
        verify(parse(content(train=train)))


@pytest.mark.parametrize("freeze", [None, 0, 3, [], [0, 1], ["2.cv1"]])
def test_a_plan_may_freeze_what_is_no_attention(content: Content, freeze: Any) -> None:
    train = {"epochs": 1, "imgsz": 64, "batch": 4, "freeze": freeze}
    assert verify(parse(content(train=train)))
