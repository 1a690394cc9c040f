"""Distributed training: the worker file in a fresh interpreter, and two processes that end with one
set of weights.

Ultralytics trains on several GPUs only. What it refuses on a CPU is replaced by :data:`ON_CPU`, in
the test alone.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

MAKE = """
import sys
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils.dist import generate_ddp_file

data, project, *models = sys.argv[1:]
settings = dict(data=data, project=project, name="ddp", imgsz=64, epochs=1, workers=0, device="cpu")
for model in models:
    print("file", generate_ddp_file(DetectionTrainer(overrides={**settings, "model": model})))
"""
# Run as the launcher would run it, up to the point where the model exists.
WORK = """
import runpy, sys
from ultralytics.engine.trainer import BaseTrainer

def train(self):
    self.setup_model()
    print("units", sum(type(module).__name__ == "BottleneckMid" for module in self.model.modules()))

BaseTrainer.train = train
runpy.run_path(sys.argv[1], run_name="__main__")
"""
ON_CPU = """
import os, sys
import torch
import torch.distributed as dist
from torch import nn

dist.init_process_group("gloo")  # before the trainer exists: its constructor already waits for rank 0
rank, world = dist.get_rank(), dist.get_world_size()

from ultralytics.models.yolo.detect import DetectionTrainer

class Parallel(nn.parallel.DistributedDataParallel):
    def __init__(self, module, device_ids=None, **settings):
        super().__init__(module, **settings)

class Trainer(DetectionTrainer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.world_size = world  # 0 on a CPU, and the loss is multiplied by it

    def _setup_ddp(self):
        self.device = torch.device("cpu")

    def final_eval(self):
        dist.barrier()

nn.parallel.DistributedDataParallel = Parallel
data, project = sys.argv[1:]
settings = dict(model="yolov8n-scsa.yaml", data=data, project=project, name="gloo", imgsz=64, epochs=2, batch=4)
trainer = Trainer(overrides={**settings, "workers": 0, "device": "cpu", "plots": False, "val": False, "nbs": 4})
trainer.train()
from scsa_yolo.blocks import slotted

model = trainer.model.module
weights = torch.cat([p.detach().flatten() for p in model.parameters()])
everyone = [torch.empty_like(weights) for _ in range(world)]
dist.all_gather(everyone, weights)
if rank == 0:
    drift = [float((unit.attn.norm.weight.detach() - 1).abs().max()) for _, unit in slotted(model)]  # these start at 1
    print("units", len(drift), "learned", all(drift), "finite", bool(torch.isfinite(weights).all()))
    print("equal", all(torch.equal(weights, other) for other in everyone))
dist.barrier()
sys.stdout.flush()
os._exit(0)  # gloo's threads may abort while the interpreter shuts down
"""


def test_the_workers_file_in_a_fresh_interpreter(workplace: Any, needs: Any) -> None:
    import inspect

    from ultralytics.utils import dist

    if "cloudpickle" in inspect.getsource(dist.generate_ddp_file):
        needs("cloudpickle")
    models = ("yolov8n-scsa.yaml", workplace.best)
    made = workplace.home.python(MAKE, workplace.data, workplace.home.folder, *models)
    files = [line.removeprefix("file ") for line in made.lines("file ")]
    assert len(files) == len(models)
    for file in files:
        assert workplace.home.python(WORK, file).lines("units") == ["units 10"]


def test_two_processes_end_with_equal_weights(workplace: Any, tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(ON_CPU)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = (
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        str(port),
    )
    done = workplace.home.run(
        *launcher, script, workplace.data, workplace.home.folder, OMP_NUM_THREADS="1"
    )
    assert done.lines("units") == ["units 10 learned True finite True"]
    assert done.lines("equal") == ["equal True"]
