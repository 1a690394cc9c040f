"""Side files: what Ultralytics' label format cannot hold, written by the converters and read by the
evaluation.

``side/<folder>.jsonl`` beside ``images/<folder>/`` and ``labels/<folder>/`` has a header line, then
one JSON object per picture: its size, its conditions (such as the light), flags of its boxes, and
the boxes and regions that count neither for nor against a detector.

A split of the data YAML may take pictures from several folders, and its name need not be theirs
(COCO's ``val`` lies in ``images/val2017``). So the side file is found from each picture's own path,
as its label file is.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scsa_yolo.datasets.layout.basics import CONVERSION
from scsa_yolo.datasets.layout.dataset import DataSetError, Layout

__all__ = [
    "FORMAT",
    "IgnoreBox",
    "SideFile",
    "SideFiles",
    "SideImage",
    "SideLost",
    "read_side",
    "read_sides",
    "side_place",
    "unread_sides",
]

FORMAT = "scsa-yolo side 1"
_IMAGES = f"{os.sep}images{os.sep}"
_AGAIN = "convert the data set again"
_LARGEST = 1e6  # px; no picture is as large, so a number beyond it is damage


class SideLost(DataSetError):
    """A set was converted here, and its side file is gone."""


@dataclass(frozen=True)
class IgnoreBox:
    """A box that is neither right nor wrong to find.

    Attributes:
        cls: The class it concerns; None for all.
        xyxy: Corners in pixels.
        reason: ``region``, ``crowd``, ``difficult``, ``others`` or ``dontcare``.
    """

    cls: int | None
    xyxy: tuple[float, float, float, float]
    reason: str


@dataclass(frozen=True)
class SideImage:
    """One picture's line. `width` and `height` are pixels of the picture as it is decoded; 0 if not
    given.
    """

    image: str
    width: int
    height: int
    conditions: dict[str, str] = field(default_factory=dict)
    boxes: tuple[dict[str, Any], ...] = ()
    ignore: tuple[IgnoreBox, ...] = ()


@dataclass(frozen=True)
class SideFile:
    """One side file.

    Attributes:
        path: The file.
        dataset: The converter that wrote it, such as ``visdrone``.
        split: The folder of pictures it was written for.
        images: Lines by path of the picture relative to the set's folder, with ``/``.
        names: Class names by number as they were at the conversion; empty if not given.
    """

    path: Path
    dataset: str
    split: str
    images: dict[str, SideImage]
    names: dict[int, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The set's folder, which holds ``side`` and ``images``."""
        return self.path.parent.parent

    def of(self, image: Path) -> SideImage | None:
        """Return the line of a picture, None if it has none."""
        path = Path(os.path.abspath(image))
        if not path.is_relative_to(self.root):
            return None
        return self.images.get(path.relative_to(self.root).as_posix())


@dataclass(frozen=True)
class SideFiles:
    """All side files of a split: one for each folder that its pictures lie in."""

    files: tuple[SideFile, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.files)

    def of(self, image: Path) -> SideImage | None:
        """Return the line of a picture, None if no file has one."""
        found = self.file_of(image)
        return found.of(image) if found else None

    def file_of(self, image: Path) -> SideFile | None:
        """Return the file that has a picture's line, None if none has."""
        return next((file for file in self.files if file.of(image)), None)


def side_place(image: Path) -> Path | None:
    """Return where a picture's side file lies, whether it exists or not.

    As for label files, the last ``/images/`` of the path counts: ``X/images/val2017/a.jpg`` has its
    line in ``X/side/val2017.jsonl``. None for a picture that lies otherwise.
    """
    root, found, rest = os.path.abspath(image).rpartition(_IMAGES)
    folder, separator, _ = rest.partition(os.sep)
    if not found or not separator:
        return None
    return Path(root, "side", f"{folder}.jsonl")


