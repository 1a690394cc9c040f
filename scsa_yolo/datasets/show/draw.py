"""Pictures of a data set with their boxes drawn, on one sheet; what is to be ignored is hatched."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scsa_yolo.datasets.layout.dataset import DataSetError, Layout, label_files
from scsa_yolo.datasets.layout.labels import Labels, read_labels
from scsa_yolo.datasets.layout.side import SideImage, read_sides
from scsa_yolo.datasets.show.ink import (
    HATCH,
    PAPER,
    STYLES,
    Plates,
    Style,
    fitted,
    hatch,
    outline,
    style,
    text_width,
    write,
)

__all__ = ["class_styles", "draw_sheet", "pick"]

Array = NDArray[Any]
_CAPTION, _GAP = 26, 6  # px
_PLAIN_LABELS = 12  # boxes with a name in full on one picture; beyond, classes go by number


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
    styles = class_styles(layout, images)
    columns = max(1, min(columns, len(images)))
    tile = tile or min(840, 1680 // columns)
    tiles, seen, hatched = [], set(), False
    for image, label in zip(images, label_files(images), strict=True):
        extra = side.of(image)
        drawn, classes = _draw(image, label, extra, layout, styles, tile)
        hatched |= bool(extra and extra.ignore)
        seen |= classes
        tiles.append(drawn)
    if not tiles:
        raise DataSetError(f"{layout.yaml}: split {split!r} has no pictures to draw")
    tiles += [np.full((1, tile, 3), PAPER[0], np.uint8)] * (-len(tiles) % columns)
    rows = [_joined(_level(tiles[i : i + columns]), axis=1) for i in range(0, len(tiles), columns)]
    sheet = _joined(rows, axis=0)
    return np.concatenate([sheet, _legend(layout, sorted(seen), styles, hatched, sheet.shape[1])])


def class_styles(layout: Layout, images: Sequence[Path]) -> dict[int, Style]:
    """Return how the boxes of each class are drawn.

    A class looks the same on every sheet, unless the set has more classes than there are styles:
    then those of these pictures are told apart.
    """
    numbers = list(layout.names)
    if len(numbers) > STYLES:
        files = label_files(images)
        there = {int(c) for file in files for c in read_labels(file, len(numbers)).classes}
        numbers = sorted(there) + sorted(set(numbers) - there)
    return {number: style(place) for place, number in enumerate(numbers)}


def _draw(
    image: Path,
    label: Path,
    extra: SideImage | None,
    layout: Layout,
    styles: dict[int, Style],
    tile: int,
) -> tuple[Array, set[int]]:
    picture = _read(image)
    high = (
        tile
        if picture is None
        else max(1, round(tile * min(1.0, picture.shape[0] / picture.shape[1])))
    )
    canvas = np.full((high + _CAPTION, tile, 3), PAPER[0], np.uint8)
    caption = image.name
    labels = read_labels(label, len(layout.names))
    if picture is None:
        caption = f"cannot be read: {image.name}"
    else:
        height, width = picture.shape[:2]
        scale = tile / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        left = (tile - size[0]) // 2
        inner = canvas[: size[1], left : left + size[0]]
        inner[:] = cv2.resize(picture, size, interpolation=way)
        for box in extra.ignore if extra else ():
            ink = styles[box.cls].ink if box.cls is not None else HATCH
            hatch(inner, np.array(box.xyxy) * scale, ink)
        _boxes(inner, labels, layout, styles)
        if extra and extra.conditions:
            caption = f"{'/'.join(extra.conditions.values())}  {caption}"
    write(canvas, fitted(caption, tile - 8), (4, high + 18))
    return canvas, set(labels.classes.tolist())


def _read(image: Path) -> Array | None:
    """Decode as Ultralytics does: three channels, EXIF's turn applied."""
    if not os.path.isfile(image):  # a pipe would make the reader wait for ever
        return None
    try:
        data = np.fromfile(image, np.uint8)
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except (OSError, cv2.error):
        return None
    return decoded


def _boxes(canvas: Array, labels: Labels, layout: Layout, styles: dict[int, Style]) -> None:
    """Draw boxes, then their names where there is room; a note says how many found none."""
    height, width = canvas.shape[:2]
    crowd = len(labels.classes)
    boxes = labels.xyxy(width, height)
    for number, box in zip(labels.classes.tolist(), boxes, strict=True):
        outline(canvas, box, styles[number], 1 if crowd > 40 else 2)
    plates = Plates(canvas)
    lost = 0
    for number, box in zip(labels.classes.tolist(), boxes, strict=True):
        text = layout.names[number] if crowd <= _PLAIN_LABELS else str(number)
        lost += not plates.put(text, box, styles[number].ink)
    if lost:
        plates.note(f"{lost} of {crowd} names have no room")


def _legend(
    layout: Layout, classes: list[int], styles: dict[int, Style], hatched: bool, width: int
) -> Array:
    entries: list[tuple[str, Style | None]] = [
        (f"{number} {layout.names[number]}", styles[number]) for number in classes
    ]
    if hatched:
        entries.append(("ignored (white: whatever the class)", None))
    lines: list[list[tuple[int, str, Style | None]]] = [[]]
    x = 8
    for name, look in entries:
        shown = fitted(name, width - 60)
        wide = 36 + text_width(shown) + 18
        if x + wide > width and lines[-1]:
            lines.append([])
            x = 8
        lines[-1].append((x, shown, look))
        x += wide
    legend = np.full((26 * len(lines) + 8, width, 3), PAPER[0], np.uint8)
    for row, line in enumerate(lines):
        for x, name, look in line:
            y = 26 * row + 6
            swatch = np.array([x, y, x + 28, y + 16])
            if look is None:
                hatch(legend, swatch, HATCH)
            else:
                outline(legend, swatch, look, 2)
            write(legend, name, (x + 34, y + 14))
    return legend


def _level(row: list[Array]) -> list[Array]:
    """Make the tiles of a row as high as its highest."""
    high = max(len(tile) for tile in row)
    return [
        np.pad(
            tile,
            ((0, high - len(tile)), (0, 0), (0, 0)),
            mode="constant",
            constant_values=PAPER[0],
        )
        for tile in row
    ]


def _joined(parts: list[Array], axis: int) -> Array:
    shape = list(parts[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, PAPER[0], np.uint8)
    padded = [piece for part in parts for piece in (part, gap)][:-1]
    return np.concatenate(padded, axis=axis)
