"""Which layers of a trained model lose accuracy in 8 bits: the figures of docs/deploy.md.

    yolo train model=yolov8n-scsa.yaml data=hituav.yaml epochs=10 imgsz=256 batch=16 seed=0
    python benchmarks/int8_layers.py runs/detect/train/weights/last.pt PICTURES [--imgsz 256]

PICTURES is a folder; its first pictures calibrate, and the change is measured on the next ones.
Prints the table, and writes benchmarks/records/int8_layers.json.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

RECORD = Path(__file__).resolve().parent / "records" / "int8_layers.json"


def main() -> int:
    """Make the report; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a checkpoint")
    parser.add_argument("pictures", type=Path, help="a folder of the task's own pictures")
    parser.add_argument("--imgsz", type=int, default=256, help="side in pixels (default: 256)")
    parser.add_argument("--calibrate", type=int, default=32, help="pictures (default: 32)")
    parser.add_argument("--measure", type=int, default=8, help="pictures (default: 8)")
    parser.add_argument("-o", "--output", type=Path, default=RECORD)
    args = parser.parse_args()

    from scsa_yolo.deploy.export import open_model
    from scsa_yolo.deploy.images import network_input, read_images
    from scsa_yolo.deploy.int8 import format_report, layer_report, write_report

    wanted = args.calibrate + args.measure
    paths = sorted(path for path in args.pictures.iterdir() if path.is_file())[:wanted]
    if len(paths) < wanted:
        parser.error(f"{args.pictures} holds {len(paths)} files, {wanted} pictures are needed")
    shape = (len(paths), 3, args.imgsz, args.imgsz)
    images = network_input(read_images(paths), shape)
    network = open_model(args.model).model.float().eval().fuse(verbose=False)
    losses = layer_report(
        network,
        images[args.calibrate :],
        calibration=images[: args.calibrate],
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    print(format_report(losses, 20))
    write_report(losses, args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
