from __future__ import annotations

import argparse
import json
import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from scsa_yolo.datasets.check import command as check
from scsa_yolo.datasets.check import scan
from scsa_yolo.datasets.check.rules import ADVICE, LEVELS, RULES, Findings
from scsa_yolo.datasets.check.scan import SplitCount, check_data
from scsa_yolo.datasets.layout.dataset import DataSetError, load_layout

NAMES = ("car", "person")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set without a fault: 3 + 2 JPEG pictures of 64x48 px, two boxes each."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 2)):
        (tmp_path / "images" / split).mkdir(parents=True)
        (tmp_path / "labels" / split).mkdir(parents=True)
        for i in range(count):
            picture = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / f"images/{split}/{split}{i}.jpg"), picture)
            (tmp_path / f"labels/{split}/{split}{i}.txt").write_text(
                "0 0.5 0.5 0.5 0.5\n1 0.25 0.25 0.25 0.25\n"
            )
    yaml = tmp_path / "data.yaml"
    yaml.write_text("train: images/train\nval: images/val\nnames: [car, person]\n")
    return yaml


def found(yaml: Path, **options: object) -> tuple[dict[str, SplitCount], Findings]:
    return check_data(load_layout(yaml), **options)  # type: ignore[arg-type]


def test_silent_on_a_clean_set(data: Path) -> None:
    counts, findings = found(data, pixels=True)
    assert findings.all() == []
    assert {split: (count.images, count.labelled) for split, count in counts.items()} == {
        "train": (3, 3),
        "val": (2, 2),
    }
    assert counts["train"].boxes.tolist() == [3, 3]
    assert counts["val"].sizes.tolist() == [[64, 48]] * 2
    assert sorted(path.name for path in data.parent.iterdir()) == [
        "data.yaml",
        "images",
        "labels",
    ]  # nothing written


LABEL, IMAGE = "labels/train/train0.txt", "images/train/train0.jpg"


def row(text: str) -> Callable[[Path], None]:
    """Add a row to the first label file: its third line."""

    def spoil(root: Path) -> None:
        with (root / LABEL).open("a") as file:
            file.write(text)

    return spoil


def save(
    image: Image.Image | None = None, path: str = IMAGE, **options: object
) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        (image or Image.open(root / IMAGE)).save(root / path, **options)

    return spoil


def turned(root: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    save(path=IMAGE, exif=exif)(root)


def cut(root: Path) -> None:
    path = root / IMAGE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def move(source: str, target: str) -> Callable[[Path], None]:
    return lambda root: (root / source).rename(root / target) and None


def copy(source: str, target: str) -> Callable[[Path], None]:
    return lambda root: (root / target).write_bytes((root / source).read_bytes()) and None


def write(path: str, content: bytes = b"") -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)

    return spoil


