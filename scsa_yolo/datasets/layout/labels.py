"""Label files in Ultralytics' format, read by Ultralytics' rules, with the line of every row that
breaks one.
"""

from __future__ import annotations

import math
import os
from array import array
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Labels", "RowProblem", "read_labels"]

Array = NDArray[Any]
# Outside 0 to 1 by a hundredth is what Ultralytics lets pass.
_MOST, _LEAST = np.float32(1.01), np.float32(-0.01)


class RowProblem(NamedTuple):
    """A row that makes Ultralytics leave out the whole picture. `line` counts from 1; 0 is the file
    as a whole.
    """

    line: int
    code: str
    text: str


class Labels(NamedTuple):
    """The good rows of a label file, in order, and what is wrong with the others.

    Attributes:
        classes: (N,) class numbers.
        xywh: (N, 4) box centre and sides as shares of the picture.
        lines: (N,) line of each row, from 1.
        repeats: (N,) whether a row is there before, to the precision of Ultralytics' float32.
        problems: Rows that are left out here.
        polygons: Whether the rows are outlines; `xywh` then hugs them.
    """

    classes: Array
    xywh: Array
    lines: Array
    repeats: Array
    problems: tuple[RowProblem, ...] = ()
    polygons: bool = False

    def unique(self) -> Array:
        """Return (M,) positions of the rows without exact repeats, in order: Ultralytics removes
        repeats too.
        """
        return np.flatnonzero(~self.repeats)

    def xyxy(self, width: int, height: int) -> Array:
        """Return (N, 4) corners in pixels of a picture of this size."""
        centre, half = self.xywh[:, :2], self.xywh[:, 2:] / 2
        return np.concatenate([centre - half, centre + half], axis=1) * (
            width,
            height,
            width,
            height,
        )


_NOTHING = Labels(np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, bool))


def read_labels(path: Path, classes: int) -> Labels:
    """Read a label file: rows of ``class x y w h``, or of ``class x1 y1 x2 y2 ...``, as shares of
    the picture.

    Args:
        path: The label file. One that does not exist has no rows, as for Ultralytics.
        classes: Number of classes; a row's class must be below it.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(
            path
        ):  # a pipe would make the reader wait for ever
            return _unreadable("not a regular file; Ultralytics takes its picture for background")
        if not os.path.exists(path):
            return _NOTHING
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return _NOTHING
    except UnicodeDecodeError:
        return _unreadable("not a text file")
    except OSError as error:
        return _unreadable(error.strerror or str(error))
    rows = [
        (number, fields)
        for number, line in enumerate(text.splitlines(), 1)
        if (fields := line.split())
    ]
    polygons = any(len(fields) > 6 for _, fields in rows)
    values, lines, seen, repeats, problems = [], [], set(), [], []
    for number, fields in rows:
        row = _row(fields, polygons)
        if isinstance(row, str):
            problems.append(RowProblem(number, "label-row", row))
        else:
            values.append(row)
            lines.append(number)
            key = (
                array("f", map(float, fields)).tobytes() if polygons else array("f", row).tobytes()
            )
            repeats.append(key in seen)
            seen.add(key)
    table = np.array(values, dtype=np.float64).reshape(-1, 5)
    with np.errstate(over="ignore"):
        single = table.astype(np.float32)  # as Ultralytics tests the numbers
    suspects = [
        (i, _broken(single[i], lines[i], classes))
        for i in np.flatnonzero(_suspicious(single, classes))
    ]
    bad = {i: problem for i, problem in suspects if problem}
    keep = np.array([i not in bad for i in range(len(table))], dtype=bool)
    found = tuple(sorted([*problems, *bad.values()]))
    return Labels(
        single[keep, 0].astype(np.int64),
        table[keep, 1:],
        np.array(lines, np.int64)[keep],
        np.array(repeats, bool)[keep],
        found,
        polygons,
    )


def _unreadable(reason: str) -> Labels:
    return _NOTHING._replace(problems=(RowProblem(0, "label-unreadable", reason),))


def _row(fields: list[str], polygons: bool) -> list[float] | str:
    """Five numbers, or what is wrong with the row."""
    if polygons and len(fields) == 5:
        return "a box among outlines; Ultralytics wants one kind in a file"
    if polygons and (len(fields) % 2 == 0 or len(fields) < 3):
        return f"an outline needs a class and pairs of numbers, here are {len(fields)} fields"
    if not polygons and len(fields) != 5:
        return f"5 fields needed, here are {len(fields)}"
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        wrong = next(field for field in fields if not _is_number(field))
        return f"{wrong[:40]!r} is not a number"
    if not polygons:
        return numbers
    if not all(map(math.isfinite, numbers)):  # min and max may hide it
        return "a number is not finite"
    x, y = numbers[1::2], numbers[2::2]
    return [
        numbers[0],
        (min(x) + max(x)) / 2,
        (min(y) + max(y)) / 2,
        max(x) - min(x),
        max(y) - min(y),
    ]


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _suspicious(table: Array, classes: int) -> Array:
    """(N,) whether a row may break a rule: one pass over all, as nearly all are good."""
    number, box = table[:, 0], table[:, 1:]
    good = (number >= 0) & (number < classes) & (np.floor(number) == number)
    return ~(good & (box >= 0).all(1) & (box <= 1).all(1))


def _broken(row: Array, line: int, classes: int) -> RowProblem | None:
    """Apply Ultralytics' tests of one row of five numbers."""
    number, box = row[0], row[1:]
    if not np.isfinite(row).all():
        return RowProblem(line, "label-row", "a number is not finite")
    if number % 1:
        return RowProblem(line, "class-range", f"class {number:g} is not a whole number")
    if not 0 <= number < classes:
        return RowProblem(
            line, "class-range", f"class {number:.0f}, but the data has 0 to {classes - 1}"
        )
    if box.max() > _MOST or box.min() < _LEAST or box[2:].min() < 0:
        hint = "; are these pixels?" if box.max() > 2 else ""
        return RowProblem(
            line, "coordinate-range", f"{' '.join(f'{v:g}' for v in box)} is outside 0 to 1{hint}"
        )
    return None
