"""An evaluation for people and programs: a table, JSON, CSV and bar charts."""

from __future__ import annotations

import csv
import json
import os
import textwrap
from collections.abc import Iterable
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

__all__ = ["format_report", "free_folder", "write_charts", "write_files"]

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


def format_report(result: Evaluation) -> str:
    """Return tables of at most 120 columns; scores in percent, ``-`` where there is none."""
    parts = [
        _head(result),
        _table("all pictures", result.of("all"), _columns(result.of("all")), counts=False),
    ]
    for rules in (COCO, VISDRONE):
        rows = [row for row in result.of("class") if row.rules == rules and row.boxes]
        if rows:
            parts.append(_table(f"by class, {_TITLES[rules]}", rows, _columns(rows)))
    for condition in result.conditions():
        rows = list(result.of(condition))
        parts.append(_table(f"by {condition}, {_TITLES[COCO]}", rows, _columns(rows)))
    if result.notes:
        parts.append("\n".join(_folded(f"Note: {note}.") for note in result.notes))
    return "\n\n".join(parts)


def write_files(result: Evaluation, folder: Path) -> list[Path]:
    """Write ``evaluation.json`` and ``evaluation.csv``; the folder is made.

    Raises:
        FileExistsError: One of them is there already.
        OSError: It cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "evaluation.json", folder / "evaluation.csv"]
    for file in files:
        if file.exists():
            raise FileExistsError(f"{file} is there already; choose another --out")
    files[0].write_text(
        json.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
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
            writer.writerow([*head, *scores, *fixed.values()])
    return files


def write_charts(result: Evaluation, folder: Path) -> list[Path]:
    """Draw AP and AP50 as bars, a picture for each condition and one for the classes.

    Raises:
        ImportError: matplotlib is missing.
    """
    rules = COCO if any(row.rules == COCO for row in result.rows) else VISDRONE
    files = []
    for group in [*result.conditions(), "class"]:
        rows = [row for row in result.of(group) if row.rules == rules and row.boxes]
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


def _head(result: Evaluation) -> str:
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
    return "\n".join(_folded(line) for line in lines)


def _folded(line: str) -> str:
    """Break a line at blanks so that it fits 120 columns."""
    return textwrap.fill(
        line, 120, subsequent_indent=" " * 8, break_long_words=False, drop_whitespace=True
    )


def _columns(rows: Iterable[Row]) -> list[str]:
    """Columns that at least one row fills."""
    listed = list(rows)
    return [
        name for name in _COLUMNS if any(getattr(row.scores, name) is not None for row in listed)
    ]


def _table(title: str, rows: Iterable[Row], columns: list[str], counts: bool = True) -> str:
    counted = ["images", "boxes", "classes"] if counts else []
    if title.startswith("by class"):
        counted.remove("classes")
    head = " " * _NAME + "".join(
        f"{name:>8}" for name in (*counted, *(_COLUMNS[name] for name in columns))
    )
    lines = [f"{title}{head[len(title) :]}"] if len(title) < _NAME else [title, head]
    lines.append("-" * len(head))
    for row in rows:
        name = row.value if counts else _TITLES[row.rules]
        numbers = "".join(f"{getattr(row, count):>8}" for count in counted)
        values = (getattr(row.scores, column) for column in columns)
        scores = "".join(f"{'-' if value is None else f'{100 * value:.2f}':>8}" for value in values)
        lines.append(f"{_short(name):<{_NAME}}{numbers}{scores}")
    return "\n".join(lines)


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
