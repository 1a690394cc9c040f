"""Peak memory of a model on the CPU, in a process of its own.

It is the high-water mark of resident memory that Linux keeps in ``/proc/self/status`` (``VmHWM``),
not ``ru_maxrss``, which a child inherits from its parent. Python and the libraries are in it, as
they are when the
model is used: PyTorch and Ultralytics for a network, the runtime alone for an exported file.

    python -m scsa_yolo.benchmark.memory < request.json

is what :func:`peak_of` starts; it prints the bytes.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scsa_yolo.benchmark.calls import Settings
    from scsa_yolo.benchmark.contestants import Contestant

CALLS = 2  # the second one finds every buffer of the runtime in place
_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_TIMEOUT = 600  # seconds


def peak_of(
    contestant: Contestant, file: Path | None, settings: Settings, threads: int
) -> int | None:
    """Return the bytes that a fresh process reaches while it runs the model; None where that cannot
    be known.

    Args:
        contestant: The model.
        file: The exported file, or None to run the network in PyTorch.
        settings: How it is run.
        threads: CPU threads of a call.
    """
    if not _STATUS.exists():
        return None
    request = {
        "contestant": asdict(contestant),
        "file": None if file is None else str(Path(file).resolve()),
        "settings": {**asdict(settings), "threads": threads},
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "scsa_yolo.benchmark.memory"],
            input=json.dumps(request),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            timeout=_TIMEOUT,
            check=True,
        )
        return int(done.stdout.split()[-1])
    except (
        subprocess.SubprocessError,
        ValueError,
        IndexError,
    ):  # the table then says that it is not known
        return None


def measure(request: dict[str, Any]) -> int:
    """Run the model in this process, and return the peak in bytes since it was built, or of the
    whole process.
    """
    call = (
        _network(request)
        if request["file"] is None
        else _file(Path(request["file"]), request["settings"])
    )
    with suppress(OSError):  # where that is forbidden, building is in the mark too
        _RESET.write_text("5", encoding="ascii")
    for _ in range(CALLS):
        call()
    return high_water_mark()


def _network(request: dict[str, Any]) -> Callable[[], object]:
    import torch

    from scsa_yolo.benchmark.calls import Settings, network_call
    from scsa_yolo.benchmark.contestants import Contestant, build, inference_network

    settings = Settings(**request["settings"])
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    built = build(Contestant(**request["contestant"]))
    return network_call(inference_network(built, fuse=settings.fuse), settings)


def _file(path: Path, settings: dict[str, Any]) -> Callable[[], object]:
    """Return a call of an exported file; torch is not imported unless its format needs it."""
    import numpy as np

    from scsa_yolo.deploy.runtimes import load

    runner = load(path, device="cpu", threads=settings["threads"])
    channels = (runner.shape[1] if runner.shape and len(runner.shape) == 4 else None) or 3
    images = np.zeros(
        (settings["batch"], channels, settings["imgsz"], settings["imgsz"]), np.float32
    )
    return lambda: runner(images)


def high_water_mark() -> int:
    """Return VmHWM in bytes."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    if found is None:
        raise ValueError("this system keeps no VmHWM")
    return int(found[1]) * 1024


if __name__ == "__main__":
    print(measure(json.load(sys.stdin)))
