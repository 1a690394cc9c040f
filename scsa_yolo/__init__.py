"""SCSA and other attention modules for real-time detectors, as an extension of unmodified
Ultralytics.

Importing this package teaches Ultralytics the model YAMLs of ``models/``, the data sets of
``data/`` and rows such as
``C2f_SCSA``. An installed package does the same by itself whenever torch is imported: see
``scsa_yolo/host/README.md``. The import reads the standard library alone; torch and Ultralytics are
imported when a name is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from scsa_yolo.host import autoload, register, registered, unregister

if TYPE_CHECKING:
    from scsa_yolo.adoption import adopt
    from scsa_yolo.attention import (
        PCSA,
        SCSA,
        SMSA,
        attention_names,
        create_attention,
        register_attention,
    )
    from scsa_yolo.grafting import graft
    from scsa_yolo.injection import inject

__version__ = "0.1.0"

_LAZY = {
    "PCSA": "scsa_yolo.attention",
    "SCSA": "scsa_yolo.attention",
    "SMSA": "scsa_yolo.attention",
    "attention_names": "scsa_yolo.attention",
    "adopt": "scsa_yolo.adoption",
    "create_attention": "scsa_yolo.attention",
    "graft": "scsa_yolo.grafting",
    "inject": "scsa_yolo.injection",
    "register_attention": "scsa_yolo.attention",
}

__all__ = [
    "PCSA",
    "SCSA",
    "SMSA",
    "__version__",
    "adopt",
    "attention_names",
    "create_attention",
    "graft",
    "inject",
    "register",
    "register_attention",
    "registered",
    "unregister",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _LAZY:
        raise AttributeError(
            f"module 'scsa_yolo' has no attribute {name!r}; it has {', '.join(__all__)}"
        )
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


autoload.main()
