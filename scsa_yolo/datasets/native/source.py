"""The user's source: folders and archives in the spellings seen in the wild. Nothing here writes
into it.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from scsa_yolo.datasets.layout.pictures import SUFFIXES
from scsa_yolo.datasets.native.records import Finding, Item, Tell, UsageError

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_SPLITS = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}


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
    """Where to look: the folder that the user gave, and the place where archives were unpacked."""

    given: Path
    unpacked: Path | None = None
    roots: tuple[Path, ...] = field(default=())

    def walk(self) -> Iterator[Folder]:
        """All folders, from the top, in a fixed order. Linked folders are followed, each once."""
        seen: set[str] = set()
        for root in self.roots:
            for path, folders, files in os.walk(root, followlinks=True, onerror=_raise):
                folders[:] = sorted(name for name in folders if not _is_junk(name))
                real = os.path.realpath(path)
                if real in seen:
                    folders.clear()
                    continue
                seen.add(real)
                yield Folder(
                    Path(path),
                    tuple(folders),
                    tuple(sorted(name for name in files if not _is_junk(name))),
                )

    def shown(self, path: Path) -> str:
        """How to call a file: relative to what the user gave, ``archive.zip/...`` inside one."""
        for root in self.roots:
            if path.is_relative_to(root):
                return path.relative_to(root).as_posix() or path.name
        return str(path)

    def is_ours(self, path: Path) -> bool:
        """Whether a file was unpacked by us, and will be gone at the end."""
        return self.unpacked is not None and path.is_relative_to(self.unpacked)


def _raise(error: OSError) -> None:
    raise error  # `os.walk` would pass over a folder that it may not list


def _is_junk(name: str) -> bool:
    return name == "__MACOSX" or name.startswith(".")


def archives_of(given: Path) -> list[Path]:
    """Return the archive that was given, or those in the folder that was."""
    if given.is_file():
        return [given]
    return sorted(
        path for path in given.iterdir() if path.name.lower().endswith(_ARCHIVES) and path.is_file()
    )


def unpack(
    archives: Sequence[Path], into: Path, wanted: Callable[[str], bool], say: Callable[[str], None]
) -> None:
    """Unpack each archive into ``into/<its name>``. What an interrupted run unpacked whole is kept.

    Raises:
        UsageError: One is no archive, damaged, or locked by a password.
        OSError: It cannot be written.
    """
    into.mkdir(exist_ok=True)
    for archive in archives:
        target, part = into / archive.name, into / f".{archive.name}.part"
        if target.is_dir():
            continue
        say(f"unpacking {archive.name}")
        shutil.rmtree(part, ignore_errors=True)
        try:
            if zipfile.is_zipfile(archive):
                _unzip(archive, part, wanted)
            else:
                _untar(archive, part, wanted)
        except (
            zipfile.BadZipFile,
            tarfile.TarError,
            EOFError,
            RuntimeError,
            NotImplementedError,
            zlib.error,
        ) as error:
            reason = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
            raise UsageError(f"{archive}: not a readable archive ({reason}); get it anew") from None
        part.replace(target)


def _unzip(archive: Path, folder: Path, wanted: Callable[[str], bool]) -> None:
    with zipfile.ZipFile(archive) as file:  # `extract` keeps names inside the folder
        folder.mkdir()
        for name in file.namelist():
            if wanted(name):
                file.extract(name, folder)


def _untar(archive: Path, folder: Path, wanted: Callable[[str], bool]) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise UsageError(
            f"{archive}: this Python cannot unpack a .tar safely; unpack it yourself, and give the"
            " folder"
        )
    with tarfile.open(archive) as file:
        folder.mkdir()
        for member in file:
            if wanted(member.name) and (member.isfile() or member.isdir()):
                file.extract(member, folder, filter="data")


def is_image(name: str) -> bool:
    """Whether a file name ends like that of an image."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def stem(name: str) -> str:
    """Return what an image and its annotation have in common, whatever the spelling."""
    return os.path.splitext(name.strip())[0].strip().casefold()


def split_named(parts: Iterable[str]) -> str | None:
    """Return the split that a folder's name, the innermost first, stands for: train, val or
    test.
    """
    for part in parts:
        name = part.casefold()
        name = _SPLITS.get(name, name)
        if name in ("train", "val", "test"):
            return name
    return None


def only_images(paths: Iterable[Path], source: Source, tell: Tell) -> dict[str, Path]:
    """Index images by stem. Of two with one stem, which would share a label file, the first is
    used.
    """
    index: dict[str, Path] = {}
    for path in paths:
        first = index.setdefault(stem(path.name), path)
        if first is not path:
            reason = f"left out: it would share the label file of {source.shown(first)}"
            tell(Finding("error", "two-images-of-one-name", source.shown(path), None, reason))
    return index


def images_in(folder: Path | None) -> list[Path]:
    """Return the images that lie directly in a folder, sorted."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir() if is_image(path.name) and not _is_junk(path.name)
    )


def flat_names(names: Sequence[str]) -> list[str]:
    """Return file names without folders; where two would have one stem, the folders become part of
    the name.
    """
    count: dict[str, int] = {}
    for name in names:
        key = stem(PurePosixPath(name).name)
        count[key] = count.get(key, 0) + 1
    flat = []
    for name in names:
        path = PurePosixPath(name)
        flat.append(
            path.name
            if count[stem(path.name)] == 1
            else "_".join(p for p in path.parts if p not in ("/", ".."))
        )
    return flat


def lacking(kind: str, source: Source, path: Path) -> Finding:
    """The finding that an annotation has no image (``kind`` is "image"), or the reverse."""
    return Finding(
        "error", f"no-{kind}", source.shown(path), None, f"left out: there is no {kind} for it"
    )


def split_rank(split: str) -> tuple[int, str]:
    """Order splits as one names them: train, val, test, then others."""
    roles = ("train", "val", "test")
    return (
        next((rank for rank, role in enumerate(roles) if split.startswith(role)), len(roles)),
        split,
    )


def sorted_items(items: Iterable[Item]) -> list[Item]:
    """Order items by split and name, so that each run writes the same."""
    return sorted(items, key=lambda item: (split_rank(item.split), item.name))
