"""Label files read by our rules and by Ultralytics' own must come to the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import ultralytics
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from scsa_yolo.datasets.check.copies import same_files
from scsa_yolo.datasets.layout.dataset import label_files, load_layout
from scsa_yolo.datasets.layout.labels import read_labels

# of 32 bits and not subnormal, as Ultralytics reads: a class of 5e-324 is 0 to it
FLOATS = st.floats(-0.03125, 1.03125, width=32, allow_subnormal=False)
ODD = st.sampled_from(["x", "nan", "1e400", "-0.5", "", "0.5", 0.0])
NUMBER = st.one_of(
    FLOATS, st.floats(0, 1, width=32, allow_subnormal=False), ODD, st.integers(-1, 3)
)
ROWS = st.lists(st.lists(NUMBER, min_size=3, max_size=9), max_size=5)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    Image.new("RGB", (64, 48)).save(folder / "a.png")
    return folder / "a.png", folder / "a.txt"


def read_by_ultralytics(image: Path, label: Path) -> np.ndarray | None:
    """(N, 5) rows as Ultralytics reads them, None if it leaves the picture out."""
    from ultralytics.data.utils import verify_image_label

    return verify_image_label((str(image), str(label), "", False, 3, 0, 0, False))[1]


@pytest.mark.skipif(
    tuple(map(int, ultralytics.__version__.split(".")[:3])) < (8, 4, 190),
    reason="labels are read by the newest rules; earlier ones take half classes and sizes below 0",
)
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS)
def test_same_rows_as_ultralytics(pair: tuple[Path, Path], rows: list[list[object]]) -> None:
    image, label = pair
    label.write_text("\n".join(" ".join(map(str, row)) for row in rows))
    ours = read_labels(label, classes=3)
    with np.errstate(all="ignore"):
        theirs = read_by_ultralytics(image, label)
    if theirs is None:
        assert ours.problems
    elif not ours.problems:  # Ultralytics lets pass what is not finite
        mine = np.column_stack([ours.classes, ours.xywh])[ours.unique()].astype(np.float32)
        np.testing.assert_allclose(
            mine[np.lexsort(mine.T)], theirs[np.lexsort(theirs.T)], atol=1e-6
        )
    else:
        assert all("finite" in text for _, _, text in ours.problems)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1", "an outline needs a class and pairs of numbers, here are 1 fields"),
        ("0 0 0 0.5 nan 0.5 0.5", "a number is not finite"),
        ("0 0.1 0.1 0.5 0.5", "a box among outlines; Ultralytics wants one kind in a file"),
    ],
)
def test_a_bad_row_among_outlines(tmp_path: Path, row: str, reason: str) -> None:
    (tmp_path / "a.txt").write_text(f"0 0 0 0.5 0 0.5 0.5\n{row}\n")
    labels = read_labels(tmp_path / "a.txt", 2)
    assert labels.lines.tolist() == [1]
    assert [(line, text) for line, _, text in labels.problems] == [(2, reason)]


@pytest.mark.parametrize("data", [b"\xef", b"\xef\xbb", b"\xef\xbb\xbf", b"", b" \n\r\n"])
def test_files_of_nothing_have_no_rows(tmp_path: Path, data: bytes) -> None:
    """Part of a byte order mark is nothing too, as for Ultralytics."""
    (tmp_path / "a.txt").write_bytes(data)
    labels = read_labels(tmp_path / "a.txt", 2)
    assert labels.problems == ()
    assert len(labels.classes) == 0


def test_corners_in_pixels(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\ufeff1 0.5 0.5 0.5 0.25\r\n\r\n0 0.1 0.2 0.2 0.4\r\n")
    labels = read_labels(tmp_path / "a.txt", 2)
    assert labels.lines.tolist() == [1, 3]
    np.testing.assert_allclose(
        labels.xyxy(200, 100), [[50, 37.5, 150, 62.5], [0, 0, 40, 40]], atol=1e-12
    )
    assert read_labels(tmp_path / "none.txt", 2).classes.tolist() == []


def test_lists_pictures_as_ultralytics_does(tiny_data: Path) -> None:
    from ultralytics.data.base import BaseDataset
    from ultralytics.data.utils import check_det_dataset

    root = tiny_data.parent
    (root / "images/val/deep.er").mkdir()
    (root / "images/val/0.png").rename(root / "images/val/deep.er/Z.PNG")
    (root / "images/val/notes.txt").write_text("no picture")
    (root / "list.txt").write_text("./images/train/0.png\n./images/train/1.png\n")
    tiny_data.write_text(
        f"path: {root}\ntrain: list.txt\nval: [images/val, list.txt]\nnames: [a, b]\n"
    )
    layout, theirs = load_layout(tiny_data), check_det_dataset(str(tiny_data))
    assert layout.names == theirs["names"]
    for split in ("train", "val"):
        reader = object.__new__(BaseDataset)
        reader.prefix, reader.fraction = "", 1.0
        assert [str(path) for path in layout.images(split)] == BaseDataset.get_img_files(
            reader, theirs[split]
        )
    assert label_files([root / "images/val/deep.er/Z.PNG"]) == [root / "labels/val/deep.er/Z.txt"]


def test_same_files(tmp_path: Path) -> None:
    contents = {
        "a": b"1" * 9000,
        "b": b"1" * 9000,
        "c": b"1" * 4500 + b"2" * 4500,
        "d": b"1",
        "e": b"1" * 8999 + b"2",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    files = [tmp_path / name for name in [*contents, "missing", "a"]]
    assert same_files(files) == [[tmp_path / "a", tmp_path / "b"]]
