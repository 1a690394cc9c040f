"""Export a trained detector from this checkout, and prove each result equal to it: ``scsa-yolo
export``, as a script.

An installed package needs no script: ``scsa-yolo export ...`` does the same from any folder.
"""

from __future__ import annotations

import argparse
import sys

USAGE = """python export.py model=<checkpoint> format=<format>[,<format> ...] [key=value ...]

  python export.py model=runs/detect/train/weights/best.pt format=onnx imgsz=640
  python export.py model=best.pt format=onnx,openvino dynamic=True
  python export.py model=best.pt format=openvino quantize=8 data=my.yaml
  python export.py model=best.pt format=engine quantize=16 device=0

Every setting of yolo export: https://docs.ultralytics.com/modes/export
Besides: --images PATH ..., --rounds N (timed rounds, 0: none), --threads N"""


def main(arguments: list[str]) -> int:
    """Run ``scsa-yolo export`` and return its exit code."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(USAGE)
        return 0
    from scsa_yolo.deploy import command

    parser = argparse.ArgumentParser(prog="export.py", usage=USAGE)
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
