"""What a finished run's checkpoint is: its scores, its attention as found in it, and what it
costs.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from scsa_yolo.study.planning.plan import METRICS
from scsa_yolo.study.running.training import keep_threads

__all__ = ["attention", "latency", "measure"]

_REPEATS, _SECONDS = (
    50,
    5.0,
)  # of the latency, at most; the report calls it a guide, `scsa-yolo bench` measures


def measure(path: Path, job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a record that come from the checkpoint.

    Args:
        path: ``last.pt`` or ``best.pt``.
        job: See `scsa_yolo.study.running.worker`.

    Raises:
        ValueError: The checkpoint does not hold the attention of its arm.
    """
    from ultralytics import YOLO

    from scsa_yolo.complexity import cost

    loaded = YOLO(str(path))
    model = loaded.model.float().eval()
    found = attention(model)
    check_arm(found, job)
    imgsz = int(loaded.overrides.get("imgsz") or 640)
    costs = cost(model, imgsz)
    return {
        "attention": found,
        "parameters": costs.parameters,
        "gflops": round(costs.gflops, 4),
        "latency_ms": latency(model, imgsz, _device(job.get("device"))),
        "arguments": _arguments(loaded),
        **scores(path, job, imgsz),
    }


def attention(model: Any) -> dict[str, Any]:
    """Return class, count, parameters and slot of the attention modules of a built model."""
    from scsa_yolo.blocks import IdentityStart
    from scsa_yolo.host.row import read_rows
    from scsa_yolo.host.transfer import attention_modules

    modules = list(attention_modules(model).values())
    inner = [type(m.attention if isinstance(m, IdentityStart) else m) for m in modules]
    classes = sorted({f"{cls.__module__}.{cls.__qualname__}" for cls in inner})
    slots = sorted({row.slot for row in read_rows(model.yaml) if row.attention and row.block})
    return {
        "class": " + ".join(classes) or None,
        "count": len(modules),
        "parameters": sum(p.numel() for module in modules for p in module.parameters()),
        "slot": " + ".join(slots) or None,
    }


def check_arm(found: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    """Refuse a checkpoint without the attention that its arm asks for.

    Raises:
        ValueError: It holds another, or none.
    """
    from scsa_yolo.attention import attention_class

    name = (job["plan"]["arms"][job["run"]["arm"]] or {}).get("attention")
    if name is None:
        return
    cls = attention_class(name)
    if found["class"] != f"{cls.__module__}.{cls.__qualname__}":
        raise ValueError(
            f"the checkpoint holds {found['class'] or 'no attention'}, and its arm asks for {name}"
        )


def _device(device: Any) -> str:
    import torch

    if device in (None, ""):
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    first = str(device).split(",")[0]
    return f"cuda:{first}" if first.isdigit() else first


def latency(model: Any, imgsz: int, device: str) -> dict[str, Any]:
    """Time a fused copy of the model on one picture: a guide, taken while others may use the
    machine.

    Returns:
        ``median`` and ``p95`` in ms, and under what: ``imgsz``, ``batch``, ``device``, ``threads``
            (1 on a CPU).
    """
    import numpy as np
    import torch

    copy = deepcopy(model).to(device).eval().fuse(verbose=False)
    picture = torch.zeros(1, next(model.parameters()).shape[1], imgsz, imgsz, device=device)
    threads, times = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            end = time.perf_counter() + _SECONDS
            for number in range(_REPEATS + 3):
                begin = time.perf_counter()
                copy(picture)
                if device.startswith("cuda"):
                    torch.cuda.synchronize()
                now = time.perf_counter()
                times += [now - begin] if number >= 3 else []  # the first ones choose algorithms
                if now > end and len(times) >= 5:
                    break
    finally:
        torch.set_num_threads(threads)
    median, p95 = (round(float(value) * 1e3, 3) for value in np.percentile(times, (50, 95)))
    return {
        "median": median,
        "p95": p95,
        "imgsz": imgsz,
        "batch": 1,
        "device": device,
        "threads": 1,
    }


def _arguments(loaded: Any) -> dict[str, Any]:
    """Return the arguments that the trainer ended with, without those that say where files lie."""
    arguments = dict(loaded.ckpt.get("train_args") or {})
    where = (
        "model",
        "data",
        "project",
        "name",
        "save_dir",
        "resume",
        "exist_ok",
        "mode",
        "cfg",
        "device",
        "source",
    )
    kept = {key: _plain(arguments[key]) for key in sorted(arguments) if key not in where}
    if isinstance(kept.get("pretrained"), str):  # which weights it was counts, not where they lay
        path = Path(kept["pretrained"])
        digest = (
            hashlib.sha256(path.read_bytes()).hexdigest()
            if path.is_file()
            else "not there any more"
        )
        kept["pretrained"] = f"{path.name} sha256:{digest}"
    return kept


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def scores(path: Path, job: Mapping[str, Any], imgsz: int) -> dict[str, Any]:
    """Measure the checkpoint on the plan's split; return ``final`` and ``by_condition``."""
    from ultralytics import YOLO

    from scsa_yolo.evaluation import evaluate

    plan = job["plan"]
    rules = {METRICS[name][0] for name in plan.get("metrics", ())}
    model = YOLO(str(path))  # anew: validation fuses the model that it is given
    keep_threads(model, job.get("threads"))
    result = evaluate(
        model,
        job["data_yaml"],
        split=plan.get("split", "val"),
        rules="both" if "visdrone" in rules else None,
        imgsz=imgsz,
        batch=job["arguments"].get("batch"),
        device=None if job.get("device") is None else str(job["device"]).split(",")[0],
    )
    by_condition: dict[str, Any] = {}
    for condition in result.conditions():
        rows = [row for row in result.of(condition) if row.rules == "coco"]
        by_condition[condition] = {row.value: _named(row.scores, "coco") for row in rows}
    final: dict[str, Any] = {}
    for row in result.of("all"):
        final |= _named(row.scores, row.rules)
    return {"final": final, "by_condition": by_condition}


def _named(found: Any, rules: str) -> dict[str, float | None]:
    return {name: _share(getattr(found, key)) for name, (of, key) in METRICS.items() if of == rules}


def _share(value: float | None) -> float | None:
    return None if value is None or value != value else round(float(value), 6)
