"""How a report writes numbers: scores in points (hundredths of 1), always with the same digits."""

from __future__ import annotations

from scsa_yolo.paired.differences import Comparison, Interval

__all__ = ["count", "is_skewed", "listed", "p_value", "plain", "points", "signed", "span"]

NONE = "-"
_SKEWED = 0.05  # p of the skewness, from which on a report speaks of it


def is_skewed(comparison: Comparison) -> bool:
    """Return whether differences are more lopsided than samples of normal ones usually are."""
    return comparison.skew is not None and comparison.skew.p <= _SKEWED


def points(value: float | None) -> str:
    """Return a share of 1 as points: 0.2134 is ``21.34``."""
    return NONE if value is None else f"{100 * value:.2f}"


def signed(value: float | None) -> str:
    """Return a difference in points, with its sign; 0.00 has none."""
    if value is None:
        return NONE
    text = f"{100 * value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def span(interval: Interval | None) -> str:
    """Return ``-0.10 to +0.52``."""
    return NONE if interval is None else f"{signed(interval[0])} to {signed(interval[1])}"


def p_value(p: float | None) -> str:
    """Return a p with three significant digits at most."""
    if p is None:
        return NONE
    return "<0.0001" if p < 0.0001 else f"{p:.3g}"


def plain(value: float | None, digits: int = 1) -> str:
    """Return a number with so many decimals."""
    return NONE if value is None else f"{value:,.{digits}f}"


def count(number: int, noun: str) -> str:
    """Return ``1 seed`` or ``6 seeds``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(names: list[str]) -> str:
    """Return ``a, b and c``."""
    return (
        names[0]
        if len(names) == 1
        else f"{', '.join(names[:-1])} and {names[-1]}"
        if names
        else NONE
    )
