"""``export``: a graph that is not dynamic is for one size alone, and the attention may know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scsa_yolo.blocks import fix_size


def get_default_callbacks(original: Callable[..., Any]) -> Any:
    """Work of the wrapper of ``get_default_callbacks()``: stock's dictionary, and our answer to
    ``on_export_start``.
    """
    callbacks = original()
    callbacks["on_export_start"].append(on_export_start)
    return callbacks


def on_export_start(exporter: Any) -> None:
    """Fix the sizes of the exporter's model, a copy of the user's, unless the graph is to be
    dynamic.
    """
    fix_size(exporter.model, None if exporter.args.dynamic else exporter.args.format)
