"""The data YAML itself: found, and read as Ultralytics reads it."""

from __future__ import annotations

import codecs
import re
import reprlib
from pathlib import Path
from typing import Any

import yaml

from scsa_yolo.datasets.layout.basics import DataSetError

__all__ = ["find_yaml", "read_yaml", "short", "wrong_kinds"]

# Keys that Ultralytics reads, and what it takes there.
_KINDS: dict[str, tuple[type, ...]] = {
    "path": (str,),
    "train": (str, list),
    "val": (str, list),
    "test": (str, list),
    "names": (list, dict),
    "kpt_shape": (list,),
    "flip_idx": (list,),
}
_KIND_NAMES: dict[type, str] = {str: "text", list: "a list", dict: "a mapping"}
# Ultralytics takes these out of a YAML that cannot be read with them.
_ODD = re.compile("[^\x09\x0a\x0d\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")


def find_yaml(data: str | Path) -> Path:
    """Return the YAML that a path, a folder or a name means.

    Raises:
        DataSetError: There is none, or more than one.
    """
    try:
        path = Path(data).expanduser()
    except RuntimeError:  # no such user
        path = Path(data)
    try:
        if path.is_dir():
            return _only_yaml(path)
        if path.is_file():
            return path
    except (OSError, ValueError) as error:
        raise DataSetError(f"{data}: {getattr(error, 'strerror', None) or error}") from error
    from ultralytics.utils.checks import check_file

    for name in dict.fromkeys([str(data), f"{data}.yaml"]):
        try:
            found = check_file(name, hard=False)
        except (OSError, ValueError):
            continue
        if found and Path(found).is_file():
            return Path(found)
    raise DataSetError(f"{data}: no such data YAML")


def _only_yaml(folder: Path) -> Path:
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    named = folder / f"{folder.name}.yaml"  # as a conversion calls it, beside a data.yaml
    if len(files) == 2 and named in files and (folder / "data.yaml") in files:
        return named
    if len(files) != 1:
        raise DataSetError(
            f"{folder}: a folder with {len(files)} YAML files; name the one that is meant"
        )
    return files[0]


def read_yaml(file: Path) -> tuple[dict[str, Any], list[str]]:
    """Read the YAML as Ultralytics does, and say what it passes over in doing so.

    Raises:
        DataSetError: It cannot be read, or holds no keys.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataSetError(f"{file}: {error.strerror or error}") from error
    text, remarks = data.decode("utf-8-sig", errors="ignore"), []
    if data and not text.strip("\0 "):
        raise DataSetError(f"{file}: not a text file")
    if len(text.encode()) < len(data.removeprefix(codecs.BOM_UTF8)):
        remarks.append("bytes that are not UTF-8 are passed over; save the file as UTF-8")
    content, odd = _parse(file, text)
    if odd:
        remarks.append("characters that YAML does not allow are passed over; take them out")
    if not isinstance(content, dict):
        raise DataSetError(f"{file}: no data YAML: it must have the keys train, val and names")
    return {key: None if value == "None" else value for key, value in content.items()}, remarks


def _parse(file: Path, text: str) -> tuple[Any, bool]:
    """Parse YAML, without odd characters if need be; tell whether they had to go."""
    try:
        return yaml.safe_load(text), False
    except Exception as error:  # PyYAML raises whatever a wrong date or number raises
        clean = _ODD.sub("", text)
        if clean != text:
            return _parse(file, clean)[0], True
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        reason = getattr(error, "problem", None) or error
        raise DataSetError(f"{where}: no valid YAML: {reason}") from error


def wrong_kinds(content: dict[str, Any]) -> list[str]:
    """Say which keys hold what Ultralytics refuses; that of splits and names is told elsewhere."""
    wrong = []
    for key, kinds in _KINDS.items():
        value = content.get(key)
        if value is not None and not isinstance(value, kinds):
            expected = " or ".join(_KIND_NAMES[kind] for kind in kinds)
            wrong.append(f"{key!r} must be {expected}, not {short(value)}")
    return wrong


def short(value: Any) -> str:
    """Show a value in a few words: one that names itself again and again is endless in full."""
    return reprlib.repr(value)
