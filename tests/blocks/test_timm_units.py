"""timm's units: with an identity in the slot they are the stock blocks, bit for bit."""

import copy
import io
from functools import partial

import pytest
import torch
from torch import nn

timm = pytest.importorskip("timm")

from scsa_yolo.blocks import slotted  # noqa: E402
from scsa_yolo.inject import inject  # noqa: E402

RESNET = partial(timm.models.resnet.ResNet, num_classes=5)
BASIC, BOTTLENECK = timm.models.resnet.BasicBlock, timm.models.resnet.Bottleneck
REPVIT = partial(timm.models.repvit.RepVit, embed_dim=(16, 32), depth=(2, 2), num_classes=5)
# build, units, width at the first unit's mid slot, and at its out slot
FAMILIES = {
    "resnet-basic": (partial(RESNET, BASIC, (1, 1, 1, 1)), 4, 64, 64),
    "resnet-bottleneck": (partial(RESNET, BOTTLENECK, (1, 1, 1, 2)), 5, 64, 256),
    # its own attention, dropped paths and blocks, anti-aliasing, another activation
    "resnet-extras": (
        partial(
            RESNET,
            BOTTLENECK,
            (1, 1, 1, 2),
            cardinality=4,
            base_width=16,
            avg_down=True,
            act_layer=nn.SiLU,
            aa_layer=timm.layers.BlurPool2d,
            drop_path_rate=0.2,
            drop_block_rate=0.1,
            block_args={"attn_layer": "se"},
        ),
        5,
        64,
        256,
    ),
    "resnet-basic-se": (partial(RESNET, BASIC, (1, 1, 1, 1), block_args={"attn_layer": "eca"}), 4, 64, 64),
    "repvgg": (partial(timm.create_model, "repvgg_a0", num_classes=5, drop_path_rate=0.1), 22, 48, 48),
    "repvit": (REPVIT, 5, 16, 16),
}
SLOTS = ("mid", "out")


@pytest.fixture(params=FAMILIES, scope="module")
def family(request):
    build, count, mid, out = FAMILIES[request.param]
    torch.manual_seed(0)
    return build(), count, {"mid": mid, "out": out}


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def seeded(model, images):
    torch.manual_seed(2)  # dropped paths and blocks
    return model(images)


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("training", [False, True])
def test_an_identity_in_timms_slot_is_the_stock_model(family, slot, training, images):
    stock = copy.deepcopy(family[0]).train(training)
    model = inject(copy.deepcopy(stock), "Identity", slot=slot)
    assert torch.equal(seeded(stock, images), seeded(model, images))
    assert stock.state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize("slot", SLOTS)
def test_every_unit_of_timm_gets_its_width_and_a_gradient(family, slot, images):
    stock, count, widths = family
    model = inject(copy.deepcopy(stock), "SCSA", slot=slot).train()
    made = list(slotted(model))
    assert len(made) == count
    assert made[0][1].attn.channels == widths[slot]
    new = model.state_dict().keys() - stock.state_dict().keys()
    assert new == {f"{name}.attn.{key}" for name, unit in made for key in unit.attn.state_dict()}
    assert not stock.state_dict().keys() - model.state_dict().keys()
    seeded(model, images).square().sum().backward()
    assert all(p.grad is not None for _, unit in made for p in unit.attn.parameters())


@pytest.mark.parametrize("slot", SLOTS)
def test_copies_and_files_of_timm_models_keep_the_slot(family, slot, images):
    model = inject(copy.deepcopy(family[0]), "ECA", slot=slot).eval()
    want = seeded(model, images)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert torch.equal(seeded(other, images), want)
    safe = torch.serialization.get_safe_globals()
    assert all(type(unit) in safe for _, unit in slotted(model))


def test_repvgg_still_folds_its_branches(images):
    model = inject(timm.create_model("repvgg_a0", num_classes=5), "SCSA").eval()
    want = model(images)
    before = sum(p.numel() for p in model.parameters())
    for _, unit in slotted(model):
        unit.reparameterize()
    assert sum(p.numel() for p in model.parameters()) < before
    torch.testing.assert_close(model(images), want, rtol=1e-3, atol=1e-4)


def test_a_folded_repvgg_takes_a_slot(images):
    model = timm.utils.reparameterize_model(timm.create_model("repvgg_a0", num_classes=5)).eval()
    want = model(images)
    assert torch.equal(inject(model, "Identity")(images), want)


def test_repvgg_with_timms_own_attention_is_refused():
    model = timm.create_model("repvgg_a0", num_classes=5, attn_layer="se")
    with pytest.raises(ValueError, match=r"unit stem .* timm put SEModule into this RepVggBlock's attn"):
        inject(model, "SCSA")
    assert not list(slotted(model))


def test_repvit_folds_before_and_after(images):
    torch.manual_seed(0)
    model = inject(REPVIT().eval(), "SCSA")
    want = model(images)
    torch.testing.assert_close(model.fuse()(images), want, rtol=1e-3, atol=1e-4)
    folded = inject(REPVIT().eval().fuse(), "SCSA")
    assert [unit.attn.channels for _, unit in slotted(folded)] == [16, 16, 16, 32, 32]


def test_scsa_replaces_se_in_repvit_as_the_docs_say():
    model = REPVIT()
    with_se = {name for name, m in model.named_modules() if name.endswith(".se") and not isinstance(m, nn.Identity)}
    for name in with_se:
        model.set_submodule(name, nn.Identity())
    inject(model, "SCSA", where=lambda name, unit: f"{name}.se" in with_se)
    assert [name for name, _ in slotted(model)] == ["stages.0.blocks.0", "stages.1.blocks.0"]
    assert not [key for key in model.state_dict() if ".se." in key]
