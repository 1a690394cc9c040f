"""Where a data set in Ultralytics' layout lies: its YAML, its splits, their pictures and label
files.

Ultralytics' own reader downloads what is missing and stops at the first fault. A check needs
neither, so the rules are followed here without it; the list of formats and the way from a picture
to its label file are Ultralytics' own.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

__all__ = ["DataSetError", "Layout", "label_files", "load_layout"]

_SPLITS = ("train", "val", "test")


class DataSetError(ValueError):
    """A data set that cannot be used as it is; the message is one line that says why and what to
    do.
    """


@dataclass(frozen=True)
class Layout:
    """A data set's YAML, read and resolved.

    Attributes:
        yaml: The YAML file.
        root: Folder that the splits are relative to.
        names: Class names by number, 0 to N - 1.
        splits: Folders or lists of pictures, by split; they need not exist.
        download: Whether the YAML says how to get the data.
    """

    yaml: Path
    root: Path
    names: dict[int, str]
    splits: dict[str, tuple[Path, ...]]
    download: bool = False

    def sources(self, split: str) -> tuple[Path, ...]:
        """Return the folders and lists of a split.

        Raises:
            DataSetError: The YAML has no such split.
        """
        if split not in self.splits:
            raise DataSetError(f"{self.yaml}: no split {split!r}; it has {', '.join(self.splits)}")
        return self.splits[split]

    def missing(self, split: str) -> list[Path]:
        """Return the sources of a split that do not exist."""
        return [source for source in self.sources(split) if not source.exists()]

    def images(self, split: str) -> list[Path]:
        """List a split's pictures, sorted, as Ultralytics does: folders in depth, lists line by
        line.

        Raises:
            DataSetError: The YAML has no such split, a source does not exist, or a list is no text.
        """
        for source in self.missing(split):
            raise DataSetError(f"{self.yaml}: split {split!r} is not there: {source}")
        return sorted({path for source in self.sources(split) for path in _listed(source)})

    def side_file(self, split: str) -> Path:
        """Return where the side file of a split lies, whether it exists or not."""
        return self.root / "side" / f"{split}.jsonl"


def load_layout(data: str | Path) -> Layout:
    """Read a data YAML: a path, a folder with one YAML in it, or a name that Ultralytics or this
    package knows.

    Raises:
        DataSetError: No such file, no YAML, or keys that are missing or of the wrong kind.
    """
    file = _find(data)
    content = _load(file)
    root = _root(file, content.get("path"))
    splits = {}
    if "val" not in content and "validation" in content:
        content["val"] = content["validation"]  # Ultralytics takes it too
    for split in _SPLITS:
        if content.get(split):
            value = content[split]
            entries = value if isinstance(value, list) else [value]
            if not all(isinstance(entry, str) for entry in entries):
                raise DataSetError(
                    f"{file}: {split!r} must be a path or a list of paths, not {value!r}"
                )
            splits[split] = tuple(_source(root, entry) for entry in entries)
    if not splits:
        raise DataSetError(
            f"{file}: names no split; write 'train:' and 'val:' with folders of pictures"
        )
    return Layout(file, root, _names(file, content), splits, bool(content.get("download")))


def label_files(images: Iterable[Path]) -> list[Path]:
    """Return the label file of each picture: the last ``/images/`` of its path made ``/labels/``,
    suffix ``.txt``.
    """
    from ultralytics.data.utils import img2label_paths

    return [Path(path) for path in img2label_paths([str(image) for image in images])]


def image_suffixes() -> frozenset[str]:
    """Return the suffixes, lower case and with their dot, that the installed Ultralytics reads."""
    from ultralytics.data.utils import IMG_FORMATS

    return frozenset(f".{suffix}" for suffix in IMG_FORMATS)


def _find(data: str | Path) -> Path:
    path = Path(data).expanduser()
    if path.is_dir():
        files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
        if len(files) != 1:
            raise DataSetError(
                f"{path}: a folder with {len(files)} YAML files; name the one that is meant"
            )
        return files[0]
    if path.is_file():
        return path
    from ultralytics.utils.checks import check_file

    for name in dict.fromkeys([str(data), f"{data}.yaml"]):
        try:
            found = check_file(name, hard=False)
        except (OSError, ValueError):
            continue
        if found and Path(found).is_file():
            return Path(found)
    raise DataSetError(f"{data}: no such data YAML")


def _load(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataSetError(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataSetError(f"{file}: not a text file") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        raise DataSetError(
            f"{where}: no valid YAML: {getattr(error, 'problem', None) or error}"
        ) from error
    if not isinstance(content, dict):
        raise DataSetError(f"{file}: no data YAML: it must have the keys train, val and names")
    return content


def _names(file: Path, content: dict[str, Any]) -> dict[int, str]:
    """Class names by number; Ultralytics wants 0 to N - 1 without gaps."""
    names, count = content.get("names"), content.get("nc")
    if names is None and isinstance(count, int):
        names = [f"class_{i}" for i in range(count)]
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DataSetError(f"{file}: 'names' must list the classes, not {names!r}")
    if not all(isinstance(key, int) or str(key).isdigit() for key in names):
        raise DataSetError(f"{file}: the keys of 'names' must be numbers from 0")
    found = {int(key): str(value) for key, value in names.items()}
    if sorted(found) != list(range(len(found))):
        raise DataSetError(
            f"{file}: 'names' must be numbered from 0 to {len(found) - 1} without gaps"
        )
    if isinstance(count, int) and count != len(found):
        raise DataSetError(f"{file}: 'nc' is {count}, but 'names' has {len(found)}")
    return found


def _root(file: Path, entry: Any) -> Path:
    path = Path(str(entry)).expanduser() if entry else file.parent
    if not path.exists() and not path.is_absolute():
        from ultralytics.utils import DATASETS_DIR

        path = Path(DATASETS_DIR) / path
    return path.resolve()


def _source(root: Path, entry: str) -> Path:
    path = (root / entry).resolve()
    if not path.exists() and entry.startswith("../"):
        path = (root / entry[3:]).resolve()  # Ultralytics forgives one level too many
    return path


def _listed(source: Path) -> list[Path]:
    if source.is_dir():
        found = glob.glob(str(Path(glob.escape(str(source))) / "**" / "*.*"), recursive=True)
    else:
        try:
            lines = source.read_text(encoding="utf-8-sig").strip().splitlines()
        except (UnicodeDecodeError, OSError) as error:
            raise DataSetError(f"{source}: not a readable list of pictures") from error
        parent = f"{source.parent}{os.sep}"
        found = [line.replace("./", parent, 1) if line.startswith("./") else line for line in lines]
    suffixes = image_suffixes()
    return [Path(path) for path in found if Path(path).suffix.lower() in suffixes]
