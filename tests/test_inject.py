"""inject: what it chooses, what it refuses, and that it leaves everything else alone."""

import copy
import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet50
from torchvision.models.resnet import BasicBlock, ResNet

from scsa_yolo.attention import attention_names, register_attention
from scsa_yolo.blocks import IdentityStart, slotted, units
from scsa_yolo.injection import inject

ROOT = Path(__file__).resolve().parent.parent
UNITS = tuple(f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return resnet18(num_classes=5).eval()


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def given(module):
    return tuple(name for name, _ in slotted(module))


def test_works_in_place_and_returns_the_module(model):
    assert inject(model, "SCSA") is model
    assert given(model) == UNITS


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        pytest.param(None, UNITS, id="all"),
        pytest.param("layer4.*", UNITS[6:], id="glob"),
        pytest.param("layer[34].0", (UNITS[4], UNITS[6]), id="glob of the whole name"),
        pytest.param(re.compile(r"\.1$"), UNITS[1::2], id="regular expression is searched for"),
        pytest.param(lambda name, unit: unit.downsample is not None, UNITS[2::2], id="callable"),
    ],
)
def test_where_chooses(model, where, chosen):
    assert given(inject(model, "ECA", where=where)) == chosen


@pytest.mark.parametrize(
    "where", ["layer5.*", "layer4", re.compile("^fc"), lambda name, unit: False, ""]
)
def test_where_that_chooses_nothing_lists_the_units(model, where):
    with pytest.raises(ValueError, match=r"chooses none of the units: layer1\.0, .*layer4\.1"):
        inject(model, "ECA", where=where)
    assert not given(model)


def test_a_module_can_be_the_unit_itself():
    block = inject(BasicBlock(8, 8), "SCSA")
    assert given(block) == ("",)
    with pytest.raises(ValueError, match="a slot already: the module itself"):
        inject(block, "SCSA")


def test_a_second_injection_takes_other_units_and_no_unit_twice(model):
    inject(model, "SCSA", where="layer4.*")
    with pytest.raises(
        ValueError, match=r"slot already: layer4\.0, layer4\.1\. .*without a slot: layer1\.0"
    ):
        inject(model, "ECA")
    inject(model, "ECA", where="layer[123].*", slot="out")
    assert {name: type(unit.attn).__name__ for name, unit in slotted(model)} == {
        name: "SCSA" if name.startswith("layer4") else "ECA" for name in UNITS
    }
    with pytest.raises(ValueError, match="without a slot: none"):
        inject(model, "ECA")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        pytest.param(
            ("SCSB",), {}, ValueError, "unknown attention 'SCSB'. Did you mean SCSA?", id="name"
        ),
        pytest.param(
            ("ECA",),
            {"window": 7},
            ValueError,
            "ECA has no option 'window'",
            id="another module's option",
        ),
        pytest.param(("SCSA",), {"window": "7"}, ValueError, "window", id="wrong type of option"),
        pytest.param(
            ("Identity",),
            {"start": "identity"},
            ValueError,
            "Identity returns its input when it is new",
            id="identity start of Identity",
        ),
        pytest.param(
            ("Conv1x1",),
            {"start": "identity"},
            ValueError,
            "Conv1x1 returns its input when it is new",
            id="identity start of Conv1x1",
        ),
        pytest.param(
            ("SCSA",),
            {"channels": 32},
            ValueError,
            "SCSA has no option 'channels'",
            id="the width among the options",
        ),
        pytest.param(
            ("SCSA",),
            {"where": re.compile(rb"layer4")},
            TypeError,
            "where must be a glob",
            id="where of bytes",
        ),
        pytest.param(
            ("SCSA",), {"where": ["layer4.*"]}, TypeError, "where must be a glob", id="where a list"
        ),
        pytest.param(("SCSA",), {"where": 3}, TypeError, "where must be a glob", id="where 3"),
        pytest.param(
            ("SCSA",),
            {"slot": "in"},
            ValueError,
            "slot must be one of 'mid', 'out', got 'in'",
            id="slot",
        ),
        pytest.param(
            ("SCSA",), {"slot": ["mid"]}, ValueError, "slot must be one of", id="type of slot"
        ),
        pytest.param(
            ("SCSA",),
            {"start": "zero"},
            ValueError,
            "start must be one of 'paper', 'identity'",
            id="start",
        ),
        pytest.param(
            ("SCSA",),
            {"where": 4},
            TypeError,
            "where must be a glob such as 'layer4.*'",
            id="type of where",
        ),
    ],
)
def test_wrong_arguments_say_what_is_right(model, arguments, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        inject(model, *arguments, **options)
    assert not given(model)


def test_what_has_no_unit_is_told_the_families():
    with pytest.raises(
        ValueError,
        match=r"Linear has no residual unit of a known family\. Known: torchvision's ResNet",
    ):
        inject(nn.Linear(4, 4), "SCSA")
    with pytest.raises(TypeError, match=r"takes a torch\.nn\.Module, got dict"):
        inject({}, "SCSA")


@pytest.mark.usefixtures("attention_registry")
@pytest.mark.filterwarnings("ignore:attention 'Narrow'")  # is never in a checkpoint
@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_a_width_refused_late_leaves_the_model_untouched(model, images, error):
    @register_attention("Narrow")
    class Narrow(nn.Identity):
        def __init__(self, channels: int) -> None:
            if channels > 256:
                raise error(f"{channels} channels are too many")
            super().__init__()

    before, keys, types = (
        model(images),
        list(model.state_dict()),
        [type(m) for m in model.modules()],
    )
    with pytest.raises(
        ValueError, match=r"unit layer4\.0 \(BasicBlock\): 512 channels are too many"
    ):
        inject(model, "Narrow")
    assert [type(m) for m in model.modules()] == types
    assert list(model.state_dict()) == keys
    assert torch.equal(model(images), before)
    inject(model, "Narrow", where="layer[123].*")  # and the others can still have it


def test_random_state_and_stock_weights_stay(model):
    weights, state = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    inject(model, "Conv1x1", where="layer1.*")
    inject(model, "SCSA", where="layer[234].*")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in weights.items())


