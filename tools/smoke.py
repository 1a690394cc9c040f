"""Train, predict, evaluate and export with what is installed: does this set of versions work?

    python tools/smoke.py [--exports onnx,torchscript,openvino] [--without-entry-point]

Every step is what a user types, in a process of its own, in a folder that is removed: one epoch
of YOLOv8n with SCSA at 64 px on twelve drawn pictures, a prediction, an evaluation, and each
export that installs here, of one size and of any size, proven equal. The versions are printed
first. The exit code is 1 if any step fails, and the end of its output is printed.

``--without-entry-point`` imports scsa_yolo by hand in each process, for a checkout on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

NAMES = ("torch", "torchvision", "ultralytics", "numpy", "onnx", "onnxruntime", "openvino")
NEEDS = {"onnx": ("onnx", "onnxruntime"), "openvino": ("openvino",), "torchscript": ()}
YOLO = "import scsa_yolo; from ultralytics.cfg import entrypoint; entrypoint()"
OURS = "import sys; from scsa_yolo.cli import main; sys.exit(main())"
LOADED = """
import sys
from ultralytics import YOLO
model = YOLO(sys.argv[1]).model
count = sum(type(module).__name__ == "SCSA" for module in model.modules())
assert count == 10, f"{count} SCSA modules instead of 10"
"""
# After one epoch the outputs hardly depend on the picture, so that no export could be proven equal.
LIVELY = """
import sys, torch
from ultralytics import YOLO
model, generator = YOLO(sys.argv[1]), torch.Generator().manual_seed(0)
with torch.no_grad():
    for name, module in model.model.float().named_modules():
        if isinstance(module, torch.nn.Conv2d) and "dfl" not in name:
            size = 1.5 / module.weight[0].numel() ** 0.5
            module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * size)
model.save(sys.argv[2])
"""
TRAINING = [
    "imgsz=64",
    "epochs=1",
    "batch=4",
    "workers=0",
    "device=cpu",
    "plots=False",
    "pretrained=False",
    "seed=0",
]


class Smoke:
    """The steps, one after another; what failed is kept."""

    def __init__(self, folder: Path, *, entry_point: bool) -> None:
        self.folder = folder
        self.entry_point = entry_point
        self.failed: list[str] = []
        settings = folder / "settings"
        settings.mkdir()
        self.environment = {
            **os.environ,
            "YOLO_CONFIG_DIR": str(settings),
            "YOLO_OFFLINE": "true",
            "YOLO_AUTOINSTALL": "false",
        }

    def yolo(self, title: str, *words: object, **environment: str) -> bool:
        """Type the stock command."""
        start = [sys.executable, "-c", YOLO]
        script = Path(sys.executable).with_name("yolo")
        if self.entry_point:
            start = [str(script)] if script.exists() else [sys.executable, "-m", "ultralytics"]
        return self.step(title, start, words, environment)

    def ours(self, title: str, *words: object) -> bool:
        """Type our command."""
        return self.step(title, [sys.executable, "-c", OURS], words, {})

    def python(self, title: str, code: str, *words: object) -> bool:
        """Run a script of a user that imports Ultralytics alone."""
        first = "" if self.entry_point else "import scsa_yolo\n"
        return self.step(title, [sys.executable, "-c", first + code], words, {})

    def step(
        self, title: str, start: list[str], words: tuple[object, ...], environment: dict[str, str]
    ) -> bool:
        """Run one command; say whether it went well, and how long it took."""
        began = time.monotonic()
        done = subprocess.run(
            [*start, *map(str, words)],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        seconds = time.monotonic() - began
        good = done.returncode == 0
        print(f"{'ok' if good else 'FAILED':<7}{title:<40}{seconds:6.0f} s", flush=True)
        if not good:
            self.failed.append(title)
            print("\n".join(f"       | {line}" for line in done.stdout.splitlines()[-25:]))
        return good


def main() -> int:
    """Run all steps and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--exports", default="onnx,torchscript,openvino", metavar="FORMAT,...")
    parser.add_argument("--without-entry-point", action="store_true")
    args = parser.parse_args()
    print(f"Python {platform.python_version()}, {', '.join(versions())}", flush=True)
    with tempfile.TemporaryDirectory(prefix="scsa_yolo-smoke-") as name:
        smoke = Smoke(Path(name), entry_point=not args.without_entry_point)
        run(smoke, [word for word in args.exports.split(",") if word])
    print(f"failed: {', '.join(smoke.failed)}" if smoke.failed else "all went well")
    return int(bool(smoke.failed))


