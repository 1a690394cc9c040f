"""Every detector with three attention modules, exported and compared with PyTorch where it will
run.

    python benchmarks/export_matrix.py                                  all that the record lacks
    python benchmarks/export_matrix.py --model yolov8n --attention EMA --again python
    benchmarks/export_matrix.py --table                          the table anew, from the record
    alone

One line a cell. Weights are perturbed and BatchNorm's statistics are those of the test pictures: at
initial weights attention has factors of 1 that exporters fold away, and its signal dies out. The
record is benchmarks/records/export_matrix.json, written after each cell, so that a stopped run goes
on where it was; the table stands in docs/deploy.md. Exit code 1 if a cell fails. Needs the extra
`export`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORDS = HERE / "records" / "export_matrix.json"
PAGE = HERE.parent / "docs" / "deploy.md"
START, END = (
    "<!-- export matrix: made by benchmarks/export_matrix.py -->",
    "<!-- end of the export matrix -->",
)
MODELS = ("yolov8n", "yolov9t", "yolov10n", "yolo11n", "rtdetr-r18")
ATTENTIONS = ("SCSA", "EMA", "CBAM")
STATIC, OTHERS = (
    (160, 224),
    ((96, 96), (128, 256), (256, 160)),
)  # height, width in pixels; all but one no multiple of 7
TARGETS = {
    "ONNX": ("onnx", {"imgsz": list(STATIC)}, (STATIC,)),
    "ONNX dynamic": ("onnx", {"imgsz": 160, "dynamic": True}, OTHERS),
    "OpenVINO": ("openvino", {"imgsz": list(STATIC)}, (STATIC,)),
    "TorchScript": ("torchscript", {"imgsz": list(STATIC)}, (STATIC,)),
}


def make_checkpoint(model: str, attention: str, folder: Path, pictures: list) -> Path:
    """Graft, perturb parameters and buffers, let BatchNorm see the pictures, save."""
    import torch
    from ultralytics import RTDETR, YOLO

    from scsa_yolo.deploy.images import network_input
    from scsa_yolo.grafting import graft, to_yaml

    grafted = folder / f"{model}-{attention.lower()}.yaml"
    grafted.write_text(
        to_yaml(graft(f"{model}.yaml", attention), header=f"{attention} in {model}"),
        encoding="utf-8",
    )
    made = (RTDETR if model.startswith("rtdetr") else YOLO)(grafted)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*made.model.parameters(), *made.model.buffers()):
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.2 * (torch.rand(tensor.shape, generator=rng) - 0.5))
        for module in made.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 0.5
                module.train()
        stretch = model.startswith("rtdetr")
        for size in (
            *OTHERS,
            STATIC,
        ) * 2:  # statistics that fit one size only make float32 itself inexact at another
            made.model(torch.from_numpy(network_input(pictures, (2, 3, *size), stretch=stretch)))
        for name, part in made.model.model[-1].named_children():
            if name.endswith(
                "cv3"
            ):  # a fresh head's scores are below a thousandth, and show no error
                for branch in part:
                    branch[-1].bias.add_(5)
    made.model.eval()
    path = grafted.with_suffix(".pt")
    made.save(path)
    return path


def run_cell(checkpoint: Path, target: str, pictures: list) -> dict:
    """Export one checkpoint to one target and compare raw outputs; returns the cell's record."""
    from scsa_yolo.deploy.export import export, open_model
    from scsa_yolo.deploy.images import network_input
    from scsa_yolo.deploy.parity import TOLERANCES, compare_raw
    from scsa_yolo.deploy.proof import layout_of
    from scsa_yolo.deploy.runtimes import load
    from scsa_yolo.host.transfer import attention_modules

    format, settings, sizes = TARGETS[target]
    opened = open_model(checkpoint)
    made = export(opened, format, {**settings, "device": "cpu"}, folder=checkpoint.parent)
    runner, reference = load(made.path, threads=1), load(made.reference, threads=1)
    errors, stray, problems = {}, 0.0, []
    for size in sizes:
        x = network_input(pictures, (1, 3, *size), stretch="RTDETR" in made.head)
        found = compare_raw(reference(x), runner(x), layout_of(made))
        errors["x".join(map(str, size))] = found.max_rel
        stray = max(stray, found.stray)
        problems += [f"{size}: {found.problem}"] if found.problem else []
    worst = max(errors.values())
    return {
        "modules": len(attention_modules(opened.model)),
        "runtime": f"{runner.name} {runner.version}",
        "largest_relative_error": errors,
        "stray_rows": stray,
        "problems": problems,
        "equal": not problems and worst <= TOLERANCES["float32"].raw_max,
    }


