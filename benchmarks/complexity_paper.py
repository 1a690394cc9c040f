"""Rebuild the complexity columns of the paper's Tables 2 and 3: python
benchmarks/complexity_paper.py.

Makes docs/complexity.md, the counted parameters and FLOPs beside the printed ones
(benchmarks/paper_tables.json): prints it, and writes it with --write. Exits 1 if a count that the page calls equal is not, or one that it
calls different no longer is. Needs torchvision and timm.

Everything is counted on the meta device: no weights, no arithmetic, the same on every machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import FasterRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

import scsa_yolo
from scsa_yolo.injection import inject

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "complexity.md"
COMMAND = "python benchmarks/complexity_paper.py --write"
IMAGE = (1, 3, 224, 224)
COCO_IMAGE = (1, 3, 800, 1152)
PROPOSALS, DETECTIONS = 1000, 100
COCO_CLASSES = 80
# In the paper's ResNets these sit on the block's output, of width 4C; the others on the 3x3
# convolution's.
OUT = ("SE", "FCA", "CBAM")
MASK_RCNN = (
    "none",
    "FCA",
    "ECA",
    "SE",
    "CA",
    "SCSA",
)  # the paper prints its AP (Table 8) and no complexity

# FLOPs are held to these bounds: Table 2's in G, Table 3's relative (the paper does not state its
# input size there).
FLOPS_WITHIN = 0.02
COCO_FLOPS_WITHIN = 0.003
# What is known to differ from the printed figure, and why. A row that agrees after all is an error
# too.
PARAMS_DIFFER = {
    (
        "ResNet-101",
        "SE",
    ): "Printed with one decimal, it seems: FCA has the same parameters and is printed as 49.29.",
    ("ResNet-101", "AFGCA"): (
        "Against ResNet-50, ResNet-101 has 17 more units of width 256. At the 65.8 thousand"
        " parameters that AFGCA has there (which the printed ResNet-50 row confirms) they cost 1.12"
        " M; the printed row leaves 0.17 M for them."
    ),
    ("MobileNetV2-1.0", "SCSA"): (
        "The authors' released MobileNetV2 and its configuration have SCSA on the depthwise"
        " convolutions, 7136 channels in all, with 16 parameters a channel: our count. Biases of q,"
        " k and v would make it 3.64."
    ),
}
FLOPS_DIFFER = {
    ("ResNet-50", "none"): (
        "4.02 is less than the unmodified network's convolutions alone, 4.09; the printed ECA row,"
        " whose module costs next to nothing, has 4.11."
    ),
}


@dataclass
class Count:
    """What one model costs: parameters, FLOPs (a multiply-accumulate is one), and those of batched
    matrix products.
    """

    params: int
    flops: float
    products: float


@dataclass
class Line:
    """One row of a table: counted beside printed."""

    model: str
    attention: str
    count: Count
    params_m: float | None = None  # printed
    gflops: float | None = None  # printed


def norm_flops(per_value: int, shape: Any, *_: Any, **__: Any) -> int:
    """``per_value`` operations for each value of the input; doubled, since FlopCounterMode counts 2
    for a MAC.
    """
    return 2 * per_value * prod(shape)


_ATEN = torch.ops.aten
# The rates of mmengine's analyser, with which the paper's tools count: a folded scale and shift, or
# five steps.
NORMS = {
    _ATEN.native_batch_norm: partial(norm_flops, 2),
    _ATEN._native_batch_norm_legit_no_training: partial(norm_flops, 2),
    _ATEN.native_layer_norm: partial(norm_flops, 5),
    _ATEN.native_group_norm: partial(norm_flops, 5),
}


def count(model: nn.Module, run: Callable[[nn.Module], Any]) -> Count:
    """Count ``model`` in inference while ``run`` calls it."""
    model.eval()
    with FlopCounterMode(display=False, custom_mapping=NORMS) as counter, torch.no_grad():
        run(model)
    by_op = counter.get_flop_counts()["Global"]
    products = sum(flops for op, flops in by_op.items() if op in (_ATEN.bmm, _ATEN.baddbmm))
    return Count(
        sum(p.numel() for p in model.parameters()), counter.get_total_flops() / 2, products / 2
    )


def slot_of(attention: str) -> str:
    return "out" if attention in OUT else "mid"


def classifier(build: Callable[[], nn.Module], attention: str, slot: str = "mid") -> Count:
    """Count a classifier with ``attention`` in all its units."""
    model = build()
    if attention != "none":
        inject(model, attention, slot=slot)
    return count(model, lambda m: m(torch.empty(IMAGE)))


def repvit(attention: str) -> Count:
    """Count RepViT as deployed, its branches folded; SCSA takes the place of squeeze and excitation
    (SE is stock).
    """
    model = timm.create_model("repvit_m1_0").eval()
    if attention != "SE":
        replaced = {
            name
            for name, m in model.named_modules()
            if name.endswith(".se") and not isinstance(m, nn.Identity)
        }
        for name in replaced:
            model.set_submodule(name, nn.Identity())
        inject(model, attention, where=lambda name, unit: f"{name}.se" in replaced)
    return count(model.fuse(), lambda m: m(torch.empty(IMAGE)))


def backbone(depth: int, attention: str, levels: list[int], extra: nn.Module) -> nn.Module:
    """A ResNet with ``attention``, its batch norms with parameters as in MMDetection, and an FPN on
    ``levels``.
    """
    model = getattr(torchvision.models, f"resnet{depth}")()
    if attention != "none":
        inject(model, attention, slot=slot_of(attention))
    return _resnet_fpn_extractor(model, 5, returned_layers=levels, extra_blocks=extra)


def run_rcnn(model: nn.Module) -> None:
    """Call what an R-CNN computes for one image, but its choice of proposals: that needs values,
    and meta has none.
    """
    model.rpn.head(list(model.backbone(torch.empty(COCO_IMAGE)).values()))
    heads = model.roi_heads
    heads.box_predictor(heads.box_head(torch.empty(PROPOSALS, 256, 7, 7)))
    if heads.mask_head is not None:
        heads.mask_predictor(heads.mask_head(torch.empty(DETECTIONS, 256, 14, 14)))


def rcnn(cls: type[nn.Module], depth: int, attention: str) -> Count:
    model = cls(backbone(depth, attention, [1, 2, 3, 4], LastLevelMaxPool()), COCO_CLASSES + 1)
    return count(model, run_rcnn)


def retinanet(depth: int, attention: str) -> Count:
    """Count RetinaNet; as in MMDetection, P6 comes from the backbone's last stage and classes have
    no background.
    """
    model = RetinaNet(backbone(depth, attention, [2, 3, 4], LastLevelP6P7(2048, 256)), COCO_CLASSES)
    return count(model, lambda m: m.head(list(m.backbone(torch.empty(COCO_IMAGE)).values())))


def resnet(depth: int, attention: str) -> Count:
    return classifier(getattr(torchvision.models, f"resnet{depth}"), attention, slot_of(attention))


BUILDERS: dict[str, Callable[[str], Count]] = {
    "ResNet-50": partial(resnet, 50),
    "ResNet-101": partial(resnet, 101),
    "MobileNetV2-1.0": partial(classifier, torchvision.models.mobilenet_v2),
    "RepVGG-A0": partial(classifier, partial(timm.create_model, "repvgg_a0")),
    "RepViT-1.0": repvit,
    "Swin-T": partial(classifier, torchvision.models.swin_t),
    "Faster R-CNN ResNet-50": partial(rcnn, FasterRCNN, 50),
    "Faster R-CNN ResNet-101": partial(rcnn, FasterRCNN, 101),
    "RetinaNet ResNet-50": partial(retinanet, 50),
    "RetinaNet ResNet-101": partial(retinanet, 101),
    "Mask R-CNN ResNet-50": partial(rcnn, MaskRCNN, 50),
}


def rounding(value: float, printed: float, decimals: int) -> str:
    """Tell how ``value`` comes to the printed figure: ``"equal"``, ``"stepwise"`` or ``"differs"``.

    Stepwise is rounding what was rounded before, from three decimals down: 27.3948 to 27.395 to
        27.40.
    """
    target = _round(Decimal(repr(printed)), decimals)
    if _round(Decimal(repr(value)), decimals) == target:
        return "equal"
    stepped = Decimal(repr(value))
    for step in range(3, decimals - 1, -1):
        stepped = _round(stepped, step)
    return "stepwise" if stepped == target else "differs"


def _round(value: Decimal, decimals: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)


def lines(rows: list[list[Any]]) -> list[Line]:
    """Rebuild every row [model, attention, params_m, gflops] that has a builder."""
    with torch.device("meta"):
        return [
            Line(model, attention, BUILDERS[model](attention), params_m, gflops)
            for model, attention, params_m, gflops in rows
            if model in BUILDERS
        ]


MARKS = {"": "", "equal": "=", "stepwise": "= in steps", "near": "near", "differs": "differs"}


def verdicts(line: Line, decimals: int) -> tuple[str, str]:
    """Tell how parameters and FLOPs stand to the printed ones: a key of ``MARKS`` each."""
    if line.params_m is None or line.gflops is None:
        return "", ""
    params = rounding(line.count.params / 1e6, line.params_m, decimals)
    gflops = line.count.flops / 1e9
    flops = rounding(gflops, line.gflops, decimals)
    bound = FLOPS_WITHIN if decimals == 2 else COCO_FLOPS_WITHIN * line.gflops
    near = abs(gflops - line.gflops) <= bound
    return params, flops if flops != "differs" or not near else "near"


def broken_claims(line: Line, decimals: int) -> list[str]:
    """Return what the page would say wrongly of this row."""
    key = (line.model, line.attention)
    claims = zip(("parameters", "FLOPs"), verdicts(line, decimals), (PARAMS_DIFFER, FLOPS_DIFFER))
    return [
        f"{' '.join(key)}: {what} {'differ from' if verdict == 'differs' else 'now agree with'} the"
        " printed"
        for what, verdict, known in claims
        if verdict and (verdict == "differs") != (key in known)
    ]


def table(rows: list[Line], decimals: int) -> list[str]:
    """Return the rows as a Markdown table."""
    made = [
        "| model | attention | parameters, M | printed | | GFLOPs | printed | | of it products |",
        "|---|---|--:|--:|---|--:|--:|---|--:|",
    ]
    for line in rows:
        params, flops = (MARKS[verdict] for verdict in verdicts(line, decimals))
        printed = [
            f"{x:.{decimals}f}" if x is not None else "" for x in (line.params_m, line.gflops)
        ]
        cells = [line.model, line.attention, f"{line.count.params / 1e6:.3f}", printed[0], params]
        cells += [
            f"{line.count.flops / 1e9:.3f}",
            printed[1],
            flops,
            f"{line.count.products / 1e9:.4f}",
        ]
        made.append(f"| {' | '.join(cells)} |")
    return made


INTRODUCTION = f"""# Complexity: ours beside the paper's

