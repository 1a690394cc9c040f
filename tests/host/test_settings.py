"""Ultralytics' settings are the user's: no command of ours spoils them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ALL = """
import contextlib, io, sys
from scsa_yolo import cli
data = sys.argv[1]
commands = [["--version"], *([name, "--help"] for name in cli.COMMANDS)]
commands += [["models", "yolov8n-scsa"], ["graft", "yolov8n.yaml", "ECA", "-o", "mine.yaml"]]
commands += [["data", "check", data], ["study", "init", "plan.yaml"]]
commands += [["evaluate", "nowhere.pt", data], ["bench", "nowhere.pt"], ["export", "nowhere.pt"]]
for command in commands:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = cli.main(command)
    print("exit", code, *command)
"""


def settings_in(folder: Path) -> Path | None:
    found = [path for path in folder.rglob("settings.json") if path.is_file()]
    assert len(found) <= 1
    return found[0] if found else None


def test_the_doctor_writes_no_settings_and_changes_none(yolo_home: Any) -> None:
    doctor = "import sys; from scsa_yolo.cli import main; main(['doctor'])"
    config = yolo_home.folder / ".settings"
    assert "Python" in yolo_home.python(doctor).text
    assert settings_in(config) is None
    yolo_home.python("import ultralytics.utils")
    made = settings_in(config)
    assert made is not None
    before = made.read_bytes()
    yolo_home.python(doctor)
    assert made.read_bytes() == before


def test_no_command_names_a_folder_that_goes(yolo_home: Any, tiny_data: Path) -> None:
    """A fresh user's first command is ours: Ultralytics makes settings as after its own."""
    first = yolo_home.python(ALL, tiny_data)
    assert len(first.lines("exit 0")) >= 11, first.text
    made = settings_in(yolo_home.folder / ".settings")
    assert made is not None
    before = made.read_bytes()
    for name in ("datasets_dir", "weights_dir", "runs_dir"):
        place = Path(json.loads(before)[name])
        assert yolo_home.folder in place.parents or place.parent.exists(), place
    elsewhere = yolo_home.folder / "elsewhere"
    elsewhere.mkdir()
    command = ("env", "-C", elsewhere, sys.executable, "-c", ALL, tiny_data)
    assert len(yolo_home.run(*command).lines("exit 0")) >= 11
    assert made.read_bytes() == before
