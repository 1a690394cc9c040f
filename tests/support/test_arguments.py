"""The grammar that the commands share."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from scsa_yolo.support.arguments import (
    STDOUT,
    Renamed,
    add_json,
    check_json,
    give_json,
    sorted_operands,
    split_json,
    stdout_for_json,
)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--json"], ["--json=-"]),
        (["--json", "best.pt"], ["--json=-", "best.pt"]),
        (["--json", "out.json"], ["--json", "out.json"]),
        (["--json", "OUT.JSON"], ["--json", "OUT.JSON"]),
        (["--json=out.json"], ["--json=out.json"]),
        (["--json", "--quiet"], ["--json=-", "--quiet"]),
        (["--", "--json"], ["--", "--json"]),
    ],
)
def test_json_takes_a_file_only_where_its_name_says_so(
    words: list[str], expected: list[str]
) -> None:
    assert split_json(words) == expected


def test_json_is_a_place(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_json(parser)
    assert parser.parse_args([]).json is None
    assert parser.parse_args(["--json"]).json == STDOUT
    assert parser.parse_args(["--json", "a.json"]).json == Path("a.json")
    with pytest.raises(SystemExit):
        parser.parse_args(["--json=a.txt"])
    assert "must end in .json" in capsys.readouterr().err
    give_json(STDOUT, {"ä": 1})
    assert json.loads(capsys.readouterr().out) == {"ä": 1}
    give_json(tmp_path / "new" / "a.json", {"ä": 1})
    assert json.loads((tmp_path / "new" / "a.json").read_text(encoding="utf-8")) == {"ä": 1}


def test_an_existing_file_needs_force(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    check_json(path, force=False)
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match="add --force"):
        check_json(path, force=False)
    check_json(path, force=True)
    with pytest.raises(FileExistsError, match="is a folder"):
        check_json(tmp_path, force=True)
    with pytest.raises(FileNotFoundError, match="mkdir -p"):
        check_json(tmp_path / "no" / "a.json", force=True)
    check_json(None, force=False)
    check_json(STDOUT, force=False)


def test_what_is_printed_goes_elsewhere_while_json_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with stdout_for_json(STDOUT):
        print("progress")
    with stdout_for_json(Path("a.json")):
        print("a table")
    assert capsys.readouterr() == ("a table\n", "progress\n")


def test_an_old_spelling_works_and_names_the_new(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", dest="output", type=Path)
    parser.add_argument("--out", dest="output", action=Renamed, now="-o", type=Path)
    assert parser.parse_args(["--out", "x"]).output == Path("x")
    assert capsys.readouterr().err == "scsa-yolo: --out still works; its name is now -o\n"
    assert parser.parse_args(["-o", "x"]).output == Path("x")
    assert parser.parse_args([]).output is None
    assert capsys.readouterr().err == ""
    assert "--out" not in parser.format_help()


@pytest.mark.parametrize(
    ("words", "bare", "named"),
    [
        (["best.pt", "data=x.yaml"], ["best.pt"], {"data": "x.yaml"}),
        (["data=a=b.yaml"], [], {"data": "a=b.yaml"}),
        (["runs/a=1/best.pt"], ["runs/a=1/best.pt"], {}),
    ],
)
def test_operands(words: list[str], bare: list[str], named: dict[str, str]) -> None:
    assert sorted_operands(words, ("model", "data")) == (bare, named)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["imgsz=320"], "Type: --imgsz 320"),
        (["max_det=3"], "Type: --max-det 3"),
        (["data=a", "data=b"], "given twice: a and b"),
        (["data="], "has no value"),
    ],
)
def test_operands_that_are_wrong(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sorted_operands(words, ("model", "data"))
