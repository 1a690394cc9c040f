"""The only room that touches Ultralytics' internals; README.md beside this file lists every
contract it relies on.

This module, ``autoload``, ``hooks``, ``registration`` and ``names`` import the standard library
alone, because they run inside ``import torch``.
"""

from scsa_yolo.host.registration import patched_names, register, registered, unregister

__all__ = ["patched_names", "register", "registered", "unregister"]
