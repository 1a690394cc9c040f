"""Data sets in Ultralytics' layout, one file per set: drawn ones and, from their native formats,
converted ones.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scsa_yolo.datasets.convert.conversion import convert_dataset
    from scsa_yolo.datasets.demo.maker import make_demo

# Read when used: the command line's parser must not wait for OpenCV.
_LAZY = {
    "convert_dataset": "scsa_yolo.datasets.convert.conversion",
    "make_demo": "scsa_yolo.datasets.demo.maker",
}

__all__ = ["convert_dataset", "make_demo"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _LAZY:
        raise AttributeError(
            f"module 'scsa_yolo.datasets' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    return getattr(importlib.import_module(_LAZY[name]), name)
