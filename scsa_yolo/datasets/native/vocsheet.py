"""A sheet of Pascal VOC: the XML of one image, in whatever encoding it says it is.

VOC's pixels are 1-based and inclusive: the box of a whole 500x375 image is (1, 1, 500, 375).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from scsa_yolo.datasets.native.balance import UNKNOWN
from scsa_yolo.datasets.native.options import Options
from scsa_yolo.datasets.native.records import (
    XYXY,
    Annotation,
    Box,
    Ignored,
    Refused,
    Unreadable,
    number,
    read_bytes,
)

_EDGES = ("xmin", "ymin", "xmax", "ymax")
_TRUE = frozenset({"1", "true", "yes", "1.0"})
_DECLARED = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._:-]+)["']""")
_FALLBACK = "cp1252"  # what tools of Windows write where they forget to say so


class Sheet(NamedTuple):
    """An XML: its stated size, None where it is absent or zero, line and fields of each object, and
    what it says about its image: file name, folder and path. ``guess`` says how its bytes were
    read, where they are not what they say they are.
    """

    size: tuple[int, int] | None
    objects: tuple[tuple[int, Mapping[str, str]], ...]
    image: Mapping[str, str] = {}
    guess: str = ""


class Row(NamedTuple):
    """An object, with its edges as written."""

    name: str
    edges: XYXY
    difficult: bool
    flags: Mapping[str, int]


class _Parser:
    """Collects what a sheet holds. Boxes of an object's parts (head, hand, foot) are passed over:
    they lie one level deeper.
    """

    def __init__(self) -> None:
        self.path: list[str] = []
        self.text: list[str] = []
        self.size: dict[str, str] = {}
        self.image: dict[str, str] = {}
        self.objects: list[tuple[int, dict[str, str]]] = []
        self.expat = expat.ParserCreate()
        self.expat.StartElementHandler = self.start
        self.expat.EndElementHandler = self.end
        self.expat.CharacterDataHandler = self.text.append

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        self.path.append(tag)
        self.text.clear()
        if self.path[1:] == ["object"]:
            self.objects.append((self.expat.CurrentLineNumber, {}))

    def end(self, tag: str) -> None:
        value, path = "".join(self.text).strip(), self.path
        if path[1:2] == ["object"] and (len(path) == 3 or path[2:3] == ["bndbox"]):
            self.objects[-1][1].setdefault(tag, value)
        elif path[1:2] == ["size"]:
            self.size[tag] = value
        elif len(path) == 2 and tag in ("filename", "folder", "path"):
            self.image.setdefault(tag, value)
        path.pop()
        self.text.clear()

    def sheet(self, guess: str) -> Sheet:
        sides = [number(self.size.get(side, "")) or 0 for side in ("width", "height")]
        size = (int(sides[0]), int(sides[1])) if min(sides) >= 1 else None
        return Sheet(size, tuple(self.objects), self.image, guess)


def parse_sheet(data: bytes | str) -> Sheet | Refused:
    """Read an XML in its declared encoding; in another one, as a guess, where it is not in that."""
    first: Exception | None = None
    for encoding, guess in _readings(data):
        parser = _Parser()
        try:
            # a text overrides the declaration; bytes do not
            content = data.decode(encoding) if isinstance(data, bytes) and encoding else data
            parser.expat.Parse(content, True)
        except (expat.ExpatError, ValueError, LookupError) as error:
            first = first or error
        else:
            return parser.sheet(guess)
    return Refused(f"not valid XML: {first}")


def _readings(data: bytes | str) -> list[tuple[str, str]]:
    """Return the encodings to try, "" for what the bytes declare, and what is guessed with each."""
    if isinstance(data, str) or not data.strip():
        return [("", "")]
    declared = _DECLARED.search(data[:400])
    name = declared[1].decode() if declared else "UTF-8"
    ways = [("", "")]
    if declared and _is_codec(name):
        ways.append((name, ""))  # Python knows more encodings than expat
    said = f"it says {name}" if declared else "it says no encoding"
    ways.append(("utf-8-sig", f"{said}, and is read as UTF-8"))
    if b"\0" not in data:
        ways.append((_FALLBACK, f"{said}, and is read as {_FALLBACK}"))
    return ways


def _is_codec(name: str) -> bool:
    try:
        return codecs.lookup(name)._is_text_encoding
    except LookupError:
        return False


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
        fields.get("difficult", "").casefold() in _TRUE,
        flags,
    )


def read(file: Path, shown: str, index: Mapping[str, int], options: Options) -> Annotation:
    """Read an XML file."""
    data = read_bytes(file)
    if not data.strip():
        raise Unreadable("the file is empty")
    sheet = parse_sheet(data)
    if isinstance(sheet, Refused):
        raise Unreadable(sheet.reason)
    found = Annotation(shown, stated_size=sheet.size)
    if sheet.guess:
        found.tell("guess", "encoding", f"{sheet.guess}: are the names right?")
    for line, fields in sheet.objects:
        row = parse_row(fields)
        if isinstance(row, Refused):
            label = fields.get("name") or UNKNOWN
            found.rows[label] += 1
            found.drop(label, "error", "bad-row", f"object dropped: {row.reason}", line)
            continue
        found.rows[row.name] += 1
        x1, y1, x2, y2 = row.edges
        if x2 <= x1 or y2 <= y1:  # one pixel, if inclusive: a slip of the mouse all the same
            reason = f"{row.name} dropped: no area, ({x1:g}, {y1:g}, {x2:g}, {y2:g})"
            found.drop(row.name, "dropped", "no-area", reason, line)
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
        found.ignored.append(Ignored(None, xyxy, "dontcare", line, row.name))
    elif row.name not in index:
        reason = f"{row.name} dropped: not among the classes asked for"
        found.drop(row.name, "dropped", "other-class", reason, line)
    elif row.difficult and options.difficult == "ignore":
        found.ignored.append(Ignored(index[row.name], xyxy, "difficult", line))
    else:
        flags = {**row.flags, **({"difficult": True} if row.difficult else {})}
        found.boxes.append(Box(index[row.name], xyxy, flags, line, row.name))
