from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from scsa_yolo.datasets.layout.dataset import load_layout
from scsa_yolo.datasets.show import command as show
from scsa_yolo.datasets.show.draw import draw_sheet, pick


def run(*args: object) -> int:
    parser = argparse.ArgumentParser()
    show.add_arguments(parser)
    return show.run(parser.parse_args([str(arg) for arg in args]))


def test_draws_a_sheet(tiny_data: Path, yolo_home: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tiny_data, "--n", 3) == 0
    assert "wrote tiny-val.png: 3 of 4 pictures of val, seed 0" in capsys.readouterr().out
    first = Path("tiny-val.png").read_bytes()
    assert run(tiny_data, "--n", 3) == 2
    assert "add --force" in capsys.readouterr().err
    assert run(tiny_data, "--n", 3, "--force") == 0
    assert Path("tiny-val.png").read_bytes() == first
    assert run(tiny_data, "--split", "train", "-o", "t.jpg") == 0
    sheet = cv2.imread("t.jpg")
    assert sheet is not None
    assert sheet.shape[1] > 4 * 400


def test_boxes_are_where_the_labels_say(tiny_data: Path) -> None:
    layout = load_layout(tiny_data)
    image = layout.images("val")[0]
    label = tiny_data.parent / "labels/val/0.txt"
    label.write_text("0 0.5 0.5 0.5 0.5")
    drawn = draw_sheet(layout, "val", [image], tile=400)
    label.write_text("")
    plain = draw_sheet(layout, "val", [image], tile=400)
    rows, columns = np.nonzero((drawn[:400, :400] != plain[:400, :400]).any(2))
    assert (columns.min(), columns.max(), rows.max()) == pytest.approx((100, 300, 300), abs=3)


def test_ignored_regions_are_hatched(tiny_data: Path) -> None:
    layout = load_layout(tiny_data)
    image = layout.images("val")[0]
    plain = draw_sheet(layout, "val", [image], tile=400)
    header = {"format": "scsa-yolo side 1", "dataset": "tiny", "split": "val", "names": {}}
    ignore = [{"class": None, "xyxy": [0, 0, 32, 32], "reason": "region"}]
    line = {"image": "images/val/0.png", "conditions": {"light": "Low"}, "ignore": ignore}
    (tiny_data.parent / "side").mkdir()
    (tiny_data.parent / "side/val.jsonl").write_text(f"{json.dumps(header)}\n{json.dumps(line)}\n")
    changed = (draw_sheet(layout, "val", [image], tile=400)[:400] != plain[:400]).any(2)
    assert changed[:195, :195].mean() > 0.05
    assert not changed[205:, 205:400].any()


def test_a_picture_that_cannot_be_read_is_said_not_skipped(tiny_data: Path, tmp_path: Path) -> None:
    (tiny_data.parent / "images/val/0.png").write_bytes(b"no picture")
    assert run(tiny_data, "-o", tmp_path / "a.png") == 0


def test_picks() -> None:
    paths = [Path(str(i)) for i in range(30)]
    assert pick(paths, 99, 0) == paths
    assert pick(paths, 5, 1) == pick(paths, 5, 1) != pick(paths, 5, 2)
    assert pick(paths, 5, 1) == [path for path in paths if path in pick(paths, 5, 1)]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--split", "test"), "no split 'test'; it has train, val"),
        (("--n", "0"), "--n must be at least 1"),
        (("-o", "a.pdf"), "use .png or .jpg"),
    ],
)
def test_wrong_calls(
    tiny_data: Path,
    yolo_home: Any,
    capsys: pytest.CaptureFixture[str],
    args: tuple[str, ...],
    message: str,
) -> None:
    assert run(tiny_data, *args) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
