from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from scsa_yolo.datasets import make_demo
from scsa_yolo.datasets.demo import maker
from scsa_yolo.datasets.demo.maker import CLASS_NAMES, GENERATOR_VERSION, MARKER
from scsa_yolo.datasets.demo.scene import _Camera, _Canvas, _Part, _Thing
from scsa_yolo.datasets.layout import dataset
from scsa_yolo.datasets.layout.dataset import Layout

REPO = Path(__file__).parents[2]
TRAIN, VAL, SIZE = 24, 6, 320
FEW = {"train": 2, "val": 1, "size": 64}


def digests(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def rows(folder: Path, split: str) -> np.ndarray:
    """(N, 5) class, x, y, width, height of a split's label files."""
    files = (folder / "labels" / split).glob("*.txt")
    lines = [line.split() for file in files for line in file.read_text().splitlines()]
    assert {len(line) for line in lines} == {5}
    return np.array(lines, dtype=float)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo(tmp_path_factory.mktemp("demo") / "set", train=TRAIN, val=VAL, size=SIZE)


def test_layout(demo: Path) -> None:
    for split, count in (("train", TRAIN), ("val", VAL)):
        images, labels = (sorted((demo / kind / split).iterdir()) for kind in ("images", "labels"))
        assert (
            [file.stem for file in images]
            == [file.stem for file in labels]
            == [f"{i:04d}" for i in range(count)]
        )
        for file in images:
            image = cv2.imread(str(file))
            assert image is not None
            assert image.shape == (SIZE, SIZE, 3)
    assert sorted(path.name for path in demo.iterdir()) == ["images", "labels", MARKER]
    assert [path.name for path in demo.parent.iterdir()] == [demo.name], (
        "a temporary folder was left"
    )


def test_marker_says_what_it_is(demo: Path) -> None:
    marker = json.loads((demo / MARKER).read_text())
    assert "not photographs" in marker.pop("about")
    assert marker == {
        "generator": GENERATOR_VERSION,
        "seed": 0,
        "train": TRAIN,
        "val": VAL,
        "size": SIZE,
    }


def test_labels(demo: Path) -> None:
    for split, count in (("train", TRAIN), ("val", VAL)):
        found = rows(demo, split)
        classes, xy, wh = found[:, 0], found[:, 1:3], found[:, 3:]
        assert set(classes) == set(range(len(CLASS_NAMES)))
        assert min(Counter(classes).values()) >= count // 2  # each class is worth learning
        assert (wh * SIZE >= 4).all()
        assert (xy - wh / 2 >= -1e-6).all()
        assert (xy + wh / 2 <= 1 + 1e-6).all()


def test_some_boxes_are_small(demo: Path) -> None:
    sides = rows(demo, "train")[:, 3:] * SIZE
    small = (sides.max(1) < 16).mean()
    assert 0.1 < small < 0.4
    assert (sides.min(1) > 32).mean() > 0.1


def test_nights_are_dark_and_lights_bright(demo: Path) -> None:
    for label in (demo / "labels" / "train").iterdir():
        image = cv2.imread(
            str(demo / "images" / "train" / f"{label.stem}.png"), cv2.IMREAD_GRAYSCALE
        )
        assert image is not None
        assert np.median(image) < 70
        for kind, x, y, w, h in (
            map(float, line.split()) for line in label.read_text().splitlines()
        ):
            left, top, right, bottom = (
                round(v * SIZE) for v in (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
            )
            if (
                CLASS_NAMES[int(kind)] == "light"
                and min(right - left, bottom - top) > 8
                and left > 0
                and right < SIZE
            ):
                assert image[top:bottom, left:right].max() > 100


def stand_squares(*squares: tuple[float, float, float]) -> dict[int, tuple[int, ...]]:
    """Labels, in px, on a canvas of 100x100 px; a square is x, z and side in m. 1 m is 1 px, feet
    are at row 80.
    """
    camera = _Camera(focal=10.0, horizon=80.0, centre=40.0, x=0.0, height=0.0)
    canvas = _Canvas(100)
    for kind, (x, z, side) in enumerate(squares):
        outline = np.array([(0, 0), (side, 0), (side, side), (0, side)])
        canvas.stand(_Thing(kind, x, z, [_Part(outline, (1.0, 1.0, 1.0))]), camera)
    return {kind: tuple(round(v * 100) for v in box) for kind, *box in canvas.labels()}


def test_boxes_hug_what_is_left_to_see() -> None:
    found = stand_squares((0, 10.0, 40), (20, 9.999, 20), (-60, 9.998, 50))
    assert found[0] == pytest.approx(
        (60, 60, 41, 41), abs=1
    )  # a quarter is hidden, but none of its extent
    assert found[1] == pytest.approx((70, 70, 21, 21), abs=1)
    assert found[2] == pytest.approx((15, 55, 31, 51), abs=1)  # starts 20 px left of the picture


@pytest.mark.parametrize(
    ("before", "labelled"),
    [
        (20, True),
        (32, True),
        (36, False),
        (40, False),
    ],  # of 41 px squared: 74, 35, 19 and 0 % are left
)
def test_a_mostly_hidden_object_has_no_label(before: float, labelled: bool) -> None:
    assert (0 in stand_squares((0, 10.0, 40), (0, 9.999, before))) is labelled


@pytest.mark.parametrize(
    ("x", "labelled"), [(40, True), (70, False), (200, False)]
)  # 21, 0 and 0 px are inside
def test_an_object_mostly_outside_has_no_label(x: float, labelled: bool) -> None:
    assert bool(stand_squares((x, 10.0, 40))) is labelled


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    np.random.seed(1)  # the global generator must not matter
    first = digests(make_demo(tmp_path / "a", **FEW, seed=3))
    np.random.seed(2)
    assert digests(make_demo(tmp_path / "b", **FEW, seed=3)) == first
    other = digests(make_demo(tmp_path / "c", **FEW, seed=4))
    assert not {other[name] for name in other if name.endswith(".png")} & set(first.values())
    more = digests(make_demo(tmp_path / "d", train=3, val=2, size=64, seed=3))
    assert {name: more[name] for name in first if name != MARKER} == {
        n: d for n, d in first.items() if n != MARKER
    }
    assert first["images/train/0000.png"] != first["images/val/0000.png"]


@pytest.mark.parametrize(
    "failure", [OSError("disk full"), KeyboardInterrupt(), None]
)  # None: imencode returns False
def test_interrupted_build_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException | None
) -> None:
    encode, calls = cv2.imencode, []

    def breaks(suffix: str, image: np.ndarray) -> tuple[bool, np.ndarray]:
        calls.append(suffix)
        if len(calls) < 2:
            return encode(suffix, image)
        if failure is None:
            return False, image
        raise failure

    monkeypatch.setattr(cv2, "imencode", breaks)
    with pytest.raises(OSError if failure is None else type(failure)):
        make_demo(tmp_path / "deep" / "set", **FEW)
    assert len(calls) == 2
    assert list((tmp_path / "deep").iterdir()) == []
    monkeypatch.undo()
    assert make_demo(tmp_path / "deep" / "set", **FEW).is_dir()


def test_a_name_as_long_as_a_file_system_takes(tmp_path: Path) -> None:
    folder = tmp_path / ("é" * 126)
    assert make_demo(folder, **FEW) == folder
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_complete_set_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_demo(tmp_path / "set", **FEW)
    (folder / "labels" / "train.cache").write_bytes(b"Ultralytics leaves one")
    before = digests(folder)
    monkeypatch.setattr(cv2, "imencode", lambda *_: pytest.fail("drawn again"))
    assert make_demo(tmp_path / "set", **FEW) == folder
    assert digests(folder) == before
    assert str(folder) in caplog.text
    assert "left as it is" in caplog.text


def test_another_process_was_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, done = cv2.imencode, []

    def meanwhile(suffix: str, image: np.ndarray) -> tuple[bool, np.ndarray]:
        if not done:
            done.append(True)
            make_demo(tmp_path / "set", **FEW)
        return encode(suffix, image)

    monkeypatch.setattr(cv2, "imencode", meanwhile)
    folder = make_demo(tmp_path / "set", **FEW)
    assert (folder / MARKER).is_file()
    assert list(tmp_path.iterdir()) == [folder]


def test_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    assert (make_demo(str(tmp_path / "set"), **FEW) / MARKER).is_file()


@pytest.mark.parametrize("spoil", ["foreign", "file", "marker", "image", "arguments"])
def test_anything_else_is_refused_and_kept(tmp_path: Path, spoil: str) -> None:
    folder, arguments = tmp_path / "set", dict(FEW)
    if spoil == "foreign":
        folder.mkdir()
        (folder / "holiday.png").write_bytes(b"precious")
    elif spoil == "file":
        folder.write_bytes(b"precious")
    else:
        make_demo(folder, **FEW)
    if spoil == "marker":
        (folder / MARKER).write_text("[]")
    elif spoil == "image":
        (folder / "images" / "val" / "0000.png").unlink()
    elif spoil == "arguments":
        arguments["train"] = 5
    before = digests(tmp_path)
    with pytest.raises(FileExistsError, match="mv ") as error:
        make_demo(folder, **arguments)
    assert str(folder) in str(error.value)
    assert digests(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"train": 0}, ValueError),
        ({"val": -1}, ValueError),
        ({"size": 63}, ValueError),
        ({"seed": -1}, ValueError),
        ({"train": 2.0}, TypeError),
        ({"val": True}, TypeError),
        ({"size": "320"}, TypeError),
        ({"seed": None}, TypeError),
    ],
)
def test_bad_arguments(
    tmp_path: Path, arguments: dict[str, object], error: type[Exception]
) -> None:
    (name,) = arguments
    with pytest.raises(error, match=f"make_demo: {name} must be"):
        make_demo(tmp_path / "set", **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


OFFLINE = """
import json, socket, sys

def refuse(*_, **__):
    raise OSError("this test has no network")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from ultralytics import settings
settings.update(datasets_dir=sys.argv[2])
import ultralytics.data.utils as data
from pathlib import Path
data.DATASETS_DIR = Path(sys.argv[2])  # read from the settings when the module was imported
found = data.check_det_dataset(sys.argv[1])
print(json.dumps([str(found["path"]), found["train"], found["val"], found["names"]]))
"""


def test_packaged_yaml_draws_the_set_offline(tmp_path: Path) -> None:
    """In an interpreter of its own, so that neither its settings nor its closed network reach
    anything else.
    """
    datasets = tmp_path / "datasets"
    config = tmp_path / "config"
    config.mkdir()  # older Ultralytics turns to a shared folder when it is missing
    paths = os.pathsep.join(filter(None, [str(REPO), os.environ.get("PYTHONPATH")]))
    environment = {
        **os.environ,
        "YOLO_CONFIG_DIR": str(config),
        "YOLO_OFFLINE": "true",
        "PYTHONPATH": paths,
    }
    command = [sys.executable, "-c", OFFLINE, str(REPO / "data" / "scsa-demo.yaml"), str(datasets)]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    path, train, val, names = json.loads(done.stdout.splitlines()[-1])
    assert Path(path) == datasets / "scsa-demo"
    assert len(list(Path(train).glob("*.png"))) == 96
    assert len(list(Path(val).glob("*.png"))) == 32
    assert [names[str(i)] for i in range(3)] == list(CLASS_NAMES)


def test_a_folder_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    """OpenCV's own way to files ends the process there."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    make_demo(folder / "demo", train=1, val=1, size=64)
    assert len(list((folder / "demo").rglob("*.png"))) == 2


@pytest.mark.parametrize("action", ["show", "check"])
def test_commands_draw_the_set_where_it_is_missing(
    action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``yolo train`` does: the README's commands work on a fresh machine, in any order."""
    drawn: list[Path] = []
    monkeypatch.setattr(maker, "make_demo", drawn.append)
    layout = Layout(tmp_path / maker.YAML_NAME, tmp_path / "demo", {}, {}, download=True)
    module = importlib.import_module(f"scsa_yolo.datasets.{action}.command")
    monkeypatch.setattr(dataset, "load_layout", lambda data: layout)
    module.run(parsed(module, "scsa-demo.yaml"))  # finds nothing, since nothing was really drawn
    assert drawn == [tmp_path / "demo"]


def parsed(module: Any, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("name", "download", "there"),
    [("mine.yaml", True, False), ("scsa-demo.yaml", False, False), ("scsa-demo.yaml", True, True)],
)
def test_nothing_else_is_drawn(
    name: str, download: bool, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maker, "make_demo", lambda folder: pytest.fail(f"drew {folder}"))
    root = tmp_path / "demo"
    if there:
        root.mkdir()
    maker.draw_if_missing(Layout(tmp_path / name, root, {}, {}, download=download))
