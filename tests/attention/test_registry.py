"""The registry: what it refuses, what it says, and how third parties get in."""

import sys
from importlib.metadata import EntryPoint
from typing import Any

import pytest
import torch
from torch import nn

from scsa_yolo.attention import (
    SE,
    Attention,
    attention_class,
    attention_names,
    attention_options,
    create_attention,
    register_attention,
    registry,
)

OURS = (
    "SCSA",
    "SMSA",
    "PCSA",
    "SE",
    "ECA",
    "FCA",
    "CBAM",
    "CA",
    "SA",
    "EMA",
    "CPCA",
    "AFGCA",
    "ELA",
)


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a registry of its own."""
    attention_names()
    monkeypatch.setattr(registry, "_CLASSES", dict(registry._CLASSES))


class Mine(Attention):
    """A third party's module."""

    def __init__(self, channels: int, *, strength: float = 1.0) -> None:
        super().__init__(channels)
        self.strength = strength

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.check_input(x)
        return x * self.strength


def test_ours_come_first() -> None:
    assert attention_names()[: len(OURS)] == OURS
    assert {"Identity", "Conv1x1"} <= set(attention_names())


def test_third_party_is_created_by_name() -> None:
    assert register_attention("MINE")(Mine) is Mine
    assert attention_names()[-1] == "MINE"
    assert attention_class("MINE") is Mine
    assert attention_options("MINE") == {"strength": 1.0}
    module = create_attention("MINE", 8, strength=2.0)
    assert module(torch.ones(1, 8, 2, 2)).mean() == 2
    assert Mine in torch.serialization.get_safe_globals()


def test_the_restored_registry_has_forgotten_it() -> None:
    assert "MINE" not in attention_names()


def test_same_class_twice_is_no_duplicate() -> None:
    register_attention("MINE")(Mine)
    register_attention("MINE")(Mine)
    assert attention_names().count("MINE") == 1


def test_duplicate_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"attention 'SE' is taken by scsa_yolo\.attention\.se\.SE: register .*Mine",
    ):
        register_attention("SE")(Mine)
    assert attention_class("SE") is SE


@pytest.mark.parametrize("name", ["", "C2f_SE", "_SE", "2SE", "S E", "SÉ", 3, None])
def test_malformed_name(name: object) -> None:
    with pytest.raises(
        ValueError, match="an attention name is letters and digits without an underscore"
    ):
        register_attention(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("thing", [Mine(4), "Mine", int, lambda channels: nn.Identity()])
def test_only_module_classes(thing: object) -> None:
    with pytest.raises(
        TypeError, match=r"register_attention\('MINE'\) takes a subclass of torch.nn.Module"
    ):
        register_attention("MINE")(thing)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("SCSE", r"unknown attention 'SCSE'. Did you mean SCSA\? Known: SCSA, SMSA, PCSA, SE"),
        ("scsa", r"unknown attention 'scsa'. Did you mean SCSA\?"),
        ("Scsa", r"unknown attention 'Scsa'. Did you mean SCSA\?"),
        ("identity", r"unknown attention 'identity'. Did you mean Identity\?"),
        ("conv1X1", r"unknown attention 'conv1X1'. Did you mean Conv1x1\?"),
        ("XYZZY", "unknown attention 'XYZZY'. Known: SCSA"),
        (None, "unknown attention None"),
        (["SE"], "unknown attention"),
    ],
)
def test_unknown_name_lists_the_known(name: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_attention(name, 16)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        (
            "SCSA",
            "factor",
            r"SCSA has no option 'factor' \('factor' is an option of EMA\). Its options: heads=1",
        ),
        (
            "EMA",
            "reduction",
            r"'reduction' is an option of SE, FCA, CBAM, CA, CPCA\). Its options: factor=32",
        ),
        ("SE", "nonsense", "SE has no option 'nonsense'. Its options: reduction=16"),
        ("Identity", "factor", r"Its options: fast=True"),
    ],
)
def test_option_of_another_module(name: str, option: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_attention(name, 16, **{option: 1})


class Entry:
    """An entry point whose module is at hand, or broken."""

    def __init__(self, name: str, loaded: object) -> None:
        self.name, self.value, self.loaded = name, f"package:{name}", loaded

    def load(self) -> object:
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


def _install(monkeypatch: pytest.MonkeyPatch, *entries: object) -> None:
    def entry_points(*, group: str) -> tuple[object, ...]:
        assert group == "scsa_yolo.attention"
        return entries

    monkeypatch.setattr(registry, "entry_points", entry_points)
    monkeypatch.setattr(registry, "_entry_points_read", False)


def test_entry_point_of_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, Entry("MINE", Mine))
    assert attention_class("MINE") is Mine


