"""Attention modules for convolutional feature maps, and the registry that names them.

Pure torch: nothing here imports Ultralytics or anything above this room. Every module is called as
``module = SCSA(channels, **options)`` and maps (B, C, H, W) to the same shape.
"""

from scsa_yolo.attention.base import Attention
from scsa_yolo.attention.pcsa import PCSA
from scsa_yolo.attention.registry import (
    attention_class,
    attention_names,
    attention_options,
    create_attention,
    register_attention,
)
from scsa_yolo.attention.scsa import SCSA
from scsa_yolo.attention.smsa import SMSA

for _cls in (SCSA, SMSA, PCSA):
    register_attention(_cls.__name__)(_cls)

__all__ = [
    "PCSA",
    "SCSA",
    "SMSA",
    "Attention",
    "attention_class",
    "attention_names",
    "attention_options",
    "create_attention",
    "register_attention",
]
