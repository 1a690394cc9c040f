"""An evaluation for people and programs: a table, JSON, CSV and bar charts."""

from __future__ import annotations

import csv
import os
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scsa_yolo.evaluation.result import (
    COCO,
    COCO_NOTHING_IGNORED,
    ULTRALYTICS,
    ULTRALYTICS_AGAIN,
    VISDRONE,
    VISDRONE_PLAIN,
    Evaluation,
    Row,
)
from scsa_yolo.support.files import write_json
from scsa_yolo.support.text import csv_cell

__all__ = ["format_report", "free_folder", "refuse_file", "write_charts", "write_files"]

_TITLES = {
    COCO: "COCO's rules",
    COCO_NOTHING_IGNORED: "  nothing ignored",
    VISDRONE: "VisDrone's rules",
    VISDRONE_PLAIN: "  plain mean of classes",
    ULTRALYTICS: "Ultralytics' own",
    ULTRALYTICS_AGAIN: "  recomputed here",
}
_COLUMNS = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "AP_S",
    "ap_medium": "AP_M",
    "ap_large": "AP_L",
    "ar_1": "AR_1",
    "ar_10": "AR_10",
    "ar_100": "AR_100",
    "ar_500": "AR_500",
}
_NAME = 24  # columns of the first field
_CELL = 8
_WIDEST = 120  # columns of the screen; the width where there is no terminal
_LEAST = 72


def format_report(result: Evaluation, width: int | None = None) -> str:
    """Return tables; scores in percent, ``-`` where there is none.

    Args:
        result: What was found.
        width: Columns. None: those of the terminal, at most 120, and 120 where there is none.
            Columns of scores that don't fit are left out from the right, and a line says which.
    """
    if width is None:
        width = shutil.get_terminal_size((_WIDEST, 24)).columns
    width = max(_LEAST, min(width, _WIDEST))
    parts = [_head(result, width)]
    parts.append(_table("all pictures", list(result.of("all")), width, counts=False))
    for rules in (COCO, VISDRONE):
        rows = [row for row in result.of("class", rules) if row.boxes]
        if rows:
            parts.append(_table(f"by class, {_TITLES[rules]}", rows, width))
    for condition in result.conditions():
        rows = list(result.of(condition))
        parts.append(_table(f"by {condition}, {_TITLES[result.main_rules]}", rows, width))
    if result.notes:
        parts.append("\n".join(_folded(f"Note: {note}.", width) for note in result.notes))
    return "\n\n".join(parts)


