"""COCO's JSON: rows and entries read one by one, kept in a table of numbers.

Format: https://cocodataset.org/#format-data. What tools write beside the format is read as what it
means: null for no crowd, 1.0 and "1" for 1.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from scsa_yolo.datasets.native.balance import UNKNOWN
from scsa_yolo.datasets.native.jsonstream import stream
from scsa_yolo.datasets.native.records import (
    XYXY,
    Annotation,
    Box,
    Finding,
    Ignored,
    Refused,
    Tell,
    Unreadable,
    is_finite,
    number,
    whole,
)
from scsa_yolo.datasets.native.source import Source

Id = int | str


class Row(NamedTuple):
    """An element of ``annotations``. ``area`` is that of the segment, by which COCO's evaluation
    sorts sizes.
    """

    image: Id
    category: int
    xyxy: XYXY
    area: float | None
    crowd: bool


class Entry(NamedTuple):
    """An element of ``images``; width and height are None where they are not given. ``others`` are
    the ids of further entries of the same file name.
    """

    image: Id
    file_name: str
    size: tuple[int, int] | None
    conditions: Mapping[str, str]
    others: tuple[Id, ...] = ()


def parse_row(element: Any) -> Row | Refused:
    """Read an element of ``annotations``."""
    if not isinstance(element, dict):
        return Refused("not a JSON object")
    image, category, box = element.get("image_id"), element.get("category_id"), element.get("bbox")
    owner, kind = _id(image), whole(category)
    if owner is None:
        return Refused(f"image_id must be a number or text, got {_short(image)}")
    if kind is None or abs(kind) >= 2**31:
        return Refused(f"category_id must be a whole number, got {_short(category)}")
    sides = [_number(value) for value in box] if isinstance(box, list) else []
    if len(sides) != 4 or None in sides:
        return Refused(f"bbox must be [x, y, width, height], got {_short(box)}")
    crowd = _crowd(element.get("iscrowd"))
    if crowd is None:
        return Refused(f"iscrowd must be 0 or 1, got {_short(element['iscrowd'])}")
    x, y, width, height = (side for side in sides if side is not None)
    xyxy = x, y, x + width, y + height
    if not is_finite(xyxy):
        return Refused("the box is out of all bounds")
    return Row(owner, kind, xyxy, _number(element.get("area")), crowd)


def parse_entry(element: Any) -> Entry | Refused:
    """Read an element of ``images``. Of ``extra_info``, as FLIR has it, what is text becomes a
    condition.
    """
    if not isinstance(element, dict):
        return Refused("not a JSON object")
    image, name = element.get("id"), element.get("file_name")
    key = _id(image)
    if key is None:
        return Refused(f"id must be a number or text, got {_short(image)}")
    plain = _file_name(name)
    if plain is None:
        return Refused(f"file_name must be text, got {_short(name)}")
    width, height = whole(element.get("width")), whole(element.get("height"))
    stated = (width, height) if width and height and min(width, height) > 0 else None
    extra = element.get("extra_info")
    conditions = {}
    if isinstance(extra, dict):
        conditions = {k: v for k, v in extra.items() if isinstance(v, str) and v}
    return Entry(key, plain, stated, conditions)


def _file_name(name: Any) -> str | None:
    """Return a path with plain slashes and without ``./``; None where it names no file."""
    if not isinstance(name, str) or not _is_text(name):
        return None
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    return "/".join(parts) if parts and parts[-1].strip(".") else None


def _is_text(name: str) -> bool:
    """Whether a name can be written into a text file: no half of a character, no NUL."""
    return name.isprintable() or not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in name)


def _id(value: Any) -> Id | None:
    """Return an id; 7, 7.0 and "7" are the same, "007" is another."""
    if isinstance(value, str):
        plain = number(value) if len(value) < 16 else None  # a float holds 15 digits
        return int(plain) if plain is not None and str(int(plain)) == value else value
    return whole(value)


def _number(value: Any) -> float | None:
    """Return a JSON value as a number, also one written as text."""
    if isinstance(value, str):
        return number(value.strip())
    # an int too big for a float would raise later
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        return None
    return float(value)


def _crowd(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return bool(value)
    flag = whole(value)
    return bool(flag) if flag in (0, 1) else None


def _short(value: Any) -> str:
    text = ascii(value) if isinstance(value, str) and not _is_text(value) else repr(value)
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) < 60 else f"{text[:57]}..."


@dataclass
class Table:
    """The boxes of one JSON, 60 bytes each whatever the file's size, and its images and
    categories.

    Attributes:
        file: The JSON.
        shown: How to call it.
        entries: Images by id.
        categories: Names of classes by id.
        rows: How many annotations were read, those dropped among them.
        bad: How many of them could not be read.
        orphans: Those of images that the JSON does not list, by category.
    """

    file: Path
    shown: str
    entries: dict[Id, Entry] = field(default_factory=dict)
    categories: dict[int, str] = field(default_factory=dict)
    rows: int = 0
    bad: int = 0
    orphans: Counter[int] = field(default_factory=Counter)
    numbers: dict[Id, int] = field(default_factory=dict)  # image id -> number, as they appear
    image: array[int] = field(default_factory=lambda: array("i"))
    category: array[int] = field(default_factory=lambda: array("i"))
    xyxy: array[float] = field(default_factory=lambda: array("d"))
    area: array[float] = field(default_factory=lambda: array("d"))
    crowd: array[int] = field(default_factory=lambda: array("b"))
    ordinal: array[int] = field(default_factory=lambda: array("i"))  # place in ``annotations``
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

    def of(self, image: Id) -> list[int]:
        """Return the places of an image's boxes."""
        number = self.numbers.get(image)
        if number is None:
            return []
        places: list[int] = self.order[self.first[number] : self.first[number + 1]].tolist()
        return places

    def places(self, entry: Entry) -> list[int]:
        """Return the places of all boxes of an entry, and of others of its file name."""
        return [place for image in (entry.image, *entry.others) for place in self.of(image)]

    def label(self, category: int, names: Mapping[int, str]) -> str:
        """How to call a category in a count."""
        return names.get(category, f"category {category}")

    def pictures(self) -> list[Entry]:
        """Return the entries, those of one file name as one: the boxes of all belong to it."""
        found: dict[str, Entry] = {}
        for entry in self.entries.values():
            first = found.setdefault(entry.file_name, entry)
            if first is not entry:
                conditions = first.conditions or entry.conditions
                others = (*first.others, entry.image)
                size = first.size or entry.size
                found[entry.file_name] = Entry(
                    first.image, first.file_name, size, conditions, others
                )
        return list(found.values())

    def sizes(self, entry: Entry) -> set[tuple[int, int]]:
        """Return the sizes that the entries of one file name state."""
        stated = (self.entries[image].size for image in (entry.image, *entry.others))
        return {size for size in stated if size is not None}


