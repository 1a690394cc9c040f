"""A plan's file: YAML of plain values, as deep and as large as plans are. Errors name it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

__all__ = ["PlanError", "check_plain", "named", "read_yaml", "shown"]

_DEPTH = 20  # levels of a plan; three are used
_VALUES = 20_000  # of a plan, aliases written out
_BYTES = 1_000_000
_LARGEST = 2**63  # whole numbers beyond it are slips, and Python refuses to print the longest
# What PyYAML raises on text that it takes for YAML: a month 13, a number of 5,000 digits, brackets
# a thousand deep.
_BROKEN = (RecursionError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError)


class PlanError(ValueError):
    """A plan that cannot be run as it is; the message is one line that names the key and what is
    known.
    """


def read_yaml(file: Path) -> Any:
    """Return what a YAML file holds.

    Raises:
        PlanError: It is no YAML, or far too large for a plan.
        OSError: The file cannot be read.
    """
    try:
        if file.stat().st_size > _BYTES:
            raise PlanError(f"{file}: larger than {_BYTES:,} bytes, which no plan is")
        return yaml.load(file.read_text(encoding="utf-8-sig"), Loader=_Loader)
    except PlanError:
        raise
    except UnicodeDecodeError as error:
        raise PlanError(f"{file}: not a text file") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        problem = getattr(error, "problem", None) or str(error)
        raise PlanError(f"{where}: no valid YAML: {' '.join(problem.split())[:200]}") from error
    except RecursionError as error:
        raise PlanError(f"{file}: no valid YAML: it is nested too deeply") from error
    except _BROKEN as error:
        raise PlanError(f"{file}: no valid YAML: {' '.join(str(error).split())[:200]}") from error


class _Loader(yaml.SafeLoader):
    """Refuses a key that comes twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                mark = node.value[i][0].start_mark
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {shown(key)} comes twice", mark
                )
        return super().construct_mapping(node, deep=deep)


@contextmanager
def named(path: str | Path) -> Iterator[None]:
    """Put the plan's file before the message of a `PlanError` that does not say it."""
    try:
        yield
    except PlanError as error:
        if str(path) in str(error):
            raise
        raise PlanError(f"{path}: {error}") from error


def check_plain(content: Any) -> None:
    """Refuse what the hash of a plan cannot hold: dates, sets, loops, numbers that are none.

    Raises:
        PlanError: With the place of the value.
    """
    left = [("", content, 0)]
    count = 0
    while left:
        where, value, depth = left.pop()
        count += 1
        if depth > _DEPTH or count > _VALUES:
            raise PlanError(
                f"{where.split('.')[0] or 'plan'}: nested too deeply, or too many values: a plan is"
                f" at most {_DEPTH} levels deep and has at most {_VALUES:,} values"
            )
        if isinstance(value, Mapping):
            for key in value:
                _check_value(f"a key of {where or 'the plan'}", key)
            left += [(f"{where}.{key}".lstrip("."), value[key], depth + 1) for key in value]
        elif isinstance(value, list):
            left += [(where, item, depth + 1) for item in value]
        else:
            _check_value(where, value)


def _check_value(where: str, value: Any) -> None:
    if value is None or isinstance(value, (bool, str)):
        if isinstance(value, str) and any(ord(letter) < 32 for letter in value):
            raise PlanError(
                f"{where}: a text must be without control characters, got {shown(value)}"
            )
        return
    if isinstance(value, int):
        if abs(value) >= _LARGEST:
            raise PlanError(f"{where}: the number is too large: it has {value.bit_length()} bits")
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise PlanError(f"{where}: {value} is no number that JSON can hold, and so no hash")
        return
    if isinstance(value, tuple):
        raise PlanError(f"{where}: YAML makes a pair of it; write a list or a mapping")
    kind = type(value).__name__
    raise PlanError(
        f"{where}: YAML reads this as a value of kind {kind}, which JSON cannot hold. Put it into"
        " quotes if a text is meant"
    )


def shown(value: Any) -> str:
    """Return a value for a message, cut short."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
