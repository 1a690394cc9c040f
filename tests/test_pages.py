"""Every ``scsa-yolo`` command on a page is one that the command understands."""

from __future__ import annotations

import re
import shlex
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest

from scsa_yolo import cli

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
PAGES += sorted((REPOSITORY / "docs").glob("*.md"))
# A command stands in a code block, or between backticks; the rest of a line may be a comment.
BLOCK = re.compile(r"^(?: {4}|\t)\$? ?(scsa-yolo .*(?:\\\n.*)*)$", re.MULTILINE)
INLINE = re.compile(r"`(scsa-yolo [^`]*)`")

ACTIONS = {"convert", "check", "show", "init", "run", "status", "report"}


def commands(page: Path) -> dict[str, bool]:
    """Return what a reader would type, and whether it stands in a block: then it is whole."""
    text = page.read_text(encoding="utf-8")
    inline = {" ".join(match.split()): False for match in INLINE.findall(text)}
    return inline | {match.replace("\\\n", " "): True for match in BLOCK.findall(text)}


CASES = [
    pytest.param(command, whole, id=f"{page.stem}: {command[:60]}")
    for page in PAGES
    for command, whole in commands(page).items()
]


def words(command: str) -> list[str]:
    """Return a command's words without comment, and without the brackets of what is optional."""
    plain = re.sub(r"\s#.*", "", command)
    plain = re.sub(r"[<>\[\]]", "", re.split(r"\s[|>&]\s", plain)[0])
    return shlex.split(plain)[1:]


def test_pages_have_commands() -> None:
    assert len(CASES) > 30


@pytest.mark.parametrize(("command", "whole"), CASES)
def test_a_command_on_a_page_is_understood(
    command: str, whole: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = words(command)
    if re.match(r"scsa-yolo \d", command):
        pytest.skip("a line of versions, no command")
    if not typed or "..." in typed or all(word in {*cli.COMMANDS, *ACTIONS} for word in typed):
        # the name of a command alone: it is there
        assert cli.main([*(word for word in typed if word != "..."), "--help"]) == 0
        return
    code = 0
    try:
        cli.parser().parse_args(typed)
    except SystemExit as stop:
        code = int(stop.code or 0)
    error = capsys.readouterr().err
    # in a sentence, a command may stand without the files that it takes
    assert code == 0 or (not whole and "arguments are required" in error), error


def test_the_page_shows_gates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics import YOLO

    page = (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"(?m)^    import sys\n(?:(?: {4}.*)?\n)+", page)
    YOLO("yolov8n-scsa.yaml").save(tmp_path / "best.pt")
    cv2.imwrite(str(tmp_path / "street.jpg"), np.full((64, 64, 3), 90, np.uint8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gates.py", "best.pt", "street.jpg"])
    capsys.readouterr()
    exec(textwrap.dedent(block), {})
    shares = re.findall(r"\|out\|/\|in\| (\d\.\d+)", capsys.readouterr().out)
    assert len(shares) == 10
    assert all(0 < float(share) < 0.5 for share in shares)
