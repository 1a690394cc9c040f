"""A lock on a file that the system gives back when its holder ends, however it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Locked", "hold"]


class Locked(OSError):
    """Another process holds the lock."""


@contextmanager
def hold(path: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock, and write this process's number into the file for whoever wants to know.

    A file that was left by a killed process does not matter: the lock is the system's, not the
        file's presence.

    Args:
        path: The lock's file; made if it is not there, and left there.
        wait: Seconds to wait for another holder.

    Raises:
        Locked: It is held by another process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(
        path, os.O_RDWR | os.O_CREAT, 0o644
    )  # Python does not hand it to programs that are started
    try:
        end = time.monotonic() + wait
        while not _try(descriptor):
            if time.monotonic() >= end:
                raise Locked(f"{path} is held by another process{_holder(descriptor)}")
            time.sleep(0.2)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0) if hasattr(os, "pwrite") else None
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    if not hasattr(os, "pread"):
        return ""
    text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
    return f" ({text})" if text.isdigit() else ""


if os.name == "nt":  # pragma: no cover
    import msvcrt

    def _try(descriptor: int) -> bool:
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
