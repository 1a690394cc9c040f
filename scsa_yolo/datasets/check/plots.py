"""The pictures of a check: samples with drawn boxes, and a page of histograms."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from scsa_yolo.datasets.check.scan import SplitCount
from scsa_yolo.datasets.layout.dataset import DataSetError, Layout
from scsa_yolo.datasets.show.draw import draw_sheet, pick
from scsa_yolo.support.files import replacing, require_folder, write_bytes
from scsa_yolo.support.naming import data_name

__all__ = ["check_plots", "write_plots"]

# Of the palette by Okabe and Ito, told apart with every kind of colour blindness; shapes and
# strokes say the same again.
_COLOURS = ("#0072B2", "#D55E00", "#009E73")
_MARKS = ("o", "s", "^")
_STROKES = ("-", "--", ":")


def check_plots(folder: Path, splits: Iterable[str], *, force: bool) -> None:
    """Make sure that the plots can be drawn and written.

    Raises:
        OSError: One of them is there already and `force` is false, or the folder cannot be written.
        ImportError: matplotlib is missing.
    """
    _figure()
    require_folder(folder)
    for name in [*(f"{split}-samples.png" for split in splits), "histograms.png"]:
        if (folder / name).exists() and not force:
            raise FileExistsError(
                f"{folder / name} is there already; choose another --plots, or add --force"
            )


def write_plots(
    layout: Layout,
    counts: dict[str, SplitCount],
    folder: Path,
    imgsz: int,
    *,
    force: bool = False,
) -> list[Path]:
    """Write ``<split>-samples.png`` for each split, and ``histograms.png``. The folder is made.

    A split whose side file is damaged or gone gets no samples.

    Raises:
        OSError: One of them is there already and `force` is false, or the folder cannot be written.
        ImportError: matplotlib is missing.
    """
    check_plots(folder, counts, force=force)
    files = []
    for split, count in counts.items():
        if not count.files:
            continue
        try:
            sheet = draw_sheet(layout, split, pick(count.files, 12, seed=0))
        except DataSetError:
            continue  # the report says it: such a side file is an error there
        files.append(folder / f"{split}-samples.png")
        write_bytes(files[-1], cv2.imencode(".png", sheet)[1].tobytes())
    if any(len(count.sides) for count in counts.values()):
        files.append(folder / "histograms.png")
        with replacing(files[-1]) as temporary:
            _histograms(layout, counts, imgsz).savefig(temporary, dpi=120)
    return files


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('plots need matplotlib: pip install "scsa-yolo[evaluation]"') from error
    return Figure


def _histograms(layout: Layout, counts: dict[str, SplitCount], imgsz: int) -> Any:
    figure = _figure()(figsize=(12, 8), layout="constrained")
    by_class, by_size, sides, shapes = figure.subplots(2, 2).flat
    splits = [(split, count) for split, count in counts.items() if len(count.sides)]
    counted = [(split, count.boxes) for split, count in splits]
    _dots(by_class, counted, list(layout.names.values()), "boxes by class")
    shares = [(split, 100 * np.array(count.shares(imgsz))) for split, count in splits]
    title = f"boxes by size, long side at {imgsz} px, %"
    _bars(by_size, shares, ["under 32x32 px", "under 96x96 px", "larger"], title)
    edges = np.geomspace(1, 2048, 45)
    for i, (split, count) in enumerate(splits):
        style = {"color": _COLOURS[i % 3], "label": split, "histtype": "step", "linewidth": 1.6}
        style["linestyle"] = _STROKES[i % 3]
        share = np.full(len(count.sides), 100 / len(count.sides))
        sides.hist(np.sqrt(count.sides.prod(1)).clip(1, 2048), bins=edges, weights=share, **style)
        ratio = count.sides[:, 0] / np.maximum(count.sides[:, 1], 1e-6)
        shapes.hist(ratio.clip(0.1, 10), bins=np.geomspace(0.1, 10, 45), weights=share, **style)
    for axes, title, ticks in (
        (
            sides,
            "side of a box, sqrt(width x height), native px: % of boxes",
            (1, 4, 16, 32, 96, 256, 1024),
        ),
        (shapes, "width / height of a box: % of boxes", (0.1, 0.2, 0.5, 1, 2, 5, 10)),
    ):
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_title(title, size=10)
        axes.legend(frameon=False, fontsize=8)
    for x in (32, 96):
        sides.axvline(x, color="0.7", linewidth=0.8, linestyle="--")
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(data_name(layout.yaml), size=11)
    return figure


def _dots(axes: Any, series: list[tuple[str, Any]], names: list[str], title: str) -> None:
    """Draw counts as dots: on a scale of powers the length of a bar means nothing."""
    for i, (split, values) in enumerate(series):
        places = np.arange(len(values)) + _beside(i, len(series), 0.5 / max(1, len(series)))
        style = {"color": _COLOURS[i % 3], "marker": _MARKS[i % 3], "label": split}
        axes.plot(places, values, linestyle="none", markersize=5, **style)
    axes.set_yscale("symlog", linthresh=1)  # 0 has its place below 1
    axes.set_ylim(bottom=-0.2)
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    _finish(axes, names, f"{title} (powers of ten)")


def _bars(axes: Any, series: list[tuple[str, Any]], names: list[str], title: str) -> None:
    width = 0.8 / max(1, len(series))
    for i, (split, values) in enumerate(series):
        places = np.arange(len(values)) + _beside(i, len(series), width)
        axes.bar(places, values, width, color=_COLOURS[i % 3], edgecolor="white", label=split)
    _finish(axes, names, title)


def _beside(i: int, many: int, width: float) -> float:
    """Return how far from the class's place the i-th of so many series stands."""
    return (i - (many - 1) / 2) * width


def _finish(axes: Any, names: list[str], title: str) -> None:
    axes.set_title(title, size=10)
    step = max(1, len(names) // 40)
    turned = 90 if len(names) > 6 else 0
    axes.set_xticks(range(0, len(names), step), names[::step], rotation=turned, fontsize=8)
    axes.legend(frameon=False, fontsize=8)
