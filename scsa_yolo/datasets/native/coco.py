"""Any COCO JSON: ``annotations/instances_<split>.json``, and the images wherever they lie.

Format: https://cocodataset.org/#format-data. Crowd boxes stand for many objects at once: no label,
    but an ignored box.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from scsa_yolo.datasets.native.jsonstream import stream
from scsa_yolo.datasets.native.options import Official, Options
from scsa_yolo.datasets.native.records import (
    XYXY,
    Annotation,
    Box,
    Finding,
    Ignored,
    Item,
    NothingFound,
    Plan,
    Refused,
    Tell,
    Unreadable,
    UsageError,
    is_finite,
)
from scsa_yolo.datasets.native.source import (
    Source,
    flat_names,
    is_image,
    split_named,
    split_rank,
    stem,
)

OFFICIAL = {"train2017": Official(118287), "val2017": Official(5000)}
OPTIONS = frozenset({"classes", "ignore", "annotations"})
EXPECTED = (
    "annotations/instances_<split>.json (or any JSON with images, annotations and categories) and"
    " the images"
)

_NOT_BOXES = ("captions", "person_keypoints", "image_info", "stuff", "panoptic")


def wanted(name: str) -> bool:
    """Whether an archive's member is worth unpacking: not captions, key points and masks."""
    return not (name.endswith(".json") and PurePosixPath(name).name.startswith(_NOT_BOXES))


class Row(NamedTuple):
    """An element of ``annotations``. ``area`` is that of the segment, by which COCO's evaluation
    sorts sizes.
    """

    image: int | str
    category: int
    xyxy: XYXY
    area: float | None
    crowd: bool


class Entry(NamedTuple):
    """An element of ``images``; width and height are None where they are not given."""

    image: int | str
    file_name: str
    size: tuple[int, int] | None
    conditions: Mapping[str, str]


def parse_row(element: Any) -> Row | Refused:
    """Read an element of ``annotations``."""
    if not isinstance(element, dict):
        return Refused("not a JSON object")
    image, category, box = element.get("image_id"), element.get("category_id"), element.get("bbox")
    if isinstance(image, bool) or not isinstance(image, int | str):
        return Refused(f"image_id must be a number or text, got {_short(image)}")
    if isinstance(category, bool) or not isinstance(category, int) or abs(category) >= 2**31:
        return Refused(f"category_id must be a whole number, got {_short(category)}")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        return Refused(f"bbox must be [x, y, width, height], got {_short(box)}")
    crowd, area = element.get("iscrowd", 0), element.get("area")
    if crowd not in (0, 1):
        return Refused(f"iscrowd must be 0 or 1, got {_short(crowd)}")
    x, y, width, height = map(float, box)
    xyxy = x, y, x + width, y + height
    if not is_finite(xyxy):
        return Refused("the box is out of all bounds")
    return Row(
        image,
        category,
        xyxy,
        float(area) if area is not None and _is_number(area) else None,
        bool(crowd),
    )


def parse_entry(element: Any) -> Entry | Refused:
    """Read an element of ``images``. Of ``extra_info``, as FLIR has it, what is text becomes a
    condition.
    """
    if not isinstance(element, dict):
        return Refused("not a JSON object")
    image, name = element.get("id"), element.get("file_name")
    if isinstance(image, bool) or not isinstance(image, int | str):
        return Refused(f"id must be a number or text, got {_short(image)}")
    if not isinstance(name, str) or not PurePosixPath(name.replace("\\", "/")).name.strip("."):
        return Refused(f"file_name must be text, got {_short(name)}")
    size = element.get("width"), element.get("height")
    stated = (
        tuple(size)
        if all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in size)
        else None
    )
    extra = element.get("extra_info")
    conditions = (
        {k: v for k, v in extra.items() if isinstance(v, str) and v}
        if isinstance(extra, dict)
        else {}
    )
    return Entry(image, name.replace("\\", "/"), stated, conditions)  # type: ignore[arg-type] # mypy: the pair's values


def _is_number(value: Any) -> bool:
    # an int too big for a float would raise later
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


