"""Residual units with a slot named ``attn``: what a unit is, which classes are units, how one is
given a slot.

Importing this room imports ``ultralytics.nn.modules``, whose blocks it subclasses, and marks all
our module classes as safe for ``torch.load(weights_only=True)``.
"""

from scsa_yolo.attention import attention_names
from scsa_yolo.blocks import feedforward, resnet_vd, stock
from scsa_yolo.blocks.containers import (
    BLOCKS,
    BLOCKS_WITH_FFN,
    BLOCKS_WITH_UNITS,
    FFN,
    FFN_BLOCKS,
    PARTS,
)
from scsa_yolo.blocks.folding import fix_size, fold, use_portable
from scsa_yolo.blocks.identity_start import STARTS, IdentityStart
from scsa_yolo.blocks.making import check_attention_options, make_attention
from scsa_yolo.blocks.slot import (
    KINDS,
    SLOTS,
    UNTRAINED,
    Slot,
    add_unit,
    give_slot,
    mark_untrained,
    slot_width,
    slotted,
    units,
)

__all__ = [
    "BLOCKS",
    "BLOCKS_WITH_FFN",
    "BLOCKS_WITH_UNITS",
    "FFN",
    "FFN_BLOCKS",
    "KINDS",
    "PARTS",
    "SLOTS",
    "STARTS",
    "UNTRAINED",
    "IdentityStart",
    "Slot",
    "add_unit",
    "check_attention_options",
    "feedforward",
    "fix_size",
    "fold",
    "give_slot",
    "make_attention",
    "mark_untrained",
    "resnet_vd",
    "slot_width",
    "slotted",
    "stock",
    "units",
    "use_portable",
]

# Ours are marked safe by their import; this imports third parties' modules, which are in
# checkpoints just as well.
attention_names()
