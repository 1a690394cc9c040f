"""Rows: every stock block with residual units, bare rows, own layers, and whole models."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from ultralytics.nn import tasks

import scsa_yolo
from scsa_yolo.attention import SCSA, SE
from scsa_yolo.blocks import IdentityStart, slotted, units

C = 16  # width of the map that the rows below get
X = torch.rand(2, C, 13, 9, generator=torch.Generator().manual_seed(1))

# row, classes of its units in slot "mid" (slot "out" has as many)
BLOCKS = [
    pytest.param([-1, 1, "Bottleneck", [C]], "BottleneckMid", id="Bottleneck"),
    pytest.param([-1, 1, "Bottleneck", [24]], "BottleneckMid", id="Bottleneck without shortcut"),
    pytest.param([-1, 2, "C2", [32]], "BottleneckMid BottleneckMid", id="C2"),
    pytest.param([-1, 2, "C2f", [32, True]], "BottleneckMid BottleneckMid", id="C2f"),
    pytest.param([-1, 2, "C2f", [32]], "BottleneckMid BottleneckMid", id="C2f without shortcut"),
    pytest.param([-1, 2, "C3", [32]], "BottleneckMid BottleneckMid", id="C3"),
    pytest.param([-1, 2, "C3x", [32]], "BottleneckMid BottleneckMid", id="C3x"),
    pytest.param([-1, 2, "BottleneckCSP", [32]], "BottleneckMid BottleneckMid", id="BottleneckCSP"),
    pytest.param([-1, 1, "GhostBottleneck", [C]], "GhostBottleneckMid", id="GhostBottleneck"),
    pytest.param(
        [-1, 1, "GhostBottleneck", [32, 3, 2]],
        "GhostBottleneckMid",
        id="GhostBottleneck of stride 2",
    ),
    pytest.param([-1, 2, "C3Ghost", [32]], "GhostBottleneckMid GhostBottleneckMid", id="C3Ghost"),
    pytest.param([-1, 2, "C3k2", [32, False, 0.25]], "BottleneckMid BottleneckMid", id="C3k2"),
    pytest.param([-1, 1, "C3k2", [32, True]], "BottleneckMid BottleneckMid", id="C3k2 of C3k"),
    pytest.param([-1, 1, "C3k2", [64, True, 0.5, True]], "BottleneckMid", id="C3k2 with PSABlock"),
    pytest.param([-1, 1, "C2fCIB", [32, True]], "CIBOut", id="C2fCIB"),
    pytest.param([-1, 1, "C2fCIB", [32, True, True]], "CIBOut", id="C2fCIB with RepVGGDW"),
    pytest.param(
        [-1, 1, "RepNCSPELAN4", [32, 32, 16, 2]], "RepBottleneckMid " * 4, id="RepNCSPELAN4"
    ),
    pytest.param(
        [-1, 1, "ResNetLayer", [C, 8, 2, False, 3]], "ResNetBlockMid " * 3, id="ResNetLayer"
    ),
    pytest.param(
        [-1, 2, "A2C2f", [64, False, -1]], "BottleneckMid " * 4, id="A2C2f without area attention"
    ),
    pytest.param(
        [-1, 2, "ResNetVDLayer", [32, 2]], "BasicBlockVDMid BasicBlockVDMid", id="ResNetVDLayer"
    ),
]

# packaged model, its stock model (None: the packaged one without SCSA), units
MODELS = [
    ("yolov8n-scsa.yaml", "yolov8n.yaml", 10),
    ("yolov9t-scsa.yaml", "yolov9t.yaml", 42),
    ("yolov10n-scsa.yaml", "yolov10n.yaml", 10),
    ("yolo11n-scsa.yaml", "yolo11n.yaml", 11),
    ("yolo11m-scsa.yaml", "yolo11m.yaml", 16),  # scale m makes every C3k2 one of C3k
    ("yolo26n-scsa.yaml", "yolo26n.yaml", 13),
    ("rtdetr-resnet50-scsa.yaml", "rtdetr-resnet50.yaml", 16),
    ("rtdetr-r18-scsa.yaml", "rtdetr-r18.yaml", 8),
]


def parse(*rows: list[Any], ch: int = C, seed: int = 0, **settings: Any) -> nn.Sequential:
    """Build rows as Ultralytics does."""
    torch.manual_seed(seed)
    d = {"nc": 2, "scale": "n", "backbone": deepcopy(list(rows)), "head": [], **settings}
    return tasks.parse_model(d, ch, verbose=False)[0]


def with_attention(row: list[Any], attention: str = "SCSA", **options: Any) -> list[Any]:
    return [*row[:2], f"{row[2]}_{attention}", [*row[3], options] if options else list(row[3])]


def spread(model: nn.Module) -> nn.Module:
    """Give norms and biases values that show when one is skipped."""
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data.add_(torch.rand(parameter.shape, generator=generator) / 2)
    return model


def attention_keys(model: nn.Module) -> set[str]:
    """State-dict keys of what sits in the slots; the stock PSABlock has a child named ``attn`` of
    its own.
    """
    return {f"{name}.attn.{key}" for name, unit in slotted(model) for key in unit.attn.state_dict()}


@pytest.mark.parametrize(("row", "expected"), BLOCKS)
def test_a_block_keeps_its_stock_tensors_and_gets_a_unit_for_each_branch(
    row: list[Any], expected: str
) -> None:
    stock, ours = parse(row), parse(with_attention(row))
    found = [type(unit).__name__ for _, unit in slotted(ours)]
    assert found == expected.split()
    assert not list(units(ours)), "a unit was left without attention"
    theirs, own = stock.state_dict(), ours.state_dict()
    assert own.keys() - theirs.keys() == attention_keys(ours)
    assert not theirs.keys() - own.keys()
    for key, tensor in theirs.items():
        assert torch.equal(tensor, own[key]), f"{key}: one seed must give one set of stock weights"
    assert all(type(unit.attn) is SCSA for _, unit in slotted(ours))


def as_tuples(rows: list[list[Any]]) -> tuple[tuple[Any, ...], ...]:
    return tuple((*row[:3], tuple(row[3])) for row in rows)


@pytest.mark.parametrize(
    "rows",
    [
        [[-1, 1, "C2f_SCSA", [32, True]]],
        [[-1, 1, "C2f_SCSA", [32, True, {"window": 9}]], [-1, 2, "Conv", [16]]],
        [[-1, 2, "SCSA", [{"window": 9}]]],
        [[-1, 2, "ResNetVDLayer_SCSA", [32, 2, {"heads": 2}]]],
    ],
)
def test_rows_in_a_dictionary_may_be_tuples(rows: list[list[Any]]) -> None:
    torch.manual_seed(0)
    given = {"nc": 2, "scale": "n", "backbone": as_tuples(rows), "head": ()}
    before = deepcopy(given)
    ours = tasks.parse_model(given, C, verbose=False)[0]
    expected = parse(*rows)
    assert str(ours) == str(expected)
    for (key, tensor), other in zip(ours.state_dict().items(), expected.state_dict().values()):
        assert torch.equal(tensor, other), key
    assert given == before


@pytest.mark.parametrize("slot", ["mid", "out"])
@pytest.mark.parametrize(("row", "expected"), BLOCKS)
def test_identity_start_gives_exactly_the_stock_output(
    row: list[Any], expected: str, slot: str
) -> None:
    stock, ours = parse(row), parse(with_attention(row, slot=slot, start="identity"))
    spread(stock)
    assert len(list(slotted(ours))) == len(expected.split())
    missing, unexpected = ours.load_state_dict(stock.state_dict(), strict=False)
    assert not unexpected
    assert set(missing) == attention_keys(ours)
    assert torch.equal(stock.eval()(X), ours.eval()(X))


@pytest.mark.parametrize("slot", ["mid", "out"])
@pytest.mark.parametrize(("row", "expected"), BLOCKS)
def test_the_papers_start_is_used_and_learns(row: list[Any], expected: str, slot: str) -> None:
    stock, ours = parse(row).eval(), parse(with_attention(row, slot=slot)).eval()
    y = ours(X)
    assert y.shape == stock(X).shape
    assert not torch.allclose(y, stock(X))
    y.square().sum().backward()
    learning = [
        name for name, p in ours.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert not learning, "no gradient"


def test_mid_and_out_differ() -> None:
    row = [-1, 1, "C2f", [32, True]]
    mid, out = parse(with_attention(row)).eval(), parse(with_attention(row, slot="out")).eval()
    assert [type(unit).__name__ for _, unit in slotted(out)] == ["BottleneckOut"]
    assert not torch.equal(mid(X), out(X))


def test_attention_of_text_models_is_built() -> None:
    row = [-1, 2, "C2fAttn", [32, 16, 1]]
    assert [type(unit).__name__ for _, unit in slotted(parse(with_attention(row)))] == [
        "BottleneckMid"
    ] * 2


def test_scale_m_forces_c3k_in_a_row_with_attention_too() -> None:
    row, scales = [-1, 2, "C3k2", [64, False, 0.25]], {"n": [0.5, 0.25, 1024], "m": [0.5, 1.0, 512]}
    found = {
        scale: [name for name, _ in slotted(parse(with_attention(row), scales=scales, scale=scale))]
        for scale in scales
    }
    assert found == {"n": ["0.m.0"], "m": ["0.m.0.m.0", "0.m.0.m.1"]}


def test_options_reach_the_attention() -> None:
    model = parse(with_attention([-1, 2, "C2f", [64, True]], window=5, heads=2, kernels=[3, 5]))
    for _, unit in slotted(model):
        assert (unit.attn.window, unit.attn.heads, unit.attn.kernels) == (5, 2, (3, 5))


def test_another_attention() -> None:
    model = parse(with_attention([-1, 1, "C2f", [64, True]], "SE"))
    assert [type(unit.attn) for _, unit in slotted(model)] == [SE]


@pytest.mark.usefixtures("attention_registry")
@pytest.mark.filterwarnings("ignore:attention 'Mine'")  # is never in a checkpoint
def test_an_attention_of_a_third_party() -> None:
    @scsa_yolo.register_attention("Mine")
    class Mine(nn.Conv2d):
        def __init__(self, channels: int, *, size: int = 1) -> None:
            super().__init__(channels, channels, size, padding="same")

    model = parse([-1, 1, "C2f_Mine", [32, True, {"size": 3}]], [-1, 1, "Mine", []])
    assert model[0].m[0].attn.kernel_size == (3, 3)
    assert type(model[1]) is Mine
    assert model(X).shape == (2, 32, 13, 9)


# Bare rows
# --------------------------------------------------------------------------------------------------------


def test_a_bare_row_keeps_the_width_of_its_input() -> None:
    model = parse([-1, 1, "Conv", [24, 3]], [-1, 1, "SCSA", []], [-1, 1, "Conv", [8, 3]])
    assert type(model[1]) is SCSA
    assert model[1].channels == 24
    assert model[2].conv.in_channels == 24
    assert model(X).shape == (2, 8, 13, 9)


def test_a_bare_row_as_the_first_layer() -> None:
    model = parse([-1, 1, "SCSA", []], [-1, 1, "Conv", [8, 3]], ch=3)
    assert model[0].channels == 3
    assert model[1].conv.in_channels == 3


def test_a_bare_row_repeats() -> None:
    model = parse([-1, 3, "SCSA", [{"window": 3}]], [-1, 1, "Conv", [8, 3]])
    assert [layer.window for layer in model[0]] == [3, 3, 3]
    assert len({id(layer) for layer in model[0]}) == 3
    assert model[1].conv.in_channels == C


def test_repeats_follow_the_depth_of_the_scale() -> None:
    model = parse([-1, 6, "SCSA", []], scales={"n": [0.33, 0.25, 1024]}, scale="n")
    assert len(model[0]) == 2


@pytest.mark.parametrize("source", [0, -3], ids=["from 0", "from -3"])
def test_a_bare_row_from_an_earlier_layer(source: int) -> None:
    d = {
        "nc": 2,
        "backbone": [[-1, 1, "Conv", [24, 3]], [-1, 1, "Conv", [8, 3]], [-1, 1, "Conv", [40, 3]]],
        "head": [[source, 1, "SCSA", []], [-1, 1, "Conv", [8, 3]]],
    }
    model, save = tasks.parse_model(d, C, verbose=False)
    assert model[3].channels == 24
    assert (model[3].i, model[3].f) == (3, source)
    assert model[4].conv.in_channels == 24
    assert save == [0]


def test_layers_carry_what_ultralytics_reads_from_them() -> None:
    model = parse(
        [-1, 1, "C2f_SCSA", [32]],
        [-1, 1, "SCSA", []],
        [-1, 2, "SE", []],
        [-1, 2, "ResNetVDLayer", [32]],
    )
    for index, layer in enumerate(model):
        assert (layer.i, layer.f) == (index, -1)
        assert layer.np == sum(p.numel() for p in layer.parameters())
    assert [layer.type for layer in model] == [
        "ultralytics.nn.modules.block.C2f",
        "scsa_yolo.attention.scsa.SCSA",
        "scsa_yolo.attention.se.SE",
        "scsa_yolo.blocks.resnet_vd.ResNetVDLayer",
    ]


# Own layers
# -------------------------------------------------------------------------------------------------------


def test_own_layers() -> None:
    model = parse(
        [-1, 1, "ResNetVDStem", [64]],
        [-1, 2, "ResNetVDLayer", [64, 1]],
        [-1, 2, "ResNetVDLayer", [128, 2]],
    )
    assert model(torch.rand(1, C, 64, 96)).shape == (1, 128, 8, 12)
    assert [len(layer.blocks) for layer in list(model)[1:]] == [2, 2]


def test_repeats_of_own_layers_follow_the_depth_of_the_scale() -> None:
    model = parse([-1, 6, "ResNetVDLayer", [64, 1]], scales={"n": [0.5, 1.0, 1024]}, scale="n")
    assert len(model[0].blocks) == 3


# Whole models
# -----------------------------------------------------------------------------------------------------


def build(name: str) -> nn.Sequential:
    torch.manual_seed(0)
    return tasks.parse_model(tasks.yaml_model_load(name), 3, verbose=False)[0]


@pytest.mark.parametrize(("ours", "stock", "expected"), MODELS, ids=[name for name, *_ in MODELS])
def test_packaged_models(ours: str, stock: str, expected: int) -> None:
    model, plain = build(ours), build(stock)
    legacy = getattr(
        plain[-1], "legacy", None
    )  # a class attribute of Detect, set anew by each build
    assert getattr(build(ours)[-1], "legacy", None) == legacy
    assert sum(1 for _ in slotted(model)) == expected
    theirs, own = plain.state_dict(), model.state_dict()
    assert [
        key for key, tensor in theirs.items() if key not in own or not torch.equal(tensor, own[key])
    ] == []
    assert own.keys() - theirs.keys() == attention_keys(model)


def test_the_dictionary_is_not_changed_and_shares_nothing() -> None:
    backbone = [
        [-1, 2, "C2f_SCSA", [32, "True", {"window": 5}]],
        [-1, 1, "SCSA", [{}]],
        [-1, 1, "ResNetVDLayer", [8]],
    ]
    d = {"nc": 2, "backbone": backbone, "head": [[-1, 1, "nn.Upsample", ["None", 2, "nearest"]]]}
    before = deepcopy(d)
    tasks.parse_model(d, C, verbose=False)
    assert d == before


def test_the_models_dictionary_keeps_our_rows() -> None:
    model = tasks.DetectionModel("yolov8n-scsa.yaml", nc=3, verbose=False)
    names = [row[2] for part in ("backbone", "head") for row in model.yaml[part]]
    assert names.count("C2f_SCSA") == 8
    assert model.yaml["nc"] == 3


def test_a_transferred_model_with_identity_start_gives_exactly_the_stock_output() -> None:
    d = scsa_yolo_rows(tasks.yaml_model_load("yolov8n-scsa.yaml"), start="identity")
    stock, ours = (
        tasks.DetectionModel("yolov8n.yaml", verbose=False),
        tasks.DetectionModel(d, verbose=False),
    )
    spread(stock)
    ours.load(stock)
    assert sum(isinstance(unit.attn, IdentityStart) for _, unit in slotted(ours)) == 10
    image = torch.rand(1, 3, 96, 64)
    with torch.no_grad():
        expected, got = stock.eval()(image)[0], ours.eval()(image)[0]
        assert torch.equal(expected, got)
        assert torch.allclose(ours.fuse(verbose=False)(image)[0], expected, rtol=1e-3, atol=1e-3)


def scsa_yolo_rows(d: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Write options into every row of ours."""
    for row in [*d["backbone"], *d["head"]]:
        if row[2].endswith("_SCSA"):
            row[3] = [*row[3], options]
    return d


def test_every_stock_yaml_still_loads() -> None:
    from ultralytics.utils import ROOT

    files = sorted((ROOT / "cfg" / "models").rglob("*.yaml"))
    assert len(files) > 50
    for file in files:
        assert (
            tasks.yaml_model_load(file)["backbone"]
            == yaml.safe_load(file.read_text(encoding="utf-8"))["backbone"]
        )
