"""The registry: attention names as model YAMLs, grafts and injections spell them, and the classes
behind them.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from typing import Any, TypeVar

import torch
from torch import nn

from scsa_yolo.support.packaged import page
from scsa_yolo.support.words import closest, hint

ENTRY_POINT_GROUP = "scsa_yolo.attention"
_CLASSES: dict[str, type[nn.Module]] = {}
_entry_points_read = False
_Class = TypeVar("_Class", bound=type[nn.Module])


def register_attention(name: str) -> Callable[[_Class], _Class]:
    """Register a module class under ``name``; used as a decorator.

    The class is at once a row of model YAMLs (``C2f_NAME`` and the bare ``NAME``), a graft and an
    injection. Its constructor takes ``channels`` first and options by keyword; its ``forward`` maps
    (B, C, H, W) to the same shape. The class is also marked as safe for
    ``torch.load(weights_only=True)``; helper modules of its own need
    ``torch.serialization.add_safe_globals`` too.

    A checkpoint names the class by its module, and whoever opens it imports that module. So the class
    belongs into a file of its own that other processes can import; a warning says where it does not.

    Args:
        name: Letters and digits, starting with a letter; no underscore, which separates block and
            attention in rows.

    Raises:
        ValueError: The name is malformed or taken by another class.
        TypeError: What is decorated is not a subclass of ``torch.nn.Module``.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name):
        raise ValueError(
            f"an attention name is letters and digits without an underscore, got {name!r}"
        )

    def decorate(cls: _Class) -> _Class:
        if not (inspect.isclass(cls) and issubclass(cls, nn.Module)):
            raise TypeError(
                f"register_attention({name!r}) takes a subclass of torch.nn.Module, got {cls!r}"
            )
        known = _CLASSES.get(name)
        if known is not None and _path(known) != _path(cls):
            raise ValueError(
                f"attention {name!r} is taken by {_path(known)}: register {_path(cls)} under"
                " another name"
            )
        _CLASSES[name] = cls
        trouble = _trouble_for_checkpoints(cls)
        if trouble is not None:
            warnings.warn(f"attention {name!r}: {trouble}", stacklevel=2)
        torch.serialization.add_safe_globals([cls])
        return cls

    return decorate


def attention_names() -> tuple[str, ...]:
    """Return the names of all registered attention modules, ours first, then third parties'."""
    _read_entry_points()
    return tuple(_CLASSES)


def attention_class(name: str) -> type[nn.Module]:
    """Return the class registered under ``name``.

    Raises:
        ValueError: The name is unknown; the message lists the known ones.
    """
    names = attention_names()
    if not isinstance(name, str) or name not in _CLASSES:
        meant = hint(closest(name, names))
        raise ValueError(f"unknown attention {name!r}.{meant} Known: {', '.join(names)}")
    return _CLASSES[name]


def attention_options(name: str) -> dict[str, Any]:
    """Return the options of ``name`` with their defaults, read from the constructor's signature."""
    parameters = list(inspect.signature(attention_class(name)).parameters.values())[1:]
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {p.name: p.default for p in parameters if p.kind in named}


def create_attention(name: str, channels: int, **options: Any) -> nn.Module:
    """Build the attention module ``name`` for feature maps of ``channels`` channels.

    Args:
        name: A registered name, see :func:`attention_names`.
        channels: Width of the feature map, at least 1.
        options: The module's own options.

    Raises:
        ValueError: The name or an option is unknown, or a value is out of its range.
    """
    cls = attention_class(name)
    known = attention_options(name)
    for option in options:
        if option not in known:
            owners = [other for other in _CLASSES if option in attention_options(other)]
            belongs = f" ({option!r} is an option of {', '.join(owners)})" if owners else ""
            listed = ", ".join(f"{key}={value!r}" for key, value in known.items()) or "none"
            raise ValueError(f"{name} has no option {option!r}{belongs}. Its options: {listed}")
    return cls(channels, **options)


def _trouble_for_checkpoints(cls: type) -> str | None:
    """Say why another process could not open a checkpoint that holds ``cls``; None if it can."""
    module, name = cls.__module__, cls.__qualname__
    example = f"{name.rpartition('.')[2].lower()}_attention"
    move = (
        f"Move it into a file of its own, such as {example}.py, and write 'from {example} import"
        f" {name.rpartition('.')[2]}' in the script"
    )
    install = (
        "For the yolo command, name it in an entry point of a package of your own, or put its"
        f" folder into PYTHONPATH ({page('attention')} shows both)"
    )
    if "<locals>" in name:
        return f"{name} is defined inside a function, so no checkpoint can be saved of it. {move}"
    if module == "__main__":
        return (
            f"{name} is defined in the script that is running (or in a notebook), so a model with"
            f" it trains, but its checkpoint can't be opened anywhere else. {move}. {install}"
        )
    top = module.partition(".")[0]
    if not _others_find(top):
        return (
            f"{name} lies in the module {module!r}, which another process can't import, so its"
            f" checkpoint can't be opened there. {install}"
        )
    return None


def _others_find(top: str) -> bool:
    """Tell whether a fresh interpreter would find the top-level module ``top``, as far as the paths
    tell: the folder of the running script is on the path of this process alone.
    """
    spec = None
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    beside = None if script is None else os.path.dirname(os.path.abspath(script))
    everywhere = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = {os.path.abspath(entry) for entry in everywhere if entry}
    paths = [entry for entry in sys.path if os.path.abspath(entry) in kept or entry != beside]
    for finder in sys.meta_path:
        search = getattr(finder, "find_spec", None)
        with contextlib.suppress(Exception):  # a stranger's finder
            spec = spec or (
                None if search is None else search(top, paths if finder is PathFinder else None)
            )
    return spec is not None


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _read_entry_points() -> None:
    """Import third-party modules once; a broken one is named in a warning and does not stop the
    others.
    """
    global _entry_points_read
    if _entry_points_read:
        return
    _entry_points_read = True
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            loaded: Any = entry.load()
            if not inspect.ismodule(
                loaded
            ):  # a module registers its classes itself, by the decorator
                register_attention(entry.name)(loaded)
        except Exception as error:  # noqa: BLE001  a stranger's package must not break ours
            warnings.warn(
                f"attention {entry.name!r} from {entry.value} was not loaded: {error!r}",
                stacklevel=2,
            )
