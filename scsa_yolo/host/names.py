"""File names: ``yolov8n-scsa.yaml`` and ``scsa-demo.yaml`` are found from any folder. Standard
library only.

Order: a local path first, then what Ultralytics itself finds, our packaged files last.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent.parent
_said: set[str] = set()


def packaged_folder(name: str) -> Path:
    """Return the folder of packaged ``"models"`` or ``"data"``: in the wheel, or beside the package
    in a checkout.
    """
    inside = _PACKAGE / name
    beside = _PACKAGE.parent / name
    # site-packages may hold a stranger's "data" or "models": beside counts only next to our own
    # pyproject.toml
    return (
        beside if not inside.is_dir() and (_PACKAGE.parent / "pyproject.toml").is_file() else inside
    )


@functools.lru_cache(maxsize=1)
def packaged_files() -> dict[str, Path]:
    """Return the packaged YAMLs by file name; data sets also by their stem (``data=ExDark``)."""
    models = {path.name: path for path in sorted(packaged_folder("models").rglob("*.yaml"))}
    data = {path.name: path for path in sorted(packaged_folder("data").glob("*.yaml"))}
    return {**models, **data, **{path.stem: path for path in data.values()}}


def wrap_check_file(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``ultralytics.utils.checks.check_file``."""

    @functools.wraps(original)
    def check_file(file: Any, *args: Any, **kwargs: Any) -> Any:
        packaged = packaged_files().get(str(file).strip())
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


def _say_shadowed(name: str, found: Any, packaged: Path) -> None:
    """Say once that a file of the user's, or of Ultralytics', is used instead of ours."""
    if name not in _said and os.path.exists(found) and not os.path.samefile(found, packaged):
        _said.add(name)
        from ultralytics.utils import LOGGER

        LOGGER.warning(
            f"scsa_yolo: {os.path.abspath(found)} is used, not the packaged {name}. Rename it to"
            " get the packaged one."
        )
