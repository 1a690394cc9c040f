"""Files written whole or not at all, their hashes, and the one JSON text of plain values."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

CHUNK = 1 << 20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a file beside ``path``, and move it there when the block ends well.

    An earlier file stays until the new one is whole. The temporary name is short whatever the name
    of ``path`` is, since a file system allows 255 bytes for both. It keeps the suffix, from which
    some writers choose their format.

    Raises:
        OSError: The file cannot be written; an earlier one is as it was.
    """
    suffix = path.suffix if len(path.suffix.encode()) < 32 else ""
    handle, name = tempfile.mkstemp(prefix=".part-", suffix=suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        temporary.chmod(_usual_mode(path))
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def require_place(path: Path, *, force: bool) -> None:
    """Make sure that a file can be written, before the work that it is to hold.

    Raises:
        OSError: It is there and `force` is false, it is a folder, its folder is missing, or nothing
            can be written there. The message says what to do.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    if (path.exists() or path.is_symlink()) and not force:
        raise FileExistsError(f"{path} is there already; add --force to write over it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}; type: mkdir -p '{path.parent}'")
    require_folder(path.parent)


def require_folder(folder: Path) -> None:
    """Make sure that files can be written into a folder, which is made where it is missing.

    Raises:
        OSError: They cannot, or something else has the folder's name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".part-", dir=folder)
        os.close(handle)
        os.unlink(name)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"cannot write into {folder}: {reason}; choose another place") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file at once; lines end in a line feed alone on every system."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file at once, so that it outlives a loss of power right after."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write several files: first all beside their places, so that a full disk changes none."""
    if not texts:
        return
    (path, text), *rest = texts.items()
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())
        write_texts(dict(rest))


def write_json(path: Path, content: Any, indent: int | None = None) -> None:
    """Write JSON at once; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    write_text(path, f"{text}\n")


def canonical(content: Any) -> str:
    """Return the one JSON text of plain values: sorted keys, no spaces, no NaN."""
    return json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading in bytes; a pipe is refused, since reading it may wait without end.

    Raises:
        OSError: There is no such file, or it is a folder, a pipe, a socket or a device.
    """
    return open(path, "rb", opener=_regular)


def _regular(name: str, flags: int) -> int:
    # O_NONBLOCK: without it, opening a pipe waits until somebody writes into it
    handle = os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # `open` itself refuses folders
        return handle
    os.close(handle)
    raise OSError(errno.EINVAL, "not a regular file but a pipe, a socket or a device", name)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            total.update(chunk)
    return total.hexdigest()


def _usual_mode(path: Path) -> int:
    """Return the mode that a plain ``open`` would give: ``mkstemp`` makes private files."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
