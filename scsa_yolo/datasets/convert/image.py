"""One image's conversion, in a worker thread: boxes and image are brought into one frame, and both
written.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scsa_yolo.datasets.convert.sizes import Doubt, Ruling, doubt_of, is_close, scale_to
from scsa_yolo.datasets.convert.writer import Placer, writing
from scsa_yolo.datasets.layout.pictures import Header, check_pixels, painted, read_header, upright
from scsa_yolo.datasets.native.options import Options
from scsa_yolo.datasets.native.records import (
    XYXY,
    Annotation,
    Box,
    Finding,
    Ignored,
    Item,
    Unreadable,
    clip,
    label_row,
)
from scsa_yolo.datasets.native.source import Source

_PAINTED = ("region", "dontcare")
_NOTICEABLE = 1e-6  # px; x + width of a box at the border is off by less


@dataclass(slots=True)
class Outcome:
    """What became of an image. It is counted and written in order by the main thread."""

    item: Item
    side: dict[str, Any] | None = None  # None: left out
    kinds: list[int] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    left: str = ""  # the code of the reason, where it is left out
    found: Annotation | None = None
    aside: Counter[str] = field(default_factory=Counter)  # boxes in the side file, by class
    doubt: Doubt | None = None  # its size is to be decided when all others are known


@dataclass(frozen=True, slots=True)
class ImageConverter:
    """Converts images of one source into one work folder."""

    folder: Path
    source: Source
    options: Options
    placer: Placer
    names: tuple[str, ...] = ()

    def __call__(self, item: Item, ruling: Ruling | None = None) -> Outcome:
        """Convert one image. What is wrong with it is told in the outcome.

        An image whose size is not the stated one is put off, with the doubt in the outcome, until
        it is called again with a ruling.

        Raises:
            WriteError: Its files cannot be written.
        """
        outcome = Outcome(item)
        try:
            found = item.read()
        except (Unreadable, OSError) as error:
            outcome.findings.append(self._no_annotation(item, error))
            outcome.left = "bad-file"
            return outcome
        outcome.findings, outcome.found = found.findings, found
        if found.leave_out is not None:
            outcome.left = "image-left-out"
            found.tell("dropped", outcome.left, f"{item.name} left out: {found.leave_out}")
            return outcome
        try:
            header = read_header(item.image)
            if not header.ends:
                check_pixels(item.image)
            doubt = doubt_of(header, found)
            if doubt is not None and not self._settle(item, found, doubt, ruling, outcome):
                return outcome
            self._write(item, header, found, outcome)
        except Unreadable as error:
            outcome.left = "bad-image"
            self._tell(item, found, "error", outcome.left, f"left out: {error}")
        return outcome

    def _settle(
        self,
        item: Item,
        found: Annotation,
        doubt: Doubt,
        ruling: Ruling | None,
        outcome: Outcome,
    ) -> bool:
        """Bring the boxes into the file's frame, or say why this cannot be done (now)."""
        kind = "guess"
        if is_close(doubt) or doubt.empty:
            kind, ruling = "changed", Ruling("file", "this matters little")
        elif self.options.sizes != "auto":
            kind, ruling = "changed", Ruling(self.options.sizes, "as --sizes says")
        if ruling is None:
            outcome.doubt = doubt
            return False
        (width, height), (actual_width, actual_height) = doubt.stated, doubt.actual
        sizes = f"{width}x{height} px are stated, the image has {actual_width}x{actual_height}"
        if ruling.frame is None:
            outcome.left = "size-unclear"
            reason = f"left out: {sizes}: {ruling.reason}; --sizes stated or file decides"
            self._tell(item, found, "error", outcome.left, reason)
            return False
        done = "boxes left as they are"
        if ruling.frame == "stated":
            done = "boxes scaled"
            scale_to(found, doubt)
        self._tell(item, found, kind, "other-size", f"{sizes}: {done}, {ruling.reason}")
        return True

    def _no_annotation(self, item: Item, error: Exception) -> Finding:
        reason = getattr(error, "strerror", None) or str(error)
        file = self.source.shown(item.annotation)
        return Finding(
            "error",
            "bad-file",
            file,
            getattr(error, "line", None),
            f"left out, with its image: {reason}",
        )

    def _tell(self, item: Item, found: Annotation, kind: str, code: str, reason: str) -> None:
        """Tell something about the image, not its annotation."""
        found.findings.append(Finding(kind, code, self.source.shown(item.image), None, reason))

    def _write(self, item: Item, header: Header, found: Annotation, outcome: Outcome) -> None:
        """Bring boxes and image into one frame, and write image and label file."""
        (width, height), bake = _frame(header, found)
        if bake:
            reason = (
                f"orientation tag {header.orientation} taken out, pixels as stored: the boxes lie"
                " in that frame"
            )
            self._tell(item, found, "changed", "orientation", reason)
        boxes: list[tuple[Box, XYXY]] = []
        ignored: list[tuple[Ignored, XYXY]] = []
        for box in found.boxes:
            cut = _cut(box, width, height, found, self.names[box.kind])
            if cut is not None:
                boxes.append((box, cut))
        for region in found.ignored:
            of_class = self._label(region)
            cut = _cut(region, width, height, found, of_class)
            if cut is not None:
                ignored.append((region, cut))
                outcome.aside[of_class] += 1
        _tell_duplicates(boxes, found)
        for region, _ in ignored:
            reason = f"{region.reason} box moved to the side file: no ground truth"
            found.tell("moved", region.reason, reason, region.line)
        self._put_image(item, header, bake, [cut for _, cut in boxes], ignored, found)
        label = self.folder / "labels" / item.split / f"{os.path.splitext(item.name)[0]}.txt"
        with writing(label):
            text = "".join(label_row(box.kind, cut, width, height) for box, cut in boxes)
            label.write_text(text, encoding="utf-8", newline="\n")
        outcome.side = _side_line(item, width, height, found, [box for box, _ in boxes], ignored)
        outcome.kinds = [box.kind for box, _ in boxes]

    def _label(self, box: Ignored) -> str:
        """How the balance calls the class of a box that does not count."""
        return box.label or box.reason if box.kind is None else self.names[box.kind]

    def _put_image(
        self,
        item: Item,
        header: Header,
        bake: bool,
        boxes: list[XYXY],
        ignored: list[tuple[Ignored, XYXY]],
        found: Annotation,
    ) -> None:
        """Put the image in place, changed if need be."""
        target = self.folder / "images" / item.split / item.name
        regions = (
            [cut for box, cut in ignored if box.reason in _PAINTED]
            if self.options.paint_ignored
            else []
        )
        if regions and header.orientation != 1 and not bake:
            raise Unreadable(
                "regions cannot be painted over: its boxes lie in a frame that its orientation tag"
                " turns"
            )
        if regions:
            self._tell(
                item, found, "changed", "painted", f"{len(regions)} ignored regions painted over"
            )
        if regions or bake:
            data = painted(item.image, regions, boxes) if regions else upright(item.image, header)
            with writing(target):
                self.placer.write(target, data)
            return
        mode = "hardlink" if self.source.is_ours(item.image) else self.placer.mode
        if not header.ends and not self.source.is_ours(item.image) and mode != "copy":
            # Ultralytics re-saves such a JPEG where it lies: that must not be SOURCE
            reason = (
                "copied, not linked: it has no end marker, and Ultralytics re-saves such images in"
                " place"
            )
            self._tell(item, found, "changed", "copied", reason)
            mode = "copy"
        with writing(target):
            self.placer.place(item.image, target, mode)


