"""Which picture an annotation means. A picture is used once, and a namesake is no match.

A file is found by the path that the annotation states; where folders were moved, by its name, if
nothing speaks against it: not a folder of another split or camera, not a folder of masks, not
another annotation that names this file exactly. What the annotation does not say is a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from scsa_yolo.datasets.native.source import Source, is_image, other_format, stem
from scsa_yolo.datasets.native.splits import Place, agree, place, role_of


class Picture(NamedTuple):
    """A picture file of the source, and the names of the folders that it lies in."""

    name: str
    folders: tuple[str, ...]
    path: Path
    inner: tuple[str, ...]  # its folders without that which the user gave

    @property
    def place(self) -> Place:
        """What its folders say."""
        return place(self.folders)


class Match(NamedTuple):
    """A picture that was found, or None, and why; ``guess`` says what was guessed."""

    picture: Picture | None
    reason: str = ""
    guess: tuple[str, str] | None = None  # code and reason


def pictures_of(source: Source, under: Path | None = None) -> Iterator[Picture]:
    """Yield the picture files of a source, or of a folder in it."""
    for folder in source.walk():
        if under is None or folder.path == under or under in folder.path.parents:
            folders = source.below(folder.path)
            given = source.given in (folder.path, *folder.path.parents)
            inner = folders[1:] if given else folders
            for name in folder.files:
                if is_image(name):
                    yield Picture(name, folders, folder.path / name, inner)


def lower(parts: Iterable[str]) -> tuple[str, ...]:
    """Return folder names in lower case, for comparison."""
    return tuple(part.casefold() for part in parts)


def same_end(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """How many parts two paths have in common at their ends."""
    count = 0
    for x, y in zip(reversed(a), reversed(b)):
        if x != y:
            break
        count += 1
    return count


def same_start(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """How many parts two paths have in common at their beginnings."""
    return same_end(a[::-1], b[::-1])


@dataclass
class _Listed:
    """What one list of file names says."""

    split: str
    home: tuple[str, ...]  # folders of the list itself


@dataclass
class Finder:
    """Looks pictures up by the paths that lists of file names, such as COCO's JSONs, give."""

    source: Source
    under: Path | None = None
    lists: list[_Listed] = field(default_factory=list)
    names: set[str] = field(default_factory=set)  # all paths that are listed
    folders: set[tuple[str, ...]] = field(default_factory=set)  # their folders
    used: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.by_name: dict[str, list[Picture]] = {}
        self.photographs = False
        for picture in pictures_of(self.source, self.under):
            self.by_name.setdefault(picture.name.casefold(), []).append(picture)
            self.photographs = self.photographs or not picture.place.masks

    def expect(self, split: str, file: Path, names: Iterable[str]) -> None:
        """Learn what a list names; all lists are learned before the first picture is looked up."""
        self.lists.append(_Listed(split, lower(self.source.below(file.parent))))
        for name in names:
            self.names.add(name)
            folders = _folders(name)
            if folders:
                self.folders.add(folders)

    def find(self, name: str, split: str, file: Path) -> Match:
        """Return the picture that a list's entry means."""
        base, folders = name.rpartition("/")[2], _folders(name)
        home = lower(self.source.below(file.parent))
        found: list[tuple[tuple[int, ...], Picture]] = []
        against = ""
        for picture in self.by_name.get(base.casefold(), ()):
            reason = self._against(picture, base, folders, split, home)
            if not reason and picture.path in self.used:
                reason = f"is used by {self.used[picture.path]}"
            if reason:
                against = against or f" ({self.source.shown(picture.path)} {reason})"
            else:
                found.append((_rank(picture, base, folders, split, home), picture))
        if not found:
            return Match(None, f"there is no such image{against or self._other_format(base)}")
        found.sort(key=lambda entry: entry[0], reverse=True)
        best, picture = found[0]
        if len(found) > 1 and found[1][0] == best:
            other = self.source.shown(found[1][1].path)
            both = f"{self.source.shown(picture.path)} and {other}"
            return Match(None, f"which image is it? There are {both}")
        self.used[picture.path] = name
        return Match(picture, "", self._guess(name, base, folders, picture))

    def _other_format(self, base: str) -> str:
        return other_format(self.source, stem(base))

    def _against(
        self,
        picture: Picture,
        base: str,
        folders: tuple[str, ...],
        split: str,
        home: tuple[str, ...],
    ) -> str:
        """What speaks against a picture of the right name; "" if nothing does."""
        lies = lower(picture.folders)
        same = same_end(folders, lies)
        whole = same == len(folders)
        for depth in range(same + (picture.name == base), len(lies) + 1):
            tail = "/".join((*picture.folders[len(lies) - depth :], picture.name))
            if tail in self.names and depth >= same:
                return "is listed itself"
        if whole and folders:
            return ""  # the path is stated
        for listed in self.folders:
            ends = lies[len(lies) - len(listed) :] == listed
            if ends and folders[len(folders) - len(listed) :] != listed:
                return f"lies in {'/'.join(listed)}, from which others are listed"
        if same < len(lies) and agree(place(folders), place(picture.inner)) is False:
            return "lies in another folder"
        there = picture.place.split
        if there and role_of(split) and there != role_of(split):
            return f"is of split {there}"
        for other in self.lists:
            named = other.split.casefold() in lies and split.casefold() not in lies
            if named and other.split != split:
                return f"is of split {other.split}"
            if _is_within(lies, other.home) and not _is_within(home, other.home):
                return f"lies beside the list of {other.split}"
        if picture.place.masks and self.photographs:
            return "lies in a folder of masks"
        return ""

    def _guess(
        self, name: str, base: str, folders: tuple[str, ...], picture: Picture
    ) -> tuple[str, str] | None:
        shown = self.source.shown(picture.path)
        if picture.name != base:
            return "other-case", f"{name}: taken for {shown}, which is spelled otherwise"
        lies = lower(picture.folders)
        same = same_end(folders, lies)
        if same < len(folders) and same < len(lies):
            return "other-folder", f"{name}: taken for {shown}, which lies in another folder"
        return None


def _folders(name: str) -> tuple[str, ...]:
    return tuple(part.casefold() for part in name.split("/")[:-1] if part != "..")


def _is_within(folder: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether a folder is another one or lies in it."""
    return folder[: len(other)] == other


def _rank(
    picture: Picture, base: str, folders: tuple[str, ...], split: str, home: tuple[str, ...]
) -> tuple[int, ...]:
    """How well a picture fits, the weightiest first."""
    lies = lower(picture.folders)
    same = same_end(folders, lies)
    stated = bool(folders) and same == len(folders)
    of_split = 2 * (split.casefold() in lies) + (picture.place.split == role_of(split))
    exact, pictures = picture.name == base, picture.place.pictures
    near = same_start(lies, home)
    return stated, same, exact, of_split, not picture.place.masks, pictures, near
