"""What a check can find: the rules, how bad each is, and a collector that keeps examples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scsa_yolo.support.text import printable

__all__ = ["ADVICE", "LEVELS", "RULES", "Finding", "Findings"]

LEVELS = ("error", "warning", "note")

# code: (level, what it means). An error loses data or falsifies numbers; a warning may be meant.
# What to do about each stands in `ADVICE`.
RULES: dict[str, tuple[str, str]] = {
    "yaml-refused": ("error", "Ultralytics refuses the data YAML"),
    "split-missing": ("error", "folder or list of a split is not there"),
    "split-empty": ("error", "split without a picture"),
    "split-same": ("error", "two splits are the same pictures: what is measured was trained on"),
    "leak": ("error", "the same picture, byte by byte, in two splits"),
    "list-line": ("error", "line of a list that Ultralytics passes over: its picture is lost"),
    "image-missing": ("error", "picture that a list names is not there"),
    "image-unreadable": ("error", "not a picture that can be read; Ultralytics leaves it out"),
    "image-format": ("error", "picture in a format that is refused, or not readable here"),
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
    "side-lost": ("error", "set was converted here, and its side file is gone"),
    "side-damaged": ("error", "side file cannot be read, or is another folder's"),
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
    "image-foreign": ("warning", "picture that Ultralytics passes over because of its suffix"),
    "list-twice": ("warning", "picture that is listed twice, and so counted twice"),
    "list-relative": ("warning", "line of a list that is looked up from the working folder"),
    "yaml-odd": ("warning", "the data YAML has bytes or characters that are passed over"),
    "side-partial": ("warning", "picture without a line in the side file"),
    "side-orphan": ("warning", "line of a side file whose picture is not there"),
    "side-unread": ("warning", "side file that no folder of pictures belongs to"),
    "foreign": ("note", "file of a kind that Ultralytics does not read"),
    "polygons": ("note", "rows are outlines; detectors are trained on the boxes around them"),
    "background": ("note", "picture with an empty label file: background"),
    "class-unmeasured": ("note", "class with boxes in train, none in this split"),
}

ADVICE: dict[str, str] = {
    "yaml-refused": "mend the key that is named",
    "split-missing": "mend the path in the data YAML, or put the files there",
    "split-empty": "mend the path, or take the split out of the data YAML",
    "split-same": "give each split its own pictures",
    "leak": "take the picture out of one of the splits",
    "list-line": "one path a line, nothing behind it: take blanks and comments out",
    "image-missing": "put the picture there, or take the line out of the list",
    "image-unreadable": "replace the file, or remove it with its label file",
    "image-format": "save it as JPEG or PNG, or install what is named",
    "image-truncated": "copy the picture again from its source",
    "image-small": "remove it, or enlarge it to 10 px or more",
    "stem-shared": "rename one of the pictures and give it a label file of its own",
    "labels-none": "put the label files where they are looked for: /images/ made /labels/",
    "label-unreadable": "write it anew as UTF-8 text, in a regular file",
    "label-row": "mend or remove the row",
    "class-range": "number classes from 0; mend the row, or add the class to 'names'",
    "coordinate-range": "divide pixels by the picture's width and height",
    "box-degenerate": "remove the row",
    "box-gone": "remove the row; if there are many, widths and heights may be swapped",
    "label-orphan": "put the picture back, or remove the label file",
    "side-lost": "put it back, or convert again with --force",
    "side-damaged": "convert the data set again with --force",
    "side-mismatch": "undo changes to the labels, or convert again with --force",
    "label-case": "rename it so that it ends in .txt",
    "label-missing": "label it, or write an empty label file",
    "label-orphan-empty": "remove it, or put the picture back",
    "box-outside": "cut the box at the picture's border",
    "box-duplicate": "remove one of the rows",
    "box-thin": "remove the row, or mend it",
    "class-unseen": "take it out of 'names', or add pictures that hold it",
    "class-untrained": "move pictures that hold it into train",
    "copy": "remove one of the files with its label file",
    "test-is-val": "report one of them, or give test its own pictures",
    "image-suffix": "rename the file to what it is",
    "image-turned": "look at it with `scsa-yolo data show`; turn pixels or boxes if need be",
    "image-end": "copy the picture again from its source",
    "image-depth": "save it with 8 bits a channel, scaled as you mean it",
    "image-foreign": "rename .jfif and .jpe to .jpg; save other kinds as JPEG or PNG",
    "list-twice": "take the second line out",
    "list-relative": "begin it with ./ (from the list's folder), or write the whole path",
    "yaml-odd": "save it as UTF-8 text without control characters",
    "side-partial": "convert again with --force; nothing is ignored on that picture",
    "side-orphan": "put the picture back, or convert again with --force",
    "side-unread": "put the pictures into images/ under the same name, or remove it",
    "foreign": "nothing, if it is meant to lie there",
    "polygons": "nothing, if boxes around the outlines are meant",
    "background": "nothing, if the picture shows no object",
    "class-unmeasured": "add pictures that hold it to this split, if it is to be measured",
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
        """What it means."""
        return RULES[self.code][1]

    @property
    def advice(self) -> str:
        """What to do about it."""
        return ADVICE[self.code]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "code": self.code,
            "level": self.level,
            "meaning": self.meaning,
            "advice": self.advice,
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
            finding.where.append(printable(f"{where}: {text}" if text else where))

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
