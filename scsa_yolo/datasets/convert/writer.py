"""The data set on disk: written into a work folder beside DEST, and renamed when it is whole.

An interrupted run leaves ``.<DEST>.part`` and nothing else. The next run writes its text anew,
which takes seconds, and keeps the images that are there, each of which was put in place whole. So
both ways end in the same files.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scsa_yolo.datasets.layout.basics import CONVERSION
from scsa_yolo.datasets.native.records import Finding, UsageError

REPORT = CONVERSION
FINDINGS = "conversion.jsonl"
UNPACKED = "unpacked"
_REPLACES = ".replaces"  # in a conversion: the name of what it replaces, until that is removed
SIDE_FORMAT = "scsa-yolo side 1"

# what a file system or a system without the right says to a link; a full disk is none of these
_NO_LINKS = frozenset(
    {
        errno.EPERM,
        errno.EACCES,
        errno.EXDEV,
        errno.EMLINK,
        errno.ENOSYS,
        errno.EOPNOTSUPP,
        errno.EINVAL,
    }
)


class WriteError(OSError):
    """DEST cannot be written: a full disk, no permission. What was done so far is kept."""


@contextlib.contextmanager
def writing(what: Path) -> Iterator[None]:
    """Turn an error of the file system into one line that says what to do."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(
            f"{what}: {reason}. Nothing is lost: the same command goes on where this one stopped"
        ) from error


class TextFile:
    """A text file that grows line by line; an error of the file system, at its end too, names it.

    What a file name has beyond Unicode (bytes that are not UTF-8) is written as JSON's escape, so
    that a reader gets the same name.
    """

    def __init__(self, path: Path):
        self.path = path
        with writing(path):
            self._file = path.open("w", encoding="utf-8", errors="backslashreplace")

    def write(self, text: str) -> None:
        """Add text.

        Raises:
            WriteError: It cannot be written.
        """
        with writing(self.path):
            self._file.write(text)

    def __enter__(self) -> TextFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the file: what still waits in memory may find the disk full."""
        try:
            with writing(self.path):
                self._file.close()
        except WriteError:
            if kind is None:  # else the first error is the one to tell
                raise


class Work:
    """The work folder of a conversion. It lies beside the folder that DEST is, or links to.

    Attributes:
        dest: The folder to make, links followed: so it lies on the disk that was meant.
        path: The work folder.
        resumed: Whether an interrupted run left something.
    """

    def __init__(self, dest: Path, request: Mapping[str, Any]):
        self.dest, self.request = Path(os.path.realpath(dest)), request
        self.path = self.dest.with_name(f".{self.dest.name}.part")
        self._lock: int | None = None
        self._aside: list[Path] = []
        self.resumed = False

    def open(self) -> None:
        """Make the folder, or take over what an interrupted run of the same command left.

        Raises:
            UsageError: It is not ours, another process is at it, or DEST cannot be replaced.
            WriteError: It cannot be written.
        """
        self._check_dest()
        with writing(self.dest.parent):
            self.dest.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(exist_ok=True)
            self._acquire()
            self._aside = self._left_aside()
            left = read_report(self.path)
            if left is None and any(path.name != f"{REPORT}.tmp" for path in self.path.iterdir()):
                raise UsageError(
                    f"{self.path} is not left by a conversion (no {REPORT}): move it away"
                )
            self.resumed = left is not None and left.get("request") == self.request
            kept = (
                (REPORT, "images", UNPACKED) if self.resumed else (REPORT,)
            )  # by which the folder is known as ours
            for path in sorted(self.path.iterdir()):
                if path.name not in kept:
                    _remove(path)
            self.write_json({"state": "unfinished", "request": self.request})

    def _check_dest(self) -> None:
        """Refuse what could not get its name after hours of work."""
        if self.dest.is_symlink():
            raise UsageError(f"{self.dest} is a symbolic link that leads nowhere: remove it")
        if os.path.ismount(self.dest):
            raise UsageError(
                f"{self.dest} is where a disk is mounted, which cannot be replaced: name a folder"
                f" inside it, such as {self.dest / 'data'}"
            )
        if self.dest.exists() and not self.dest.is_dir():
            raise UsageError(f"{self.dest} is a file: choose another folder, or move it away")

    def _acquire(self) -> None:
        if sys.platform == "win32":  # no lock on folders there
            return
        import fcntl

        self._lock = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise UsageError(f"{self.dest} is being converted by another process") from None

    def discard(self) -> None:
        """Remove the folder: nothing in it is worth keeping."""
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Let another process take over."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write_json(self, content: Mapping[str, Any]) -> None:
        """Write conversion.json, whole or not at all."""
        part = self.path / f"{REPORT}.tmp"
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
        part.replace(self.path / REPORT)

    def finish(self, report: Mapping[str, Any], force: bool) -> None:
        """Sweep what an interrupted run left over, and give the folder its name."""
        with writing(self.path):
            if self.resumed:
                self._sweep()
            shutil.rmtree(self.path / UNPACKED, ignore_errors=True)
            self.write_json({"state": "complete", "request": self.request, **report})
        with writing(self.dest):
            if force and self.dest.is_dir() and any(self.dest.iterdir()):
                self._put_aside()
            elif self.dest.is_dir():
                self.dest.rmdir()
            self.path.replace(self.dest)
            for old in self._aside:
                _remove(old)
            _remove(self.dest / _REPLACES)

    def _put_aside(self) -> None:
        """Rename the conversion that is replaced. What others have under such a name stays."""
        stem = f".{self.dest.name}.old"
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        old = next(p for p in map(self.dest.with_name, names) if not os.path.lexists(p))
        (self.path / _REPLACES).write_text(old.name, encoding="utf-8", errors="surrogateescape")
        self.dest.replace(old)
        self._aside.append(old)

    def _left_aside(self) -> list[Path]:
        """Return what an interrupted run of ours had put aside and not removed yet."""
        found = []
        for folder in (self.path, self.dest):
            note = folder / _REPLACES
            if not note.is_file() or (folder == self.path and self.dest.exists()):
                continue
            name = note.read_text(encoding="utf-8", errors="surrogateescape")
            if name.startswith(f".{self.dest.name}.old") and "/" not in name:
                found.append(self.dest.with_name(name))
        return found

    def _sweep(self) -> None:
        """Remove images without a line in a side file: half-written ones, and those that left the
        source meanwhile.
        """
        for folder in sorted((self.path / "images").iterdir()):
            side = self.path / "side" / f"{folder.name}.jsonl"
            kept: set[str] = set()
            if side.is_file():
                with side.open(encoding="utf-8") as lines:
                    kept = {json.loads(line).get("image", "") for line in lines}
            for path in sorted(folder.iterdir()):
                if f"images/{folder.name}/{path.name}" not in kept:
                    _remove(path)
            if not kept:
                folder.rmdir()


def read_report(folder: Path) -> dict[str, Any] | None:
    """Return a folder's conversion.json, None where there is no valid one."""
    try:
        content = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "state" in content else None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _part(target: Path) -> Path:
    """Return the name of a file while it is written: short, whatever its own name's length is."""
    digest = hashlib.blake2b(os.fsencode(target.name), digest_size=8).hexdigest()
    return target.with_name(f".{digest}.tmp")


