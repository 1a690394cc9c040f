"""What is particular to timm's units: folding, and attention of timm's own."""

from functools import partial

import pytest
import torch
from torch import nn

timm = pytest.importorskip("timm")

from scsa_yolo.blocks import slotted  # noqa: E402
from scsa_yolo.injection import inject  # noqa: E402

REPVIT = partial(timm.models.repvit.RepVit, embed_dim=(16, 32), depth=(2, 2), num_classes=5)


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
    with pytest.raises(
        ValueError, match=r"unit stem .* timm put SEModule into this RepVggBlock's attn"
    ):
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
    with_se = {
        name
        for name, m in model.named_modules()
        if name.endswith(".se") and not isinstance(m, nn.Identity)
    }
    for name in with_se:
        model.set_submodule(name, nn.Identity())
    inject(model, "SCSA", where=lambda name, unit: f"{name}.se" in with_se)
    assert [name for name, _ in slotted(model)] == ["stages.0.blocks.0", "stages.1.blocks.0"]
    assert not [key for key in model.state_dict() if ".se." in key]
