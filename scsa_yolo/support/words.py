"""Text for messages: the name that was meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def closest(word: object, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the name of ``known`` that ``word`` most likely means, or None.

    A name that differs in capitals alone comes first. The others are compared without looking at
    capitals.

    Args:
        word: What was typed; anything but text is close to nothing.
        known: The right names. Of two that differ in capitals alone, the first counts.
        cutoff: How alike the two must be, from 0 to 1.
    """
    if not isinstance(word, str):
        return None
    by_small: dict[str, str] = {}
    for name in known:
        by_small.setdefault(name.lower(), name)
    found = get_close_matches(word.lower(), by_small, n=1, cutoff=cutoff)
    return by_small[found[0]] if found else None


def hint(name: str | None) -> str:
    """Return the sentence that proposes ``name``, with a blank before it; nothing for None."""
    return "" if name is None else f" Did you mean {name}?"
