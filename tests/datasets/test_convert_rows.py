"""Properties of each row parser: what it accepts it reads exactly, and it refuses all else with a
reason.
"""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scsa_yolo.datasets.native import coco, exdark, visdrone, voc
from scsa_yolo.datasets.native.jsonstream import _Reader
from scsa_yolo.datasets.native.records import Refused, Unreadable, clip, label_row, number

quick = settings(max_examples=100, deadline=None, derandomize=True)

coordinates = st.floats(-1e5, 1e5, allow_nan=False).map(lambda value: float(f"{value:.6f}"))
sizes = st.integers(1, 5000)
names = st.text("abcdefghij -_", min_size=1, max_size=12).filter(lambda text: text.strip() == text)
texts = st.one_of(
    st.text(max_size=60),
    st.text("0123456789.,-+eE nainf_\r\n\t", max_size=60),
    st.lists(
        st.sampled_from(["1", "-3", "1e999", "nan", "inf", "1_0", "٣", "", "x", "Dog"]), max_size=14
    ).map(",".join),
    st.lists(
        st.sampled_from(["1", "-3", "1e999", "nan", "inf", "1_0", "٣", "x", "Dog"]), max_size=14
    ).map(" ".join),
)


@quick
@given(
    st.tuples(coordinates, coordinates, coordinates, coordinates),
    st.integers(0, 1),
    st.integers(0, 11),
    st.booleans(),
)
def test_visdrone_rows_are_read_exactly(box, score: int, category: int, comma: bool) -> None:
    row = visdrone.parse_row(",".join(map(repr, box)) + f",{score},{category},1,2" + "," * comma)
    assert row == (*box, score, category, 1, 2)
    assert row.xyxy == (box[0], box[1], box[0] + box[2], box[1] + box[3])


@quick
@given(
    st.tuples(coordinates, coordinates, coordinates, coordinates),
    st.sampled_from(exdark.NAMES),
    st.integers(0, 7),
)
def test_exdark_rows_are_read_exactly(box, name: str, rest: int) -> None:
    for spelling in (name, name.upper(), name.lower()):
        row = exdark.parse_row(" ".join([spelling, *map(repr, box), *["0"] * rest]) + "\r")
        assert row == (exdark.NAMES.index(name), *box)


@quick
@given(
    names, st.tuples(st.integers(1, 12), st.integers(1, 10), st.integers(1, 2), st.integers(1, 3))
)
def test_rows_of_the_class_list(name: str, values: tuple[int, ...]) -> None:
    row = exdark.parse_listed(f"{name} {' '.join(map(str, values))}\r")
    assert row == (" ".join(name.split()), *values)


@quick
@given(st.tuples(coordinates, coordinates, coordinates, coordinates), st.booleans())
def test_voc_objects_are_read_exactly(box, difficult: bool) -> None:
    fields = {
        "name": "a b",
        "difficult": str(int(difficult)),
        **dict(zip(("xmin", "ymin", "xmax", "ymax"), map(repr, box))),
    }
    assert voc.parse_row(fields) == ("a b", box, difficult, {})


@quick
@given(
    st.tuples(coordinates, coordinates, coordinates, coordinates),
    st.integers(),
    st.sampled_from([0, 1, True, False]),
)
def test_coco_annotations_are_read_exactly(box, image: int, crowd) -> None:
    element = {"image_id": image, "category_id": 3, "bbox": list(box), "iscrowd": crowd, "area": 2}
    row = coco.parse_row(json.loads(json.dumps(element)))
    assert row == (image, 3, (box[0], box[1], box[0] + box[2], box[1] + box[3]), 2.0, bool(crowd))


@pytest.mark.parametrize(
    "parse", [visdrone.parse_row, exdark.parse_row, exdark.parse_listed, voc.parse_sheet]
)
@quick
@given(text=texts)
def test_any_text_is_read_or_refused_with_a_reason(parse, text: str) -> None:
    _check(parse(text))


@quick
@given(
    st.dictionaries(
        st.sampled_from(["name", "xmin", "ymin", "xmax", "ymax", "difficult", "truncated"]), texts
    )
)
def test_any_object_is_read_or_refused_with_a_reason(fields) -> None:
    _check(voc.parse_row(fields))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
members = st.sampled_from(
    ["image_id", "category_id", "bbox", "iscrowd", "area", "id", "file_name", "width", "extra_info"]
)


@pytest.mark.parametrize("parse", [coco.parse_row, coco.parse_entry])
@quick
@given(element=json_values | st.dictionaries(members, json_values))
def test_any_json_is_read_or_refused_with_a_reason(parse, element) -> None:
    _check(parse(element))


