"""Weights of a stock checkpoint: every stock tensor comes over, and one line says so."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from ultralytics import YOLO
from ultralytics.nn import tasks

from scsa_yolo.blocks import slotted
from scsa_yolo.host.transfer import attention_modules


def detector(name: str, **settings: Any) -> tasks.DetectionModel:
    return tasks.DetectionModel(name, verbose=False, **settings)


def report(yolo_log: Any) -> str:
    (line,) = yolo_log.matching("stock tensors transferred")
    return line


@pytest.fixture(scope="module")
def stock() -> tasks.DetectionModel:
    torch.manual_seed(3)
    return detector("yolov8n.yaml")


def test_a_matching_stock_model(stock: Any, yolo_log: Any) -> None:
    model = detector("yolov8n-scsa.yaml")
    model.load(stock)
    assert (
        report(yolo_log)
        == "scsa_yolo: 355 of 355 stock tensors transferred; 170 tensors in 10 attention modules"
        " are new"
    )
    own = model.state_dict()
    assert all(torch.equal(tensor, own[key]) for key, tensor in stock.state_dict().items())


@pytest.mark.parametrize("key", ["model", "ema"])
def test_a_checkpoint(key: str, stock: Any, yolo_log: Any) -> None:
    detector("yolov8n-scsa.yaml").load({"model": stock, "ema": None, key: stock})
    assert report(yolo_log).startswith("scsa_yolo: 355 of 355")


def test_a_checkpoint_file(stock: Any, yolo_log: Any, tmp_path: Path) -> None:
    file = tmp_path / "stock.pt"
    plain = YOLO("yolov8n.yaml")
    plain.model.load_state_dict(stock.state_dict())
    plain.save(file)
    model = YOLO("yolov8n-scsa.yaml").load(file)
    assert report(yolo_log).startswith("scsa_yolo: 355 of 355")
    saved = stock.model[0].conv.weight.half().float()  # checkpoints hold half precision
    assert torch.equal(model.model.model[0].conv.weight, saved)


def test_other_classes_say_what_differs(stock: Any, yolo_log: Any) -> None:
    detector("yolov8n-scsa.yaml", nc=3).load(stock)
    line = report(yolo_log)
    counted = int(line.split(" of 355 ")[0].split()[-1])
    left = 355 - counted
    assert 0 < left < 60
    assert f"{left} differ in shape or are missing (model.22.cv3." in line


def test_from_one_of_ours(yolo_log: Any) -> None:
    first, second = detector("yolov8n-scsa.yaml"), detector("yolov8n-scsa.yaml")
    second.load(first)
    assert (
        report(yolo_log)
        == "scsa_yolo: 355 of 355 stock tensors transferred; 170 of 170 attention tensors"
        " transferred"
    )
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


def test_bare_rows_are_new_whatever_their_start(yolo_log: Any) -> None:
    head = [
        [-1, 1, "SCSA", []],
        [-1, 1, "SCSA", [{"start": "identity"}]],
        [[0, 0, 2], 1, "Detect", [2]],
    ]
    d = {"nc": 2, "scale": "n", "backbone": [[-1, 1, "Conv", [16, 3, 8]]], "head": head}
    model = detector(d)
    assert sorted(attention_modules(model)) == ["model.1", "model.2"]
    model.load(detector("yolov8n.yaml"))
    assert "35 tensors in 2 attention modules are new" in report(yolo_log)


def test_attention_modules_by_name() -> None:
    model = detector("yolo11n-scsa.yaml")
    names = attention_modules(model)
    assert len(names) == 11
    assert all(
        name.endswith(".attn") and model.get_submodule(name) is module
        for name, module in names.items()
    )
    unit = next(unit for _, unit in slotted(model))
    assert attention_modules(unit) == {"attn": unit.attn}


def test_quiet_stays_quiet(stock: Any, yolo_log: Any) -> None:
    model = detector("yolov8n-scsa.yaml")
    model.load(stock, verbose=False)
    model.load(stock, False)
    assert not yolo_log.matching("scsa_yolo")


def test_stock_models_say_nothing_of_ours(stock: Any, yolo_log: Any) -> None:
    detector("yolov8n.yaml").load(stock)
    assert yolo_log.matching("Transferred 355/355")
    assert not yolo_log.matching("scsa_yolo")


# What stock code fills in part, and class names
# --------------------------------------------------------------------------------------------------------


def named(model: Any, names: list[str]) -> Any:
    model.names = dict(enumerate(names))
    return model


def twins(stock: str, ours: str, **settings: Any) -> tuple[Any, Any]:
    return detector(stock, **settings), detector(ours, **settings)


NAMES = [f"class {index}" for index in range(80)]


def test_class_names_come_over_as_with_stock(stock: Any) -> None:
    source = named(deepcopy(stock), NAMES)
    plain, ours = twins("yolov8n.yaml", "yolov8n-scsa.yaml")
    plain.load(source)
    ours.load(source)
    assert ours.names == plain.names
    untouched = detector("yolov8n.yaml").names  # the oldest release takes no names over
    assert plain.names in (source.names, untouched)


def test_class_names_stay_where_a_stock_tensor_is_missing(stock: Any) -> None:
    model = detector("yolov8n-scsa.yaml", nc=3)
    model.load(named(deepcopy(stock), NAMES))
    assert model.names == {0: "0", 1: "1", 2: "2"}


def test_names_of_the_users_own_stay(stock: Any) -> None:
    own = [f"mine {index}" for index in range(80)]
    model = named(detector("yolov8n-scsa.yaml"), own)
    model.load(named(deepcopy(stock), NAMES))
    assert list(model.names.values()) == own


def test_rows_of_known_classes_are_remapped_after_a_load(stock: Any, yolo_log: Any) -> None:
    """``YOLO("...-scsa.yaml").load("stock.pt").train(data=...)``: the trainer loads once more."""
    source = named(deepcopy(stock), NAMES)
    results = []
    for name in ("yolov8n.yaml", "yolov8n-scsa.yaml"):
        first = detector(name)
        first.load(source)
        second = named(detector(name, nc=3), ["class 7", "new", "class 2"])
        yolo_log.messages.clear()
        second.load(first)
        remapped = yolo_log.matching("Remapped 2/3 cls head rows")
        results.append((len(remapped), first.names == source.names))
        if remapped and name != "yolov8n.yaml":
            assert report(yolo_log).startswith(
                "scsa_yolo: 355 of 355 stock tensors transferred; 6 of them in part (model.22.cv3."
            )
    assert results[0] == results[1]


def test_remapped_classes_are_no_difference(stock: Any, yolo_log: Any) -> None:
    model = named(detector("yolov8n-scsa.yaml", nc=3), ["class 7", "new", "class 2"])
    model.load(named(deepcopy(stock), NAMES))
    kept = stock.model[-1].cv3[0][-1].bias[[7, 2]]
    assert torch.equal(model.model[-1].cv3[0][-1].bias[[0, 2]], kept)
    line = report(yolo_log)
    (theirs,) = yolo_log.matching("Transferred ")
    count = int(theirs.split()[1].split("/")[0])
    # The oldest release leaves hidden layers of another width, and so the weights behind them.
    partly = 6 if count == 355 else 3
    start = f"scsa_yolo: {count} of 355 stock tensors transferred; {partly} of them in part"
    assert line.startswith(start)


def test_the_same_classes_in_another_order(stock: Any, yolo_log: Any) -> None:
    model = named(detector("yolov8n-scsa.yaml"), NAMES[::-1])
    model.load(named(deepcopy(stock), NAMES))
    line = report(yolo_log)  # all biases of a class output are equal before training
    assert line.startswith(
        "scsa_yolo: 355 of 355 stock tensors transferred; 3 of them in part (model.22.cv3."
    )


@pytest.mark.parametrize("channels", [1, 4])
def test_a_first_convolution_of_other_channels(channels: int, stock: Any, yolo_log: Any) -> None:
    detector("yolov8n-scsa.yaml", ch=channels).load(stock)
    assert report(yolo_log).startswith(
        "scsa_yolo: 355 of 355 stock tensors transferred;"
        " 1 of them in part (model.0.conv.weight); 170"
    )
    (theirs,) = yolo_log.matching("Transferred ")
    assert theirs.startswith("Transferred 355/525")


def test_new_attention_is_marked_until_weights_come() -> None:
    from scsa_yolo.blocks import UNTRAINED

    def untrained(model: Any) -> int:
        return sum(vars(m).get(UNTRAINED, False) for m in model.modules())

    first, second = detector("yolov8n-scsa.yaml"), detector("yolov8n-scsa.yaml")
    assert untrained(first) == 10
    second.load(first)
    assert untrained(second) == 10  # what came is untrained itself
    for module in first.modules():
        vars(module).pop(UNTRAINED, None)
    second.load(first)
    assert untrained(second) == 0
    other = detector("yolov8s-scsa.yaml")
    other.load(first)
    assert untrained(other) == 10  # tensors of another width did not come


def test_other_options_over_the_same_tensors_are_named(yolo_log: Any) -> None:
    from scsa_yolo.grafting import graft

    source = detector(graft("yolov8n", "SCSA", heads=4))
    detector("yolov8n-scsa.yaml").load(source)
    (line,) = yolo_log.matching("was trained with")
    assert "model.2.m.0.attn" in line
    assert "'heads': 4" in line


def test_a_foreign_scsa_of_other_heads_is_refused(stock: Any) -> None:
    from plain_scsa import PlainSCSA

    source = deepcopy(stock)
    attention = PlainSCSA(16, heads=8)
    attention.head_num, attention.window_size = 8, 7
    source.model[2].m[0].attn = attention
    model = detector("yolov8n-scsa.yaml")
    before = model.state_dict()["model.0.conv.weight"].clone()
    with pytest.raises(ValueError, match=r"model\.2\.m\.0\.attn come from an SCSA .*heads: 8"):
        model.load(source)
    assert torch.equal(model.state_dict()["model.0.conv.weight"], before)
    attention.head_num = 1
    model.load(source)
