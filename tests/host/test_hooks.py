"""The post-import hook, on a made-up module."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from scsa_yolo.host.hooks import PostImportFinder, fully_imported

NAME = "scsa_yolo_made_up"
Arm = Callable[..., list[ModuleType]]


@pytest.fixture
def arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arm]:
    """Return a function that writes the made-up module and watches for it; it gives the list of
    calls.
    """
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    importlib.invalidate_caches()

    def arm(
        source: str = "value = 1", callback: Callable[[ModuleType], None] | None = None
    ) -> list[ModuleType]:
        (tmp_path / f"{NAME}.py").write_text(source)
        calls: list[ModuleType] = []
        sys.meta_path.insert(0, PostImportFinder({NAME: callback or calls.append}))
        return calls

    yield arm
    sys.modules.pop(NAME, None)


def test_the_callback_gets_the_executed_module(arm: Arm) -> None:
    calls = arm("value = 1")
    module = importlib.import_module(NAME)
    assert calls == [module]
    assert calls[0].value == 1
    importlib.import_module(NAME)
    assert len(calls) == 1


def test_reload_calls_again(arm: Arm) -> None:
    calls = arm()
    module = importlib.import_module(NAME)
    importlib.reload(module)
    assert calls == [module, module]


def test_the_loader_is_left_as_it_was(arm: Arm) -> None:
    arm()
    module = importlib.import_module(NAME)
    assert "exec_module" not in vars(module.__loader__)
    assert module.__spec__.loader is module.__loader__
    assert importlib.util.find_spec(NAME) is module.__spec__


def test_looking_a_module_up_does_not_call(arm: Arm) -> None:
    calls = arm()
    assert importlib.util.find_spec(NAME) is not None
    assert NAME not in sys.modules
    assert not calls


def test_other_modules_are_not_answered_for(arm: Arm) -> None:
    arm()
    finder = sys.meta_path[0]
    assert finder.find_spec("json") is None
    assert finder.find_spec(f"{NAME}.part") is None


def test_a_module_that_does_not_exist(arm: Arm, tmp_path: Path) -> None:
    calls = arm()
    (tmp_path / f"{NAME}.py").unlink()
    importlib.invalidate_caches()
    with pytest.raises(ModuleNotFoundError, match=NAME):
        importlib.import_module(NAME)
    assert not calls


def test_a_module_that_fails_is_not_handed_over(arm: Arm, tmp_path: Path) -> None:
    calls = arm("raise RuntimeError('broken')")
    with pytest.raises(RuntimeError, match="broken"):
        importlib.import_module(NAME)
    assert not calls
    (tmp_path / f"{NAME}.py").write_text("value = 'mended, and of another length'")
    importlib.invalidate_caches()
    assert importlib.import_module(NAME).value.startswith("mended")
    assert len(calls) == 1


def test_an_error_in_the_callback_is_the_importers(arm: Arm) -> None:
    """The finder promises nothing here: what it calls must not raise, and registration's callback
    does not.
    """

    def fail(module: ModuleType) -> None:
        raise LookupError(module.__name__)

    arm(callback=fail)
    with pytest.raises(LookupError, match=NAME):
        importlib.import_module(NAME)
    assert NAME not in sys.modules
    del sys.meta_path[0]
    assert importlib.import_module(NAME).value == 1


def test_two_watchers_of_one_module(arm: Arm) -> None:
    first, second = arm(), arm()
    module = importlib.import_module(NAME)
    assert first == second == [module]


def test_a_finder_that_asks_all_finders_does_not_loop(arm: Arm) -> None:
    """Other packages' post-import hooks ask ``sys.meta_path`` as ours does, ours included."""

    class Asking:
        def find_spec(self, name: str, path: object = None, target: object = None) -> object:
            others = (
                finder.find_spec(name, path, target)
                for finder in sys.meta_path
                if finder is not self
            )
            return next((spec for spec in others if spec is not None), None)

    calls = arm()
    sys.meta_path.insert(1, Asking())
    module = importlib.import_module(NAME)
    assert calls == [module]


def test_a_finder_without_find_spec(arm: Arm) -> None:
    """Finders of the oldest kind have ``find_module`` alone; Python passes them over, as we do."""
    calls = arm()
    sys.meta_path.append(object())  # type: ignore[arg-type]
    finder = sys.meta_path[0]
    finder.after = {"scsa_yolo_nowhere": calls.append}
    assert finder.find_spec("scsa_yolo_nowhere") is None


def test_one_loader_for_many_modules(
    arm: Arm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive's loader is shared: a module in between must not be taken for the one watched."""
    archive = tmp_path / "modules.zip"
    other = "scsa_yolo_made_up_too"
    with zipfile.ZipFile(archive, "w") as file:
        for name in (NAME, other, "scsa_yolo_unwatched"):
            file.writestr(f"{name}.py", "value = 1")
    calls: list[ModuleType] = []
    monkeypatch.syspath_prepend(archive)
    watch = {NAME: calls.append, other: calls.append}
    sys.meta_path.insert(0, PostImportFinder(watch))
    for name in (NAME, NAME, other):  # looked up, not imported yet
        assert importlib.util.find_spec(name) is not None
    importlib.import_module("scsa_yolo_unwatched")
    assert not calls
    second = importlib.import_module(other)
    first = importlib.import_module(NAME)
    assert calls == [second, first]
    assert "exec_module" not in vars(first.__loader__)
    for name in (other, "scsa_yolo_unwatched"):
        sys.modules.pop(name)


def test_a_loader_that_takes_no_attribute(arm: Arm, tmp_path: Path) -> None:
    """A loader may be a class, as Python's own for frozen modules is, or be made in C."""

    class Frozen:
        @staticmethod
        def create_module(spec: object) -> None:
            return None

        @staticmethod
        def exec_module(module: ModuleType) -> None:
            module.value = 2  # type: ignore[attr-defined]

    class Finder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> object:
            return importlib.util.spec_from_loader(name, Frozen) if name == NAME else None

    calls = arm()
    sys.meta_path.insert(1, Finder())
    module = importlib.import_module(NAME)
    assert calls == [module]
    assert module.value == 2
    assert module.__spec__.loader is module.__loader__ is Frozen


def test_threads_import_at_once(arm: Arm) -> None:
    calls = arm("import time; time.sleep(0.05); value = 1")
    seen: list[int] = []
    threads = [
        threading.Thread(target=lambda: seen.append(importlib.import_module(NAME).value))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1, 1, 1]
    assert len(calls) == 1


def test_fully_imported(arm: Arm) -> None:
    assert fully_imported(NAME) is None
    arm(
        "import sys\nfrom scsa_yolo.host.hooks import fully_imported\nduring ="
        " fully_imported(__name__)"
    )
    module = importlib.import_module(NAME)
    assert module.during is None, "a module that is still executing is not imported yet"
    assert fully_imported(NAME) is module
