"""The user's source: folders and archives in the spellings seen in the wild. Nothing here writes
into it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from scsa_yolo.datasets.layout.pictures import SUFFIXES
from scsa_yolo.datasets.native.balance import Balance
from scsa_yolo.datasets.native.records import Finding, Item, Tell
from scsa_yolo.datasets.native.splits import split_rank

_JPEGS = frozenset({".jfif", ".jpe", ".jif"})  # JPEG by another name; written as .jpg
# pictures that cannot be converted, and what to do about them
_FOREIGN = {
    ".heic": "needs pillow-heif",
    ".heif": "needs pillow-heif",
    ".avif": "needs a newer Pillow or pillow-avif-plugin",
    ".jxl": "needs a plugin of Pillow",
    ".jp2": "is JPEG 2000",
    ".gif": "is a film to Ultralytics",
    ".dng": "is a camera's raw format",
    ".raw": "is a camera's raw format",
    ".cr2": "is a camera's raw format",
    ".nef": "is a camera's raw format",
    ".arw": "is a camera's raw format",
    ".pgm": "is not read by Ultralytics",
    ".ppm": "is not read by Ultralytics",
}
_LONGEST_NAME = 200  # bytes; a file system allows 255, and ours carry a few more while written


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder and what lies in it, sorted; the junk that archivers add is left out."""

    path: Path
    folders: tuple[str, ...]
    files: tuple[str, ...]

    def child(self, *names: str) -> Path | None:
        """Return the sub-folder of one of these names, upper or lower case."""
        return next((self.path / name for name in self.folders if name.casefold() in names), None)


@dataclass(frozen=True, slots=True)
class Source:
    """Where to look: the folder that the user gave, and the place where archives were unpacked.

    Attributes:
        given: What the user gave.
        unpacked: Where its archives were unpacked.
        roots: The folders to look into.
        unnamable: Files and folders whose names are not UTF-8: no list or label can name them.
        left_out: Pictures that a reader left out, with their split and the reason.
        balance: What was found, and what becomes of it.
    """

    given: Path
    unpacked: Path | None = None
    roots: tuple[Path, ...] = field(default=())
    unnamable: dict[str, bool] = field(default_factory=dict)
    left_out: dict[str, tuple[str | None, str]] = field(default_factory=dict)
    balance: Balance = field(default_factory=Balance)
    _folders: list[Folder] = field(default_factory=list)
    _foreign: dict[str, list[Path]] = field(default_factory=dict)

    def walk(self) -> list[Folder]:
        """All folders, from the top, in a fixed order. Linked folders are followed, each once."""
        if not self._folders:
            self._folders.extend(self._walk())
        return self._folders

    def _walk(self) -> Iterator[Folder]:
        seen: set[str] = set()
        for root in self.roots:
            for path, folders, files in os.walk(root, followlinks=True, onerror=_raise):
                folders[:] = self._usable(path, folders)
                real = os.path.realpath(path)
                if real in seen:
                    folders.clear()
                    continue
                seen.add(real)
                yield Folder(Path(path), tuple(folders), tuple(self._usable(path, files)))

    def _usable(self, folder: str, names: list[str]) -> list[str]:
        """Sort names; leave out junk, and those that no text file can hold."""
        found = []
        for name in sorted(names):
            if _is_junk(name):
                continue
            if usable(name):
                found.append(name)
            else:
                self.unnamable[os.path.join(folder, name)] = is_image(name)
        return found

    def shown(self, path: Path) -> str:
        """How to call a file: relative to what the user gave, ``archive.zip/...`` inside one."""
        for root in self.roots:
            if path.is_relative_to(root):
                return path.relative_to(root).as_posix() or path.name
        return str(path)

    def below(self, path: Path) -> tuple[str, ...]:
        """Return the parts of a path below the folder that it was found in; the name of the folder
        that the user gave is the first.
        """
        root = next((root for root in self.roots if path.is_relative_to(root)), None)
        if root is None:
            return path.parts
        parts = path.relative_to(root).parts
        return (root.name, *parts) if root == self.given else parts

    def is_ours(self, path: Path) -> bool:
        """Whether a file was unpacked by us, and will be gone at the end."""
        return self.unpacked is not None and path.is_relative_to(self.unpacked)

    def foreign(self) -> dict[str, list[Path]]:
        """Return pictures of formats that cannot be converted, by stem."""
        if not self._foreign:
            for folder in self.walk():
                for name in folder.files:
                    if foreign(name):
                        self._foreign.setdefault(stem(name), []).append(folder.path / name)
        return self._foreign

    def leave_out(self, image: Path, split: str | None, code: str) -> None:
        """Note that a picture is not converted, for the balance."""
        self.left_out.setdefault(str(image), (split, code))


