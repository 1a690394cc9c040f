"""The paper's tables as plans that can be run, and what a plan costs in GPU hours: an estimate,
nothing measured.

The estimate is arithmetic: each picture of each epoch takes one forward pass and a backward pass of
    twice its work, so

    hours = sum over runs of  epochs x pictures x GFLOPs x 3  /  throughput

The throughput is an assumption, `TFLOPS`. Validation, data loading, start-up and the final
measuring are not counted.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scsa_yolo.study.planning.arms import arm_yaml
from scsa_yolo.study.planning.file import PlanError
from scsa_yolo.study.planning.plan import Plan, load
from scsa_yolo.study.planning.schedule import schedule
from scsa_yolo.support.packaged import packaged_folder

__all__ = [
    "TFLOPS",
    "Estimate",
    "Share",
    "estimate",
    "find",
    "plans",
    "report",
    "table",
    "train_images",
]

# Sustained while training, not a peak from a data sheet. YOLOv5's owners publish one day on a V100
# for YOLOv5n: 300 epochs of COCO (118,287 pictures) at 4.5 GFLOPs, so 5.5; their times for s, m, l
# and x come to 10, 15, 22 and 32.
TFLOPS = 5.0
PASSES = 3  # forward once, backward with twice the work: gradients of activations and of weights
_EPOCHS, _IMGSZ = 100, 640  # Ultralytics' defaults
_COUNT = re.compile(r"([\d,]+) images")


@dataclass(frozen=True)
class Share:
    """One model on one data set, all arms."""

    model: str
    data: str
    runs: int
    images: int
    gflops: tuple[float, float]  # of the cheapest and the dearest arm
    hours: float


@dataclass(frozen=True)
class Estimate:
    """What a plan is estimated to cost."""

    runs: int
    hours: float
    epochs: int
    tflops: float
    shares: tuple[Share, ...]


def plans() -> list[Path]:
    """Return the packaged plans, sorted by name."""
    return sorted(packaged_folder("plans").glob("*.yaml"))


def find(name: str | Path) -> Path:
    """Return a local file of that name, or else the packaged plan of that name, with or without
    ``.yaml``.

    Raises:
        FileNotFoundError: There is neither; the message lists the packaged plans.
    """
    path = Path(name)
    if path.is_file():
        return path
    for packaged in plans():
        if str(name) in (packaged.name, packaged.stem):
            return packaged
    listed = ", ".join(packaged.stem for packaged in plans())
    raise FileNotFoundError(
        f"there is no plan '{name}'. Type: scsa-yolo study init, or the name of a packaged one:"
        f" {listed}"
    )


def estimate(
    plan: Plan,
    tflops: float = TFLOPS,
    gflops: Mapping[tuple[str, str], float] | None = None,
    *,
    stated: bool = False,
) -> Estimate:
    """Estimate the cost of all runs of a plan, those that are done already included.

    Args:
        plan: The plan.
        tflops: Assumed throughput of one GPU while training, in 10^12 operations a second.
        gflops: Of a forward pass by model and arm, where they are counted already. None: every
            arm's model is built once on the CPU, a second or two each.
        stated: Take the number of pictures that the data YAML states, whatever lies on this disk.

    Raises:
        ValueError: `tflops` is not above 0, or the number of training pictures of a data set is not
            known.
        PlanError: An arm's model cannot be built.
    """
    _check_tflops(tflops)
    epochs, imgsz = plan.train.get("epochs", _EPOCHS), plan.train.get("imgsz", _IMGSZ)
    if not isinstance(imgsz, int):
        raise ValueError(f"train.imgsz: the cost is estimated for one number, got {imgsz!r}")
    fraction = plan.train.get("fraction", 1.0)
    images = {data: round(train_images(data, stated=stated) * fraction) for data in plan.data}
    shares = tuple(_shares(plan, epochs, images, gflops or _gflops(plan, imgsz), tflops))
    return Estimate(
        sum(share.runs for share in shares),
        sum(share.hours for share in shares),
        epochs,
        tflops,
        shares,
    )


def _check_tflops(tflops: float) -> None:
    if not 0 < tflops < float("inf"):
        raise ValueError(f"--tflops must be a number over 0, got {tflops:g}")


def _shares(
    plan: Plan,
    epochs: int,
    images: Mapping[str, int],
    gflops: Mapping[tuple[str, str], float],
    tflops: float,
) -> Iterator[Share]:
    for data in plan.data:
        for model in plan.models:
            each = [
                gflops[model, run.arm]
                for run in schedule(plan)
                if (run.model, run.data) == (model, data)
            ]
            hours = epochs * images[data] * PASSES * sum(each) * 1e9 / (tflops * 1e12) / 3600
            yield Share(model, data, len(each), images[data], (min(each), max(each)), hours)


def _gflops(plan: Plan, imgsz: int) -> dict[tuple[str, str], float]:
    """Return the operations of each model and arm; the head is that of the model's own number of
    classes.
    """
    from scsa_yolo.complexity import cost
    from scsa_yolo.complexity import load as build

    counted: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for model in plan.models:
            for arm in plan.arms.values():
                name, text = arm_yaml(model, arm)
                path = Path(folder, name)
                path.write_text(text, encoding="utf-8")
                counted[model, arm.name] = cost(build(path).model, imgsz).gflops
    return counted


def train_images(data: str, *, stated: bool = False) -> int:
    """Return the number of training pictures: of the files, or where they are not here, what the
    data YAML says.

    Packaged and stock YAMLs say it in a comment: ``train: images/train # 6471 images``.

    Args:
        data: The data YAML.
        stated: Prefer the comment, which is the same on every machine.

    Raises:
        ValueError: There is no such data YAML, or neither files nor a number.
    """
    from scsa_yolo.datasets.layout.dataset import load_layout

    layout = load_layout(data)
    here = not layout.missing("train")
    said = _said(layout.yaml) if stated or not here else None
    if said is not None:
        return said
    if here:
        return len(layout.images("train"))
    raise ValueError(
        f"{data}: its training pictures are not here ({layout.missing('train')[0]}), so the cost is"
        " unknown"
    )


def _said(file: Path) -> int | None:
    for line in file.read_text(encoding="utf-8").splitlines():
        found = _COUNT.search(line.partition("#")[2]) if line.startswith("train:") else None
        if found:
            return int(found[1].replace(",", ""))
    return None


def report(
    plan: Plan, tflops: float = TFLOPS, gflops: Mapping[tuple[str, str], float] | None = None
) -> str:
    """Return the estimate as lines for a person, or a line that says why there is none.

    Args and errors as of `estimate`; a data set that is not here is no error.
    """
    _check_tflops(tflops)
    try:
        cost = estimate(plan, tflops, gflops)
    except PlanError:
        raise
    except ValueError as error:
        return f"GPU hours: not estimated. {error}"
    lines = [f"GPU hours, estimated and not measured: {_hours(cost.hours)} for {cost.runs} runs"]
    if not _has_gpu():
        lines.append(
            "  this machine has no GPU: on its CPU it takes many times as long, and `study run`"
            " says how long after the first epoch"
        )
    for share in cost.shares:
        low, high = share.gflops
        size = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
        lines.append(
            f"  {share.model} on {share.data}: {_hours(share.hours)}; {share.runs} runs x"
            f" {cost.epochs} epochs x {share.images:,} pictures x {size} GFLOPs x {PASSES}"
        )
    lines.append(
        f"  at an assumed {cost.tflops:g} TFLOP/s sustained by one GPU (--tflops sets it);"
        " validation and loading of pictures are not counted"
    )
    return "\n".join(lines)


def table(tflops: float = TFLOPS) -> str:
    """Return the plans of the paper's tables with their estimates, in Markdown; half a minute of
    counting.
    """
    rows = [
        "| plan | arms | data | seeds | runs | GPU hours, estimated |",
        "|---|--:|---|--:|--:|--:|",
    ]
    for path in (path for path in plans() if path.stem.startswith("table")):
        plan = load(path)
        cost = estimate(plan, tflops, stated=True)
        data = ", ".join(Path(name).stem for name in plan.data)
        rows.append(
            f"| `{path.stem}` | {len(plan.arms)} | {data} | {len(plan.seeds)} | {cost.runs} |"
            f" {_hours(cost.hours)} |"
        )
    return "\n".join(rows)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _hours(hours: float) -> str:
    """Two significant digits: the assumption carries no more."""
    if hours < 0.1:
        return "under 0.1"
    digits = float(f"{hours:.2g}")
    return f"{digits:,.0f}" if digits >= 10 else f"{digits:g}"
