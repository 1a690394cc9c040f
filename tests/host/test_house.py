"""The rules of the house: what runs inside ``import torch`` is standard library alone, and arrows run down only."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parents[2] / "scsa_yolo"
# What the entry point pulls in: any other import would cost time in every program that imports torch, or break it.
INSIDE_TORCH = ("autoload", "hooks", "names", "registration")
# A room imports rooms of a lower floor, and its own.
FLOORS = {
    "attention": 0,
    "blocks": 1,
    "host": 2,
    "graft": 3,
    "inject": 3,
    "datasets": 4,
    "evaluation": 5,
    "deploy": 5,
    "explain": 5,
    "study": 6,
    "cli": 7,
}
OUTSIDE_ATTENTION = {"ultralytics", "torchvision", "timm"}


def imports(node: ast.AST, *, inside_functions: bool) -> Iterator[str]:
    """Yield the dotted names that a module imports; those for type checkers only are left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        elif inside_functions or not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from imports(child, inside_functions=inside_functions)


def imported(file: Path, *, inside_functions: bool) -> list[str]:
    return list(imports(ast.parse(file.read_text(encoding="utf-8")), inside_functions=inside_functions))


@pytest.mark.parametrize("name", ["__init__", "host/__init__", *(f"host/{name}" for name in INSIDE_TORCH)])
def test_what_runs_inside_import_torch_is_standard_library(name: str) -> None:
    for module in imported(PACKAGE / f"{name}.py", inside_functions=False):
        top, *rest = module.split(".")
        allowed = rest[:1] == ["host"] and (
            rest[1] in INSIDE_TORCH or not (PACKAGE / "host" / f"{rest[1]}.py").exists()
        )
        assert top in sys.stdlib_module_names or (top == "scsa_yolo" and allowed), f"{name} imports {module}"


def rooms() -> list[Any]:
    files = sorted(PACKAGE.rglob("*.py"))
    named = [(file, file.relative_to(PACKAGE).with_suffix("").parts[0]) for file in files]
    return [pytest.param(file, room, id=str(file.relative_to(PACKAGE))) for file, room in named if room in FLOORS]


@pytest.mark.parametrize(("file", "room"), rooms())
def test_arrows_run_down_only(file: Path, room: str) -> None:
    for module in imported(file, inside_functions=True):
        parts = module.split(".")
        if parts[0] == "scsa_yolo" and len(parts) > 1:
            target = parts[1]
            lower = target in FLOORS and FLOORS[target] < FLOORS[room]
            public = target not in FLOORS and room not in {"attention", "blocks", "host"}
            assert target == room or lower or public, f"{room} imports {module}"
        if room == "attention":
            assert parts[0] not in OUTSIDE_ATTENTION, f"{file.name} imports {module}: attention is pure torch"
        if parts[0] == "ultralytics" and room == "blocks":
            assert module.startswith("ultralytics.nn.modules"), f"{file.name} imports {module}: the host's matter"


def test_every_room_is_on_a_floor() -> None:
    found = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert found <= FLOORS.keys(), "a new room: give it a floor in DESIGN.md and here"
