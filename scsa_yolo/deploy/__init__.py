"""Exported models: made by Ultralytics' exporter, run in their own runtimes, and compared with
PyTorch.

See `docs/export.md` for the way from a checkpoint to a device.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scsa_yolo.deploy.runtimes import MissingRuntime, Runner, load

_LAZY = {
    "MissingRuntime": "scsa_yolo.deploy.runtimes",
    "Runner": "scsa_yolo.deploy.runtimes",
    "load": "scsa_yolo.deploy.runtimes",
}

__all__ = ["MissingRuntime", "Runner", "load"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _LAZY:
        raise AttributeError(
            f"module 'scsa_yolo.deploy' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    return getattr(importlib.import_module(_LAZY[name]), name)