Made by `{COMMAND}` with scsa_yolo {{scsa_yolo}}, torch {{torch}}, torchvision {{torchvision}},
timm {{timm}}. Do not edit.

Printed figures are those of the paper (Si et al. 2025, Tables 2 and 3). What is counted:

- **Parameters** of the whole model. `=`: they round to the printed figure. `= in steps`: they do when rounded to three
  decimals first and then on (27.3948, 27.395, 27.40), as the paper's own unmodified MobileNetV2 must have been.
- **FLOPs** in inference, one image; a multiply-accumulate is one. Convolutions, linear layers, matrix products, and
  norms (2 operations a value for batch norm, 5 for others, the rates of mmengine); not activations, poolings, additions
  and gating. `near`: within {FLOPS_WITHIN} G, or within {COCO_FLOPS_WITHIN:.1%} in Table 3.
- **Of it products**: batched matrix products (`bmm`), those of the attention and Swin's own. Tools that count by layer,
  such as thop, whose figures Ultralytics prints, leave them out.

The slot: in ResNets SE, FCA and CBAM are on the block's output (`slot="out"`), all others before the last convolution
(`"mid"`), as everywhere else. See [inject.md](inject.md).
"""

TABLE_2 = """## Table 2: ImageNet classifiers, 224 x 224

