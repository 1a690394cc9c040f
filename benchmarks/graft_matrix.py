"""Every attention module in every detector: graft, train an epoch, reload, export to ONNX, compare
the outputs.

    python benchmarks/graft_matrix.py                        all; about 20 minutes on 2 CPU cores
    python benchmarks/graft_matrix.py --attention EMA SE --model yolov8n

One line a pair; records go to benchmarks/records/graft_matrix.json, and docs/matrix.md is written
from them. Exit code 1 if a pair fails. Needs the extra `export`.
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
RECORDS = HERE / "records" / "graft_matrix.json"
PAGE = HERE.parent / "docs" / "matrix.md"
MODELS = ("yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo26n", "rtdetr-r18")
ATTENTIONS = ("SCSA", "SE", "ECA", "FCA", "CBAM", "CA", "SA", "EMA", "CPCA", "AFGCA", "ELA")
SIZE = 64  # pixels
TOLERANCE = 1e-3  # of raw outputs, relative to the largest


def make_data(folder: Path) -> Path:
    """Draw a small demo set and return its YAML."""
    from scsa_yolo.datasets.demo.maker import make_demo

    root = make_demo(folder / "data", train=8, val=4, size=SIZE)
    path = folder / "data.yaml"
    path.write_text(
        f"path: {root}\ntrain: images/train\nval: images/val\nnames: [vehicle, person, light]\n",
        encoding="utf-8",
    )
    return path


def run_pair(model: str, attention: str, data: Path, folder: Path) -> dict:
    """Graft, train, reload, export and compare one pair; returns its record."""
    import numpy as np
    import onnxruntime
    import torch
    from ultralytics import RTDETR, YOLO

    from scsa_yolo.grafting import graft, to_yaml
    from scsa_yolo.host.transfer import attention_modules

    cls = RTDETR if model.startswith("rtdetr") else YOLO
    grafted = folder / f"{model}-{attention.lower()}.yaml"
    grafted.write_text(
        to_yaml(graft(f"{model}.yaml", attention), header=f"{attention} in {model}"),
        encoding="utf-8",
    )
    settings = {"optimizer": "AdamW", "lr0": 1e-4, "amp": False, "deterministic": False}
    trainer = cls(grafted)
    trainer.train(
        data=str(data), imgsz=SIZE, epochs=1, batch=4, device="cpu", plots=False, verbose=False, project=str(folder),
        name=grafted.stem, **settings,
    )  # fmt: skip
    best = Path(trainer.trainer.best)
    loaded = cls(best)
    names = {type(m).__name__ for m in attention_modules(loaded.model).values()}
    count = len(attention_modules(loaded.model))
    assert names == {attention}, f"the checkpoint holds {names}"
    exported = loaded.export(format="onnx", imgsz=SIZE, device="cpu")
    x = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    onnx_output, *_ = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    reference = torch_output(cls(best), x)
    if (
        cls is RTDETR
        # queries come in the order of nearly equal scores: rounding may swap two, so rows are
        # matched
    ):
        distance = np.abs(onnx_output[0][None] - reference[0][:, None]).max(axis=2)
        difference = max(distance.min(axis=0).max(), distance.min(axis=1).max())
    else:
        difference = np.abs(onnx_output - reference).max()
    error = float(difference / max(1e-12, np.abs(reference).max()))
    return {"model": model, "attention": attention, "modules": count, "onnx_relative_error": error}


def torch_output(model, x):
    """The raw output of the fused model in export mode, as the exporter traces it."""
    import torch

    net = model.model.float().eval().fuse()
    for module in net.modules():
        if hasattr(module, "export"):
            module.export = True
    with torch.no_grad():
        out = net(x)
    return (out[0] if isinstance(out, (list, tuple)) else out).numpy()


def write_page(records: list[dict], versions: dict[str, str]) -> None:
    """docs/matrix.md from the records."""
    made = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [
        "# Every module in every detector",
        "",
        (
            "Each pair was grafted, trained for an epoch at 64 px on a drawn set, reloaded from its"
            " checkpoint, exported"
        ),
        (
            "to ONNX and compared with PyTorch on its raw output (for RT-DETR, whose queries are"
            " sorted by score, row by"
        ),
        (
            "nearest row). Cells: number of attention modules, and the largest error relative to"
            " the largest output."
        ),
        f"Made by `python benchmarks/graft_matrix.py --write`; {made}.",
        "",
        "| attention | " + " | ".join(MODELS) + " |",
        "|---|" + "--:|" * len(MODELS),
    ]
    cells = {(r["model"], r["attention"]): r for r in records}
    for attention in ATTENTIONS:
        row = [cells.get((model, attention)) for model in MODELS]
        shown = [
            "not run" if r is None else f"{r['modules']}, {r['onnx_relative_error']:.0e}"
            for r in row
        ]
        lines.append(f"| {attention} | " + " | ".join(shown) + " |")
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """What the figures depend on."""
    from importlib.metadata import version

    return {
        name: version(name) for name in ("scsa-yolo", "ultralytics", "torch", "onnx", "onnxruntime")
    }


def main() -> int:
    """Run the chosen pairs; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--attention", nargs="+", default=ATTENTIONS, choices=ATTENTIONS)
    parser.add_argument("--write", action="store_true", help="write docs/matrix.md and its records")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # the exporters' deprecations, once a pair
    old = json.loads(RECORDS.read_text())["records"] if RECORDS.exists() else []
    records = {(r["model"], r["attention"]): r for r in old}
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["YOLO_CONFIG_DIR"] = str(folder)
        data = make_data(folder)
        for model in args.model:
            for attention in args.attention:
                start, log = time.perf_counter(), io.StringIO()
                try:
                    with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                        record = run_pair(model, attention, data, folder)
                    ok = record["onnx_relative_error"] <= TOLERANCE
                except Exception as error:  # noqa: BLE001  the other pairs go on
                    print(log.getvalue()[-2000:])
                    ok, record = False, {"error": repr(error)}
                failed += not ok
                print(
                    "ok  " if ok else "FAIL",
                    model,
                    attention,
                    record,
                    f"{time.perf_counter() - start:.0f} s",
                    flush=True,
                )
                if ok and args.write:
                    records[model, attention] = record
                    RECORDS.parent.mkdir(exist_ok=True)
                    kept = {"versions": versions(), "records": list(records.values())}
                    RECORDS.write_text(json.dumps(kept, indent=1) + "\n")
    if args.write:
        write_page(list(records.values()), versions())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
