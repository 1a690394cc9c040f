"""Scripts in benchmarks/ and tools/ explain themselves, and write only when they are asked to."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(
    file for room in ("benchmarks", "tools") for file in (REPOSITORY / room).glob("*.py")
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_help_runs_nothing(
    script: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("timm", "torchvision"):
        if f"import {name}" in script.read_text(encoding="utf-8"):
            pytest.importorskip(name)
    spec = importlib.util.spec_from_file_location(f"script_{script.stem}", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    monkeypatch.syspath_prepend(str(script.parent))
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", [script.name, "--help"])
    with pytest.raises(SystemExit) as stop:
        module.main()
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "usage: " in out
    source = script.read_text(encoding="utf-8")
    writes = "write_text(" in source and "tempfile" not in source  # a folder of its own is nobody's
    asked = any(option in out for option in ("--write", "--json", "--output", "-o "))
    assert asked or not writes
