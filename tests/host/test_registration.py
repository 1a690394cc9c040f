"""register() and unregister(): which names are wrapped, and that every one is put back."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import ultralytics.data.build
import ultralytics.data.utils
import ultralytics.engine.model
import ultralytics.engine.trainer
import ultralytics.nn
import ultralytics.utils.callbacks.base
from ultralytics.nn import tasks
from ultralytics.utils import checks

import scsa_yolo
from scsa_yolo.host import autoload, patched_names, registration

pytestmark = pytest.mark.usefixtures("registration")

PATCHED = (
    "ultralytics.utils.checks.check_file",
    "ultralytics.nn.tasks.parse_model",
    "ultralytics.nn.tasks.yaml_model_load",
    "ultralytics.nn.tasks.BaseModel.load",
    "ultralytics.nn.tasks.BaseModel.fuse",
    "ultralytics.engine.trainer.BaseTrainer._setup_train",
    "ultralytics.utils.callbacks.base.get_default_callbacks",
)
# every place of Ultralytics that holds one of the names, copies by ``from ... import`` included
PLACES = [
    (checks, "check_file"),
    (tasks, "check_file"),
    (ultralytics.engine.trainer, "check_file"),
    (ultralytics.data.utils, "check_file"),
    (ultralytics.data.build, "check_file"),
    (tasks, "parse_model"),
    (tasks, "yaml_model_load"),
    (ultralytics.nn, "yaml_model_load"),
    (ultralytics.engine.model, "yaml_model_load"),
    (tasks.BaseModel, "load"),
    (tasks.BaseModel, "fuse"),
    (ultralytics.engine.trainer.BaseTrainer, "_setup_train"),
    (ultralytics.utils.callbacks.base, "get_default_callbacks"),
    (ultralytics.utils.callbacks, "get_default_callbacks"),
]


def held() -> list[Any]:
    return [vars(owner)[name] for owner, name in PLACES]


def stock(function: Any) -> bool:
    return function.__code__.co_filename == sys.modules[function.__module__].__file__


def test_what_is_wrapped() -> None:
    assert scsa_yolo.registered()
    assert sorted(patched_names()) == sorted(PATCHED)
    assert not any(stock(function) for function in held())
    assert all(
        function.__name__ == name for function, (_, name) in zip(held(), PLACES, strict=True)
    )


def test_registering_again_changes_nothing() -> None:
    before, finders = held(), list(sys.meta_path)
    scsa_yolo.register()
    autoload.main()
    assert held() == before
    assert sys.meta_path == finders


def test_unregister_restores_every_name() -> None:
    wrapped = held()
    scsa_yolo.unregister()
    assert not scsa_yolo.registered()
    assert patched_names() == ()
    assert all(stock(function) for function in held())
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "ultralytics":
            left = [
                key
                for key, value in vars(module).items()
                if any(value is function for function in wrapped)
            ]
            assert not left, f"{name} still holds wrapped {left}"
    with pytest.raises(FileNotFoundError):
        checks.check_file("yolov8-scsa.yaml")
    with pytest.raises(KeyError, match="C2f_SCSA"):
        tasks.parse_model(
            {"nc": 2, "backbone": [[-1, 1, "C2f_SCSA", [8]]], "head": []}, 8, verbose=False
        )
    scsa_yolo.unregister()  # safe to repeat


def test_register_after_unregister() -> None:
    scsa_yolo.unregister()
    scsa_yolo.register()
    assert sorted(patched_names()) == sorted(PATCHED)
    assert not any(stock(function) for function in held())
    assert (
        len({id(vars(owner)["check_file"]) for owner, name in PLACES if name == "check_file"}) == 1
    )
    assert tasks.yaml_model_load("yolov8n-scsa.yaml")["scale"] == "n"


def test_a_built_model_outlives_unregister() -> None:
    import torch

    model = tasks.DetectionModel("yolov8n-scsa.yaml", nc=2, verbose=False).eval()
    x = torch.rand(1, 3, 64, 64)
    before = model(x)[0]
    scsa_yolo.unregister()
    assert torch.equal(model(x)[0], before)


def test_a_wrapper_of_somebody_else_stays() -> None:
    ours = tasks.parse_model

    def theirs(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs)

    tasks.parse_model = theirs
    try:
        scsa_yolo.unregister()
        assert tasks.parse_model is theirs
    finally:
        tasks.parse_model = ours.__wrapped__


def test_a_reloaded_module_is_wrapped_again() -> None:
    importlib.reload(checks)
    assert not stock(checks.check_file)
    assert sorted(patched_names()) == sorted(PATCHED)
    scsa_yolo.unregister()
    assert stock(checks.check_file)
    assert stock(ultralytics.engine.trainer.check_file)


# A wrapper that cannot be made, or that cannot work
# ---------------------------------------------------------------

STOCK_ROWS = {"nc": 2, "scale": "n", "backbone": [[-1, 1, "C2f", [8]]], "head": []}


def break_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a release of Ultralytics had renamed what we wrap last."""
    targets = {name: dict(makers) for name, makers in registration._TARGETS.items()}
    targets["ultralytics.nn.tasks"]["BaseModel.renamed_upstream"] = lambda original: original
    monkeypatch.setattr(registration, "_TARGETS", targets)


