"""Archives, unpacked with care: nothing outside their folder, no more than the disk holds."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from lzma import LZMAError
from pathlib import Path

from scsa_yolo.datasets.native.records import UsageError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
FOREIGN = (".rar", ".7z", ".zst", ".tar.zst", ".zipx", ".arj", ".cab", ".iso")  # no reader here
MOST_RATIO = 200  # unpacked bytes for each byte of an archive; annotations reach 50
SMALL = 32 << 20  # bytes that are unpacked whatever the ratio
SPARE = 64 << 20  # bytes that are to stay free

_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    zlib.error,
    LZMAError,
)
Wanted = Callable[[str], bool]


def is_archive(name: str) -> bool:
    """Whether a file name ends like that of an archive that can be unpacked here."""
    return name.lower().endswith(SUFFIXES)


def archives_of(given: Path) -> list[Path]:
    """Return the archive that was given, or those in the folder that was."""
    if not given.is_dir():
        return [given]
    return sorted(path for path in given.iterdir() if is_archive(path.name) and path.is_file())


def unpack(
    archives: Sequence[Path], into: Path, wanted: Wanted, say: Callable[[str], None]
) -> None:
    """Unpack each archive into ``into/<its name>``, archives inside it too, one level deep.

    What an interrupted run unpacked whole is kept.

    Raises:
        UsageError: One is no archive, damaged, locked by a password, or unpacks to far more than
            its size or than the disk holds.
        OSError: It cannot be written.
    """
    into.mkdir(exist_ok=True)
    for archive in archives:
        target, part = into / archive.name, into / f".{archive.name}.part"
        if target.is_dir():
            continue
        say(f"unpacking {archive.name}")
        shutil.rmtree(part, ignore_errors=True)
        _unpack(archive, part, wanted)
        for inner in _archives_in(part):
            say(f"unpacking {archive.name}/{inner.relative_to(part).as_posix()}")
            place = inner.with_name(f".{inner.name}.part")
            _unpack(inner, place, wanted)
            inner.unlink()
            place.replace(inner)
        part.replace(target)


def _archives_in(folder: Path) -> list[Path]:
    """Return what lies unpacked in a folder and is an archive itself."""
    found = (path for path in folder.rglob("*") if is_archive(path.name) and path.is_file())
    return sorted(path for path in found if not path.name.startswith("."))


def _unpack(archive: Path, folder: Path, wanted: Wanted) -> None:
    if archive.name.lower().endswith(FOREIGN):
        raise UsageError(
            f"{archive}: this format cannot be unpacked here; unpack it yourself, and give the"
            " folder"
        )
    if not archive.is_file():
        raise UsageError(f"{archive}: neither a folder nor a regular file")
    try:
        if zipfile.is_zipfile(archive):
            _unzip(archive, folder, wanted)
        else:
            _untar(archive, folder, wanted)
    except UsageError:
        raise
    except _BROKEN as error:
        reason = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
        raise UsageError(f"{archive}: not a readable archive ({reason}); get it anew") from None


def _unzip(archive: Path, folder: Path, wanted: Wanted) -> None:
    with zipfile.ZipFile(archive) as file:  # `extract` keeps names inside the folder
        members = []
        for member in file.infolist():
            # some tools of Windows write backslashes, against the format
            member.filename = member.filename.replace("\\", "/")
            if wanted(member.filename):
                members.append(member)
        allowance = _Allowance(archive, folder.parent)
        allowance.take(sum(member.file_size for member in members))
        folder.mkdir()
        for member in members:
            file.extract(member, folder)


def _untar(archive: Path, folder: Path, wanted: Wanted) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise UsageError(
            f"{archive}: this Python cannot unpack a .tar safely; unpack it yourself, and give the"
            " folder"
        )
    with tarfile.open(archive) as file:
        folder.mkdir()
        allowance = _Allowance(archive, folder)
        for member in file:
            member.name = member.name.replace("\\", "/")
            if wanted(member.name) and (member.isfile() or member.isdir()):
                allowance.take(member.size)  # before a byte of it is written
                file.extract(member, folder, filter="data")


class _Allowance:
    """How much an archive may unpack to: a multiple of its size, and what the disk holds."""

    def __init__(self, archive: Path, folder: Path):
        self.archive, self.folder = archive, folder
        self.size = max(os.path.getsize(archive), 1)
        self.free = shutil.disk_usage(folder).free
        self.taken = 0

    def take(self, size: int) -> None:
        self.taken += size
        if self.taken > SMALL and self.taken > MOST_RATIO * self.size:
            raise UsageError(
                f"{self.archive}: {_mib(self.size)} of archive unpack to {_mib(self.taken)} or"
                f" more, over {MOST_RATIO} times its size: this looks like an archive made to fill"
                " a disk. If you trust it, unpack it yourself, and give the folder"
            )
        if self.taken > self.free - SPARE:
            raise UsageError(
                f"{self.archive}: {_mib(self.taken)} or more to unpack, but {self.folder} has"
                f" {_mib(self.free)} free, of which {_mib(SPARE)} stay free: make room, or choose"
                " a DEST on a larger disk"
            )


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"
