"""How the package reads, in numbers: lengths of files and functions, and how much a line holds.

    python tools/density.py [FOLDER] [--check]

Expressions and statements (``ast.expr``, ``ast.stmt``) are counted per code line; docstrings,
comments and blank lines are left out. A simple statement is one without a body of its own. With
``--check`` the exit status is 1 when a bound below is passed.
"""

from __future__ import annotations

import argparse
import ast
import io
import statistics
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "scsa_yolo"
# What this package must not pass, by the name of the measure.
BOUNDS = {
    "lines over 100 characters": 0,
    "longest file": 420,
    "longest function": 45,
}
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.ENCODING,
}
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass
class Counts:
    """What is counted over all files."""

    files: list[int] = field(default_factory=list)  # lines
    functions: list[int] = field(default_factory=list)  # lines without the docstring
    simple: list[int] = field(default_factory=list)  # expressions of a simple statement
    code_lines: int = 0
    nodes: int = 0
    comprehensions: int = 0
    long_lines: int = 0
    longest: dict[str, tuple[int, str]] = field(default_factory=dict)

    def note(self, what: str, size: int, where: str) -> None:
        """Remember the largest of its kind and where it is."""
        if size > self.longest.get(what, (0, ""))[0]:
            self.longest[what] = (size, where)


def docstrings(tree: ast.AST) -> Iterator[ast.Expr]:
    """Yield the statements that are docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)) and ast.get_docstring(node):
            first = node.body[0]
            assert isinstance(first, ast.Expr)
            yield first


def lines_of_code(source: str, texts: list[ast.Expr]) -> int:
    """Count the lines that hold code."""
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            held.update(range(token.start[0], token.end[0] + 1))
    for text in texts:
        held.difference_update(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return len(held)


def count(file: Path, counts: Counts) -> None:
    """Add one file."""
    source = file.read_text(encoding="utf-8")
    tree = ast.parse(source)
    texts = list(docstrings(tree))
    inside = {id(node) for text in texts for node in ast.walk(text)}
    lines = source.splitlines()
    counts.files.append(len(lines))
    counts.note("longest file", len(lines), str(file))
    counts.code_lines += lines_of_code(source, texts)
    counts.long_lines += sum(len(line) > 100 for line in lines)
    for node in ast.walk(tree):
        if id(node) in inside or not isinstance(node, (ast.expr, ast.stmt)):
            continue
        counts.nodes += 1
        counts.comprehensions += isinstance(node, COMPREHENSIONS)
        if isinstance(node, ast.stmt) and not hasattr(node, "body"):
            counts.simple.append(expressions(node))
        if isinstance(node, FUNCTIONS):
            size = length(node)
            counts.functions.append(size)
            counts.note("longest function", size, f"{file}:{node.lineno} {node.name}")


def expressions(statement: ast.stmt) -> int:
    """Count the expressions of a simple statement."""
    return sum(isinstance(node, ast.expr) for node in ast.walk(statement))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines, without its docstring."""
    whole = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function):
        text = function.body[0]
        whole -= (text.end_lineno or text.lineno) - text.lineno + 1
    return whole


def percentile(values: list[int], share: float) -> float:
    """Return a percentile; nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def report(counts: Counts) -> dict[str, float]:
    """Return the measures by name."""
    return {
        "files": len(counts.files),
        "lines": sum(counts.files),
        "median file": statistics.median(counts.files),
        "longest file": max(counts.files),
        "median function": statistics.median(counts.functions),
        "longest function": max(counts.functions),
        "expressions and statements a code line": round(counts.nodes / counts.code_lines, 2),
        "expressions in a simple statement, p90": percentile(counts.simple, 0.9),
        "lines over 100 characters": counts.long_lines,
        "comprehensions per 100 code lines": round(
            100 * counts.comprehensions / counts.code_lines, 2
        ),
    }


def main() -> int:
    """Print the measures; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=PACKAGE)
    parser.add_argument("--check", action="store_true", help="fail when a bound is passed")
    args = parser.parse_args()
    counts = Counts()
    for file in sorted(args.folder.rglob("*.py")):
        count(file, counts)
    measures = report(counts)
    for name, value in measures.items():
        place = counts.longest.get(name, (0, ""))[1]
        print(f"{name:<42}{value:>10}  {place}".rstrip())
    passed = [name for name, bound in BOUNDS.items() if measures[name] > bound]
    for name in passed:
        print(f"over its bound of {BOUNDS[name]}: {name}", file=sys.stderr)
    return int(args.check and bool(passed))


if __name__ == "__main__":
    sys.exit(main())
