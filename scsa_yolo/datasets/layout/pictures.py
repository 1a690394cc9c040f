"""Image files: what their headers say, their pixels freed of an orientation tag, and regions
painted over.

No pixel is decoded unless a file looks cut short or a region is to be painted.
"""

from __future__ import annotations

import io
import math
import os
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image, ImageDraw

from scsa_yolo.datasets.layout.basics import XYXY, Unreadable

# Of these, data sets are made; Ultralytics reads more.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
GREY = 114  # Ultralytics' own padding
LEAST_SIDE = 10  # px; Ultralytics refuses what is smaller

_ORIENTATION = 274
_SIDEWAYS = frozenset({5, 6, 7, 8})  # orientations that swap width and height
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})
# what Pillow raises for damaged files, by format and place of the damage
PIL_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
    IndexError,
)


class Header(NamedTuple):
    """What an image file says about itself; width and height are those of the stored pixels."""

    width: int
    height: int
    format: str
    orientation: int  # EXIF's tag 274; 1 is upright
    ends: bool  # whether the format's end marker stands at the end

    @property
    def sideways(self) -> bool:
        """Whether a viewer that obeys the tag shows height as width."""
        return self.orientation in _SIDEWAYS


def open_image(source: Path | BinaryIO) -> Image.Image:
    """Open as PIL's own ``Image.open`` does: Ultralytics' in its place installs a package when a
    file is no picture.
    """
    patches = sys.modules.get("ultralytics.utils.patches")
    opened: Image.Image = getattr(patches, "_image_open", Image.open)(source)
    return opened


