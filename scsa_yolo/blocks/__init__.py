"""Residual units with a slot named ``attn``: what a unit is, which classes are units, how one is given a slot.

Importing this room imports ``ultralytics.nn.modules``, whose blocks it subclasses, and marks all our module classes as
safe for ``torch.load(weights_only=True)``.
"""

import scsa_yolo.attention  # noqa: F401  a checkpoint's attention classes are marked safe there
from scsa_yolo.blocks import resnet_vd, stock
from scsa_yolo.blocks.identity_start import IdentityStart
from scsa_yolo.blocks.slot import SLOTS, Slot, add_unit, give_slot, slotted, units

__all__ = ["SLOTS", "IdentityStart", "Slot", "add_unit", "give_slot", "resnet_vd", "slotted", "stock", "units"]