def usable(name: str) -> bool:
    """Whether a file counts: it is no junk of an archiver, and a text file can hold its name."""
    if _is_junk(name):
        return False
    if name.isascii():
        return True
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _raise(error: OSError) -> None:
    raise error  # `os.walk` would pass over a folder that it may not list


def _is_junk(name: str) -> bool:
    return name == "__MACOSX" or name.startswith(".")


def is_image(name: str) -> bool:
    """Whether a file name ends like that of an image that can be converted."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix in SUFFIXES or suffix in _JPEGS


def foreign(name: str) -> str | None:
    """Return what an image's format needs, where it is one that cannot be converted."""
    need = _FOREIGN.get(os.path.splitext(name)[1].lower())
    return need and f"this format {need}: save it as JPEG or PNG first"


def plain_name(name: str) -> str:
    """Return the name under which an image is written: a suffix that Ultralytics reads."""
    base, suffix = os.path.splitext(name)
    return f"{base}.jpg" if suffix.lower() in _JPEGS else name


def stem(name: str) -> str:
    """Return what an image and its annotation have in common, whatever the spelling."""
    return os.path.splitext(name.strip())[0].strip().casefold()


def only_images(
    paths: Iterable[Path], source: Source, tell: Tell, split: str | None = None
) -> dict[str, Path]:
    """Index images by stem. Of two with one stem, which would share a label file, the first is
    used.
    """
    index: dict[str, Path] = {}
    for path in paths:
        first = index.setdefault(stem(path.name), path)
        if first is not path:
            reason = f"left out: it would share the label file of {source.shown(first)}"
            tell(Finding("error", "two-images-of-one-name", source.shown(path), None, reason))
            source.leave_out(path, split, "two-images-of-one-name")
    return index


def images_in(folder: Path | None) -> list[Path]:
    """Return the images that lie directly in a folder, sorted."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(folder / name for name in os.listdir(folder) if is_image(name) and usable(name))


def flat_names(names: Sequence[str]) -> list[str]:
    """Return file names without folders, of which no two have one stem.

    Where two would, the folders become part of the name; where that is not enough, a number does.
    """
    count: dict[str, int] = {}
    for name in names:
        key = stem(PurePosixPath(name).name)
        count[key] = count.get(key, 0) + 1
    flat: list[str] = []
    taken: set[str] = set()
    for name in names:
        path = PurePosixPath(name)
        parts = [part for part in path.parts if part not in ("/", "..")]
        wish = path.name if count[stem(path.name)] == 1 else "_".join(parts)
        flat.append(_free(_short(plain_name(wish.replace("\\", "_"))), taken))
        taken.add(stem(flat[-1]))
    return flat


def _free(name: str, taken: set[str]) -> str:
    base, suffix = os.path.splitext(name)
    number, free = 2, name
    while stem(free) in taken:
        free = f"{base}_{number}{suffix}"
        number += 1
    return free


def _short(name: str) -> str:
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    base, suffix = os.path.splitext(name)
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    kept = base.encode()[: _LONGEST_NAME - 40].decode(errors="ignore")
    return f"{kept}_{digest}{suffix}"


def lacking(kind: str, source: Source, path: Path) -> Finding:
    """The finding that an annotation has no image (``kind`` is "image"), or the reverse."""
    reason = f"left out: there is no {kind} for it"
    if kind == "image":
        reason += other_format(source, stem(path.name))
    return Finding("error", f"no-{kind}", source.shown(path), None, reason)


def other_format(source: Source, key: str) -> str:
    """Say that the image with this stem is there in a format that cannot be converted, if so."""
    there = source.foreign().get(key) or source.foreign().get(stem(key))
    return f" but {source.shown(there[0])}: {foreign(there[0].name)}" if there else ""


def sorted_items(items: Iterable[Item]) -> list[Item]:
    """Order items by split and name, so that each run writes the same."""
    return sorted(items, key=lambda item: (split_rank(item.split), item.name))
