"""Parameters and GFLOPs of the five detectors of the paper's Table 5, beside the printed ones:
makes docs/models.md.

Run `python benchmarks/complexity_models.py --write` from anywhere; without `--write` it checks and
prints the page. It exits with 1 when a claim of that page is untrue, and then writes nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import thop
import torch
import ultralytics
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from ultralytics.nn.modules.conv import Conv

import scsa_yolo
from scsa_yolo.complexity import IMGSZ, Cost, attention_flops, cost, load, without_attention

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "models.md"
# Detector of the paper -> stock YAML, and whether the paper's GFLOPs are those after fusing.
DETECTORS = {
    "YOLOv8-N": ("yolov8n", True),
    "YOLOv9-T": ("yolov9t", True),
    "YOLOv10-N": ("yolov10n", True),
    "YOLO11-N": ("yolo11n", False),
    "RT-DETR-r18": ("rtdetr-r18", False),
}
ROUNDED = ("YOLOv8-N", "YOLOv10-N", "YOLO11-N")  # must round to the paper's numbers
R18_WITHIN = (0.02, 0.04)  # of the paper's parameters and GFLOPs


@dataclass(frozen=True)
class Counts:
    """One model before and after fusing."""

    plain: Cost
    fused: Cost
    then: tuple[
        float, float
    ]  # GFLOPs before and after fusing, counted as when the paper was written
    # convolutions and matrix products of a whole forward pass of the fused model, on this CPU
    operators: int
    own_operators: int  # those of its attention modules, each alone, on this CPU


def counts(model: nn.Module) -> Counts:
    """Count a built model every way."""
    model = model.eval()
    fused = deepcopy(model).fuse(verbose=False)
    plain_cost, fused_cost = cost(model), cost(fused)
    then = (gflops_then(model, plain_cost), gflops_then(fused, fused_cost))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        fused(torch.zeros(1, 3, IMGSZ, IMGSZ))
    return Counts(
        plain_cost,
        fused_cost,
        then,
        counter.get_total_flops(),
        attention_flops(fused, device="cpu"),
    )


def gflops_then(model: nn.Module, now: Cost) -> float:
    """Count as Ultralytics did when the paper was written: the layers on one stride of pixels,
    times the strides.

    So the matrix products of C2PSA, which grow with the square of the positions, all but vanish.
    RT-DETR's decoder wants more positions than a stride has, and was counted at full size.
    """
    stride = 32
    stock = without_attention(model)
    if "RTDETR" in type(model).__name__:
        return now.gflops
    macs = thop.profile(stock, inputs=[torch.zeros(1, 3, stride, stride)], verbose=False)[0]
    return float(macs * 2 * (IMGSZ / stride) ** 2 + now.attention_flops) / 1e9


def official_v9_head(model: Any) -> nn.Module:
    """Return a copy of YOLOv9 with its authors' box branch, whose last two convolutions have four
    groups.
    """
    copy = deepcopy(model)
    for branch in copy.model[-1].cv2:
        wide, last = branch[1].conv, branch[2]
        branch[1] = Conv(wide.in_channels, wide.out_channels, 3, g=4)
        branch[2] = nn.Conv2d(last.in_channels, last.out_channels, 1, groups=4)
    return copy


def near(value: float, printed: float, share: float) -> bool:
    return abs(value - printed) <= share * printed


def claims(
    found: dict[str, tuple[Counts, Counts]], printed: dict[str, Any], v9: Counts
) -> dict[str, bool]:
    """Return the page's claims, each with its truth."""
    truths: dict[str, bool] = {}
    for detector, (stock, ours) in found.items():
        yaml, after = DETECTORS[detector]
        before_or_after = "after" if after else "before"
        params, gflops = printed[detector]
        own = ours.plain.parameters - stock.plain.parameters
        truths[f"{yaml}: fused, parameters equal stock plus SCSA's own {own:,}"] = (
            ours.fused.parameters == stock.fused.parameters + own and own > 0
        )
        truths[
            f"{yaml}: fused, a forward pass counts what stock counts plus what each SCSA counts"
            " alone"
        ] = ours.operators == stock.operators + ours.own_operators
        cost_after = ours.fused if after else ours.plain
        if detector in ROUNDED:
            truths[
                f"{yaml}-scsa: {before_or_after} fusing rounds to the paper's {params} M and"
                f" {gflops} GFLOPs"
            ] = (
                round(cost_after.parameters / 1e6, 1) == params
                and round(ours.then[after], 1) == gflops
            )
    _, r18 = found["RT-DETR-r18"]
    params, gflops = printed["RT-DETR-r18"]
    truths[
        "rtdetr-r18-scsa: before and after fusing within 2 % of the paper's parameters and 4 % of"
        " its GFLOPs"
    ] = all(
        near(c.parameters / 1e6, params, R18_WITHIN[0]) and near(c.gflops, gflops, R18_WITHIN[1])
        for c in (r18.plain, r18.fused)
    )
    params, gflops = printed["YOLOv9-T"]
    truths[
        f"yolov9t-scsa with the authors' grouped box branch, fused, rounds to the paper's {params}"
        f" M, {gflops} GFLOPs"
    ] = round(v9.fused.parameters / 1e6, 1) == params and round(v9.then[1], 1) == gflops
    return truths


