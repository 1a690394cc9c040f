"""No corrupted export passes: for each task and kind of corruption on the outputs of real heads, for
each format on files, and what pictures cannot show is said.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from scsa_yolo.deploy import proof as proof_room
from scsa_yolo.deploy.export import export, open_model
from scsa_yolo.deploy.layouts import layout_of
from scsa_yolo.deploy.parity import TOLERANCES, BoxParity, RawParity, compare_raw, failures
from scsa_yolo.deploy.proof import Proof, prove
from scsa_yolo.deploy.runtimes import load
from scsa_yolo.deploy.settings import parse_settings

# task -> model; of those with two heads, the one that chooses rows itself
TASKS = {
    "detect": ("yolov8n-scsa", False),
    "detect end to end": ("yolov10n-scsa", True),
    "rtdetr": ("rtdetr-r18-scsa", False),
    "segment": ("yolov8n-seg-scsa", False),
    "pose": ("yolov8n-pose-scsa", False),
    "obb": ("yolov8n-obb-scsa", False),
    "classify": ("yolov8n-cls-scsa", False),
}


def traced(checkpoint: Path, end2end: bool) -> Any:
    """What an export would trace, without the minutes of an export."""
    network = open_model(checkpoint).model.eval().float()
    task, head = network.task, network.model[-1]
    if end2end:
        network.end2end = True
    network = network.fuse(verbose=False)
    for part in network.modules():
        if hasattr(part, "export"):
            part.export = True
            part.format = "onnx"
    return SimpleNamespace(
        reference=network,
        task=task,
        head=type(head).__name__,
        end2end=end2end,
        nms=False,
        settings={},
        shape=(1, 3, 128, 128),
    )


@pytest.fixture(scope="module")
def outputs(make_checkpoint: Callable[[str], Path]) -> Callable[[str], tuple[Any, list[Any]]]:
    """The outputs of each task's model on one picture, computed once."""
    kept: dict[str, tuple[Any, list[Any]]] = {}

    def of(task: str) -> tuple[Any, list[Any]]:
        if task not in kept:
            model, end2end = TASKS[task]
            made = traced(make_checkpoint(model), end2end)
            runner = load(made.reference, threads=1)
            images = np.random.default_rng(0).random(made.shape, dtype=np.float32)
            kept[task] = made, runner(images)
        made, found = kept[task]
        return made, [part.copy() for part in found]

    return of


def kinds_of(made: Any, first: np.ndarray) -> tuple[Any, list[tuple[str, np.ndarray]]]:
    layout = layout_of(made, [first])
    return layout, layout.groups(first.shape[layout.axis])


def changed(first: np.ndarray, axis: int, columns: np.ndarray, how: str) -> np.ndarray:
    """Corrupt some columns of an output."""
    found = np.moveaxis(first.copy(), axis, -1)
    part = found[..., columns]
    if how == "scaled":
        part = part * 1.6
    elif how == "halved":
        part = part / 2
    elif how == "shifted":
        part = part + 0.5 * np.abs(part).mean() + 0.5 * part.std()
    elif how == "swapped":
        part = np.roll(part, 1, axis=-1) if len(columns) > 1 else -part
    elif how == "zeroed":
        part = np.zeros_like(part)
    elif how == "no numbers":
        part = part.copy()
        part.reshape(-1)[3] = np.nan
    found[..., columns] = part
    return np.moveaxis(found, -1, axis)


# Columns of these models differ by a fiftieth: INT8 may round as much, so a swap is not seen.
WITHIN_ROUNDING = {("pose", "swapped", "int8"), ("classify", "swapped", "int8")}
HOWS = ("scaled", "halved", "shifted", "swapped", "zeroed", "no numbers")


