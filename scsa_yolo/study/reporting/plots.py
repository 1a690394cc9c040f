"""Drawings of a report as SVG that takes its colours from the page, so that they are readable on
light and on dark.

The same data give the same text: no date, and ids that depend on the content alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from scsa_yolo.paired.differences import Comparison, Interval, mean

__all__ = ["differences", "learning_curves"]

_COLOURS = (
    "#2f7ed8",
    "#d9822b",
    "#2e9e5b",
    "#c2439b",
    "#8a63d2",
    "#b59a1d",
    "#1fa3a3",
    "#d1495b",
    "#7c8a99",
    "#8c6d4f",
)
_STYLES = ("-", "--", ":")  # a second and a third round of the colours
# Stand-ins of colours that the page gives (see the style in `html`), replaced in the text of the
# SVG.
_INK, _FAINT, _LINE, _BAND = "#010203", "#010204", "#010205", "#010206"
_VARIABLES = {
    _INK: "var(--ink)",
    _FAINT: "var(--faint)",
    _LINE: "var(--line)",
    _BAND: "var(--band)",
}
_SETTINGS = {
    "svg.hashsalt": "scsa-yolo",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "text.parse_math": False,
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "xtick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.color": _FAINT,
    "ytick.labelcolor": _INK,
    "grid.color": _LINE,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def differences(
    comparisons: Mapping[str, Comparison], kind: str, margin: float, metric: str, control: str
) -> str:
    """Draw the paired differences: a dot a seed, the mean, its interval of that kind, and the
    margin as a band.
    """
    arms = [(name, comparison) for name, comparison in comparisons.items() if comparison.n]
    with _Drawing(8, 0.9 + 0.5 * len(arms)) as drawing:
        axes = drawing.axes
        axes.axvspan(-100 * margin, 100 * margin, color=_BAND, lw=0)
        axes.axvline(0, color=_FAINT, lw=1)
        for row, (name, comparison) in enumerate(arms):
            colour = _colour(
                list(comparisons).index(name) + 1
            )  # the control has the first in the other drawings
            points = [100 * value for value in comparison.values]
            lift = [row - 0.16 + 0.32 * i / max(1, len(points) - 1) for i in range(len(points))]
            axes.plot(points, lift, "o", ms=5, color=colour, alpha=0.55, mew=0)
            interval = comparison.interval(kind)
            if interval is not None:
                axes.plot([100 * interval[0], 100 * interval[1]], [row, row], color=colour, lw=2.5)
            axes.plot(
                [100 * (comparison.mean or 0)], [row], "D", ms=8, color=colour, mec=_INK, mew=0.8
            )
        axes.set_yticks(range(len(arms)), [name for name, _ in arms])
        axes.set_ylim(len(arms) - 0.5, -0.5)
        _clip(axes, [comparison for _, comparison in arms], kind, margin)
        axes.set_xlabel(f"difference to {control}, points of {metric}")
        axes.grid(axis="x")
    return drawing.svg(f"Paired differences to {control} by arm")


def _clip(axes: Any, comparisons: Sequence[Comparison], kind: str, margin: float) -> None:
    """Keep the dots readable where an interval from two seeds would fill the axis."""
    ends = [100 * value for comparison in comparisons for value in comparison.values]
    reach = max([abs(end) for end in ends] + [100 * margin])
    intervals: list[Interval] = [
        found for c in comparisons if (found := c.interval(kind)) is not None
    ]
    for interval in intervals:
        ends += [max(-3 * reach, min(3 * reach, 100 * end)) for end in interval]
    low, high = min([*ends, -100 * margin]), max([*ends, 100 * margin])
    pad = 0.06 * (high - low) or 0.1
    axes.set_xlim(low - pad, high + pad)


def learning_curves(curves: Mapping[str, Sequence[Mapping[int, float]]], label: str) -> str:
    """Draw a thin line a run and a thick one for the mean of an arm.

    Args:
        curves: Arm to its runs: epoch to score, a share of 1.
        label: Of the vertical axis.
    """
    with _Drawing(8, 3.6) as drawing:
        for index, (name, runs) in enumerate(curves.items()):
            look = {
                "color": _colour(index),
                "linestyle": _STYLES[index // len(_COLOURS) % len(_STYLES)],
            }
            for run in runs:
                drawing.axes.plot(
                    list(run), [100 * value for value in run.values()], lw=0.8, alpha=0.35, **look
                )
            shared = sorted(set.intersection(*(set(run) for run in runs))) if runs else []
            if shared:
                centre = [100 * (mean([run[epoch] for run in runs]) or 0) for epoch in shared]
                marker = {"marker": "o", "ms": 4} if len(shared) == 1 else {}
                drawing.axes.plot(shared, centre, lw=2.2, label=name, **look, **marker)
        drawing.axes.set_xlabel("epoch")
        drawing.axes.set_ylabel(label)
        drawing.axes.xaxis.get_major_locator().set_params(integer=True)
        drawing.axes.grid()
        drawing.figure.legend(loc="outside right upper")
    return drawing.svg(f"{label} by epoch")


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]


class _Drawing:
    """A figure with one pair of axes, drawn with settings that no user's matplotlibrc changes."""

    def __init__(self, width: float, height: float) -> None:
        try:
            import matplotlib
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError(
                "the report of a study needs matplotlib. Type: pip install 'scsa-yolo[study]'"
            ) from error
        # rc_context does not put the backend back, and the user's stays as it is.
        settings: dict[Any, Any] = {**matplotlib.rcParamsDefault, **_SETTINGS}
        del settings["backend"]
        self._context = matplotlib.rc_context(settings)
        self._size, self._figure = (width, height), Figure

    def __enter__(self) -> _Drawing:
        self._context.__enter__()
        self.figure: Any = self._figure(figsize=self._size, layout="constrained")
        self.figure.patch.set_visible(False)
        self.axes: Any = self.figure.subplots()
        self.axes.patch.set_visible(False)
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                file = io.StringIO()
                nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
                self.figure.savefig(file, format="svg", metadata=nothing)
                self._raw = file.getvalue()
        finally:
            self._context.__exit__(*error)

    def svg(self, title: str) -> str:
        """Return the drawing as an element of an HTML page."""
        return _inline(self._raw, title)


def _inline(svg: str, title: str) -> str:
    """Take from a file what only a file needs, and keep its ids apart from those of other drawings
    on the page.
    """
    from hashlib import sha256
    from html import escape

    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg, count=2)
    prefix = f"d{sha256((title + svg).encode()).hexdigest()[:8]}-"
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'xlink:href="#', f'href="#{prefix}', svg).replace("url(#", f"url(#{prefix}")
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, variable)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