HEAD = """\
# What the models cost

Made by `python benchmarks/complexity_models.py --write` with Ultralytics {ultralytics}, torch {torch}, scsa_yolo {ours}:
640 x 640 pixels, 80 classes. The paper's numbers are those of its Table 5. `scsa-yolo models` lists all other packaged
models, counted the same way: from a table that is packaged, with a hash of each YAML, ours and Ultralytics', so that a
model that has changed is counted anew. `--recount` counts all of them with the installed Ultralytics.

| detector | model | parameters | fused | GFLOPs | fused | counted then | fused | paper: M | GFLOPs |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|
"""

NOTES = """
**GFLOPs** are Ultralytics' own count of the stock layers, as in `model.info()`, plus the attention's convolutions and
matrix products as a GPU runs them. A multiplication with its addition counts as two. Gates, pooling and other
elementwise work of the attention are not counted.

**Counted then** takes the stock layers as Ultralytics counted them when the paper was written: on a picture of 32
pixels, times 400. The matrix products of C2PSA (0.06 GFLOPs in YOLOv10-N and YOLO11-N) all but vanish in it; RT-DETR is
counted whole. The paper's numbers are of this kind, and not all of one column: v8 and v10 are those after fusing (which
for v10 also removes the one-to-many head, {v10_before} M to {v10_after} M), 11 those before.

**YOLOv9-T.** Today's upstream model is {v9_params:+.1%} in parameters and {v9_gflops:+.1%} in GFLOPs from the paper by
itself, fused and without SCSA. The reason is the head: in the authors' code (`DDetect` in `models/yolo.py` of
https://github.com/WongKinYiu/yolov9) the last two convolutions of the box branch have four groups, in Ultralytics one.
With four, `yolov9t-scsa` has {v9_fixed}.

**Checked by the script** at every run; it fails when one is untrue:

"""


def page(
    found: dict[str, tuple[Counts, Counts]],
    printed: dict[str, Any],
    v9: Counts,
    truths: dict[str, bool],
) -> str:
    text = HEAD.format(
        ultralytics=ultralytics.__version__, torch=torch.__version__, ours=scsa_yolo.__version__
    )
    for detector, pair in found.items():
        params, gflops = printed[detector]
        for kind, c in zip(("stock", "SCSA"), pair):
            text += (
                f"| {detector} | {kind} | {c.plain.parameters:,} | {c.fused.parameters:,} |"
                f" {c.plain.gflops:.3f} | {c.fused.gflops:.3f} | {c.then[0]:.3f} | {c.then[1]:.3f}"
                f" | {params} | {gflops} |\n"
            )
        stock, ours = pair
        text += (
            f"| | SCSA's own | +{ours.plain.parameters - stock.plain.parameters:,} |"
            f" +{ours.fused.parameters - stock.fused.parameters:,} |"
            f" +{ours.plain.attention_flops / 1e9:.4f} | +{ours.fused.attention_flops / 1e9:.4f} |"
            " | | | |\n"
        )
    v10, (v9_stock, _) = found["YOLOv10-N"][1], found["YOLOv9-T"]
    text += NOTES.format(
        v10_before=f"{v10.plain.parameters / 1e6:.2f}",
        v10_after=f"{v10.fused.parameters / 1e6:.2f}",
        v9_params=v9_stock.fused.parameters / 1e6 / printed["YOLOv9-T"][0] - 1,
        v9_gflops=v9_stock.then[1] / printed["YOLOv9-T"][1] - 1,
        v9_fixed=f"{v9.fused.parameters / 1e6:.3f} M parameters and {v9.then[1]:.3f} GFLOPs, fused",
    )
    return text + "".join(f"- {claim}\n" for claim in truths)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} (default: print)")
    args = parser.parse_args()
    rows = json.loads((HERE / "paper_table5.json").read_text(encoding="utf-8"))["rows"]
    printed = {detector: (params, gflops) for detector, _, params, gflops, _ in rows}
    found = {}
    for detector, (yaml, _) in DETECTORS.items():
        print(f"counting {detector}", file=sys.stderr, flush=True)
        found[detector] = (
            counts(load(f"{yaml}.yaml").model),
            counts(load(f"{yaml}-scsa.yaml").model),
        )
    v9 = counts(official_v9_head(load("yolov9t-scsa.yaml").model))
    truths = claims(found, printed, v9)
    untrue = [claim for claim, truth in truths.items() if not truth]
    for claim in untrue:
        print(f"UNTRUE: {claim}", file=sys.stderr)
    if not args.write:
        print(page(found, printed, v9, truths))
    elif not untrue:
        PAGE.write_text(page(found, printed, v9, truths), encoding="utf-8")
        print(f"all {len(truths)} claims hold; written: {PAGE}")
    return int(bool(untrue))


if __name__ == "__main__":
    sys.exit(main())
