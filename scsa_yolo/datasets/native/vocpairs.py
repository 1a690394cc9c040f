"""Which picture a sheet of VOC means: by ``<filename>`` and ``<folder>``, then by its own name in a
folder that corresponds. Never a mask, never a picture of another folder, none twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from scsa_yolo.datasets.native.pairing import Match, Picture, lower, pictures_of, same_start
from scsa_yolo.datasets.native.source import Source, is_image, other_format, stem
from scsa_yolo.datasets.native.splits import agree, place

_Rank = tuple[int, ...]


class Leaf(NamedTuple):
    """A sheet before it is converted: where it lies, what it says about its image, which names its
    objects have.
    """

    path: Path
    folders: tuple[str, ...]
    file_name: str = ""
    folder: str = ""
    names: frozenset[str] = frozenset()

    @property
    def keys(self) -> tuple[str, ...]:
        """The stems that its image may have: ``a.xml`` and ``a.jpg.xml`` belong to ``a.jpg``."""
        key = stem(self.path.name)
        return (key, stem(key)) if is_image(key) else (key,)

    @property
    def own_name(self) -> bool:
        """Whether ``<filename>`` is the sheet's own name, or not stated."""
        name = self.file_name.casefold()
        return not name or name in self.keys or stem(name) in self.keys


def leaf(path: Path, folders: tuple[str, ...], image: Mapping[str, str]) -> Leaf:
    """Note what a sheet says about its image."""
    stated = (image.get("filename", "") or image.get("path", "")).replace("\\", "/")
    parts = [part for part in stated.split("/") if part not in ("", ".")]
    folder = image.get("folder", "").replace("\\", "/").strip("/. ").rpartition("/")[2]
    if len(parts) > 1:
        folder = parts[-2]
    return Leaf(path, folders, parts[-1] if parts else "", folder.casefold())


@dataclass
class Pairs:
    """Pictures of sheets."""

    source: Source
    matches: dict[Path, Match] = field(default_factory=dict)
    owner: dict[Path, Path] = field(default_factory=dict)  # picture -> sheet

    def __post_init__(self) -> None:
        self.pictures = list(pictures_of(self.source))
        self.by_stem: dict[str, list[Picture]] = {}
        self.by_name: dict[str, list[Picture]] = {}
        for picture in self.pictures:
            self.by_stem.setdefault(stem(picture.name), []).append(picture)
            self.by_name.setdefault(picture.name.casefold(), []).append(picture)

    def match(self, leaves: Iterable[Leaf]) -> None:
        """Find the pictures: first for sheets whose file name is their own, which are sure, then
        for the others.
        """
        others = []
        for sheet in leaves:
            if sheet.own_name or sheet.file_name.casefold() not in self.by_name:
                self._claim(sheet, self._own(sheet))
            else:
                others.append(sheet)
        for sheet in others:
            stated = self.by_name[sheet.file_name.casefold()]
            if all(picture.path in self.owner for picture in stated):
                stated = self._own(sheet)  # it was copied from another sheet
            self._claim(sheet, stated)

    def _own(self, sheet: Leaf) -> list[Picture]:
        found = (picture for key in sheet.keys for picture in self.by_stem.get(key, ()))
        return list(found)

    def _claim(self, sheet: Leaf, pictures: list[Picture]) -> None:
        found: list[tuple[_Rank, Picture]] = []
        against = ""
        for picture in pictures:
            reason = self._against(sheet, picture)
            if reason:
                against = against or f" ({self.source.shown(picture.path)} {reason})"
            else:
                found.append((_rank(sheet, picture), picture))
        if not found:
            reason = against or other_format(self.source, sheet.keys[-1])
            self.matches[sheet.path] = Match(None, f"there is no image for it{reason}")
            return
        found.sort(key=lambda entry: entry[0], reverse=True)
        best, picture = found[0]
        if len(found) > 1 and found[1][0] == best:
            both = " and ".join(self.source.shown(p.path) for _, p in found[:2])
            self.matches[sheet.path] = Match(None, f"which image is it? There are {both}")
            return
        self.owner[picture.path] = sheet.path
        self.matches[sheet.path] = Match(picture, "", self._guess(sheet, picture))

    def _against(self, sheet: Leaf, picture: Picture) -> str:
        """What speaks against a picture of the right name; "" if nothing does."""
        if picture.path in self.owner:
            return f"is used by {self.source.shown(self.owner[picture.path])}"
        named = sheet.file_name.casefold() == picture.name.casefold()
        if picture.place.masks and not named:
            return "lies in a folder of masks"
        corresponds = agree(place(sheet.folders), picture.place)
        if corresponds is False and not (named and _in_folder(sheet, picture)):
            return "lies in another folder"
        return ""

    def _guess(self, sheet: Leaf, picture: Picture) -> tuple[str, str] | None:
        shown = self.source.shown(picture.path)
        name = sheet.file_name
        if not sheet.own_name and name.casefold() != picture.name.casefold():
            return "other-name", f"<filename> says {name}: taken for {shown}, by the sheet's name"
        if is_image(name) and name.casefold() != picture.name.casefold():
            return "other-suffix", f"<filename> says {name}: taken for {shown}"
        corresponds = agree(place(sheet.folders), picture.place)
        if corresponds is None and not _in_folder(sheet, picture):
            return "other-folder", f"taken for {shown}, by its name alone"
        return None


def _in_folder(sheet: Leaf, picture: Picture) -> bool:
    """Whether ``<folder>`` names the picture's folder."""
    return bool(sheet.folder) and lower(picture.folders[-1:]) == (sheet.folder,)


def _rank(sheet: Leaf, picture: Picture) -> _Rank:
    """How well a picture fits, the weightiest first."""
    named = sheet.file_name == picture.name
    alike = sheet.file_name.casefold() == picture.name.casefold()
    place_ = picture.place
    corresponds = agree(place(sheet.folders), place_) is True
    exact = picture.name.rpartition(".")[0] == sheet.path.name.rpartition(".")[0]
    near = same_start(lower(picture.folders), lower(sheet.folders))
    in_folder = _in_folder(sheet, picture)
    return (
        *(named, alike, not place_.masks, exact, corresponds, in_folder),
        *(place_.pictures, near),
    )