def test_entry_point_of_a_module_that_registers_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such an entry's own name is free, and what it loads need not be a class."""
    _install(monkeypatch, EntryPoint(name="anything", value="json", group="scsa_yolo.attention"))
    assert "anything" not in attention_names()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            Entry("BROKEN", ImportError("no such thing")),
            "attention 'BROKEN' from package:BROKEN was not loaded.*no such",
        ),
        (Entry("SE", Mine), "attention 'SE' from package:SE was not loaded.*taken by"),
        (Entry("NOTAMODULE", dict), "was not loaded.*subclass of torch.nn.Module"),
        (Entry("WITH_UNDERSCORE", Mine), "was not loaded.*without an underscore"),
    ],
)
def test_broken_entry_point_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, entry: Entry, message: str
) -> None:
    _install(monkeypatch, entry, Entry("MINE", Mine))
    with pytest.warns(UserWarning, match=message):
        names = attention_names()
    assert names[-1] == "MINE"  # the others are read all the same
    assert attention_class("SE") is SE
    assert attention_names() == names  # and the warning comes once


SCRIPT = """
import warnings
from torch import nn
from scsa_yolo.attention import register_attention
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
{code}
print("warnings", len(caught))
print("; ".join(str(warning.message) for warning in caught))
"""
IN_THE_SCRIPT = """
    @register_attention("GATE")
    class Gate(nn.Identity):
        pass
"""


@pytest.mark.parametrize(
    ("code", "env", "count", "parts"),
    [
        pytest.param(
            IN_THE_SCRIPT,
            {},
            1,
            [
                "attention 'GATE'",
                "in the script that is running",
                "from gate_attention import Gate",
            ],
            id="in the script",
        ),
        pytest.param(
            "    import their_gate",
            {},
            1,
            ["lies in the module 'their_gate'", "PYTHONPATH", "entry point"],
            id="beside the script",
        ),
        pytest.param("    import their_gate", {"PYTHONPATH": "."}, 0, [], id="on everybody's path"),
        pytest.param(
            "    import sys; sys.modules['made_up'] = made = type(sys)('made_up')\n"
            "    exec('from torch import nn\\nclass Gate(nn.Identity): pass', made.__dict__)\n"
            "    register_attention('GATE')(made.Gate)",
            {},
            1,
            ["lies in the module 'made_up'"],
            id="in a module without a file",
        ),
        pytest.param(
            "    register_attention('GATE')(nn.Sigmoid)", {}, 0, [], id="in an installed package"
        ),
    ],
)
def test_a_class_that_no_other_process_could_open_is_named_at_once(
    code: str, env: dict[str, str], count: int, parts: list[str], yolo_home: Any
) -> None:
    script = yolo_home.folder / "train_mine.py"
    script.write_text(SCRIPT.format(code=code))
    (yolo_home.folder / "their_gate.py").write_text(
        "from torch import nn\nfrom scsa_yolo.attention import register_attention\n"
        "@register_attention('GATE')\nclass Gate(nn.Identity):\n    pass\n"
    )
    done = yolo_home.run(sys.executable, script, **env)
    assert f"warnings {count}" in done.text
    assert all(part in done.text for part in parts)


def test_a_class_inside_a_function_is_named_at_once() -> None:
    class Inside(nn.Identity):
        pass

    with pytest.warns(UserWarning, match="Inside is defined inside a function, so no checkpoint"):
        register_attention("INSIDE")(Inside)
