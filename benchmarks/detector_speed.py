"""Detectors with an attention module against their own stock: the preset ``detectors`` of
``scsa-yolo bench``.

    python benchmarks/detector_speed.py [--threads 2] [--attention SCSA] [--imgsz 640] [--rounds 60]
    [--formats pytorch]

Prints the table; --write keeps it in benchmarks/records/detector_speed.json.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scsa_yolo.benchmark.calls import Settings
from scsa_yolo.benchmark.measuring import bench
from scsa_yolo.benchmark.output import table, write_json
from scsa_yolo.benchmark.presets import PRESETS

RECORD = Path(__file__).resolve().parent / "records" / "detector_speed.json"


def main() -> None:
    """Measure all models; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--attention", default="SCSA")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--formats", default="pytorch", help="such as pytorch,onnx,openvino")
    parser.add_argument("--write", action="store_true", help=f"write records/{RECORD.name}")
    parser.add_argument("--output", type=Path, help="write this file")
    args = parser.parse_args()
    preset = PRESETS["detectors"]
    typed = {"threads": args.threads, "imgsz": args.imgsz, "rounds": args.rounds, "device": "cpu"}
    settings = Settings(**{**preset.settings, **typed, "formats": tuple(args.formats.split(","))})
    result = bench(
        preset.groups(args.attention.split(",")),
        settings,
        say=lambda text: print(text, file=sys.stderr),
    )
    print(table(result))
    output = args.output or (RECORD if args.write else None)
    if output is not None:
        output.parent.mkdir(exist_ok=True)
        write_json(result, output, times=False)


if __name__ == "__main__":
    main()