def _frame(header: Header, found: Annotation) -> tuple[tuple[int, int], bool]:
    """Size of the frame that the boxes lie in, and whether an orientation tag must go.

    Without a stated size the stored pixels are that frame. A size that fits only the turned image
    says that its annotator saw it turned, as Ultralytics will.
    """
    stored, stated = (header.width, header.height), found.stated_size
    turned = stored[::-1] if header.sideways else stored
    if header.orientation == 1:
        return stored, False
    if stated is not None and stated not in (stored, turned):
        doubt = doubt_of(header, found)
        stated = doubt.actual if doubt is not None else stated
    return (turned, False) if stated == turned != stored else (stored, True)


def _cut(box: Box | Ignored, width: int, height: int, found: Annotation, label: str) -> XYXY | None:
    """Clip, and tell what that changed."""
    what = box.what if isinstance(box, Box) else f"{box.reason} box"
    shown = ", ".join(f"{value:g}" for value in box.xyxy)
    cut = clip(box.xyxy, width, height)
    if cut is None:
        x1, y1, x2, y2 = box.xyxy
        code = "no-area" if x2 <= x1 or y2 <= y1 else "outside"
        reason = (
            f"no area, ({shown})"
            if code == "no-area"
            else f"({shown}) lies outside the {width}x{height} image"
        )
        found.drop(label, "dropped", code, f"{what} dropped: {reason}", box.line)
    elif max(abs(a - b) for a, b in zip(cut, box.xyxy)) > _NOTICEABLE:
        found.tell(
            "changed",
            "clipped",
            f"{what} ({shown}) clipped to the {width}x{height} image",
            box.line,
        )
    return cut


def _tell_duplicates(boxes: list[tuple[Box, XYXY]], found: Annotation) -> None:
    """Duplicates stay: benchmarks count them. Ultralytics drops them when it loads the labels."""
    seen: set[tuple[int, XYXY]] = set()
    for box, cut in boxes:
        if (box.kind, cut) in seen:
            found.tell(
                "note",
                "duplicate",
                f"{box.what} is there twice: kept, Ultralytics will drop it",
                box.line,
            )
        seen.add((box.kind, cut))


def _side_line(
    item: Item,
    width: int,
    height: int,
    found: Annotation,
    boxes: list[Box],
    ignored: list[tuple[Ignored, XYXY]],
) -> dict[str, Any]:
    """What Ultralytics' label format cannot hold; ``boxes`` are in the order of the label file's
    rows.
    """
    line: dict[str, Any] = {
        "image": f"images/{item.split}/{item.name}",
        "width": width,
        "height": height,
    }
    if found.conditions:
        line["conditions"] = dict(found.conditions)
    if any(box.flags for box in boxes):
        line["boxes"] = [dict(box.flags) for box in boxes]
    if ignored:
        line["ignore"] = [
            {"class": box.kind, "xyxy": list(cut), "reason": box.reason} for box, cut in ignored
        ]
    return line
