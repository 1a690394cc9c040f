"""Bad rows and bad files: an error that names the value and says what to type, and nothing
half-built.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn import tasks

from scsa_yolo.attention import attention_names


def parse(*rows: Any, ch: int = 128) -> nn.Sequential:
    d = {"nc": 2, "scale": "n", "backbone": list(rows), "head": []}
    return tasks.parse_model(d, ch, verbose=False)[0]


ERRORS = [
    # what is wrong, the row, parts of the message
    (
        "unknown attention",
        [-1, 1, "C2f_SCSAA", [32]],
        ["C2f_SCSAA", "'SCSAA'", "Did you mean SCSA?", "Known: SCSA"],
    ),
    ("attention in lower case", [-1, 1, "C2f_scsa", [32]], ["'scsa'", "Did you mean SCSA?"]),
    (
        "unknown block",
        [-1, 1, "C2ff_SCSA", [32]],
        ["unknown block 'C2ff'", "Did you mean C2f_SCSA?", "C2fCIB"],
    ),
    (
        "block without units",
        [-1, 1, "SPPF_SCSA", [32, 5]],
        ["no residual unit in SPPF", "C3k2", "[-1, 1, SCSA, []]"],
    ),
    (
        "units are attention",
        [-1, 1, "C2PSA_SCSA", [128]],
        ["no residual unit in C2PSA", "PSABlock"],
    ),
    (
        "units are area attention",
        [-1, 1, "A2C2f_SCSA", [128, True, 1]],
        ["no residual unit in A2C2f", "a2 is false"],
    ),
    ("RepC3", [-1, 1, "RepC3_SCSA", [32]], ["no residual unit in RepC3"]),
    ("ELAN1", [-1, 1, "ELAN1_SCSA", [32, 32, 16]], ["no residual unit in ELAN1"]),
    (
        "stem of a ResNet",
        [-1, 1, "ResNetLayer_SCSA", [128, 8, 1, True, 1]],
        ["no residual unit in ResNetLayer"],
    ),
    (
        "stem of a ResNet-vd",
        [-1, 1, "ResNetVDStem_SCSA", [16]],
        ["no residual unit in ResNetVDStem"],
    ),
    ("head", [[-1], 1, "Detect_SCSA", [2]], ["takes one input", "from=[-1]"]),
    (
        "unknown option",
        [-1, 1, "C2f_SCSA", [32, {"size": 7}]],
        ["model row 0 (C2f_SCSA)", "'size'", "window=7"],
    ),
    (
        "option of another module",
        [-1, 1, "C2f_SE", [32, {"window": 7}]],
        ["'window'", "is an option of SCSA"],
    ),
    ("ill-typed option", [-1, 1, "C2f_SCSA", [32, {"window": "wide"}]], ["window", "'wide'"]),
    ("option out of range", [-1, 1, "C2f_SCSA", [32, {"heads": 0}]], ["heads", "got 0"]),
    ("bool for an int", [-1, 1, "C2f_SCSA", [32, {"heads": True}]], ["heads", "got True"]),
    (
        "wrong slot",
        [-1, 1, "C2f_SCSA", [32, {"slot": "in"}]],
        ["slot must be one of 'mid', 'out'", "'in'"],
    ),
    (
        "slot of a wrong type",
        [-1, 1, "C2f_SCSA", [32, {"slot": ["mid"]}]],
        ["slot must be one of", "['mid']"],
    ),
    (
        "wrong start",
        [-1, 1, "C2f_SCSA", [32, {"start": "zero"}]],
        ["one of 'paper', 'identity'", "'zero'"],
    ),
    (
        "three items",
        [-1, "C2f_SCSA", [32]],
        ["model row 0: a row is [from, repeats, module, args]"],
    ),
    (
        "five items",
        [-1, 1, "C2f_SCSA", [32], {"window": 7}],
        ["a row is [from, repeats, module, args]"],
    ),
    (
        "arguments in no list",
        [-1, 1, "C2f_SCSA", 32],
        ["a row is [from, repeats, module, args]", "32"],
    ),
    (
        "name in another place",
        ["C2f_SCSA", -1, 1, [32]],
        ["a row is [from, repeats, module, args]"],
    ),
    ("from is a list", [[-1, 0], 1, "SCSA", []], ["takes one input", "from=[-1, 0]"]),
    ("repeats is text", [-1, "two", "C2f_SCSA", [32]], ["repeats='two'"]),
    (
        "two mappings",
        [-1, 1, "C2f_SCSA", [32, {"window": 5}, {"heads": 2}]],
        ["one mapping, the last"],
    ),
    (
        "mapping in front",
        [-1, 1, "C2f_SCSA", [{"window": 5}, 32]],
        ["one mapping, the last", "{'window': 5}"],
    ),
    ("width of a bare row", [-1, 1, "SCSA", [32]], ["keeps its input's width", "got [32]"]),
    ("slot of a bare row", [-1, 1, "SCSA", [{"slot": "out"}]], ["has no slot", "'out'"]),
    (
        "unknown option of a bare row",
        [-1, 1, "SCSA", [{"size": 7}]],
        ["model row 0 (SCSA)", "'size'"],
    ),
    (
        "options without attention",
        [-1, 1, "ResNetVDLayer", [32, {"window": 5}]],
        ["ResNetVDLayer_SCSA"],
    ),
    (
        "own layer without width",
        [-1, 1, "ResNetVDLayer", []],
        ["the first argument is the number of output channels"],
    ),
    (
        "own layer of no width",
        [-1, 1, "ResNetVDLayer", [0]],
        ["number of output channels", "got [0]"],
    ),
    (
        "own layer of a text's width",
        [-1, 1, "ResNetVDStem", ["wide"]],
        ["number of output channels", "got ['wide']"],
    ),
    (
        "block in capitals",
        [-1, 1, "C2F_SCSA", [32]],
        ["unknown block 'C2F'", "Did you mean C2f_SCSA?"],
    ),
    ("all in small letters", [-1, 1, "c2f_scsa", [32]], ["Did you mean C2f_SCSA?", "Capitals"]),
    ("no underscore", [-1, 1, "C2fSCSA", [32]], ["Did you mean C2f_SCSA?"]),
    ("bare in small letters", [-1, 1, "scsa", []], ["Did you mean SCSA?"]),
    (
        "options as text",
        [-1, 1, "C2f_SCSA", [32, "{window: 9}"]],
        ["options are a mapping", "without quotes", "'{window: 9}'"],
    ),
    ("one option as text", [-1, 1, "C2f_SCSA", [32, True, "window=9"]], ["options are a mapping"]),
    ("options as text of a bare row", [-1, 1, "SCSA", ["{window: 9}"]], ["options are a mapping"]),
    (
        "options as a list of pairs",
        [-1, 1, "C2f_SCSA", [32, True, [["window", 9]]]],
        ["options are one mapping such as {window: 9}", "[['window', 9]]"],
    ),
    ("no repeats", [-1, 0, "C2f_SCSA", [32]], ["repeats of at least 1", "repeats=0"]),
    ("repeats is a bool", [-1, True, "C2f_SCSA", [32]], ["repeats=True"]),
    ("from is a bool", [False, 1, "SCSA", []], ["from=False"]),
    (
        "own layer of a bool's width",
        [-1, 1, "ResNetVDLayer", [True]],
        ["number of output channels"],
    ),
    (
        "width among the options",
        [-1, 1, "C2f_SCSA", [32, {"channels": 32}]],
        ["SCSA has no option 'channels'"],
    ),
    ("option that is no text", [-1, 1, "C2f_SCSA", [32, {9: 1}]], ["SCSA has no option 9"]),
    (
        "identity start of the control Identity",
        [-1, 1, "C2f_Identity", [32, {"start": "identity"}]],
        ["Identity returns its input when it is new", "Leave start out"],
    ),
    (
        "identity start of the control Conv1x1",
        [-1, 1, "Conv1x1", [{"start": "identity"}]],
        ["Conv1x1 returns its input when it is new"],
    ),
    ("own layer with too much", [-1, 1, "ResNetVDStem", [32, 2]], ["model row 0 (ResNetVDStem)"]),
    ("own layer of a wrong stride", [-1, 2, "ResNetVDLayer", [32, 3]], ["stride of 1 or 2", "s=3"]),
]


@pytest.mark.parametrize(
    ("row", "parts"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS]
)
def test_a_bad_row(row: Any, parts: list[str]) -> None:
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="model row 0") as error:
        parse(row)
    for part in parts:
        assert part in str(error.value)
    text = str(error.value)
    built_first = text.endswith("[-1, 1, SCSA, []]") or "there is no module" in text
    if not built_first:  # these are found out in, or after, stock code
        assert torch.equal(torch.get_rng_state(), before), (
            "something was built before the row was refused"
        )


def test_an_unknown_attention_lists_all_that_are_known() -> None:
    with pytest.raises(ValueError, match="unknown attention") as error:
        parse([-1, 1, "C2f_Nothing", [32]])
    assert all(name in str(error.value) for name in attention_names())


def test_the_row_is_counted_over_backbone_and_head() -> None:
    conv, wrong = [-1, 1, "Conv", [8]], [-1, 1, "C2f_SCSA", [8, {"a": 1}]]
    d = {"nc": 2, "backbone": [conv], "head": [conv, wrong]}
    with pytest.raises(ValueError, match=r"^model row 2 \(C2f_SCSA\): SCSA has no option 'a'"):
        tasks.parse_model(d, 3, verbose=False)


@pytest.mark.parametrize("name", ["Foo", "Foo_Bar", "nn.Nothing", "C2f_", "_SCSA"])
def test_what_is_not_ours_gives_stocks_own_error(name: str) -> None:
    with pytest.raises((KeyError, AttributeError, ValueError)) as error:
        parse([-1, 1, name, [32]])
    assert name.removeprefix("nn.") in str(error.value)


def test_a_bad_row_in_a_file_leaves_no_model(tmp_path: Path) -> None:
    file = tmp_path / "yolov8n-bad.yaml"
    file.write_text(
        "nc: 2\nbackbone: [[-1, 1, Conv, [8, 3, 2]], [-1, 1, SPPF_SCSA, [8, 5]]]\nhead: []\n"
    )
    with pytest.raises(ValueError, match="no residual unit in SPPF"):
        YOLO(file, task="detect")


# Newer releases of Ultralytics refuse what is no YAML mapping in words of their own, which name the
# file as ours do.
FILES = [
    ("corrupt", "nc: [1\nbackbone: {", ["YAML"]),
    ("tabs", "nc: 80\n\tbackbone: []\n", ["YAML"]),
    ("list", "- 1\n- 2\n", ["YAML"]),
    ("text", "just some text\n", ["YAML"]),
    ("empty", "", ["has no list 'backbone' and 'head'", "scsa-yolo models"]),
    ("without head", "nc: 2\nbackbone: [[-1, 1, Conv, [8]]]\n", ["has no list 'head'"]),
    ("head of nothing", "nc: 2\nbackbone: [[-1, 1, Conv, [8]]]\nhead:\n", ["has no list 'head'"]),
    (
        "data set",
        "path: .\ntrain: images\nval: images\nnames: [a]\n",
        ["has no list 'backbone' and 'head'"],
    ),
]


@pytest.mark.parametrize(
    ("text", "parts"), [case[1:] for case in FILES], ids=[case[0] for case in FILES]
)
def test_a_file_that_is_no_model(text: str, parts: list[str], tmp_path: Path) -> None:
    file = tmp_path / "wrong-model.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"wrong-model\.yaml") as error:
        YOLO(file)
    assert all(part in str(error.value) for part in parts)


def test_a_row_before_a_misspelt_one_keeps_its_error_to_itself() -> None:
    """Names that nobody knows and that are not nearly ours end in stock's own error."""
    with pytest.raises(KeyError, match="Unknown"):
        parse([-1, 1, "C2f_SCSA", [32]], [-1, 1, "Unknown", [32]])


def test_an_unsupported_upstream_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Widths come from parse_model's own list; should it be renamed, the error says so instead of
    guessing.
    """
    from scsa_yolo.host import rows

    monkeypatch.setattr(rows, "WIDTHS", "a_name_that_parse_model_does_not_have")
    with pytest.raises(ValueError, match="no longer tells widths to rows"):
        parse([-1, 1, "SCSA", []])
