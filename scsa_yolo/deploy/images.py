"""Pictures as a detector takes them: found, read and letterboxed as Ultralytics does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scsa_yolo.support.text import counted

__all__ = ["choose_images", "find_images", "network_input", "pictures_of", "read_images"]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
MOST = 16  # pictures of a folder; more say nothing new about a graph


def find_images(places: Sequence[str | Path] = ()) -> list[Path]:
    """Return pictures: the given files, the first of given folders, or the two that Ultralytics
    ships.

    Raises:
        FileNotFoundError: A file is not there, or a folder holds no picture.
    """
    from ultralytics.utils import ASSETS

    found: list[Path] = []
    for place in [Path(place) for place in places] or [Path(ASSETS)]:
        if place.is_dir():
            inside = sorted(file for file in place.rglob("*") if file.suffix.lower() in SUFFIXES)
            if not inside:
                raise FileNotFoundError(
                    f"{place}: no picture in this folder ({', '.join(sorted(SUFFIXES))})"
                )
            found += inside[:MOST]
        elif place.is_file():
            found.append(place)
        else:
            raise FileNotFoundError(f"{place}: no such picture or folder")
    return found


def pictures_of(data: str, split: str = "val") -> list[Path]:
    """Return some pictures of a data set, evenly spread; none where it is not on this machine."""
    from scsa_yolo.datasets.layout.dataset import load_layout

    try:
        listed = [path for path in load_layout(data).images(split) if path.is_file()]
    except (ValueError, OSError):  # the data set of another machine
        return []
    step = max(1, -(-len(listed) // MOST))
    return listed[::step]


def choose_images(
    places: Sequence[str | Path], data: Sequence[str | None]
) -> tuple[list[Path], str]:
    """Return the pictures that a proof is made on, and one line that says which they are.

    Args:
        places: Files and folders as typed.
        data: Data YAMLs, the first that is here serves: its validation pictures are what the model
            is for.

    Raises:
        FileNotFoundError: As :func:`find_images`.
    """
    if places:
        paths = find_images(places)
        return paths, f"{counted(len(paths), 'picture')}, as typed"
    known = [name for name in data if name]
    for name in known:
        if paths := pictures_of(name):
            return paths, f"{counted(len(paths), 'picture')} of the split val of {name}"
    paths = find_images()
    why = f"the data set {known[-1]} is not here" if known else "the model names no data set"
    return paths, (
        f"the {counted(len(paths), 'picture')} that Ultralytics ships, since {why}; its own say"
        " more: --images FOLDER"
    )


def read_images(paths: Sequence[Path]) -> list[np.ndarray]:
    """Return the pictures as uint8 (H, W, 3) in BGR, as OpenCV and Ultralytics keep them.

    Raises:
        ValueError: One cannot be decoded.
    """
    import cv2

    pictures = []
    for path in paths:
        picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise ValueError(f"{path}: no picture that OpenCV can decode")
        pictures.append(picture)
    return pictures


def network_input(
    pictures: Sequence[np.ndarray], shape: tuple[int, ...], *, stretch: bool = False, first: int = 0
) -> np.ndarray:
    """Return one batch: float32 (B, C, H, W), RGB from 0 to 1.

    Args:
        pictures: Read pictures; repeated where the batch is larger.
        shape: (B, C, H, W) of the batch. Channels beyond three repeat them.
        stretch: Fill the input, as RT-DETR takes it, instead of letterboxing.
        first: Number of the picture that the batch begins with.
    """
    from ultralytics.data.augment import LetterBox

    batch, channels, height, width = shape
    box = LetterBox((height, width), auto=False, scale_fill=stretch)
    chosen = [pictures[(first + index) % len(pictures)] for index in range(batch)]
    stacked = np.stack([np.asarray(box(image=picture)) for picture in chosen])[..., ::-1].transpose(
        0, 3, 1, 2
    )
    order = [channel % 3 for channel in range(channels)]
    return np.ascontiguousarray(stacked[:, order], dtype=np.float32) / np.float32(255)
