"""One way for rows, grafts and injections to build what sits in a slot, and to check it first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from scsa_yolo.attention import attention_options, create_attention
from scsa_yolo.attention.base import check_choice
from scsa_yolo.blocks.identity_start import STARTS, IdentityStart

_WIDTH = 64  # channels of the module that is built only to check the options
_NOT_OPTIONS = ("name", "channels")  # arguments of create_attention that are no options


def make_attention(
    name: str, channels: int, *, start: str = "paper", options: Mapping[str, Any]
) -> nn.Module:
    """Build the attention ``name`` for ``channels`` channels, blended in from nothing if asked.

    Raises:
        ValueError: An unknown name, option or start, or a value out of its range.
        TypeError: The module's own constructor refuses a value in this way.
    """
    check_choice("start", start, STARTS)
    for key in options:
        if not isinstance(key, str) or key in _NOT_OPTIONS:
            listed = ", ".join(attention_options(name)) or "none"
            raise ValueError(f"{name} has no option {key!r}. Its options: {listed}")
    attention = create_attention(name, channels, **options)
    return IdentityStart(attention, channels) if start == "identity" else attention


def check_attention_options(name: str, *, start: str, options: Mapping[str, Any]) -> None:
    """Refuse a name, an option or a start that no row could use, by building one module.

    The caller's random numbers are left alone.

    Raises:
        ValueError: As of :func:`make_attention`; or ``start`` is ``"identity"`` and the module
            returns its input from the start, as ``Identity`` and ``Conv1x1`` do.
        TypeError: The module's own constructor refuses a value in this way.
    """
    with torch.random.fork_rng(devices=[]):
        made = make_attention(name, _WIDTH, start=start, options=options)
        if isinstance(made, IdentityStart) and _returns_its_input(made.attention):
            raise ValueError(
                f"{name} returns its input when it is new, so start='identity' has nothing to"
                " blend in: neither the blend nor the module would ever get a gradient. Leave"
                " start out: the model then starts as the one without attention anyway"
            )


def _returns_its_input(attention: nn.Module) -> bool:
    """Tell whether a new module changes nothing, as far as one random map can show."""
    x = torch.randn(2, _WIDTH, 8, 8)
    try:
        with torch.no_grad():
            y = attention.eval()(x.clone())
    except Exception:  # noqa: BLE001  a module that wants other maps: nothing is known
        return False
    return isinstance(y, torch.Tensor) and torch.equal(x, y)
