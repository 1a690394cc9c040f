"""The plan that ``scsa-yolo study init`` writes."""

from __future__ import annotations

import re

__all__ = ["TEMPLATE", "template"]

TEMPLATE = """\
# A study: the same training with different things in the residual units, seed by seed.
# Fix it before the first run; its hash goes into every record, and a changed plan needs a folder of its own.
#
#     scsa-yolo study check THIS.yaml      builds every arm, checks the data, counts the runs
#     scsa-yolo study run THIS.yaml        does them; type it again after an interruption
#     scsa-yolo study report runs/study/NAME

name: my-study

# Model YAMLs that arms start from: names as for `yolo`, or paths.
models: [yolov8n.yaml]

# Data YAMLs: names as for `yolo`, or paths.
data: [scsa-demo.yaml]

# What is in the slot. Everything else is the same in all arms.
arms:
  stock: {} # the model as it is
  scsa: {attention: SCSA}
  # scsa-wide: {attention: SCSA, options: {window: 9}, slot: mid, start: paper, rows: [2, 4]}
  # identity: {attention: Identity} # the slot alone
  # conv1x1: {attention: Conv1x1} # as many parameters, no attention
  # one-size-up: {scale: s} # what the next size brings
  # transfer: {attention: SCSA, start: identity, pretrained: stock.pt}

# The arm that the others are compared with.
control: stock

# Every arm runs with every seed. One arm on one data set at p <= 0.05 needs 6 seeds at least; several arms, models or
# data sets need more (`study check` says how many). No verdict is given before the last run has its record.
seeds: [0, 1, 2, 3, 4, 5]

# Optional: the same run again, which shows how much two equal runs differ.
# repeats: {arm: stock, seed: 0, times: 2}

# Ultralytics' training arguments, the same for all runs.
train:
  epochs: 20
  imgsz: 320
  batch: 16
  optimizer: SGD # "auto" would choose optimizer and learning rate by the number of steps
  lr0: 0.01
  patience: 0 # no early stop: every run trains the same number of epochs; so it is without this line

# Scores on the split below, as `scsa-yolo evaluate` measures them; verdicts are about the primary one.
metrics: [AP, AP50, AP75, AP_small, AP_medium, AP_large]
primary: AP
split: val

# last or best. The best epoch is chosen on the validation pictures, so its score there is too good.
weights: last

# margin: the least difference that would matter, in units of the metric (0.005 is half a point of AP).
verdict: {alpha: 0.05, margin: 0.005, interval: bca, confidence: 0.95}

# Optional: errors of `scsa-yolo data check` that shall not stop a run.
# accept: [box-degenerate]
"""


def template(name: str) -> str:
    """Return the plan under a name: that of its file, so that its study's folder is its own."""
    letters = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")
    return TEMPLATE.replace("name: my-study\n", f"name: {letters or 'my-study'}\n", 1)
