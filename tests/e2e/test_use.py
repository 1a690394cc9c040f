"""A trained model in use: val, predict, track, a fresh process that knows nothing of us, safe
loading.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures 200 pixels high and 1280 wide: letterboxed at 640 they give P5 maps 4
    high.
    """
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(3):
        picture = np.full((200, 1280, 3), 120, np.uint8)
        cv2.rectangle(picture, (100 + 20 * index, 60), (190 + 20 * index, 150), (250, 250, 250), -1)
        cv2.imwrite(str(folder / f"{index}.png"), picture)
    return folder


def test_val(workplace: Any, quick: tuple[str, ...]) -> None:
    done = workplace.home.yolo("val", f"model={workplace.best}", f"data={workplace.data}", *quick)
    assert "mAP50-95" in done.text


@pytest.mark.parametrize("safe", ["0", "1"], ids=["pickle", "ULTRALYTICS_SAFE_LOAD"])
def test_predict_a_wide_picture(safe: str, workplace: Any, pictures: Path) -> None:
    done = workplace.home.yolo(
        "predict",
        f"model={workplace.best}",
        f"source={pictures / '0.png'}",
        "imgsz=640",
        "device=cpu",
        "save=False",
        ULTRALYTICS_SAFE_LOAD=safe,
    )
    assert "0.png: 128x640" in done.text


def test_track(workplace: Any, pictures: Path, needs: Any) -> None:
    needs("lap")
    done = workplace.home.yolo(
        "track",
        f"model={workplace.best}",
        f"source={pictures}",
        "imgsz=320",
        "device=cpu",
        "conf=0.001",
        "save=False",
    )
    assert done.text.count("64x320") == 3


def test_a_fresh_process_that_imports_only_ultralytics(workplace: Any) -> None:
    done = workplace.home.python(
        """
import sys
import ultralytics
model = ultralytics.YOLO(sys.argv[1])
from scsa_yolo.blocks import slotted
print("units", len(list(slotted(model.model))))
model.train(data=sys.argv[2], epochs=1, imgsz=64, batch=4, workers=0, device="cpu", plots=False, val=False,
            project=sys.argv[3], name="again")
""",
        workplace.best,
        workplace.data,
        workplace.home.folder,
    )
    assert done.lines("units") == ["units 10"]
    assert (
        "355 of 355 stock tensors transferred; 170 of 170 attention tensors transferred"
        in done.text
    )
