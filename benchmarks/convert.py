"""Seconds and memory of ``scsa-yolo data convert`` on sets as large as VisDrone-DET and ExDark.

The sets are made up: as many annotation files and boxes as the real ones, and, in place of each
photograph, a file that holds a photograph's headers and no pixels. So what is measured is all but
the disk's own speed. Images are linked.

    python benchmarks/convert.py [--share 1.0] [--workers N] [--json FILE]

With ``--against CHECKOUT`` this checkout and another one convert the same sets in turns, and the
ratios of their times are printed with 95 % intervals; beside them this checkout's to itself, which
is the noise:

    git worktree add /tmp/before COMMIT
    python benchmarks/convert.py --against /tmp/before --rounds 20
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

SIZES = ((1920, 1080), (1360, 765), (960, 540), (1400, 788), (2000, 1500))
VISDRONE = {"train": (6471, 353550), "val": (548, 40169), "test-dev": (1610, 77547)}  # images, rows
WEIGHTS = (
    12371,
    100345,
    35000,
    13000,
    190000,
    33000,
    16000,
    6000,
    4000,
    9000,
    36000,
    1829,
)  # of categories, roughly
EXDARK = (7363, 23710)
# A process of its own: its peak of memory is that of the conversion. getrusage counts kilobytes,
# bytes on macOS.
CHILD = """
import json, resource, sys, time
from scsa_yolo.datasets.convert.conversion import convert_dataset
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
report = convert_dataset(sys.argv[1], sys.argv[2], sys.argv[3], workers=int(sys.argv[4]) or None)
seconds = time.perf_counter() - start
usage = resource.getrusage(resource.RUSAGE_SELF)
peak = usage.ru_maxrss
unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
counts = {key: sum(split[key] for split in report.splits.values()) for key in ("images", "boxes", "ignored")}
cpu = round(usage.ru_utime + usage.ru_stime, 2)
memory = {"start_mib": before // unit, "peak_mib": peak // unit}
print(json.dumps({"seconds": round(seconds, 2), "cpu_seconds": cpu, **counts, **memory}))
"""


def header(size: tuple[int, int]) -> bytes:
    """A JPEG of this size whose pixels are cut out: headers, tables and the end marker."""
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, "JPEG", exif=Image.Exif())
    data = bytearray(out.getvalue())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = size[1].to_bytes(2, "big") + size[0].to_bytes(2, "big")
    pixels = (
        data.index(b"\xff\xda") + 14
    )  # behind the header of the scan, where Pillow stops reading
    return bytes(data[:pixels]) + b"\0" * 60000 + b"\xff\xd9"


def make_visdrone(root: Path, share: float) -> None:
    rng = random.Random(0)
    files = {size: header(size) for size in SIZES}
    for split, (images, rows) in VISDRONE.items():
        folder = root / f"VisDrone2019-DET-{split}"
        for kind in ("images", "annotations"):
            (folder / kind).mkdir(parents=True)
        for number in range(int(images * share)):
            width, height = size = rng.choice(SIZES)
            name = f"{number:07}_{number:05}_d_{number:07}"
            (folder / "images" / f"{name}.jpg").write_bytes(files[size])
            lines = []
            for _ in range(rows // images):
                x, y, kind = (
                    rng.randrange(width - 60),
                    rng.randrange(height - 60),
                    rng.choices(range(12), WEIGHTS)[0],
                )
                w, h, score = rng.randrange(2, 60), rng.randrange(2, 60), int(0 < kind < 11)
                lines.append(
                    f"{x},{y},{w},{h},{score},{kind},{rng.randrange(2)},{rng.randrange(3)}"
                )
            (folder / "annotations" / f"{name}.txt").write_text("\n".join(lines) + "\n")


def make_exdark(root: Path, share: float) -> None:
    from scsa_yolo.datasets.native.exdark import NAMES

    rng = random.Random(0)
    data, (images, boxes) = header((640, 480)), EXDARK
    listed = ["Name | Class | Light | In/Out | Train/Val/Test"]
    for name in NAMES:
        (root / "ExDark" / name).mkdir(parents=True)
        (root / "ExDark_Annno" / name).mkdir(parents=True)
    for number in range(int(images * share)):
        kind = number % len(NAMES)
        name = f"2015_{number:05}.jpg"
        (root / "ExDark" / NAMES[kind] / name).write_bytes(data)
        lines = ["% bbGt version=3"]
        for _ in range(round(boxes / images)):
            box = (
                f"{rng.randrange(400)} {rng.randrange(300)} {rng.randrange(12, 200)}"
                f" {rng.randrange(12, 150)}"
            )
            lines.append(f"{rng.choice(NAMES)} {box} 0 0 0 0 0 0 0")
        (root / "ExDark_Annno" / NAMES[kind] / f"{name}.txt").write_text("\n".join(lines) + "\n")
        listed.append(f"{name} {kind + 1} {number % 10 + 1} {number % 2 + 1} {number % 3 + 1}")
    (root / "imageclasslist.txt").write_bytes("\r\n".join(listed).encode())


def convert_once(
    name: str, source: Path, dest: Path, workers: int, checkout: Path
) -> dict[str, Any]:
    """Convert with a checkout's code in a process of its own."""
    shutil.rmtree(dest, ignore_errors=True)
    command = [sys.executable, "-c", CHILD, name, str(source), str(dest), str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment, cwd=checkout
    )
    shutil.rmtree(dest)
    return json.loads(done.stdout)


def in_turns(name: str, source: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Convert with this checkout, the other one, and this one again, in an order drawn each round."""
    from scsa_yolo.paired.turns import ratio

    here = Path(__file__).resolve().parents[1]
    contestants = {"now": here, "before": args.against.resolve(), "again": here}
    times: dict[str, dict[str, list[float]]] = {
        key: {who: [] for who in contestants} for key in ("seconds", "cpu_seconds")
    }
    rng = random.Random(0)
    for turn in range(args.rounds + 1):
        order = list(contestants)
        rng.shuffle(order)
        for who in order:
            dest = source.with_name(f"{source.name}-out")
            result = convert_once(name, source, dest, args.workers, contestants[who])
            for key, series in times.items():
                if turn:  # the first round warms the disk
                    series[who].append(result[key])
    found: dict[str, Any] = {"set": name, "share": args.share, "rounds": args.rounds}
    for key, series in times.items():
        found[key] = series
        found[f"{key}_ratio"] = ratio(series["now"], series["before"])
        found[f"{key}_noise"] = ratio(series["again"], series["now"])
    return found


def compare(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Compare two checkouts on both sets."""
    results = []
    for name, make in (("visdrone", make_visdrone), ("exdark", make_exdark)):
        source = folder / name
        source.mkdir()
        make(source, args.share)
        found = in_turns(name, source, args)
        for key in ("seconds", "cpu_seconds"):
            for what in ("ratio", "noise"):
                r = found[f"{key}_{what}"]
                print(
                    f"{name} {key} {what}: {r.value:.3f} ({r.low:.3f} to {r.high:.3f})", flush=True
                )
                found[f"{key}_{what}"] = [r.value, r.low, r.high]
        results.append(found)
    return results


def measure(name: str, share: float, workers: int, folder: Path) -> dict[str, Any]:
    source = folder / f"{name}-{share}"
    source.mkdir()
    {"visdrone": make_visdrone, "exdark": make_exdark}[name](source, share)
    start = time.perf_counter()
    command = [
        sys.executable,
        "-c",
        CHILD,
        name,
        str(source),
        str(folder / f"{source.name}-out"),
        str(workers),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result = json.loads(done.stdout)
    return {
        "set": name,
        "share": share,
        **result,
        "wall_seconds_with_start": round(time.perf_counter() - start, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--share", type=float, default=1.0, help="of the real sets' files")
    parser.add_argument(
        "--workers", type=int, default=0, help="threads; default: as the command chooses"
    )
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare with its code")
    parser.add_argument("--rounds", type=int, default=20, help="of --against; default: 20")
    parser.add_argument("--json", type=Path, help="write the record there")
    args = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory(prefix="scsa-convert-") as folder:
        if args.against:
            results = compare(args, Path(folder))
        for name in () if args.against else ("visdrone", "exdark"):
            for share in (
                args.share / 8,
                args.share,
            ):  # memory should not follow the number of images
                results.append(measure(name, share, args.workers, Path(folder)))
                print(json.dumps(results[-1]), flush=True)
    load = [round(value, 1) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None
    machine = {
        "cores": os.cpu_count(),
        "load": load,
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")
    print(json.dumps(machine))


if __name__ == "__main__":
    main()
