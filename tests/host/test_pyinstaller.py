"""The hooks for PyInstaller: what they name exists, and PyInstaller finds them."""

from __future__ import annotations

import importlib.util
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scsa_yolo import __pyinstaller as hooks
from scsa_yolo.host.registration import _TARGETS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hook(needs: Callable[..., None]) -> Callable[[str], dict[str, Any]]:
    """Run a hook as PyInstaller does, and return the names that it sets."""
    needs("PyInstaller")

    def run(module: str) -> dict[str, Any]:
        (folder,) = hooks.hook_folders()
        return runpy.run_path(str(Path(folder) / f"hook-{module}.py"))

    return run


def test_the_distribution_names_the_folder() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    group = text.split("[project.entry-points.pyinstaller40]")[1].split("[", 1)[0]
    assert re.search(r'^hook-dirs = "scsa_yolo\.__pyinstaller:hook_folders"$', group, re.MULTILINE)


def test_a_program_with_ultralytics_gets_us(hook: Any) -> None:
    assert {"_scsa_yolo_autoload", "scsa_yolo"} <= set(
        hook("ultralytics.nn.tasks")["hiddenimports"]
    )
    assert importlib.util.find_spec("ultralytics.nn.tasks") is not None


def test_hidden_imports_exist_and_hold_what_is_imported_by_name(hook: Any) -> None:
    named = hook("scsa_yolo")["hiddenimports"]
    missing = [name for name in named if importlib.util.find_spec(name) is None]
    assert not missing
    assert not [name for name in named if "study" in name or "datasets" in name]
    source = (ROOT / "scsa_yolo/host/registration.py").read_text(encoding="utf-8")
    lazily = set(re.findall(r'_lazily\("([\w.]+)"', source))
    assert len(lazily) >= len(_TARGETS)
    assert lazily <= set(named)
    assert {"_scsa_yolo_autoload", "scsa_yolo.attention.scsa", "scsa_yolo.blocks.stock"} <= set(
        named
    )


def test_yamls_and_the_entry_point_come_along(hook: Any) -> None:
    datas = {target: Path(source) for source, target in hook("scsa_yolo")["datas"]}
    assert len(list(datas["scsa_yolo/models"].rglob("yolov8-scsa.yaml"))) == 1
    assert (datas["scsa_yolo/data"] / "scsa-demo.yaml").is_file()
    (record,) = [source for target, source in datas.items() if target.endswith(".dist-info")]
    entries = (record / "entry_points.txt").read_text(encoding="utf-8")
    assert "[torch.backends]" in entries
