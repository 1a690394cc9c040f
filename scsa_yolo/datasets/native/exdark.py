"""ExDark: ``ExDark/<Class>/``, ``ExDark_Annno/<Class>/`` (their spelling) and
``imageclasslist.txt``.

Format: https://github.com/cs-chan/Exclusively-Dark-Image-Dataset. The class of a folder and of the
list is that of the image; each box has its own. Coordinates are read as 0-based, as every public
converter does; the owners do not say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from scsa_yolo.datasets.native.balance import UNKNOWN
from scsa_yolo.datasets.native.options import Official, Options
from scsa_yolo.datasets.native.records import (
    XYXY,
    Annotation,
    Box,
    Finding,
    Item,
    NothingFound,
    Plan,
    Refused,
    Tell,
    Unreadable,
    UsageError,
    is_finite,
    number,
    read_text,
    whole,
)
from scsa_yolo.datasets.native.source import (
    Source,
    is_image,
    lacking,
    only_images,
    plain_name,
    sorted_items,
    stem,
)

# fmt: off
NAMES = (
    "Bicycle", "Boat", "Bottle", "Bus", "Car", "Cat", "Chair", "Cup", "Dog", "Motorbike", "People", "Table",
)
LIGHTS = ("Low", "Ambient", "Object", "Single", "Weak", "Strong", "Screen", "Window", "Shadow", "Twilight")
# fmt: on
PLACES = ("indoor", "outdoor")
SPLITS = ("train", "val", "test")
OFFICIAL = {
    "train": Official(3000, 10381),
    "val": Official(1800, 6212),
    "test": Official(2563, 7117),
}
OPTIONS: frozenset[str] = frozenset()
LIST = "imageclasslist.txt"
EXPECTED = f"ExDark/<Class>/, ExDark_Annno/<Class>/ and {LIST}"

_CLASSES = {name.casefold(): index for index, name in enumerate(NAMES)}
_LEAST_FIELDS = 5
_NOTE_NAME = re.compile(r"(.+\.(?:jpe?g|png))\s*\.txt", re.IGNORECASE)


class Row(NamedTuple):
    """A row of a bbGt file: class, left, top, width, height. Seven more fields are never used."""

    kind: int
    left: float
    top: float
    width: float
    height: float

    @property
    def xyxy(self) -> XYXY:
        """The box's corners."""
        return self.left, self.top, self.left + self.width, self.top + self.height


class Listed(NamedTuple):
    """A row of imageclasslist.txt; the numbers start at 1."""

    name: str
    kind: int
    light: int
    place: int
    split: int


def parse_row(text: str) -> Row | Refused:
    """Read ``Class left top width height ...``."""
    fields = text.split()
    if len(fields) < _LEAST_FIELDS:
        return Refused(f"{len(fields)} fields, not {_LEAST_FIELDS} or more")
    kind = _CLASSES.get(fields[0].casefold())
    if kind is None:
        return Refused(f"unknown class {fields[0][:40]!r}; there are {', '.join(NAMES)}")
    values = [number(field) for field in fields[1:_LEAST_FIELDS]]
    if None in values:
        return Refused(
            f"field {values.index(None) + 2} is no number: {fields[values.index(None) + 1][:40]!r}"
        )
    row = Row(kind, *(float(value) for value in values if value is not None))
    return row if is_finite(row.xyxy) else Refused("the box is out of all bounds")


def parse_listed(text: str) -> Listed | Refused:
    """Read ``name class light place split``; the name may hold blanks."""
    *name, kind, light, place, split = ["", "", "", "", *text.split()]
    if not "".join(name):
        return Refused(f"{len(text.split())} fields, not 5")
    numbers = []
    for what, field, most in (
        ("class", kind, 12),
        ("light", light, 10),
        ("place", place, 2),
        ("split", split, 3),
    ):
        value = whole(field)
        if value is None or not 1 <= value <= most:
            return Refused(f"{what} must be 1 to {most}, got {field[:40]!r}")
        numbers.append(value)
    return Listed(" ".join(part for part in name if part), *numbers)


def read(file: Path, shown: str, listed: Listed) -> Annotation:
    """Read a bbGt file."""
    found = Annotation(
        shown, conditions={"light": LIGHTS[listed.light - 1], "place": PLACES[listed.place - 1]}
    )
    for line, text in enumerate(read_text(file).splitlines(), 1):
        if not text.strip() or text.lstrip().startswith("%"):  # "% bbGt version=3"
            continue
        row = parse_row(text)
        if isinstance(row, Refused):
            found.rows[UNKNOWN] += 1
            found.drop(UNKNOWN, "error", "bad-row", f"row dropped: {row.reason}", line)
        else:
            found.rows[NAMES[row.kind]] += 1
            found.boxes.append(Box(row.kind, row.xyxy, {}, line))
    if not found.boxes and not found.findings:
        found.leave_out = (
            "its annotation holds no box, though a class is listed: a gap, not a background"
            " (issue 17)"
        )
    return found


