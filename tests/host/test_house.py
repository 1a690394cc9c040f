"""The rules of the house: what runs inside ``import torch`` is standard library alone, and arrows
run down only.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parents[2] / "scsa_yolo"
# What the entry point pulls in (its own file: test_entry_point.py): any other import would cost time in every program that imports
# torch, or break it.
INSIDE_TORCH = ("autoload", "hooks", "names", "registration")
# From the ground up. A room imports rooms of a lower floor, and its own; rooms on one floor don't
# know each other.
FLOORS = (
    ("support", "paired"),
    ("__pyinstaller",),
    ("attention",),
    ("blocks",),
    ("host",),
    ("adoption", "grafting", "injection", "complexity", "conformance"),
    ("modelfiles", "testing"),
    ("datasets.layout",),
    ("datasets.native", "datasets.demo"),
    ("datasets.convert",),
    ("datasets.show",),
    ("datasets.check",),
    ("datasets",),
    ("evaluation", "deploy"),
    ("benchmark",),
    ("explanation",),
    ("slimming",),
    ("study.records",),
    ("study.planning",),
    ("study.running", "study.reporting"),
    ("study",),
    ("commands",),
    ("cli",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
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
        elif inside_functions or not isinstance(
            child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
        ):
            yield from imports(child, inside_functions=inside_functions)


def imported(file: Path, *, inside_functions: bool) -> list[str]:
    return list(
        imports(ast.parse(file.read_text(encoding="utf-8")), inside_functions=inside_functions)
    )


@pytest.mark.parametrize(
    "name", ["__init__", "host/__init__", *(f"host/{name}" for name in INSIDE_TORCH)]
)
def test_what_runs_inside_import_torch_is_standard_library(name: str) -> None:
    for module in imported(PACKAGE / f"{name}.py", inside_functions=False):
        top, *rest = module.split(".")
        allowed = rest[:1] == ["host"] and (
            rest[1] in INSIDE_TORCH or not (PACKAGE / "host" / f"{rest[1]}.py").exists()
        )
        assert top in sys.stdlib_module_names or (top == "scsa_yolo" and allowed), (
            f"{name} imports {module}"
        )


def room_of(dotted: str) -> str | None:
    """Return the room of a module inside the package, the smallest that has a floor; None for the
    package itself.
    """
    parts = dotted.split(".")
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((name for name in names if name in FLOOR), None)


def files() -> list[Any]:
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        dotted = ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        found.append(pytest.param(file, room_of(dotted), id=dotted))
    return found


@pytest.mark.parametrize(("file", "room"), files())
def test_arrows_run_down_only(file: Path, room: str | None) -> None:
    for module in imported(file, inside_functions=True):
        if module.startswith("scsa_yolo."):
            target = room_of(module.removeprefix("scsa_yolo."))
            allowed = room is None or target in {room, None} or FLOOR[target] < FLOOR[room]
            assert allowed, f"{room} imports {module}"
            outside = target is None and room in {"attention", "blocks"}
            assert not outside, f"{file.name} imports {module}"
        top = module.split(".")[0]
        if room == "attention":
            assert top not in OUTSIDE_ATTENTION, (
                f"{file.name} imports {module}: attention is pure torch"
            )
        if top == "ultralytics" and room == "blocks":
            assert module.startswith("ultralytics.nn.modules"), (
                f"{file.name} imports {module}: the host's matter"
            )


def test_every_room_is_on_a_floor() -> None:
    packages = sorted(file.parent.relative_to(PACKAGE) for file in PACKAGE.rglob("__init__.py"))
    dotted = [".".join(package.parts) for package in packages if package.parts]
    lost = [name for name in dotted if room_of(name) is None]
    assert not lost, f"new rooms: give them a floor here: {lost}"