def run(smoke: Smoke, exports: list[str]) -> None:
    """Train, and go on with what was trained."""
    data = draw(smoke.folder / "data")
    project = f"project={smoke.folder / 'runs'}"
    names = (project, "name=train")
    if not smoke.yolo(
        "train", "train", "model=yolov8n-scsa.yaml", f"data={data}", *TRAINING, *names
    ):
        return
    best = smoke.folder / "runs" / "train" / "weights" / "best.pt"
    smoke.python("load in a script that knows nothing", LOADED, best)
    picture = f"source={data.parent / 'images' / 'val' / '0.png'}"
    predict = ("predict", f"model={best}", picture, "imgsz=64", "device=cpu", project)
    smoke.yolo("predict", *predict)
    if restricted_loading_works():
        smoke.yolo("predict, safe loading", *predict, ULTRALYTICS_SAFE_LOAD="1")
    else:
        print(f"{'-':<7}predict, safe loading: Ultralytics has it from torch 2.6 on")
    if find_spec("faster_coco_eval"):
        smoke.ours("evaluate", "evaluate", best, data, "--imgsz", 64, "--no-charts")
    else:
        print(f"{'-':<7}evaluate: faster-coco-eval is not installed")
    lively = smoke.folder / "lively.pt"
    smoke.python("a copy that looks at its pictures", LIVELY, best, lively)
    pictures = ("--images", data.parent / "images" / "val", "--rounds", 0)
    for title, settings in ((t, s) for f in exports for t, s in ways(f)):
        smoke.ours(title, "export", lively, *settings, "imgsz=64", *pictures)


def ways(name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each way of one export, as a title and its settings; none where it is not installed."""
    missing = [module for module in NEEDS.get(name, ()) if find_spec(module) is None]
    if missing:
        print(f"{'-':<7}export {name}: {', '.join(missing)} is not installed")
        return
    yield f"export {name}, one size", (f"format={name}",)
    yield f"export {name}, any size", (f"format={name}", "dynamic=True")


def restricted_loading_works() -> bool:
    """Tell whether Ultralytics' safe loading reads its own checkpoints with this torch."""
    numbers = metadata.version("torch").split("+")[0].split(".")
    return (int(numbers[0]), int(numbers[1])) >= (2, 6)


def versions() -> Iterator[str]:
    """Yield what is installed of what matters."""
    for name in NAMES:
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            yield f"no {name}"


def draw(folder: Path) -> Path:
    """Draw twelve pictures with a bright and a dark square each; return the data set's YAML."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        for index in range(count):
            picture = rng.integers(100, 140, (64, 64, 3), dtype=np.uint8)
            rows = []
            for kind, shade in enumerate((250, 5)):
                x, y = (int(value) for value in rng.integers(0, 40, 2))
                picture[y : y + 24, x : x + 24] = shade
                rows.append(f"{kind} {(x + 12) / 64} {(y + 12) / 64} {24 / 64} {24 / 64}")
            cv2.imwrite(str(folder / "images" / split / f"{index}.png"), picture)
            label = folder / "labels" / split / f"{index}.txt"
            label.write_text("\n".join(rows), encoding="utf-8")
    yaml = folder / "tiny.yaml"
    splits = "train: images/train\nval: images/val\n"
    yaml.write_text(f"path: {folder}\n{splits}names: [bright, dark]\n", encoding="utf-8")
    return yaml


if __name__ == "__main__":
    sys.exit(main())
