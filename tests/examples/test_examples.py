"""The stand-alone examples find what ``yolo predict`` finds, without us, Ultralytics or torch."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import ultralytics

EXAMPLES = Path(__file__).parents[2] / "examples"
CONF = 0.2
# Runs an example on a model and a picture, and proves what it did without.
ALONE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
example = __import__(sys.argv[2])
detector = example.load(Path(sys.argv[3]))
found = detector.detect(example.boxes.read(Path(sys.argv[4])), *json.loads(sys.argv[5]))
others = {name.partition(".")[0] for name in sys.modules} & {"torch", "ultralytics", "scsa_yolo", "torchvision"}
assert not others, others
print("found", json.dumps({"boxes": found.tolist(), "names": detector.names}))
"""


def alone(
    run_python: Callable[..., Any], model: Path, picture: Path, *args: float | int
) -> tuple[np.ndarray, Any]:
    """What an example finds in a fresh interpreter."""
    example = "onnxruntime_detect" if model.suffix == ".onnx" else "openvino_detect"
    # The hook that loads the package with torch is off: nothing here may want it.
    done = run_python(
        ALONE, EXAMPLES, example, model, picture, json.dumps(args), SCSA_YOLO_AUTOLOAD="0"
    )
    (line,) = done.lines("found ")
    said = json.loads(line.removeprefix("found "))
    return np.array(said["boxes"]).reshape(-1, 6), said["names"]


def predicted(model: Path, picture: Path, **settings: Any) -> np.ndarray:
    """What ``yolo predict`` finds with the same file, cut at the picture's borders (RT-DETR's are
    not).
    """
    from ultralytics import RTDETR, YOLO

    loaded = RTDETR(model) if "rtdetr" in model.name else YOLO(model, task="detect")
    (result,) = loaded.predict(picture, conf=CONF, verbose=False, device="cpu", **settings)
    found = result.boxes.data.numpy().astype(float)
    height, width = result.orig_shape
    found[:, :4] = np.clip(found[:, :4], 0, (width, height) * 2)
    return found


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:4], b[2:4])
    common = np.prod(np.clip(high - low, 0, None))
    areas = [np.prod(box[2:4] - box[:2]) for box in (a, b)]
    return 1.0 if common == sum(areas) == 0 else float(common / (sum(areas) - common))


