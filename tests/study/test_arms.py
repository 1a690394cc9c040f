"""Arms differ in the slot alone: in their YAMLs, and in the weights they start with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from scsa_yolo.attention import attention_names
from scsa_yolo.complexity import load
from scsa_yolo.grafting import PARTS
from scsa_yolo.study.planning.arms import arm_model, arm_yaml, at_scale, describe, model_file
from scsa_yolo.study.planning.plan import Arm, PlanError

ARMS = [
    Arm("scsa", "SCSA"),
    Arm("out", "SCSA", slot="out"),
    Arm("wide", "SCSA", options={"window": 9, "gate": "softmax"}),
    Arm("some", "EMA", rows=[2, 4]),
    Arm("each", "SCSA", rows={2: {"window": 9}, 4: {}}),
    Arm("start", "CBAM", start="identity"),
    Arm("nothing", "Identity"),
    Arm("capacity", "Conv1x1"),
]
MODELS = ["yolov8n.yaml", "yolo11n.yaml", "yolov9t.yaml", "rtdetr-r18.yaml"]


def stripped(text: str) -> dict[str, Any]:
    """Take the attention's name and options from every row."""
    d = yaml.safe_load(text)
    for row in (row for part in PARTS for row in d[part]):
        block, _, attention = str(row[2]).rpartition("_")
        if block and attention in attention_names():
            row[2] = block
            row[3] = [argument for argument in row[3] if not isinstance(argument, dict)]
    return d


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_yamls_differ_in_the_slot_alone(model: str, arm: Arm) -> None:
    if arm.rows is not None and not model.startswith("yolov8"):
        arm = Arm(arm.name, arm.attention)  # those rows are yolov8's
    control, other = arm_yaml(model, Arm("stock"))[1], arm_yaml(model, arm)[1]
    assert stripped(other) == yaml.safe_load(control)
    assert yaml.safe_load(other) != yaml.safe_load(control)


@pytest.mark.parametrize("arm", [ARMS[0], ARMS[5], ARMS[7]], ids=lambda arm: arm.name)
def test_arms_start_with_the_same_stock_weights(arm: Arm, tmp_path: Path) -> None:
    states = []
    for each in (Arm("stock"), arm):
        name, text = arm_yaml("yolov8n.yaml", each)
        (tmp_path / name).write_text(text)
        torch.manual_seed(3)
        states.append(load(tmp_path / name).model.state_dict())
        states[-1]["next draw"] = torch.rand(
            1
        )  # and what is drawn after, such as augmentation, is the same
    control, other = states
    assert {*control} < {*other}
    assert all(torch.equal(control[key], other[key]) for key in control)


@pytest.mark.parametrize(
    ("model", "arm", "name"),
    [
        ("yolov8n.yaml", Arm("scsa", "SCSA"), "yolov8n__scsa.yaml"),
        ("yolov8n.yaml", Arm("up", scale="s"), "yolov8s__up.yaml"),
        ("folder/yolo11n-p2.yaml", Arm("up", scale="m"), "yolo11m-p2__up.yaml"),
        ("rtdetr-l.yaml", Arm("up", scale="x"), "rtdetr-x__up.yaml"),
    ],
)
def test_file_names_hold_what_ultralytics_reads_from_names(model: str, arm: Arm, name: str) -> None:
    assert model_file(model, arm) == name


def test_another_scale_is_that_stock_model() -> None:
    name, d = arm_model("yolov8n.yaml", Arm("up", scale="s"))
    assert name == "yolov8s__up.yaml"
    assert d["scales"] == arm_model("yolov8s.yaml", Arm("stock"))[1]["scales"]


@pytest.mark.parametrize("model", ["mine.yaml", "rtdetr-r18.yaml"])
def test_a_name_without_a_scale_letter_is_refused(model: str) -> None:
    with pytest.raises(PlanError, match="has no scale letter"):
        at_scale(model, "s")


def test_an_arm_on_a_model_that_has_attention_already() -> None:
    with pytest.raises(
        PlanError, match=r"arms\.scsa on yolov8n-scsa\.yaml: .*has attention rows already"
    ):
        arm_yaml("yolov8n-scsa.yaml", Arm("scsa", "SCSA"))


def test_description() -> None:
    assert describe(Arm("stock")) == "the model as it is"
    assert (
        describe(Arm("a", "SCSA", rows=[2, 4], options={"window": 9}))
        == "SCSA in rows 2, 4, slot mid, start paper, window 9"
    )
