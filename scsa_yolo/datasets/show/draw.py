"""Pictures of a data set with their boxes drawn, on one sheet; what is to be ignored is hatched."""

from __future__ import annotations

import colorsys
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scsa_yolo.datasets.layout.dataset import DataSetError, Layout, label_files
from scsa_yolo.datasets.layout.labels import read_labels
from scsa_yolo.datasets.layout.side import SideImage, read_sides

__all__ = ["draw_sheet", "pick"]

Array = NDArray[Any]
_FONT, _INK, _PAPER = cv2.FONT_HERSHEY_SIMPLEX, (235, 235, 235), (28, 28, 28)
_CAPTION, _GAP = 22, 6  # px
_HATCH = (255, 255, 255)


def pick(images: Sequence[Path], number: int, seed: int) -> list[Path]:
    """Draw `number` pictures at random, in the order of the data set; the same seed gives the same
    ones.
    """
    if number >= len(images):
        return list(images)
    return [images[i] for i in sorted(random.Random(seed).sample(range(len(images)), number))]


def draw_sheet(
    layout: Layout, split: str, images: Sequence[Path], tile: int | None = None, columns: int = 4
) -> Array:
    """Draw pictures with their boxes in a grid, with a legend of the classes that are there.

    Args:
        layout: The data set.
        split: Whose side file tells what is ignored.
        images: Which pictures.
        tile: Width and height of one, px. None: so that the sheet is about 1680 px wide, at most
            840.
        columns: How many side by side.

    Returns:
        (H, W, 3) uint8, blue green red.

    Raises:
        DataSetError: No picture could be read, or the side file is damaged.
    """
    side = read_sides(layout, split, images)
    columns = max(1, min(columns, len(images)))
    tile = tile or min(840, 1680 // columns)
    tiles, seen, hatched = [], set(), False
    for image, label in zip(images, label_files(images), strict=True):
        extra = side.of(image)
        drawn, classes = _draw(image, label, extra, layout, tile)
        hatched |= bool(extra and extra.ignore)
        seen |= classes
        tiles.append(drawn)
    if not tiles:
        raise DataSetError(f"{layout.yaml}: split {split!r} has no pictures to draw")
    tiles += [np.full((1, tile, 3), _PAPER[0], np.uint8)] * (-len(tiles) % columns)
    rows = [_joined(_level(tiles[i : i + columns]), axis=1) for i in range(0, len(tiles), columns)]
    sheet = _joined(rows, axis=0)
    return np.concatenate([sheet, _legend(layout, sorted(seen), hatched, sheet.shape[1])])


def _draw(
    image: Path, label: Path, extra: SideImage | None, layout: Layout, tile: int
) -> tuple[Array, set[int]]:
    picture = _read(image)
    high = (
        tile
        if picture is None
        else max(1, round(tile * min(1.0, picture.shape[0] / picture.shape[1])))
    )
    canvas = np.full((high + _CAPTION, tile, 3), _PAPER[0], np.uint8)
    caption = image.name
    labels = read_labels(label, len(layout.names))
    if picture is None:
        caption = f"cannot be read: {image.name}"
    else:
        height, width = picture.shape[:2]
        scale = tile / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        left, top = (tile - size[0]) // 2, 0
        inner = canvas[top : top + size[1], left : left + size[0]]
        inner[:] = cv2.resize(picture, size, interpolation=way)
        for box in extra.ignore if extra else ():
            _hatch(
                inner,
                np.array(box.xyxy) * scale,
                _colour(box.cls) if box.cls is not None else _HATCH,
            )
        for number, box in zip(labels.classes.tolist(), labels.xyxy(*size), strict=True):
            _box(inner, box, _colour(number), layout.names[number], len(labels.classes))
        if extra and extra.conditions:
            caption = f"{'/'.join(extra.conditions.values())}  {caption}"
    _text(canvas, _fitted(caption, tile - 8, 0.42), (4, high + 15), 0.42)
    return canvas, set(labels.classes.tolist())


def _read(image: Path) -> Array | None:
    """Decode as Ultralytics does: three channels, EXIF's turn applied."""
    try:
        data = np.fromfile(image, np.uint8)
    except OSError:
        return None
    return cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None


def _box(canvas: Array, xyxy: Array, colour: tuple[int, int, int], name: str, crowd: int) -> None:
    left, top, right, bottom = (round(float(v)) for v in xyxy)
    cv2.rectangle(canvas, (left, top), (right, bottom), (0, 0, 0), 2 if crowd > 40 else 3)
    cv2.rectangle(canvas, (left, top), (right, bottom), colour, 1 if crowd > 40 else 2)
    if (
        crowd <= 12 and right - left > 24
    ):  # on a crowded picture names would hide the objects; there is a legend
        _text(canvas, name, (max(left, 0) + 2, max(top - 4, 10)), 0.38)


def _hatch(canvas: Array, xyxy: Array, colour: tuple[int, int, int]) -> None:
    height, width = canvas.shape[:2]
    left, top, right, bottom = (
        round(float(v)) for v in np.clip(xyxy, 0, (width, height, width, height))
    )
    if right <= left or bottom <= top:
        return
    part = canvas[top:bottom, left:right]
    stripes = part.copy()
    for start in range(-part.shape[0], part.shape[1], 9):
        cv2.line(
            stripes, (start, part.shape[0]), (start + part.shape[0], 0), colour, 1, cv2.LINE_AA
        )
    part[:] = cv2.addWeighted(part, 0.45, stripes, 0.55, 0)
    cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), colour, 1)


