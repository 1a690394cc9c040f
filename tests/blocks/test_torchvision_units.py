"""torchvision's units: with an identity in the slot they are the stock blocks, bit for bit."""

import copy
import io
from functools import partial

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

from scsa_yolo.blocks import slotted, units
from scsa_yolo.inject import inject

SWIN = partial(SwinTransformer, [4, 4], 16, [1, 2], [2, 2], [4, 4])
# build, units, width at the first unit's mid slot, and at its out slot
FAMILIES = {
    "resnet-basic": (models.resnet18, 8, 64, 64),
    "resnet-bottleneck": (partial(models.ResNet, models.resnet.Bottleneck, [1, 1, 1, 2]), 5, 64, 256),
    "resnext": (partial(models.ResNet, models.resnet.Bottleneck, [1] * 4, groups=32, width_per_group=4), 4, 128, 256),
    "wide-resnet": (partial(models.ResNet, models.resnet.Bottleneck, [1] * 4, width_per_group=128), 4, 128, 256),
    "dilated": (
        partial(
            models.ResNet, models.resnet.Bottleneck, [1, 1, 1, 2], replace_stride_with_dilation=[False, True, True]
        ),
        5,
        64,
        256,
    ),
    "mobilenet-v2": (models.mobilenet_v2, 17, 32, 16),
    "mobilenet-v3": (models.mobilenet_v3_small, 11, 16, 16),
    "swin": (SWIN, 3, 16, 16),
    "swin-v2": (partial(SWIN, block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2), 3, 16, 16),
}
SLOTS = ("mid", "out")


@pytest.fixture(params=FAMILIES, scope="module")
def family(request):
    build, count, mid, out = FAMILIES[request.param]
    torch.manual_seed(0)
    return build(num_classes=5), count, {"mid": mid, "out": out}


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def seeded(model, images):
    torch.manual_seed(2)  # dropout and stochastic depth
    return model(images)


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("training", [False, True])
def test_an_identity_in_the_slot_is_the_stock_model(family, slot, training, images):
    stock = copy.deepcopy(family[0]).train(training)
    model = inject(copy.deepcopy(stock), "Identity", slot=slot)
    want, got = seeded(stock, images), seeded(model, images)
    assert torch.equal(want, got)
    assert stock.state_dict().keys() == model.state_dict().keys()
    if training:
        want.square().sum().backward()
        got.square().sum().backward()
        grads = dict(model.named_parameters())
        for name, p in stock.named_parameters():
            # Autograd sums the two paths of a block in another order.
            torch.testing.assert_close(grads[name].grad, p.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("slot", SLOTS)
def test_every_unit_gets_the_width_at_its_slot_and_a_gradient(family, slot, images):
    stock, count, widths = family
    model = inject(copy.deepcopy(stock), "SCSA", slot=slot).train()
    made = list(slotted(model))
    assert len(made) == count
    assert made[0][1].attn.channels == widths[slot]
    out = seeded(model, images)
    assert out.shape == (2, 5)
    out.square().sum().backward()
    for name, unit in made:
        for key, p in unit.attn.named_parameters():
            assert p.grad is not None, f"{name}.attn.{key}"


@pytest.mark.parametrize("slot", SLOTS)
def test_stock_keys_stay_and_only_attn_is_new(family, slot):
    stock = family[0]
    model = inject(copy.deepcopy(stock), "SCSA", slot=slot)
    new = model.state_dict().keys() - stock.state_dict().keys()
    assert new
    assert all(any(key.startswith(f"{name}.attn.") for name, _ in slotted(model)) for key in new)
    assert not stock.state_dict().keys() - model.state_dict().keys()
    missing, unexpected = model.load_state_dict(stock.state_dict(), strict=False)
    assert set(missing) == new
    assert not unexpected


@pytest.mark.parametrize("slot", SLOTS)
def test_copies_and_files_keep_the_slot(family, slot, images):
    model = inject(copy.deepcopy(family[0]), "ECA", slot=slot).eval()
    want = seeded(model, images)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert torch.equal(seeded(other, images), want)
    safe = torch.serialization.get_safe_globals()
    assert all(type(unit) in safe for _, unit in slotted(model))


def test_a_safe_load_reads_a_unit():
    unit = inject(models.resnet.BasicBlock(8, 8), "SCSA")
    file = io.BytesIO()
    torch.save(unit, file)
    file.seek(0)
    stock = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv1d, nn.GroupNorm, nn.Identity, nn.Sigmoid, nn.Dropout]
    with torch.serialization.safe_globals([*stock, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.ModuleList]):
        loaded = torch.load(file, weights_only=True)
    assert type(loaded) is type(unit)


DETECTORS = {
    "faster-rcnn": (models.detection.fasterrcnn_resnet50_fpn, 16),
    "mask-rcnn": (models.detection.maskrcnn_resnet50_fpn, 16),
    "retinanet": (models.detection.retinanet_resnet50_fpn, 16),
    "keypoint-rcnn": (models.detection.keypointrcnn_resnet50_fpn, 16),
    "fcos": (models.detection.fcos_resnet50_fpn, 16),
    "deeplab": (models.segmentation.deeplabv3_resnet50, 16),
    "fcn": (models.segmentation.fcn_resnet101, 33),
    "ssdlite": (models.detection.ssdlite320_mobilenet_v3_large, 14),  # torchvision takes one of the 15 blocks apart
    "lraspp": (models.segmentation.lraspp_mobilenet_v3_large, 15),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_and_segmenters_have_the_units_of_their_backbone(name):
    build, count = DETECTORS[name]
    with torch.device("meta"):
        model = inject(build(weights=None, weights_backbone=None, num_classes=3), "SCSA")
    assert len(list(slotted(model))) == count
    assert not list(units(model))
    assert all(p.device.type == "meta" for _, unit in slotted(model) for p in unit.attn.parameters())


@pytest.mark.parametrize("slot", SLOTS)
def test_a_detector_with_frozen_norms_trains(slot):
    backbone = models.detection.backbone_utils.resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, norm_layer=models.detection.backbone_utils.misc_nn_ops.FrozenBatchNorm2d
    )
    model = inject(models.detection.FasterRCNN(backbone, 3, min_size=64, max_size=64), "SCSA", slot=slot).train()
    target = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 40.0]]), "labels": torch.tensor([1])}
    loss = sum(model([torch.rand(3, 64, 64)], [target]).values())
    loss.backward()
    assert all(p.grad is not None for _, unit in slotted(model) for p in unit.attn.parameters())
    assert model.eval()([torch.rand(3, 64, 64)])[0].keys() == {"boxes", "labels", "scores"}


def test_dilated_deeplab_with_an_identity_is_stock(images):
    torch.manual_seed(0)
    stock = models.segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=3).eval()
    want = stock(images)["out"]
    assert torch.equal(inject(stock, "Identity")(images)["out"], want)
