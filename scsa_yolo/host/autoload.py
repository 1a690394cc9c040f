"""What the ``torch.backends`` entry point runs. Standard library only, and it cannot raise.

An error here would break ``import torch`` for the whole environment, so everything sits in one try/except that warns.
"""

from __future__ import annotations

import os
import warnings

SWITCH = "SCSA_YOLO_AUTOLOAD"


def main() -> None:
    """Arm the import hooks, unless the environment says ``SCSA_YOLO_AUTOLOAD=0``."""
    try:
        if switched_on():
            from scsa_yolo.host import register

            register()
    except Exception as error:  # noqa: BLE001  see the module's docstring
        try:
            warnings.warn(
                f"scsa_yolo stepped aside, Ultralytics stays as it is: {error!r}. Type: scsa-yolo doctor",
                RuntimeWarning,
                stacklevel=2,
            )
        except Warning:  # warnings are errors in this process
            pass


def switched_on() -> bool:
    """Tell whether the environment leaves the automatic registration on."""
    return os.environ.get(SWITCH, "1").strip().lower() not in {"0", "false", "off", "no"}
