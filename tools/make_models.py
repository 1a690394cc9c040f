"""Make the packaged models/ from the installed Ultralytics' stock YAMLs: python
tools/make_models.py --write. Without --write it names the files that would change.

Run it after a new Ultralytics release changed a stock model; tests/test_models.py tells when that
is needed. Then run tools/make_costs.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scsa_yolo.grafting import graft, to_yaml

MODELS = Path(__file__).resolve().parent.parent / "models"
TASKS = {
    "": "object detection",
    "-seg": "instance segmentation",
    "-pose": "pose",
    "-obb": "oriented boxes",
    "-cls": "classification",
}
FAMILIES = {
    "v8": ["yolov8", "yolov8-seg", "yolov8-pose", "yolov8-obb", "yolov8-cls"],
    "v9": ["yolov9t", "yolov9s", "yolov9m", "yolov9c", "yolov9e", "yolov9c-seg", "yolov9e-seg"],
    "v10": [f"yolov10{scale}" for scale in "nsmblx"],
    "11": ["yolo11", "yolo11-seg", "yolo11-pose", "yolo11-obb", "yolo11-cls"],
    "12": ["yolo12", "yolo12-seg", "yolo12-pose", "yolo12-obb", "yolo12-cls"],
    "26": ["yolo26", "yolo26-seg", "yolo26-pose", "yolo26-obb", "yolo26-cls"],
    "rt-detr": ["rtdetr-r18", "rtdetr-r34", "rtdetr-resnet50", "rtdetr-resnet101"],
}


def packaged_name(stock: str) -> str:
    """yolov8-seg -> yolov8-seg-scsa.yaml."""
    return f"{stock}-scsa.yaml"


def source(family: str, stock: str) -> str | Path:
    """The stock YAML, or ours where Ultralytics has none."""
    ours = MODELS / family / f"{stock}.yaml"
    return ours if ours.is_file() else f"{stock}.yaml"


def text(family: str, stock: str) -> str:
    """The packaged file: the stock rows with SCSA in every residual unit."""
    import yaml
    from ultralytics.utils.checks import check_file

    stock_dict = yaml.safe_load(
        Path(check_file(str(source(family, stock)))).read_text(encoding="utf-8")
    )
    task = next(
        (task for suffix, task in TASKS.items() if suffix and stock.endswith(suffix)), TASKS[""]
    )
    header = (
        f"{stock} with SCSA in its residual units, for {task}. Stock rows otherwise:"
        f" {stock}.yaml.\nOptions go into a row's arguments as a trailing mapping, such as"
        " {window: 7, start: identity, slot: out}."
    )
    return to_yaml(graft(stock_dict, "SCSA"), header=header)


def main() -> None:
    """Write every packaged model with SCSA, or say which would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the files")
    args = parser.parse_args()
    for family, stocks in FAMILIES.items():
        for stock in stocks:
            path = MODELS / family / packaged_name(stock)
            made = text(family, stock)
            if path.is_file() and path.read_text(encoding="utf-8") == made:
                continue
            if args.write:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(made, encoding="utf-8")
            print(f"{path.relative_to(MODELS.parent)} {'written' if args.write else 'differs'}")


if __name__ == "__main__":
    main()
