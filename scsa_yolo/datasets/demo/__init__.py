"""The demo data set: drawn night scenes, made on the user's machine.

The packaged YAML imports ``make_demo`` from here.
"""

from scsa_yolo.datasets.demo.maker import make_demo

__all__ = ["make_demo"]
