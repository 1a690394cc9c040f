"""register() and unregister(): which names of Ultralytics are wrapped, and how they are put back.

Standard library only. The wrappers themselves live in the other files of this room; what they need
is imported when they are called.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from scsa_yolo.host import names
from scsa_yolo.host.autoload import step_aside
from scsa_yolo.host.hooks import PostImportFinder, fully_imported


@dataclass(frozen=True)
class _Patch:
    owner: Any  # the module or class that holds the name
    label: str
    attribute: str
    original: Any
    wrapper: Any


_lock = threading.RLock()
_patches: list[_Patch] = []


def _lazily(module: str, function: str) -> Callable[..., Any]:
    """Return ``make(original) -> wrapper`` whose work is imported at the wrapper's first call, or
    else stock.
    """

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            try:
                work = getattr(importlib.import_module(module), function)
            except Exception as error:  # noqa: BLE001  stock models and the yolo command must go on
                step_aside(f"{original.__qualname__} is stock", error)
                return original(*args, **kwargs)
            return work(original, *args, **kwargs)

        return wrapper

    return make


# module -> dotted name inside it -> what makes the wrapper. Contracts: README.md beside this file.
_TARGETS: dict[str, dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]]] = {
    "ultralytics.utils.checks": {"check_file": names.wrap_check_file},
    "ultralytics.nn.tasks": {
        "parse_model": _lazily("scsa_yolo.host.rows", "parse_model"),
        "yaml_model_load": _lazily("scsa_yolo.host.rows", "yaml_model_load"),
        "BaseModel.load": _lazily("scsa_yolo.host.transfer", "load"),
        "BaseModel.fuse": _lazily("scsa_yolo.host.fusing", "fuse"),
    },
    "ultralytics.engine.trainer": {
        "BaseTrainer._setup_train": _lazily("scsa_yolo.host.freezing", "setup_train"),
    },
    "ultralytics.utils.callbacks.base": {
        "get_default_callbacks": _lazily("scsa_yolo.host.exporting", "get_default_callbacks"),
    },
}


def register() -> None:
    """Teach Ultralytics our rows and file names: now where it is imported, else as soon as it is.
    Safe to repeat.
    """
    with _lock:
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        for name in _TARGETS:
            module = fully_imported(name)
            if module is not None:
                _patch_module(module)


def unregister() -> None:
    """Put every wrapped name of Ultralytics back and stop watching imports. Safe to repeat.

    Models that are already built keep working, and so do their checkpoints.
    """
    with _lock:
        if _finder in sys.meta_path:
            sys.meta_path.remove(_finder)
        _undo(down_to=0)
        for name in _TARGETS:
            module = sys.modules.get(name)
            if module is not None and type(module) is _Watched:
                module.__class__ = ModuleType  # type: ignore[assignment]


def registered() -> bool:
    """Tell whether Ultralytics knows our rows and names, or will as soon as it is imported."""
    return _finder in sys.meta_path


def patched_names() -> tuple[str, ...]:
    """Return the names of Ultralytics that are wrapped at this moment, dotted; none before it is
    imported, and none that other code has replaced since.
    """
    in_force = (
        patch.label
        for patch in _patches
        if patch.owner.__dict__.get(patch.attribute) is patch.wrapper
    )
    return tuple(dict.fromkeys(in_force))  # a reloaded module is patched a second time


def wanted_names() -> tuple[str, ...]:
    """Return the names of Ultralytics that are wrapped once it is imported and all is well,
    dotted.
    """
    return tuple(
        f"{module}.{dotted}" for module, names_in_it in _TARGETS.items() for dotted in names_in_it
    )


def _patch_module(module: ModuleType) -> None:
    """Wrap what we wrap in ``module``; on any error warn and leave it stock."""
    with _lock:
        before = len(_patches)
        try:
            for dotted, make in _TARGETS[module.__name__].items():
                _patch_name(module, dotted, make)
            if module.__name__ == "ultralytics.nn.tasks" and "scsa_yolo.blocks" not in sys.modules:
                importlib.import_module(
                    "scsa_yolo.blocks"
                )  # marks our classes as safe before a checkpoint is read
        except Exception as error:  # noqa: BLE001  stock models and the yolo command must go on
            _undo(down_to=before)
            step_aside(f"{module.__name__} stays as it is", error)


def _patch_name(
    module: ModuleType, dotted: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> None:
    *path, attribute = dotted.split(".")
    owner: Any = module
    for step in path:
        owner = getattr(owner, step)
    original = owner.__dict__[attribute]
    if any(patch.wrapper is original for patch in _patches):
        return
    wrapper = make(original)
    _set(owner, attribute, wrapper)
    _patches.append(_Patch(owner, f"{module.__name__}.{dotted}", attribute, original, wrapper))
    if owner is module:
        _replace_everywhere(original, wrapper)
        _watch_assignments(module)


class _Watched(ModuleType):
    """A module in which a wrapped name that other code replaces is wrapped again.

    Such code often brings a ``parse_model`` of its own, and rows of ours would end in a KeyError.
    """

    def __setattr__(self, attribute: str, value: Any) -> None:
        super().__setattr__(attribute, value)
        _wrap_replacement(self, attribute, value)


def _watch_assignments(module: ModuleType) -> None:
    if type(module) is ModuleType:  # somebody else's kind of module is left alone
        module.__class__ = _Watched


def _wrap_replacement(module: ModuleType, attribute: str, value: Any) -> None:
    with _lock:
        label = f"{module.__name__}.{attribute}"
        make = _TARGETS.get(module.__name__, {}).get(attribute)
        ours = [patch for patch in _patches if patch.label == label]
        known = [function for patch in ours for function in (patch.wrapper, patch.original)]
        put_back = any(value is function for function in known)
        if make is None or not ours or put_back or not callable(value):
            return
        try:
            _patch_name(module, attribute, make)
            _say_replaced(label, value)
        except Exception as error:  # noqa: BLE001  an assignment of other code must not fail
            step_aside(f"{label} is no longer extended", error)


def _set(owner: Any, attribute: str, value: Any) -> None:
    """Set a name of a module or class ourselves, which a watched module does not look at."""
    if isinstance(owner, ModuleType):
        vars(owner)[attribute] = value
    else:
        setattr(owner, attribute, value)


def _say_replaced(label: str, value: Any) -> None:
    from ultralytics.utils import LOGGER

    by = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value)}"
    LOGGER.info(f"scsa_yolo: {label} was replaced by {by}, which is extended in its turn")


def _undo(down_to: int) -> None:
    """Take back the latest patches until ``down_to`` are left."""
    while len(_patches) > down_to:
        patch = _patches.pop()
        if patch.owner.__dict__.get(patch.attribute) is patch.wrapper:
            _set(patch.owner, patch.attribute, patch.original)
        _replace_everywhere(patch.wrapper, patch.original)


def _replace_everywhere(old: Any, new: Any) -> None:
    """Exchange ``old`` in every imported Ultralytics module: names that were copied by ``from ...
    import``.
    """
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "ultralytics" and module is not None:
            for attribute, value in list(vars(module).items()):
                if value is old:
                    vars(module)[attribute] = new


_finder = PostImportFinder(dict.fromkeys(_TARGETS, _patch_module))
