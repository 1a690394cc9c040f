from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from scsa_yolo.datasets.layout.dataset import Layout, load_layout
from scsa_yolo.datasets.show import command as show
from scsa_yolo.datasets.show import draw, ink
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


def test_a_file_name_that_is_not_utf_8(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """OpenCV's text ends the process on such a name."""
    for kind, suffix in (("images", ".png"), ("labels", ".txt")):
        folder = tiny_data.parent / kind / "val"
        odd = folder / os.fsdecode(b"caf\xe9" + suffix.encode())
        (folder / f"0{suffix}").rename(odd)
    assert run(tiny_data, "-o", tmp_path / "a.png") == 0
    assert cv2.imread(str(tmp_path / "a.png")) is not None
    assert "4 of 4 pictures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "shown"),
    [("café", "cafe"), ("鳥", "?"), ("a\nb\0", "a?b?"), ("\udce9", "?"), ("", "")],
)
def test_text_for_opencv_is_ascii(text: str, shown: str) -> None:
    assert ink.fitted(text, 1000) == shown
    assert ink.text_width(text) >= 0


def test_class_names_of_any_script(tiny_data: Path, tmp_path: Path) -> None:
    text = tiny_data.read_text().replace("[bright, dark]", '["\u9ce5\u00e9", "\U0001f426"]')
    tiny_data.write_text(text, encoding="utf-8")
    assert run(tiny_data, "-o", tmp_path / "a.png") == 0


def test_a_pipe_among_the_pictures(tiny_data: Path, tmp_path: Path) -> None:
    image = tiny_data.parent / "images/val/0.png"
    image.unlink()
    os.mkfifo(image)
    assert run(tiny_data, "-o", tmp_path / "a.png") == 0


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("missing/a.png", "there is no folder"),
        ("folder", "is a folder"),
        ("file/a.png", "there is no folder"),
        ("a.gif", "use .png or .jpg"),
    ],
)
def test_the_place_is_looked_at_before_any_picture(
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    output: str,
    message: str,
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr(draw, "draw_sheet", lambda *_: pytest.fail("drawn"))
    monkeypatch.setattr(Layout, "images", lambda *_: pytest.fail("listed"))
    assert run(tiny_data, "-o", tmp_path / output, "--force") == 2
    assert message in capsys.readouterr().err


def test_sets_whose_yaml_is_called_data_do_not_collide(
    tiny_data: Path, yolo_home: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny_data.parent / "data.yaml").write_text(tiny_data.read_text())
    assert run(tiny_data.parent / "data.yaml", "--n", 1) == 0
    assert "wrote tiny-val.png" in capsys.readouterr().out


def spread(tiny_data: Path, boxes: int) -> Any:
    """Write so many equal boxes into one picture, and draw it."""
    label = tiny_data.parent / "labels/val/0.txt"
    rows = (f"{i % 2} 0.5 0.5 {0.4 + i / 1000} 0.4" for i in range(boxes))
    label.write_text("\n".join(rows))
    layout = load_layout(tiny_data)
    return draw_sheet(layout, "val", layout.images("val")[:1], tile=400)


@pytest.mark.parametrize(("boxes", "lost"), [(1, None), (3, None), (60, "of 60")])
def test_names_without_room_are_counted_on_the_picture(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch, boxes: int, lost: str | None
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(ink.Plates, "note", lambda _, text: notes.append(text))
    spread(tiny_data, boxes)
    assert bool(notes) == bool(lost)
    assert all(lost in note for note in notes if lost)


def test_names_lie_on_plates_that_do_not_cover_each_other() -> None:
    plates = ink.Plates(np.zeros((400, 400, 3), np.uint8))
    boxes = np.random.default_rng(0).uniform(0, 380, (60, 2)).repeat(2, 1)[:, [0, 2, 1, 3]] + (
        0,
        0,
        20,
        20,
    )
    put = [plates.put("car", box, ink.style(0).ink) for box in boxes]
    assert True in put
    assert False in put
    places = plates._taken
    assert len(places) == sum(put)
    for i, (left, top, right, bottom) in enumerate(places):
        assert left >= 0 <= top
        assert right <= 400 >= bottom
        for other in places[:i]:
            apart = (other[2] <= left, right <= other[0], other[3] <= top, bottom <= other[1])
            assert any(apart)


# What the eye sees without one kind of cone (Vienot, Brettel and Mollon 1999), of linear red,
# green and blue.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array([[0.112, 0.888, 0], [0.112, 0.888, 0], [0.004, -0.004, 1]]),
    "deuteranopia": np.array([[0.293, 0.707, 0], [0.293, 0.707, 0], [-0.021, 0.021, 1]]),
}


@pytest.mark.parametrize("kind", BLINDNESS)
def test_styles_are_told_apart(kind: str) -> None:
    styles = [ink.style(i) for i in range(ink.STYLES)]
    assert len(set(styles)) == ink.STYLES >= 32
    assert ink.style(ink.STYLES) == styles[0]
    colours = np.array([look.ink[::-1] for look in styles[:7]]) / 255
    seen = np.clip(colours**2.2 @ BLINDNESS[kind].T, 0, 1) ** (1 / 2.2)
    apart = np.abs(seen[:, None] - seen[None]).sum(2) + np.eye(7)
    assert apart.min() > 0.15


def test_many_classes_are_told_apart_by_those_on_the_sheet(tiny_data: Path) -> None:
    names = ", ".join(f"c{i}" for i in range(200))
    tiny_data.write_text(tiny_data.read_text().replace("bright, dark", names))
    rows = "\n".join(f"{c} 0.5 0.5 0.2 0.2" for c in (0, 35, 70, 105))  # of one style by number
    (tiny_data.parent / "labels/val/0.txt").write_text(rows)
    layout = load_layout(tiny_data)
    styles = draw.class_styles(layout, layout.images("val"))
    assert len({styles[c] for c in (0, 35, 70, 105)}) == 4
