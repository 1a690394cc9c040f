"""A post-import hook: call a function right after a named module has executed. Standard library
only.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Callback = Callable[[ModuleType], None]


class PostImportFinder:
    """A ``sys.meta_path`` finder that lets the others find, and calls ``after[name](module)`` once
    it has executed.

    It answers for the exact names in ``after`` only. The callback must not raise.
    """

    def __init__(self, after: Mapping[str, Callback]) -> None:
        self.after = after
        self._searches: set[tuple[int, str]] = set()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the other finders give, its loader wrapped; None for every other
        module.
        """
        search = (threading.get_ident(), name)
        if name not in self.after or search in self._searches:
            return None  # the second: a finder of the same kind asks us while we ask it
        self._searches.add(search)
        try:
            spec = self._ask_the_others(name, path, target)
        finally:
            self._searches.discard(search)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            _watch(spec, self.after[name])
        return spec

    def _ask_the_others(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        for finder in list(sys.meta_path):
            find_spec = getattr(finder, "find_spec", None)  # finders of the oldest kind have none
            spec = None if finder is self or find_spec is None else find_spec(name, path, target)
            if spec is not None:
                return spec
        return None


class _Shadow:
    """Lies over ``exec_module`` of one loader instance until the modules watched have executed.

    An archive has one loader for all its modules, so those that nobody watches pass through.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.execute = loader.exec_module
        self.after: dict[str, list[Callback]] = {}

    def __call__(self, module: ModuleType) -> None:
        name = module.__spec__.name
        callbacks = self.after.pop(name, [])
        if not self.after and self.loader.__dict__.get("exec_module") is self:
            del self.loader.__dict__["exec_module"]
        self.execute(module)
        for callback in callbacks:
            callback(module)


class _Deputy:
    """Stands for a loader that takes no attribute (a class, or one made in C), for one call."""

    def __init__(self, loader: Any, callback: Callback) -> None:
        self.loader = loader
        self.callback = callback

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__.loader = self.loader
        module.__loader__ = self.loader
        self.loader.exec_module(module)
        self.callback(module)


def _watch(spec: ModuleSpec, callback: Callback) -> None:
    """Make the loader of a spec call back after it has executed the module."""
    loader: Any = spec.loader
    if isinstance(loader, type) or not hasattr(loader, "__dict__"):
        spec.loader = _Deputy(loader, callback)  # type: ignore[assignment]
        return
    shadow = loader.__dict__.get("exec_module")
    if not isinstance(shadow, _Shadow):
        shadow = _Shadow(loader)
        loader.__dict__["exec_module"] = shadow
    callbacks = shadow.after.setdefault(spec.name, [])
    if callback not in callbacks:  # a module may be looked up twice before it is imported
        callbacks.append(callback)


def fully_imported(name: str) -> ModuleType | None:
    """Return the module if it is imported and no longer executing."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    return None if module is None or getattr(spec, "_initializing", False) else module
