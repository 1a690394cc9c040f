"""Teledyne FLIR ADAS v2: ``images_thermal_train/{coco.json, data/}`` and five folders more.

Category ids look like COCO's and are not: 17 is a dog, 79 an "other vehicle". So classes go by
name. The 16-bit raw frames under ``analyticsData`` are left where they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scsa_yolo.datasets.native.coco import Finder, Kinds, items_of, load
from scsa_yolo.datasets.native.options import Official, Options
from scsa_yolo.datasets.native.records import Finding, Item, NothingFound, Plan, Tell, UsageError
from scsa_yolo.datasets.native.source import Source

# fmt: off
NAMES = (
    "person", "bike", "car", "motor", "bus", "train", "truck", "light", "hydrant", "sign", "dog", "deer",
    "skateboard", "stroller", "scooter", "other vehicle",
)
_THERMAL_TRAIN = (50478, 7237, 73623, 1116, 2245, 5, 829, 16198, 1095, 20770, 4, 8, 29, 15, 15, 1373)
_THERMAL_VAL = (4470, 170, 7133, 55, 179, 0, 46, 2005, 94, 2472, 0, 0, 3, 6, 0, 63)
# fmt: on
_OFFICIAL = {
    "thermal": {
        "train": Official(10742, 175040, _THERMAL_TRAIN),
        "val": Official(1144, 16696, _THERMAL_VAL),
        "test": Official(3749, 62317),
    },
    "rgb": {
        "train": Official(10318, 169174),
        "val": Official(1085, 16909),
        "test": Official(3749, 84786),
    },
}
OPTIONS = frozenset({"classes", "spectrum", "sizes"})
EXPECTED = (
    "images_thermal_train/ and images_thermal_val/ (or images_rgb_...), each with coco.json and"
    " data/"
)

# Spellings of a name that other tools write; used only where the name itself is not among the
# file's categories.
_ALSO = {
    "bicycle": "bike", "motorcycle": "motor", "traffic light": "light", "fire hydrant": "hydrant", "stop sign": "sign",
    "street sign": "sign",
}  # fmt: skip
_FLAGS = ("occlusion", "occluded", "truncation", "truncated", "reflection", "is_rider")


def official(options: Options) -> dict[str, Official]:
    """Return the counts of the release notes (boxes) and of the files (frames)."""
    return _OFFICIAL[options.spectrum] if not options.classes else {}


def wanted(name: str) -> bool:
    """Whether an archive's member is worth unpacking: not the raw frames, half of the download."""
    return "/analyticsdata/" not in name.lower() and not name.lower().endswith((".tif", ".tiff"))


def class_names(categories: dict[int, str]) -> dict[int, str]:
    """Spell a file's categories as we do; what is none of the sixteen keeps its name."""
    plain = {
        number: " ".join(name.replace("_", " ").casefold().split())
        for number, name in categories.items()
    }
    return {
        n: _ALSO[name] if _ALSO.get(name, name) not in plain.values() else name
        for n, name in plain.items()
    }


def _folders(source: Source, spectrum: str) -> Iterator[tuple[str, Path]]:
    """Split and folder of each part of the set."""
    names = {
        f"images_{spectrum}_train": "train",
        f"images_{spectrum}_val": "val",
        f"video_{spectrum}_test": "test",
    }
    for folder in source.walk():
        split = names.get(folder.path.name.casefold())
        if split and any(name.casefold() == "coco.json" for name in folder.files):
            yield split, folder.path


def present(source: Source) -> bool:
    """Whether annotations lie there unpacked."""
    return any(True for spectrum in _OFFICIAL for _ in _folders(source, spectrum))


def plan(source: Source, options: Options, tell: Tell) -> Plan:
    """Read the coco.json of each folder."""
    unknown = sorted(set(options.classes) - set(NAMES))
    if unknown:
        raise UsageError(f"class {unknown[0]!r} is not FLIR's; there are {', '.join(NAMES)}")
    names = options.classes or NAMES
    kinds = Kinds(
        {name: index for index, name in enumerate(names)}, frozenset(), bool(options.classes)
    )
    items: dict[str, list[Item]] = {}
    folders = 0
    for split, folder in _folders(source, options.spectrum):
        folders += 1
        file = next(path for path in folder.iterdir() if path.name.casefold() == "coco.json")
        table = load(file, source, tell, _FLAGS)
        if split in items:
            tell(
                Finding(
                    "error",
                    "second-folder",
                    source.shown(folder),
                    None,
                    f"left out: {split} is there already",
                )
            )
        elif table is not None:
            finder = Finder(source, _data(folder))
            finder.expect(split, file, (entry.file_name for entry in table.entries.values()))
            spelled = class_names(table.categories)
            items[split] = items_of(table, split, finder, kinds, spelled, tell)
    if not folders:
        raise NothingFound(
            source.given, f"no {options.spectrum} part of FLIR ADAS v2 found", EXPECTED
        )
    splits = tuple(split for split in ("train", "val", "test") if items.get(split))
    ordered = (item for split in splits for item in items[split])
    return Plan(
        names, splits, sum(map(len, items.values())), ordered, {split: (split,) for split in splits}
    )


def _data(folder: Path) -> Path:
    """The sub-folder with the 8-bit frames: its neighbour analyticsData has files of the same
    stems.
    """
    return next(
        (path for path in folder.iterdir() if path.name.casefold() == "data" and path.is_dir()),
        folder,
    )
