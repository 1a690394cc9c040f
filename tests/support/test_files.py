"""Files written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from scsa_yolo.support import files


@pytest.mark.parametrize(
    "name", ["a.txt", "n" * 251 + ".txt", "a." + "s" * 250, "ü" * 120 + ".json"]
)
def test_a_file_of_any_legal_name_is_written(tmp_path: Path, name: str) -> None:
    files.write_text(tmp_path / name, "one\ntwo\n")
    assert (tmp_path / name).read_bytes() == b"one\ntwo\n"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def write_half(path: Path) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError("no space")


def test_an_earlier_file_stays_when_the_new_one_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("earlier")
    with pytest.raises(OSError, match="no space"):
        write_half(path)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_several_files_change_together_or_not_at_all(tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "missing" / "b.txt"
    first.write_text("earlier")
    with pytest.raises(FileNotFoundError):
        files.write_texts({first: "new", second: "new"})
    assert first.read_text() == "earlier"
    second.parent.mkdir()
    files.write_texts({first: "new", second: "newer"})
    assert (first.read_text(), second.read_text()) == ("new", "newer")


def test_a_new_file_has_the_mode_that_open_gives(tmp_path: Path) -> None:
    (tmp_path / "opened").write_text("")
    files.write_text(tmp_path / "ours", "")
    modes = {stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("opened", "ours")}
    assert len(modes) == 1


def test_json_refuses_what_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"score": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_the_canonical_text_does_not_know_the_order_of_keys() -> None:
    assert files.canonical({"b": [1, 2.5], "a": None}) == '{"a":null,"b":[1,2.5]}'


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert files.sha256(path).startswith(
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
