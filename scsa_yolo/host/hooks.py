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


class PostImportFinder:
    """A ``sys.meta_path`` finder that lets the others find, and calls ``after[name](module)`` once
    it has executed.

    It answers for the exact names in ``after`` only. The callback must not raise.
    """

    def __init__(self, after: Mapping[str, Callable[[ModuleType], None]]) -> None:
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
            found = (
                finder.find_spec(name, path, target)
                for finder in sys.meta_path
                if finder is not self
            )
            spec = next((spec for spec in found if spec is not None), None)
        finally:
            self._searches.discard(search)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            self._wrap(spec.loader, self.after[name])
        return spec

    @staticmethod
    def _wrap(loader: Any, callback: Callable[[ModuleType], None]) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            loader.__dict__.pop(
                "exec_module", None
            )  # the shadow lies on this one loader instance, for one call
            execute(module)
            callback(module)

        loader.exec_module = exec_module


def fully_imported(name: str) -> ModuleType | None:
    """Return the module if it is imported and no longer executing."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    return None if module is None or getattr(spec, "_initializing", False) else module
