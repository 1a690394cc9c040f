"""How the first output of an exported model is laid out, by its task and its head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scsa_yolo.deploy.raw_parity import BOXES, CLASSES, SCORES, VALUES, Layout

if TYPE_CHECKING:
    from scsa_yolo.deploy.export import Exported

__all__ = ["head_of", "layout_of", "stride_of"]

EXTRA = {"segment": "mask coefficients", "pose": "keypoints", "obb": "angles"}
STRIDE = 32  # of most networks


def head_of(reference: Any) -> Any:
    """Return the last layer of what was traced, or None where it is no network of Ultralytics'."""
    from torch import nn

    network = reference
    while network is not None and not isinstance(network, nn.Sequential):
        network = getattr(network, "model", None)
    return network[-1] if network is not None and len(network) else None


def stride_of(reference: Any) -> int:
    """Return what sides of the input must be a multiple of, in pixels."""
    stride = getattr(head_of(reference), "stride", None)
    largest = int(max(stride)) if stride is not None and len(stride) else STRIDE
    return max(STRIDE, largest)


def layout_of(made: Exported, output: Sequence[np.ndarray] = ()) -> Layout:
    """Return how the first output is laid out.

    Args:
        made: The export.
        output: PyTorch's outputs, from which is seen which of its forms RT-DETR's decoder has.
    """
    head = head_of(made.reference)
    if made.task == "classify":
        return Layout(axis=1, names=(SCORES,))
    if made.task not in {"detect", *EXTRA}:
        return Layout(axis=1, names=(VALUES,)) if output and output[0].ndim > 3 else Layout()
    extra = EXTRA.get(made.task, VALUES)
    points = tuple(getattr(head, "kpt_shape", ()) or ())
    per_point = points[1] if made.task == "pose" and len(points) == 2 else 0
    if "RTDETR" in made.head:
        return _queries(output)
    if made.end2end:  # corners, score, class, what a task adds
        names = (BOXES, SCORES, CLASSES, extra)
        return Layout(
            axis=2,
            kinds=(4, 5, 6),
            selected=True,
            score=4,
            names=names,
            per_point=per_point,
            corners=made.task != "obb",
            cut=float(made.settings.get("conf") or 0.25) if made.nms else 0.0,
        )
    classes = int(getattr(head, "nc", 0))
    if made.task == "detect" or not classes:
        return Layout(axis=1, kinds=(4,))
    kinds = (4, 4 + classes)
    return Layout(axis=1, kinds=kinds, names=(BOXES, SCORES, extra), per_point=per_point)


def _queries(output: Sequence[np.ndarray]) -> Layout:
    """RT-DETR: centre and size, then a score for each class, or in newer releases the score and
    the number of the best class.
    """
    rows = output[0] if output and output[0].ndim == 3 else None
    if rows is not None and rows.shape[2] == 6 and (rows[..., 5] == np.rint(rows[..., 5])).all():
        return Layout(axis=2, kinds=(4, 5, 6), selected=True, score=4)
    return Layout(axis=2, kinds=(4,), selected=True)
