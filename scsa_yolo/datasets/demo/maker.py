"""The demo data set: drawn night scenes, made on the user's machine in seconds, without network.

Real night sets are gigabytes behind registrations, so none can carry a README's first command.
These scenes are DRAWN, not photographs: they show that an installation works and that a model
learns, and say nothing about real images. How they are drawn is in `scene`.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import uuid
from pathlib import Path

import cv2
import numpy as np

from scsa_yolo.datasets.demo.scene import draw_scene
from scsa_yolo.datasets.layout.dataset import Layout

__all__ = ["CLASS_NAMES", "GENERATOR_VERSION", "MARKER", "draw_if_missing", "make_demo"]

CLASS_NAMES = ("vehicle", "person", "light")
GENERATOR_VERSION = (
    1  # raise it whenever a drawing changes: the marker names it, so numbers can be told apart
)
MARKER = "scsa-demo.json"
YAML_NAME = "scsa-demo.yaml"
_SPLITS = ("train", "val")

_LOG = logging.getLogger(__name__)


def _files(split: str, index: int) -> tuple[str, str]:
    return f"images/{split}/{index:04d}.png", f"labels/{split}/{index:04d}.txt"


def _draw(folder: Path, asked: dict[str, int]) -> None:
    for number, split in enumerate(_SPLITS):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for index in range(asked[split]):
            image, labels = draw_scene(
                asked["size"], np.random.default_rng([asked["seed"], number, index])
            )
            picture, text = (folder / name for name in _files(split, index))
            done, data = cv2.imencode(".png", image)
            if not done:
                raise OSError(f"OpenCV could not encode {picture}")
            picture.write_bytes(data.tobytes())  # OpenCV ends the process on names that are no text
            text.write_text(labels, encoding="utf-8")
    about = (
        "Night scenes DRAWN by scsa_yolo.datasets.demo (AGPL-3.0), not photographs: they show that"
        " training works."
    )
    marker = {"about": about, "generator": GENERATOR_VERSION, **asked}
    (folder / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


def _already_there(folder: Path, asked: dict[str, int]) -> bool:
    """Whether the whole set is in `folder`; False where nothing is, FileExistsError for anything
    else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    remedy = f"Choose another folder, or move this one away: mv '{folder}' '{folder}.old'"
    try:
        found = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        drawn = {key: int(found[key]) for key in (*asked, "generator")}
    except (OSError, ValueError, TypeError, KeyError):
        raise FileExistsError(
            f"{folder} exists and is not the demo set (no valid {MARKER} in it). {remedy}"
        ) from None
    version = drawn.pop("generator")
    if drawn != asked:
        raise FileExistsError(
            f"{folder} holds a demo set drawn with {drawn}, asked for is {asked}. {remedy}"
        )
    for name in (
        name for split in _SPLITS for index in range(asked[split]) for name in _files(split, index)
    ):
        if not (folder / name).is_file():
            raise FileExistsError(f"{folder} holds a demo set that lacks {name}. {remedy}")
    _LOG.warning("%s already holds the demo set (generator %d): left as it is", folder, version)
    return True


def draw_if_missing(layout: Layout) -> None:
    """Draw the demo set where its YAML was read and its folder is missing, as ``yolo train`` does.

    Raises:
        OSError: It cannot be written.
    """
    asked = layout.yaml.name == YAML_NAME and layout.download
    if asked and not layout.root.exists():
        print(f"drawing the demo set into {layout.root}", file=sys.stderr)
        make_demo(layout.root)


def make_demo(
    dest: str | Path, *, train: int = 96, val: int = 32, size: int = 320, seed: int = 0
) -> Path:
    """Draw the demo set into a folder, in Ultralytics' layout: images/{train,val}/*.png,
    labels/{train,val}/*.txt.

    The same arguments give the same bytes on one machine, and picture i of a split does not depend
    on how many are
    drawn. The folder appears whole or not at all: it is drawn beside `dest` and renamed. A complete
    set that is already there is left as it is, which the log says.

    Args:
        dest: Folder to make, its parents too. An empty folder is taken.
        train: Number of training pictures, at least 1.
        val: Number of validation pictures, at least 1.
        size: Width and height of the pictures in px, at least 64.
        seed: At least 0.

    Returns:
        The absolute path of the folder.

    Raises:
        TypeError: A number is not an int.
        ValueError: A number is too small.
        FileExistsError: `dest` holds something else, or a demo set drawn with other arguments.
            Nothing is deleted.
        OSError: A file could not be written.
    """
    for name, number, least in (
        ("train", train, 1),
        ("val", val, 1),
        ("size", size, 64),
        ("seed", seed, 0),
    ):
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"make_demo: {name} must be an int, got {number!r}")
        if number < least:
            raise ValueError(f"make_demo: {name} must be at least {least}, got {number}")
    asked = {"seed": seed, "train": train, "val": val, "size": size}
    folder = Path(dest).expanduser().resolve()
    if _already_there(folder, asked):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # beside `folder`, as only a rename within one file system is atomic; the name is no other
    # process's, and short, since a file system allows 255 bytes
    part = folder.with_name(f".part-{uuid.uuid4().hex}")
    try:
        _draw(part, asked)
        if folder.is_dir():
            folder.rmdir()  # raises unless empty; Windows cannot rename onto a folder
        part.replace(folder)
    except OSError:
        if not _already_there(
            folder, asked
        ):  # else another process was faster, with the same result
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _LOG.info("drew %d + %d night scenes (not photographs) in %s", train, val, folder)
    return folder
