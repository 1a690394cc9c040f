"""Export a trained detector from this checkout: everything that ``yolo export`` takes.

An installed package needs no script: ``yolo export ...`` does the same from any folder.
"""

from __future__ import annotations

import sys

import scsa_yolo

USAGE = """python export.py model=<checkpoint> format=<format> [key=value ...]

  python export.py model=runs/detect/train/weights/best.pt format=onnx imgsz=640
  python export.py model=best.pt format=onnx dynamic=True
  python export.py model=best.pt format=engine quantize=16 device=0

Every setting and format of yolo export: https://docs.ultralytics.com/modes/export"""


def main(arguments: list[str]) -> None:
    """Hand the arguments to the stock ``yolo export``."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(USAGE)
        return
    scsa_yolo.register()
    sys.argv = ["yolo", "export", *arguments]  # Ultralytics reads its arguments from here
    from ultralytics.cfg import entrypoint

    entrypoint()


if __name__ == "__main__":
    main(sys.argv[1:])
