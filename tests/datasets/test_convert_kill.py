"""A conversion killed at any moment, then the same command: the same files as without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Kills itself at the N-th change of the file system: any of them may be the last before the power
# fails.
KILLER = """
import argparse, os, signal, sys, threading
from pathlib import Path

last, lock = [int(sys.argv[1])], threading.Lock()


def counted(function):
    def call(*args, **kwargs):
        with lock:
            last[0] -= 1
            if last[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return call


for name in ("replace", "mkdir", "symlink_to", "write_text", "write_bytes", "rmdir"):
    setattr(Path, name, counted(getattr(Path, name)))
import shutil
copyfile = shutil.copyfile


def half_copy(source, target):
    data = Path(source).read_bytes()
    with open(target, "wb") as file:
        file.write(data[: len(data) // 2])
    return counted(copyfile)(source, target)


shutil.copyfile = half_copy
from scsa_yolo.datasets.convert.command import add_data_convert

parser = argparse.ArgumentParser()
add_data_convert(parser.add_subparsers(required=True))
args = parser.parse_args(["convert", *sys.argv[2:]])
code = args.run(args)
print("changes", int(sys.argv[1]) - last[0])
sys.exit(code)
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no SIGKILL here")


def run(at: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", KILLER, str(at), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def changes(done: subprocess.CompletedProcess[str]) -> int:
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("visdrone", ["--images", "copy", "--paint-ignored"]),
        ("exdark", []),
        ("coco", ["--images", "hardlink"]),
    ],
)
def test_killed_anywhere(native, tmp_path: Path, name: str, options: list[str]) -> None:
    source = native.make[name](tmp_path / "in")
    total = changes(run(10**6, name, source, tmp_path / "whole", *options))
    whole = native.tree(tmp_path / "whole")
    before = native.tree(source)
    for at in sorted({1, 2, 5, total // 3, total // 2, total - 4, total - 1, total}):
        dest = tmp_path / f"at{at}"
        assert run(at, name, source, dest, *options).returncode == -signal.SIGKILL
        if dest.exists():  # killed after the last rename: it must be whole
            assert native.tree(dest) == whole
        run(at // 2 + 1, name, source, dest, *options)  # and once more
        done = run(10**6, name, source, dest, *options)
        assert done.returncode == 0, done.stderr
        assert native.tree(dest) == whole, f"killed at change {at} of {total}"
        assert not dest.with_name(f".{dest.name}.part").exists()
    assert native.tree(source) == before


def test_killed_while_an_archive_is_unpacked(native, tmp_path: Path) -> None:
    import zipfile

    source = native.make["coco"](tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for path in source.rglob("*.*"):
            file.write(path, path.relative_to(source))
    total = changes(run(10**6, "coco", tmp_path / "a.zip", tmp_path / "whole"))
    for at in (4, 5, total // 2):
        dest = tmp_path / f"at{at}"
        assert run(at, "coco", tmp_path / "a.zip", dest).returncode == -signal.SIGKILL
        assert run(10**6, "coco", tmp_path / "a.zip", dest).returncode == 0
        same, other = native.tree(tmp_path / "whole"), native.tree(dest)
        assert same == other


def test_killed_while_an_old_one_is_replaced(native, tmp_path: Path) -> None:
    """With --force there is the old data set or the new one, or the same command makes the new
    one.
    """
    source = native.make["coco"](tmp_path / "in")
    changes(run(10**6, "coco", source, tmp_path / "new", "--images", "copy"))
    new = native.tree(tmp_path / "new")
    total = changes(run(10**6, "coco", source, tmp_path / "probe"))
    for at in (total // 2, total, total + 1, total + 2):
        dest = tmp_path / f"at{at}"
        assert run(10**6, "coco", source, dest).returncode == 0
        run(at, "coco", source, dest, "--images", "copy", "--force")
        assert run(10**6, "coco", source, dest, "--images", "copy", "--force").returncode == 0
        assert native.tree(dest) == new
        assert not [
            path.name for path in tmp_path.iterdir() if path.name.startswith(f".{dest.name}")
        ]


def test_another_command_does_not_go_on_with_what_is_left(native, tmp_path: Path) -> None:
    source = native.make["coco"](tmp_path / "in")
    run(25, "coco", source, tmp_path / "out")
    assert (tmp_path / ".out.part" / "images").is_dir()
    done = run(10**6, "coco", source, tmp_path / "out", "--images", "copy")
    assert "going on" not in done.stdout
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_symlink()]


def test_what_left_the_source_meanwhile_is_swept(native, tmp_path: Path) -> None:
    source = native.make["visdrone"](tmp_path / "in")
    total = changes(run(10**6, "visdrone", source, tmp_path / "whole"))
    run(total - 1, "visdrone", source, tmp_path / "out")
    for kind, suffix in (("images", "jpg"), ("annotations", "txt")):
        (source / "VisDrone2019-DET-train" / kind / f"0001.{suffix}").unlink()
    done = run(10**6, "visdrone", source, tmp_path / "out")
    assert "going on with what an interrupted run left" in done.stdout
    assert not list((tmp_path / "out").rglob("0001.*"))


def test_two_at_once(native, convert, tmp_path: Path) -> None:
    """The second says so; the first is not disturbed."""
    from scsa_yolo.datasets.convert.writer import Work

    source = native.make["coco"](tmp_path / "in")
    first = Work(tmp_path / "out", {"name": "coco"})
    first.open()
    done = convert("coco", source)
    assert (done.code, "is being converted by another process" in done.err) == (2, True)
    assert (tmp_path / ".out.part").is_dir()
    first.close()
    assert convert("coco", source).code == 0


def test_an_interruption_by_hand(native, convert, tmp_path: Path, monkeypatch) -> None:
    from scsa_yolo.datasets.convert import conversion

    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    source = native.make["coco"](tmp_path / "in")
    with monkeypatch.context() as patch:
        patch.setattr(conversion.SplitCount, "add", interrupt)
        done = convert("coco", source)
    assert (done.code, done.dest.exists()) == (130, False)
    assert "interrupted; the same command goes on" in done.err
    assert convert("coco", source).code == 0
