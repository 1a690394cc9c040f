"""A split drawn by content: pictures that are equal byte by byte stay on one side."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from scsa_yolo.datasets.native.records import read_bytes

SHARE = 0.2


def draw(images: Sequence[Path], share: float, seed: int) -> list[str]:
    """Draw train or val for each picture, from its bytes alone.

    So a picture's side does not change when others come or go, are renamed or moved. Only where one
    side would stay empty, the picture nearest to the border changes over, with its copies.
    """
    with ThreadPoolExecutor() as pool:
        places = list(pool.map(partial(_place, seed=seed), images))
    border = share
    distinct = sorted(set(places))
    if len(distinct) > 1:
        if distinct[0] >= share:
            border = distinct[1]
        elif distinct[-1] < share:
            border = distinct[-1]
    return ["val" if place < border else "train" for place in places]


def _place(image: Path, seed: int) -> float:
    """Place a picture between 0 and 1."""
    try:
        content = hashlib.sha256(read_bytes(image)).hexdigest()
    except OSError:  # told when it is converted
        content = image.name
    digest = hashlib.sha256(f"{seed}:{content}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
