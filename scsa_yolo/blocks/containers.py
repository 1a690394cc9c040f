"""Which rows of a model YAML contain residual units."""

from __future__ import annotations

PARTS = ("backbone", "head")  # the keys of a model YAML that hold rows
# Blocks with residual units. The two whose arguments decide: A2C2f has them where its second, a2,
# is false, and ResNetLayer where its fourth, is_first, is not true (that one is the stem).
BLOCKS = (
    "Bottleneck",
    "BottleneckCSP",
    "C2",
    "C2f",
    "C2fAttn",
    "C2fCIB",
    "C3",
    "C3Ghost",
    "C3k2",
    "C3x",
    "GhostBottleneck",
    "RepNCSPELAN4",
    "ResNetLayer",
    "ResNetVDLayer",
)
BLOCKS_WITH_UNITS = f"{', '.join(BLOCKS)}, A2C2f (where a2 is false)"  # for error messages