def versions() -> dict[str, str]:
    """What the figures depend on."""
    from importlib.metadata import version

    return {
        name: version(name)
        for name in ("scsa-yolo", "ultralytics", "torch", "onnx", "onnxruntime", "openvino")
    }


def table(kept: dict) -> str:
    """The table of the page, from the record."""
    cells = {(r["model"], r["attention"], r["target"]): r for r in kept["records"]}
    lines = [
        "| detector | attention | modules | " + " | ".join(TARGETS) + " |",
        "|---|---|--:|" + "--:|" * len(TARGETS),
    ]
    for model in MODELS:
        for attention in ATTENTIONS:
            row = [cells.get((model, attention, target)) for target in TARGETS]
            modules = next((str(cell["modules"]) for cell in row if cell and "modules" in cell), "")
            lines.append(
                f"| {model} | {attention} | {modules} | " + " | ".join(map(_shown, row)) + " |"
            )
    done = [cell for cell in cells.values() if cell["equal"]]
    made = ", ".join(f"{name} {version}" for name, version in kept["versions"].items())
    return "\n".join(
        [
            *lines,
            "",
            f"{len(done)} of {len(MODELS) * len(ATTENTIONS) * len(TARGETS)} equal; {made}.",
        ]
    )


def _shown(cell: dict | None) -> str:
    if cell is None:
        return "not run"
    if not cell["equal"]:
        return "**differs**" if "largest_relative_error" in cell else "**fails**"
    return f"{max(cell['largest_relative_error'].values()):.0e}"


def page_with(text: str, rows: str) -> str:
    """The page with its table replaced.

    Raises:
        ValueError: The markers are not there.
    """
    if text.count(START) != 1 or text.count(END) != 1:
        raise ValueError(f"{PAGE}: needs the lines {START} and {END} once each")
    before, _, rest = text.partition(START)
    return f"{before}{START}\n\n{rows}\n\n{END}{rest.partition(END)[2]}"


def save(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def run(
    models: list[str], attentions: list[str], targets: list[str], kept: dict, again: bool
) -> int:
    """Run the chosen cells that the record lacks; returns how many failed."""
    records, failed = {(r["model"], r["attention"], r["target"]): r for r in kept["records"]}, 0
    from scsa_yolo.deploy.images import find_images, read_images

    pictures = read_images(find_images())
    for model, attention in ((model, attention) for model in models for attention in attentions):
        left = [
            t
            for t in targets
            if again or not records.get((model, attention, t), {"equal": False})["equal"]
        ]
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = (
                make_checkpoint(model, attention, Path(folder), pictures) if left else Path()
            )
            for target in left:
                start, log = time.perf_counter(), io.StringIO()
                try:
                    with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                        found = run_cell(checkpoint, target, pictures)
                except Exception as error:  # noqa: BLE001  the other cells go on
                    found = {
                        "equal": False,
                        "problems": [f"{type(error).__name__}: {error}".splitlines()[0]],
                    }
                failed += not found["equal"]
                said = found.get("largest_relative_error", found["problems"])
                seconds = time.perf_counter() - start
                print(
                    "ok  " if found["equal"] else "FAIL",
                    model,
                    attention,
                    target,
                    said,
                    f"{seconds:.0f} s",
                    flush=True,
                )
                records[model, attention, target] = {
                    "model": model,
                    "attention": attention,
                    "target": target,
                    **found,
                }
                kept = {"versions": versions(), "records": list(records.values())}
                save(RECORDS, json.dumps(kept, indent=1) + "\n")
    return failed


def main() -> int:
    """Run the chosen cells; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--attention", nargs="+", default=ATTENTIONS, choices=ATTENTIONS)
    parser.add_argument("--target", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--again", action="store_true", help="run cells that the record has, too")
    parser.add_argument(
        "--table", action="store_true", help="run nothing; make the table from the record"
    )
    parser.add_argument("--write", action="store_true", help="write docs/deploy.md and records")
    args = parser.parse_args()
    if not args.table and not args.write:
        parser.error("every cell is kept in the record as soon as it is done: add --write")
    warnings.simplefilter("ignore")  # the exporters' notes, once a cell
    kept = (
        json.loads(RECORDS.read_text(encoding="utf-8"))
        if RECORDS.exists()
        else {"versions": {}, "records": []}
    )
    failed = 0
    if not args.table:
        with tempfile.TemporaryDirectory() as settings:
            os.environ["YOLO_CONFIG_DIR"] = settings
            failed = run(args.model, args.attention, args.target, kept, args.again)
        kept = json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else kept
    save(PAGE, page_with(PAGE.read_text(encoding="utf-8"), table(kept)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
