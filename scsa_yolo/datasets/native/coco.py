"""Any COCO JSON: ``annotations/instances_<split>.json``, and the images wherever they lie.

Format: https://cocodataset.org/#format-data. Crowd boxes stand for many objects at once: no label,
    but an ignored box.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from scsa_yolo.datasets.native.cocotable import (
    Entry,
    Kinds,
    Row,
    Table,
    account,
    load,
    parse_entry,
    parse_row,
    read,
)
from scsa_yolo.datasets.native.draw import draw
from scsa_yolo.datasets.native.options import Official, Options
from scsa_yolo.datasets.native.pairing import Finder
from scsa_yolo.datasets.native.records import (
    Finding,
    Item,
    NothingFound,
    Plan,
    Tell,
    UsageError,
)
from scsa_yolo.datasets.native.source import Source, flat_names, is_image
from scsa_yolo.datasets.native.splits import (
    ROLES,
    role_of,
    split_named,
    split_rank,
    split_word,
    words,
)
from scsa_yolo.support.files import open_regular

__all__ = [
    "Entry",
    "Finder",
    "Kinds",
    "Row",
    "items_of",
    "load",
    "parse_entry",
    "parse_row",
    "plan",
]

OFFICIAL = {"train2017": Official(118287), "val2017": Official(5000)}
OPTIONS = frozenset({"classes", "ignore", "annotations", "val_share", "seed", "sizes"})
EXPECTED = (
    "annotations/instances_<split>.json (or any JSON with images, annotations and categories) and"
    " the images"
)

_NOT_BOXES = ("captions", "person_keypoints", "image_info", "stuff", "panoptic")
_NO_NAME = frozenset({"annotation", "annotations", "coco", "instances", "labels", "result"})


def wanted(name: str) -> bool:
    """Whether an archive's member is worth unpacking: not captions, key points and masks."""
    return not (name.endswith(".json") and PurePosixPath(name).name.startswith(_NOT_BOXES))


def items_of(
    table: Table,
    split: str,
    finder: Finder,
    kinds: Kinds,
    names: Mapping[int, str],
    tell: Tell,
) -> list[Item]:
    """Pair a table's images with files. Images without boxes are kept: they are background."""
    entries = table.pictures()
    account(table, split, names, finder.source)
    found: list[Item] = []
    for entry, name in zip(entries, flat_names([entry.file_name for entry in entries])):
        if entry.others:
            reason = f"{entry.file_name} is there {1 + len(entry.others)} times: boxes of all taken"
            tell(Finding("note", "entries-of-one-image", table.shown, None, reason))
        match = finder.find(entry.file_name, split, table.file)
        if match.picture is None:
            reason = f"{entry.file_name} left out: {match.reason}"
            tell(Finding("error", "no-image", table.shown, None, reason))
            for place in table.places(entry):
                label = table.label(table.category[place], names)
                finder.source.balance.drop(split, label, "no-image")
            continue
        if match.guess:
            tell(Finding("guess", match.guess[0], table.shown, None, match.guess[1]))
        reader = partial(read, table, entry, names, kinds)
        found.append(Item(split, match.picture.path, name, table.file, reader))
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
        with open_regular(file) as data:
            chunk = data.read(1 << 16)
    except OSError:
        return True  # so that it is reported
    start = chunk.decode(json.detect_encoding(chunk[:4]), errors="replace")
    return not start.strip() or any(
        json.dumps(key) in start for key in ("images", "annotations", "categories")
    )


def _stem(file: Path) -> str:
    """Return a JSON's name without what says that it is one."""
    name = file.name.lower().removesuffix(".json").removesuffix(".coco")
    return name.removeprefix("instances_").strip("_ .")


def split_name(file: Path, folders: tuple[str, ...]) -> str | None:
    """Name a JSON's split: ``instances_val2017.json`` is val2017, ``valid/_annotations.coco.json``
    and ``annotations_VisDrone_val.json`` are val; None where neither file nor folder says.
    """
    name = _stem(file)
    if split_named([name]):
        return name if any(c.isdigit() for c in name) else split_named([name])
    return split_word(file.stem) or split_named(reversed(folders))


