"""The files that the package ships beside its code: models, data sets, plans and pages."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent.parent


def packaged_folder(name: str) -> Path:
    """Return the folder of packaged ``"models"``, ``"data"``, ``"plans"`` or ``"docs"``.

    It is inside the package in a wheel, and beside the package in a checkout. Of a package that
    is imported from an archive, it is a copy in a temporary folder, which this process removes.
    """
    inside = _PACKAGE / name
    beside = _PACKAGE.parent / name
    if inside.is_dir():
        return inside
    # site-packages may hold a stranger's "data" or "models": beside counts only next to our own
    # pyproject.toml
    if (_PACKAGE.parent / "pyproject.toml").is_file():
        return beside
    return _unpacked(name) if not _PACKAGE.is_dir() else inside


def page(name: str, section: str = "") -> str:
    """Return where a page of the documentation lies on this machine, for an error message.

    Args:
        name: The page's file name without ``.md``, such as ``"troubleshooting"``.
        section: A heading of the page; it is named after the path.
    """
    path = packaged_folder("docs") / f"{name}.md"
    return f'{path}, "{section}"' if section else str(path)


@functools.cache
def _unpacked(name: str) -> Path:
    """Copy a folder out of the archive that the package is imported from."""
    folder = Path(tempfile.mkdtemp(prefix="scsa_yolo-")) / name
    _copy(resources.files("scsa_yolo").joinpath(name), folder)
    atexit.register(_remove, folder.parent, os.getpid())
    return folder


def _copy(source: Any, target: Path) -> None:
    if not source.is_dir():
        target.write_bytes(source.read_bytes())
        return
    target.mkdir()
    for child in source.iterdir():
        _copy(child, target / child.name)


def _remove(folder: Path, owner: int) -> None:
    """Remove a folder at the end of the process that made it, not of one that it forked."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
