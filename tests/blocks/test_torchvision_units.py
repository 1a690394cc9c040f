"""What is particular to torchvision's units: restricted loading, detectors and segmenters."""

import io

import pytest
import torch
from torch import nn
from torchvision import models

from scsa_yolo.blocks import slotted, units
from scsa_yolo.injection import inject


def test_a_safe_load_reads_a_unit():
    unit = inject(models.resnet.BasicBlock(8, 8), "SCSA")
    file = io.BytesIO()
    torch.save(unit, file)
    file.seek(0)
    stock = [
        nn.Conv2d,
        nn.BatchNorm2d,
        nn.ReLU,
        nn.Conv1d,
        nn.GroupNorm,
        nn.Identity,
        nn.Sigmoid,
        nn.Dropout,
    ]
    with torch.serialization.safe_globals(
        [*stock, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.ModuleList]
    ):
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
    "ssdlite": (
        models.detection.ssdlite320_mobilenet_v3_large,
        14,
    ),  # torchvision takes one of the 15 blocks apart
    "lraspp": (models.segmentation.lraspp_mobilenet_v3_large, 15),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_and_segmenters_have_the_units_of_their_backbone(name):
    build, count = DETECTORS[name]
    with torch.device("meta"):
        model = inject(build(weights=None, weights_backbone=None, num_classes=3), "SCSA")
    assert len(list(slotted(model))) == count
    assert not list(units(model))
    assert all(
        p.device.type == "meta" for _, unit in slotted(model) for p in unit.attn.parameters()
    )


@pytest.mark.parametrize("slot", ["mid", "out"])
def test_a_detector_with_frozen_norms_trains(slot):
    backbone = models.detection.backbone_utils.resnet_fpn_backbone(
        backbone_name="resnet18",
        weights=None,
        norm_layer=models.detection.backbone_utils.misc_nn_ops.FrozenBatchNorm2d,
    )
    model = inject(
        models.detection.FasterRCNN(backbone, 3, min_size=64, max_size=64), "SCSA", slot=slot
    ).train()
    target = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 40.0]]), "labels": torch.tensor([1])}
    loss = sum(model([torch.rand(3, 64, 64)], [target]).values())
    loss.backward()
    assert all(p.grad is not None for _, unit in slotted(model) for p in unit.attn.parameters())
    assert model.eval()([torch.rand(3, 64, 64)])[0].keys() == {"boxes", "labels", "scores"}


def test_dilated_deeplab_with_an_identity_is_stock(images):
    torch.manual_seed(0)
    stock = models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=3
    ).eval()
    want = stock(images)["out"]
    assert torch.equal(inject(stock, "Identity")(images)["out"], want)
