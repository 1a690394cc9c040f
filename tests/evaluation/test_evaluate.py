"""A real model, a real validator, real files; only what the network answers is put in its place."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from scsa_yolo import cli
from scsa_yolo.evaluation import Evaluation, EvaluationError, evaluate
from scsa_yolo.evaluation.boxes import Detections, Truth
from scsa_yolo.evaluation.disagreement import disagreements, outside
from scsa_yolo.evaluation.report import format_report, free_folder, write_charts, write_files
from scsa_yolo.evaluation.result import (
    COCO,
    COCO_NOTHING_IGNORED,
    ULTRALYTICS,
    ULTRALYTICS_AGAIN,
    VISDRONE,
    Row,
    Scores,
)

pytest.importorskip("faster_coco_eval")

SIZES = ((90, 64), (64, 100), (128, 128), (61, 47), (200, 90), (96, 96))  # width, height


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Pictures of all shapes with boxes that partly end at the borders, and a side file."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (tmp_path / kind / "val").mkdir(parents=True)
    lines: list[dict[str, Any]] = [
        {"format": "scsa-yolo side 1", "dataset": "visdrone", "split": "val", "names": {}}
    ]
    for i in range(24):
        width, height = SIZES[i % len(SIZES)]
        cv2.imwrite(
            str(tmp_path / f"images/val/{i:02}.png"),
            rng.integers(0, 255, (height, width, 3), dtype=np.uint8),
        )
        low = rng.uniform(-0.1, 0.7, (5, 2))
        corners = np.clip(np.concatenate([low, low + rng.uniform(0.15, 0.5, (5, 2))], 1), 0, 1)
        xywh = np.concatenate(
            [(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1
        )
        rows = [f"{rng.integers(0, 2)} {' '.join(map(repr, row.tolist()))}" for row in xywh]
        (tmp_path / f"labels/val/{i:02}.txt").write_text(
            "\n".join([*rows, rows[0]])
        )  # one row twice
        ignore = [{"class": None, "xyxy": [0, 0, width / 3, height / 3], "reason": "region"}]
        light = ("Low", "Twilight")[i % 2]
        image = {
            "image": f"images/val/{i:02}.png",
            "width": width,
            "height": height,
            "conditions": {"light": light},
        }
        lines.append(image | {"ignore": ignore})
    (tmp_path / "side").mkdir()
    (tmp_path / "side" / "val.jsonl").write_text("\n".join(map(json.dumps, lines)))
    yaml = tmp_path / "scenes.yaml"
    yaml.write_text(
        f"path: {tmp_path}\ntrain: images/val\nval: images/val\nnames: [car, person, bus]\n"
    )
    return yaml


def answer_with_labels(monkeypatch: pytest.MonkeyPatch, base: Any) -> None:
    """Let a validator's network answer with the labels, shaken: the way through letterbox and back
    is the real one.
    """
    rng = np.random.default_rng(1)
    batches: list[dict[str, Any]] = []
    original = base.preprocess

    def preprocess(self: Any, batch: dict[str, Any]) -> dict[str, Any]:
        batches.append(original(self, batch))
        return batches[-1]

    def postprocess(self: Any, preds: Any) -> list[dict[str, torch.Tensor]]:
        answers = []
        for i in range(len(batches[-1]["img"])):
            prepared = self._prepare_batch(i, batches[-1])
            boxes = prepared["bboxes"]
            side = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
            shaken = (
                boxes + torch.tensor(rng.normal(0, 0.05, boxes.shape), dtype=torch.float32) * side
            )
            conf, order = torch.tensor(rng.random(len(boxes)), dtype=torch.float32).sort(
                descending=True
            )
            answers.append(
                {
                    "bboxes": shaken[order],
                    "conf": conf,
                    "cls": prepared["cls"][order],
                    "extra": shaken[:, :0],
                }
            )
        return answers

    monkeypatch.setattr(base, "preprocess", preprocess)
    monkeypatch.setattr(base, "postprocess", postprocess)


@pytest.fixture
def make_model(monkeypatch: pytest.MonkeyPatch, yolo_home: Any) -> Callable[[str], Any]:
    def make(name: str) -> Any:
        from ultralytics import RTDETR, YOLO
        from ultralytics.models.rtdetr import RTDETRValidator
        from ultralytics.models.yolo.detect import DetectionValidator

        rtdetr = name.startswith("rtdetr")
        answer_with_labels(monkeypatch, RTDETRValidator if rtdetr else DetectionValidator)
        if rtdetr:
            monkeypatch.setattr(
                RTDETRValidator, "preprocess", DetectionValidator.preprocess, raising=False
            )
            answer_with_labels(monkeypatch, RTDETRValidator)
        model = (RTDETR if rtdetr else YOLO)(name)
        model.model.names = {0: "car", 1: "person", 2: "bus"}
        return model

    return make


@pytest.mark.parametrize("name", ["yolov8n.yaml", "rtdetr-resnet50.yaml"])
def test_agrees_with_ultralytics_own_run(
    scenes: Path, make_model: Callable[[str], Any], name: str
) -> None:
    result = evaluate(make_model(name), scenes, imgsz=160, batch=5, device="cpu")
    own, again = result.overall(ULTRALYTICS), result.overall(ULTRALYTICS_AGAIN)
    assert 0.3 < own.ap < 0.95
    assert again.ap == pytest.approx(own.ap, abs=0.002)
    assert again.ap50 == pytest.approx(own.ap50, abs=0.002)
    assert result.overall(COCO_NOTHING_IGNORED).ap == pytest.approx(
        own.ap, abs=0.03
    )  # cut at the borders: better
    assert result.overall(COCO) != result.overall(COCO_NOTHING_IGNORED)
    assert result.overall(VISDRONE).ar_500 is not None  # the side file says that it is VisDrone
    assert [row.value for row in result.of("light")] == ["Low", "Twilight"]
    assert sum(row.images for row in result.of("light")) == result.data["images"] == 24
    assert result.data["boxes"] == 24 * 5
    assert result.data["classes"] == ["car", "person"]
    assert result.data["absent_classes"] == ["bus"]
    assert result.data["ignored"] == {"region": 24}
    assert result.data["side_files"] == ["side/val.jsonl"]
    assert "side file side/val.jsonl; boxes to ignore: 24 region" in "\n".join(result.notes)
    assert result.settings["max_det"] == 500
    with pytest.raises(KeyError, match="visdrone"):
        result.overall("voc")


@pytest.fixture
def result(scenes: Path, make_model: Callable[[str], Any]) -> Evaluation:
    return evaluate(make_model("yolov8n.yaml"), scenes, imgsz=96, batch=8, device="cpu")


def test_report(result: Evaluation, tmp_path: Path) -> None:
    text = format_report(result, 120)
    assert max(map(len, text.splitlines())) <= 120
    for part in (
        "COCO's rules",
        "VisDrone's rules",
        "Ultralytics' own",
        "by light",
        "Twilight",
        "split val",
    ):
        assert part in text
    assert "in no mean: bus" in text
    files = write_files(result, tmp_path / "out")
    content = json.loads(files[0].read_text())
    assert content["format"] == "scsa-yolo evaluation 1"
    assert content == json.loads(json.dumps(result.to_dict()))
    with files[1].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.rows)
    assert {row["data_fingerprint"] for row in rows} == {result.data["fingerprint"]}
    assert float(rows[0]["ap"]) == pytest.approx(result.overall().ap, abs=1e-6)
    assert [file.name for file in write_charts(result, tmp_path / "out")] == [
        "by_light.png",
        "by_class.png",
    ]
    with pytest.raises(FileExistsError, match="choose another -o, or add --force"):
        write_files(result, tmp_path / "out")
    assert write_files(result, tmp_path / "out", force=True) == files
    assert free_folder(tmp_path / "out").name == "out-2"


def test_charts_say_what_to_install(
    result: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "scsa-yolo\[evaluation\]"'):
        write_charts(result, tmp_path)


def test_fingerprint_follows_names_and_labels(scenes: Path) -> None:
    from scsa_yolo.datasets.layout.dataset import load_layout
    from scsa_yolo.evaluation.ground_truth import read_ground_truth

    def fingerprint() -> str:
        return read_ground_truth(load_layout(scenes), "val").fingerprint

    first = fingerprint()
    assert fingerprint() == first
    label = scenes.parent / "labels/val/00.txt"
    label.write_text(label.read_text() + "\n0 0.5 0.5 0.1 0.1")
    second = fingerprint()
    (scenes.parent / "images/val/00.png").rename(scenes.parent / "images/val/zz.png")
    assert len({first, second, fingerprint()}) == 3


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory, make_data: Callable[..., Path]
) -> tuple[Path, Path]:
    """An untrained checkpoint as a user has one, and its data."""
    from ultralytics import YOLO

    folder = tmp_path_factory.mktemp("checkpoint")
    data = make_data(folder / "tiny")
    model = YOLO("yolov8n.yaml")
    model.model.names = {0: "bright", 1: "dark"}
    model.save(folder / "model.pt")
    return folder / "model.pt", data


def run_command(*args: str | Path) -> int:
    return cli.main(["evaluate", *map(str, args)])


def test_command(
    trained: tuple[Path, Path], yolo_home: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = trained
    arguments = (model, f"data={data}", "--imgsz", "64", "--device", "cpu", "-o", "out")
    assert run_command(*arguments) == 0
    out, err = capsys.readouterr()
    assert "all pictures" in out
    assert "\r" not in out + err  # no bar where there is no terminal
    assert "it/s" not in out + err
    assert "name is now" not in err
    written = json.loads(Path("out/evaluation.json").read_text())
    assert written["model"]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert {path.name for path in Path("out").iterdir()} == {
        "evaluation.json",
        "evaluation.csv",
        "by_class.png",
    }
    assert not Path("runs").exists()  # Ultralytics' run folder is a temporary one
    assert run_command(*arguments) == 2
    assert "choose another -o, or add --force" in capsys.readouterr().err
    assert run_command(*arguments, "--force", "--quiet", "--no-charts") == 0


def test_json_alone_is_on_the_standard_output(
    trained: tuple[Path, Path], yolo_home: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = trained
    arguments = ("--imgsz", "64", "--device", "cpu")
    assert run_command("--json", model, f"data={data}", *arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["format"] == "scsa-yolo evaluation 1"
    assert not Path("runs").exists()  # only what was asked for is written
    assert run_command(f"data={data}", model, *arguments, "--json", "out.json") == 0
    out, err = capsys.readouterr()
    assert "all pictures" in out
    assert "wrote out.json" in err
    assert json.loads(Path("out.json").read_text())["rows"] == printed["rows"]
    assert run_command(model, f"data={data}", *arguments, "--json", "out.json") == 2
    assert "'out.json' is there already" in capsys.readouterr().err


def test_old_spellings_work_and_name_the_new(
    trained: tuple[Path, Path], yolo_home: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*trained, "--imgsz", "64", "--device", "cpu", "--no-charts", "--out", "old")
    assert run_command(*arguments) == 0
    err = capsys.readouterr().err
    assert "--out still works; its name is now -o" in err
    assert f"its name is now data={trained[1]}" in err
    assert Path("old/evaluation.json").exists()


@pytest.mark.parametrize("verbose", [True, False])
def test_verbose_is_taken(trained: tuple[Path, Path], yolo_home: Any, verbose: bool) -> None:
    import logging

    level = logging.getLogger("ultralytics").level
    result = evaluate(*trained, imgsz=64, device="cpu", verbose=verbose, threads=1, rect=False)
    assert result.settings["rect"] is False
    assert logging.getLogger("ultralytics").level == level
    assert torch.get_num_threads() == 1


def test_a_run_names_the_model_and_a_folder_the_data(
    make_data: Callable[..., Path], yolo_home: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from ultralytics import YOLO

    data = make_data(Path("blood").resolve()).rename("blood/data.yaml")
    weights = Path("runs/detect/train3/weights")
    weights.mkdir(parents=True)
    (weights.parent / "args.yaml").write_text("model: mine.yaml\n")
    model = YOLO("yolov8n-scsa.yaml")
    model.model.names = {0: "bright", 1: "dark"}
    model.save(weights / "best.pt")
    assert run_command(weights / "best.pt", f"data={data}", "--imgsz", "64", "--no-charts") == 0
    assert "model   train3 (mine, SCSA)" in capsys.readouterr().out
    (folder,) = Path("runs/evaluate").iterdir()
    assert folder.name == "train3-mine-SCSA-blood-val"
    written = json.loads((folder / "evaluation.json").read_text())
    assert written["model"]["attention"] == {"SCSA": 10}
    assert written["data"]["name"] == "blood"


def hand_made(*rows: Row, **changed: Any) -> Evaluation:
    """Return a result without a model."""
    model = {"name": "<b>train</b>", "path": None, "sha256": None, "attention": {}}
    data = {"name": "=set", "yaml": "x.yaml", "split": "val", "sources": [], "fingerprint": "f"}
    data |= {"images": 1, "boxes": 2, "classes": [], "absent_classes": [], "ignored": {}}
    return Evaluation(model, data, {}, {}, tuple(rows), **changed)


def row(rules: str, group: str = "all", value: str = "", **scores: float) -> Row:
    return Row(rules, group, value, 1, 2, 1, Scores(**scores))


BOTH = hand_made(
    row(COCO, ap=0.5, ap50=0.75),
    row(VISDRONE, ap=0.4),
    row(COCO, "class", "car", ap=0.5),
    row(VISDRONE, "class", "car", ap=0.4),
    row(ULTRALYTICS, "class", "car", ap=0.3),
    row(COCO, "light", "Low", ap=0.1),
    notes=("one & two",),
)


@pytest.mark.parametrize(
    ("group", "rules", "expected"),
    [
        ("all", None, [COCO, VISDRONE]),
        ("class", None, [COCO]),
        ("class", VISDRONE, [VISDRONE]),
        ("class", ULTRALYTICS, [ULTRALYTICS]),
        ("light", None, [COCO]),
        ("light", VISDRONE, []),
        ("all", COCO, [COCO]),
    ],
)
def test_rows_of_two_rules_are_never_mixed(
    group: str, rules: str | None, expected: list[str]
) -> None:
    assert [found.rules for found in BOTH.of(group, rules)] == expected


def test_main_rules_are_visdrone_where_coco_was_not_applied() -> None:
    only = hand_made(row(VISDRONE, ap=0.4), row(VISDRONE, "class", "car", ap=0.4))
    assert [found.rules for found in only.of("class")] == [VISDRONE]
    assert "by class, VisDrone's rules" in format_report(only)


def test_a_result_in_a_line_a_notebook_and_a_table() -> None:
    text = repr(BOTH)
    assert text.startswith("<Evaluation of <b>train</b> on =set, val (1 pictures, 2 boxes): AP 50.")
    assert len(text) < 200
    html = BOTH._repr_html_()
    assert "&lt;b&gt;train&lt;/b&gt;" in html
    assert "<b>" not in html
    assert "<td>50.00</td><td>75.00</td><td>-</td>" in html
    assert "one &amp; two" in html
    table = BOTH.table()
    assert len(table) == len(BOTH.rows)
    assert len({tuple(line) for line in table}) == 1
    assert table[0]["ap50"] == 0.75
    assert table[0]["data"] == "=set"


def test_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        BOTH.frame()
    made = SimpleNamespace(DataFrame=list)
    monkeypatch.setitem(sys.modules, "pandas", made)
    assert BOTH.frame() == BOTH.table()


def test_no_cell_of_the_csv_is_a_formula(tmp_path: Path) -> None:
    files = write_files(hand_made(row(COCO, "class", "@SUM(A1)", ap=0.5)), tmp_path)
    with files[1].open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert line["value"] == "'@SUM(A1)"
    assert line["data"] == "'=set"
    assert float(line["ap"]) == 0.5


@pytest.mark.parametrize("width", [72, 80, 100, 120])
def test_tables_fit_the_screen(width: int) -> None:
    full = dict.fromkeys(vars(Scores()), 1.0)
    rows = [row(COCO, **full), row(COCO, "class", "c" * 60, **full), row(COCO, "x", "y", **full)]
    text = format_report(hand_made(*rows), width)
    assert max(map(len, text.splitlines())) <= width
    assert ("no room for" in text) == (width < 128)
    assert "AP50" in text


def answers(*boxes: list[float]) -> Detections:
    xyxy = np.array(boxes, float).reshape(-1, 4)
    return Detections.sorted(xyxy, np.ones(len(xyxy)), np.zeros(len(xyxy)))


GIANT = [-1014.0, -990.0, 1470.0, 1485.0]  # what a model of one epoch answers
PICTURE = Truth("a.png", 640, 480, np.array([[0.0, 0.0, 9.0, 9.0]]), np.array([0]))


def notes_of(scores: dict[str, Row], cut: Detections, uncut: Detections) -> list[str]:
    return list(disagreements(list(scores.values()), [PICTURE], {"a": cut}, {"a": uncut}))


def test_rules_that_differ_are_a_note_that_says_why() -> None:
    scores = {rules: row(rules, ap=ap, ap50=ap50) for rules, ap, ap50 in (
        (COCO, 0.2, 0.3535), (ULTRALYTICS, 0.0, 0.0))}  # fmt: skip
    cut, uncut = answers([0, 0, 640, 480]), answers(GIANT)
    assert outside(cut, uncut) == 1
    (note,) = notes_of(scores, cut, uncut)
    assert "AP50 is 35.35 by COCO's rules and 0.00 by Ultralytics' own" in note
    assert "1 of 1 detections lie more than half outside their picture" in note
    assert "Compare numbers of one rule only" in note
    (note,) = notes_of(scores, cut, cut)  # another reason than the borders
    assert "more than half outside" not in note


@pytest.mark.parametrize(
    ("first", "second", "noted"),
    [(0.50, 0.49, False), (0.50, 0.48, False), (0.50, 0.479, True), (0.479, 0.50, True)],
)
def test_the_bound_is_two_points(first: float, second: float, noted: bool) -> None:
    cut = answers()
    for one, other in ((COCO, ULTRALYTICS), (COCO, VISDRONE), (VISDRONE, ULTRALYTICS)):
        scores = {one: row(one, ap=first, ap50=0.9), other: row(other, ap=second, ap50=0.9)}
        assert bool(notes_of(scores, cut, cut)) == noted


def test_a_score_that_is_missing_is_no_difference() -> None:
    cut = answers()
    assert notes_of({COCO: row(COCO), ULTRALYTICS: row(ULTRALYTICS, ap=0.5)}, cut, cut) == []


def wrong_names(folder: Path) -> None:
    (folder / "tiny.yaml").write_text((folder / "tiny.yaml").read_text().replace("bright", "light"))


def more_names(folder: Path) -> None:
    (folder / "tiny.yaml").write_text(
        (folder / "tiny.yaml").read_text().replace("bright", "bright, grey")
    )


def no_boxes(folder: Path) -> None:
    for label in (folder / "labels/val").iterdir():
        label.write_text("")


def no_pictures(folder: Path) -> None:
    (folder / "images/val").rename(folder / "images/elsewhere")


def empty_folder(folder: Path) -> None:
    no_pictures(folder)
    (folder / "images/val").mkdir()


def damaged_side(text: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "side").mkdir()
        (folder / "side/val.jsonl").write_text(text)

    return damage


HEADER = '{"format": "scsa-yolo side 1", "dataset": "tiny", "split": "val", "names": {}}\n'
LINE = (
    '{"image": "images/val/0.png", "width": %d, "height": 64, "ignore": [{"class": %s, "xyxy": %s,'
    ' "reason": "x"}]}\n'
)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (wrong_names, "class 0 is 'bright' in the model and 'light' in the data; .* --by-index"),
        (more_names, "the model has 2 classes, the data 3; .* --by-index"),
        (no_boxes, "split 'val' has no labelled box"),
        (no_pictures, "split 'val' is not there: .*images/val"),
        (empty_folder, "split 'val' has no pictures"),
        (damaged_side("{}"), r"val\.jsonl:1: no header"),
        (damaged_side(HEADER + "{"), r"val\.jsonl:2: damaged: "),
        (damaged_side(HEADER + '{"width": 1}'), r"val\.jsonl:2: damaged: no 'image'"),
        (
            damaged_side(HEADER + LINE % (64, 5, [1, 2, 3, 4])),
            r"val\.jsonl:2: damaged: class 5 .* 0 to 1",
        ),
        (
            damaged_side(HEADER + LINE % (64, "null", [1, 2])),
            r"val\.jsonl:2: damaged: 'xyxy' must be four numbers",
        ),
        (
            damaged_side(HEADER + LINE % (64, "null", [1, 2, 3, 4]) * 2),
            r"val\.jsonl:3: damaged: .* is there twice",
        ),
        (
            damaged_side(HEADER + LINE % (65, "null", [1, 2, 3, 4])),
            "0.png is 65x64 there, but the picture is 64x64",
        ),
    ],
)
def test_what_cannot_be_measured(
    trained: tuple[Path, Path],
    tiny_data: Path,
    yolo_home: Any,
    spoil: Callable[[Path], None],
    message: str,
) -> None:
    spoil(tiny_data.parent)
    with pytest.raises(ValueError, match=message) as error:
        evaluate(trained[0], tiny_data, imgsz=64, device="cpu")
    assert "\n" not in str(error.value)


def test_names_may_be_matched_by_number(
    trained: tuple[Path, Path], tiny_data: Path, yolo_home: Any
) -> None:
    wrong_names(tiny_data.parent)
    result = evaluate(trained[0], tiny_data, imgsz=64, device="cpu", by_index=True)
    assert any("matched by number" in note for note in result.notes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model.pt", "nowhere.yaml"), "nowhere.yaml: no such data YAML"),
        (("model.pt", "DATA", "--split", "test"), "no split 'test'; it has train, val"),
        (("nowhere.pt", "DATA"), "nowhere.pt"),
        (("model.pt", "data=a.yaml", "data=b.yaml"), "unrecognized arguments: data=b.yaml"),
        (("data=a.yaml", "data=b.yaml"), "data= is given twice: a.yaml and b.yaml"),
        (("model.pt", "imgsz=320"), "imgsz=320 is not understood here. Type: --imgsz 320"),
        (("model.pt", "data=DATA", "imgsz=320"), "Type: --imgsz 320"),
        (("model.pt",), "the following arguments are required: data=X.yaml"),
        (("model=a.pt", "model=b.pt"), "model= is given twice"),
        (("model.pt", "DATA", "--threads", "0"), "threads must be at least 1"),
        (("broken.pt", "DATA"), "broken.pt: Ultralytics cannot load this model"),
        (
            ("yolov8n-seg.yaml", "DATA"),
            "task is 'segment', and evaluate measures detectors of boxes only",
        ),
    ],
)
def test_wrong_calls_are_one_line(
    tiny_data: Path,
    yolo_home: Any,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    Path("broken.pt").write_bytes(b"not a checkpoint")
    assert run_command(*(str(tiny_data) if part == "DATA" else part for part in arguments)) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert message in error[-1]
    assert error[-1].startswith("scsa-yolo: ")
    assert "Traceback" not in "".join(error)


class Planted:
    """What a stranger may put into a checkpoint."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("code-has-run").resolve(),)


