"""Any set in Pascal VOC's layout: an XML per image, and lists in ``ImageSets/Main`` or a folder per
split.

Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html. VOC's pixels are
1-based and inclusive: the box of a whole 500x375 image is (1, 1, 500, 375). Difficult objects are
no ground truth.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

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
    number,
    read_text,
)
from scsa_yolo.datasets.native.source import (
    Folder,
    Source,
    images_in,
    is_image,
    lacking,
    only_images,
    split_named,
    split_rank,
    stem,
)

OFFICIAL = {"test2007": Official(4952, 12032)}
OPTIONS = frozenset({"classes", "ignore", "difficult", "pixels", "val_share", "seed"})
EXPECTED = (
    "Annotations/*.xml, the images, and lists in ImageSets/Main (or folders named train, val, test)"
)

_ROOT = re.compile(r"VOC(\d{4})", re.IGNORECASE)
_EDGES = ("xmin", "ymin", "xmax", "ymax")


def wanted(name: str) -> bool:
    """Whether an archive's member is worth unpacking: not the masks."""
    return "/SegmentationClass/" not in name and "/SegmentationObject/" not in name


class Sheet(NamedTuple):
    """An XML: its stated size, None where it is absent or zero, and line and fields of each
    object.
    """

    size: tuple[int, int] | None
    objects: tuple[tuple[int, Mapping[str, str]], ...]


class Row(NamedTuple):
    """An object, with its edges as written."""

    name: str
    edges: XYXY
    difficult: bool
    flags: Mapping[str, int]


def parse_sheet(data: bytes | str) -> Sheet | Refused:
    """Read an XML. Boxes of an object's parts (head, hand, foot) are passed over: they lie one
    level deeper.
    """
    path: list[str] = []
    text: list[str] = []
    size: dict[str, str] = {}
    objects: list[tuple[int, dict[str, str]]] = []
    parser = expat.ParserCreate()

    def start(tag: str, _attributes: dict[str, str]) -> None:
        path.append(tag)
        text.clear()
        if path[1:] == ["object"]:
            objects.append((parser.CurrentLineNumber, {}))

    def end(tag: str) -> None:
        value = "".join(text).strip()
        if path[1:2] == ["object"] and (len(path) == 3 or path[2:3] == ["bndbox"]):
            objects[-1][1].setdefault(tag, value)
        elif path[1:2] == ["size"]:
            size[tag] = value
        path.pop()
        text.clear()

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = (
        start,
        end,
        text.append,
    )
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError) as error:
        return Refused(f"not valid XML: {error}")
    sides = [number(size.get(side, "")) or 0 for side in ("width", "height")]
    return Sheet((int(sides[0]), int(sides[1])) if min(sides) >= 1 else None, tuple(objects))


def parse_row(fields: Mapping[str, str]) -> Row | Refused:
    """Read an object's fields; some sets leave ``difficult`` out, some write decimals."""
    name = fields.get("name", "")
    if not name:
        return Refused("the object has no name")
    edges = []
    for edge in _EDGES:
        value = number(fields.get(edge, ""))
        if value is None:
            return Refused(
                f"{edge} is no number: {fields[edge][:40]!r}" if edge in fields else f"no {edge}"
            )
        edges.append(value)
    flags = {}
    for flag, key in (("truncated", "truncation"), ("occluded", "occlusion")):
        value = number(fields.get(flag, ""))
        if value is not None:
            flags[key] = int(value)
    return Row(
        name,
        (edges[0], edges[1], edges[2], edges[3]),
        fields.get("difficult") in ("1", "true", "True"),
        flags,
    )


def read(file: Path, shown: str, index: Mapping[str, int], options: Options) -> Annotation:
    """Read an XML file."""
    read_text(file)  # empty or binary
    sheet = parse_sheet(file.read_bytes())
    if isinstance(sheet, Refused):
        raise Unreadable(sheet.reason)
    found = Annotation(shown, stated_size=sheet.size)
    for line, fields in sheet.objects:
        row = parse_row(fields)
        if isinstance(row, Refused):
            found.tell("error", "bad-row", f"object dropped: {row.reason}", line)
            continue
        x1, y1, x2, y2 = row.edges
        if x2 <= x1 or y2 <= y1:  # one pixel, if inclusive: a slip of the mouse all the same
            found.tell(
                "dropped",
                "no-area",
                f"{row.name} dropped: no area, ({x1:g}, {y1:g}, {x2:g}, {y2:g})",
                line,
            )
            continue
        if options.pixels == "inclusive":
            if min(x1, y1) < 1:
                found.tell(
                    "note", "zero-edge", "an edge at 0: is this set 0-based (--pixels edges)?", line
                )
            x1, y1 = x1 - 1, y1 - 1
        _sort_in(found, row, (x1, y1, x2, y2), index, options, line)
    return found


