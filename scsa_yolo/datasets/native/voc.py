"""Any set in Pascal VOC's layout: an XML per image, and lists in ``ImageSets/Main`` or a folder per
split.

Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html. Difficult objects
are no ground truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from scsa_yolo.datasets.native.draw import SHARE, draw
from scsa_yolo.datasets.native.options import Official, Options
from scsa_yolo.datasets.native.pairing import Picture
from scsa_yolo.datasets.native.records import (
    Finding,
    Item,
    NothingFound,
    Plan,
    Refused,
    Tell,
    UsageError,
    read_bytes,
)
from scsa_yolo.datasets.native.source import Source, flat_names, is_image, lacking
from scsa_yolo.datasets.native.splits import ROLES, place, role_of, split_rank
from scsa_yolo.datasets.native.voclists import Root, entries, find_roots
from scsa_yolo.datasets.native.vocpairs import Leaf, Pairs, leaf
from scsa_yolo.datasets.native.vocsheet import Row, Sheet, parse_row, parse_sheet, read

__all__ = ["Row", "Sheet", "parse_row", "parse_sheet", "plan", "present", "read", "wanted"]

OFFICIAL = {"test2007": Official(4952, 12032)}
OPTIONS = frozenset({"classes", "ignore", "difficult", "pixels", "val_share", "seed", "sizes"})
EXPECTED = (
    "Annotations/*.xml, the images, and lists in ImageSets/Main (or folders named train, val, test)"
)


def wanted(name: str) -> bool:
    """Whether an archive's member is worth unpacking: not the masks."""
    return "/SegmentationClass/" not in name and "/SegmentationObject/" not in name


class _Pair(NamedTuple):
    split: str
    sheet: Leaf
    picture: Picture
    year: str = ""


def present(source: Source) -> bool:
    """Whether annotations and images lie there unpacked."""
    names = [name for folder in source.walk() for name in folder.files]
    return any(map(is_image, names)) and any(name.lower().endswith(".xml") for name in names)


def plan(source: Source, options: Options, tell: Tell) -> Plan:
    """Follow the lists where there are any, else folders named after splits, else draw a split by
    the pictures' content.
    """
    sheets = _sheets(source)
    roots = _with_lists(find_roots(source), sheets, source, tell)
    if roots:
        pairs = list(_listed(roots, source, tell))
    else:
        pairs = list(_unlisted(sheets, source, options, tell))
    pairs = _with_val(pairs, options)
    if not pairs:
        raise NothingFound(source.given, "nothing in VOC's layout found", EXPECTED)
    pairs.sort(key=lambda pair: (split_rank(pair.split), pair.picture.name, pair.picture.path))
    names = _class_names(pairs, source, options, tell)
    splits = tuple(dict.fromkeys(pair.split for pair in pairs))
    items = _items(pairs, splits, source, names, options)
    roles, own_test = _roles(splits)
    return Plan(names, splits, len(pairs), items, roles, own_test)


def _with_val(pairs: list[_Pair], options: Options) -> list[_Pair]:
    """Draw val out of train, where the user asks for it and the source has none."""
    roles = {role_of(pair.split) for pair in pairs}
    if options.val_share is None or "val" in roles or "train" not in roles:
        return pairs
    train = [pair for pair in pairs if role_of(pair.split) == "train"]
    sides = draw([pair.picture.path for pair in train], options.val_share, options.seed)
    drawn = [pair._replace(split="val") for pair, side in zip(train, sides) if side == "val"]
    kept = [pair for pair, side in zip(train, sides) if side == "train"]
    return [*kept, *drawn, *(pair for pair in pairs if role_of(pair.split) != "train")]


def _class_names(
    pairs: list[_Pair], source: Source, options: Options, tell: Tell
) -> tuple[str, ...]:
    seen = frozenset[str]().union(*(pair.sheet.names for pair in pairs))
    for name in sorted({*options.classes, *options.ignore} - seen):
        reason = "asked for, but no object has this name"
        tell(Finding("note", "class-not-seen", name, None, reason))
    names = options.classes or tuple(sorted(seen - set(options.ignore)))
    if not names:
        raise UsageError(
            f"{source.given}: no object with a name in any XML, so there are no classes"
        )
    return names


def _items(
    pairs: list[_Pair],
    splits: tuple[str, ...],
    source: Source,
    names: tuple[str, ...],
    options: Options,
) -> Iterator[Item]:
    index = {name: number for number, name in enumerate(names)}
    for split in splits:
        own = [pair for pair in pairs if pair.split == split]
        paths = ["/".join((*p.picture.place.own, p.picture.name)) for p in own]
        for pair, name in zip(own, flat_names(paths)):
            file = pair.sheet.path
            reader = partial(read, file, source.shown(file), index, options)
            yield Item(split, pair.picture.path, name, file, reader)


def _sheets(source: Source) -> list[Leaf]:
    """Read what each XML says about its image, and its objects' names."""
    files = [
        (folder.path / name, source.below(folder.path))
        for folder in source.walk()
        for name in folder.files
        if name.lower().endswith(".xml")
    ]

    def look(entry: tuple[Path, tuple[str, ...]]) -> Leaf:
        try:
            sheet = parse_sheet(read_bytes(entry[0]))
        except OSError:
            return Leaf(*entry)  # told when it is converted
        if isinstance(sheet, Refused):
            return Leaf(*entry)
        names = frozenset(fields.get("name", "") for _, fields in sheet.objects)
        return leaf(*entry, sheet.image)._replace(names=names - {""})

    with ThreadPoolExecutor() as pool:
        return list(pool.map(look, files))


