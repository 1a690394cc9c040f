"""The data set on disk: written into a work folder beside DEST, and renamed when it is whole.

An interrupted run leaves ``.<DEST>.part`` and nothing else. The next run writes its text anew,
which takes seconds, and keeps the images that are there, each of which was put in place whole. So
both ways end in the same files.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from scsa_yolo.datasets.layout.basics import CONVERSION
from scsa_yolo.datasets.native.records import Finding, UsageError

REPORT = CONVERSION
FINDINGS = "conversion.jsonl"
UNPACKED = "unpacked"
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


class Work:
    """The work folder of a conversion.

    Attributes:
        dest: The folder to make.
        path: The work folder.
        resumed: Whether an interrupted run left something.
    """

    def __init__(self, dest: Path, request: Mapping[str, Any]):
        self.dest, self.request = dest, request
        self.path = dest.with_name(f".{dest.name}.part")
        self._old = dest.with_name(f".{dest.name}.old")
        self._lock: int | None = None
        self.resumed = False

    def open(self) -> None:
        """Make the folder, or take over what an interrupted run of the same command left.

        Raises:
            UsageError: It is not ours, or another process is at it.
            WriteError: It cannot be written.
        """
        with writing(self.dest.parent):
            self.dest.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(exist_ok=True)
            self._acquire()
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
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
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
                _remove(self._old)
                self.dest.replace(self._old)
            elif self.dest.is_dir():
                self.dest.rmdir()
            self.path.replace(self.dest)
            _remove(self._old)

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


class Placer:
    """Puts images in place: as a link, a copy, or new bytes. Used by several threads."""

    def __init__(self, mode: str):
        self.mode = mode
        self.fallback: str | None = None  # why copies are made though links were asked for

    def write(self, target: Path, data: bytes) -> None:
        """Put bytes made from an image."""
        part = target.with_name(f".{target.name}.tmp")
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
        part = target.with_name(f".{target.name}.tmp")
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
        part = target.with_name(f".{target.name}.tmp")
        part.unlink(missing_ok=True)
        shutil.copyfile(source, part)
        os.utime(part, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # by which the next run knows it
        part.replace(target)


class Findings:
    """Every finding goes to conversion.jsonl; a few of each sort are kept for the screen."""

    def __init__(self, file: TextIO, keep: int):
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
