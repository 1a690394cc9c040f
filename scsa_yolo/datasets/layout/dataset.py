"""Where a data set in Ultralytics' layout lies: its YAML, its splits, their pictures and label
files.

Ultralytics' own reader downloads what is missing and stops at the first fault. A check needs
neither, so the rules are followed here without it; the list of formats and the way from a picture
to its label file are Ultralytics' own.
"""

from __future__ import annotations

import functools
import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scsa_yolo.datasets.layout.basics import DataSetError
from scsa_yolo.datasets.layout.datayaml import find_yaml, read_yaml, short, wrong_kinds

__all__ = [
    "DataSetError",
    "Layout",
    "Listing",
    "image_suffixes",
    "label_files",
    "load_layout",
    "require_usable",
]

_SPLITS = ("train", "val", "test")

_SUFFIX = "Ultralytics reads files that end in .yaml or .yml only; rename it"
_MOST_CLASSES = 1_000_000


@dataclass(frozen=True)
class Listing:
    """The pictures of a split, and the entries of its lists that lead to none.

    Attributes:
        images: Pictures as Ultralytics lists them, sorted, each once.
        left_out: Place and reason of each line of a list that Ultralytics passes over.
        twice: Pictures that are listed more than once, and are trained on as often.
        relative: Places of lines that are found only from the folder that this was started in.
    """

    images: list[Path]
    left_out: tuple[tuple[str, str], ...] = ()
    twice: tuple[Path, ...] = ()
    relative: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A data set's YAML, read and resolved.

    Attributes:
        yaml: The YAML file.
        root: Folder that the splits are relative to.
        names: Class names by number, 0 to N - 1.
        splits: Folders or lists of pictures, by split; they need not exist.
        download: Whether the YAML says how to get the data.
        refused: Why Ultralytics would refuse the YAML although it can be read here.
        remarks: What Ultralytics takes in silence, and its author may not have meant.
    """

    yaml: Path
    root: Path
    names: dict[int, str]
    splits: dict[str, tuple[Path, ...]]
    download: bool = False
    refused: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def sources(self, split: str) -> tuple[Path, ...]:
        """Return the folders and lists of a split.

        Raises:
            DataSetError: The YAML has no such split.
        """
        if split not in self.splits:
            raise DataSetError(f"{self.yaml}: no split {split!r}; it has {', '.join(self.splits)}")
        return self.splits[split]

    def missing(self, split: str) -> list[Path]:
        """Return the sources of a split that do not exist: no folder, and no regular file."""
        return [
            source
            for source in self.sources(split)
            if not (os.path.isdir(source) or os.path.isfile(source))
        ]

    def images(self, split: str) -> list[Path]:
        """List a split's pictures, sorted, as Ultralytics does: folders in depth, lists line by
        line.

        Raises:
            DataSetError: The YAML has no such split, a source does not exist, or a list is no text.
        """
        return self.listing(split).images

    def listing(self, split: str) -> Listing:
        """List a split's pictures, and what its lists name in vain.

        Raises:
            DataSetError: As for `images`.
        """
        for source in self.missing(split):
            raise DataSetError(f"{self.yaml}: split {split!r} is not there: {source}")
        found: list[str] = []
        left_out: list[tuple[str, str]] = []
        relative: list[str] = []
        for source in self.sources(split):
            if os.path.isdir(source):
                found += _in_folder(source)
                continue
            for place, entry in _in_list(source):
                if reason := _no_picture(entry):
                    left_out.append((place, reason))
                else:
                    found.append(entry)
                    relative += [] if os.path.isabs(entry) else [place]
        images = [Path(path) for path in found]
        counts = Counter(images)
        twice = tuple(sorted(image for image, count in counts.items() if count > 1))
        return Listing(sorted(counts), tuple(left_out), twice, tuple(relative))


def require_usable(layout: Layout) -> None:
    """Make sure that Ultralytics takes a data YAML.

    Raises:
        DataSetError: It does not; the message has the first reason.
    """
    for reason in layout.refused:
        raise DataSetError(f"{layout.yaml}: {reason}")


def load_layout(data: str | Path) -> Layout:
    """Read a data YAML: a path, a folder with one YAML in it, or a name that Ultralytics or this
    package knows.

    Raises:
        DataSetError: No such file, no YAML, or keys that are missing or of the wrong kind.
    """
    file = find_yaml(data)
    content, remarks = read_yaml(file)
    refused = [] if file.name.lower().endswith((".yaml", ".yml")) else [_SUFFIX]
    refused += wrong_kinds(content)
    if "val" not in content and "validation" in content:
        content["val"] = content["validation"]  # Ultralytics takes it too
    try:
        root = _root(file, content.get("path"))
        splits = {
            split: _sources(file, root, split, content[split])
            for split in _SPLITS
            if content.get(split)
        }
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, DataSetError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise DataSetError(f"{file}: a path in it cannot be looked up: {reason}") from error
    if not splits:
        raise DataSetError(
            f"{file}: names no split; write 'train:' and 'val:' with folders of pictures"
        )
    refused += [_no_split(split, splits) for split in ("train", "val") if split not in splits]
    names = _names(file, content)
    download = bool(content.get("download"))
    return Layout(file, root, names, splits, download, tuple(refused), tuple(remarks))


def _no_split(split: str, splits: dict[str, tuple[Path, ...]]) -> str:
    there = ", ".join(splits)
    return f"no '{split}:', which Ultralytics wants in every data YAML (here: {there}); add it"


def _sources(file: Path, root: Path, split: str, value: Any) -> tuple[Path, ...]:
    entries = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str) for entry in entries):
        raise DataSetError(
            f"{file}: {split!r} must be a path or a list of paths, not {short(value)}"
        )
    if isinstance(value, str):
        return (_source(root, value),)
    return tuple((root / entry).resolve() for entry in entries)


def label_files(images: Iterable[Path]) -> list[Path]:
    """Return the label file of each picture: the last ``/images/`` of its path made ``/labels/``,
    suffix ``.txt``.
    """
    from ultralytics.data.utils import img2label_paths

    return [Path(path) for path in img2label_paths([str(image) for image in images])]


@functools.cache
def image_suffixes() -> frozenset[str]:
    """Return the suffixes, lower case and with their dot, that the installed Ultralytics reads."""
    from ultralytics.data.utils import IMG_FORMATS

    return frozenset(f".{suffix}" for suffix in IMG_FORMATS)


def _names(file: Path, content: dict[str, Any]) -> dict[int, str]:
    """Class names by number; Ultralytics wants 0 to N - 1 without gaps."""
    count, names = _count(file, content), content.get("names")
    if names is None and count is not None:
        names = [f"class_{i}" for i in range(count)]
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DataSetError(f"{file}: 'names' must list the classes, not {short(names)}")
    try:
        found = {int(key): str(value) for key, value in names.items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise DataSetError(f"{file}: the keys of 'names' must be numbers from 0") from error
    if sorted(found) != list(range(len(found))):
        raise DataSetError(
            f"{file}: 'names' must be numbered from 0 to {len(found) - 1} without gaps"
        )
    if count is not None and count != len(names):
        raise DataSetError(f"{file}: 'nc' is {count}, but 'names' has {len(names)}")
    return found


def _count(file: Path, content: dict[str, Any]) -> int | None:
    """Return the number of classes that 'nc' says, None without that key."""
    if "nc" not in content:
        return None
    given = content["nc"]
    try:
        count = int(float(given))
        if count == float(given) and count < _MOST_CLASSES:
            return count
    except (TypeError, ValueError, OverflowError):
        pass
    raise DataSetError(f"{file}: 'nc' must be the number of classes, not {short(given)}")


def _root(file: Path, entry: Any) -> Path:
    path = Path(str(entry)) if entry else file.parent
    if not path.exists() and not path.is_absolute():
        from ultralytics.utils import DATASETS_DIR

        path = Path(DATASETS_DIR) / path
    return path.resolve()


def _source(root: Path, entry: str) -> Path:
    path = (root / entry).resolve()
    if not path.exists() and entry.startswith("../"):
        # Ultralytics forgives one level too many, but not in a list of folders
        path = (root / entry[3:]).resolve()
    return path


def _in_folder(source: Path) -> list[str]:
    pattern = str(Path(glob.escape(str(source))) / "**" / "*.*")
    suffixes = image_suffixes()
    return [path for path in glob.glob(pattern, recursive=True) if _suffix(path) in suffixes]


def _in_list(source: Path) -> Iterator[tuple[str, str]]:
    """Yield the place of each line that is not empty, and the path that Ultralytics takes it
    for.
    """
    try:
        text = source.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise DataSetError(f"{source}: not a readable list of pictures") from error
    parent = f"{source.parent}{os.sep}"
    skipped = len(text) - len(text.lstrip())
    first = 1 + text[:skipped].count("\n")
    for number, line in enumerate(text.strip().splitlines(), first):
        if line:
            entry = line.replace("./", parent, 1) if line.startswith("./") else line
            yield f"{source}:{number}", entry


def _no_picture(entry: str) -> str | None:
    """Say why Ultralytics passes over an entry of a list, None if it does not."""
    suffixes = image_suffixes()
    if _suffix(entry) in suffixes:
        return None
    shown = repr(entry if len(entry) < 80 else f"...{entry[-77:]}")
    if _suffix(entry.strip()) in suffixes:
        return f"{shown} has blanks at its end"
    return f"{shown} does not end in the suffix of a picture"


def _suffix(path: str) -> str:
    return f".{path.rpartition('.')[-1].lower()}"
