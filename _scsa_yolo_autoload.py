"""What torch calls at the end of ``import torch``: load scsa_yolo, and never fail.

torch refuses to be imported when an entry point of its group ``torch.backends`` raises. So this
module stands outside the package: whatever is missing, empty, broken or hidden in there, the one
``try`` below is already running. Standard library only.

An editable install has a copy of this file in site-packages, which outlives the folder that it was
installed from.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib import import_module
from importlib.util import find_spec

PACKAGE = "scsa_yolo"
SWITCH = "SCSA_YOLO_AUTOLOAD"  # scsa_yolo.host.autoload has it too, for the import by hand
OFF = {"0", "false", "off", "no"}


def main() -> None:
    """Load the package that this file was installed with, or warn and leave all as it is.

    An interruption by the user and the exit of a signal handler are not ours, and pass.
    """
    try:
        if os.environ.get(SWITCH, "1").strip().lower() not in OFF:
            _load()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001  whatever else it is, torch goes on
        _warn(error)


def _load() -> None:
    found = _would_be_imported()
    if not _is_ours(found):
        here = os.path.dirname(os.path.abspath(__file__))
        remedy = "Rename what stands in its way, or install scsa-yolo again"
        raise ImportError(
            f"'import {PACKAGE}' finds {found}, not what was installed with {here}. {remedy}"
        )
    if PACKAGE in sys.modules:
        return  # its own import has done it, and whoever unregistered it since had a reason
    package = import_module(PACKAGE)
    if not package.registered():
        raise ImportError(f"{found} is damaged: importing it did nothing. Install scsa-yolo again")


def _would_be_imported() -> str:
    """Return the file that ``import scsa_yolo`` runs, or what there is in its place."""
    if PACKAGE in sys.modules:  # find_spec raises where a module has no spec
        spec = getattr(sys.modules[PACKAGE], "__spec__", None)
    else:
        spec = find_spec(PACKAGE)
    if spec is None:
        return "nothing"
    if spec.origin is None:
        places = ", ".join(spec.submodule_search_locations or ())
        return f"a folder without __init__.py, {places}"
    return os.path.abspath(spec.origin)


def _is_ours(found: str) -> bool:
    """Tell whether a file is the ``__init__`` of a package that has this file beside it."""
    package, name = os.path.split(found)
    if os.path.basename(package) != PACKAGE or os.path.splitext(name)[0] != "__init__":
        return False
    folder = os.path.dirname(package)
    here, this = os.path.split(os.path.abspath(__file__))
    # The first holds inside an archive too, the second in an editable install.
    return folder == here or os.path.isfile(os.path.join(folder, this))


def _warn(error: BaseException) -> None:
    """Say what failed. Never raises, not even where warnings are errors or nothing is printed."""
    try:
        consequence = "scsa_yolo stepped aside, Ultralytics stays as it is"
        message = f"{consequence}: {error!r}. Type: scsa-yolo doctor"
        try:
            warnings.warn(message, RuntimeWarning, stacklevel=3)
        except Warning:
            print(f"RuntimeWarning: {message}", file=sys.stderr)
    except Exception:  # noqa: BLE001  no place is left to say it
        pass
