"""Ink on a picture: colours and strokes that tell classes apart, plates behind text, hatching."""

from __future__ import annotations

import itertools
import unicodedata
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "HATCH",
    "PAPER",
    "STYLES",
    "Plates",
    "Style",
    "fitted",
    "hatch",
    "outline",
    "style",
    "text_width",
    "write",
]

Array = NDArray[Any]
Colour = tuple[int, int, int]  # blue, green, red

HATCH: Colour = (255, 255, 255)
PAPER: Colour = (28, 28, 28)
_BRIGHT: Colour = (245, 245, 245)
_DARK: Colour = (15, 15, 15)
_FONT, _SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.5  # about 12 px high
# The palette by Okabe and Ito, told apart with every kind of colour blindness, lightest last.
_PALETTE: tuple[Colour, ...] = (
    (0, 159, 230),  # orange
    (233, 180, 86),  # sky blue
    (115, 158, 0),  # bluish green
    (178, 114, 0),  # blue
    (0, 94, 213),  # vermillion
    (167, 121, 204),  # reddish purple
    (66, 228, 240),  # yellow
)
# Strokes as lengths of ink and gap, px; the first is whole.
_STROKES: tuple[tuple[int, ...], ...] = ((), (12, 6), (3, 4), (14, 4, 3, 4), (6, 3))
STYLES = len(_PALETTE) * len(_STROKES)


class Style(NamedTuple):
    """How a class is drawn: a colour and a stroke."""

    ink: Colour
    stroke: tuple[int, ...]


def style(place: int) -> Style:
    """Return the style of the class at this place; `STYLES` of them are different."""
    turn = place // len(_PALETTE) % len(_STROKES)
    return Style(_PALETTE[place % len(_PALETTE)], _STROKES[turn])


def outline(canvas: Array, xyxy: Array, look: Style, thick: int) -> None:
    """Draw the outline of a box, dark below, so that it stands out on any picture."""
    left, top, right, bottom = (round(float(v)) for v in xyxy)
    cv2.rectangle(canvas, (left, top), (right, bottom), _DARK, thick + 1)
    if not look.stroke:
        cv2.rectangle(canvas, (left, top), (right, bottom), look.ink, thick)
        return
    corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    for start, end in itertools.pairwise(corners):
        _dashed(canvas, start, end, look, thick)


def _dashed(
    canvas: Array, start: tuple[int, int], end: tuple[int, int], look: Style, thick: int
) -> None:
    way = np.subtract(end, start)
    length = int(np.abs(way).max())
    step = way / max(1, length)
    at, turn = 0, 0
    while at < length:
        until = min(length, at + look.stroke[turn % len(look.stroke)])
        if turn % 2 == 0:
            one, other = (np.rint(start + step * place).astype(int) for place in (at, until))
            cv2.line(canvas, tuple(one.tolist()), tuple(other.tolist()), look.ink, thick)
        at, turn = until, turn + 1


def hatch(canvas: Array, xyxy: Array, colour: Colour) -> None:
    """Draw stripes over a box, cut at the canvas's border."""
    height, width = canvas.shape[:2]
    edges = np.clip(xyxy, 0, (width, height, width, height))
    left, top, right, bottom = (round(float(v)) for v in edges)
    if right <= left or bottom <= top:
        return
    part = canvas[top:bottom, left:right]
    stripes = part.copy()
    high = part.shape[0]
    for start in range(-high, part.shape[1], 9):
        cv2.line(stripes, (start, high), (start + high, 0), colour, 1, cv2.LINE_AA)
    part[:] = cv2.addWeighted(part, 0.45, stripes, 0.55, 0)
    cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), colour, 1)


class Plates:
    """Text on plates of one colour, none over another."""

    def __init__(self, canvas: Array):
        self.canvas = canvas
        self._taken: list[tuple[int, int, int, int]] = []

    def put(self, text: str, xyxy: Array, colour: Colour) -> bool:
        """Write at a box, above it or inside, where there is room; returns whether there was."""
        left, top, right, bottom = (round(float(v)) for v in xyxy)
        wide, high = _plate(text)
        for x, y in (
            (left, top - high),
            (left, top),
            (left, bottom),
            (right - wide, top - high),
            (right - wide, bottom - high),
        ):
            if self._free(x, y, wide, high):
                self._write(text, x, y, colour)
                return True
        return False

    def note(self, text: str) -> None:
        """Write in the lower right corner, over whatever is there."""
        wide, high = _plate(text)
        height, width = self.canvas.shape[:2]
        self._write(text, max(0, width - wide), max(0, height - high), _BRIGHT)

    def _free(self, x: int, y: int, wide: int, high: int) -> bool:
        height, width = self.canvas.shape[:2]
        if x < 0 or y < 0 or x + wide > width or y + high > height:
            return False
        return not any(
            x < right and left < x + wide and y < bottom and top < y + high
            for left, top, right, bottom in self._taken
        )

    def _write(self, text: str, x: int, y: int, colour: Colour) -> None:
        wide, high = _plate(text)
        self._taken.append((x, y, x + wide, y + high))
        cv2.rectangle(self.canvas, (x, y), (x + wide - 1, y + high - 1), colour, -1)
        write(self.canvas, text, (x + 3, y + high - 5), _on(colour))


def _plate(text: str) -> tuple[int, int]:
    """Return width and height of a plate with this text, px."""
    return text_width(text) + 6, 18


def _on(colour: Colour) -> Colour:
    """Return dark or bright ink, whichever is read better on a colour."""
    blue, green, red = colour
    light = 0.114 * blue + 0.587 * green + 0.299 * red
    return _DARK if light > 115 else _BRIGHT


def text_width(text: str) -> int:
    """Return the width of text, px."""
    return int(cv2.getTextSize(_plain(text), _FONT, _SCALE, 1)[0][0])


def fitted(text: str, width: int) -> str:
    """Return text cut so that it is at most so many pixels wide."""
    shown = _plain(text)
    while len(shown) > 4 and text_width(shown) > width:
        shown = f"{shown[:-4]}..."
    return shown


def write(canvas: Array, text: str, at: tuple[int, int], ink: Colour = _BRIGHT) -> None:
    """Write text; `at` is the left end of its base line, px."""
    cv2.putText(canvas, _plain(text), at, _FONT, _SCALE, ink, 1, cv2.LINE_AA)


def _plain(text: str) -> str:
    """Return text in ASCII: OpenCV's fonts have nothing else, and bytes of a file name that are no
    text end its process.
    """
    split = unicodedata.normalize("NFKD", text)
    bare = "".join(letter for letter in split if not unicodedata.combining(letter))
    letters = bare.encode("ascii", "replace").decode()
    return "".join(letter if letter.isprintable() else "?" for letter in letters)