def test_a_name_gone_upstream_warns_and_leaves_that_module_stock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scsa_yolo.unregister()
    break_target(monkeypatch)
    with pytest.warns(
        RuntimeWarning, match=r"ultralytics\.nn\.tasks stays as it is.*renamed_upstream.*doctor"
    ):
        scsa_yolo.register()
    assert sorted(patched_names()) == sorted(name for name in PATCHED if ".nn.tasks." not in name)
    assert stock(tasks.parse_model)
    assert stock(tasks.BaseModel.load)
    assert tasks.DetectionModel("yolov8n.yaml", nc=2, verbose=False).yaml["nc"] == 2


def test_a_broken_patch_cannot_raise_where_warnings_are_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scsa_yolo.unregister()
    break_target(monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scsa_yolo.register()
    assert "renamed_upstream" in capsys.readouterr().err


def test_a_wrapper_whose_work_cannot_be_imported_is_stock(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a block that we subclass had left Ultralytics."""
    monkeypatch.setitem(sys.modules, "scsa_yolo.host.rows", None)
    with pytest.warns(RuntimeWarning, match="parse_model is stock.*doctor"):
        model, _ = tasks.parse_model(dict(STOCK_ROWS), 8, verbose=False)
    assert type(model[0]).__name__ == "C2f"


def test_autoload_warns_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scsa_yolo.host.register", lambda: 1 / 0)
    with pytest.warns(
        RuntimeWarning, match="Ultralytics stays as it is: ZeroDivisionError.*scsa-yolo doctor"
    ):
        autoload.main()


def test_autoload_cannot_raise_where_warnings_are_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scsa_yolo.host.register", lambda: 1 / 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        autoload.main()
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "false", "OFF", " no "])
def test_the_switch(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scsa_yolo.unregister()
    monkeypatch.setenv(autoload.SWITCH, value)
    autoload.main()
    assert not scsa_yolo.registered()
    scsa_yolo.register()  # by hand it still works
    assert scsa_yolo.registered()


# Code of somebody else that replaces a wrapped name afterwards
# ---------------------------------------------------------------

OUR_ROWS = {"nc": 2, "scale": "n", "backbone": [[-1, 1, "C2f_SCSA", [8, True]]], "head": []}


def unwrapped(function: Any) -> Any:
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


@pytest.fixture
def stock_parse_model_again() -> Iterator[None]:
    """Put stock's function back, which unregister() leaves where somebody replaced it."""
    before = unwrapped(tasks.parse_model)
    yield
    scsa_yolo.unregister()
    tasks.parse_model = before
    scsa_yolo.register()


def replaced_parse_model(calls: list[list[Any]]) -> Any:
    """A ``parse_model`` as other packages bring one: stock's, with a line of their own."""
    stock_parse_model = unwrapped(tasks.parse_model)

    def theirs(d: Any, ch: Any, verbose: bool = True) -> Any:
        calls.append([row[2] for row in d["backbone"] + d["head"]])
        return stock_parse_model(d, ch, verbose)

    return theirs


def slots_in(model: Any) -> int:
    return sum(type(module).__name__ == "SCSA" for module in model.modules())


@pytest.mark.usefixtures("stock_parse_model_again")
def test_our_rows_outlive_a_replaced_parse_model(yolo_log: Any) -> None:
    calls: list[list[Any]] = []
    theirs = replaced_parse_model(calls)
    tasks.parse_model = theirs
    model, _ = tasks.parse_model(dict(OUR_ROWS), 8, verbose=False)
    assert slots_in(model) == 1
    assert calls == [["C2f"]], "theirs builds, from rows of stock names"
    (said,) = yolo_log.matching("parse_model was replaced by")
    assert "theirs" in said
    assert "ultralytics.nn.tasks.parse_model" in patched_names()
    scsa_yolo.unregister()
    assert tasks.parse_model is theirs
    tasks.parse_model = another = replaced_parse_model(calls)
    assert tasks.parse_model is another, "nobody watches any more"


def test_what_replaced_it_for_a_while_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = tasks.parse_model
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "parse_model", replaced_parse_model([]))
        assert tasks.parse_model is not ours
    assert tasks.parse_model is ours
    assert slots_in(tasks.parse_model(dict(OUR_ROWS), 8, verbose=False)[0]) == 1
    scsa_yolo.unregister()
    assert stock(tasks.parse_model)


@pytest.mark.usefixtures("stock_parse_model_again")
def test_register_repairs_what_was_replaced_behind_our_back() -> None:
    calls: list[list[Any]] = []
    vars(tasks)["parse_model"] = replaced_parse_model(calls)
    assert "ultralytics.nn.tasks.parse_model" not in patched_names()
    with pytest.raises(KeyError, match="C2f_SCSA"):
        tasks.parse_model(dict(OUR_ROWS), 8, verbose=False)
    scsa_yolo.register()
    assert "ultralytics.nn.tasks.parse_model" in patched_names()
    assert slots_in(tasks.parse_model(dict(OUR_ROWS), 8, verbose=False)[0]) == 1


def test_other_names_of_a_watched_module_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    function = replaced_parse_model([])
    monkeypatch.setattr(tasks, "guess_model_task", function)
    monkeypatch.setattr(tasks, "scsa_yolo_made_up", function, raising=False)
    assert tasks.guess_model_task is function
    assert tasks.scsa_yolo_made_up is function
