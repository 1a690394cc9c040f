"""Attention modules for convolutional feature maps, and the registry that names them.

Pure torch: nothing here imports Ultralytics or anything above this room. Every module is called as
``module = SCSA(channels, **options)`` and maps (B, C, H, W) to the same shape.
"""

from scsa_yolo.attention.afgca import AFGCA
from scsa_yolo.attention.base import Attention
from scsa_yolo.attention.ca import CA
from scsa_yolo.attention.cbam import CBAM
from scsa_yolo.attention.controls import Conv1x1, Identity
from scsa_yolo.attention.cpca import CPCA
from scsa_yolo.attention.eca import ECA
from scsa_yolo.attention.ela import ELA
from scsa_yolo.attention.ema import EMA
from scsa_yolo.attention.fast.paths import use_plain
from scsa_yolo.attention.fca import FCA
from scsa_yolo.attention.pcsa import PCSA
from scsa_yolo.attention.registry import (
    attention_class,
    attention_names,
    attention_options,
    create_attention,
    register_attention,
)
from scsa_yolo.attention.sa import SA
from scsa_yolo.attention.scsa import SCSA
from scsa_yolo.attention.se import SE
from scsa_yolo.attention.smsa import SMSA

for _cls in (
    SCSA,
    SMSA,
    PCSA,
    SE,
    ECA,
    FCA,
    CBAM,
    CA,
    SA,
    EMA,
    CPCA,
    AFGCA,
    ELA,
    Identity,
    Conv1x1,
):
    register_attention(_cls.__name__)(_cls)

__all__ = [
    "AFGCA",
    "CA",
    "CBAM",
    "CPCA",
    "ECA",
    "ELA",
    "EMA",
    "FCA",
    "PCSA",
    "SA",
    "SCSA",
    "SE",
    "SMSA",
    "Attention",
    "Conv1x1",
    "Identity",
    "attention_class",
    "attention_names",
    "attention_options",
    "create_attention",
    "register_attention",
    "use_plain",
]