def _check(row: object) -> None:
    if isinstance(row, Refused):
        assert 0 < len(row.reason) < 300
        assert "\n" not in row.reason
    elif isinstance(row, visdrone.Row | exdark.Row | coco.Row):
        assert all(map(math.isfinite, row.xyxy))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1,2,3,4,1,4,0", "7 fields, not 8"),
        ("1,2,3,4,1,4,0,0,9", "9 fields, not 8"),
        ("1,2,x,4,1,4,0,0", "field 3 is no number: 'x'"),
        ("1,2,nan,4,1,4,0,0", "field 3 is no number: 'nan'"),
        ("1,2,3,4,1,12,0,0", "unknown category 12; there are 0 to 11"),
        ("1,2,3,4,1,1.5,0,0", "category, truncation and occlusion must be whole numbers"),
        ("", "1 fields, not 8"),
    ],
)
def test_reasons_of_visdrone(text: str, reason: str) -> None:
    assert visdrone.parse_row(text) == Refused(reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Dog 1 2 3", "4 fields, not 5 or more"),
        ("Dog 1 2 3 q", "field 5 is no number: 'q'"),
        ("Zebra 1 2 3 4", f"unknown class 'Zebra'; there are {', '.join(exdark.NAMES)}"),
    ],
)
def test_reasons_of_exdark(text: str, reason: str) -> None:
    assert exdark.parse_row(text) == Refused(reason)


@pytest.mark.parametrize(
    "text",
    ["a.jpg 13 1 1 1", "a.jpg 1 0 1 1", "a.jpg 1 1 3 1", "a.jpg 1 1 1 4", "1 1 1 1", "a.jpg"],
)
def test_rows_of_the_class_list_that_are_refused(text: str) -> None:
    assert isinstance(exdark.parse_listed(text), Refused)


@quick
@given(st.text(max_size=8))
def test_numbers_are_those_of_people(text: str) -> None:
    value = number(text)
    if value is not None:
        assert value == float(text)
        assert set(text) <= set("0123456789+-.eE")


@quick
@given(st.tuples(coordinates, coordinates, coordinates, coordinates), sizes, sizes)
def test_labels_come_back_to_a_ten_thousandth_of_a_pixel(box, width: int, height: int) -> None:
    cut = clip(box, width, height)
    if cut is None:
        assert min(box[2], width) <= max(box[0], 0) or min(box[3], height) <= max(box[1], 0)
        return
    _, x, y, w, h = map(float, label_row(0, cut, width, height).split())
    assert all(0 <= value <= 1 for value in (x, y, w, h))
    back = (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height
    want = max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)
    assert back == pytest.approx(want, abs=1e-6)


@quick
@given(
    st.dictionaries(st.text(max_size=5), json_values.filter(lambda v: v == v), max_size=5),
    st.integers(1, 7),
)
def test_the_stream_reads_what_json_reads(content, chunk: int) -> None:
    text = json.dumps(content, indent=chunk % 3 or None)
    back: dict[str, object] = {key: [] for key, value in content.items() if isinstance(value, list)}
    for key, value in _Reader(_Slow(text, chunk)).members():
        if isinstance(content[key], list):
            back[key].append(value)  # type: ignore[attr-defined]
        else:
            back[key] = value
    assert json.dumps(back, sort_keys=True) == json.dumps(content, sort_keys=True)


@quick
@given(st.dictionaries(st.text(max_size=5), json_values, min_size=1, max_size=4), st.data())
def test_the_stream_notices_a_missing_end(content, data) -> None:
    text = json.dumps(content)
    cut = data.draw(st.integers(1, len(text) - 1))
    with pytest.raises(Unreadable, match=r"not valid JSON: .*at character"):
        list(_Reader(io.StringIO(text[:cut])).members())


class _Slow(io.StringIO):
    """Gives a few characters at a time."""

    def __init__(self, text: str, chunk: int):
        super().__init__(text)
        self.chunk = chunk

    def read(self, size: int | None = -1, /) -> str:
        return super().read(self.chunk)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b'{"images": [{"id": 1}, {"i', "cut short at character 23"),
        (b'{"images": [1, 2', "cut short"),
        (b'{"images": [1 2]}', "expected ',', found '2' at character 14"),
        (b"[1]", "expected '{', found '['"),
        (b"{} x", "text after the end"),
        (b"\x89PNG\xff", "binary, not JSON (byte 0x89)"),
    ],
)
def test_json_that_is_none(tmp_path: Path, data: bytes, reason: str) -> None:
    from scsa_yolo.datasets.native.jsonstream import stream

    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(Unreadable) as error:
        list(stream(tmp_path / "a.json"))
    assert reason in str(error.value)