def read_sides(layout: Layout, split: str, images: Iterable[Path]) -> SideFiles:
    """Read the side files of a split's pictures.

    Where no picture's own folder has one, ``side/<split>.jsonl`` is read too, if it has a line of a
    picture of the split.

    Args:
        layout: The data set.
        split: The split's name.
        images: Its pictures.

    Raises:
        SideLost: The set was converted here, and a side file is gone.
        DataSetError: A side file is damaged, or was made for other classes.
    """
    known = list(images)
    places = dict.fromkeys(place for image in known if (place := side_place(image)))
    files = []
    for place in places:
        if _there(place):
            files.append(_own(place, layout))
        elif (lost := _lost(place)) is not None:
            raise lost
    general = layout.root / "side" / f"{split}.jsonl"
    if not files and general not in places and _there(general):
        file = read_side(general, len(layout.names))
        _check_names(file, layout.names)
        if any(file.of(image) for image in known):
            files.append(file)
    return SideFiles(tuple(files))


def unread_sides(roots: Iterable[Path], read: Collection[Path]) -> dict[Path, bool]:
    """Return side files in the folders of data sets beside those that were read, and of each
    whether it has no folder of pictures.
    """
    found = [file for root in roots for file in sorted((root / "side").glob("*.jsonl"))]
    return {
        file: not (file.parent.parent / "images" / file.stem).is_dir()
        for file in found
        if file not in read
    }


def read_side(path: Path, classes: int) -> SideFile:
    """Read a side file.

    Args:
        path: The file.
        classes: Number of classes of the data set.

    Raises:
        DataSetError: It cannot be read, or a line is damaged; the message names file and line.
    """
    lines = _objects(path)
    _, header = next(lines, (1, {}))
    if header.get("format") != FORMAT:
        raise DataSetError(f"{path}:1: no header {{'format': {FORMAT!r}}}; {_AGAIN}")
    images: dict[str, SideImage] = {}
    for number, content in lines:
        where = f"{path}:{number}: damaged"
        try:
            entry = _image(content, classes)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise DataSetError(f"{where}: {reason}; {_AGAIN}") from error
        if entry.image in images:
            raise DataSetError(f"{where}: {entry.image} is there twice; {_AGAIN}")
        images[entry.image] = entry
    dataset, split = str(header.get("dataset", "")), str(header.get("split", ""))
    return SideFile(path, dataset, split, images, _header_names(header))


def _own(path: Path, layout: Layout) -> SideFile:
    """Read the side file of a folder of pictures, and make sure that it is this folder's."""
    file = read_side(path, len(layout.names))
    folder = path.stem
    if file.split not in ("", folder):
        raise DataSetError(
            f"{path}:1: it was made for images/{file.split}, not for images/{folder}; {_AGAIN}"
        )
    start = f"images/{folder}/"
    strange = next((name for name in file.images if not name.startswith(start)), None)
    if strange is not None:
        raise DataSetError(f"{path}: it has a line of {strange}, outside {start}; {_AGAIN}")
    _check_names(file, layout.names)
    _check_counts(file)
    return file


def _check_names(file: SideFile, names: dict[int, str]) -> None:
    """Refuse a file that has a class under another number than the data YAML."""
    numbers = {name: number for number, name in names.items()}
    for number, name in file.names.items():
        here = numbers.get(name, number)
        if here != number and names.get(number) != name:
            raise DataSetError(
                f"{file.path}:1: class {name!r} is {number} there and {here} in the data YAML, so"
                " boxes to ignore would be of another class; write 'names' in the order of the"
                " side file, or convert the data set again"
            )


def _check_counts(file: SideFile) -> None:
    """Refuse a file that has lost lines since the conversion."""
    report = _conversion(file.root) or {}
    splits = report.get("splits")
    then = splits.get(file.path.stem) if isinstance(splits, dict) else None
    if not isinstance(then, dict):
        return
    ignored = sum(len(line.ignore) for line in file.images.values())
    for what, key, now in (
        ("pictures", "images", len(file.images)),
        ("boxes to ignore", "ignored", ignored),
    ):
        if isinstance(then.get(key), int) and then[key] != now:
            raise DataSetError(
                f"{file.path}: damaged: it has {now} {what}, but {CONVERSION} says {then[key]};"
                f" {_AGAIN}"
            )


def _there(path: Path) -> bool:
    """Whether there is something of this name, be it readable or not."""
    return path.exists() or path.is_symlink()