@dataclass
class Table:
    """The boxes of one JSON, 60 bytes each whatever the file's size, and its images and
    categories.
    """

    file: Path
    shown: str
    entries: dict[int | str, Entry] = field(default_factory=dict)
    categories: dict[int, str] = field(default_factory=dict)
    numbers: dict[int | str, int] = field(
        default_factory=dict
    )  # image id -> number, in order of appearance
    image: array[int] = field(default_factory=lambda: array("i"))
    category: array[int] = field(default_factory=lambda: array("i"))
    xyxy: array[float] = field(default_factory=lambda: array("d"))
    area: array[float] = field(default_factory=lambda: array("d"))
    crowd: array[int] = field(default_factory=lambda: array("b"))
    ordinal: array[int] = field(
        default_factory=lambda: array("i")
    )  # place in the file's ``annotations``
    flags: dict[int, dict[str, Any]] = field(default_factory=dict)
    order: Any = None  # boxes sorted by image, and the first of each image
    first: Any = None

    def add(self, row: Row, ordinal: int, flags: dict[str, Any]) -> None:
        """Keep a box."""
        if flags:
            self.flags[len(self.image)] = flags
        self.image.append(self.numbers.setdefault(row.image, len(self.numbers)))
        self.category.append(row.category)
        self.xyxy.extend(row.xyxy)
        self.area.append(-1.0 if row.area is None else row.area)
        self.crowd.append(row.crowd)
        self.ordinal.append(ordinal)

    def sort(self) -> None:
        """Group the boxes by image, in their order."""
        import numpy as np

        owner = np.asarray(self.image, dtype=np.int64)
        self.order = np.argsort(owner, kind="stable")
        self.first = np.searchsorted(owner[self.order], np.arange(len(self.numbers) + 1))

    def of(self, image: int | str) -> list[int]:
        """Return the places of an image's boxes."""
        number = self.numbers.get(image)
        return (
            []
            if number is None
            else self.order[self.first[number] : self.first[number + 1]].tolist()
        )


