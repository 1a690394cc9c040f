"""What ``import scsa_yolo`` runs, and the entry point through it. Standard library only, and it
cannot raise.

The entry point itself is ``_scsa_yolo_autoload.py`` beside the package. ``main`` keeps its name
here, because installations of earlier versions call it inside ``import torch``.
"""

from __future__ import annotations

import os
import sys
import warnings

SWITCH = "SCSA_YOLO_AUTOLOAD"


def main() -> None:
    """Arm the import hooks, unless the environment says ``SCSA_YOLO_AUTOLOAD=0``."""
    try:
        if switched_on():
            from scsa_yolo.host import register

            register()
    except Exception as error:  # noqa: BLE001  see the module's docstring
        step_aside("Ultralytics stays as it is", error)


def step_aside(consequence: str, error: Exception) -> None:
    """Warn that something of ours failed. Never raises, not even where warnings are errors."""
    try:
        message = f"scsa_yolo stepped aside, {consequence}: {error!r}. Type: scsa-yolo doctor"
        try:
            warnings.warn(message, RuntimeWarning, stacklevel=3)
        except Warning:
            print(f"RuntimeWarning: {message}", file=sys.stderr)
    except Exception:  # noqa: BLE001  no place is left to say it
        pass


def switched_on() -> bool:
    """Tell whether the environment leaves the automatic registration on."""
    return os.environ.get(SWITCH, "1").strip().lower() not in {"0", "false", "off", "no"}
