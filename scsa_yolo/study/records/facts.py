"""What a record says besides the measurements: versions, code, hardware, and which data it was."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["code", "fingerprint", "hardware", "peak_memory_mb", "versions"]


def versions() -> dict[str, str]:
    """Return the versions of this package, Ultralytics, torch and Python."""
    from scsa_yolo import __version__

    found = {"scsa_yolo": __version__}
    for name in ("ultralytics", "torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a source tree on the path
            found[name] = str(getattr(__import__(name), "__version__", "unknown"))
    return {**found, "python": platform.python_version()}


def code() -> dict[str, Any] | None:
    """Return the commit that the package is imported from and whether its files differ from it;
    None for a wheel.
    """
    package = Path(__file__).resolve().parents[1]
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None  # not a checkout, or the checkout of something else around the environment
    commit = _git(package, "rev-parse", "HEAD")
    changed = _git(package, "status", "--porcelain", "--", ".")
    return None if not commit else {"commit": commit, "dirty": bool(changed)}


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def hardware(device: str | None = None) -> dict[str, Any]:
    """Return the machine that this process runs on.

    Args:
        device: Ultralytics' device of the run; ``"cpu"`` leaves the GPU out.
    """
    import torch

    gpu = None
    if torch.cuda.is_available() and device != "cpu":
        first = (device or "0").removeprefix("cuda:").split(",")[0]
        gpu = torch.cuda.get_device_name(int(first) if first.isdigit() else 0)
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "platform": platform.platform(),
    }


def _cpu_name() -> str:
    try:
        for line in (
            Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        ):
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def peak_memory_mb() -> float | None:
    """Return the most memory that this process has held so far, MB; None where the system does not
    say.
    """
    try:
        for line in (
            Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        ):
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) * 1024 / 1e6, 1)
    except OSError:
        pass
    if os.name == "nt":  # pragma: no cover
        import psutil  # comes with Ultralytics

        return round(psutil.Process().memory_info().peak_wset / 1e6, 1)
    import resource

    unit = 1 if platform.system() == "Darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def fingerprint(data: str | Path, splits: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return pictures, boxes and a hash of each split.

    The hash is over the class names and, in the order of the pictures' paths relative to the data
    set, each one's path, size in bytes and label file. So it is the same wherever the data set
    lies, and reads no pixels.

    Args:
        data: The data YAML.
        splits: Names of splits; what the YAML does not have is left out.

    Raises:
        DataSetError: The data set is not there.
    """
    from scsa_yolo.datasets.layout.dataset import load_layout

    layout = load_layout(data)
    return {
        split: _of_split(layout, split) for split in dict.fromkeys(splits) if split in layout.splits
    }


def _of_split(layout: Any, split: str) -> dict[str, Any]:
    from scsa_yolo.datasets.layout.dataset import label_files

    images = layout.images(split)
    total, boxes = hashlib.sha256(repr(sorted(layout.names.items())).encode()), 0
    named = sorted(
        (os.path.relpath(image, layout.root), image, label)
        for image, label in zip(images, label_files(images))
    )
    for name, image, label in named:
        content = label.read_bytes() if label.is_file() else b""
        boxes += sum(1 for line in content.splitlines() if line.strip())
        size = image.stat().st_size if image.is_file() else -1
        total.update(f"{Path(name).as_posix()}\0{size}\0{len(content)}\0".encode())
        total.update(content)
    return {"images": len(images), "boxes": boxes, "hash": f"sha256:{total.hexdigest()}"}
