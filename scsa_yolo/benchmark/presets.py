"""The presets of ``scsa-yolo bench``, as data: which models, in which groups, at which settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any


@dataclass(frozen=True)
class Preset:
    """Models with and without attention, each beside its own stock.

    Attributes:
        summary: What it is, for ``--help``.
        stocks: Each opens a group and is the reference of that group.
        attention: The modules that are put into each stock.
        slots: The slot of those that have another than ``mid``.
        settings: What differs from the defaults; an option on the command line wins.
    """

    summary: str
    stocks: tuple[str, ...]
    attention: tuple[str, ...]
    slots: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def groups(self, attention: Sequence[str] = ()) -> list[list[str]]:
        """Return the models as typed, the reference of each group first; ``attention`` replaces the
        preset's.
        """
        chosen = tuple(attention) or self.attention
        endings = [
            f"+{name}" + (f":slot={self.slots[name]}" if name in self.slots else "")
            for name in chosen
        ]
        return [[stock, *(f"{stock}{ending}" for ending in endings)] for stock in self.stocks]


PRESETS: dict[str, Preset] = {
    # 224 pixels and batches of 32 as under the paper's Tables 1 and 2. SE, FCA and CBAM sit on the
    # block's output: the printed parameter counts leave no other place.
    "paper": Preset(
        "the paper's protocol (Tables 1 and 2): ResNet-50 with and without attention, 224 px, batch"
        " 32, 100 rounds",
        ("resnet50",),
        ("ECA", "SE", "FCA", "CPCA", "AFGCA", "CBAM", "SA", "ELA", "CA", "EMA", "SCSA"),
        {"SE": "out", "FCA": "out", "CBAM": "out"},
        {"imgsz": 224, "batch": 32, "rounds": 100, "warm_up": 10},
    ),
    "detectors": Preset(
        "four small detectors against their own stock, 640 px, batch 1, 60 rounds",
        ("yolov8n", "yolo11n", "yolov9t", "yolov10n"),
        ("SCSA",),
        {},
        {"imgsz": 640, "batch": 1, "rounds": 60, "against": "format"},
    ),
}


def preset(name: str) -> Preset:
    """Return a preset by name.

    Raises:
        ValueError: There is none of that name.
    """
    if name not in PRESETS:
        close = get_close_matches(name, PRESETS, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ValueError(f"there is no preset {name!r}.{hint} Known: {', '.join(PRESETS)}")
    return PRESETS[name]
