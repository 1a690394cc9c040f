"""graft: a model's dictionary in, a new one out, and the files made of it."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ultralytics.nn import tasks
from ultralytics.utils import ROOT

from scsa_yolo.complexity import load
from scsa_yolo.grafting import BLOCKS, graft, has_units, layers, load_model, to_yaml
from scsa_yolo.host.transfer import attention_modules
from scsa_yolo.modelfiles import graft_file

STOCK = sorted(path.name for path in (ROOT / "cfg" / "models").rglob("*.yaml"))
# No residual unit of convolutions lies in these: plain convolutions, RepC3, HGBlock, or
# torchvision's own network.
WITHOUT_UNITS = {
    "rtdetr-l.yaml",
    "rtdetr-x.yaml",
    "yolo11-cls-resnet18.yaml",
    "yolov3-tiny.yaml",
    "yolov6.yaml",
}
SMALL: dict[str, Any] = {
    "nc": 2,
    "backbone": [[-1, 1, "Conv", [16, 3, 2]], [-1, 2, "C2f", [16, True]], [-1, 1, "C3", [32]]],
    "head": [[-1, 1, "Conv", [8, 1, 1]], [-1, 1, "Classify", ["nc"]]],
}


def names(d: dict[str, Any]) -> list[str]:
    return [row[2] for _, row in layers(d)]


def test_the_model_given_is_not_changed() -> None:
    before = deepcopy(SMALL)
    result = graft(SMALL, "SCSA", window=9, kernels=[3, 5])
    result["backbone"][1][3][-1]["kernels"].append(7)
    result["backbone"][0][3].append(1)
    assert before == SMALL


def test_every_row_with_units_and_no_other() -> None:
    assert names(graft(SMALL, "EMA")) == ["Conv", "C2f_EMA", "C3_EMA", "Conv", "Classify"]
    assert graft(SMALL, "EMA")["backbone"][1][3] == [16, True]  # no options, no mapping


def test_chosen_rows_slot_and_options_are_written_into_rows() -> None:
    d = graft(SMALL, "SCSA", rows=[2, 2], slot="out", window=9, start="identity")
    assert names(d)[1:3] == ["C2f", "C3_SCSA"]
    assert d["backbone"][2][3] == [32, {"slot": "out", "window": 9, "start": "identity"}]


def test_rows_may_have_options_of_their_own() -> None:
    d = graft(SMALL, "SCSA", rows={1: {"window": 5, "slot": "out"}, 2: {}}, window=9)
    assert d["backbone"][1][3][-1] == {"window": 5, "slot": "out"}
    assert d["backbone"][2][3][-1] == {"window": 9}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention": "EMMA"}, r"unknown attention 'EMMA'. Did you mean EMA\?"),
        ({"slot": "middle"}, "slot must be one of 'mid', 'out', got 'middle'"),
        ({"start": "zero"}, "start must be one of 'paper', 'identity', got 'zero'"),
        ({"factor": 8}, r"SCSA has no option 'factor' \('factor' is an option of EMA"),
        ({"window": "seven"}, "window must be an int"),
        ({"rows": [0]}, r"rows must be among those with residual units \(1 C2f, 2 C3\), got \[0\]"),
        ({"rows": [99]}, "rows must be among"),
        ({"rows": [True]}, "rows must be among"),
        ({"rows": []}, "rows must be among"),
        ({"rows": {1: {"windw": 9}}}, "SCSA has no option 'windw'"),
        ({"model": graft(SMALL, "EMA")}, r"has attention rows already \(row 1: C2f_EMA\)"),
        ({"model": {"backbone": []}}, "'head' of a model must be a list of rows"),
        (
            {"model": {"backbone": [["Conv"]], "head": []}},
            "'backbone' of a model must be a list of rows",
        ),
        ({"model": {**SMALL, "backbone": []}}, "no row with residual units"),
        ({"model": "yolo11n.pt"}, "takes a model YAML, got 'yolo11n.pt'. Type: yolo11n.yaml"),
        ({"rows": "1,2"}, r"rows takes layer numbers such as \[2, 4, 6\], got '1,2'.*1 C2f, 2 C3"),
        ({"rows": "12"}, "rows takes layer numbers"),
        ({"rows": 2.0}, r"rows takes layer numbers.* got 2\.0"),
        ({"rows": True}, "rows takes layer numbers.* got True"),
        ({"rows": 0}, r"rows must be among .*, got \[0\]"),
        ({"rows": -2}, r"rows must be among .*, got \[-2\]"),
        ({"rows": [1, -1]}, r"rows must be among .*, got \[1, -1\]"),
        ({"rows": [1.0]}, "rows must be among .*1.0 is no layer number"),
        ({"rows": ["1"]}, "rows must be among .*'1' is no layer number"),
        ({"rows": [[1]]}, r"\[1\] is no layer number"),
        ({"rows": [None]}, "None is no layer number"),
        ({"rows": {}}, "rows must be among"),
        ({"rows": {1: 9}}, "options of row 1 must be a mapping such as .*, got 9"),
        ({"rows": {1: {"channels": 9}}}, "SCSA has no option 'channels'"),
        ({"attention": "Identity", "start": "identity"}, "returns its input when it is new"),
        ({"attention": "Conv1x1", "rows": {2: {"start": "identity"}}}, "returns its input when it"),
        ({"model": "yolov10n-scsa.yaml"}, "has attention rows already"),
    ],
)
def test_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        graft(**{"model": SMALL, "attention": "SCSA", **arguments})


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(2, [2]), ((1,), [1]), (range(1, 3), [1, 2]), ({1: None}, [1]), ([1, 1], [1])],
)
def test_rows_may_be_one_number_or_several(rows: Any, expected: list[int]) -> None:
    found = [index for index, row in layers(graft(SMALL, "SCSA", rows=rows)) if "_" in row[2]]
    assert found == expected


def test_a_dictionary_of_tuples_grafts_as_one_of_lists() -> None:
    tuples = {
        key: tuple((*row[:3], tuple(row[3])) for row in value) if key != "nc" else value
        for key, value in SMALL.items()
    }
    assert graft(tuples, "SCSA", window=9) == graft(SMALL, "SCSA", window=9)
    assert isinstance(tuples["backbone"][1], tuple)


def test_a_stock_name_needs_no_suffix() -> None:
    assert graft("yolo11n", "SCSA") == graft("yolo11n.yaml", "SCSA")


def test_a_missing_file_is_named_with_the_nearest_stock_name() -> None:
    with pytest.raises(
        FileNotFoundError,
        match=r"no model YAML 'yolo11-segg.yaml'.* Did you mean yolo11-seg.yaml\?",
    ):
        graft("yolo11-segg.yaml", "SCSA")


def test_the_callers_random_numbers_are_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    graft(SMALL, "SCSA")
    assert torch.equal(torch.rand(3), expected)


def test_a_scale_letter_keeps_that_scale_alone() -> None:
    assert list(load_model("yolo11s-seg.yaml")["scales"]) == ["s"]
    assert list(load_model("yolo11-seg.yaml")["scales"]) == ["n", "s", "m", "l", "x"]


@pytest.mark.parametrize("name", STOCK)
def test_every_stock_yaml_grafts_or_says_why_not(name: str) -> None:
    if name in WITHOUT_UNITS:
        with pytest.raises(ValueError, match="no row with residual units"):
            graft(name, "SCSA")
        return
    stock, ours = load_model(name), graft(name, "SCSA")
    for (_, before), (_, after) in zip(layers(stock), layers(ours)):
        assert after == (
            [*before[:2], f"{before[2]}_SCSA", before[3]] if has_units(before) else before
        )
    assert yaml.safe_load(to_yaml(ours, header="a\nb")) == ours


# One for every block and task that stock YAMLs have, at its smallest scale.
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("yolov3.yaml", 29),  # Bottleneck rows
        ("yolov5-p6.yaml", 14),  # C3
        ("yolov8-ghost.yaml", 10),  # C3Ghost
        ("yolov8-world.yaml", 10),  # C2fAttn
        ("yolov8-cls-resnet50.yaml", 16),  # ResNetLayer, whose stem has no units
        ("yolov8-rtdetr.yaml", 10),  # another head
        ("yolov9t.yaml", 42),  # RepNCSPELAN4
        ("yolov10n.yaml", 10),  # C2fCIB
        ("yolo11-obb.yaml", 11),  # C3k2
        ("yolo12-pose.yaml", 10),  # A2C2f
        ("yolo26-sem.yaml", 10),  # semantic segmentation
        ("yoloe-26-seg.yaml", 13),
    ],
)
def test_grafted_stock_models_build(name: str, count: int, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(to_yaml(graft(name, "ECA"), header=name), encoding="utf-8")
    assert len(attention_modules(load(path).model)) == count


ARGUMENTS = {
    "Bottleneck": [32],
    "BottleneckCSP": [32],
    "C2": [32],
    "C2fAttn": [32, 32, 1],
    "GhostBottleneck": [32],
    "RepNCSPELAN4": [32, 32, 16, 1],
    "ResNetLayer": [32, 8, 1, False, 2],
    "A2C2f": [64, False, -1],
}


@pytest.mark.parametrize("block", [*BLOCKS, "A2C2f"])
@pytest.mark.parametrize("slot", ["mid", "out"])
def test_every_block_of_the_list_has_units(block: str, slot: str) -> None:
    rows = [[-1, 1, "Conv", [32, 3, 2]], [-1, 2, block, ARGUMENTS.get(block, [32])]]
    d = graft(
        {"nc": 2, "scale": "n", "backbone": rows, "head": []}, "ECA", slot=slot
    )  # 8.4.108 wants a scale
    model, _ = tasks.parse_model(d, ch=3, verbose=False)
    assert attention_modules(model)
    if block != "C2fAttn":  # takes a guide beside its input
        assert model(torch.rand(2, 3, 16, 16)).shape[2:] == (8, 8)


@pytest.mark.parametrize(
    "row",
    [
        [-1, 1, "A2C2f", [32, True, 4]],
        [-1, 1, "ResNetLayer", [3, 64, 1, True, 1]],
        [-1, 1, "RepC3", [8]],
    ],
)
def test_rows_without_units(row: list[Any]) -> None:
    assert not has_units(row)


@pytest.mark.parametrize(
    ("pairs", "options"),
    [
        ([], {}),
        (["window=9"], {"window": 9}),
        (["window=global", "qkv_bias=true"], {"window": "global", "qkv_bias": True}),
        (["kernels=[3, 5]"], {"kernels": [3, 5]}),
    ],
)
def test_options_are_yaml_values(pairs: list[str], options: dict[str, Any]) -> None:
    assert graft_file.parse_options(pairs) == options


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["window"], "--option takes name=value"),
        (["window="], "--option takes name=value"),
        (["window=9", "window=7"], "--option window is given twice"),
        (["slot=out"], "type --slot out instead of --option slot=out"),
        (["kernels=[3"], "no YAML value such as"),
    ],
)
def test_options_that_are_refused(pairs: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        graft_file.parse_options(pairs)


@pytest.mark.parametrize(
    ("name", "model", "message"),
    [
        ("mine.txt", {}, "must end in .yaml"),
        ("sam_x.yaml", {}, "another kind of model"),
        (
            "yolo11n-ema.yaml",
            {"scales": {"s": []}},
            "asks for scale 'n', but the model has only 's'",
        ),
    ],
)
def test_file_names_that_yolo_would_take_for_something_else(
    name: str, model: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        graft_file.check_name(Path(name), {**SMALL, **model})


@pytest.mark.parametrize(
    ("stock", "example"),
    [
        ("rtdetr-resnet50.yaml", "rtdetr-mine.yaml"),
        ("yolov8-world.yaml", "mine-world.yaml"),
        ("yoloe-26-seg.yaml", "yoloe-mine.yaml"),
    ],
)
def test_a_name_without_the_mark_of_its_kind_is_refused(stock: str, example: str) -> None:
    d = load_model(stock)
    with pytest.raises(
        ValueError, match=f"in its file name, got 'mine.yaml'. Type for example: {example}"
    ):
        graft_file.check_name(Path("mine.yaml"), d)
    graft_file.check_name(Path(example), d)
    graft_file.check_name(Path(stock), d)
