"""The short form of `tools/fuzz_plans.py`: a damaged plan is taken, or refused with its name."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "fuzz_plans.py"


@pytest.fixture(scope="module")
def fuzzer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_plans", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_plans(fuzzer: ModuleType, tmp_path: Path, seed: int) -> None:
    ends, faults = fuzzer.fuzz(150, 60, seed, tmp_path)
    assert faults == []
    assert ends["refused"] > 50
    assert ends["taken"] > 3


def test_a_fault_is_seen(
    fuzzer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> None:
        raise ValueError("no file's name")

    monkeypatch.setattr(fuzzer, "load", broken)
    ends, faults = fuzzer.fuzz(2, 60, 0, tmp_path)
    assert ends["traceback"] == len(faults) == 2
    assert len(list(tmp_path.glob("fault-*.yaml"))) == 2
