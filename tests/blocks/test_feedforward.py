"""Attention in the feed-forward branches of Ultralytics' attention blocks: rows, grafts, injections."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics.nn import tasks

from scsa_yolo.attention import SCSA
from scsa_yolo.blocks import slot_width, slotted, units
from scsa_yolo.blocks.feedforward import FeedForwardMid, FeedForwardOut
from scsa_yolo.grafting import graft, layers
from scsa_yolo.injection import inject

C = 128  # 8.4.108 wants as much for one head of C2PSA
X = torch.rand(2, C, 9, 7, generator=torch.Generator().manual_seed(1))
# a stock row, and how many feed-forward units it has
ROWS = [
    pytest.param([-1, 2, "C2PSA", [C]], 2, id="C2PSA"),
    pytest.param([-1, 2, "C2fPSA", [C]], 2, id="C2fPSA"),
    pytest.param([-1, 1, "PSA", [C]], 1, id="PSA"),
    pytest.param([-1, 1, "C3k2", [C, True, 0.5, True]], 1, id="C3k2"),
    pytest.param([-1, 2, "A2C2f", [C, True, 1]], 4, id="A2C2f"),
    pytest.param([-1, 1, "A2C2f", [C, True, 1, True]], 2, id="A2C2f with gamma"),
]


def parse(*rows: list[Any]) -> nn.Sequential:
    torch.manual_seed(0)
    d = {"nc": 2, "scale": "n", "backbone": deepcopy(list(rows)), "head": []}
    return tasks.parse_model(d, C, verbose=False)[0]


def with_attention(row: list[Any], **options: Any) -> list[Any]:
    return [*row[:2], f"{row[2]}FFN_SCSA", [*row[3], options]]


@pytest.mark.parametrize("slot", ["mid", "out"])
@pytest.mark.parametrize(("row", "count"), ROWS)
def test_a_row_keeps_its_stock_tensors_and_its_output(
    row: list[Any], count: int, slot: str
) -> None:
    stock, ours = parse(row), parse(with_attention(row, slot=slot, start="identity"))
    found = list(slotted(ours))
    assert [type(unit) for _, unit in found] == [
        FeedForwardMid if slot == "mid" else FeedForwardOut
    ] * count
    assert not list(units(ours, "ffn"))
    theirs, own = stock.state_dict(), ours.state_dict()
    assert all(torch.equal(tensor, own[key]) for key, tensor in theirs.items())
    starts = tuple(f"{name}.attn." for name, _ in found)
    assert all(key.startswith(starts) for key in own.keys() - theirs.keys())
    assert torch.equal(stock.eval()(X), ours.eval()(X))


@pytest.mark.parametrize(("slot", "place"), [("mid", 1), ("out", 2)])
@pytest.mark.parametrize(("row", "count"), ROWS)
def test_the_attention_sits_in_the_branch(
    row: list[Any], count: int, slot: str, place: int
) -> None:
    ours = parse(with_attention(row, slot=slot)).eval()
    calls: list[tuple[str, int]] = []

    def note(name: str) -> Any:
        return lambda module, args, out: calls.append((name, args[0].shape[1]))

    unit: Any = next(unit for _, unit in slotted(ours))
    for name, part in (("first", unit[0]), ("attn", unit.attn), ("second", unit[1])):
        part.register_forward_hook(note(name))
    y = ours(X)
    assert [name for name, _ in calls].index("attn") == place
    assert dict(calls)["attn"] == unit.attn.channels
    y.sum().backward()
    assert all(p.grad is not None for p in unit.attn.parameters())


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ([-1, 1, "C2PSA_SCSA", [C]], ["no residual unit in C2PSA", "write C2PSAFFN_SCSA"]),
        ([-1, 1, "A2C2f_SCSA", [C, True, 1]], ["write A2C2fFFN_SCSA"]),
        (
            [-1, 1, "A2C2fFFN_SCSA", [C, False, -1]],
            ["no feed-forward unit in this A2C2f", "where a2 is true"],
        ),
        ([-1, 1, "C3k2FFN_SCSA", [C]], ["no feed-forward unit in this C3k2", "where attn is true"]),
        ([-1, 1, "C2fFFN_SCSA", [C]], ["unknown block 'C2fFFN'"]),
        ([-1, 1, "C2PSAffn_SCSA", [C]], ["Did you mean C2PSAFFN_SCSA?"]),
        ([-1, 1, "C2PSAFFN", [C]], ["C2PSAFFN"]),
    ],
)
def test_wrong_rows(row: list[Any], parts: list[str]) -> None:
    with pytest.raises((ValueError, KeyError)) as error:
        parse(row)
    assert all(part in str(error.value) for part in parts)


@pytest.mark.parametrize(
    ("name", "rows"), [("yolo11n", [10]), ("yolo12n", [6, 8]), ("yolov10n", [10])]
)
def test_a_graft_on_request(name: str, rows: list[int]) -> None:
    d = graft(name, "ECA", units="ffn")
    assert [index for index, row in layers(d) if "FFN_" in row[2]] == rows
    assert not any("FFN" in row[2] for _, row in layers(graft(name, "ECA")))
    assert [i for i, row in layers(graft(name, "ECA", units="ffn", rows=rows[0])) if "_" in row[2]]
    with pytest.raises(ValueError, match=r"rows must be among those with feed-forward units"):
        graft(name, "ECA", units="ffn", rows=0)
    assert tasks.DetectionModel(d, verbose=False)


def test_a_graft_without_such_units() -> None:
    with pytest.raises(ValueError, match=r"no row with feed-forward units.*C2PSA, C2fPSA"):
        graft("yolov8n", "ECA", units="ffn")
    with pytest.raises(ValueError, match="units must be one of 'residual', 'ffn', got 'mlp'"):
        graft("yolov8n", "ECA", units="mlp")


def test_an_injection_on_request() -> None:
    row = [-1, 1, "C3k2", [C, True, 0.5, True]]
    model = parse(row)
    inject(model, "SCSA")
    assert not any(isinstance(unit, nn.Sequential) for _, unit in slotted(model))
    inject(model, "SCSA", units="ffn", slot="out")
    (unit,) = [unit for _, unit in slotted(model) if isinstance(unit, nn.Sequential)]
    assert type(unit.attn) is SCSA
    with pytest.raises(ValueError, match="a slot already"):
        inject(model, "SCSA", units="ffn")
    with pytest.raises(ValueError, match="no feed-forward unit of a known family"):
        inject(nn.Linear(3, 3), "SCSA", units="ffn")


def test_widths() -> None:
    (_, unit) = next(units(parse([-1, 1, "C2PSA", [C]]), "ffn"))
    assert (slot_width(unit, "mid"), slot_width(unit, "out")) == (C, C // 2)
