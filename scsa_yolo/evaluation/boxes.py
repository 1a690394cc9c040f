"""What the rules work on: labelled boxes, boxes to ignore and detections of a picture, in its own
pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scsa_yolo.datasets.layout.side import IgnoreBox
from scsa_yolo.evaluation.visdrone_rules import inside_regions

__all__ = ["Detections", "Truth", "clear_regions"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Detections:
    """(N, 4) corners in pixels, (N,) scores and (N,) class numbers, in descending score."""

    xyxy: Array
    scores: Array
    classes: Array

    @classmethod
    def sorted(cls, xyxy: Array, scores: Array, classes: Array) -> Detections:
        """Order detections by descending score; equal scores keep their order."""
        order = np.argsort(-np.asarray(scores, float), kind="stable")
        return cls(
            np.asarray(xyxy, float).reshape(-1, 4)[order], scores[order], classes[order].astype(int)
        )

    def where(self, keep: Array) -> Detections:
        """Return those that (N,) bool `keep` names."""
        return Detections(self.xyxy[keep], self.scores[keep], self.classes[keep])


@dataclass(frozen=True)
class Truth:
    """What a picture shows.

    Attributes:
        image: Its path, for messages.
        width: Pixels.
        height: Pixels.
        xyxy: (N, 4) corners of the labelled boxes in pixels.
        classes: (N,) their classes.
        ignore: Boxes and regions that count neither for nor against a detector.
        conditions: Such as ``{"light": "Low"}``.
        areas: (N,) areas in square pixels by which COCO sorts the boxes by size, those of their
            segments; None takes the boxes' own.
    """

    image: str
    width: int
    height: int
    xyxy: Array
    classes: Array
    ignore: tuple[IgnoreBox, ...] = ()
    conditions: dict[str, str] = field(default_factory=dict)
    areas: Array | None = None

    def where(self, keep: Array) -> Truth:
        """Return the same picture with the labelled boxes that (N,) bool `keep` names."""
        areas = None if self.areas is None else self.areas[keep]
        return replace(self, xyxy=self.xyxy[keep], classes=self.classes[keep], areas=areas)

    def regions(self, reasons: Sequence[str] | None = None) -> Array:
        """Return (R, 4) corners of what is ignored whatever the class; only of these `reasons` if
        given.
        """
        chosen = [
            box.xyxy
            for box in self.ignore
            if box.cls is None and (reasons is None or box.reason in reasons)
        ]
        return np.array(chosen, float).reshape(-1, 4)


def clear_regions(truth: Truth, found: Detections, regions: Array) -> tuple[Truth, Detections]:
    """Take out the labelled boxes and the detections of which half or more lies in (R, 4)
    `regions`.

    VisDrone's rule. Both sides go: a labelled box whose detections are all deleted could only be
    missed.
    """
    if not len(regions):
        return truth, found
    size = truth.width, truth.height
    kept = ~inside_regions(to_xywh(truth.xyxy), to_xywh(regions), *size)
    left = found.where(~inside_regions(to_xywh(found.xyxy), to_xywh(regions), *size))
    return truth.where(kept), left


def to_xywh(xyxy: Array) -> Array:
    """(N, 4) corners to left, top, width, height."""
    return np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)
