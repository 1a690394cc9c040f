"""A bench for people and programs: a table, CSV, JSON, and a plot of latency against parameters."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from scsa_yolo.benchmark.measuring import REFERENCE, Result, Row
from scsa_yolo.paired.turns import TOO_NOISY
from scsa_yolo.support.files import replacing, write_text
from scsa_yolo.support.files import write_json as write_json_file
from scsa_yolo.support.naming import distinct, model_name
from scsa_yolo.support.text import counted, csv_cell

WIDTH = 100  # letters of a line of the table
LONGEST, LEAST = 30, 12  # letters of a model's name: in plots, and in a table without room

_COLUMNS = (
    "model",
    "format",
    "ms",
    "p95",
    "img/s",
    "ratio",
    "95 % of it",
    "M par.",
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
    taken = [[len(cell) for cell in _cells(row, "")[1:]] for row in result.rows]
    rest = sum(max(column) for column in zip(map(len, _COLUMNS[1:]), *taken))
    room = WIDTH - rest - 2 * (len(_COLUMNS) - 1)
    shown = short_names(result, max(room, LEAST))
    cells = [_cells(row, shown[row.model]) for row in result.rows]
    widths = [max(len(line[i]) for line in [_COLUMNS, *cells]) for i in range(len(_COLUMNS))]
    lines = [_line(_COLUMNS, widths), "-" * (sum(widths) + 2 * (len(widths) - 1))]
    lines += [_line(line, widths) for line in cells]
    return "\n".join([*lines, "", *_conditions(result), *_noise(result), *_left_out(result)])


def short_names(result: Result, longest: int = LONGEST) -> dict[str, str]:
    """Return what each model is called in tables and plots: its run or file, not its whole path."""
    texts = list(dict.fromkeys(row.model for row in result.rows))
    paths = [text for text in texts if "+" not in text or "/" in text or "\\" in text]
    own = [result.names.get(text) or model_name(text) for text in paths]
    named = dict(zip(paths, distinct(own, paths)))
    return {text: _cut(named.get(text, text), longest) for text in texts}


def _cut(name: str, longest: int) -> str:
    """Keep the end of a long name, which tells models apart."""
    return name if len(name) <= longest else f"...{name[3 - longest :]}"


def _cells(row: Row, name: str) -> tuple[str, ...]:
    name = "  again" if row.control else name  # below what it is
    ratio = (
        ("1", "")
        if row.verdict == REFERENCE
        else (f"{row.ratio:.3f}", f"{row.low:.3f}-{row.high:.3f}")
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
    how = f"{settings['imgsz']} px, batch {settings['batch']}, {settings['precision']}"
    how += f", {counted(rounds, 'round')}"
    if where.get("interrupted"):
        how += f" of {settings['rounds']}, then interrupted"
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
        writer.writerow(csv_cell(value) for value in values)
    write_text(path, text.getvalue())


def write_json(result: Result, path: Path, *, times: bool = True) -> None:
    """Write everything; ``times=False`` leaves out the single times."""
    content: dict[str, Any] = asdict(result)
    if not times:
        for row in content["rows"]:
            del row["times_ms"]
    write_json_file(path, content, indent=1)


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
    """Draw a line for each model and format: a point at the median, a whisker to the 95th
    percentile, the faster ones first; parameters stand behind the name where they are known.
    """
    rows = sorted((row for row in result.rows if not row.control), key=lambda row: row.median_ms)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.4 + 0.34 * len(rows)), layout="constrained")
    axes = figure.subplots()
    _draw_points(axes, rows, short_names(result))
    settings, where = result.settings, result.environment
    machine = f"{where['gpu'] or where['processor']}, {counted(where['threads'], 'thread')}"
    axes.set_title(
        f"{settings['imgsz']} px, batch {settings['batch']}, {settings['precision']}; {machine}",
        size=10,
    )
    axes.set_xlabel("latency of a batch, ms: median, whisker to the 95th percentile")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3, axis="x")
    if len({row.format for row in rows}) > 1:
        axes.legend(frameon=False, fontsize=8)
    if any(row.verdict == TOO_NOISY for row in result.rows):
        axes.set_xlabel(f"{axes.get_xlabel()}\nthe machine was too noisy to tell", color="C3")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def _draw_points(axes: Any, rows: Sequence[Row], names: dict[str, str]) -> None:
    """Draw the rows from top to bottom, in a colour for each format."""
    formats = list(dict.fromkeys(row.format for row in rows))
    for number, format in enumerate(formats):
        places = [place for place, row in enumerate(rows) if row.format == format]
        middle = [rows[place].median_ms for place in places]
        above = [max(0.0, rows[place].p95_ms - rows[place].median_ms) for place in places]
        whiskers = [[0.0] * len(places), above]
        color = f"C{number}"
        axes.errorbar(middle, places, xerr=whiskers, fmt="o", capsize=3, color=color, label=format)
    axes.set_yticks(range(len(rows)), [_label(row, names[row.model]) for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)


def _label(row: Row, name: str) -> str:
    return name if row.parameters is None else f"{name}, {row.parameters / 1e6:.2f} M"
