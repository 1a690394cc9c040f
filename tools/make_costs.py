"""Count every packaged model at every size and write scsa_yolo/modelfiles/costs.json, the table
that ``scsa-yolo models`` prints: python tools/make_costs.py --write.

Some ten minutes on two cores. Run it after tools/make_models.py has changed a model, on the newest
Ultralytics; tests/test_models.py tells when that is needed.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version

from scsa_yolo.modelfiles import catalogue, costs
from scsa_yolo.support.files import write_json


def main() -> int:
    """Count, and write the table where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", nargs="?", default="", help="count only names that contain this")
    parser.add_argument("--write", action="store_true", help="write the table (all models)")
    args = parser.parse_args()
    if args.write and args.text:
        parser.error("the table holds all models: leave out the name, or --write")
    chosen = catalogue.select(catalogue.entries(), args.text, None)
    versions = {name: version(name) for name in ("ultralytics", "torch")}
    content = costs.counted(chosen, versions, lambda text: print(text, file=sys.stderr, flush=True))
    if args.write:
        write_json(costs.TABLE, content, indent=1)
        print(f"wrote {costs.TABLE}")
        return 0
    for row in content["rows"]:
        print(f"{row['name']}: {row['parameters']:,} parameters, {row['gflops']:.3f} GFLOPs")
    print("nothing is written; add --write")
    return 0


if __name__ == "__main__":
    sys.exit(main())
