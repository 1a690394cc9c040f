"""Numbers at which a rule changes its answer: each is tried on both sides."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scsa_yolo.datasets.check.image import inspect
from scsa_yolo.datasets.check.scan import SplitCount
from scsa_yolo.datasets.convert.image import _cut
from scsa_yolo.datasets.convert.writer import Placer
from scsa_yolo.datasets.layout.labels import read_labels
from scsa_yolo.datasets.layout.pictures import GREY, painted
from scsa_yolo.datasets.native.records import Annotation, Box

SIDE = 1000  # px of the picture


def after(number: float, way: float = np.inf) -> str:
    """The next number of 32 bits, as text."""
    return repr(float(np.nextafter(np.float32(number), np.float32(way))))


@pytest.mark.parametrize(
    ("row", "good"),
    [
        ("0 1.01 0.5 0.1 0.1", True),
        (f"0 {after(1.01)} 0.5 0.1 0.1", False),
        ("0 0.5 0.5 0.1 1.01", True),
        (f"0 0.5 0.5 0.1 {after(1.01)}", False),
        ("0 -0.01 0.5 0.1 0.1", True),
        (f"0 {after(-0.01, -np.inf)} 0.5 0.1 0.1", False),
        ("0 0.5 0.5 0 0.1", True),
        ("0 0.5 0.5 -1e-9 0.1", False),
        ("1 0.5 0.5 0.1 0.1", True),
        ("2 0.5 0.5 0.1 0.1", False),
        ("-1 0.5 0.5 0.1 0.1", False),
    ],
)
def test_the_slack_of_a_label_row(tmp_path: Path, row: str, good: bool) -> None:
    (tmp_path / "a.txt").write_text(row)
    assert (not read_labels(tmp_path / "a.txt", 2).problems) == good


def codes(folder: Path, *xyxy: float) -> set[str]:
    """What is found about a box given in pixels."""
    left, top, right, bottom = (value / SIDE for value in xyxy)
    row = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    Image.new("RGB", (SIDE, SIDE)).save(folder / "a.png")
    (folder / "a.txt").write_text(f"0 {' '.join(map(repr, row))}")
    report = inspect(folder / "a.png", folder / "a.txt", 1, pixels=False)
    return {code for code, _, _ in report.found}


@pytest.mark.parametrize(
    ("box", "found"),
    [
        ((-0.04, 10, 20, 20), set()),
        ((-0.06, 10, 20, 20), {"box-outside"}),
        ((980, 10, 1000.04, 20), set()),
        ((980, 10, 1000.06, 20), {"box-outside"}),
        ((10, 980, 20, 1000.06), {"box-outside"}),
        ((10, -0.06, 20, 20), {"box-outside"}),
        ((10, 10, 11.001, 20), set()),
        ((10, 10, 10.999, 20), {"box-thin"}),
        ((10, 10, 20, 10.999), {"box-thin"}),
        ((-9, 10, 0, 20), {"box-gone"}),
        ((-9, 10, 1, 20), {"box-outside"}),
        ((1000, 10, 1009, 20), {"box-gone"}),
        ((999, 10, 1008, 20), {"box-outside"}),
    ],
)
def test_how_far_outside_and_how_thin(
    tmp_path: Path, box: tuple[float, ...], found: set[str]
) -> None:
    assert codes(tmp_path, *box) == found


@pytest.mark.parametrize(
    ("side", "shares"),
    [
        (31.99, (1, 0, 0)),
        (32, (0, 1, 0)),
        (95.99, (0, 1, 0)),
        (96, (0, 0, 1)),
    ],
)
def test_small_medium_and_large(side: float, shares: tuple[int, ...]) -> None:
    sides = np.array([[side, side]], np.float32)
    count = SplitCount(1, 1, np.ones(1, int), np.zeros((1, 2)), sides, np.ones(1, np.float32))
    assert count.shares() == shares


@pytest.mark.parametrize(
    ("region", "columns"),
    [
        ((10, 4, 20, 8), (10, 20)),  # the pixel of the right edge is not part of the region
        ((10.5, 4, 19.5, 8), (10, 20)),  # all pixels that it touches
        ((0, 4, 40, 8), (0, 40)),
        ((10, 4, 11, 8), (10, 11)),
    ],
)
def test_the_edges_of_a_painted_region(
    tmp_path: Path, region: tuple[float, ...], columns: tuple[int, int]
) -> None:
    Image.new("RGB", (40, 30), (200, 0, 0)).save(tmp_path / "a.png")
    with Image.open(io.BytesIO(painted(tmp_path / "a.png", [region], []))) as image:
        grey = (np.asarray(image) == GREY).all(2)
    rows, found = np.nonzero(grey)
    assert (found.min(), found.max() + 1) == columns
    assert (rows.min(), rows.max() + 1) == (4, 8)


def test_a_labelled_box_keeps_its_pixels_in_a_painted_region(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (200, 0, 0)).save(tmp_path / "a.png")
    data = painted(tmp_path / "a.png", [(10, 4, 20, 12)], [(14.5, 6, 16.5, 8)])
    with Image.open(io.BytesIO(data)) as image:
        grey = (np.asarray(image) == GREY).all(2)
    assert grey.sum() == 10 * 8 - 3 * 2
    assert not grey[6:8, 14:17].any()


@pytest.mark.parametrize(
    ("right", "told"), [(100, False), (100 + 9e-7, False), (100 + 2e-6, True), (101, True)]
)
def test_what_is_worth_a_word_when_it_is_clipped(right: float, told: bool) -> None:
    found = Annotation("a.txt")
    cut = _cut(Box(0, (10.0, 10.0, right, 20.0), {}, 1), 100, 80, found, "thing")
    assert cut == (10, 10, 100, 20)
    assert bool(found.findings) == told


@pytest.mark.parametrize(
    ("box", "code"),
    [
        ((100, 10, 120, 20), "outside"),
        ((-20, 10, 0, 20), "outside"),
        ((10, 10, 10, 20), "no-area"),
        ((20, 10, 10, 20), "no-area"),
    ],
)
def test_what_is_dropped(box: tuple[float, ...], code: str) -> None:
    found = Annotation("a.txt")
    assert _cut(Box(0, tuple(map(float, box)), {}, 1), 100, 80, found, "thing") is None
    assert [finding.code for finding in found.findings] == [code]


def test_a_copy_is_known_by_size_and_time(tmp_path: Path) -> None:
    """By these a resumed run knows what need not be copied again."""
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"12345")
    os.utime(source, ns=(10**18 + 7, 10**18 + 7))
    Placer("copy").place(source, target, "copy")
    assert target.stat().st_mtime_ns == 10**18 + 7
    first = target.stat().st_ino
    Placer("copy").place(source, target, "copy")
    assert target.stat().st_ino == first
    os.utime(source, ns=(10**18 + 8, 10**18 + 8))
    Placer("copy").place(source, target, "copy")
    assert target.stat().st_ino != first
    second = target.stat().st_ino
    source.write_bytes(b"123456")
    os.utime(source, ns=(10**18 + 8, 10**18 + 8))
    Placer("copy").place(source, target, "copy")
    assert target.stat().st_ino != second
    assert target.read_bytes() == b"123456"
