"""Hooks for PyInstaller, which finds this folder by the entry point group ``pyinstaller40``.

A hook's file is named after the module that it is for, and is run when a program imports that.
"""

from __future__ import annotations

from pathlib import Path


def hook_folders() -> list[str]:
    """Return where the hooks lie."""
    return [str(Path(__file__).resolve().parent)]
