"""Train a detector from this checkout: everything that ``yolo train`` takes.

An installed package needs no script: ``yolo train ...`` does the same from any folder. This one
works without installation, and with autoload switched off. Several GPUs need the installed package,
in their worker processes.
"""

from __future__ import annotations

import sys

import scsa_yolo

USAGE = """python train.py model=<YAML or checkpoint> data=<YAML> [key=value ...]

  python train.py model=yolov8n-scsa.yaml data=scsa-demo.yaml imgsz=320 epochs=20
  python train.py model=yolo11s-scsa.yaml pretrained=yolo11s.pt data=VisDrone.yaml epochs=100
  python train.py resume=True model=runs/detect/train/weights/last.pt

Every setting of yolo train: https://docs.ultralytics.com/modes/train.
Our models: scsa-yolo models"""


def main(arguments: list[str]) -> None:
    """Hand the arguments to the stock ``yolo train``."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(USAGE)
        return
    scsa_yolo.register()
    sys.argv = ["yolo", "train", *arguments]  # Ultralytics reads its arguments from here
    from ultralytics.cfg import entrypoint

    entrypoint()


if __name__ == "__main__":
    main(sys.argv[1:])