def present(source: Source) -> bool:
    """Whether annotations and images lie there unpacked."""
    images, notes, _ = _files(source)
    return bool(images and notes)


def plan(source: Source, options: Options, tell: Tell) -> Plan:
    """Match images, annotations and the list by stem, which is unique over the whole set."""
    images, notes, lists = _files(source)
    if not notes:
        raise NothingFound(source.given, "no ExDark annotations found", EXPECTED)
    if not lists:
        raise UsageError(
            f"{source.given}: no {LIST}, which holds splits and lighting; put it there "
            "(https://github.com/cs-chan/Exclusively-Dark-Image-Dataset, folder Groundtruth)"
        )
    listed = _read_list(lists[0], source, tell)
    annotated = set(notes.values())
    exact = {path.name for path in notes}

    def rank(path: Path) -> tuple[bool, bool]:  # the annotated one of two, the exact one first
        note = f"{path.name.strip()}.txt"
        return note.casefold() not in annotated, note not in exact

    images.sort(key=rank)
    index = only_images(images, source, tell)
    items = list(_matched(index, notes, listed, source, tell))
    for image in index.values():
        tell(lacking("annotation", source, image))
        source.leave_out(image, None, "no-annotation")
    for row in (row for key, row in listed.items() if key not in index):
        tell(
            Finding(
                "error",
                "absent",
                row.name,
                None,
                f"listed in {LIST}, but neither image nor annotation is there",
            )
        )
    found = {item.split for item in items}
    splits = tuple(split for split in SPLITS if split in found)
    return Plan(
        NAMES, splits, len(items), iter(sorted_items(items)), {split: (split,) for split in splits}
    )


def _matched(
    images: dict[str, Path],
    notes: dict[Path, str],
    listed: dict[str, Listed],
    source: Source,
    tell: Tell,
) -> Iterator[Item]:
    """Bring annotation, image and row of the list together; the latter two are taken out of their
    dictionaries.
    """
    seen: set[str] = set()
    for file, name in notes.items():
        key = stem(name.removesuffix(".txt"))
        row, image = listed.pop(key, None), images.pop(key, None)
        if key in seen:
            tell(
                Finding(
                    "error",
                    "annotated-twice",
                    source.shown(file),
                    None,
                    "left out: its image has an annotation",
                )
            )
        elif image is None:
            tell(lacking("image", source, file))
        elif row is None:
            source.leave_out(image, None, "not-listed")
            tell(
                Finding(
                    "error",
                    "not-listed",
                    source.shown(image),
                    None,
                    f"left out: {LIST} has no valid row for it",
                )
            )
        else:
            if f"{image.name.strip()}.txt".casefold() != name:
                reason = f"{source.shown(file)}: taken for {image.name}, whose format is another"
                tell(Finding("guess", "other-suffix", source.shown(file), None, reason))
            note = partial(read, file, source.shown(file), row)
            yield Item(SPLITS[row.split - 1], image, plain_name(image.name.strip()), file, note)
        seen.add(key)


def _files(source: Source) -> tuple[list[Path], dict[Path, str], list[Path]]:
    """Images, annotations with their names in lower case, and lists."""
    images: list[Path] = []
    notes: dict[Path, str] = {}
    lists: list[Path] = []
    for folder in source.walk():
        for name in folder.files:
            path = folder.path / name
            if is_image(name.strip()):
                images.append(path)
            elif name.casefold() == LIST:
                lists.append(path)
            elif match := _NOTE_NAME.fullmatch(name):
                notes[path] = f"{match[1].strip()}.txt".casefold()
    return images, notes, lists


def _read_list(file: Path, source: Source, tell: Tell) -> dict[str, Listed]:
    """Rows of imageclasslist.txt by stem."""
    try:
        lines = read_text(file).splitlines()
    except Unreadable as error:
        raise UsageError(f"{file}: {error}; get it anew") from None
    listed: dict[str, Listed] = {}
    for line, text in enumerate(lines, 1):
        if not text.strip() or "|" in text:  # the header
            continue
        row = parse_listed(text)
        if isinstance(row, Refused):
            tell(
                Finding("error", "bad-row", source.shown(file), line, f"row dropped: {row.reason}")
            )
        elif stem(row.name) in listed:
            tell(
                Finding(
                    "error",
                    "listed-twice",
                    source.shown(file),
                    line,
                    f"row dropped: {row.name} is there already",
                )
            )
        else:
            listed[stem(row.name)] = row
    return listed