@pytest.mark.parametrize("training", [False, True])
def test_attention_follows_its_unit(model, training):
    model.double().train(training).requires_grad_(False)
    inject(model, "SCSA")
    for _, unit in slotted(model):
        assert all(p.dtype == torch.float64 and p.requires_grad for p in unit.attn.parameters())
        assert all(m.training == training for m in unit.attn.modules())


@pytest.mark.parametrize(
    "name", [name for name in attention_names() if name not in ("Identity", "Conv1x1")]
)
@pytest.mark.parametrize("slot", ["mid", "out"])
def test_identity_start_gives_the_stock_outputs(model, images, name, slot):
    want = model(images)
    inject(model, name, slot=slot, start="identity")
    assert all(isinstance(unit.attn, IdentityStart) for _, unit in slotted(model))
    assert torch.equal(model(images), want)


def test_options_reach_the_attention(model):
    inject(model, "SCSA", heads=2, window="global")
    assert "heads=2" in repr(model.layer1[0].attn)


@pytest.mark.parametrize("name", attention_names())
def test_every_attention_trains_in_a_channels_last_model(name, images):
    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5).to(memory_format=torch.channels_last)
    inject(model, name)
    model(images.to(memory_format=torch.channels_last)).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_exports(model, images):
    inject(model, "SCSA")
    exported = torch.export.export(model, (images,)).module()
    torch.testing.assert_close(exported(images), model(images), rtol=1e-5, atol=1e-6)


def test_ultralytics_models_take_it_too():
    from ultralytics.nn.tasks import DetectionModel

    model = DetectionModel("yolov8n.yaml", nc=3, verbose=False).eval()
    count = len(list(units(model)))
    assert len(given(inject(model, "SCSA"))) == count > 0
    assert model(torch.rand(1, 3, 64, 64))[0].shape[1] == 4 + 3


def paper_rows():
    rows = json.loads((ROOT / "benchmarks" / "paper_tables.json").read_text())["table2"]["rows"]
    return [row[1:3] for row in rows if row[0] == "ResNet-50" and row[1] != "none"]


@pytest.mark.parametrize(("name", "printed"), paper_rows())
def test_parameters_in_resnet50_round_to_the_papers(name, printed):
    with torch.device("meta"):
        model = inject(resnet50(), name, slot="out" if name in ("SE", "FCA", "CBAM") else "mid")
    counted = sum(p.numel() for p in model.parameters())
    # To three decimals first: CPCA's 27.3948 is printed as 27.40.
    assert round(round(counted / 1e6, 3) + 1e-9, 2) == printed


def examples():
    page = (ROOT / "docs" / "inject.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)


@pytest.mark.parametrize("code", examples(), ids=lambda code: str(examples().index(code)))
def test_the_examples_of_the_page_run(code):
    if "import timm" in code:
        pytest.importorskip("timm")
    exec(compile(code, "docs/inject.md", "exec"), {"__name__": "example"})


def test_a_fresh_process_reads_an_injected_model_and_imports_no_timm(
    model, images, tmp_path, run_python
):
    torch.save((inject(model, "SCSA"), images, model(images)), tmp_path / "model.pt")
    done = run_python(
        "import sys, torch\n"
        f"model, images, want = torch.load({str(tmp_path / 'model.pt')!r}, weights_only=False)\n"
        "assert torch.equal(model(images), want)\n"
        "print('timm' in sys.modules)"
    )
    assert done.text.splitlines()[-1] == "False"
