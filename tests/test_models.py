"""The packaged models: stock plus attention and nothing else, under names of their own, counted as
documented.
"""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import ultralytics
from torch import nn
from ultralytics.nn import tasks
from ultralytics.utils import ROOT

from scsa_yolo.commands.doctor import FLOORS
from scsa_yolo.complexity import attention_flops, cost, load, without_attention
from scsa_yolo.grafting import has_units, layers
from scsa_yolo.host.names import packaged_files
from scsa_yolo.host.transfer import attention_modules
from scsa_yolo.modelfiles import catalogue, costs
from scsa_yolo.modelfiles.catalogue import Entry
from scsa_yolo.support.packaged import packaged_folder

ENTRIES = [entry for entry in catalogue.entries() if entry.stock]
SMALLEST = catalogue.select(ENTRIES) + [entry for entry in ENTRIES if "resnet50" in entry.name]
REPOSITORY = Path(__file__).resolve().parents[1]


def make_models() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_models", REPOSITORY / "tools" / "make_models.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parsed(name: str) -> Any:
    """Build the layers alone, without memory: parse_model on the meta device, before the strides
    are probed.
    """
    with torch.device("meta"):
        return tasks.parse_model(tasks.yaml_model_load(name), ch=3, verbose=False)[0]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_at_every_size_stock_keys_and_shapes_are_those_of_stock(entry: Entry) -> None:
    assert entry.stock is not None
    ours, stock = parsed(entry.name), parsed(entry.stock)
    shapes = {key: tensor.shape for key, tensor in ours.state_dict().items()}
    expected = {key: tensor.shape for key, tensor in stock.state_dict().items()}
    assert {key: shape for key, shape in shapes.items() if key in expected} == expected
    new = shapes.keys() - expected.keys()
    assert new
    attention = tuple(f"{name}." for name in attention_modules(ours))
    assert [key for key in new if not key.startswith(attention)] == []
    assert getattr(ours[-1], "legacy", None) == getattr(stock[-1], "legacy", None)
    rows = tasks.yaml_model_load(entry.stock)
    where = {int(name.split(".")[0]) for name in attention_modules(ours)}
    assert where == {index for index, row in layers(rows) if has_units(row)}
    table = costs.read_table()
    assert table is not None
    row = table.row(entry)
    if row is None and ultralytics.__version__ == FLOORS["ultralytics"]:
        pytest.skip("the stock model of the oldest supported Ultralytics differs from the newest")
    assert row is not None, "a model has changed. Type: python tools/make_costs.py --write"
    assert row.parameters == sum(p.numel() for p in ours.parameters())
    assert row.stock_parameters == sum(p.numel() for p in stock.parameters())
    assert {at for places in row.attention.values() for at in places} == where


@pytest.mark.parametrize("entry", SMALLEST, ids=lambda entry: entry.name)
def test_under_one_seed_stock_tensors_start_equal(entry: Entry) -> None:
    states, draws = [], []
    for name in (entry.name, entry.stock):
        torch.manual_seed(0)
        states.append(load(str(name)).model.state_dict())
        draws.append(torch.rand(1).item())
    ours, stock = states
    assert [key for key, tensor in stock.items() if not torch.equal(ours[key], tensor)] == []
    assert draws[0] == draws[1]  # and so does everything that is drawn afterwards


@pytest.mark.parametrize("name", ["rtdetr-r18.yaml", "rtdetr-r34.yaml"])
def test_models_of_ours_without_attention_build(name: str) -> None:
    assert not attention_modules(parsed(name))


def test_no_packaged_name_is_one_of_ultralytics() -> None:
    assert not set(packaged_files()) & {path.name for path in ROOT.rglob("*.yaml")}


def test_packaged_files_are_what_the_installed_stock_models_give() -> None:
    maker = make_models()
    differ = []
    for family, stocks in maker.FAMILIES.items():
        for stock in stocks:
            path = packaged_folder("models") / family / maker.packaged_name(stock)
            if path.read_text(encoding="utf-8") != maker.text(family, stock):
                differ.append(path.name)
    if differ and ultralytics.__version__ == FLOORS["ultralytics"]:
        pytest.skip(
            "stock models of the oldest supported Ultralytics differ from the newest:"
            f" {', '.join(differ)}"
        )
    assert not differ, "a stock model has changed. Type: python tools/make_models.py --write"


def test_every_model_file_is_made_by_the_tool_or_listed_here() -> None:
    maker = make_models()
    made = {maker.packaged_name(stock) for stocks in maker.FAMILIES.values() for stock in stocks}
    files = {path.name for path in packaged_folder("models").rglob("*.yaml")}
    assert files - made == {"rtdetr-r18.yaml", "rtdetr-r34.yaml", "rtdetr-train.yaml"}
    assert [path.name for path in catalogue.training_settings()] == ["rtdetr-train.yaml"]


@pytest.mark.parametrize(
    ("text", "sizes", "expected"),
    [
        ("yolov8", "ns", ["yolov8n-scsa.yaml", "yolov8s-scsa.yaml"]),
        ("YOLO11", "", ["yolo11n-scsa.yaml"]),
        ("yolov9", "", ["yolov9t-scsa.yaml"]),  # per-size files: the smallest of the kind
        ("yolov10x", "", ["yolov10x-scsa.yaml"]),  # a size that is asked for by name
        ("resnet", "", ["rtdetr-resnet50-scsa.yaml"]),
        ("resnet", None, ["rtdetr-resnet50-scsa.yaml", "rtdetr-resnet101-scsa.yaml"]),
        ("yolo26", None, [f"yolo26{size}-scsa.yaml" for size in "nsmlx"]),
    ],
)
def test_select(text: str, sizes: str | None, expected: list[str]) -> None:
    found = catalogue.select(catalogue.entries(), text, sizes)
    tasks_left_out = ("-seg", "-cls", "-pose", "-obb")
    assert [
        entry.name for entry in found if not any(part in entry.name for part in tasks_left_out)
    ] == expected


