"""What Ultralytics' own loader refuses or leaves out, the check finds; what it takes passes."""

from __future__ import annotations

import importlib.util
import io
import struct
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import ultralytics
from PIL import Image

from scsa_yolo.datasets.check.image import inspect
from scsa_yolo.datasets.layout.dataset import DataSetError, load_layout

TOOL = Path(__file__).parents[2] / "tools" / "fuzz_labels.py"
LOADER = ("image-unreadable", "image-format", "image-small", "image-missing", "image-truncated")

pytestmark = pytest.mark.skipif(
    tuple(map(int, ultralytics.__version__.split(".")[:3])) < (8, 4, 190),
    reason="read by the newest rules; earlier versions take some of what is refused today",
)


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    """The fuzzer of tools/, as a module."""
    spec = importlib.util.spec_from_file_location("fuzz_labels", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_labels"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["label", "yaml", "list", "side"])
def test_corrupted_files(fuzz: ModuleType, kind: str) -> None:
    """A short form of tools/fuzz_labels.py: the same seed and cases every time."""
    told: list[str] = []
    assert fuzz.run((kind,), range(60), seed=1, say=told.append) == 0, "\n".join(told)


def test_the_fuzzer_notices(fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that finds nothing, or too much, does not pass the fuzzer."""
    told: list[str] = []
    monkeypatch.setattr(fuzz, "LOADER", set())
    monkeypatch.setattr(fuzz, "check_data", lambda *_, **__: ({}, fuzz_findings()))
    assert fuzz.run(("label", "yaml"), range(30), seed=1, say=told.append) > 5


def fuzz_findings() -> Any:
    from scsa_yolo.datasets.check.rules import Findings

    return Findings()


@pytest.fixture
def folder(fuzz: ModuleType, tmp_path: Path) -> Iterator[Path]:
    with fuzz.quiet():
        fuzz.make(tmp_path)
        yield tmp_path


TAKEN = [
    "train: images/train\nval: images/val\nnames: [a, b]",
    "train: images/train\nvalidation: images/val\nnames: [a, b]",
    "train: [images/train]\nval: [images/val]\nnames: {0: a, 1: b}",
    "train: ../images/train\nval: ../images/val\nnames: [a, b]",
    "train: images/train\nval: images/val\nnc: 2",
    "train: images/train\nval: images/val\nnc: '2'",
    "train: images/train\nval: images/val\nnc: 2.0\nnames: [a, b]",
    "train: images/train\nval: images/val\nnames: {'0': a, '1': b}",
    "train: images/train\nval: images/val\ntest: None\nnames: [a, b]",
    "train: train.txt\nval: images/val\nnames: [a, b]",
    "train: images/train\nval: images/val\nnames: [yes, 2]",
    "path:\ntrain: images/train\nval: images/val\nnames: [a, b]",
]
REFUSED = [
    "train: images/train\nnames: [a, b]",
    "val: images/val\nnames: [a, b]",
    "train: images/train\nval:\nnames: [a, b]",
    "train: images/train\nval: images/none\nnames: [a, b]",
    "train: images/none\nval: images/val\nnames: [a, b]",
    "train: [../images/train]\nval: images/val\nnames: [a, b]",
    "train: images/train\nval: images/val/c.png\nnames: [a, b]",
    "train: images/train\nval: images/val\nnames: [a]\nnc: 2",
    "train: images/train\nval: images/val\nnames: ab",
    "train: images/train\nval: images/val\nnames: []",
    "train: images/train\nval: images/val\nnames: {0: a, 2: b}",
    "train: images/train\nval: images/val\nnc: 1.5",
    "train: images/train\nval: images/val\nnc: two",
    "train: images/train\nval: images/val",
    "train: {a: b}\nval: images/val\nnames: [a, b]",
    "path: 3\ntrain: images/train\nval: images/val\nnames: [a, b]",
    "path: ~/nowhere\ntrain: images/train\nval: images/val\nnames: [a, b]",
    "train: images/train\nval: images/val\nnames: [a, b]\nkpt_shape: 17",
    "train: labels/train\nval: images/val\nnames: [a, b]",
    "train: bad.txt\nval: images/val\nnames: [a, b]",
    "train: images/train\nval: images/val\nnames: [a, b",
    "",
]


@pytest.mark.parametrize("text", [*TAKEN, *REFUSED])
def test_yamls(fuzz: ModuleType, folder: Path, text: str) -> None:
    (folder / "train.txt").write_text("./images/train/a.png\n./images/train/b.png\n")
    (folder / "bad.txt").write_text("./images/train/a.png.\n./images/train/b.png  \n#")
    (folder / "data.yaml").write_text(text)
    stock = fuzz.stock_reading(folder / "data.yaml")
    assert (stock is None) == (text in REFUSED)
    fuzz.compare(folder / "data.yaml")


def test_a_yaml_of_another_suffix(fuzz: ModuleType, folder: Path) -> None:
    (folder / "data.txt").write_text(TAKEN[0])
    assert fuzz.stock_reading(folder / "data.txt") is None
    fuzz.compare(folder / "data.txt")


def test_gaps_in_the_numbers_of_classes_are_refused_here_in_every_case(tmp_path: Path) -> None:
    """Ultralytics looks at the largest number alone, and then has no name for class 1."""
    (tmp_path / "data.yaml").write_text("train: a\nval: b\nnames: {-1: a, 0: b}")
    with pytest.raises(DataSetError, match="numbered from 0 to 1"):
        load_layout(tmp_path / "data.yaml")


def encoded(kind: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **how: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(pixels)
    deep = {"I;16": np.uint16, "F": np.float32}
    if mode in deep:
        image = Image.fromarray(pixels[..., 0].astype(deep[mode]))
    elif mode != "RGB":
        image = image.convert(mode)
    target = io.BytesIO()
    image.save(target, format=kind, **how)
    return target.getvalue()


def orientation(value: int) -> bytes:
    tag = struct.pack(">HHII", 274, 4, 1, value)
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + tag + b"\0\0\0\0"


def tiff_tag(value: int) -> Any:
    exif = Image.Exif()
    exif[274] = value
    return exif


PICTURES: dict[str, tuple[str, bytes]] = {
    **{
        f"{kind} as {suffix}": (suffix, encoded(kind))
        for kind in ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "TGA", "JPEG2000", "ICO")
        for suffix in ("jpg", "png")
    },
    **{f"{mode} PNG": ("png", encoded("PNG", mode=mode)) for mode in ("1", "L", "P", "RGBA", "LA")},
    "CMYK JPEG": ("jpg", encoded("JPEG", mode="CMYK")),
    "16 bits": ("png", encoded("PNG", mode="I;16")),
    "floats": ("tif", encoded("TIFF", mode="F")),
    **{
        f"{wide}x{high}": ("png", encoded("PNG", (wide, high)))
        for wide, high in ((9, 40), (10, 10), (40, 9), (10, 9))
    },
    **{
        f"JPEG turned {value}": ("jpg", encoded("JPEG", exif=orientation(value)))
        for value in (0, 1, 2, 3, 5, 6, 8, 9, 65537, 65542)
    },
    **{
        f"{kind} turned {value}": (suffix, encoded(kind, exif=tiff_tag(value)))
        for kind, suffix in (("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif"))
        for value in (1, 3, 6)
    },
    **{
        f"{kind} cut at {share} %": (suffix, encoded(kind)[: len(encoded(kind)) * share // 100])
        for kind, suffix in (("JPEG", "jpg"), ("PNG", "png"), ("BMP", "bmp"), ("WEBP", "webp"))
        for share in (0, 1, 50, 97)
    },
    "text": ("jpg", b"no picture"),
    "page of the web": ("jpg", b"<!DOCTYPE html><html></html>"),
    "sum of a PNG": ("png", encoded("PNG")[:-14] + b"\0\0" + encoded("PNG")[-12:]),
    "PNG with more behind": ("png", encoded("PNG") + b"more"),
    "JPEG with more behind": ("jpg", encoded("JPEG") + b"more"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(tmp_path: Path, name: str) -> None:
    from ultralytics.data.utils import verify_image_label

    suffix, data = PICTURES[name]
    image, label = tmp_path / f"a.{suffix}", tmp_path / "a.txt"
    label.write_text("0 0.5 0.5 0.5 0.5")
    image.write_bytes(data)
    ours = inspect(image, label, 1, pixels=False)
    image.write_bytes(data)  # Ultralytics writes some anew
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, rows, shape, *_ = verify_image_label((str(image), str(label), "", False, 1, 0, 0, False))
    refused = sorted({code for code, _, _ in ours.found} & set(LOADER))
    if rows is None:
        assert refused
    else:
        assert not refused
        assert (ours.height, ours.width) == tuple(shape)