@pytest.mark.parametrize("precision", list(TOLERANCES))
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("task", list(TASKS))
def test_no_kind_of_column_can_be_wrong(
    outputs: Callable[[str], Any], task: str, how: str, precision: str
) -> None:
    made, expected = outputs(task)
    layout, groups = kinds_of(made, expected[0])
    for name, columns in groups:
        if name == "class numbers" and how in {"halved", "scaled", "shifted", "swapped"}:
            continue  # class 0 stays 0, and rounding moves a best class: the scores say more
        if (task, how, precision) in WITHIN_ROUNDING and name.endswith("scores"):
            continue
        got = [changed(expected[0], layout.axis, columns, how), *expected[1:]]
        found = compare_raw(expected, got, layout)
        assert failures(precision, [found], None, None), f"{how} {name} of {task}: {found}"


@pytest.mark.parametrize("task", list(TASKS))
def test_what_is_equal_passes_at_every_precision(outputs: Callable[[str], Any], task: str) -> None:
    """Rounding of each precision's own size passes, so that the tests above mean something."""
    made, expected = outputs(task)
    layout = layout_of(made, expected)
    rng = np.random.default_rng(1)
    for precision, share in (("float32", 1e-5), ("float16", 2e-3), ("int8", 2e-2)):
        got = []
        for part in expected:
            noise = share * rng.standard_normal(part.shape).astype(np.float32)
            got.append(part * (1 + noise))
        found = compare_raw(expected, got, layout)
        assert not failures(precision, [found], None, None), f"{precision}: {found}"
        assert not found.unseen


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb", "classify"])
def test_lost_rows_are_found(outputs: Callable[[str], Any], task: str) -> None:
    made, expected = outputs(task)
    layout = layout_of(made, expected)
    cut = expected[0][..., :-6]
    assert compare_raw(expected, [cut, *expected[1:]], layout).problem
    assert compare_raw(expected, expected[:-1], layout).problem or len(expected) > 1


@pytest.mark.parametrize("precision", list(TOLERANCES))
@pytest.mark.parametrize("task", ["detect end to end", "rtdetr"])
def test_the_best_rows_must_all_be_there(
    outputs: Callable[[str], Any], task: str, precision: str
) -> None:
    made, expected = outputs(task)
    layout = layout_of(made, expected)
    rows = expected[0][0]
    scores = rows[:, layout.score] if layout.score else rows[:, 4:].max(axis=1)
    best = np.argsort(scores)[::-1][:6]
    for substitute in (np.zeros(rows.shape[1], np.float32), rows[best[-1] + 1]):
        other = expected[0].copy()
        other[0, best] = substitute
        found = compare_raw(expected, [other, *expected[1:]], layout)
        if precision == "float32":
            assert failures(precision, [found], None, None), found
        lost = BoxParity(6, 0, 0, 0, lost=6)
        assert failures(precision, [found], lost, None)


def test_both_sides_without_numbers_prove_nothing(outputs: Callable[[str], Any]) -> None:
    made, expected = outputs("detect")
    broken = expected[0].copy()
    broken[0, 0, 0] = np.nan
    found = compare_raw([broken], [broken.copy()], layout_of(made, expected))
    assert "PyTorch holds values that are no numbers" in found.problem
    assert failures("float32", [found], None, None)
    infinite = np.where(np.isnan(broken), np.inf, broken)
    assert compare_raw([infinite], [infinite.copy()], layout_of(made, expected)).problem


def test_a_map_of_class_numbers(outputs: Callable[[str], Any]) -> None:
    """As semantic heads give it: what is wrong is a share of pixels."""
    made = SimpleNamespace(task="semantic", head="SemanticSegment", reference=None)
    rng = np.random.default_rng(0)
    labels = np.repeat(np.repeat(rng.integers(0, 19, (1, 8, 8)), 8, 1), 8, 2).astype(np.uint8)
    layout = layout_of(made, [labels])
    wrong = {
        "swapped": np.where(labels == 3, 4, np.where(labels == 4, 3, labels)),
        "shifted": np.roll(labels, 3, axis=2),
        "zeroed": np.zeros_like(labels),
        "scaled": labels // 2,
    }
    assert not failures("float32", [compare_raw([labels], [labels.copy()], layout)], None, None)
    for how, other in wrong.items():
        found = compare_raw([labels], [other.astype(np.uint8)], layout)
        assert failures("float16", [found], None, None), how
    alone = compare_raw([labels * 0], [labels * 0], layout)
    assert alone.unseen == ("a map of one class alone",)