def _roles(splits: tuple[str, ...]) -> tuple[dict[str, tuple[str, ...]], bool]:
    """Return the splits to train, validate and test on: with VOC2007's test set, by the protocol
    07+12, which validates on it.
    """
    if "test2007" in splits:
        train = tuple(split for split in splits if split.startswith(("train", "val")))
        return {"train": train, "val": ("test2007",), "test": ("test2007",)}, True
    return {role: tuple(s for s in splits if role_of(s) == role) for role in ROLES}, False


def _with_lists(roots: list[Root], sheets: list[Leaf], source: Source, tell: Tell) -> list[Root]:
    """Keep the folders whose lists name sheets; VOC's own lists count in any case."""
    kept = []
    for root in roots:
        for sheet in sheets:
            root.add(sheet)
        rows = [entry for _, file in root.lists for entry in entries(file, source, _silent)]
        known = any(root.sheets_of(entry) for _, entry in rows)
        if known or (root.official and root.sheets):
            kept.append(root)
        elif rows and root.sheets:
            reason = "not used: it names no XML of this set"
            tell(Finding("guess", "list-not-used", source.shown(root.lists[0][1]), None, reason))
    return kept


def _silent(_finding: Finding) -> None:
    pass


def _listed(roots: list[Root], source: Source, tell: Tell) -> Iterator[_Pair]:
    """Follow the lists."""
    rows: list[tuple[Root, str, str, int, Leaf]] = []
    for root in roots:
        for name, file in root.lists:
            for line, entry in entries(file, source, tell):
                found = root.sheets_of(entry)
                if len(found) == 1:
                    split = f"{name}{root.year}"
                    rows.append((root, split, source.shown(file), line, found[0]))
                    continue
                lack = "there is no annotation for it"
                if found:
                    both = " and ".join(source.shown(sheet.path) for sheet in found[:2])
                    lack = f"which annotation is it? There are {both}"
                reason = f"{entry} left out: {lack}"
                tell(Finding("error", "no-annotation", source.shown(file), line, reason))
    pairs = Pairs(source)
    pairs.match({sheet.path: sheet for *_, sheet in rows}.values())
    taken: dict[Path, str] = {}
    for root, split, shown, line, sheet in rows:
        match, name = pairs.matches[sheet.path], sheet.path.stem
        first = taken.setdefault(sheet.path, split)
        if match.picture is None:
            tell(Finding("error", "no-image", shown, line, f"{name} left out: {match.reason}"))
        elif first != split:
            reason = f"{name} left out: it is in {first} already"
            tell(Finding("error", "listed-twice", shown, line, reason))
        elif taken.get(match.picture.path) == split:
            continue  # two spellings of one entry
        else:
            taken[match.picture.path] = split
            if match.guess:
                tell(Finding("guess", match.guess[0], shown, line, match.guess[1]))
            yield _Pair(split, sheet, match.picture, root.year)


def _unlisted(sheets: list[Leaf], source: Source, options: Options, tell: Tell) -> Iterator[_Pair]:
    """Without lists: the split of a sheet is that of its folder or of its image's, or drawn."""
    pairs = Pairs(source)
    pairs.match(sheets)
    found: list[tuple[Leaf, Picture, str | None]] = []
    for sheet in sheets:
        match = pairs.matches[sheet.path]
        if match.picture is None:
            finding = lacking("image", source, sheet.path)
            tell(finding._replace(reason=f"left out: {match.reason}"))
            continue
        if match.guess:
            shown = source.shown(sheet.path)
            tell(Finding("guess", match.guess[0], shown, None, match.guess[1]))
        split = place(sheet.folders).split or match.picture.place.split
        found.append((sheet, match.picture, split))
    yield from _with_splits(found, source, options, tell)
    for picture in pairs.pictures:
        if picture.path not in pairs.owner:
            code = "masks" if picture.place.masks else "no-annotation"
            source.leave_out(picture.path, picture.place.split, code)
            if code == "no-annotation":
                tell(lacking("annotation", source, picture.path))


def _with_splits(
    found: list[tuple[Leaf, Picture, str | None]], source: Source, options: Options, tell: Tell
) -> Iterator[_Pair]:
    if found and not any(split for *_, split in found):
        share = options.val_share or SHARE
        reason = (
            f"no lists and no folders of splits: {share:.0%} drawn as val by the pictures'"
            f" content, seed {options.seed}"
        )
        tell(Finding("guess", "random-split", source.shown(found[0][0].path.parent), None, reason))
        sides = draw([picture.path for _, picture, _ in found], share, options.seed)
        for (sheet, picture, _), side in zip(found, sides):
            yield _Pair(side, sheet, picture)
        return
    for sheet, picture, split in found:
        if split is None:
            reason = "left out: not in a folder of a split"
            tell(Finding("error", "no-split", source.shown(sheet.path), None, reason))
            source.leave_out(picture.path, None, "no-split")
        else:
            yield _Pair(split, sheet, picture)
