"""Fresh interpreters: every order of imports, the switches, threads, and a block that is gone.

What a damaged package does to ``import torch`` is in ``test_entry_point.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BUILD = """
import torch
from ultralytics import YOLO
from ultralytics.nn.tasks import load_checkpoint
from scsa_yolo.blocks import slotted
model = YOLO("yolov8n-scsa.yaml").model
assert sum(1 for _ in slotted(model)) == 10
"""
ORDERS = {
    "torch first": "import torch; import ultralytics",
    "ultralytics first": "import ultralytics; ultralytics.YOLO",
    "Ultralytics' tasks first": "import ultralytics.nn.tasks",
    "Ultralytics' checks first": "import ultralytics.utils.checks",
    "our package first": "import scsa_yolo",
    "a lazy name first": "from scsa_yolo import SCSA",
    "attention first": "from scsa_yolo.attention import SCSA",
    "a block first": "from scsa_yolo.blocks import stock",
    "the rows first": "import scsa_yolo.host.rows",
}


@pytest.mark.parametrize("first", ORDERS.values(), ids=ORDERS.keys())
def test_order_of_imports(first: str, run_python: Callable[..., Any]) -> None:
    run_python(f"import warnings; warnings.simplefilter('error', RuntimeWarning)\n{first}\n{BUILD}")


def test_unpickling_first(run_python: Callable[..., Any], tmp_path: Path) -> None:
    """A checkpoint names ``scsa_yolo.blocks.stock``: that import comes before Ultralytics', and
    registers.
    """
    file = tmp_path / "model.pt"
    run_python(f"import sys, torch\n{BUILD}\ntorch.save(model, sys.argv[1])", file)
    code = "import sys, torch; model = torch.load(sys.argv[1], weights_only=False)"
    for autoload in ("0", None):
        run_python(f"{code}\n{BUILD}", file, TORCH_DEVICE_BACKEND_AUTOLOAD=autoload)


def test_our_import_reads_the_standard_library_alone(run_python: Callable[..., Any]) -> None:
    done = run_python(
        "import sys; import scsa_yolo; assert"
        " scsa_yolo.registered()\nprint(sorted({name.split('.')[0] for name in sys.modules} &"
        " {'torch', 'ultralytics', 'numpy', 'yaml', 'cv2'}))"
    )
    assert done.text.strip() == "[]"


def test_torch_alone_does_not_pull_ultralytics_in(run_python: Callable[..., Any]) -> None:
    done = run_python(
        "import sys, torch; print('scsa_yolo.host.registration' in sys.modules, 'ultralytics' in"
        " sys.modules, 'scsa_yolo.blocks' in sys.modules)"
    )
    assert done.text.split() == ["True", "False", "False"]


LOAD = "from ultralytics import YOLO; YOLO('yolov8n-scsa.yaml')"


@pytest.mark.parametrize("switch", ["TORCH_DEVICE_BACKEND_AUTOLOAD", "SCSA_YOLO_AUTOLOAD"])
def test_autoload_switched_off(switch: str, run_python: Callable[..., Any]) -> None:
    done = run_python(LOAD, ok=False, **{switch: "0"})
    assert done.code == 1
    assert "FileNotFoundError: 'yolov8-scsa.yaml' does not exist" in done.text or (
        "FileNotFoundError: 'yolov8n-scsa.yaml' does not exist" in done.text
    )


def test_torchs_autoload_switched_off_and_our_import(run_python: Callable[..., Any]) -> None:
    run_python(f"import scsa_yolo\n{LOAD}", TORCH_DEVICE_BACKEND_AUTOLOAD="0")
    run_python(f"import ultralytics.nn.tasks, scsa_yolo\n{LOAD}", TORCH_DEVICE_BACKEND_AUTOLOAD="0")


def test_our_switch_off_and_register_by_hand(run_python: Callable[..., Any]) -> None:
    code = "import scsa_yolo; assert not scsa_yolo.registered(); scsa_yolo.register()\n"
    run_python(code + LOAD, SCSA_YOLO_AUTOLOAD="0")


def test_threads_import_and_build_at_once(run_python: Callable[..., Any]) -> None:
    run_python("""
import threading
errors, counts, start = [], [], threading.Barrier(3)
def go():
    start.wait()
    try:
        from ultralytics.nn.tasks import DetectionModel
        from scsa_yolo.blocks import slotted
        counts.append(sum(1 for _ in slotted(DetectionModel("yolov8n-scsa.yaml", verbose=False))))
    except BaseException as error:
        errors.append(error)
threads = [threading.Thread(target=go) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join(120) for thread in threads]
assert not any(thread.is_alive() for thread in threads), "deadlock"
assert not errors, errors
assert counts == [10, 10, 10], counts
""")


def test_a_block_gone_upstream_cannot_break_stock_models(run_python: Callable[..., Any]) -> None:
    """As if our units could not be imported any more: a warning, stock models work, ours get
    stock's own error.
    """
    done = run_python(
        """
import sys
sys.modules["scsa_yolo.blocks.stock"] = None
from ultralytics import YOLO
YOLO("yolov8n.yaml")
print("went on")
YOLO("yolov8n-scsa.yaml")
""",
        ok=False,
    )
    assert "scsa_yolo stepped aside, ultralytics.nn.tasks stays as it is" in done.text
    assert "went on" in done.text
    assert "KeyError: 'C2f_SCSA'" in done.text