def test_a_map_of_logits() -> None:
    made = SimpleNamespace(task="semantic", head="SemanticSegment", reference=None)
    logits = np.random.default_rng(0).normal(size=(1, 19, 16, 16)).astype(np.float32)
    layout = layout_of(made, [logits])
    for how in HOWS:
        for precision in TOLERANCES:
            other = changed(logits, 1, np.arange(19), how)
            found = compare_raw([logits], [other], layout)
            assert failures(precision, [found], None, None), f"{how} {precision}"


def test_prototypes_count_too(outputs: Callable[[str], Any]) -> None:
    made, expected = outputs("segment")
    for how in HOWS:
        for precision in TOLERANCES:
            other = changed(expected[1], 1, np.arange(expected[1].shape[1]), how)
            found = compare_raw(expected, [expected[0], other], layout_of(made, expected))
            assert failures(precision, [found], None, None), f"{how} {precision}: {found}"


def test_keypoints_and_their_scores_have_scales_of_their_own(
    outputs: Callable[[str], Any],
) -> None:
    made, expected = outputs("pose")
    names = [name for name, _ in kinds_of(made, expected[0])[1]]
    assert names == ["boxes", "scores", "keypoints", "keypoint scores"]


@pytest.mark.parametrize(
    ("found", "precision", "told"),
    [
        (BoxParity(10, 10, 10, 0, iou=0.59, score=0.0), "float16", "overlap by 0.590"),
        (BoxParity(10, 10, 10, 0, iou=0.59, score=0.0), "int8", "overlap by 0.590"),
        (BoxParity(10, 0, 0, 0, lost=0), "int8", "none of PyTorch's 10 boxes"),
        (BoxParity(1, 300, 1, 1, lost=299), "int8", "299 boxes have no counterpart (99.7%)"),
        (BoxParity(10, 10, 5, 5, lost=10), "float16", "10 boxes have no counterpart (66.7%)"),
        (BoxParity(10, 10, 10, 10, score=0.05, top=0.1), "int8", "a score changed"),
    ],
)
def test_boxes_are_held_to_more_than_half_an_overlap(
    found: BoxParity, precision: str, told: str
) -> None:
    failed = failures(precision, [RawParity()], found, None)
    assert any(told in line for line in failed), failed
    assert 0 <= found.lost_share <= 1


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({"mAP50": (57.0, 0.0), "mAP50-95": (57.0, -39.0)}, False),
        ({"mAP50": (57.0, -2.0), "mAP50-95": (40.0, -2.0)}, True),
        ({"mAP50": (4.0, -2.0)}, False),
        ({"mAP50 of masks": (57.0, -9.0)}, False),
        ({"fitness": (57.0, -9.0)}, False),
    ],
)
def test_every_metric_is_judged(changes: dict[str, tuple[float, float]], passes: bool) -> None:
    assert (not failures("int8", [RawParity()], None, None, changes=changes)) is passes


def test_verdicts() -> None:
    assert Proof().verdict == "equal"
    assert Proof(unseen=["nothing"]).verdict == "not proven"
    assert Proof(unseen=["nothing"], failed=["x"]).verdict == "differs"
    assert Proof(not_run="no runtime", failed=["x"]).verdict == "not run"


PACKAGES = {"onnx": ("onnx", "onnxruntime", "onnxslim"), "openvino": ("openvino",)}


