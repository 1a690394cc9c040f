"""Training with the stock commands: resume after a kill, transfer, other models, tune, and the
repository's script.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

REPO = Path(__file__).parents[2]
COUNT = """
import sys
from ultralytics import YOLO
model = YOLO(sys.argv[1]).model
print("units", sum(type(module).__name__.endswith(("Mid", "Out")) for module in model.modules()))
"""


def units(home: Any, checkpoint: Path) -> int:
    return int(home.python(COUNT, checkpoint).lines("units")[0].split()[1])


def test_resume_after_a_kill(workplace: Any) -> None:
    assert workplace.killed.code == 9
    assert "C2f_SCSA (1 x SCSA, mid)" in workplace.killed.text
    assert re.search(r"Resuming training.* from epoch 2 to 2 total epochs", workplace.resumed.text)
    assert units(workplace.home, workplace.best) == 10


def test_from_a_stock_checkpoint_with_musgd(
    yolo_home: Any, tiny_data: Path, quick: tuple[str, ...]
) -> None:
    stock = yolo_home.folder / "my stock.pt"
    yolo_home.python(
        "import sys; from ultralytics import YOLO; YOLO('yolov8n.yaml').save(sys.argv[1])", stock
    )
    settings = ("epochs=1", "optimizer=MuSGD", f"project={yolo_home.folder}", "name=run")
    done = yolo_home.yolo(
        "train",
        "model=yolov8n-scsa.yaml",
        f"data={tiny_data}",
        f"pretrained={stock}",
        *quick,
        *settings,
    )
    assert re.search(
        r"scsa_yolo: 3\d\d of 355 stock tensors .*170 tensors in 10 attention modules are new",
        done.text,
    )
    assert re.search(r"optimizer:\S* MuSGD\(", done.text)
    assert units(yolo_home, yolo_home.folder / "run" / "weights" / "best.pt") == 10


def test_rtdetr_r18(yolo_home: Any, tiny_data: Path, quick: tuple[str, ...]) -> None:
    """At 128 pixels, the smallest size in steps of 32 that has a position for each of the decoder's
    300 queries.
    """
    settings = ("imgsz=128", "epochs=1", "optimizer=AdamW", "lr0=0.0001", "deterministic=False")
    place = (f"project={yolo_home.folder}", "name=run")
    done = yolo_home.yolo(
        "train", "model=rtdetr-r18-scsa.yaml", f"data={tiny_data}", *quick, *settings, *place
    )
    assert "ResNetVDLayer_SCSA (2 x SCSA, mid)" in done.text
    assert units(yolo_home, yolo_home.folder / "run" / "weights" / "best.pt") == 8


def test_train_py_with_blanks_in_paths_and_a_p6_model(
    yolo_home: Any, tmp_path: Path, make_data: Callable[..., Path], quick: tuple[str, ...]
) -> None:
    """Stride 64 gives 1 x 1 maps at 64 pixels; torch's autoload and ours are switched off."""
    from ultralytics.utils import ROOT

    off = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0", "SCSA_YOLO_AUTOLOAD": "0"}
    data = make_data(tmp_path / "my data set")
    model = tmp_path / "my models" / "yolov8n-p6-scsa.yaml"
    model.parent.mkdir()
    stock = (ROOT / "cfg/models/v8/yolov8-p6.yaml").read_text(encoding="utf-8")
    model.write_text(re.sub(r" (C2f?),", r" \1_SCSA,", stock), encoding="utf-8")
    command = (
        f"model={model}",
        f"data={data}",
        *quick,
        "epochs=1",
        f"project={tmp_path / 'my runs'}",
        "name=run",
    )
    done = yolo_home.run(sys.executable, REPO / "train.py", *command, **off)
    assert "C2f_SCSA (1 x SCSA, mid)" in done.text
    assert units(yolo_home, tmp_path / "my runs" / "run" / "weights" / "best.pt") == 13


def test_the_scripts_say_how_they_are_used(yolo_home: Any) -> None:
    for script, example in (("train", "model=yolov8n-scsa.yaml data="), ("export", "format=onnx")):
        for arguments in ((), ("--help",)):
            done = yolo_home.run(sys.executable, REPO / f"{script}.py", *arguments)
            assert done.text.startswith(f"python {script}.py model=")
            assert example in done.text


def test_tune(workplace: Any) -> None:
    done = workplace.home.python(
        """
import sys
from ultralytics import YOLO
if __name__ == "__main__":
    data, project = sys.argv[1:]
    YOLO("yolov8n-scsa.yaml").tune(
        data=data, project=project, name="tune", iterations=1, epochs=1, imgsz=64, batch=4, workers=0, device="cpu",
        plots=False, val=False, use_ray=False,
    )
""",
        workplace.data,
        workplace.home.folder,
    )
    found = list(workplace.home.folder.glob("tune*/**/best_hyperparameters.yaml"))
    assert found, done.text
    assert "1/1 iterations complete" in done.text
    assert "training failure" not in done.text


def test_a_checkpoint_is_small_and_plain(workplace: Any) -> None:
    """What Ultralytics strips stays stripped, and the model keeps our rows."""
    from ultralytics.nn.tasks import load_checkpoint

    model, checkpoint = load_checkpoint(workplace.best)
    assert {row[2] for row in model.yaml["backbone"]} == {"Conv", "C2f_SCSA", "SPPF"}
    assert model.names == {0: "bright", 1: "dark"}
    assert checkpoint["optimizer"] is None
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
