"""The models of torchvision and timm whose units have a slot, small enough to run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn


class Family(NamedTuple):
    """A stock model and what is known of its units."""

    stock: nn.Module
    units: int
    widths: dict[str, int]  # at the slots of the first unit


def torchvision(name: str) -> tuple[Callable[..., nn.Module], int, int, int]:
    from torchvision import models
    from torchvision.models.swin_transformer import (
        PatchMergingV2,
        SwinTransformer,
        SwinTransformerBlockV2,
    )

    resnet = partial(models.ResNet, models.resnet.Bottleneck)
    swin = partial(SwinTransformer, [4, 4], 16, [1, 2], [2, 2], [4, 4])
    dilation = {"replace_stride_with_dilation": [False, True, True]}
    return {
        "resnet-basic": (models.resnet18, 8, 64, 64),
        "resnet-bottleneck": (partial(resnet, [1, 1, 1, 2]), 5, 64, 256),
        "resnext": (partial(resnet, [1] * 4, groups=32, width_per_group=4), 4, 128, 256),
        "wide-resnet": (partial(resnet, [1] * 4, width_per_group=128), 4, 128, 256),
        "dilated": (partial(resnet, [1, 1, 1, 2], **dilation), 5, 64, 256),
        "mobilenet-v2": (models.mobilenet_v2, 17, 32, 16),
        "mobilenet-v3": (models.mobilenet_v3_small, 11, 16, 16),
        "swin": (swin, 3, 16, 16),
        "swin-v2": (
            partial(swin, block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2),
            3,
            16,
            16,
        ),
    }[name]


def timm(name: str) -> tuple[Callable[..., nn.Module], int, int, int]:
    import timm

    resnet, block = timm.models.resnet.ResNet, timm.models.resnet
    extras: dict[str, Any] = {
        "cardinality": 4,
        "base_width": 16,
        "avg_down": True,
        "act_layer": nn.SiLU,
        "aa_layer": timm.layers.BlurPool2d,
        "drop_path_rate": 0.2,
        "drop_block_rate": 0.1,
        "block_args": {"attn_layer": "se"},  # timm's own attention
    }
    return {
        "resnet-basic": (partial(resnet, block.BasicBlock, (1, 1, 1, 1)), 4, 64, 64),
        "resnet-bottleneck": (partial(resnet, block.Bottleneck, (1, 1, 1, 2)), 5, 64, 256),
        "resnet-extras": (partial(resnet, block.Bottleneck, (1, 1, 1, 2), **extras), 5, 64, 256),
        "resnet-basic-eca": (
            partial(resnet, block.BasicBlock, (1, 1, 1, 1), block_args={"attn_layer": "eca"}),
            4,
            64,
            64,
        ),
        "repvgg": (partial(timm.create_model, "repvgg_a0", drop_path_rate=0.1), 22, 48, 48),
        "repvit": (partial(timm.models.repvit.RepVit, embed_dim=(16, 32), depth=(2, 2)), 5, 16, 16),
    }[name]


FAMILIES = [
    *(
        (torchvision, name)
        for name in ("resnet-basic", "resnet-bottleneck", "resnext", "wide-resnet", "dilated")
    ),
    *((torchvision, name) for name in ("mobilenet-v2", "mobilenet-v3", "swin", "swin-v2")),
    *(
        (timm, name)
        for name in ("resnet-basic", "resnet-bottleneck", "resnet-extras", "resnet-basic-eca")
    ),
    *((timm, name) for name in ("repvgg", "repvit")),
]


@pytest.fixture(
    params=FAMILIES, ids=lambda param: f"{param[0].__name__} {param[1]}", scope="module"
)
def family(request: pytest.FixtureRequest, needs: Callable[..., None]) -> Family:
    """Each family in turn. Tests change copies of the stock model."""
    library, name = request.param
    needs(library.__name__)
    build, units, mid, out = library(name)
    torch.manual_seed(0)
    return Family(build(num_classes=5), units, {"mid": mid, "out": out})


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Two images."""
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
