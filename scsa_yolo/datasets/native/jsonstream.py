"""A JSON object read element by element.

COCO's annotations are half a gigabyte of text, and several times that as Python objects.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from json.decoder import JSONDecodeError
from pathlib import Path
from typing import Any, TextIO

from scsa_yolo.datasets.layout.basics import Unreadable
from scsa_yolo.support.files import open_regular

_CHUNK = 1 << 20  # characters
_BLANKS = " \t\n\r"
_ENDS = frozenset(" \t\n\r,:]}")  # what may stand behind a value; not the "" at the window's end


def stream(file: Path) -> Iterator[tuple[str, Any]]:
    """Yield the members of a file's top-level object; of a member that is an array, each element by
    itself.

    Raises:
        Unreadable: It is no JSON object, or cut short; what was yielded before is valid JSON, but
            not all of it.
        OSError: It cannot be opened.
    """
    with open_regular(file) as data:
        start = data.read(4)
        data.seek(0)
        encoding = json.detect_encoding(start)  # UTF-8, -16 or -32, with a mark or without
        with io.TextIOWrapper(data, encoding) as text:
            yield from _Reader(text).members()


class _Reader:
    """A window that moves over the text. ``start`` counts what it has passed, for messages."""

    def __init__(self, text: TextIO):
        self.text, self.window, self.at, self.start, self.ended = text, "", 0, 0, False
        self.decode = json.JSONDecoder().raw_decode

    def members(self) -> Iterator[tuple[str, Any]]:
        if self.peek() == "":
            raise Unreadable("the file is empty")
        self.take("{")
        while self.peek() != "}":
            key = self.value()
            if not isinstance(key, str):
                raise self.broken("a member's name must be text")
            self.take(":")
            if self.peek() == "[":
                yield from ((key, element) for element in self.elements())
            else:
                yield key, self.value()
            if self.peek() != "}":
                self.take(",")
        self.take("}")
        if self.peek():
            raise self.broken("text after the end of the object")

    def elements(self) -> Iterator[Any]:
        self.take("[")
        while self.peek() != "]":
            yield self.value()
            if self.peek() != "]":
                self.take(",")
        self.take("]")

    def peek(self) -> str:
        """Return the next character that is no blank, "" at the end."""
        while True:
            while self.at < len(self.window) and self.window[self.at] in _BLANKS:
                self.at += 1
            if self.at < len(self.window) or not self.more():
                return self.window[self.at : self.at + 1]

    def take(self, character: str) -> None:
        found = self.peek()
        if found != character:
            raise self.broken(
                f"expected {character!r}, found {found!r}" if found else "it is cut short"
            )
        self.at += 1

    def value(self) -> Any:
        self.peek()
        wanted = _CHUNK
        while True:
            try:
                value, end = self.decode(self.window, self.at)
            except (ValueError, RecursionError) as error:
                if isinstance(error, ValueError) and not isinstance(error, JSONDecodeError):
                    # Python refuses to read numbers of more than 4,300 digits
                    raise self.broken("a number has too many digits") from None
                # every failed attempt doubles what is read, so that a huge value is not tried again
                # and again
                if not self.more(wanted):
                    near_end = isinstance(error, JSONDecodeError) and self.is_cut(error)
                    reason = (
                        "it is cut short"
                        if near_end
                        else getattr(error, "msg", "nested too deep").lower()
                    )
                    raise self.broken(reason) from None
                wanted *= 2
                continue
            # "12" may go on as "123", and "0." as "0.5"
            if self.window[end : end + 1] in _ENDS or not self.more():
                self.at = end
                return value

    def is_cut(self, error: JSONDecodeError) -> bool:
        rest = self.window[error.pos :].strip()
        return not rest or error.msg.startswith(("Unterminated", "Invalid \\u")) or len(rest) < 5

    def more(self, size: int = _CHUNK) -> bool:
        try:
            chunk = self.text.read(size)
        except UnicodeDecodeError as error:
            raise Unreadable(f"binary, not JSON (byte 0x{error.object[error.start]:02x})") from None
        self.start += self.at
        self.window, self.at = self.window[self.at :] + chunk, 0
        return bool(chunk)

    def broken(self, reason: str) -> Unreadable:
        return Unreadable(f"not valid JSON: {reason} at character {self.start + self.at}")