def _splits(files: list[Path], source: Source, tell: Tell) -> dict[str, Path]:
    """Give each JSON its split. Where several are of one, their own names tell them apart."""
    named = {file: split_name(file, source.below(file.parent)) for file in files}
    count = Counter(named.values())
    splits: dict[str, Path] = {}
    for file, split in named.items():
        own = "_".join(_stem(file).split())
        plain = set(words(own)) <= _NO_NAME  # such as annotations.json
        if split is None:
            name = own if not plain else file.parent.name if count[None] > 1 else "train"
            reason = f"neither its name nor its folder says which split it is: taken as {name}"
            if len(files) > 1:
                tell(Finding("guess", "split-unknown", source.shown(file), None, reason))
        else:
            name = own if count[split] > 1 and not plain else split
        if name in splits:
            raise UsageError(
                f"{file} and {splits[name]} are both split {name}; choose with --annotations"
            )
        splits[name] = file
    return splits


def present(source: Source) -> bool:
    """Whether annotations and images lie there unpacked."""
    images = any(is_image(name) for folder in source.walk() for name in folder.files)
    return images and bool(_jsons(source, Options()))


def plan(source: Source, options: Options, tell: Tell) -> Plan:
    """Read the JSONs, number their classes by sorted id, find the images."""
    files = _splits(_jsons(source, options), source, tell)
    if {"train", "val"} <= {role_of(split) for split in files}:
        for split in [split for split in files if split.startswith("trainval")]:
            tell(Finding("note", "not-used", source.shown(files.pop(split)), None, _BOTH))
    loaded = {split: load(file, source, tell) for split, file in files.items()}
    tables = {split: table for split, table in loaded.items() if table is not None}
    if not tables:
        raise NothingFound(source.given, "no whole COCO annotation found", EXPECTED)
    categories = _merge(tables)
    kinds = _kinds(categories, options, tables)
    finder = Finder(source)
    for split, table in tables.items():
        finder.expect(split, table.file, (entry.file_name for entry in table.entries.values()))
    items = {}
    for split in sorted(tables, key=split_rank):
        items[split] = items_of(tables[split], split, finder, kinds, categories, tell)
    items = _drawn(items, options)
    splits = tuple(sorted((split for split in items if items[split]), key=split_rank))
    roles = {role: tuple(s for s in splits if role_of(s) == role) for role in ROLES}
    total = sum(map(len, items.values()))
    return Plan(tuple(kinds.index), splits, total, (i for s in splits for i in items[s]), roles)


_BOTH = "left out: its parts train and val are there"


def _drawn(items: dict[str, list[Item]], options: Options) -> dict[str, list[Item]]:
    """Draw val out of what is not for testing, where the user asks for it."""
    if options.val_share is None:
        return items
    if any(role_of(split) == "val" for split in items):
        raise UsageError("--val-share: the source has a val split of its own; leave the option out")
    drawn: dict[str, list[Item]] = {}
    for split, of_split in items.items():
        if role_of(split) == "test":
            drawn[split] = of_split
            continue
        sides = draw([item.image for item in of_split], options.val_share, options.seed)
        for item, side in zip(of_split, sides):
            own = split if side == "train" else "val"
            drawn.setdefault(own, []).append(replace(item, split=own))
    val = drawn.get("val", [])
    names = flat_names([item.name for item in val])  # two splits may have one name
    drawn["val"] = [replace(item, name=name) for item, name in zip(val, names)]
    return drawn


def _kinds(categories: Mapping[int, str], options: Options, tables: Mapping[str, Table]) -> Kinds:
    """Number the classes."""
    if not categories:
        file = next(iter(tables.values())).file
        raise UsageError(
            f"{file}: no categories that can be read, so nobody can say which class a box is of;"
            ' add "categories": [{"id": 1, "name": "..."}]'
        )
    ignored = frozenset(options.ignore)
    every = dict.fromkeys(name for name in categories.values() if name not in ignored)
    names = options.classes or tuple(every)
    for name in sorted({*options.classes, *ignored} - set(categories.values())):
        raise UsageError(
            f"class {name!r} is not among the categories: {', '.join(categories.values())}"
        )
    return Kinds({name: index for index, name in enumerate(names)}, ignored, bool(options.classes))


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
