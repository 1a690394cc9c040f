"""From a picture to a detector's input, and from its raw output to boxes, with numpy and OpenCV
alone.

Copy this file beside the one for your runtime. It does what Ultralytics does around an exported
detector: letterbox (RT-DETR: stretch), RGB in 0 to 1, and then one of three outputs is read:

- (1, 4 + classes, anchors): centre, size and a score for each class, in pixels of the input;
  overlapping boxes of one class are suppressed here (YOLOv8, v9, 11, 12; v10 and 26 by default);
- (1, boxes, 6): corners in pixels, score and class, nothing to suppress (``nms=True``; v10 and 26
  end to end);
- (1, queries, 6) of RT-DETR: centre and size as shares of the picture, score and class; (1,
  queries, 4 + classes) with a score for each class in older releases.
"""

from __future__ import annotations

import argparse
import colorsys
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

GREY = 114  # what Ultralytics pads with


@dataclass(frozen=True)
class Detector:
    """An exported model: how to run it, and what its metadata say.

    Attributes:
        infer: From the input (N, 3, H, W) to the raw output.
        shape: Of the input; None where any size goes.
        metadata: As Ultralytics writes it into every export.
        dtype: Of the input.
    """

    infer: Callable[[np.ndarray], np.ndarray]
    shape: tuple[int | None, ...]
    metadata: dict[str, Any]
    dtype: type = np.float32

    def __post_init__(self) -> None:
        missing = [
            name for name in ("names", "imgsz", "stride", "head") if name not in self.metadata
        ]
        if missing:
            raise ValueError(
                f"the model lacks {', '.join(missing)} in its metadata: export it with Ultralytics"
            )
        if self.metadata.get("task", "detect") != "detect":
            raise ValueError(
                f"the model's task is {self.metadata['task']!r}; this example reads boxes of"
                " detectors"
            )

    @property
    def names(self) -> dict[int, str]:
        """Class names by number."""
        return self.metadata["names"]

    @property
    def dynamic(self) -> bool:
        """Whether the input may have any size."""
        return None in self.shape[2:]

    @property
    def stretches(self) -> bool:
        """Whether the picture is stretched to the input, and boxes are shares of it (RT-DETR)."""
        return self.metadata["head"] == "RTDETRDecoder"

    @property
    def needs_suppression(self) -> bool:
        """Whether the raw output is one of anchors."""
        end_to_end = self.metadata.get("end2end", False) or self.metadata.get("args", {}).get(
            "nms", False
        )
        return not (self.stretches or end_to_end)

    def detect(
        self,
        picture: np.ndarray,
        conf: float = 0.25,
        iou: float = 0.7,
        imgsz: int | None = None,
        limit: int = 300,
    ) -> np.ndarray:
        """Find the objects in a picture.

        Args:
            picture: (H, W, 3) BGR, uint8, as OpenCV reads it.
            conf: Least score of a box.
            iou: Overlap above which the weaker of two boxes of a class goes.
            imgsz: Long side of the input in pixels, for models of any size (default: as exported).
            limit: Boxes at most.

        Returns:
            (N, 6): left, top, right, bottom in pixels of the picture, score, class; best first.
        """
        if self.dynamic:
            size = tuple(self.metadata["imgsz"]) if imgsz is None else (imgsz, imgsz)
            self._check_size(size)
        elif imgsz not in (None, *self.shape[2:]):
            raise ValueError(
                f"the model was exported for {self.shape[2]}x{self.shape[3]} pixels alone: leave"
                " --imgsz out, or export it with dynamic=True"
            )
        else:
            size = self.shape[2:]
        placed, scale, offset = place(
            picture, size, self.metadata["stride"], self.dynamic, self.stretches
        )
        x = placed[:, :, ::-1].transpose(2, 0, 1)[None].astype(self.dtype) / 255
        raw = self._run(np.ascontiguousarray(np.repeat(x, self.shape[0] or 1, axis=0)))
        if self.needs_suppression:
            found = suppress(candidates(raw.T, conf), iou)
        elif raw.shape[1] == 6:
            found = raw[raw[:, 4] > conf]
            found[:, :4] = corners(found[:, :4]) if self.stretches else found[:, :4]
        else:
            found = candidates(raw, conf)
        if self.stretches:
            scale = 1 / picture.shape[1], 1 / picture.shape[0]
        found = found[np.argsort(-found[:, 4], kind="stable")][:limit].copy()
        found[:, :4] = (found[:, :4] - (*offset, *offset)) / (*scale, *scale)
        found[:, :4] = np.clip(found[:, :4], 0, picture.shape[1::-1] * 2)
        return found

    def _check_size(self, size: Sequence[int]) -> None:
        """Refuse sides that the network's stride does not divide: its maps would not fit."""
        stride = int(self.metadata["stride"])
        for side in size:
            if side < 1 or side % stride:
                below = max(side // stride * stride, 0)
                near = [str(one) for one in (below, below + stride) if one]
                raise ValueError(
                    f"--imgsz {side} is no multiple of the model's stride, {stride}. Type:"
                    f" --imgsz {' or --imgsz '.join(near)}"
                )

    def _run(self, x: np.ndarray) -> np.ndarray:
        """Return the raw output of the first picture, in float32."""
        try:
            output = self.infer(x)
        except Exception as error:  # each runtime has its own
            height, width = x.shape[2:]
            raise ValueError(
                f"the model does not run at {height}x{width} pixels: {error}. Type: --imgsz"
                f" {max(self.metadata['imgsz'])}, the size of its export"
            ) from error
        return output[0].astype(np.float32)


def place(
    picture: np.ndarray, size: Sequence[int], stride: int, rectangle: bool, stretch: bool
) -> tuple[np.ndarray, tuple[float, float], tuple[int, int]]:
    """Fit a picture into the network's input.

    Args:
        picture: (H, W, 3).
        size: Height and width of the input.
        stride: Of the network.
        rectangle: Pad to the next multiple of the stride only, for models of any size.
        stretch: Fill the input, whatever the picture's proportions.

    Returns:
        The input's picture; pixels of the input for each of the picture's, in x and y; offset in x
        and y.
    """
    (height, width), (high, wide) = picture.shape[:2], size
    if stretch:
        return cv2.resize(picture, (wide, high)), (wide / width, high / height), (0, 0)
    ratio = min(high / height, wide / width)
    new = max(round(width * ratio), 1), max(round(height * ratio), 1)
    spare_x, spare_y = wide - new[0], high - new[1]
    if rectangle:
        spare_x, spare_y = spare_x % stride, spare_y % stride
    left, top = round(spare_x / 2 - 0.1), round(spare_y / 2 - 0.1)
    if new != (width, height):
        picture = cv2.resize(picture, new, interpolation=cv2.INTER_LINEAR)
    border = (top, spare_y - top, left, spare_x - left)
    padded = cv2.copyMakeBorder(picture, *border, cv2.BORDER_CONSTANT, value=(GREY, GREY, GREY))
    return padded, (new[0] / width, new[1] / height), (left, top)


def candidates(rows: np.ndarray, conf: float) -> np.ndarray:
    """From rows of centre, size and a score for each class to rows of corners, best score and its
    class.
    """
    best = rows[:, 4:].argmax(axis=1)
    score = rows[np.arange(len(rows)), 4 + best]
    keep = score > conf
    return np.column_stack([corners(rows[keep, :4]), score[keep], best[keep]]).astype(np.float32)


def corners(boxes: np.ndarray) -> np.ndarray:
    """From centre and size to left, top, right, bottom; (N, 4) each."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def suppress(boxes: np.ndarray, iou: float) -> np.ndarray:
    """Take the best box, drop those of its class that overlap it by more than ``iou``, and so on;
    (N, 6) each.
    """
    boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    keep, left = [], np.arange(len(boxes))
    while len(left):
        best, left = left[0], left[1:]
        keep.append(best)
        low, high = (
            np.maximum(boxes[left, :2], boxes[best, :2]),
            np.minimum(boxes[left, 2:4], boxes[best, 2:4]),
        )
        common = np.clip(high - low, 0, None).prod(axis=1)
        overlap = common / np.maximum(area[left] + area[best] - common, 1e-12)
        left = left[(overlap <= iou) | (boxes[left, 5] != boxes[best, 5])]
    return boxes[keep]


def read(path: Path) -> np.ndarray:
    """Read a picture as (H, W, 3) BGR; names of any alphabet work, on Windows too."""
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{path}: OpenCV cannot read this as a picture")
    return picture


def draw(picture: np.ndarray, found: np.ndarray, names: dict[int, str]) -> np.ndarray:
    """Return a copy of the picture with boxes, names and scores."""
    drawn = picture.copy()
    thick = max(1, round(max(picture.shape[:2]) / 600))
    for *box, score, number in found:
        left, top, right, bottom = (round(float(value)) for value in box)
        red, green, blue = colorsys.hsv_to_rgb(int(number) * 0.618 % 1, 0.9, 1.0)
        color = (255 * blue, 255 * green, 255 * red)
        cv2.rectangle(drawn, (left, top), (right, bottom), color, thick)
        text = f"{names[int(number)]} {score:.2f}"
        cv2.putText(
            drawn,
            text,
            (left, max(top - 3, 10)),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.4 * thick,
            color,
            thick,
        )
    return drawn


def command(
    load: Callable[[Path], Detector], description: str, argv: Sequence[str] | None = None
) -> int:
    """Run an example: read a model and a picture, print the boxes, and draw them when asked to."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model", type=Path, help="the exported model")
    parser.add_argument("picture", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="draw the boxes and write this picture")
    parser.add_argument(
        "--conf", type=float, default=0.25, help="least score of a box (default: 0.25)"
    )
    parser.add_argument("--iou", type=float, default=0.7, help="of the suppression (default: 0.7)")
    parser.add_argument(
        "--imgsz", type=int, help="long side of the input in pixels, for models of any size"
    )
    args = parser.parse_args(argv)
    try:
        picture = read(args.picture)
        detector = load(args.model)
        found = detector.detect(picture, args.conf, args.iou, args.imgsz)
        for *box, score, number in found:
            print(
                f"{detector.names[int(number)]} {score:.3f} "
                + " ".join(f"{value:.1f}" for value in box)
            )
        print(f"{len(found)} boxes", file=sys.stderr)
        if args.output:
            drawn = draw(picture, found, detector.names)
            args.output.write_bytes(cv2.imencode(args.output.suffix or ".jpg", drawn)[1].tobytes())
    except (OSError, ValueError, cv2.error) as error:
        print(f"{parser.prog}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0
