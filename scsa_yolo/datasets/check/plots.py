"""The pictures of a check: samples with drawn boxes, and a page of histograms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from scsa_yolo.datasets.check.scan import SplitCount
from scsa_yolo.datasets.layout.dataset import Layout
from scsa_yolo.datasets.show.draw import draw_sheet, pick

__all__ = ["write_plots"]

_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c")


def write_plots(
    layout: Layout, counts: dict[str, SplitCount], folder: Path, imgsz: int
) -> list[Path]:
    """Write ``<split>-samples.png`` for each split, and ``histograms.png``. The folder is made.

    Raises:
        FileExistsError: One of them is there already.
        ImportError: matplotlib is missing; the samples are there by then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{split}-samples.png" for split in counts]
    for name in [*names, "histograms.png"]:
        if (folder / name).exists():
            raise FileExistsError(f"{folder / name} is there already; choose another --plots")
    files = []
    for (split, count), name in zip(counts.items(), names, strict=True):
        if count.files:
            sheet = draw_sheet(layout, split, pick(count.files, 12, seed=0))
            (folder / name).write_bytes(cv2.imencode(".png", sheet)[1].tobytes())
            files.append(folder / name)
    if any(len(count.sides) for count in counts.values()):
        _histograms(layout, counts, imgsz).savefig(folder / "histograms.png", dpi=120)
        files.append(folder / "histograms.png")
    return files


def _histograms(layout: Layout, counts: dict[str, SplitCount], imgsz: int) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'histograms need matplotlib: pip install "scsa-yolo[evaluation]"'
        ) from error
    figure = Figure(figsize=(12, 8), layout="constrained")
    by_class, by_size, sides, shapes = figure.subplots(2, 2).flat
    splits = [(split, count) for split, count in counts.items() if len(count.sides)]
    _bars(
        by_class,
        [(split, count.boxes) for split, count in splits],
        list(layout.names.values()),
        "boxes by class",
    )
    by_class.set_yscale("log")
    by_class.set_ylim(bottom=0.8)
    shares = [(split, 100 * np.array(count.shares(imgsz))) for split, count in splits]
    title = f"boxes by size, long side at {imgsz} px, %"
    _bars(by_size, shares, ["under 32x32 px", "under 96x96 px", "larger"], title)
    edges = np.geomspace(1, 2048, 45)
    for i, (split, count) in enumerate(splits):
        style = {"color": _COLOURS[i % 3], "label": split, "histtype": "step", "linewidth": 1.4}
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
    figure.suptitle(str(layout.yaml.name), size=11)
    return figure


def _bars(axes: Any, series: list[tuple[str, Any]], names: list[str], title: str) -> None:
    width = 0.8 / max(1, len(series))
    for i, (split, values) in enumerate(series):
        places = np.arange(len(values)) + (i - (len(series) - 1) / 2) * width
        axes.bar(places, values, width, color=_COLOURS[i % 3], label=split)
    axes.set_title(title, size=10)
    step = max(1, len(names) // 40)
    axes.set_xticks(
        range(0, len(names), step), names[::step], rotation=90 if len(names) > 6 else 0, fontsize=8
    )
    axes.legend(frameon=False, fontsize=8)