def _lost(place: Path) -> SideLost | None:
    """Return the error to raise if a conversion wrote this side file, None if none did."""
    root, folder = place.parent.parent, place.stem
    if not _there(root / CONVERSION):
        return None
    report = _conversion(root)
    splits = report.get("splits") if report else None
    if isinstance(splits, dict) and folder not in splits:
        return None  # a folder of pictures that was added later
    request = report.get("request") if report else None
    known = request if isinstance(request, dict) else {}
    name, source = known.get("name", "NAME"), known.get("source", "SOURCE")
    return SideLost(
        f"{place}: the side file is gone, though {root / CONVERSION} says that images/{folder} was"
        " converted here. Without it, boxes to ignore (crowds, difficult objects, regions) would"
        " count as ordinary ones or as background. Put it back, or convert again: scsa-yolo data"
        f" convert {name} {source} {root} --force"
    )


def _conversion(root: Path) -> dict[str, Any] | None:
    """Return a set's conversion.json, None where there is none that can be read."""
    path = root / CONVERSION
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line numbers, from 1, and the JSON objects of the lines; empty lines are passed
    over.
    """
    if not path.is_file():  # a pipe would make the reader wait for ever
        what = "not a regular file" if path.exists() else "leads to a file that is not there"
        raise DataSetError(f"{path}: {what}; {_AGAIN}")
    number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _object(line)
    except UnicodeDecodeError as error:
        raise DataSetError(f"{path}:{number + 1}: damaged: not text; {_AGAIN}") from error
    except DataSetError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataSetError(f"{path}:{number}: damaged: {error}; {_AGAIN}") from error
    except OSError as error:
        raise DataSetError(f"{path}: {error.strerror or error}") from error


def _object(line: str) -> dict[str, Any]:
    content = json.loads(line)
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    return content


def _header_names(header: dict[str, Any]) -> dict[int, str]:
    names = header.get("names")
    pairs = names.items() if isinstance(names, dict) else ()
    return {int(key): str(name) for key, name in pairs if str(key).isascii() and key.isdigit()}


def _image(content: dict[str, Any], classes: int) -> SideImage:
    conditions, boxes = content.get("conditions", {}), content.get("boxes", [])
    ignore = content.get("ignore", [])
    kinds = (content["image"], str), (conditions, dict), (boxes, list), (ignore, list)
    if not all(isinstance(value, kind) for value, kind in kinds):
        raise ValueError("'image' must be text, 'conditions' an object, 'boxes' and 'ignore' lists")
    for box in boxes:
        _check_flags(box)
    return SideImage(
        image=content["image"],
        width=_pixels(content, "width"),
        height=_pixels(content, "height"),
        conditions={str(key): str(value) for key, value in conditions.items()},
        boxes=tuple(boxes),
        ignore=tuple(_ignore(box, classes) for box in ignore),
    )


def _pixels(content: dict[str, Any], key: str) -> int:
    value = content.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST:
        raise ValueError(f"{key!r} must be a number of pixels, not {value!r}")
    return value


def _check_flags(box: Any) -> None:
    if not isinstance(box, dict):
        raise ValueError(f"flags of a box must be an object, not {box!r}")
    if "area" in box and not (_is_number(box["area"]) and 0 <= box["area"] <= _LARGEST**2):
        raise ValueError(f"'area' of a box must be a number of square pixels, not {box['area']!r}")


def _ignore(box: Any, classes: int) -> IgnoreBox:
    if not isinstance(box, dict):
        raise ValueError(f"a box to ignore must be an object, not {box!r}")
    number, corners = box.get("class"), box["xyxy"]
    whole = isinstance(number, int) and not isinstance(number, bool)
    if number is not None and not (whole and 0 <= number < classes):
        raise ValueError(f"class {number!r} of an ignored box, but the data has 0 to {classes - 1}")
    if not isinstance(corners, list) or len(corners) != 4 or not all(map(_is_number, corners)):
        raise ValueError(f"'xyxy' must be four numbers, not {corners!r}")
    left, top, right, bottom = map(float, corners)
    if right <= left or bottom <= top or max(map(abs, corners)) > _LARGEST:
        raise ValueError(f"'xyxy' must be a box with an area in the picture, not {corners!r}")
    return IgnoreBox(number, (left, top, right, bottom), str(box["reason"]))


def _is_number(value: Any) -> bool:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return known and abs(value) < math.inf
