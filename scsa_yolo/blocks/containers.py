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

# Rows that put attention into the feed-forward branch of a block's attention units, and the stock
# block of each. Names of their own: elsewhere C2PSA_X means a block whose own attention became X.
FFN = "FFN"
FFN_BLOCKS = {f"{block}{FFN}": block for block in ("C2PSA", "C2fPSA", "PSA", "C3k2", "A2C2f")}
BLOCKS_WITH_FFN = "C2PSA, C2fPSA, PSA, C3k2 (where attn is true), A2C2f (where a2 is true)"