def yaml_with(line: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        key = line.split(":")[0]
        lines = [
            old for old in (root / "data.yaml").read_text().splitlines() if not old.startswith(key)
        ]
        (root / "data.yaml").write_text("\n".join([*lines, line]))

    return spoil


def unlabelled(root: Path) -> None:
    for label in (root / "labels/train").iterdir():
        label.unlink()


def only_class(number: int, split: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        for label in (root / "labels" / split).iterdir():
            label.write_text(f"{number} 0.5 0.5 0.5 0.5")

    return spoil


def both(*spoils: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda root: [spoil(root) for spoil in spoils] and None


def side(*lines: dict) -> Callable[[Path], None]:
    header = {"format": "scsa-yolo side 1", "dataset": "x", "split": "train", "names": {}}
    return write("side/train.jsonl", "\n".join(map(json.dumps, [header, *lines])).encode())


ENTRIES = [
    {"image": f"images/train/train{i}.jpg", "width": 64, "height": 48, "boxes": [{}, {}]}
    for i in range(3)
]
TINY = Image.new("RGB", (9, 40))
DEEP = Image.fromarray(np.full((48, 64), 300, np.uint16))

# code, what spoils the set, part of the place that is named, other codes that come with it
CASES = [
    ("split-missing", yaml_with("test: images/test"), "images/test", ()),
    (
        "split-missing",
        yaml_with("test: images/train/train0.jpg"),
        "train0.jpg: not a readable list",
        {"split-empty"},
    ),
    ("split-empty", both(write("images/test/.keep"), yaml_with("test: images/test")), "test", ()),
    ("split-same", yaml_with("val: images/train"), "train and val", ()),
    ("test-is-val", yaml_with("test: images/val"), "val and test", ()),
    (
        "leak",
        both(copy(IMAGE, "images/val/new.jpg"), copy(LABEL, "labels/val/new.txt")),
        "new.jpg (val)",
        (),
    ),
    ("leak", yaml_with("val: [images/val, images/train]"), "train0.jpg: is in train and val", ()),
    (
        "copy",
        both(copy(IMAGE, "images/train/new.jpg"), copy(LABEL, "labels/train/new.txt")),
        "new.jpg",
        (),
    ),
    (
        "image-missing",
        both(
            write("list.txt", b"./images/train/train0.jpg\n./images/train/gone.jpg"),
            yaml_with("train: list.txt"),
        ),
        "gone.jpg",
        {"label-missing"},
    ),
    ("image-unreadable", write(IMAGE, b"no picture"), "train0.jpg", ()),
    ("image-unreadable", write(IMAGE), "train0.jpg: empty file", ()),
    ("image-truncated", cut, "train0.jpg", {"image-end"}),
    ("image-end", cut, "train0.jpg", {"image-truncated"}),
    ("image-small", save(TINY), "9x40 px", ()),
    ("image-suffix", save(format="PNG"), "is PNG", ()),
    ("image-turned", turned, "orientation 6", ()),
    (
        "image-depth",
        both(save(DEEP, "images/train/a.png"), copy(LABEL, "labels/train/a.txt")),
        "a.png: I;16",
        (),
    ),
    (
        "stem-shared",
        save(path="images/train/train0.png"),
        "train0.png: shares train0.txt with train0.jpg",
        (),
    ),
    ("labels-none", unlabelled, "labels/train/train0.txt", {"class-untrained"}),
    ("label-missing", lambda root: (root / LABEL).unlink(), "train0.jpg", ()),
    ("label-orphan", move(LABEL, "labels/train/other.txt"), "other.txt", {"label-missing"}),
    ("label-orphan-empty", write("labels/train/other.txt"), "other.txt", ()),
    ("label-case", move(LABEL, "labels/train/train0.TXT"), "train0.TXT", {"label-missing"}),
    ("label-unreadable", write(LABEL, b"\xff\xfe\x00"), "train0.txt: not a text file", ()),
    ("label-row", row("0 0.5 0.5 0.1\n"), "train0.txt:3: 5 fields needed, here are 4", ()),
    ("label-row", row("0 0.5 0.5 0.1 wide\n"), "train0.txt:3: 'wide' is not a number", ()),
    ("label-row", row("0 0.5 0.5 0.1 nan\n"), "train0.txt:3: a number is not finite", ()),
    (
        "label-row",
        row("\n0 0.1 0.1 0.2 0.1 0.2 0.2\n"),
        "train0.txt:1: a box among outlines",
        {"polygons"},
    ),
    (
        "class-range",
        row("2 0.5 0.5 0.1 0.1\n"),
        "train0.txt:3: class 2, but the data has 0 to 1",
        (),
    ),
    ("class-range", row("0.5 0.5 0.5 0.1 0.1\n"), "class 0.5 is not a whole number", ()),
    ("coordinate-range", row("0 50 50 10 10\n"), "are these pixels?", ()),
    ("coordinate-range", row("0 0.5 0.5 -0.1 0.1\n"), "train0.txt:3", ()),
    ("box-degenerate", row("0 0.5 0.5 0 0.1\n"), "train0.txt:3", ()),
    ("box-outside", row("0 0.9 0.5 0.4 0.1\n"), "train0.txt:3: by 6.4 px", ()),
    (
        "box-gone",
        row("0 0 0.5 0 0.1\n0 -0.009 0.5 0.01 0.1\n"),
        "train0.txt:4",
        {"box-degenerate", "box-thin"},
    ),
    ("box-duplicate", row("0 0.5 0.5 0.5 0.5\n"), "train0.txt:3", ()),
    ("box-thin", row("0 0.5 0.5 0.01 0.5\n"), "0.64x24.00 px", ()),
    ("polygons", write(LABEL, b"0 0.1 0.1 0.2 0.1 0.2 0.2\n"), "train0.txt", ()),
    ("background", write(LABEL), "train0.jpg", ()),
    ("class-unseen", yaml_with("names: [car, person, bus]"), "2 bus", ()),
    ("class-untrained", only_class(0, "train"), "1 person: only in val", ()),
    ("class-unmeasured", only_class(0, "val"), "1 person: val", ()),
    ("foreign", write("images/train/film.mp4"), "film.mp4", ()),
    ("side-damaged", write("side/train.jsonl", b"{}"), "train.jsonl:1", ()),
    ("side-partial", side(*ENTRIES[:2]), "train2.jpg", ()),
    (
        "side-mismatch",
        side(*ENTRIES[:2], ENTRIES[2] | {"boxes": [{}]}),
        "1 boxes there, 2 label rows",
        (),
    ),
    (
        "side-mismatch",
        side(*ENTRIES[:2], ENTRIES[2] | {"width": 48}),
        "48x48 there, the picture is 64x48",
        (),
    ),
]


def yaml_without(key: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        lines = (root / "data.yaml").read_text().splitlines()
        kept = [line for line in lines if not line.startswith(f"{key}:")]
        (root / "data.yaml").write_text("\n".join(kept))

    return spoil


def latin(root: Path) -> None:
    text = (root / "data.yaml").read_bytes()
    (root / "data.yaml").write_bytes("# Möwen\n".encode("latin-1") + text)


def listed(line: bytes) -> Callable[[Path], None]:
    """Make train a list of its pictures, with a line before."""
    names = [f"./images/train/train{i}.jpg".encode() for i in range(3)]
    text = b"\n".join([line, *names])
    return both(write("list.txt", text), yaml_with("train: list.txt"))


def pipe(path: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        (root / path).unlink()
        os.mkfifo(root / path)

    return spoil


def png(depth: int, rows: bytes) -> bytes:
    """A PNG of 64x48 px in colours, of `depth` bits a channel."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        total = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", total)

    head = struct.pack(">IIBBBBB", 64, 48, depth, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_of_16_bits() -> bytes:
    return png(16, (b"\0" + b"\x80\x01" * 64 * 3) * 48)


def bad_sum(root: Path) -> None:
    """A PNG whose pixels have another check sum than they say."""
    data = bytearray(png(8, (b"\0" + b"\x80" * 64 * 3) * 48))
    data[-16] ^= 1
    (root / "images/train/train0.png").write_bytes(data)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
SIDE_HEADER = b'{"format": "scsa-yolo side 1"}'
STEMS = {"stem-shared"}


@pytest.mark.parametrize(
    ("code", "spoil", "place", "others"), CASES, ids=[f"{case[0]}-{case[2]}" for case in CASES]
)
def test_finds_what_is_wrong(
    data: Path, code: str, spoil: Callable[[Path], None], place: str, others: set[str]
) -> None:
    spoil(data.parent)
    findings = found(data, pixels=True)[1]
    assert findings.codes() == {code, *others}
    (finding,) = (finding for finding in findings.all() if finding.code == code)
    assert place in finding.where[0]


MORE = [
    ("yaml-refused", yaml_without("val"), "no 'val:'", ()),
    ("yaml-refused", yaml_without("train"), "no 'train:'", ()),
    ("yaml-refused", yaml_with("path: 7"), "'path' must be text, not 7", {"split-missing"}),
    ("yaml-refused", yaml_with("kpt_shape: 17"), "'kpt_shape' must be a list, not 17", ()),
    ("yaml-odd", latin, "bytes that are not UTF-8", ()),
    (
        "split-missing",
        yaml_with("train: [../images/train]"),
        "images/train: split 'train'",
        (),
    ),
    ("list-line", listed(b"./images/train/train0.jpg  "), "has blanks at its end", ()),
    ("list-line", listed(b"# pictures"), "list.txt:1: '# pictures' does not end in", ()),
    ("list-twice", listed(b"./images/train/train0.jpg"), "train0.jpg: in train", ()),
    (
        "list-relative",
        listed(b"images/train/train0.jpg"),
        "list.txt:1",
        {"image-missing", "label-missing"},
    ),
    ("image-format", save(format="GIF"), "GIF: Ultralytics refuses this format", ()),
    ("image-format", save(format="PPM"), "PPM: Ultralytics refuses this format", ()),
    ("image-format", write(IMAGE, HEIC), "HEIC: this format needs pi-heif", ()),
    ("image-depth", write("images/train/train0.png", png_of_16_bits()), "RGB with 16 bits", STEMS),
    ("image-unreadable", bad_sum, "train0.png: ", STEMS),
    ("image-unreadable", pipe(IMAGE), "train0.jpg: not a regular file", ()),
    ("label-unreadable", pipe(LABEL), "train0.txt: not a regular file", ()),
    ("image-foreign", write("images/train/a.jfif"), "a.jfif", ()),
    ("image-foreign", write("images/train/a.GIF"), "a.GIF", ()),
    ("side-lost", write("conversion.json", b'{"splits": {"val": {}}}'), "val.jsonl", ()),
    ("side-unread", write("side/gone.jsonl", SIDE_HEADER), "gone.jsonl", ()),
    (
        "side-orphan",
        side(*ENTRIES, ENTRIES[0] | {"image": "images/train/gone.jpg"}),
        "train.jsonl: images/train/gone.jpg",
        (),
    ),
]


@pytest.mark.parametrize(
    ("code", "spoil", "place", "others"),
    MORE,
    ids=[f"{case[0]}-{case[2]}" for case in MORE],
)
def test_finds_what_ultralytics_would_not_say(
    data: Path, code: str, spoil: Callable[[Path], None], place: str, others: set[str]
) -> None:
    spoil(data.parent)
    test = [finding for finding in found(data)[1].all() if finding.code == code]
    assert place in test[0].where[0]
    assert found(data)[1].codes() == {code, *others}


@pytest.mark.parametrize("orientation", [0, 1, 9, 65537])
def test_a_tag_that_means_no_turn(data: Path, orientation: int) -> None:
    tag = struct.pack(">HHII", 274, 4, 1, orientation)  # as a long number: 65537 fits no short one
    head = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1)
    save(exif=head + tag + b"\0\0\0\0")(data.parent)
    with Image.open(data.parent / IMAGE) as picture:
        assert picture.getexif()[274] == orientation
    assert found(data)[1].codes() == set()


def test_every_rule_has_a_case() -> None:
    assert {case[0] for case in [*CASES, *MORE]} == set(RULES) == set(ADVICE)
    assert {level for level, _ in RULES.values()} == set(LEVELS)


def test_headers_do_not_show_a_cut(data: Path) -> None:
    move(IMAGE, "images/train/old")(data.parent)
    path = data.parent / "images/train/train0.bmp"
    save(Image.effect_noise((64, 48), 50), "images/train/train0.bmp")(data.parent)
    (data.parent / "images/train/old").unlink()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert found(data)[1].codes() == set()
    assert found(data, pixels=True)[1].codes() == {"image-truncated"}


def test_a_complete_side_file_is_silent(data: Path) -> None:
    side(*ENTRIES)(data.parent)
    assert found(data)[1].codes() == set()


def test_shares_by_size(data: Path) -> None:
    train = found(data)[0]["train"]  # boxes of 32x24 and 16x12 px
    assert train.shares() == (1, 0, 0)
    assert train.shares(imgsz=128) == (0.5, 0.5, 0)  # of 64x48 and 32x24 px
    assert train.shares(imgsz=640) == (0, 0, 1)


def test_one_split_only(data: Path) -> None:
    (data.parent / "labels/val/val0.txt").write_text("7 0.5 0.5 0.5 0.5")
    assert found(data, splits=["train"])[1].codes() == set()
    with pytest.raises(DataSetError, match="no split 'test'; it has train, val"):
        found(data, splits=["test"])


def test_suffixes_in_upper_case_are_read(data: Path) -> None:
    move(IMAGE, "images/train/train0.JPG")(data.parent)
    assert found(data)[1].codes() == set()


def run(*args: object) -> int:
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    return check.run(parser.parse_args([str(arg) for arg in args]))


def test_command(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data) == 0
    assert "0 errors, 0 warnings, 0 notes" in capsys.readouterr().out
    row("9 0.5 0.5 0.1 0.1\n" * 8)(data.parent)
    assert (
        run(data, "--json", tmp_path / "found.json", "--plots", tmp_path / "plots", "--show", 2)
        == 1
    )
    out = capsys.readouterr().out
    assert "error: class-range: 8 x" in out
    assert "... and 6 more" in out
    assert max(map(len, out.replace(str(tmp_path), "").splitlines())) <= 120
    written = json.loads((tmp_path / "found.json").read_text())
    assert written["errors"] == 8
    assert written["splits"]["train"]["classes"] == {"car": 3, "person": 3}
    assert len(written["findings"][0]["where"]) == 8
    plots = {path.name for path in (tmp_path / "plots").iterdir()}
    assert plots == {"train-samples.png", "val-samples.png", "histograms.png"}
    assert run(data, "--json", tmp_path / "found.json") == 2
    assert run(data, "--plots", tmp_path / "plots") == 2


def test_histograms_say_what_to_install(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run(data, "--plots", tmp_path / "plots") == 2
    assert 'pip install "scsa-yolo[evaluation]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such data YAML"),
        (b"train: [", "no valid YAML"),
        (b"\xff\xfe", "not a text file"),
        (b"[1, 2]", "no data YAML"),
        (b"names: [a]", "names no split"),
        (b"train: a\nval: b", "'names' must list the classes"),
        (b"train: a\nval: b\nnames: {0: a, 2: b}", "numbered from 0 to 1 without gaps"),
        (b"train: a\nval: b\nnames: {a: b}", "must be numbers"),
        (b"train: a\nval: b\nnc: 3\nnames: [a]", "'nc' is 3, but 'names' has 1"),
        (b"train: {a: b}\nnames: [a]", "'train' must be a path or a list of paths"),
    ],
)
def test_bad_yamls_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, message: str
) -> None:
    yaml = tmp_path / "data.yaml"
    if content is not None:
        yaml.write_bytes(content)
    assert run(yaml) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1
    assert str(yaml) in error


def test_a_file_name_that_is_not_utf_8(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = data.parent / "images/train" / os.fsdecode(b"caf\xe9.jpg")
    image.write_bytes(b"no picture")
    assert run(data, "--json", tmp_path / "found.json", "--plots", tmp_path / "plots") == 1
    assert "caf\\udce9.jpg" in capsys.readouterr().out
    assert "caf\\\\udce9.jpg" in (tmp_path / "found.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--json", "gone/found.json"), "there is no folder"),
        (("--plots", "file/plots"), "cannot write into"),
        (("--plots", "full"), "histograms.png is there already"),
        (("--imgsz", "0"), "--imgsz must be at least 1"),
        (("--workers", "0"), "--workers must be at least 1"),
    ],
)
def test_places_are_looked_at_before_any_picture(
    data: Path,
    yolo_home: object,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: tuple[str, str],
    message: str,
) -> None:
    Path("file").touch()
    Path("full").mkdir()
    Path("full/histograms.png").touch()
    monkeypatch.setattr(scan, "check_data", lambda *_: pytest.fail("checked"))
    assert run(data, *args) == 2
    assert message in capsys.readouterr().err


def test_json_alone_on_the_standard_output(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["errors"] == 0
    assert "0 errors" in captured.err


def test_each_finding_says_what_to_do(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row("9 0.5 0.5 0.1 0.1\n")(data.parent)
    assert run(data) == 1
    assert f"to do: {ADVICE['class-range']}" in capsys.readouterr().out


def test_documentation_lists_the_rules() -> None:
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
    for code, (level, meaning) in RULES.items():
        assert f"| `{code}` | {level} | {meaning} | {ADVICE[code]} |" in text
