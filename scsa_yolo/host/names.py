"""File names: ``yolov8n-scsa.yaml`` and ``scsa-demo.yaml`` are found from any folder. Standard
library only.

Order: a local path first, then what Ultralytics itself finds, our packaged files last. What goes
wrong in here must not keep anybody from a file of their own, so it is a warning.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scsa_yolo.host.autoload import step_aside

_said: set[str] = set()


@functools.lru_cache(maxsize=1)
def packaged_files() -> dict[str, Path]:
    """Return the packaged YAMLs by file name; data sets also by their stem (``data=ExDark``)."""
    from scsa_yolo.support.packaged import packaged_folder

    models = {path.name: path for path in sorted(packaged_folder("models").rglob("*.yaml"))}
    data = {path.name: path for path in sorted(packaged_folder("data").glob("*.yaml"))}
    return {**models, **data, **{path.stem: path for path in data.values()}}


def wrap_check_file(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``ultralytics.utils.checks.check_file``."""

    @functools.wraps(original)
    def check_file(file: Any, *args: Any, **kwargs: Any) -> Any:
        packaged = _packaged(file)
        if packaged is None:
            return original(file, *args, **kwargs)
        try:
            found = original(file, *args, **kwargs)
        except FileNotFoundError:
            found = None
        if not found:
            return original(str(packaged), *args, **kwargs)
        _say_shadowed(str(file).strip(), found, packaged)
        return found

    return check_file


def _packaged(file: Any) -> Path | None:
    """Return the packaged file of this name, None where it is not one of ours."""
    try:
        return packaged_files().get(str(file).strip())
    except Exception as error:  # noqa: BLE001  stock names and the user's files must be found
        step_aside("the names of its own files are unknown", error)
        return None


def _say_shadowed(name: str, found: Any, packaged: Path) -> None:
    """Say once that a file of the user's, or of Ultralytics', is used instead of ours."""
    if name in _said or not os.path.exists(found) or _same(found, packaged):
        return
    _said.add(name)
    from ultralytics.utils import LOGGER

    LOGGER.warning(
        f"scsa_yolo: {os.path.abspath(found)} is used, not the packaged {name}. Rename it to get"
        " the packaged one."
    )


def _same(found: Any, packaged: Path) -> bool:
    """Tell whether two paths are one file; a packaged file that has gone since is another."""
    try:
        return os.path.samefile(found, packaged)
    except OSError:
        return False