def write_files(result: Evaluation, folder: Path, *, force: bool = False) -> list[Path]:
    """Write ``evaluation.json`` and ``evaluation.csv``; the folder is made.

    Raises:
        FileExistsError: One of them is there already, and `force` is false.
        OSError: It cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "evaluation.json", folder / "evaluation.csv"]
    for file in files:
        refuse_file(file, force=force)
    write_json(files[0], result.to_dict(), indent=2)
    with files[1].open("w", newline="", encoding="utf-8") as table:
        fixed = _fixed_columns(result)
        writer = csv.writer(table)
        writer.writerow(
            ["rules", "group", "value", "images", "boxes", "classes", *_COLUMNS, *fixed]
        )
        for row in result.rows:
            values = (getattr(row.scores, name) for name in _COLUMNS)
            scores = ["" if value is None else f"{value:.6f}" for value in values]
            head = [row.rules, row.group, row.value, row.images, row.boxes, row.classes]
            line = [*head, *scores, *fixed.values()]
            writer.writerow([csv_cell(value) for value in line])
    return files


def refuse_file(file: Path, *, force: bool) -> None:
    """Refuse to write over a file.

    Raises:
        FileExistsError: It is there, and `force` is false.
    """
    if file.exists() and not force:
        raise FileExistsError(f"{file} is there already; choose another -o, or add --force")


def write_charts(result: Evaluation, folder: Path) -> list[Path]:
    """Draw AP and AP50 as bars, a picture for each condition and one for the classes.

    Raises:
        ImportError: matplotlib is missing.
    """
    rules = result.main_rules
    files = []
    for group in [*result.conditions(), "class"]:
        rows = [row for row in result.of(group) if row.boxes]
        if rows:
            title = (
                f"{result.model['name']} on {result.data['name']} {result.data['split']}, by"
                f" {group}"
            )
            files.append(folder / f"by_{''.join(c if c.isalnum() else '_' for c in group)}.png")
            _bars(rows, title, f"average precision, %, by {_TITLES[rules]}").savefig(
                files[-1], dpi=130
            )
    return files


def _bars(rows: list[Row], title: str, label: str) -> Any:
    """Return a matplotlib figure with two bars a row."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('charts need matplotlib: pip install "scsa-yolo[evaluation]"') from error
    figure = Figure(figsize=(8, 1.6 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    highest = 0.0
    for shift, name, colour in ((-0.2, "ap50", "#9ecae1"), (0.2, "ap", "#08519c")):
        values = [100 * (getattr(row.scores, name) or 0) for row in rows]
        bars = axes.barh(
            [i + shift for i in range(len(rows))], values, 0.38, color=colour, label=_COLUMNS[name]
        )
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
        highest = max(highest, *values)
    names = [f"{row.value}\n{row.images} img, {row.boxes} boxes" for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, max(5.0, min(108.0, 1.2 * highest)))
    axes.set_xlabel(label)
    axes.set_title(title, size=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower right", ncols=2, frameon=False, fontsize=8)
    return figure


def _head(result: Evaluation, width: int) -> str:
    data, settings = result.data, result.settings
    model = f"model   {result.model['name']}"
    if result.model["sha256"]:
        model += f"  sha256 {result.model['sha256'][:12]}"
    sources = ", ".join(data["sources"])
    lines = [
        model,
        (
            f"data    {data['name']}  split {data['split']} ({sources})  fingerprint"
            f" {data['fingerprint'][:12]}"
        ),
        (
            f"        {data['images']} pictures, {data['boxes']} boxes of {len(data['classes'])}"
            " classes"
        ),
    ]
    if data["absent_classes"]:
        lines.append(
            f"        classes without a box here, in no mean: {', '.join(data['absent_classes'])}"
        )
    if data["ignored"]:
        ignored = ", ".join(f"{count} {reason}" for reason, count in data["ignored"].items())
        lines.append(f"        boxes and regions to ignore: {ignored}")
    lines.append("run     " + "  ".join(f"{name} {value}" for name, value in settings.items()))
    lines.append(
        "with    " + "  ".join(f"{name} {value}" for name, value in result.versions.items())
    )
    return "\n".join(_folded(line, width) for line in lines)


def _folded(line: str, width: int) -> str:
    """Break a line at blanks so that it fits so many columns."""
    return textwrap.fill(
        line, width, subsequent_indent=" " * 8, break_long_words=False, drop_whitespace=True
    )


def _columns(rows: Sequence[Row]) -> list[str]:
    """Columns that at least one row fills."""
    return [name for name in _COLUMNS if any(getattr(row.scores, name) is not None for row in rows)]


def _table(title: str, rows: Sequence[Row], width: int, counts: bool = True) -> str:
    counted = ["images", "boxes", "classes"] if counts else []
    if title.startswith("by class"):
        counted.remove("classes")
    columns = _columns(rows)
    fit = (width - _NAME) // _CELL - len(counted)
    columns, left_out = columns[:fit], columns[fit:]
    heads = (*counted, *(_COLUMNS[name] for name in columns))
    head = " " * _NAME + "".join(f"{name:>{_CELL}}" for name in heads)
    lines = [f"{title}{head[len(title) :]}"] if len(title) < _NAME else [title, head]
    lines.append("-" * len(head))
    for row in rows:
        name = row.value if counts else _TITLES[row.rules]
        numbers = "".join(f"{getattr(row, count):>{_CELL}}" for count in counted)
        scores = "".join(_score(getattr(row.scores, column)) for column in columns)
        lines.append(f"{_short(name):<{_NAME}}{numbers}{scores}")
    if left_out:
        names = ", ".join(_COLUMNS[name] for name in left_out)
        lines.append(_folded(f"(no room for {names}: see evaluation.csv)", width))
    return "\n".join(lines)


def _score(value: float | None) -> str:
    return f"{'-' if value is None else f'{100 * value:.2f}':>{_CELL}}"


def _short(name: str) -> str:
    return name if len(name) < _NAME else f"{name[: _NAME - 4]}..."


def _fixed_columns(result: Evaluation) -> dict[str, str]:
    """What every line of the CSV repeats, so that lines of several files can be put together."""
    return {
        "model": result.model["name"],
        "model_sha256": result.model["sha256"] or "",
        "data": result.data["name"],
        "split": result.data["split"],
        "data_fingerprint": result.data["fingerprint"],
        "settings": " ".join(f"{name}={value}" for name, value in result.settings.items()),
        "versions": " ".join(f"{name}={value}" for name, value in result.versions.items()),
    }


def free_folder(wanted: Path) -> Path:
    """Return `wanted`, or with -2, -3 ... the first of that name that is not there."""
    folder, number = wanted, 1
    while os.path.lexists(folder):
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder
