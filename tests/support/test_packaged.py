"""Pages and files that the package ships, in a checkout, in a wheel, and in an archive."""

from __future__ import annotations

import ast
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from scsa_yolo.support import packaged

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "scsa_yolo").rglob("*.py"))


def test_a_page_is_a_file_on_this_machine() -> None:
    assert Path(packaged.page("troubleshooting")).is_file()
    assert packaged.page("inject", "Where the slot is").endswith('inject.md, "Where the slot is"')


def test_every_page_that_a_message_names_exists() -> None:
    named = set()
    for source in SOURCES:
        text = source.read_text(encoding="utf-8")
        named |= set(re.findall(r"\bpage\([\"']([\w-]+)[\"']", text))
    assert named >= {"troubleshooting", "inject"}
    for name in named:
        assert Path(packaged.page(name)).is_file(), name


def test_no_message_names_a_page_that_a_wheel_lacks() -> None:
    """Docstrings speak to readers of the checkout; other texts may reach whoever has a wheel."""
    for source in SOURCES:
        tree = ast.parse(source.read_text(encoding="utf-8"))
        texts = [n for n in ast.walk(tree) if isinstance(n, ast.Constant)]
        docstrings = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        for node in texts:
            if isinstance(node.value, str) and id(node) not in docstrings:
                assert not re.search(r"\bdocs/\w+\.md", node.value), f"{source.name}: {node.value}"


def test_the_wheel_has_all_folders() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    included = text.split("[tool.hatch.build.targets.wheel.force-include]")[1].split("[tool", 1)[0]
    for name in ("models", "data", "plans", "docs"):
        assert f'"{name}" = "scsa_yolo/{name}"' in included
        assert packaged.packaged_folder(name) == ROOT / name


def test_folders_inside_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "scsa_yolo" / "models"
    inside.mkdir(parents=True)
    (tmp_path / "models").mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(packaged, "_PACKAGE", tmp_path / "scsa_yolo")
    assert packaged.packaged_folder("models") == inside
    inside.rmdir()
    assert packaged.packaged_folder("models") == tmp_path / "models"


def test_a_folder_in_an_archive_is_copied_once_and_removed(tmp_path: Path, yolo_home: Any) -> None:
    archive = tmp_path / "app.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in [ROOT / "scsa_yolo" / "__init__.py", *ROOT.glob("scsa_yolo/host/*.py")]:
            file.write(path, path.relative_to(ROOT))
        for path in ROOT.glob("scsa_yolo/support/*.py"):
            file.write(path, path.relative_to(ROOT))
        file.writestr("scsa_yolo/plans/deep/er/demo.yaml", "seeds: [1]\n")
    code = """
import os
from scsa_yolo.support.packaged import packaged_folder
folder = packaged_folder("plans")
assert packaged_folder("plans") == folder
assert (folder / "deep" / "er" / "demo.yaml").read_text() == "seeds: [1]\\n"
child = os.fork() if hasattr(os, "fork") else 1
if child == 0:
    raise SystemExit  # a child that ends must not take the folder away
if hasattr(os, "fork"):
    os.waitpid(child, 0)
assert (folder / "deep").is_dir()
print("folder", folder)
"""
    done = yolo_home.run(sys.executable, "-S", "-c", code, PYTHONPATH=str(archive))
    folder = Path(done.lines("folder")[0].split(" ", 1)[1])
    assert not folder.parent.exists()


@pytest.mark.parametrize("name", ["models", "docs"])
def test_a_package_without_the_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel that lost it: the path that was wanted, for the message of whoever opens it."""
    (tmp_path / "scsa_yolo").mkdir()
    monkeypatch.setattr(packaged, "_PACKAGE", tmp_path / "scsa_yolo")
    assert packaged.packaged_folder(name) == tmp_path / "scsa_yolo" / name
