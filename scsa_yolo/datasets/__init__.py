"""Data sets in Ultralytics' layout, one file per set: drawn ones and, from their native formats, converted ones."""

from __future__ import annotations

from scsa_yolo.datasets.demo import make_demo

__all__ = ["make_demo"]
