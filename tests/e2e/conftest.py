"""One trained checkpoint for all end-to-end tests, made as a user would, in a folder without any of
our files.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

# Small and quick on a CPU; every child process of Ultralytics gets them.
QUICK = ("imgsz=64", "batch=4", "workers=0", "device=cpu", "plots=False")

KILLED = """
import os, sys
from ultralytics import YOLO

data, project = sys.argv[1:]
model = YOLO("yolov8n-scsa.yaml")
model.add_callback("on_model_save", lambda trainer: os._exit(9))  # as kill -9 does, right after the first epoch
model.train(
    data=data, project=project, name="run", epochs=2, imgsz=64, batch=4, workers=0, device="cpu", plots=False, seed=1
)
"""


class Workplace(NamedTuple):
    """A user's folder, data and trained model."""

    home: Any
    data: Path
    best: Path
    killed: Any  # the training that was killed
    resumed: Any  # the one that took it up


@pytest.fixture(scope="session")
def quick() -> tuple[str, ...]:
    """Settings for a training or a validation of seconds."""
    return QUICK


@pytest.fixture(scope="session")
def workplace(
    tmp_path_factory: pytest.TempPathFactory,
    make_home: Callable[[Path], Any],
    make_data: Callable[..., Path],
) -> Workplace:
    """Train for one epoch, be killed, resume with the ``yolo`` command."""
    home = make_home(tmp_path_factory.mktemp("e2e") / "home")
    data = make_data(home.folder / "data")
    killed = home.python(KILLED, data, home.folder, ok=False)
    weights = home.folder / "run" / "weights"
    resumed = home.yolo("train", "resume=True", f"model={weights / 'last.pt'}")
    return Workplace(home, data, weights / "best.pt", killed, resumed)