def test_safe_loading_runs_no_code_of_a_stranger(
    tiny_data: Path,
    yolo_home: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.save({"model": Planted(), "train_args": {}}, "stranger.pt")
    monkeypatch.setenv("ULTRALYTICS_SAFE_LOAD", "1")
    monkeypatch.setattr("ultralytics.nn.tasks.SAFE_LOAD", True)  # read once, at its import
    assert run_command("stranger.pt", f"data={tiny_data}") == 2
    assert "only weights and known classes open" in capsys.readouterr().err
    assert not Path("code-has-run").exists()


def test_a_model_that_breaks_is_one_line(
    trained: tuple[Path, Path],
    yolo_home: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from ultralytics.nn.tasks import DetectionModel

    def broken(*_: object, **__: object) -> None:
        raise AttributeError("'SCSA' object has no attribute 'x'\nand more")

    monkeypatch.setattr(DetectionModel, "forward", broken)
    assert run_command(*trained, "--imgsz", "64", "--device", "cpu") == 2
    expected = (
        "Ultralytics could not run the model: AttributeError: 'SCSA' object has no attribute 'x'"
    )
    assert expected in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.filterwarnings("ignore")  # torch's exporter is deprecated by torch itself
def test_onnx(trained: tuple[Path, Path], yolo_home: Any, needs: Callable[..., None]) -> None:
    needs("onnx", "onnxruntime", "onnxslim")
    from ultralytics import YOLO

    exported = YOLO(trained[0]).export(format="onnx", imgsz=64, verbose=False)
    result = evaluate(
        exported, trained[1], imgsz=64, device="cpu", rules="both"
    )  # before 8.4.190 no size is read
    assert result.settings["imgsz"] in (64, [64, 64])
    assert result.model["sha256"] == hashlib.sha256(Path(exported).read_bytes()).hexdigest()
    assert {row.rules for row in result.of("all")} >= {COCO, VISDRONE, ULTRALYTICS}


def test_wrong_rules() -> None:
    with pytest.raises(EvaluationError, match="no rules 'voc'; there are coco, visdrone, both"):
        evaluate("model.pt", "data.yaml", rules="voc")