def check_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Every box has its like: same class, overlap above 0.99, scores within 0.001."""
    assert len(ours) == len(theirs)
    assert len(theirs) >= 5, "too few boxes to show anything"
    assert len({tuple(np.round(box[:4])) for box in theirs}) >= 5, "the boxes are all the same"
    assert np.ptp(theirs[:, 4]) > 0.01, "the scores are all the same"
    left = list(theirs)
    for box in ours:
        like = [
            i
            for i, b in enumerate(left)
            if b[5] == box[5] and abs(b[4] - box[4]) < 1e-3 and overlap(b, box) > 0.99
        ]
        assert like, f"predict has no such box: {box}"
        left.pop(like[0])


CASES = [
    ("yolov8n-scsa", {"format": "onnx", "imgsz": (96, 160)}),
    ("yolov8n-scsa", {"format": "onnx", "imgsz": 96, "dynamic": True}),
    ("yolov8n-scsa", {"format": "onnx", "imgsz": 96, "nms": True, "conf": CONF}),
    ("yolov8n-scsa", {"format": "openvino", "imgsz": 96, "dynamic": True}),
    ("yolov10n-scsa", {"format": "onnx", "imgsz": (160, 96), "batch": 2}),
    ("yolov10n-scsa", {"format": "openvino", "imgsz": (96, 160)}),
    ("rtdetr-r18-scsa", {"format": "onnx", "imgsz": 160, "dynamic": True}),
    ("rtdetr-r18-scsa", {"format": "openvino", "imgsz": 160}),
]


# for the same file 8.4.108's predict gives other boxes, and it refuses a picture for a batch of two
as_newest = pytest.mark.skipif(
    tuple(map(int, ultralytics.__version__.split(".")[:3])) < (8, 4, 190),
    reason="held to the newest predict alone",
)


@as_newest
@pytest.mark.parametrize(
    ("name", "settings"), CASES, ids=lambda value: str(value).replace("'", "").strip("{}")
)
def test_same_boxes_as_predict(
    exported: Any, picture: Path, run_python: Any, needs: Any, name: str, settings: dict[str, Any]
) -> None:
    needs("onnx", "onnxruntime", "openvino")
    model = exported(name, **settings)
    theirs = predicted(model, picture, imgsz=settings["imgsz"])
    ours, names = alone(run_python, model, picture, CONF)
    check_same(ours, theirs)
    assert names["0"] == "0"
    assert len(names) == 80


@as_newest
def test_another_size_for_a_model_of_any_size(
    exported: Any, picture: Path, run_python: Any, needs: Any
) -> None:
    needs("onnx", "onnxruntime")
    model = exported("yolov8n-scsa", format="onnx", imgsz=96, dynamic=True)
    check_same(
        alone(run_python, model, picture, CONF, 0.5, 192)[0],
        predicted(model, picture, imgsz=192, iou=0.5),
    )


def test_command_prints_and_draws(exported: Any, picture: Path, yolo_home: Any, needs: Any) -> None:
    needs("onnx", "onnxruntime")
    model = exported("yolov8n-scsa", format="onnx", imgsz=(96, 160))
    script, out = EXAMPLES / "onnxruntime_detect.py", yolo_home.folder / "out.png"
    done = yolo_home.run(sys.executable, script, model, picture, "--conf", str(CONF), "-o", out)
    *rows, last = done.text.splitlines()
    assert last == f"{len(rows)} boxes"
    assert all(len(row.split()) == 6 for row in rows)
    drawn, plain = (
        cv2.imread(str(out)),
        cv2.imdecode(np.fromfile(picture, np.uint8), cv2.IMREAD_COLOR),
    )
    assert drawn.shape == plain.shape
    assert (drawn != plain).any(axis=2).mean() > 0.01


@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize(
    ("imgsz", "says"),
    [
        (333, "no multiple of the model's stride, 32. Type: --imgsz 320 or --imgsz 352"),
        (31, "no multiple of the model's stride, 32. Type: --imgsz 32"),
        (0, "no multiple of the model's stride, 32. Type: --imgsz 32"),
        (-64, "no multiple of the model's stride, 32. Type: --imgsz 32"),
    ],
)
def test_sizes_that_the_stride_does_not_divide_are_one_line(
    exported: Any,
    picture: Path,
    needs: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    format: str,
    imgsz: int,
    says: str,
) -> None:
    needs("onnx", "onnxruntime", "openvino")
    model = exported("yolov8n-scsa", format=format, imgsz=96, dynamic=True)
    monkeypatch.syspath_prepend(EXAMPLES)
    name = "onnxruntime" if format == "onnx" else "openvino"
    example = importlib.import_module(f"{name}_detect")
    words = [str(model), str(picture), f"--imgsz={imgsz}"]
    assert example.boxes.command(example.load, "", words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert f"--imgsz {imgsz} is {says}" in said.err


def test_the_stride_is_the_models_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    boxes = importlib.import_module("boxes")
    metadata = {"names": {0: "a"}, "imgsz": [128, 128], "stride": 64, "head": "Detect"}
    detector = boxes.Detector(lambda x: x, (1, 3, None, None), metadata)
    with pytest.raises(ValueError, match=r"stride, 64\. Type: --imgsz 64 or --imgsz 128$"):
        detector.detect(np.zeros((9, 9, 3), np.uint8), imgsz=96)


def test_what_a_runtime_refuses_is_said_with_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    boxes = importlib.import_module("boxes")

    def infer(x: np.ndarray) -> np.ndarray:
        raise RuntimeError("TopK: k is 300")

    metadata = {"names": {0: "a"}, "imgsz": [640, 640], "stride": 32, "head": "RTDETRDecoder"}
    detector = boxes.Detector(infer, (1, 3, None, None), metadata)
    says = "does not run at 64x64 pixels: TopK: k is 300. Type: --imgsz 640"
    with pytest.raises(ValueError, match=says):
        detector.detect(np.zeros((9, 9, 3), np.uint8), imgsz=64)


@pytest.mark.parametrize(
    ("script", "model", "says"),
    [
        ("onnxruntime_detect.py", "missing.onnx", "no such file"),
        ("onnxruntime_detect.py", "broken.onnx", "ONNX Runtime cannot open this"),
        ("openvino_detect.py", "empty", "lacks an .xml or metadata.yaml"),
    ],
)
def test_bad_models_are_one_line(
    yolo_home: Any, picture: Path, needs: Any, script: str, model: str, says: str
) -> None:
    needs("onnxruntime", "openvino")
    (yolo_home.folder / "broken.onnx").write_bytes(b"no model")
    (yolo_home.folder / "empty").mkdir()
    done = yolo_home.run(sys.executable, EXAMPLES / script, model, picture, ok=False)
    assert (done.code, len(done.text.splitlines())) == (2, 1)
    assert says in done.text


def test_bad_picture_is_one_line(exported: Any, yolo_home: Any, needs: Any) -> None:
    needs("onnx", "onnxruntime")
    model = exported("yolov8n-scsa", format="onnx", imgsz=(96, 160))
    (yolo_home.folder / "a.jpg").write_bytes(b"no picture")
    done = yolo_home.run(
        sys.executable, EXAMPLES / "onnxruntime_detect.py", model, "a.jpg", ok=False
    )
    assert (done.code, done.text.count("\n")) == (2, 1)
    assert "a.jpg: OpenCV cannot read this as a picture" in done.text
