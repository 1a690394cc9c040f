"""Damage the package file by file, and say what becomes of torch and of stock models each time.

A script: ``damage.py import|stock SITE FILES.json``. SITE holds a copy of the package as a wheel
installs it. Each case is a fork of this process, which has imported nothing of ours: so each is as
good as a fresh interpreter, in milliseconds. The answers are printed as one line of JSON.

``import`` imports the torch that comes first on the path, a small one that runs the entry points
as the real one does. ``stock`` runs the entry points of the real torch beside Ultralytics, and then
what a user of stock models calls.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

KINDS: dict[str, bytes | None] = {
    "missing": None,
    "empty": b"",
    "cut": b"",  # the first half, see below
    "syntax": b"def (:\n",
    "raising": b"raise RuntimeError('made to fail')\n",
    "binary": b"\x00\x01\x02",
    "latin": b"# caf\xe9\n",
    "folder": None,
}
TINY = {
    "nc": 2,
    "backbone": [[-1, 1, "Conv", [16, 3, 2]], [-1, 1, "C2f", [16, True]]],
    "head": [[[1], 1, "Detect", ["nc"]]],
}


@contextlib.contextmanager
def damaged(file: Path, kind: str) -> Iterator[None]:
    """Damage a file for the time of the block."""
    aside = file.with_name(f"{file.name}.aside")
    file.rename(aside)
    if kind == "folder":
        file.mkdir()
    elif kind == "cut":
        whole = aside.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
    elif kind != "missing":
        file.write_bytes(KINDS[kind] or b"")
    try:
        yield
    finally:
        shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
        aside.rename(file)


def in_a_fork(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what the work returns in a child process, or the error that it ends with."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writing, "w") as pipe, warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            importlib.invalidate_caches()
            try:
                answer = work()
            except BaseException:  # noqa: BLE001  whatever it is, it is the answer
                answer = {"error": traceback.format_exc()}
            ours = [str(w.message) for w in said if "scsa_yolo" in str(w.message)]
            json.dump({**answer, "warned": ours}, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"error": "the process died"}


def import_torch() -> dict[str, Any]:
    import torch  # noqa: F401

    return {"registered": is_registered(), "loaded": sorted(ours_loaded())}


def is_registered() -> bool:
    return any(type(finder).__module__ == "scsa_yolo.host.hooks" for finder in sys.meta_path)


def ours_loaded() -> set[str]:
    return {name for name in sys.modules if name.split(".")[0] == "scsa_yolo"}


def use_stock_models() -> dict[str, Any]:
    """Run the entry points, and what a user of stock models calls."""
    import torch

    torch._import_device_backends()
    return {**stock(), "registered": is_registered(), "loaded": sorted(ours_loaded())}


def stock() -> dict[str, Any]:
    import torch
    from ultralytics.nn import tasks
    from ultralytics.utils import callbacks, checks

    torch.manual_seed(0)
    model = tasks.DetectionModel(dict(TINY), nc=2, verbose=False)
    model.load(tasks.DetectionModel(dict(TINY), nc=2, verbose=False))
    fused = model.eval().fuse(verbose=False)
    with torch.inference_mode():
        mean = fused(torch.ones(1, 3, 64, 64))[0].double().mean().item()
    file = checks.check_file("coco8.yaml")
    scale = tasks.yaml_model_load("yolov8s.yaml")["scale"]
    listed = callbacks.get_default_callbacks()
    return {"mean": mean, "file": Path(file).name, "scale": scale, "events": len(listed)}


def main(what: str, site: str, cases: str) -> None:
    work = import_torch
    answers: dict[str, Any] = {}
    if what == "stock":
        os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
        answers["without us"] = in_a_fork(stock)  # imports nothing here; see the next line
        import ultralytics.nn.tasks  # noqa: F401

        os.environ.pop("TORCH_DEVICE_BACKEND_AUTOLOAD")
        work = use_stock_models
    sys.path.insert(0, site)
    answers["whole"] = in_a_fork(work)
    for file, kind in json.loads(cases):
        with damaged(Path(site) / file, kind):
            answers[f"{file} {kind}"] = in_a_fork(work)
    print(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