RepViT is counted as deployed (`fuse()`), RepVGG as trained; that is how the printed figures come about. In RepViT, SE
is the stock model, and SCSA takes SE's place. Not rebuilt: ACNet, which neither torchvision nor timm has.
"""

TABLE_3 = f"""## Table 3: COCO detectors

Torchvision's parts arranged as MMDetection's: {COCO_CLASSES} classes, {PROPOSALS} proposals, batch norms with
parameters, RetinaNet's P6 from the backbone's last stage. The paper does not state the input size;
{COCO_IMAGE[2]} x {COCO_IMAGE[3]} is what the printed difference between ResNet-101 and ResNet-50 amounts to. Mask R-CNN
({DETECTIONS} detections) stands in the paper's Table 8 without figures of complexity. Not rebuilt: Cascade R-CNN.
"""


def page(second: list[Line], third: list[Line]) -> str:
    """Return the whole page."""
    versions = {
        m.__name__: m.__version__.partition("+")[0] for m in (scsa_yolo, torch, torchvision, timm)
    }
    reasons = [f"- {' '.join(key)}, parameters. {reason}" for key, reason in PARAMS_DIFFER.items()]
    reasons += [f"- {' '.join(key)}, FLOPs. {reason}" for key, reason in FLOPS_DIFFER.items()]
    parts = [
        INTRODUCTION.format(**versions),
        TABLE_2,
        *table(second, 2),
        "",
        TABLE_3,
        *table(third, 1),
    ]
    return "\n".join([*parts, "", "## What differs, and why", "", *reasons]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} (default: print)")
    args = parser.parse_args()
    printed = json.loads((HERE / "paper_tables.json").read_text())
    second, third = lines(printed["table2"]["rows"]), lines(printed["table3"]["rows"])
    broken = [claim for line in second for claim in broken_claims(line, 2)]
    broken += [claim for line in third for claim in broken_claims(line, 1)]
    third += lines([["Mask R-CNN ResNet-50", attention, None, None] for attention in MASK_RCNN])
    text = page(second, third)
    if args.write:
        PAGE.write_text(text, encoding="utf-8")
        print(f"{PAGE} written: {len(second)} and {len(third)} rows")
    else:
        print(text)
    print(*broken, sep="\n", end="\n" if broken else "", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