def _sort_in(
    found: Annotation, row: Row, xyxy: XYXY, index: Mapping[str, int], options: Options, line: int
) -> None:
    if row.name in options.ignore:
        found.ignored.append(Ignored(None, xyxy, "dontcare", line))
    elif row.name not in index:
        found.tell(
            "dropped", "other-class", f"{row.name} dropped: not among the classes asked for", line
        )
    elif row.difficult and options.difficult == "ignore":
        found.ignored.append(Ignored(index[row.name], xyxy, "difficult", line))
    else:
        flags = {**row.flags, **({"difficult": True} if row.difficult else {})}
        found.boxes.append(Box(index[row.name], xyxy, flags, line, row.name))


class _Pair(NamedTuple):
    split: str
    file: Path
    image: Path


def present(source: Source) -> bool:
    """Whether annotations and images lie there unpacked."""
    kinds = {
        "xml" if name.lower().endswith(".xml") else is_image(name)
        for f in source.walk()
        for name in f.files
    }
    return {"xml", True} <= kinds


def plan(source: Source, options: Options, tell: Tell) -> Plan:
    """Follow the lists where there are any, else folders named after splits, else draw a split at
    random.
    """
    roots = [folder for folder in source.walk() if _lists(folder) is not None]
    pairs = list(_listed(roots, source, tell)) if roots else list(_unlisted(source, options, tell))
    if not pairs:
        raise NothingFound(source.given, "nothing in VOC's layout found", EXPECTED)
    pairs.sort(key=lambda pair: (split_rank(pair.split), pair.image.name))
    seen = _names(pairs)
    for name in sorted({*options.classes, *options.ignore} - seen):
        tell(
            Finding("note", "class-not-seen", name, None, "asked for, but no object has this name")
        )
    names = options.classes or tuple(sorted(seen - set(options.ignore)))
    if not names:
        raise UsageError(
            f"{source.given}: no object with a name in any XML, so there are no classes"
        )
    index = {name: number for number, name in enumerate(names)}
    items = (
        Item(
            split, image, image.name, file, partial(read, file, source.shown(file), index, options)
        )
        for split, file, image in pairs
    )
    splits = tuple(dict.fromkeys(pair.split for pair in pairs))
    return Plan(names, splits, len(pairs), items, _roles(splits))


def _names(pairs: Iterable[_Pair]) -> set[str]:
    """All names of objects."""

    def names_in(pair: _Pair) -> set[str]:
        try:
            sheet = parse_sheet(pair.file.read_bytes())
        except OSError:
            return set()  # told when it is converted
        return (
            set()
            if isinstance(sheet, Refused)
            else {fields.get("name", "") for _, fields in sheet.objects}
        )

    with ThreadPoolExecutor() as pool:
        return set().union(*pool.map(names_in, pairs)) - {""}


