"""The balance of a conversion, kept while it runs: the source's pictures against DEST's files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from scsa_yolo.datasets.convert.image import Outcome
from scsa_yolo.datasets.native.balance import NO_SPLIT
from scsa_yolo.datasets.native.records import Finding, Item, Tell
from scsa_yolo.datasets.native.source import Source, foreign, is_image
from scsa_yolo.datasets.native.splits import place


class Ledger:
    """Enters each image that was converted or left out into the source's balance."""

    def __init__(self, source: Source, names: tuple[str, ...]):
        self.source, self.balance, self.names = source, source.balance, names
        self.splits: dict[str, str] = {}  # picture -> split

    def planned(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass items on, and see that no picture is used twice."""
        for item in items:
            path = str(item.image)
            if path in self.splits:
                raise RuntimeError(f"{path} would be used twice: a fault of the reader")
            self.splits[path] = item.split
            yield item

    def take(self, outcome: Outcome) -> None:
        """Enter one image's rows."""
        split, found = outcome.item.split, outcome.found
        if outcome.side is None:
            self.balance.pictures[split].left_out[outcome.left] += 1
        if found is None:
            return
        rows = self.balance.rows
        for label, count in found.rows.items():
            rows[split, label].read += count
        for (label, code), count in found.dropped.items():
            rows[split, label].dropped[code] += count
        if outcome.side is None:
            rest = found.rows.copy()
            for (label, _), count in found.dropped.items():
                rest[label] -= count
            for label, count in rest.items():
                if count:
                    rows[split, label].dropped[outcome.left] += count
            return
        for kind, count in Counter(outcome.kinds).items():
            rows[split, self.names[kind]].written += count
        for label, count in outcome.aside.items():
            rows[split, label].side += count

    def close(self, folder: Path, splits: Iterable[str], tell: Tell) -> None:
        """Count the source's pictures, and the label files that were written."""
        unlisted: dict[str, list[Path]] = {}
        for path in self._pictures():
            split = self.splits.get(str(path))
            if split is None:
                named, code = self.source.left_out.get(str(path), (None, ""))
                where = named or place(self.source.below(path.parent)).split or NO_SPLIT
                if not code:
                    code = "foreign-format" if foreign(path.name) else "not-listed"
                    unlisted.setdefault(f"{where} {code}", []).append(path)
                self.balance.pictures[where].found += 1
                self.balance.pictures[where].left_out[code] += 1
            else:
                self.balance.pictures[split].found += 1
        for name, picture in self.source.unnamable.items():
            if picture:
                where = place(self.source.below(Path(name).parent)).split or NO_SPLIT
                self.balance.pictures[where].found += 1
                self.balance.pictures[where].left_out["bad-name"] += 1
        for split in splits:
            written = len(os.listdir(folder / "labels" / split))
            self.balance.pictures[split].converted += written
        for key, paths in unlisted.items():
            tell(self._summary(key.partition(" ")[2], paths))

    def _pictures(self) -> Iterator[Path]:
        for folder in self.source.walk():
            for name in folder.files:
                if is_image(name) or foreign(name):
                    yield folder.path / name

    def _summary(self, code: str, paths: list[Path]) -> Finding:
        shown, count = self.source.shown(paths[0]), f"{len(paths):,} pictures left out"
        if code == "foreign-format":
            return Finding("note", code, shown, None, f"{count}, this one first: {foreign(shown)}")
        reason = f"{count}, this one first: no annotation or list that was read names them"
        return Finding("note", code, shown, None, reason)