def load(file: Path, source: Source, tell: Tell, flags: tuple[str, ...] = ()) -> Table | None:
    """Read a JSON; None, after telling why, where it is not whole. ``flags`` are keys of
    annotations worth keeping.
    """
    table = Table(file, source.shown(file))
    ordinal = {"images": 0, "annotations": 0, "categories": 0}

    def bad(what: str, reason: str) -> None:
        tell(
            Finding(
                "error", "bad-row", table.shown, None, f"{what}[{ordinal[what]}] dropped: {reason}"
            )
        )

    try:
        for key, element in stream(file):
            if key not in ordinal:
                continue
            if key == "images":
                _add_image(table, element, bad)
            elif key == "categories":
                _add_category(table, element, bad)
            elif isinstance(row := parse_row(element), Refused):
                bad(key, row.reason)
            else:
                table.add(row, ordinal[key], _flags(element, flags) if flags else {})
            ordinal[key] += 1
    except (Unreadable, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        tell(
            Finding("error", "bad-file", table.shown, None, f"left out, the whole split: {reason}")
        )
        return None
    table.sort()
    for image in (image for image in table.numbers if image not in table.entries):
        for place in table.of(image):
            reason = (
                f"annotations[{table.ordinal[place]}] dropped: there is no image with id"
                f" {_short(image)}"
            )
            tell(Finding("error", "no-such-image", table.shown, None, reason))
    return table


def _add_image(table: Table, element: Any, bad: Any) -> None:
    entry = parse_entry(element)
    if isinstance(entry, Refused):
        bad("images", entry.reason)
    elif entry.image in table.entries:
        bad("images", f"id {_short(entry.image)} is there already")
    else:
        table.entries[entry.image] = entry


def _add_category(table: Table, element: Any, bad: Any) -> None:
    number, name = (
        (element.get("id"), element.get("name")) if isinstance(element, dict) else (None, None)
    )
    if (
        isinstance(number, bool)
        or not isinstance(number, int)
        or not isinstance(name, str)
        or not name.strip()
    ):
        bad("categories", f"id must be a whole number and name text, got {_short(element)}")
    elif table.categories.setdefault(number, name.strip()) != name.strip():
        bad("categories", f"id {number} is {table.categories[number]!r} already")


def _flags(element: dict[str, Any], wanted: tuple[str, ...]) -> dict[str, Any]:
    """What an annotation, or its ``attributes`` or ``extra_info``, says about how well the object
    is seen.
    """
    places = [
        element,
        *(
            element[key]
            for key in ("attributes", "extra_info")
            if isinstance(element.get(key), dict)
        ),
    ]
    found = {
        name: place[name]
        for place in places
        for name in wanted
        if isinstance(place.get(name), str | int | float)
    }
    return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class Kinds:
    """What becomes of the classes of a source: ``index`` counts them, ``ignored`` ones are not
    ground truth.
    """

    index: Mapping[str, int]
    ignored: frozenset[str] = frozenset()
    asked: bool = False  # whether the user chose the classes: another one is then no error


def read(table: Table, entry: Entry, names: Mapping[int, str], kinds: Kinds) -> Annotation:
    """Collect an image's boxes."""
    found = Annotation(table.shown, conditions=entry.conditions, stated_size=entry.size)
    for place in table.of(entry.image):
        x1, y1, x2, y2 = table.xyxy[4 * place : 4 * place + 4]
        what, number = f"annotations[{table.ordinal[place]}]", table.category[place]
        name, index = names.get(number), kinds.index.get(names.get(number, ""))
        if name is not None and name in kinds.ignored:
            found.ignored.append(Ignored(None, (x1, y1, x2, y2), "dontcare", None))
        elif index is None:
            shown = f"category {number}" if name is None else f"class {name!r}"
            kind, code = (
                ("dropped", "other-class") if kinds.asked and name else ("error", "unknown-class")
            )
            found.tell(
                kind,
                code,
                f"{what} dropped: {shown} is"
                f" {'not asked for' if code == 'other-class' else 'unknown'}",
            )
        elif table.crowd[place]:
            found.ignored.append(Ignored(index, (x1, y1, x2, y2), "crowd", None))
        else:
            area = {"area": table.area[place]} if table.area[place] >= 0 else {}
            found.boxes.append(
                Box(index, (x1, y1, x2, y2), {**area, **table.flags.get(place, {})}, None, what)
            )
    return found


class Finder:
    """Looks images up by name, in whatever folder they are."""

    def __init__(self, source: Source):
        self.paths: dict[str, list[Path]] = {}
        self.source = source
        for folder in source.walk():
            for name in folder.files:
                if is_image(name):
                    self.paths.setdefault(name.casefold(), []).append(folder.path / name)

    def find(self, name: str, split: str, near: Path) -> Path | None:
        """Return the image of that path if there is one, else that of the split, else the nearest
        to the JSON.
        """
        wanted = PurePosixPath(name)

        def rank(path: Path) -> tuple[int, int, int]:
            same = sum(1 for _ in _same_end(path.parts, wanted.parts))
            parts = [part.casefold() for part in path.parts[:-1]]
            of_split = split.casefold() in parts or (
                split_named(reversed(parts)) or "?"
            ) == split_named([split])
            shared = sum(1 for a, b in zip(path.parts, near.parts) if a == b)
            return -same, -of_split, -shared

        return min(self.paths.get(wanted.name.casefold(), ()), key=rank, default=None)


def _same_end(a: tuple[str, ...], b: tuple[str, ...]) -> Iterator[str]:
    for x, y in zip(reversed(a), reversed(b)):
        if x.casefold() != y.casefold():
            return
        yield x


def items_of(
    table: Table, split: str, finder: Finder, kinds: Kinds, names: Mapping[int, str], tell: Tell
) -> list[Item]:
    """Pair a table's images with files. Images without boxes are kept: they are background."""
    entries = list(table.entries.values())
    found: list[Item] = []
    taken: dict[str, str] = {}
    for entry, name in zip(entries, flat_names([entry.file_name for entry in entries])):
        image = finder.find(entry.file_name, split, table.file.parent)
        if image is None:
            reason = f"{entry.file_name} left out: there is no such image"
            tell(Finding("error", "no-image", table.shown, None, reason))
        elif stem(name) in taken:
            reason = (
                f"{entry.file_name} left out: it would share the label file of {taken[stem(name)]}"
            )
            tell(Finding("error", "two-images-of-one-name", table.shown, None, reason))
        else:
            taken[stem(name)] = entry.file_name
            found.append(
                Item(split, image, name, table.file, partial(read, table, entry, names, kinds))
            )
    return sorted(found, key=lambda item: item.name)


def _jsons(source: Source, options: Options) -> list[Path]:
    """The files to read: those asked for, else ``instances_*``, else all that look like COCO's."""
    files = [
        folder.path / n
        for folder in source.walk()
        for n in folder.files
        if n.lower().endswith(".json")
    ]
    if options.annotations:
        chosen = [
            file
            for file in files
            if source.shown(file) in options.annotations or file.name in options.annotations
        ]
        absent = [
            n
            for n in options.annotations
            if not any(n in (source.shown(f), f.name) for f in chosen)
        ]
        if absent:
            raise UsageError(f"{source.given}: no annotation file {absent[0]}")
        return chosen
    official = [file for file in files if file.name.lower().startswith("instances_")]
    return official or [
        file
        for file in files
        if not file.name.lower().startswith(_NOT_BOXES) and _looks_right(file)
    ]


def _looks_right(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8-sig") as text:
            start = text.read(1 << 16)
    except (OSError, UnicodeDecodeError):
        return True  # so that it is reported
    return not start.strip() or any(
        json.dumps(key) in start for key in ("images", "annotations", "categories")
    )


def split_name(file: Path) -> str:
    """Name a JSON's split: ``instances_val2017.json`` is val2017, ``valid/_annotations.coco.json``
    is val.
    """
    name = (
        file.name.lower()
        .removesuffix(".json")
        .removesuffix(".coco")
        .removeprefix("instances_")
        .strip("_ .")
    )
    if name not in ("", "annotations", "annotation", "coco", "labels", "instances"):
        return split_named([name]) or name
    return split_named([file.parent.name]) or "train"


def present(source: Source) -> bool:
    """Whether annotations and images lie there unpacked."""
    images = any(is_image(name) for folder in source.walk() for name in folder.files)
    return images and bool(_jsons(source, Options()))


def plan(source: Source, options: Options, tell: Tell) -> Plan:
    """Read the JSONs, number their classes by sorted id, find the images."""
    tables: dict[str, Table] = {}
    for file in _jsons(source, options):
        split = split_name(file)
        if split in tables:
            raise UsageError(
                f"{file} and {tables[split].file} are both split {split}; choose with --annotations"
            )
        table = load(file, source, tell)
        if table is not None:
            tables[split] = table
    if not tables:
        raise NothingFound(source.given, "no whole COCO annotation found", EXPECTED)
    categories = _merge(tables)
    ignored = frozenset(options.ignore)
    names = options.classes or tuple(
        dict.fromkeys(name for name in categories.values() if name not in ignored)
    )
    for name in sorted({*options.classes, *ignored} - set(categories.values())):
        raise UsageError(
            f"class {name!r} is not among the categories: {', '.join(categories.values())}"
        )
    kinds = Kinds({name: index for index, name in enumerate(names)}, ignored, bool(options.classes))
    finder = Finder(source)
    items = {
        s: items_of(table, s, finder, kinds, table.categories, tell) for s, table in tables.items()
    }
    splits = tuple(sorted((split for split in items if items[split]), key=split_rank))
    roles = {
        role: tuple(s for s in splits if s.startswith(role)) for role in ("train", "val", "test")
    }
    return Plan(
        names, splits, sum(map(len, items.values())), (i for s in splits for i in items[s]), roles
    )


def _merge(tables: Mapping[str, Table]) -> dict[int, str]:
    """Join the categories of all files, by id; an id must mean one thing."""
    merged: dict[int, str] = {}
    for table in tables.values():
        for number, name in table.categories.items():
            if merged.setdefault(number, name) != name:
                raise UsageError(
                    f"{table.file}: category {number} is {name!r}, elsewhere {merged[number]!r}"
                )
    return dict(sorted(merged.items()))
