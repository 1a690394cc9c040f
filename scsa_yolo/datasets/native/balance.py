"""The balance of a conversion: what was found is what was written, put aside and left out.

Pictures are counted from the source's folders and from DEST; rows where they are read and where
they are written. So a fault in between shows as a balance that does not close.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

UNKNOWN = "?"  # the class of a row that cannot be read
NO_SPLIT = "-"


@dataclass
class Rows:
    """Rows of annotation of one split and class."""

    read: int = 0
    written: int = 0
    side: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def closes(self) -> bool:
        """Whether each row that was read is accounted for."""
        return self.read == self.written + self.side + sum(self.dropped.values())

    def as_json(self) -> dict[str, Any]:
        """Return the counts, without reasons that did not occur."""
        counts = {"read": self.read, "written": self.written, "side_file": self.side}
        return {**counts, "dropped": dict(sorted(self.dropped.items()))}


@dataclass
class Pictures:
    """Pictures of one split."""

    found: int = 0
    converted: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def closes(self) -> bool:
        """Whether each picture that was found is accounted for."""
        return self.found == self.converted + sum(self.left_out.values())

    def as_json(self) -> dict[str, Any]:
        """Return the counts, without reasons that did not occur."""
        left = dict(sorted(self.left_out.items()))
        return {"found": self.found, "converted": self.converted, "left_out": left}


@dataclass
class Balance:
    """Pictures by split, rows by split and class."""

    pictures: defaultdict[str, Pictures] = field(default_factory=lambda: defaultdict(Pictures))
    rows: defaultdict[tuple[str, str], Rows] = field(default_factory=lambda: defaultdict(Rows))
    seen: int = 0  # rows as the files count them, where a reader knows before it reads classes

    def drop(self, split: str, label: str, reason: str, count: int = 1) -> None:
        """Count rows that were read and dropped before their picture was looked at."""
        rows = self.rows[split, label]
        rows.read += count
        rows.dropped[reason] += count

    def faults(self) -> Iterator[str]:
        """Say what does not close."""
        for split, pictures in self.pictures.items():
            if not pictures.closes:
                yield f"pictures of {split}: {pictures.as_json()}"
        for (split, label), rows in self.rows.items():
            if not rows.closes:
                yield f"rows of {split}, class {label}: {rows.as_json()}"

        read = sum(rows.read for rows in self.rows.values())
        if self.seen and read != self.seen:
            yield f"rows of all splits: {self.seen} in the files, {read} in the balance"

    def as_json(self) -> dict[str, Any]:
        """Return what conversion.json holds."""
        rows: dict[str, dict[str, Any]] = {}
        for (split, label), counts in self.rows.items():
            rows.setdefault(split, {})[label] = counts.as_json()
        pictures = {split: counts.as_json() for split, counts in self.pictures.items()}
        return {"pictures": pictures, "rows": rows}


def lost_shares(
    balance: Mapping[str, Any], harmless: frozenset[str]
) -> Iterator[tuple[str, int, int]]:
    """Yield what was counted, how many of it were lost, and of how many.

    Args:
        balance: ``Balance.as_json()``.
        harmless: Reasons that are no loss: what the user asked for, known flaws, and what SOURCE
            does not have. Such rows and pictures don't count at all.
    """
    pictures = [(p["converted"], p["left_out"]) for p in balance["pictures"].values()]
    every = [counts for split in balance["rows"].values() for counts in split.values()]
    rows = [(r["written"] + r["side_file"], r["dropped"]) for r in every]
    for what, counts in (("pictures", pictures), ("annotation rows", rows)):
        kept = sum(number for number, _ in counts)
        lost = sum(n for _, by in counts for reason, n in by.items() if reason not in harmless)
        yield what, lost, kept + lost
