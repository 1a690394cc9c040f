"""Which side file is read, what it must fit, and that COCO's numbers come out with it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from scsa_yolo.datasets.check.scan import check_data
from scsa_yolo.datasets.convert.conversion import convert_dataset
from scsa_yolo.datasets.layout.dataset import DataSetError, load_layout
from scsa_yolo.datasets.layout.side import SideFiles, SideLost, read_sides, side_place
from scsa_yolo.datasets.show.draw import draw_sheet
from scsa_yolo.evaluation import EvaluationError, evaluator
from scsa_yolo.evaluation.boxes import Detections
from scsa_yolo.evaluation.coco_rules import CocoTable
from scsa_yolo.evaluation.evaluator import _side_notes
from scsa_yolo.evaluation.ground_truth import read_ground_truth
from scsa_yolo.evaluation.measure import ignored_counts

pytest.importorskip("faster_coco_eval")

SIZE = (320, 240)  # width, height
CATEGORIES = (1, 18, 90)


def draw_coco(root: Path, split: str, pictures: int, seed: int) -> dict[str, Any]:
    """Draw pictures, boxes of all sizes with areas of segments, and crowds, as COCO has them."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    (root / "images" / split).mkdir(parents=True)
    for number in range(pictures):
        image = 1000 * seed + number
        pixels = rng.integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / split / f"{image:012}.jpg")
        images.append(
            {
                "id": image,
                "file_name": f"{image:012}.jpg",
                "width": SIZE[0],
                "height": SIZE[1],
            }
        )
        for _ in range(8):
            side = rng.choice([14, 50, 120]) * rng.uniform(0.8, 1.2, 2)
            corner = rng.uniform(0, 1, 2) * (np.array(SIZE) - side)
            crowd = int(rng.random() < 0.25)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(rng.choice(CATEGORIES)),
                    "bbox": [*corner.tolist(), *side.tolist()],
                    "area": float(side.prod() * rng.uniform(0.3, 1.0)),
                    "iscrowd": crowd,
                    "segmentation": [],
                }
            )
    categories = [{"id": c, "name": f"name{c}"} for c in CATEGORIES]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return content