@pytest.mark.parametrize(
    ("text", "sizes", "message"),
    [
        ("yolov7", "", "no packaged model matches 'yolov7'. There are"),
        ("yolov8", "z", "no packaged model matches 'yolov8' and size z"),
    ],
)
def test_select_nothing(text: str, sizes: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        catalogue.select(catalogue.entries(), text, sizes)


def test_the_packaged_table_names_every_model() -> None:
    table = costs.read_table()
    assert table is not None
    assert list(table.rows) == [entry.name for entry in catalogue.entries()]


@pytest.mark.parametrize("name", ["yolov9t-scsa.yaml", "yolo11n-cls-scsa.yaml", "rtdetr-r18.yaml"])
def test_the_packaged_table_is_what_counting_gives(name: str) -> None:
    table = costs.read_table()
    assert table is not None
    if table.versions["ultralytics"] != ultralytics.__version__:
        pytest.skip("other releases of Ultralytics count otherwise; the table says which counted")
    chosen = catalogue.select(catalogue.entries(), name, None)
    said: list[str] = []
    (counted,) = costs.rows(chosen, recount=True, say=said.append)
    assert said == [f"counting {name}, 1 of 1"]
    packaged = table.rows[name]
    assert counted.parameters == packaged.parameters
    assert counted.attention == packaged.attention
    assert counted.gflops == pytest.approx(packaged.gflops, rel=1e-9)
    assert (counted.stock, counted.task) == (packaged.stock, packaged.task)
    assert counted.stock_parameters == packaged.stock_parameters


def _given(files: dict[str, Path], entry: Entry) -> dict[str, Path]:
    return files


def test_a_row_is_counted_anew_when_its_yaml_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (entry,) = catalogue.select(catalogue.entries(), "yolov9t", None)
    table = costs.read_table()
    assert table is not None
    assert table.row(entry) is not None
    files = costs.source_files(entry)
    assert set(files) == {"v9/yolov9t-scsa.yaml", "yolov9t.yaml"}
    for name, file in files.items():
        copy = tmp_path / file.name
        content = file.read_text(encoding="utf-8")
        copy.write_bytes(f"# a remark\n{content}".replace("\n", "\r\n").encode())
        changed = {**files, name: copy}
        monkeypatch.setattr(costs, "source_files", partial(_given, changed))
        assert table.row(entry) is not None  # remarks and line ends change nothing
        copy.write_text(content.replace("nc: 80", "nc: 81"), encoding="utf-8")
        assert table.row(entry) is None
        copy.unlink()
        assert table.row(entry) is None


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"format": "scsa-yolo costs 1"}'])
def test_without_a_table_models_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    path = tmp_path / "costs.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    monkeypatch.setattr(costs, "TABLE", path)
    assert costs.read_table() is None
    chosen = catalogue.select(catalogue.entries(), "yolov8n-cls", None)
    monkeypatch.setattr(costs.Counting, "row", lambda self, entry: entry)
    assert list(costs.rows(chosen)) == chosen


def test_cost_is_that_of_stock_and_of_each_attention_alone() -> None:
    ours, stock = load("yolov8n-scsa.yaml").model, load("yolov8n.yaml").model
    keys = list(ours.state_dict())
    with_attention, without = cost(ours), cost(stock)
    assert with_attention.parameters == without.parameters + 9_984
    assert with_attention.flops - with_attention.attention_flops == pytest.approx(
        without.flops, rel=1e-12
    )
    assert list(ours.state_dict()) == keys  # counting leaves the model as it was
    assert {type(module) for module in attention_modules(without_attention(ours)).values()} == {
        nn.Identity
    }
    assert without.attention_flops == 0


def test_attention_is_counted_with_its_matrix_products() -> None:
    """SCSA, window 7, by hand: Q K^T of C x N and N x C, the mean of V, and Conv1d's over H + W
    positions.
    """
    model = load("yolov8n-scsa.yaml").model
    # width and side of the map at 640 px in each row, and the number of units
    units = {2: (16, 160, 1), 4: (32, 80, 2), 6: (64, 40, 2), 8: (128, 20, 1)}
    units |= {12: (64, 40, 1), 15: (32, 80, 1), 18: (64, 40, 1), 21: (128, 20, 1)}
    products = sum(2 * n * c * c * ((side // 7) ** 2 + 1) for c, side, n in units.values())
    assert attention_flops(model) >= products + sum(
        2 * n * c * 2 * side * 3 for c, side, n in units.values()
    )
    assert catalogue.places(model) == {
        "SCSA": [row for row, (_, _, n) in units.items() for _ in range(n)]
    }


def test_a_bare_row_is_counted_and_taken_out() -> None:
    d: dict[str, Any] = {
        "nc": 2,
        "scale": "n",
        "backbone": [[-1, 1, "Conv", [16, 3, 2]], [-1, 1, "EMA", []]],
        "head": [[-1, 1, "Classify", ["nc"]]],
    }
    model = tasks.ClassificationModel(d, verbose=False)
    assert attention_flops(model, 64) > 0
    assert without_attention(model)(torch.zeros(1, 3, 64, 64)) is not None
