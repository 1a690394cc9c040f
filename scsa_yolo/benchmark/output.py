"""A bench for people and programs: a table, CSV, JSON, and a plot of latency against parameters."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from scsa_yolo.benchmark.bench import REFERENCE, Result, Row
from scsa_yolo.paired.turns import TOO_NOISY
from scsa_yolo.support.text import counted

_COLUMNS = (
    "model",
    "format",
    "median ms",
    "p95 ms",
    "img/s",
    "ratio",
    "95 % of it",
    "params M",
    "GFLOPs",
    "MB",
    "verdict",
)
_LEFT = {"model", "format", "verdict"}  # aligned to the left
_PACKAGES = (
    "scsa-yolo",
    "torch",
    "torchvision",
    "ultralytics",
    "onnxruntime",
    "openvino",
    "tensorrt",
)


def table(result: Result) -> str:
    """Return the table, what it was measured on, and what was left out and why."""
    cells = [_cells(row) for row in result.rows]
    widths = [max(len(line[i]) for line in [_COLUMNS, *cells]) for i in range(len(_COLUMNS))]
    lines = [_line(_COLUMNS, widths), "-" * (sum(widths) + 2 * (len(widths) - 1))]
    lines += [_line(line, widths) for line in cells]
    return "\n".join([*lines, "", *_conditions(result), *_noise(result), *_left_out(result)])


def _cells(row: Row) -> tuple[str, ...]:
    name = f"  {row.model} again" if row.control else row.model
    ratio = (
        ("1", "")
        if row.verdict == REFERENCE
        else (f"{row.ratio:.3f}", f"{row.low:.3f} to {row.high:.3f}")
    )
    times = (f"{row.median_ms:.2f}", f"{row.p95_ms:.2f}", f"{row.images_per_s:.1f}", *ratio)
    if row.control:
        return (name, row.format, *times, "", "", "", row.verdict)
    millions = "-" if row.parameters is None else f"{row.parameters / 1e6:.3f}"
    gflops = "-" if row.gflops is None else f"{row.gflops:.3f}"
    memory = "-" if row.memory_mb is None else f"{row.memory_mb:.0f}"
    return (name, row.format, *times, millions, gflops, memory, row.verdict)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell.ljust(width) if column in _LEFT else cell.rjust(width)
        for cell, width, column in zip(cells, widths, _COLUMNS)
    )
    return "  ".join(padded).rstrip()


def _cores(where: dict[str, Any]) -> str:
    return f"{counted(where['cores'], 'core')}, {counted(where['threads'], 'thread')}"


def _conditions(result: Result) -> list[str]:
    settings, where = result.settings, result.environment
    rounds = len(result.rows[0].times_ms)
    how = (
        f"{settings['imgsz']} px, batch {settings['batch']}, {settings['precision']}, {rounds}"
        " rounds"
    )
    flags = [name.replace("_", "-") for name in ("compile", "channels_last") if settings[name]]
    flags += [] if settings["fuse"] else ["not fused"]
    hardware = f"{where['gpu'] or where['processor']}, {_cores(where)}"
    versions = ", ".join(f"{name} {where[name]}" for name in _PACKAGES if name in where)
    lines = [f"{', '.join([how, *flags])}; on {where['device']}: {hardware}", versions]
    if where["load_before"] is not None:
        lines.append(
            f"load of the machine before {where['load_before']}, after {where['load_after']} (this"
            " run's included)"
        )
    return lines


def _noise(result: Result) -> list[str]:
    """Say how ratios are meant, and where the controls forbid them."""
    first = "the first model"
    if len({row.model for row in result.rows if row.verdict == REFERENCE}) > 1:
        first += " of each group"
    if len({row.format for row in result.rows}) > 1:
        first += (
            " in the same format"
            if result.settings["against"] == "format"
            else " in the first format"
        )
    lines = [
        f"Ratios are to {first}. What 'again' shows, the same against itself, is noise: not"
        " claimed."
    ]
    noisy = [row.name for row in result.rows if row.control and row.verdict == TOO_NOISY]
    if noisy:
        limit = f"{result.settings['noise_limit']:g}"
        lines.append(
            f"Too noisy to tell: {', '.join(noisy)} against itself reaches beyond 1 +- {limit}. "
            "Quiet the machine, or raise --rounds."
        )
    return lines


def _left_out(result: Result) -> list[str]:
    return [f"Left out: {name}: {reason}" for name, reason in result.left_out.items()]


def write_csv(result: Result, path: Path) -> None:
    """Write a line for each row, the settings and the machine in every line, without the single
    times.
    """
    own = [field.name for field in fields(Row) if field.name != "times_ms"]
    settings = {name: value for name, value in result.settings.items() if name != "formats"}
    common = {**settings, **result.environment}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*own, *common])
    for row in result.rows:
        values = [*(getattr(row, name) for name in own), *common.values()]
        writer.writerow("" if value is None else value for value in values)
    _at_once(path, lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8"))


def write_json(result: Result, path: Path, *, times: bool = True) -> None:
    """Write everything; ``times=False`` leaves out the single times."""
    content: dict[str, Any] = asdict(result)
    if not times:
        for row in content["rows"]:
            del row["times_ms"]
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    _at_once(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def check_plot(path: Path) -> None:
    """Refuse a plot that could not be drawn, before the work.

    Raises:
        ValueError: matplotlib is missing, or the name does not end in .png.
    """
    if path.suffix.lower() != ".png":
        raise ValueError(f"--plot takes a file that ends in .png, got '{path}'")
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("--plot needs matplotlib. Type: pip install 'scsa-yolo[evaluation]'")


def write_plot(result: Result, path: Path) -> None:
    """Draw latency against parameters: a point at the median with a whisker to the 95th percentile.

    Lines lead from each reference to the models that are measured against it.

    Raises:
        ValueError: No row has parameters (all are files that were given).
    """
    rows = [row for row in result.rows if row.parameters is not None and not row.control]
    if not rows:
        raise ValueError("no plot: the parameters of exported files are not known")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    _draw_points(axes, rows)
    settings, where = result.settings, result.environment
    machine = f"{where['gpu'] or where['processor']}, {counted(where['threads'], 'thread')}"
    axes.set_title(
        f"{settings['imgsz']} px, batch {settings['batch']}, {settings['precision']}; {machine}",
        size=10,
    )
    axes.set_xlabel("parameters, millions")
    axes.set_ylabel("latency of a batch, ms: median, whisker to the 95th percentile")
    axes.margins(x=0.2, y=0.2)
    axes.set_ylim(bottom=0)
    _label(axes, {row.model: _point(row) for row in sorted(rows, key=lambda row: row.median_ms)})
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    if any(row.verdict == TOO_NOISY for row in result.rows):
        axes.text(
            0.01,
            0.01,
            "the machine was too noisy to tell",
            transform=axes.transAxes,
            color="C3",
            fontsize=8,
        )
    _at_once(path, lambda temporary: figure.savefig(temporary, dpi=130, format="png"))


def _draw_points(axes: Any, rows: Sequence[Row]) -> None:
    """Draw lines from references, and a colour for each format."""
    points = {row.name: _point(row) for row in rows}
    for row in rows:
        if row.reference in points and row.reference != row.name:
            axes.plot(
                *zip(points[row.reference], points[row.name]), color="0.8", linewidth=1, zorder=1
            )
    formats = list(dict.fromkeys(row.format for row in rows))
    for number, format in enumerate(formats):
        of_it = [row for row in rows if row.format == format]
        x, y = zip(*(_point(row) for row in of_it))
        above = [max(0.0, row.p95_ms - row.median_ms) for row in of_it]
        whiskers = [[0.0] * len(of_it), above]
        axes.errorbar(
            x, y, yerr=whiskers, fmt="o", capsize=3, color=f"C{number}", label=format, zorder=2
        )


def _point(row: Row) -> tuple[float, float]:
    return (row.parameters or 0) / 1e6, row.median_ms


def _label(axes: Any, points: dict[str, tuple[float, float]]) -> None:
    """Write names beside points, those that would cover another one higher up."""
    height, letter = 0.045, 0.0135  # of a line and of a letter, as shares of the axes
    taken: list[tuple[float, float, float]] = []
    for name, point in points.items():
        x, y = axes.transAxes.inverted().transform(axes.transData.transform(point))
        left, low, right = x + 0.02, y + 0.01, x + 0.02 + letter * len(name)
        while any(
            left < end and start < right and abs(low - other) < height
            for start, end, other in taken
        ):
            low += height
        taken.append((left, right, low))
        axes.annotate(
            name,
            point,
            (left, low),
            textcoords="axes fraction",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.6},
        )


def _at_once(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside ``path`` and put it in its place when it is whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
