"""The table of layers: our rows with their parameters, stock lines unchanged character by
character.
"""

from __future__ import annotations

import logging
import re
import threading
from typing import Any

import pytest
from torch import nn
from ultralytics.nn import tasks
from ultralytics.utils import LOGGER


def table(d: dict[str, Any], yolo_log: Any) -> tuple[nn.Sequential, list[str]]:
    yolo_log.messages.clear()
    model, _ = tasks.parse_model(d, 3, verbose=True)
    return model, list(yolo_log.messages)


def rows_of(messages: list[str]) -> dict[int, str]:
    return {int(line[:3]): line for line in messages if line[:3].strip().isdigit()}


@pytest.mark.parametrize("size", ["yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo26n"])
def test_stock_lines_are_unchanged(size: str, yolo_log: Any) -> None:
    model, ours = table(tasks.yaml_model_load(f"{size}-scsa.yaml"), yolo_log)
    plain, theirs = table(tasks.yaml_model_load(f"{size}.yaml"), yolo_log)
    assert len(ours) == len(theirs)
    for own, stock in zip(ours, theirs, strict=True):
        if "_SCSA" in own:
            layer = int(own[:3])
            assert own[:26] == stock[:26], "index, from and repeats"
            assert int(own[26:36]) == sum(p.numel() for p in model[layer].parameters())
            assert (
                int(own[26:36])
                > int(stock[26:36])
                == sum(p.numel() for p in plain[layer].parameters())
            )
            block, arguments = re.search(r"block\.(\w+) +(\[.*\]) *$", stock).groups()
            assert re.search(rf"  {block}_SCSA \(\d+ x SCSA, mid\) +{re.escape(arguments)}$", own)
        else:
            assert own == stock
    lines = rows_of(ours)
    assert sorted(lines) == list(range(len(model)))
    assert sum(int(line[26:36]) for line in lines.values()) == sum(
        p.numel() for p in model.parameters()
    )


def test_every_kind_of_row(yolo_log: Any) -> None:
    backbone = [
        [-1, 1, "ResNetVDStem", [16]],
        [-1, 2, "ResNetVDLayer_SCSA", [32, 2, {"window": 5}]],
        [-1, 2, "C2f_SE", [32, True, {"slot": "out", "start": "identity"}]],
        [-1, 1, "SCSA", [{"heads": 2}]],
        [-1, 2, "ECA", []],
        [-1, 1, "Conv", [8]],
    ]
    model, messages = table({"nc": 2, "scale": "n", "backbone": backbone, "head": []}, yolo_log)
    lines = rows_of(messages)
    shown = [re.split(r" {2,}", line[36:].strip(), maxsplit=1) for line in lines.values()]
    assert shown == [
        ["ResNetVDStem", "[16]"],
        ["ResNetVDLayer_SCSA (2 x SCSA, mid)", "[32, 2] {'window': 5}"],
        ["C2f_SE (2 x SE, out)", "[32, 32, 2, True] {'start': 'identity'}"],
        ["SCSA", "[] {'heads': 2}"],
        ["ECA", "[]"],
        ["ultralytics.nn.modules.conv.Conv", "[32, 8]"],
    ]
    assert [int(line[23:26]) for line in lines.values()] == [1, 2, 2, 1, 2, 1]
    assert [int(line[26:36]) for line in lines.values()] == [
        sum(p.numel() for p in m.parameters()) for m in model
    ]


def test_the_table_comes_before_what_stock_says_next(yolo_log: Any) -> None:
    tasks.DetectionModel("yolov8n-scsa.yaml", nc=2, verbose=True)
    last = max(i for i, message in enumerate(yolo_log.messages) if message[:3].strip().isdigit())
    assert "nc=" in yolo_log.messages[0]
    assert any("summary" in message for message in yolo_log.messages[last:])


def test_quiet_stays_quiet(yolo_log: Any) -> None:
    tasks.parse_model(tasks.yaml_model_load("yolov8n-scsa.yaml"), 3, verbose=False)
    assert not rows_of(yolo_log.messages)


def test_an_error_in_a_row_still_shows_the_table(yolo_log: Any) -> None:
    d = {
        "nc": 2,
        "scale": "n",
        "backbone": [[-1, 1, "Conv", [8]], [-1, 1, "SPPF_SCSA", [8, 5]]],
        "head": [],
    }
    with pytest.raises(ValueError, match="no residual unit in SPPF"):
        tasks.parse_model(d, 3, verbose=True)
    assert sorted(rows_of(yolo_log.messages)) == [0, 1]
    assert not LOGGER.filters


def test_another_threads_lines_pass(yolo_log: Any) -> None:
    """A model built in another thread at the same time keeps its own lines."""
    from scsa_yolo.host.table import LayerTable

    def say(text: str) -> None:
        record = LOGGER.makeRecord(
            LOGGER.name, logging.INFO, __file__, 1, text, (), None, "parse_model"
        )
        LOGGER.handle(record)

    with LayerTable():
        say("mine")
        other = threading.Thread(target=say, args=("theirs",))
        other.start()
        other.join()
        assert yolo_log.messages == ["theirs"]
    assert yolo_log.messages == ["theirs", "mine"]