def detect(content: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """Find boxes and parts of crowds, shaken, and some that are not there."""
    rng = np.random.default_rng(seed)
    results = []
    for box in content["annotations"]:
        for _ in range(3 if box["iscrowd"] else 1):
            left, top, wide, high = box["bbox"]
            shrink = rng.uniform(0.4, 0.9) if box["iscrowd"] else rng.uniform(0.8, 1.1)
            shift = rng.normal(0, 0.08, 2) * (wide, high)
            at = [left + shift[0], top + shift[1], wide * shrink, high * shrink]
            kind = box["category_id"] if rng.random() < 0.9 else int(rng.choice(CATEGORIES))
            score = float(rng.random())
            entry = {"image_id": box["image_id"], "category_id": kind, "bbox": at}
            results.append({**entry, "score": score})
    return results


def stock_numbers(content: dict[str, Any], results: list[dict[str, Any]]) -> list[float]:
    """COCO's nine numbers on the native annotations, by faster-coco-eval itself."""
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(content)
    run = COCOeval_faster(
        truth, truth.loadRes(results), iouType="bbox", print_function=lambda *_: None
    )
    run.evaluate()
    run.accumulate()
    run.summarize()
    return [float(value) for value in run.stats[:9]]


def our_numbers(data: Path, split: str, results: list[dict[str, Any]]) -> list[float]:
    """The same nine by our own way: label files, side files, table."""
    ground = read_ground_truth(load_layout(data), split)
    truths = ground.truths(dict.fromkeys(ground.labels, SIZE))
    kinds = {category: number for number, category in enumerate(CATEGORIES)}
    pairs = []
    for truth in truths:
        mine = [r for r in results if r["image_id"] == int(Path(truth.image).stem)]
        xywh = np.array([r["bbox"] for r in mine]).reshape(-1, 4)
        corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        scores = np.array([r["score"] for r in mine])
        classes = np.array([kinds[r["category_id"]] for r in mine], int)
        pairs.append((truth, Detections.sorted(corners, scores, classes)))
    overall = CocoTable(pairs, len(CATEGORIES)).score()[0]
    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar_1", "ar_10", "ar_100")
    return [getattr(overall, name) for name in names]


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("native")
    draw_coco(root, "train2017", 4, seed=1)
    return root, draw_coco(root, "val2017", 32, seed=2)


@pytest.fixture
def converted(native: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A set as the converter leaves it: images/val2017 and side/val2017.jsonl."""
    convert_dataset("coco", native[0], tmp_path / "set")
    return tmp_path / "set"


def write_yaml(file: Path, **keys: Any) -> Path:
    names = [f"name{c}" for c in CATEGORIES]
    given = {"train": "images/train2017", "val": "images/val2017", "names": names}
    file.write_text(yaml.safe_dump(given | keys))
    return file


def crowds(data: Path, split: str = "val") -> int:
    ground = read_ground_truth(load_layout(data), split)
    truths = ground.truths(dict.fromkeys(ground.labels, SIZE))
    return ignored_counts(truths).get("crowd", 0)


def codes(data: Path, **options: Any) -> set[str]:
    return check_data(load_layout(data), **options)[1].codes()


def own_yaml(root: Path) -> Path:
    return root / "data.yaml"


def as_packaged(root: Path) -> Path:
    return write_yaml(root.parent / "COCO-like.yaml", path=str(root))


def from_another_folder(root: Path) -> Path:
    place = root.parent / "elsewhere"
    place.mkdir()
    return write_yaml(
        place / "mine.yaml",
        train=str(root / "images/train2017"),
        val=str(root / "images/val2017"),
    )


def as_a_list(root: Path) -> Path:
    names = sorted(os.listdir(root / "images/val2017"))
    (root / "val.txt").write_text("".join(f"./images/val2017/{name}\n" for name in names))
    return write_yaml(root / "listed.yaml", val="val.txt")


def as_a_list_elsewhere(root: Path) -> Path:
    names = sorted(os.listdir(root / "images/val2017"))
    lines = "".join(f"{root}/images/val2017/{name}\n" for name in names)
    (root.parent / "val.txt").write_text(lines)
    return write_yaml(root.parent / "listed.yaml", path=str(root), val=str(root.parent / "val.txt"))


@pytest.mark.parametrize(
    "make", [own_yaml, as_packaged, from_another_folder, as_a_list, as_a_list_elsewhere]
)
def test_the_nine_numbers_are_those_of_the_native_annotations(
    native: tuple[Path, dict[str, Any]], converted: Path, make: Callable[[Path], Path]
) -> None:
    results = detect(native[1], seed=3)
    expected = stock_numbers(native[1], results)
    assert our_numbers(make(converted), "val", results) == pytest.approx(expected, abs=1e-9)


def test_without_the_crowds_the_numbers_are_others(
    native: tuple[Path, dict[str, Any]], converted: Path
) -> None:
    """The test above could not fail if crowds did not matter here."""
    results = detect(native[1], seed=3)
    (converted / "conversion.json").unlink()
    shutil.rmtree(converted / "side")
    ours = our_numbers(own_yaml(converted), "val", results)
    expected = stock_numbers(native[1], results)
    assert abs(ours[0] - expected[0]) > 0.01


def test_all_folders_of_a_split_have_their_side_files_read(converted: Path) -> None:
    one = {split: crowds(own_yaml(converted), split) for split in ("train", "val")}
    assert min(one.values()) > 0
    both = write_yaml(converted / "both.yaml", val=["images/val2017", "images/train2017"])
    assert crowds(both) == sum(one.values())
    whole = write_yaml(converted / "whole.yaml", val="images")
    assert crowds(whole) == sum(one.values())


def test_a_folder_of_the_splits_own_name(converted: Path) -> None:
    for kind in ("images", "labels"):
        (converted / kind / "val2017").rename(converted / kind / "val")
    text = (converted / "side/val2017.jsonl").read_text().replace("val2017", "val")
    (converted / "side/val2017.jsonl").unlink()
    (converted / "side/val.jsonl").write_text(text)
    assert crowds(write_yaml(converted / "data.yaml", val="images/val")) > 0


def test_a_split_of_another_name_does_not_take_its_namesakes_side_file(converted: Path) -> None:
    """The pictures of images/val2017 with the split's name train: train.jsonl is nobody's."""
    (converted / "side/train.jsonl").write_text((converted / "side/train2017.jsonl").read_text())
    data = write_yaml(converted / "data.yaml", train="images/val2017", val="images/train2017")
    layout = load_layout(data)
    files = read_sides(layout, "train", layout.images("train")).files
    assert [file.path.name for file in files] == ["val2017.jsonl"]
    assert "side-unread" in codes(data)


@pytest.mark.parametrize("report", ["whole", "damaged", "nothing of splits"])
def test_a_converted_set_without_its_side_file_is_an_error(converted: Path, report: str) -> None:
    (converted / "side/val2017.jsonl").unlink()
    if report == "damaged":
        (converted / "conversion.json").write_text("{")
    if report == "nothing of splits":
        (converted / "conversion.json").write_text("{}")
    layout = load_layout(own_yaml(converted))
    with pytest.raises(SideLost, match=r"val2017\.jsonl: the side file is gone.* --force"):
        read_ground_truth(layout, "val")
    assert "side-lost" in codes(own_yaml(converted))
    with pytest.raises(DataSetError, match="is gone"):
        draw_sheet(layout, "val", layout.images("val")[:1])
    assert read_ground_truth(layout, "train").side


def test_a_set_of_other_origin_and_a_folder_added_later_need_none(converted: Path) -> None:
    for kind in ("images", "labels"):
        (converted / kind / "val2017").rename(converted / kind / "added")
    data = write_yaml(converted / "data.yaml", val="images/added")
    assert not read_ground_truth(load_layout(data), "val").side
    assert not {"side-lost", "side-damaged"} & codes(data, splits=["val"])


def change(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


def without_line(number: int) -> Callable[[str], str]:
    def drop(text: str) -> str:
        lines = text.splitlines(keepends=True)
        return "".join(lines[:number] + lines[number + 1 :])

    return drop


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change('"split": "val2017"', '"split": "train2017"'), "made for images/train2017"),
        (change("images/val2017/", "images/train2017/"), "a line of images/train2017/"),
        (change("scsa-yolo side 1", "scsa-yolo side 9"), "no header"),
        (without_line(3), "it has 31 pictures, but conversion.json says 32"),
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: text + text, "no 'image'"),
        (lambda text: text + text.splitlines()[1], "is there twice"),
        (lambda text: "", "no header"),
        (change('"reason": "crowd"', '"reasons": "crowd"'), "no 'reason'"),
        (change('"0": "name1"', '"0": "name90"'), "class 'name90' is 0 there and 2"),
        (change('"width": 320', '"width": "wide"'), "'width' must be a number of pixels"),
        (change('"width": 320', '"width": Infinity'), "'width' must be a number of pixels"),
        (change('"area":', '"area": "x", "b":'), "'area' of a box must be a number"),
        (change('"xyxy": [', '"xyxy": [1e308, '), "'xyxy' must be four numbers"),
        (change('"ignore": [', '"ignore": [7, '), "a box to ignore must be an object"),
        (change('"boxes": [', '"boxes": [7, '), "flags of a box must be an object"),
    ],
)
def test_a_damaged_side_file_is_found_by_evaluation_and_check(
    converted: Path, damage: Callable[[str], str], message: str
) -> None:
    path = converted / "side/val2017.jsonl"
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    with pytest.raises(DataSetError, match=message) as error:
        read_ground_truth(load_layout(own_yaml(converted)), "val")
    assert str(path) in str(error.value)
    assert "side-damaged" in codes(own_yaml(converted))


def test_a_damaged_side_file_of_a_folder_that_no_split_names(converted: Path) -> None:
    data = write_yaml(converted / "data.yaml", val="images/train2017")
    assert "side-damaged" not in codes(data)
    (converted / "side/val2017.jsonl").write_text("{")
    assert "side-damaged" in codes(data)


def test_a_pipe_in_the_place_of_a_side_file(converted: Path) -> None:
    path = converted / "side/val2017.jsonl"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataSetError, match="not a regular file"):
        read_ground_truth(load_layout(own_yaml(converted)), "val")


def test_a_line_without_its_picture(converted: Path) -> None:
    image = sorted((converted / "images/val2017").iterdir())[0]
    image.unlink()
    assert "side-orphan" in codes(own_yaml(converted))


def test_what_the_evaluation_says_of_side_files(converted: Path) -> None:
    ground = read_ground_truth(load_layout(own_yaml(converted)), "val")
    truths = ground.truths(dict.fromkeys(ground.labels, SIZE))
    count = ignored_counts(truths)["crowd"]
    assert list(_side_notes(ground, truths)) == [
        f"side file side/val2017.jsonl; boxes to ignore: {count} crowd (COCO's iscrowd)"
    ]
    label = next((converted / "labels/val2017").iterdir())
    label.write_text(label.read_text() + "0 0.5 0.5 0.123 0.25\n")
    ground = read_ground_truth(load_layout(own_yaml(converted)), "val")
    notes = list(_side_notes(ground, ground.truths(dict.fromkeys(ground.labels, SIZE))))
    assert "other in number than the label rows of 1 picture," in notes[1]


def test_nothing_is_said_to_be_ignored_without_a_side_file(tiny_data: Path) -> None:
    ground = read_ground_truth(load_layout(tiny_data), "val")
    truths = ground.truths(dict.fromkeys(ground.labels, (64, 64)))
    assert list(_side_notes(ground, truths)) == [
        "no side file belongs to these pictures, so no box was ignored"
    ]


def test_every_side_file_is_part_of_the_fingerprint(converted: Path) -> None:
    data = write_yaml(converted / "both.yaml", val=["images/val2017", "images/train2017"])
    prints = {read_ground_truth(load_layout(data), "val").fingerprint}
    for name in ("val2017", "train2017"):
        path = converted / "side" / f"{name}.jsonl"
        path.write_text(path.read_text().replace('"crowd"', '"CROWD"', 1))
        prints.add(read_ground_truth(load_layout(data), "val").fingerprint)
    assert len(prints) == 3


@pytest.mark.parametrize(
    ("image", "place"),
    [
        ("/a/images/val2017/0.jpg", "/a/side/val2017.jsonl"),
        ("/a/images/val2017/deep/0.jpg", "/a/side/val2017.jsonl"),
        ("/images/a/images/b/0.jpg", "/images/a/side/b.jsonl"),
        ("/a/images/0.jpg", None),
        ("/a/pictures/val/0.jpg", None),
    ],
)
def test_places(image: str, place: str | None) -> None:
    assert side_place(Path(image)) == (Path(place) if place else None)


def test_a_side_file_of_a_set_that_lies_otherwise(tiny_data: Path) -> None:
    """Pictures without /images/ in their path: side/<split>.jsonl is theirs, if it names them."""
    root = tiny_data.parent
    (root / "images").rename(root / "pictures")
    (root / "side").mkdir()
    header = {"format": "scsa-yolo side 1", "dataset": "x", "split": "val", "names": {}}
    line = {"image": "pictures/val/0.png", "conditions": {"light": "Low"}}
    (root / "side/val.jsonl").write_text(f"{json.dumps(header)}\n{json.dumps(line)}\n")
    tiny_data.write_text(tiny_data.read_text().replace("images/", "pictures/"))
    layout = load_layout(tiny_data)
    side = read_sides(layout, "val", layout.images("val"))
    assert side.of(root / "pictures/val/0.png").conditions == {"light": "Low"}
    assert read_sides(layout, "train", layout.images("train")) == SideFiles()


def test_ignored_regions_half_over_a_box_that_has_an_area(
    native: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """--ignore makes regions of a class of boxes; areas follow the boxes that stay."""
    root = tmp_path / "source"
    shutil.copytree(native[0], root)
    path = root / "annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    content["categories"].append({"id": 95, "name": "crowd"})
    first = content["annotations"][0]
    left, top, wide, high = first["bbox"]
    region = [left, top, wide * 0.6, high]
    extra = {**first, "id": 9999, "category_id": 95, "bbox": region, "iscrowd": 0}
    content["annotations"].append(extra)
    path.write_text(json.dumps(content))
    from scsa_yolo.datasets.native.options import Options

    convert_dataset("coco", root, tmp_path / "set", Options(ignore=("crowd",)))
    numbers = our_numbers(tmp_path / "set/data.yaml", "val", detect(content, seed=3)[:-1])
    assert 0 < numbers[0] < 1


def test_a_side_file_for_pictures_of_another_size_is_found_before_the_model_runs(
    converted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = converted / "side/val2017.jsonl"
    path.write_text(path.read_text().replace('"width": 320', '"width": 321', 1))
    monkeypatch.setattr(evaluator, "load_model", lambda _: pytest.fail("a model was loaded"))
    with pytest.raises(EvaluationError, match="is 321x240 there, but the picture is 320x240"):
        evaluator.evaluate("model.pt", own_yaml(converted))


def test_a_picture_on_its_side_may_have_either_size(converted: Path) -> None:
    path = converted / "side/val2017.jsonl"
    path.write_text(
        path.read_text().replace('"width": 320, "height": 240', '"width": 240, "height": 320')
    )
    read_ground_truth(load_layout(own_yaml(converted)), "val").check_sizes()


@pytest.mark.parametrize("what", ["picture", "label", "model"])
def test_a_pipe_is_refused(converted: Path, what: str) -> None:
    """Opening one would wait for ever."""
    pipe = converted / "pipe.pt"
    if what != "model":
        kind, suffix = {"picture": ("images", ".jpg"), "label": ("labels", ".txt")}[what]
        pipe = converted / kind / "val2017" / f"000000002000{suffix}"
        pipe.unlink()
    os.mkfifo(pipe)
    with pytest.raises(EvaluationError, match="not a regular file"):
        evaluator.evaluate(pipe if what == "model" else "model.pt", own_yaml(converted))


def test_a_yaml_that_ultralytics_refuses_is_refused_before_the_model_runs(
    converted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (converted / "data.yaml").write_text("val: images/val2017\nnames: [a, b, c]\n")
    monkeypatch.setattr(evaluator, "load_model", lambda _: pytest.fail("a model was loaded"))
    with pytest.raises(DataSetError, match="no 'train:'"):
        evaluator.evaluate("model.pt", own_yaml(converted))