class Placer:
    """Puts images in place: as a link, a copy, or new bytes. Used by several threads."""

    def __init__(self, mode: str):
        self.mode = mode
        self.fallback: str | None = None  # why copies are made though links were asked for

    def write(self, target: Path, data: bytes) -> None:
        """Put bytes made from an image."""
        part = _part(target)
        part.write_bytes(data)
        part.replace(target)

    def place(self, source: Path, target: Path, mode: str) -> None:
        """Put the image itself, as ``mode`` says; as a copy if that cannot be."""
        if mode != "copy" and self.fallback is None:
            try:
                return self._link(source, target, mode)
            except (OSError, NotImplementedError) as error:
                number = getattr(error, "errno", None)
                if number not in _NO_LINKS and getattr(error, "winerror", None) is None:
                    raise
                self.fallback = os.strerror(number) if number else str(error)
        self._copy(source, target)

    def _link(self, source: Path, target: Path, mode: str) -> None:
        if mode == "link" and target.is_symlink() and os.readlink(target) == str(source):
            return
        if (
            mode == "hardlink"
            and target.exists()
            and target.samefile(source)
            and not target.is_symlink()
        ):
            return
        part = _part(target)
        part.unlink(missing_ok=True)
        if mode == "link":
            part.symlink_to(source)
        else:
            os.link(
                os.path.realpath(source), part
            )  # of the file itself, where the source is a link
        part.replace(target)

    def _copy(self, source: Path, target: Path) -> None:
        stat, there = source.stat(), not target.is_symlink() and target.is_file()
        if there and (stat.st_size, stat.st_mtime_ns) == (
            target.stat().st_size,
            target.stat().st_mtime_ns,
        ):
            return
        part = _part(target)
        part.unlink(missing_ok=True)
        shutil.copyfile(source, part)
        os.utime(part, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # by which the next run knows it
        part.replace(target)


class Findings:
    """Every finding goes to conversion.jsonl; a few of each sort are kept for the screen."""

    def __init__(self, file: TextFile, keep: int):
        self.file, self.keep = file, keep
        self.counts: Counter[tuple[str, str]] = Counter()
        self.first: dict[tuple[str, str], list[Finding]] = {}

    def add(self, finding: Finding) -> None:
        """Write a finding."""
        key = finding.kind, finding.code
        self.counts[key] += 1
        if self.counts[key] <= self.keep:
            self.first.setdefault(key, []).append(finding)
        self.file.write(json.dumps(finding._asdict(), ensure_ascii=False) + "\n")

    @property
    def errors(self) -> int:
        """How often input could not be read as its format."""
        return sum(count for (kind, _), count in self.counts.items() if kind == "error")