def _legend(layout: Layout, classes: list[int], hatched: bool, width: int) -> Array:
    entries = [(layout.names[number], _colour(number)) for number in classes]
    lines: list[list[tuple[int, str, tuple[int, int, int], bool]]] = [[]]
    x = 8
    for name, colour in [
        *entries,
        *([("ignored (white: whatever the class)", _HATCH)] if hatched else []),
    ]:
        wide = 24 + cv2.getTextSize(name, _FONT, 0.45, 1)[0][0] + 16
        if x + wide > width and lines[-1]:
            lines.append([])
            x = 8
        lines[-1].append((x, name, colour, colour == _HATCH))
        x += wide
    legend = np.full((24 * len(lines) + 6, width, 3), _PAPER[0], np.uint8)
    for row, line in enumerate(lines):
        for x, name, colour, striped in line:
            y = 24 * row + 6
            if striped:
                _hatch(legend, np.array([x, y, x + 16, y + 14]), colour)
            else:
                cv2.rectangle(legend, (x, y), (x + 16, y + 14), colour, -1)
            _text(legend, name, (x + 22, y + 12), 0.45)
    return legend


def _level(row: list[Array]) -> list[Array]:
    """Make the tiles of a row as high as its highest."""
    high = max(len(tile) for tile in row)
    return [
        np.pad(
            tile,
            ((0, high - len(tile)), (0, 0), (0, 0)),
            mode="constant",
            constant_values=_PAPER[0],
        )
        for tile in row
    ]


def _joined(parts: list[Array], axis: int) -> Array:
    shape = list(parts[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, _PAPER[0], np.uint8)
    padded = [piece for part in parts for piece in (part, gap)][:-1]
    return np.concatenate(padded, axis=axis)


def _colour(number: int) -> tuple[int, int, int]:
    """A bright colour for each class, neighbours in number far apart in hue."""
    hue = (number * 0.618034) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, 1.0)
    return int(255 * blue), int(255 * green), int(255 * red)


def _fitted(text: str, width: int, scale: float) -> str:
    while len(text) > 4 and cv2.getTextSize(text, _FONT, scale, 1)[0][0] > width:
        text = f"{text[:-4]}..."
    return text


def _text(canvas: Array, text: str, at: tuple[int, int], scale: float) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's fonts have nothing else
    for x, y in (
        (-1, 0),
        (1, 0),
        (0, -1),
        (0, 1),
    ):  # an outline; a thicker stroke is a wider font in OpenCV 5
        cv2.putText(canvas, plain, (at[0] + x, at[1] + y), _FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)
    cv2.putText(canvas, plain, at, _FONT, scale, _INK, 1, cv2.LINE_AA)