@pytest.fixture(scope="module")
def exported(
    make_checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """One export of each format, made once, copied for each test."""
    kept: dict[tuple[str, ...], Any] = {}

    def make(format: str, *words: str) -> Any:
        if (format, *words) not in kept:
            for package in PACKAGES.get(format, ()):
                pytest.importorskip(package)
            folder = tmp_path_factory.mktemp(format)
            checkpoint = make_checkpoint("yolov8n-scsa")
            settings = parse_settings(["imgsz=64", *words])
            kept[(format, *words)] = export(open_model(checkpoint), format, settings, folder=folder)
        return kept[(format, *words)]

    return make


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("how", ["", "halved", "no numbers", "lost"])
@pytest.mark.parametrize("format", ["onnx", "openvino", "torchscript"])
def test_a_runtime_that_gives_something_else_differs(
    exported: Callable[..., Any],
    make_checkpoint: Callable[[str], Path],
    picture: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    format: str,
    how: str,
) -> None:
    made = exported(format)
    monkeypatch.setattr(proof_room, "_boxes", lambda *_: None)

    class Wrong:
        name, version, shape = "a runtime", "0", None

        def __init__(self, runner: Any) -> None:
            self.runner = runner

        def __call__(self, images: np.ndarray) -> list[np.ndarray]:
            first, *rest = self.runner(images)
            if not how:
                return [first, *rest]
            if how == "lost":
                return [first[..., :-5], *rest]
            return [changed(first, 1, np.arange(4, first.shape[1]), how), *rest]

    def loaded(model: Any, **options: Any) -> Any:
        runner = load(model, **options)
        return Wrong(runner) if isinstance(model, Path) else runner

    monkeypatch.setattr(proof_room, "load", loaded)
    checkpoint = make_checkpoint("yolov8n-scsa")
    proof = prove(made, checkpoint, [picture], rounds=0, threads=1)
    assert proof.verdict == ("differs" if how else "equal"), (proof.raw, proof.unseen)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("how", ["scaled", "no numbers"])
def test_a_file_whose_weights_are_wrong_differs(
    exported: Callable[..., Any],
    make_checkpoint: Callable[[str], Path],
    picture: np.ndarray,
    tmp_path: Path,
    how: str,
) -> None:
    """All of the proof, final boxes too, on a file with its largest convolution corrupted."""
    onnx = pytest.importorskip("onnx")
    made = exported("onnx")
    model = onnx.load(made.path)
    largest = max(model.graph.initializer, key=lambda one: int(np.prod(one.dims)))
    values = onnx.numpy_helper.to_array(largest).copy()
    if how == "no numbers":
        values.reshape(-1)[0] = np.nan
    else:
        values *= 0 if how == "zeroed" else 1.3
    largest.CopyFrom(onnx.numpy_helper.from_array(values, largest.name))
    path = tmp_path / "best.onnx"
    onnx.save(model, path)
    proof = prove(
        replace(made, path=path), make_checkpoint("yolov8n-scsa"), [picture], rounds=0, threads=1
    )
    assert proof.verdict == "differs", proof


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nms_inside_that_finds_nothing_is_not_proven(
    exported: Callable[..., Any], make_checkpoint: Callable[[str], Path], picture: np.ndarray
) -> None:
    made = exported("onnx", "nms=True", "conf=0.99")
    proof = prove(made, make_checkpoint("yolov8n-scsa"), [picture], rounds=0, threads=1)
    assert proof.verdict == "not proven", proof
    assert "PyTorch itself found nothing" in proof.unseen[0]


def test_a_model_that_does_not_look_at_the_picture_is_not_proven(
    outputs: Callable[[str], Any], picture: np.ndarray
) -> None:
    made, _ = outputs("detect")
    dead = copy.deepcopy(made)
    with torch.no_grad():
        for module in dead.reference.modules():
            if isinstance(module, torch.nn.Conv2d) and module.weight.requires_grad:
                module.weight.mul_(1e-3)
    runner = load(dead.reference, threads=1)
    said = proof_room._unseen(runner, [picture], dead, [RawParity()])
    assert "hardly depend on the picture" in said[0]
    lively = load(made.reference, threads=1)
    assert not proof_room._unseen(lively, [picture], made, [RawParity()])