def load(file: Path, source: Source, tell: Tell, flags: tuple[str, ...] = ()) -> Table | None:
    """Read a JSON; None, after telling why, where it is not whole. ``flags`` are keys of
    annotations worth keeping.
    """
    table = Table(file, source.shown(file))
    ordinal = {"images": 0, "annotations": 0, "categories": 0}

    def bad(what: str, reason: str) -> None:
        text = f"{what}[{ordinal[what]}] dropped: {reason}"
        tell(Finding("error", "bad-row", table.shown, None, text))

    try:
        for key, element in stream(file):
            if key not in ordinal:
                continue
            if key == "images":
                _add_image(table, element, bad)
            elif key == "categories":
                _add_category(table, element, bad)
            elif isinstance(row := parse_row(element), Refused):
                table.bad += 1
                bad(key, row.reason)
            else:
                table.add(row, ordinal[key], _flags(element, flags) if flags else {})
            ordinal[key] += 1
    except (Unreadable, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        text = f"left out, the whole split: {reason}"
        tell(Finding("error", "bad-file", table.shown, None, text))
        return None
    table.rows = ordinal["annotations"]
    _same_ids(table)
    table.sort()
    _tell_orphans(table, tell)
    return table


def _same_ids(table: Table) -> None:
    """Let image_id "000012" or 12 mean the image "12" or "000012", where only one can be meant."""
    unknown = [image for image in table.numbers if image not in table.entries]
    if not unknown:
        return
    spelled: dict[int, list[Id]] = {}
    for image in table.entries:
        value = whole(image)
        if value is not None:
            spelled.setdefault(value, []).append(image)
    for image in unknown:
        value = whole(image)
        meant = spelled.get(value, []) if value is not None else []
        if len(meant) == 1 and meant[0] not in table.numbers:
            table.numbers[meant[0]] = table.numbers.pop(image)


def _tell_orphans(table: Table, tell: Tell) -> None:
    for image in (image for image in table.numbers if image not in table.entries):
        for place in table.of(image):
            table.orphans[table.category[place]] += 1
            reason = (
                f"annotations[{table.ordinal[place]}] dropped: there is no image with id"
                f" {_short(image)}"
            )
            tell(Finding("error", "no-such-image", table.shown, None, reason))


def _add_image(table: Table, element: Any, bad: Any) -> None:
    entry = parse_entry(element)
    if isinstance(entry, Refused):
        bad("images", entry.reason)
    elif entry.image not in table.entries:
        table.entries[entry.image] = entry
    elif table.entries[entry.image] != entry:
        bad("images", f"id {_short(entry.image)} is there already, with another image")


def _add_category(table: Table, element: Any, bad: Any) -> None:
    content = element if isinstance(element, dict) else {}
    number, name = whole(content.get("id")), content.get("name")
    if isinstance(name, int | float) and not isinstance(name, bool):
        name = str(name)  # classes that are called 0 to 9
    if number is None or not isinstance(name, str) or not name.strip() or not _is_text(name):
        bad("categories", f"id must be a whole number and name text, got {_short(element)}")
    elif table.categories.setdefault(number, name.strip()) != name.strip():
        bad("categories", f"id {number} is {table.categories[number]!r} already")


def _flags(element: dict[str, Any], wanted: tuple[str, ...]) -> dict[str, Any]:
    """What an annotation, or its ``attributes`` or ``extra_info``, says about how well the object
    is seen.
    """
    inner = (element.get(key) for key in ("attributes", "extra_info"))
    places = [element, *(place for place in inner if isinstance(place, dict))]
    found = {}
    for place in places:
        for name in wanted:
            value = place.get(name)
            if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
                found[name] = value
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
    if len(table.sizes(entry)) > 1:
        sizes = " and ".join(f"{w}x{h}" for w, h in sorted(table.sizes(entry)))
        reason = f"{entry.file_name} left out: its entries state the sizes {sizes}"
        found.tell("error", "two-sizes", reason)
        found.leave_out = "two sizes"
    for place in table.places(entry):
        x1, y1, x2, y2 = table.xyxy[4 * place : 4 * place + 4]
        number = table.category[place]
        name, index = names.get(number), kinds.index.get(names.get(number, ""))
        label = table.label(number, names)
        found.rows[label] += 1
        if name is not None and name in kinds.ignored:
            found.ignored.append(Ignored(None, (x1, y1, x2, y2), "dontcare", None, name))
        elif index is None:
            _other_class(found, table.ordinal[place], name, label, kinds)
        elif table.crowd[place]:
            found.ignored.append(Ignored(index, (x1, y1, x2, y2), "crowd", None))
        else:
            area = {"area": table.area[place]} if table.area[place] >= 0 else {}
            what = f"annotations[{table.ordinal[place]}]"
            flags = {**area, **table.flags.get(place, {})}
            found.boxes.append(Box(index, (x1, y1, x2, y2), flags, None, what))
    return found


def _other_class(
    found: Annotation, ordinal: int, name: str | None, label: str, kinds: Kinds
) -> None:
    what = f"annotations[{ordinal}] dropped"
    shown = label if name is None else f"class {name!r}"
    if kinds.asked and name:
        found.drop(label, "dropped", "other-class", f"{what}: {shown} is not asked for")
    else:
        found.drop(label, "error", "unknown-class", f"{what}: {shown} is unknown")


def account(table: Table, split: str, names: Mapping[int, str], source: Source) -> None:
    """Enter into the balance what is known of a JSON before its pictures are looked at."""
    source.balance.seen += table.rows
    if table.bad:
        source.balance.drop(split, UNKNOWN, "bad-row", table.bad)
    for category, count in table.orphans.items():
        source.balance.drop(split, table.label(category, names), "no-such-image", count)