def _roles(splits: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the splits to train, validate and test on: with VOC2007's test set, by the protocol
    07+12.
    """
    if "test2007" in splits:
        train = tuple(split for split in splits if split.startswith(("train", "val")))
        return {"train": train, "val": ("test2007",), "test": ("test2007",)}
    return {
        role: tuple(s for s in splits if s.startswith(role)) for role in ("train", "val", "test")
    }


def _lists(folder: Folder) -> list[tuple[str, Path]] | None:
    """Split and file of the lists of a VOC root. ``trainval`` adds nothing where both its parts are
    there.
    """
    main = folder.path / "ImageSets" / "Main"
    if not main.is_dir() or folder.child("annotations") is None:
        return None
    found = {name: main / f"{name}.txt" for name in ("train", "val", "test", "trainval")}
    lists = [(name, path) for name, path in found.items() if path.is_file()]
    both = {"train", "val"} <= {name for name, _ in lists}
    return [(name, path) for name, path in lists if not (both and name == "trainval")] or None


def _listed(roots: list[Folder], source: Source, tell: Tell) -> Iterator[_Pair]:
    taken: dict[str, str] = {}
    for root in roots:
        files = {stem(path.name): path for path in _xmls(root.child("annotations"))}
        images = only_images(images_in(root.child("jpegimages", "images")), source, tell)
        year = _ROOT.fullmatch(root.path.name)
        for name, path in _lists(root) or ():
            split = f"{name}{year[1]}" if year else name
            for line, entry in _entries(path, source, tell):
                file, image = files.get(stem(f"{entry}.xml")), images.get(stem(f"{entry}.xml"))
                where = source.shown(path), line
                if file is None or image is None:
                    lack = "image" if image is None else "annotation"
                    tell(
                        Finding(
                            "error",
                            f"no-{lack}",
                            *where,
                            f"{entry} left out: there is no {lack} for it",
                        )
                    )
                    continue
                # the same name in two years is two images, each in splits of its own
                first = taken.setdefault(f"{year[1] if year else ''}/{stem(image.name)}", split)
                if first != split:
                    tell(
                        Finding(
                            "error",
                            "listed-twice",
                            *where,
                            f"{entry} left out: it is in {first} already",
                        )
                    )
                else:
                    yield _Pair(split, file, image)


def _entries(file: Path, source: Source, tell: Tell) -> Iterator[tuple[int, str]]:
    """Line and entry of a list; lists per class have a column of -1, 0, 1 after the name."""
    try:
        lines = read_text(file).splitlines()
    except (Unreadable, OSError) as error:
        tell(
            Finding(
                "error",
                "bad-file",
                source.shown(file),
                getattr(error, "line", None),
                f"list left out: {error}",
            )
        )
        return
    seen: set[str] = set()
    for line, text in enumerate(lines, 1):
        entry = re.sub(r"\s+-?[01]$", "", text.strip())
        if not entry:
            continue
        if entry in seen:
            tell(
                Finding(
                    "dropped",
                    "listed-twice",
                    source.shown(file),
                    line,
                    f"row dropped: {entry} is listed above",
                )
            )
            continue
        seen.add(entry)
        yield line, entry


def _xmls(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    return sorted(
        p for p in folder.iterdir() if p.suffix.lower() == ".xml" and not p.name.startswith(".")
    )


def _unlisted(source: Source, options: Options, tell: Tell) -> Iterator[_Pair]:
    """Without lists: the split of an XML is that of its folder, or drawn from its name."""
    folders = list(source.walk())
    files = [
        (f, f.path / name) for f in folders for name in f.files if name.lower().endswith(".xml")
    ]
    splits = {file: split_named(reversed(_below(folder.path, source))) for folder, file in files}
    drawn = files and not any(splits.values())
    if drawn:
        reason = (
            f"no lists and no folders of splits: {options.val_share:.0%} drawn as val, seed"
            f" {options.seed}"
        )
        tell(Finding("note", "random-split", source.shown(files[0][0].path), None, reason))
    images: dict[str, dict[str, Path]] = {}
    for split in dict.fromkeys(
        [*splits.values(), None]
    ):  # a set would tell in another order each time
        own = (
            f
            for f in folders
            if split is None or split_named(reversed(_below(f.path, source))) == split
        )
        pictures = (f.path / name for f in own for name in f.files if is_image(name))
        images[split or ""] = only_images(pictures, source, tell if split or drawn else _silent)
    for _, file in files:
        split = splits[file]
        image = images[split or ""].pop(stem(file.name), None)
        if image is None:
            tell(lacking("image", source, file))
        elif split is None and not drawn:
            tell(
                Finding(
                    "error",
                    "no-split",
                    source.shown(file),
                    None,
                    "left out: not in a folder of a split",
                )
            )
        else:
            yield _Pair(split or _draw(image, options), file, image)
    for image in (image for key, rest in images.items() if key or drawn for image in rest.values()):
        tell(lacking("annotation", source, image))


def _silent(_finding: Finding) -> None:
    pass


def _below(path: Path, source: Source) -> tuple[str, ...]:
    root = next(root for root in source.roots if path.is_relative_to(root))
    return (
        (root.name, *path.relative_to(root).parts)
        if root == source.given
        else path.relative_to(root).parts
    )


def _draw(image: Path, options: Options) -> str:
    """Draw by name: the split of an image does not change when others come or go."""
    digest = hashlib.sha256(f"{options.seed}:{stem(image.name)}".encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") < options.val_share * 2**64 else "train"
