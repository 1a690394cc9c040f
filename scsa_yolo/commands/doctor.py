"""What is installed, whether it works together, and what to type for whatever is wrong.

Standard library only: the doctor must speak where torch or Ultralytics is missing or broken. What
has to be imported is imported by fresh interpreters, which see what the stock ``yolo`` command
sees.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from scsa_yolo.host.registration import wanted_names
from scsa_yolo.support.packaged import page

OK, NOTE, WARNING, PROBLEM = "ok", "note", "warning", "problem"
FLOORS = {"torch": "2.5", "ultralytics": "8.4.108"}  # tests compare them with pyproject.toml
TORCH_SWITCH = "TORCH_DEVICE_BACKEND_AUTOLOAD"
GROUP = "torch.backends"
# Distribution -> what it is for, and what installs it.
OPTIONAL = {
    "onnx": ("export to ONNX", "scsa-yolo[export]"),
    "onnxruntime": ("running ONNX files", "scsa-yolo[export]"),
    "openvino": ("export to OpenVINO", "scsa-yolo[export]"),
    "tensorrt": ("export to TensorRT, on NVIDIA GPUs", "tensorrt"),
    "faster-coco-eval": ("AP by object size", "scsa-yolo[evaluation]"),
    "scipy": ("comparing studies", "scsa-yolo[study]"),
    "matplotlib": ("figures", "scsa-yolo[explain]"),
    "lap": ("yolo track", "lap"),
    "timm": ("injection into timm's models", "timm"),
    "ray": ("tune(use_ray=True)", "ray[tune]"),
}


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    state: str  # OK, NOTE, WARNING or PROBLEM
    found: str
    fix: str = ""  # what to type, or to do


_FACTS = """
import json, sys
facts = {"patched": [], "loaded": False}
try:
    import torch
    facts["torch"] = torch.__version__
    facts["cuda_build"] = torch.version.cuda
    facts["hip_build"] = getattr(torch.version, "hip", None)
    facts["mps"] = torch.backends.mps.is_available()
    try:
        facts["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        if facts["gpus"]:
            (torch.ones(8, 8, device="cuda") @ torch.ones(8, 8, device="cuda")).sum().item()
    except Exception as error:
        facts["gpu_error"] = str(error).strip().splitlines()[0]
except Exception as error:
    facts["torch_error"] = f"{type(error).__name__}: {error}".strip().splitlines()[0]
try:
    import ultralytics
    facts["ultralytics"] = ultralytics.__version__
    from ultralytics import YOLO
    from ultralytics.utils import ROOT
    facts["stock_names"] = sorted(path.name for path in ROOT.rglob("*.yaml"))
    facts["where"] = str(ROOT)
except Exception as error:
    facts["ultralytics_error"] = f"{type(error).__name__}: {error}".strip().splitlines()[0]
host = sys.modules.get("scsa_yolo.host")
if host is not None:
    facts["loaded"], facts["patched"] = True, list(host.patched_names())
print(json.dumps(facts))
"""

_MODEL = """
import json, os, sys
import torch
safe = tuple(map(int, torch.__version__.split("+")[0].split(".")[:2])) >= (2, 6)
os.environ["ULTRALYTICS_SAFE_LOAD"] = str(int(safe))  # with torch 2.5 it refuses stock models too
import scsa_yolo
scsa_yolo.register()
from ultralytics import YOLO
model = YOLO("yolov8n-scsa.yaml", verbose=False)
with torch.no_grad():
    expected = model.model.eval()(torch.zeros(1, 3, 64, 64))[0]
model.save("doctor.pt")
again = YOLO("doctor.pt", verbose=False)
with torch.no_grad():
    got = again.model.float().eval()(torch.zeros(1, 3, 64, 64))[0]
count = sum(type(module).__name__ == "SCSA" for module in again.model.modules())
off = (expected - got).abs().max().item()
finite = bool(expected.isfinite().all())
print(json.dumps({"count": count, "finite": finite, "off": off, "safe": safe}))
"""


def checks() -> Iterator[Check]:
    """Yield the report line by line, each as soon as it is known."""
    facts = _run(_FACTS)
    yield Check(
        "Python",
        OK,
        f"{platform.python_version()}, {platform.system()} {platform.machine()}, {sys.executable}",
    )
    if "failed" in facts:
        yield Check(
            "imports",
            PROBLEM,
            f"a fresh interpreter fails: {facts['failed']}",
            f"set {TORCH_SWITCH}=0 and retry",
        )
    yield library("torch", facts)
    yield _companion("torchvision")
    yield library("ultralytics", facts)
    yield ours()
    yield from loading(facts, os.environ)
    yield names(facts)
    yield (
        model()
        if "torch" in facts and "ultralytics" in facts
        else Check("model", NOTE, "not tried, torch or ultralytics does not work")
    )
    yield gpu(facts)
    yield from optional()


def library(name: str, facts: Mapping[str, Any]) -> Check:
    """Check that torch or ultralytics can be imported and is new enough."""
    floor = FLOORS[name]
    install = f'pip install -U "{name}>={floor}"'
    version, error = facts.get(name), facts.get(f"{name}_error", "")
    if version is None or error:
        if "failed to load the backend extension" in error.lower():
            return Check(
                name,
                PROBLEM,
                error,
                f"{TORCH_SWITCH}=0 yolo ..., and reinstall the package that it names",
            )
        return Check(name, PROBLEM, error or "cannot be imported", install)
    if _numbers(version) < _numbers(floor):
        return Check(name, PROBLEM, f"{version} is older than {floor}", install)
    return Check(
        name,
        OK,
        f"{version}, {facts['where']}" if name == "ultralytics" and "where" in facts else version,
    )


def _companion(name: str) -> Check:
    version = _version(name)
    return (
        Check(name, OK, version)
        if version
        else Check(name, WARNING, "not installed", f"pip install {name}")
    )


def ours() -> Check:
    """Say which scsa_yolo this is and how it is installed."""
    import scsa_yolo

    where = Path(scsa_yolo.__file__).resolve().parent
    try:
        distribution = metadata.distribution("scsa-yolo")
    except metadata.PackageNotFoundError:
        found = f"{scsa_yolo.__version__}, {where}, not installed: found on the path only"
        checkout = (where.parent / "pyproject.toml").is_file()
        source = f'-e "{where.parent}"' if checkout else "the wheel, or the folder of the checkout"
        return Check("scsa_yolo", WARNING, found, f"pip install {source}")
    kind = "editable" if _installed_from()[1] else "wheel"
    if distribution.version != scsa_yolo.__version__:
        found = f"{scsa_yolo.__version__} in {where}, but {distribution.version} is installed"
        return Check(
            "scsa_yolo",
            WARNING,
            found,
            reinstall(),
        )
    return Check("scsa_yolo", OK, f"{scsa_yolo.__version__}, {kind}, {where}")


def reinstall() -> str:
    """Return what to type to install again from where it came."""
    place, editable = _installed_from()
    again = "pip install --force-reinstall --no-deps"
    return f"{again} {'-e ' if editable else ''}{place or 'the wheel, or the checkout'}"


def _installed_from() -> tuple[str, bool]:
    """Return the file or folder that pip took the package from, quoted, "" where it did not say,
    and whether it is an editable install.
    """
    try:
        text = metadata.distribution("scsa-yolo").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return "", False
    direct = json.loads(text or "{}")
    url = str(direct.get("url", ""))
    place = url2pathname(urlparse(url).path) if url.startswith("file:") else url
    return (f'"{place}"' if place else ""), bool(direct.get("dir_info", {}).get("editable"))


def loading(facts: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[Check]:
    """Check the entry point, the switches, and what a process that imports only ultralytics has
    got.
    """
    from scsa_yolo.host import autoload

    entries = {entry.name: entry.value for entry in metadata.entry_points(group=GROUP)}
    mine = entries.get("scsa_yolo")
    others = ", ".join(sorted(set(entries) - {"scsa_yolo"}))
    if mine is None:
        yield Check(
            "entry point",
            PROBLEM,
            f"none of ours in {GROUP}",
            reinstall(),
        )
    else:
        yield Check(
            "entry point",
            OK,
            f"{GROUP}: {mine}" + (f"; of other packages: {others}" if others else ""),
        )
    by_hand = 'or write "import scsa_yolo" before ultralytics is used'
    off = next(
        (
            f"{name}={environment[name]}"
            for name, on in (
                (TORCH_SWITCH, environment.get(TORCH_SWITCH, "1") == "1"),
                (autoload.SWITCH, autoload.switched_on()),
            )
            if not on
        ),
        None,
    )
    patched = facts.get("patched", [])
    if off:
        yield Check(
            "autoload",
            WARNING,
            f"switched off by {off}",
            f"unset {off.split('=')[0]}   ({by_hand})",
        )
    elif "ultralytics" not in facts or "torch" not in facts:
        yield Check("autoload", NOTE, "not tried, torch or ultralytics does not work")
    elif len(patched) == len(wanted_names()):
        yield Check(
            "autoload", OK, "active; extended in Ultralytics: " + ", ".join(map(_short, patched))
        )
    elif not facts["loaded"]:
        fix = f"{reinstall()}   ({by_hand})"
        yield Check("autoload", PROBLEM, "a process that imports ultralytics does not load us", fix)
    else:
        names = ", ".join(map(_short, patched)) or "none"
        found = f"only {len(patched)} of {len(wanted_names())} names are extended: {names}"
        yield Check(
            "autoload",
            PROBLEM,
            found,
            "install a newer scsa-yolo, or report this with your Ultralytics version; if other code"
            f" replaces these names: scsa_yolo.register() after it, see {page('troubleshooting')}",
        )


def names(facts: Mapping[str, Any]) -> Check:
    """Check that the packaged YAMLs are there, and that Ultralytics has no file of the same
    name.
    """
    from scsa_yolo.host.names import packaged_files
    from scsa_yolo.support.packaged import packaged_folder

    files = {path.name: path for path in packaged_files().values()}
    models = [path for path in files.values() if packaged_folder("models") in path.parents]
    if not models:
        found = f"none in {packaged_folder('models')}"
        return Check("YAML files", PROBLEM, found, reinstall())
    clash = sorted(set(files) & set(facts.get("stock_names", [])))
    if clash:
        found = f"Ultralytics has files of the same name, and wins: {', '.join(clash)}"
        newer = "install a newer scsa-yolo, or give the full path of ours"
        return Check("YAML files", WARNING, found, newer)
    count = f"{len(models)} under models/, {len(files) - len(models)} under data/"
    return Check("YAML files", OK, f"{count}, no name is Ultralytics' own; list: scsa-yolo models")


def model() -> Check:
    """Check that a packaged model builds, runs, saves and loads again by safe loading."""
    result = _run(_MODEL)
    if "failed" in result:
        return Check(
            "model",
            PROBLEM,
            f"yolov8n-scsa.yaml: {result['failed']}",
            f"see {page('troubleshooting')}",
        )
    if (
        not result["count"] or not result["finite"] or result["off"] > 0.5
    ):  # the checkpoint is float16
        return Check(
            "model",
            PROBLEM,
            f"yolov8n-scsa.yaml gives wrong results: {result}",
            "please report this",
        )
    found = f"yolov8n-scsa.yaml builds with {result['count']} SCSA, runs at 64 px, and loads again"
    if result["safe"]:
        return Check("model", OK, f"{found} by safe loading")
    return Check("model", OK, f"{found} (Ultralytics' safe loading works from torch 2.6 on)")


def gpu(facts: Mapping[str, Any]) -> Check:
    """Say which GPU torch can use, and why not where there is one that it cannot."""
    driver = _driver()
    build = f"CUDA {facts['cuda_build']}" if facts.get("cuda_build") else "no CUDA"
    build = f"ROCm {facts['hip_build']}" if facts.get("hip_build") else build
    see = "see https://pytorch.org/get-started/locally for the torch that fits"
    if facts.get("gpu_error"):
        return Check(
            "GPU", PROBLEM, f"torch ({build}) cannot compute on it: {facts['gpu_error']}", see
        )
    if facts.get("gpus"):
        return Check(
            "GPU",
            OK,
            f"{', '.join(facts['gpus'])}; torch with {build}"
            + (f"; driver {driver}" if driver else ""),
        )
    if driver and os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return Check(
            "GPU",
            NOTE,
            f"hidden by CUDA_VISIBLE_DEVICES; driver {driver}",
            "unset CUDA_VISIBLE_DEVICES",
        )
    if driver:
        return Check(
            "GPU", WARNING, f"driver {driver} is here, but torch ({build}) sees no GPU", see
        )
    if facts.get("mps"):
        return Check("GPU", OK, "Apple GPU; use it: device=mps")
    return Check("GPU", NOTE, f"none, the CPU is used (torch with {build})")


def optional() -> Iterator[Check]:
    """Say which optional packages are here, and for each absent one what it would be for."""
    have = {name: _version(name) for name in OPTIONAL}
    present = ", ".join(f"{name} {version}" for name, version in have.items() if version)
    yield Check("optional", OK, present or "none is installed")
    for name, (purpose, install) in OPTIONAL.items():
        if not have[name]:
            yield Check(
                "optional",
                NOTE,
                f"{name} is absent; it is for {purpose}",
                f'pip install "{install}"',
            )


def text(check: Check) -> str:
    """Return a check as one line, and a second one with what to type."""
    line = f"{check.state:<9}{check.name:<13}{check.found}"
    return f"{line}\n{'':<22}type: {check.fix}" if check.fix else line


def verdict(found: list[Check]) -> str:
    """Return the last line of the report."""
    problems = sum(check.state == PROBLEM for check in found)
    warnings = sum(check.state == WARNING for check in found)
    if not problems and not warnings:
        return (
            "All is well. Train: yolo train model=yolov8n-scsa.yaml data=scsa-demo.yaml imgsz=320"
            " epochs=20"
        )
    counts = [(problems, "problem"), (warnings, "warning")]
    return (
        ", ".join(f"{n} {word}{'s' * (n > 1)}" for n, word in counts if n)
        + ": type what stands below each"
    )


def as_json(found: list[Check]) -> str:
    """Return the report for machines."""
    healthy = all(check.state != PROBLEM for check in found)
    return json.dumps({"healthy": healthy, "checks": [asdict(check) for check in found]}, indent=2)


def _run(code: str) -> dict[str, Any]:
    """Run code in a fresh interpreter in an empty folder; return what it prints last, or ``failed``
    and why.

    Ultralytics writes where it was first imported into its settings. So it gets settings of its
    own here, lest the user's name a folder that is gone a moment later.
    """
    with tempfile.TemporaryDirectory(prefix="scsa_yolo-") as folder:
        settings = Path(folder) / "settings"
        settings.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            env={**os.environ, "YOLO_CONFIG_DIR": str(settings)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        return dict(json.loads(lines[-1]))
    errors = [line for line in done.stderr.strip().splitlines() if line.strip()]
    return {"failed": errors[-1] if errors else f"exit status {done.returncode}"}


def _driver() -> str:
    """Return name and driver version of the NVIDIA GPUs as their driver tells them, "" where there
    is none.
    """
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ", ".join(dict.fromkeys(done.stdout.split())) if done.returncode == 0 else ""


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    """2.15.0+cu126 gives (2, 15, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


def _short(dotted: str) -> str:
    return dotted.removeprefix("ultralytics.")
