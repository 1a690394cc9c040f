"""Disks that fill up, links and mounts in DEST's place, pipes among the pictures."""

from __future__ import annotations

import builtins
import errno
import gc
import io
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scsa_yolo.datasets.convert import writer

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, pipes and mounts are posix's")


class FullDisk:
    """Lets so many writes below a folder pass and refuses all that follow, as a full disk does."""

    def __init__(self, folder: Path, room: int, patch: pytest.MonkeyPatch):
        self.folder, self.room, self.lock = str(folder), room, threading.Lock()
        for name in ("replace", "symlink", "mkdir", "link"):
            patch.setattr(os, name, self._guard(getattr(os, name)))
        opened = self._open(io.open)
        patch.setattr(io, "open", opened)
        patch.setattr(builtins, "open", opened)

    def spend(self, path: Any) -> None:
        """Count a write, and refuse it when there is no room."""
        if not str(path).startswith(self.folder):
            return
        with self.lock:
            self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _guard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **options: Any) -> Any:
            self.spend(args[-1] if call.__name__ != "mkdir" else args[0])
            return call(*args, **options)

        return guarded

    def _open(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def opened(path: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            file = call(path, mode, *args, **options)
            return _Full(file, path, self) if set(mode) & set("wa") else file

        return opened


class _Full:
    """A file that is buffered: its bytes meet the disk when it is closed."""

    def __init__(self, file: Any, path: Any, disk: FullDisk):
        self.file, self.path, self.disk = file, path, disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> _Full:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.disk.spend(self.path)


@pytest.fixture
def no_lost_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What would end in a thread or a destructor without a word."""
    lost: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", lost.append)
    monkeypatch.setattr(threading, "excepthook", lost.append)
    yield lost
    gc.collect()
    assert not lost


@pytest.mark.parametrize("images", ["link", "copy"])
def test_a_disk_that_is_full_at_any_write(
    native, convert, tmp_path: Path, no_lost_threads: list[Any], images: str
) -> None:
    source = native.make["voc"](tmp_path / "in")
    whole = convert("voc", source, "--images", images, dest="whole")
    expected = native.tree(whole.dest)
    folder = tmp_path / "disk"
    folder.mkdir()
    for room in range(400):
        with pytest.MonkeyPatch.context() as patch:
            FullDisk(folder, room, patch)
            done = convert("voc", source, "--images", images, "--workers", "3", dest="disk/out")
        if done.code == 0:
            break
        assert done.code == 1, room
        assert f"{folder}" in done.err, room
        assert "No space left on device. Nothing is lost: the same command goes on" in done.err
        assert done.err.count("\n") == 1
        gc.collect()
    assert room > 20
    assert native.tree(folder / "out") == expected


def test_links_are_followed_to_the_disk_that_was_meant(native, convert, tmp_path: Path) -> None:
    source = native.make["visdrone"](tmp_path / "in")
    large = tmp_path / "large" / "data"
    large.mkdir(parents=True)
    link = tmp_path / "out"
    link.symlink_to(large)
    assert convert("visdrone", source).code == 0
    assert link.is_symlink()
    assert (large / "data.yaml").is_file()
    first = (large / "conversion.json").stat().st_ino
    assert convert("visdrone", source, "--force", "--images", "copy").code == 0
    assert link.is_symlink()
    assert (large / "conversion.json").stat().st_ino != first
    assert sorted(os.listdir(large.parent)) == ["data"]
    assert sorted(os.listdir(tmp_path)) == ["in", "large", "out"]


def test_a_link_to_a_folder_that_is_not_there_yet(native, convert, tmp_path: Path) -> None:
    source = native.make["visdrone"](tmp_path / "in")
    (tmp_path / "out").symlink_to(tmp_path / "large" / "data")
    assert convert("visdrone", source).code == 0
    assert (tmp_path / "large" / "data" / "data.yaml").is_file()
    assert (tmp_path / "out").is_symlink()


def test_a_link_to_itself(native, convert, tmp_path: Path) -> None:
    source = native.make["visdrone"](tmp_path / "in")
    (tmp_path / "out").symlink_to(tmp_path / "out")
    done = convert("visdrone", source)
    assert done.code == 2
    assert "symbolic link that leads nowhere" in done.err


def test_a_mounted_disk_cannot_be_replaced(
    native, convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = native.make["visdrone"](tmp_path / "in")
    monkeypatch.setattr(writer.os.path, "ismount", lambda path: str(path) == str(tmp_path / "out"))
    done = convert("visdrone", source)
    assert done.code == 2
    assert f"name a folder inside it, such as {tmp_path / 'out' / 'data'}" in done.err


@pytest.mark.parametrize("converted", [True, False])
def test_what_others_put_aside_is_not_touched(
    native, convert, tmp_path: Path, converted: bool
) -> None:
    """.out.old may be a backup that somebody made, by hand and even of a conversion."""
    source = native.make["visdrone"](tmp_path / "in")
    backup = tmp_path / ".out.old"
    if converted:
        convert("visdrone", source).dest.rename(backup)
    else:
        native.write(backup / "mine.txt", "mine")
    before = native.tree(backup)
    assert convert("visdrone", source).code == 0
    assert convert("visdrone", source, "--force", "--paint-ignored").code == 0
    assert native.tree(backup) == before
    assert sorted(os.listdir(tmp_path)) == [".out.old", "in", "out"]


def test_what_an_interrupted_run_put_aside_is_removed(native, convert, tmp_path: Path) -> None:
    source = native.make["visdrone"](tmp_path / "in")
    convert("visdrone", source)
    native.write(tmp_path / ".out.old" / "data.yaml", "")
    native.write(tmp_path / "out" / writer._REPLACES, ".out.old")
    assert convert("visdrone", source, "--force", "--paint-ignored").code == 0
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


def test_a_pipe_among_the_pictures(native, convert, tmp_path: Path) -> None:
    source = native.make["visdrone"](tmp_path / "in")
    image = source / "VisDrone2019-DET-train/images/0001.jpg"
    image.unlink()
    os.mkfifo(image)
    done = convert("visdrone", source)
    told = [finding["reason"] for finding in done.findings if "0001.jpg" in finding["file"]]
    assert told or done.code == 0
    assert not (done.dest / "images/train/0001.jpg").exists()


@pytest.mark.parametrize("images", ["link", "copy", "hardlink"])
def test_names_as_long_as_a_file_system_allows(
    native, convert, tmp_path: Path, images: str
) -> None:
    source = native.make["visdrone"](tmp_path / "in")
    name = "x" * 251
    train = source / "VisDrone2019-DET-train"
    (train / "images/0001.jpg").rename(train / "images" / f"{name}.jpg")
    (train / "annotations/0001.txt").rename(train / "annotations" / f"{name}.txt")
    done = convert("visdrone", source, "--images", images)
    assert done.code == 0
    assert (done.dest / "images/train" / f"{name}.jpg").is_file()