def require_regular(path: Path) -> None:
    """Make sure that a file can be read to its end: opening a pipe waits for ever.

    Raises:
        Unreadable: It is something else, such as a pipe, a device or a folder.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise Unreadable("not a regular file (a pipe, a device or a folder)")


def read_header(path: Path) -> Header:
    """Read size, format and orientation.

    Raises:
        Unreadable: It is no image, or too small for Ultralytics.
    """
    require_regular(path)
    try:
        with path.open("rb") as file, open_image(file) as image:
            name = {"MPO": "JPEG"}.get(image.format or "", image.format or "")
            width, height = image.size
            orientation, ends = _PNG(file).look(image) if name == "PNG" else (_tag(image), True)
            if name == "JPEG":
                file.seek(-2, io.SEEK_END)
                ends = file.read() == b"\xff\xd9"
    except PIL_ERRORS as error:
        raise Unreadable(_reason(error)) from None
    if min(width, height) < LEAST_SIDE:
        raise Unreadable(
            f"the image is {width}x{height} px; Ultralytics refuses sides under {LEAST_SIDE} px"
        )
    return Header(width, height, name, orientation, ends)


def check_pixels(path: Path) -> None:
    """Decode a whole image.

    Raises:
        Unreadable: It cannot be decoded.
    """
    try:
        with open_image(path) as image:
            image.load()
    except PIL_ERRORS as error:
        raise Unreadable(_reason(error)) from None


def upright(path: Path, header: Header) -> bytes:
    """Return an image file with the same stored pixels and no orientation tag. Nothing is encoded
    anew.

    Raises:
        Unreadable: The format is not JPEG or PNG, or the tag sits where it was not found.
    """
    data = path.read_bytes()
    try:
        if header.format == "JPEG":
            data = _without_jpeg_tags(data)
        elif header.format == "PNG":
            data = _PNG(io.BytesIO(data)).without_tags()
        else:
            raise Unreadable(
                f"orientation tag {header.orientation} in a {header.format} file cannot be"
                " taken out"
            )
        with open_image(io.BytesIO(data)) as image:
            if _tag(image) != 1 or image.size != (header.width, header.height):
                raise Unreadable(f"orientation tag {header.orientation} could not be taken out")
    except PIL_ERRORS as error:
        raise error if isinstance(error, Unreadable) else Unreadable(_reason(error)) from None
    return data


def painted(path: Path, regions: Sequence[XYXY], keep: Sequence[XYXY]) -> bytes:
    """Return an image file with ``regions`` grey, but for what lies in the boxes ``keep``; no
    orientation tag is left.

    A JPEG keeps its quantisation tables, so that its other pixels change as little as can be.

    Raises:
        Unreadable: The image cannot be decoded.
    """
    try:
        with open_image(path) as image:
            image.load()
            kind, quality = image.format, "keep"
            if image.mode not in ("L", "RGB"):
                image, quality = (
                    image.convert("RGB"),
                    "95",
                )  # a palette or CMYK has no grey of its own
            saved = [(image.crop(_whole(box)), _whole(box)[:2]) for box in keep]
            brush, grey = ImageDraw.Draw(image), GREY if image.mode == "L" else (GREY, GREY, GREY)
            for box in regions:
                x1, y1, x2, y2 = _whole(box)
                brush.rectangle((x1, y1, x2 - 1, y2 - 1), fill=grey)
            for crop, corner in saved:
                image.paste(crop, corner)
            out = io.BytesIO()
            if kind in ("JPEG", "MPO"):
                image.save(
                    out, format="JPEG", quality=quality if quality == "keep" else int(quality)
                )
            else:
                image.save(out, format=kind, **({"lossless": True} if kind == "WEBP" else {}))
    except PIL_ERRORS as error:
        raise Unreadable(_reason(error)) from None
    return out.getvalue()


def _whole(box: XYXY) -> tuple[int, int, int, int]:
    """All pixels that a box touches."""
    return math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])


def _reason(error: Exception) -> str:
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"the image cannot be read: {error.strerror}"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image, or one that cannot be decoded"
    return f"the image cannot be decoded: {error}"


def _tag(image: Image.Image) -> int:
    tag = image.getexif().get(_ORIENTATION, 1)
    return tag if isinstance(tag, int) and 1 <= tag <= 8 else 1


def _without_jpeg_tags(data: bytes) -> bytes:
    """Leave out APP1, which holds EXIF and XMP, of a JPEG."""
    kept, at = [data[:2]], 2
    while data[at : at + 1] == b"\xff":
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xDA:  # the pixels begin
            break
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker != 0xE1:
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])


class _PNG:
    """The chunks of a PNG. Pillow reads an orientation that stands behind the pixels only by
    decoding them.
    """

    def __init__(self, file: BinaryIO):
        self.file = file

    def chunks(self) -> Iterator[tuple[bytes, int, int]]:
        """Kind, start and length, all of it counted, of each chunk."""
        at = len(_PNG_START)
        size = self.file.seek(0, io.SEEK_END)
        while at + 12 <= size:
            self.file.seek(at)
            head = self.file.read(8)
            length = 12 + int.from_bytes(head[:4], "big")
            if at + length > size:
                return
            yield head[4:], at, length
            at += length

    def look(self, image: Image.Image) -> tuple[int, bool]:
        """Orientation, and whether the file ends as a PNG does."""
        here = self.file.tell()
        kinds = [
            kind for kind, start, _ in self.chunks() if kind == b"eXIf" or self._is_tag(kind, start)
        ]
        ends = any(kind == b"IEND" for kind, _, _ in self.chunks())
        self.file.seek(here)
        return (_tag(image) if kinds and ends else 1), ends

    def without_tags(self) -> bytes:
        kept = [_PNG_START]
        for kind, start, length in list(self.chunks()):
            if kind != b"eXIf" and not self._is_tag(kind, start):
                self.file.seek(start)
                kept.append(self.file.read(length))
        return b"".join(kept)

    def _is_tag(self, kind: bytes, start: int) -> bool:
        """Whether a chunk of text holds EXIF or XMP."""
        if kind not in _PNG_TEXT:
            return False
        self.file.seek(start + 8)
        return self.file.read(22).startswith((b"Raw profile type exif", b"XML:com.adobe.xmp"))
