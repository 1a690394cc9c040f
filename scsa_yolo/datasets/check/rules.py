"""What a check can find: the rules, how bad each is, and a collector that keeps examples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["LEVELS", "RULES", "Finding", "Findings"]

LEVELS = ("error", "warning", "note")

# code: (level, what it means and what to do). An error loses data or falsifies numbers; a warning
# may be meant.
RULES: dict[str, tuple[str, str]] = {
    "split-missing": ("error", "folder or list of a split is not there"),
    "split-empty": ("error", "split without a picture"),
    "split-same": ("error", "two splits are the same pictures: what is measured was trained on"),
    "leak": ("error", "the same picture, byte by byte, in two splits"),
    "image-missing": ("error", "picture that a list names is not there"),
    "image-unreadable": ("error", "not a picture that can be read; Ultralytics leaves it out"),
    "image-truncated": ("error", "picture is cut short or damaged"),
    "image-small": ("error", "picture under 10 px; Ultralytics leaves it out"),
    "stem-shared": ("error", "pictures that differ in their suffix only share one label file"),
    "labels-none": ("error", "no picture of the split has a label file; all would be background"),
    "label-unreadable": ("error", "label file cannot be read; Ultralytics leaves the picture out"),
    "label-row": ("error", "row is not `class x y w h`; Ultralytics leaves the whole picture out"),
    "class-range": (
        "error",
        "class that the YAML does not name; Ultralytics leaves the whole picture out",
    ),
    "coordinate-range": (
        "error",
        "numbers outside 0 to 1; Ultralytics leaves the whole picture out",
    ),
    "box-degenerate": ("error", "box without width or height; Ultralytics trains on it"),
    "box-gone": ("error", "box wholly outside its picture"),
    "label-orphan": (
        "error",
        "label file with boxes whose picture is not there: the boxes are lost",
    ),
    "side-damaged": ("error", "side file cannot be read"),
    "side-mismatch": ("error", "side file does not fit the labels: it was made for other files"),
    "label-case": (
        "warning",
        "label file with a suffix other than .txt in lower case is not found",
    ),
    "label-missing": (
        "warning",
        "picture without a label file counts as background; write an empty file if it is",
    ),
    "label-orphan-empty": ("warning", "empty label file whose picture is not there"),
    "box-outside": ("warning", "box reaches outside its picture"),
    "box-duplicate": ("warning", "the same row twice in a file; Ultralytics drops the second"),
    "box-thin": ("warning", "box under 1 px wide or high"),
    "class-unseen": ("warning", "class without a box in any split"),
    "class-untrained": ("warning", "class with boxes in another split, none in train"),
    "copy": ("warning", "the same picture, byte by byte, twice in a split"),
    "test-is-val": ("warning", "val and test are the same pictures"),
    "image-suffix": ("warning", "content is not of the kind that the suffix says"),
    "image-turned": (
        "warning",
        "EXIF says the picture is turned; Ultralytics turns it, and the labels must fit that",
    ),
    "image-end": (
        "warning",
        "JPEG without its end mark: cut short? Ultralytics writes such a file anew, in place",
    ),
    "image-depth": (
        "warning",
        "16-bit picture; Ultralytics keeps the high byte, which may look black",
    ),
    "side-partial": ("warning", "picture without a line in the side file"),
    "foreign": ("note", "file of a kind that Ultralytics does not read"),
    "polygons": ("note", "rows are outlines; detectors are trained on the boxes around them"),
    "background": ("note", "picture with an empty label file: background"),
    "class-unmeasured": ("note", "class with boxes in train, none in this split"),
}


@dataclass
class Finding:
    """Everything found by one rule: how often, and where."""

    code: str
    count: int = 0
    where: list[str] = field(default_factory=list)

    @property
    def level(self) -> str:
        """One of `LEVELS`."""
        return RULES[self.code][0]

    @property
    def meaning(self) -> str:
        """What it means, and what to do."""
        return RULES[self.code][1]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "code": self.code,
            "level": self.level,
            "meaning": self.meaning,
            "count": self.count,
            "where": self.where,
        }


class Findings:
    """Collects findings by rule. At most `keep` places of each are kept, so that memory stays
    bounded.
    """

    def __init__(self, keep: int = 1000) -> None:
        self._keep = keep
        self._found: dict[str, Finding] = {}

    def add(self, code: str, where: object, text: str = "") -> None:
        """Note that rule `code` is broken at `where`, a file or ``file:line``."""
        finding = self._found.setdefault(code, Finding(code))
        finding.count += 1
        if len(finding.where) < self._keep:
            finding.where.append(f"{where}: {text}" if text else str(where))

    def all(self) -> list[Finding]:
        """Return them, worst first, each level in the order of `RULES`."""
        order = list(RULES)
        return sorted(
            self._found.values(),
            key=lambda found: (LEVELS.index(found.level), order.index(found.code)),
        )

    def codes(self) -> set[str]:
        """Return the codes of the rules that are broken."""
        return set(self._found)

    def count(self, level: str) -> int:
        """Return how many findings are of this level."""
        return sum(found.count for found in self._found.values() if found.level == level)
