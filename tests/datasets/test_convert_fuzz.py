"""A short form of tools/fuzz_annotations.py: damaged annotations, closing balances."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def fuzzer() -> ModuleType:
    path = Path(__file__).parents[2] / "tools" / "fuzz_annotations.py"
    spec = importlib.util.spec_from_file_location("fuzz_annotations", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["visdrone", "exdark", "flir", "voc", "coco"])
def test_damaged_annotations(fuzzer: ModuleType, name: str) -> None:
    assert fuzzer.fuzz((name,), runs=12, seed=1) == []


@pytest.mark.parametrize("name", ["visdrone", "exdark", "flir", "voc", "coco"])
def test_the_fuzzer_notices_boxes_of_other_pictures(
    fuzzer: ModuleType, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the annotations of two pictures exchanged, it must not be satisfied."""

    def exchange(data: bytes, _rng: random.Random) -> bytes:
        for old, new in ((b"amber", b"#"), (b"birch", b"amber"), (b"#", b"birch")):
            data = data.replace(old, new)
        return data

    make, by_name = fuzzer.MAKERS[name], name in ("visdrone", "exdark", "voc")

    def exchanged(root: Path) -> list[Path]:
        files = make(root)
        if by_name:
            a, b = (next(f for f in files if word in f.name) for word in ("amber", "birch"))
            first, second = a.read_bytes(), b.read_bytes()
            a.write_bytes(second.replace(b"<filename>birch.png</filename>", b""))
            b.write_bytes(first.replace(b"<filename>amber.png</filename>", b""))
        return files

    monkeypatch.setitem(fuzzer.MAKERS, name, exchanged)
    monkeypatch.setattr(fuzzer, "damage", _same if by_name else exchange)
    found = [fuzzer.convert_once(name, tmp_path / str(n), random.Random(n)) for n in range(12)]
    assert any("has the box of picture" in fault for fault in found)


def _same(data: bytes, _rng: random.Random) -> bytes:
    return data
