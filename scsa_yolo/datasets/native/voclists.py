"""Lists of a VOC-layout set: ``ImageSets/Main/train.txt`` and what others write in its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from scsa_yolo.datasets.native.pairing import lower, same_end
from scsa_yolo.datasets.native.records import Finding, Tell, Unreadable, read_text
from scsa_yolo.datasets.native.source import Folder, Source, is_image, stem
from scsa_yolo.datasets.native.splits import place, words
from scsa_yolo.datasets.native.vocpairs import Leaf

_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "trainval": "trainval",
}
# folders that lists lie in
_HOLDERS = frozenset({"annotation", "annotations", "imagesets", "lists", "main", "splits"})
_OTHER_TASKS = frozenset({"layout", "segmentation", "action"})
_YEAR = re.compile(r"VOC(\d{4})", re.IGNORECASE)
_FLAGS = re.compile(r"(?:\s+-?\d+)+$")


@dataclass
class Root:
    """A folder with lists, and the sheets below it by stem."""

    path: Path
    lists: list[tuple[str, Path]]
    official: bool  # whether the lists lie where VOC has them
    sheets: dict[str, list[Leaf]] = field(default_factory=dict)

    @property
    def year(self) -> str:
        """The year of VOC, "" for other sets."""
        year = _YEAR.fullmatch(self.path.name)
        return year[1] if year else ""

    def add(self, sheet: Leaf) -> None:
        """Take a sheet in, if it lies below."""
        if self.path in sheet.path.parents:
            for key in sheet.keys:
                self.sheets.setdefault(key, []).append(sheet)

    def sheets_of(self, entry: str) -> list[Leaf]:
        """Return the sheets that an entry may mean: ``a``, ``sub/a``, ``a.jpg``, ``a.xml 1``."""
        for text in dict.fromkeys((entry, _FLAGS.sub("", entry), entry.split()[0])):
            path = PurePosixPath(text.replace("\\", "/"))
            for key in _keys(path.name):
                found = self.sheets.get(key)
                if found:
                    return _of_folder(found, lower(path.parts[:-1]))
        return []


def _keys(name: str) -> Iterator[str]:
    """Yield the stems that an entry's name may stand for, the name itself first."""
    key = name.strip().casefold()
    yield key
    while is_image(key) or key.endswith(".xml"):
        key = stem(key)
        yield key


def _of_folder(sheets: list[Leaf], folders: tuple[str, ...]) -> list[Leaf]:
    """Keep the sheets that lie in an entry's folder."""
    own = place(folders).own
    if not own:
        return sheets
    return [sheet for sheet in sheets if same_end(own, place(sheet.folders).own) == len(own)]


def find_roots(source: Source) -> list[Root]:
    """Find the folders with lists. Of several places for lists in one, VOC's own is taken."""
    roots: dict[Path, Root] = {}
    for folder in source.walk():
        lists = _lists(folder)
        if not lists or _OTHER_TASKS & set(words(folder.path.name)):
            continue
        path, official = _root(folder.path, source)
        known = roots.get(path)
        if known is None or (official and not known.official):
            roots[path] = Root(path, lists, official)
    return list(roots.values())


def _lists(folder: Folder) -> list[tuple[str, Path]]:
    """Split and file of the lists in a folder. ``trainval`` adds nothing where both its parts are
    there.
    """
    found: dict[str, Path] = {}
    for name in folder.files:
        base, _, suffix = name.casefold().rpartition(".")
        if suffix == "txt" and base in _NAMES:
            found.setdefault(_NAMES[base], folder.path / name)
    if {"train", "val"} <= found.keys():
        found.pop("trainval", None)
    order = ("train", "val", "test", "trainval")
    return [(split, found[split]) for split in order if split in found]


def _root(path: Path, source: Source) -> tuple[Path, bool]:
    official = [part.casefold() for part in path.parts[-2:]] == ["imagesets", "main"]
    while path not in source.roots and path.name.casefold() in _HOLDERS:
        path = path.parent
    return path, official


def entries(file: Path, source: Source, tell: Tell) -> Iterator[tuple[int, str]]:
    """Line and entry of a list, each entry once."""
    try:
        lines: Sequence[str] = read_text(file).splitlines()
    except (Unreadable, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        line = getattr(error, "line", None)
        tell(Finding("error", "bad-file", source.shown(file), line, f"list left out: {reason}"))
        return
    seen: set[str] = set()
    for line, text in enumerate(lines, 1):
        entry = _FLAGS.sub("", text.strip()) or text.strip()
        if not entry or entry.startswith("#"):
            continue
        if entry in seen:
            reason = f"row dropped: {entry} is listed above"
            tell(Finding("dropped", "listed-twice", source.shown(file), line, reason))
            continue
        seen.add(entry)
        yield line, text.strip()
