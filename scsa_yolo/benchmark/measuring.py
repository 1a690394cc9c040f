"""Latency and throughput of models, interleaved in one run: what a user asks before choosing.

    result = bench([["yolov8n", "yolov8n+SCSA", "yolov8n+EMA"]], Settings(threads=2))

``docs/bench.md`` says what the columns mean.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from scsa_yolo.benchmark.calls import Settings, find_device, processor, torch_set_up, wait
from scsa_yolo.benchmark.contestants import CHECKPOINT, EXPORTED, Contestant, parse
from scsa_yolo.benchmark.memory import peak_of
from scsa_yolo.benchmark.prepare import Ready, missing, name_of, prepare, with_controls
from scsa_yolo.paired.turns import MIN_ROUNDS, Ratio, in_turns, median, p95, ratio, verdict
from scsa_yolo.support.naming import model_name
from scsa_yolo.support.text import counted

REFERENCE, CONTROL = (
    "reference",
    "control",
)  # in the column of verdicts, where the machine is quiet enough


@dataclass(frozen=True)
class Row:
    """A line of the table: a model in a format.

    Attributes:
        model: As typed.
        format: ``pytorch``, or that of the exported file.
        reference: The model and format that the ratio is to.
        control: Whether this is a reference, run a second time: its ratio is the noise.
        median_ms: Milliseconds a call, of a whole batch.
        p95_ms: 95th percentile of the same.
        images_per_s: Pictures a second at the median.
        ratio: Ratio of medians to the reference, with its 95 % interval ``low`` to ``high``.
        verdict: ``slower``, ``faster``, ``no difference``, ``too noisy``, or what the row is.
        parameters: As run, fused; None for a file that was given.
        gflops: As run, for one picture, the attention's products included; None for a file that was
            given.
        memory_mb: Peak memory in MB (10^6 bytes): on a CPU of a process of its own with Python and
            the libraries, on a GPU what torch allocated for this model. None where it cannot be
            known.
        times_ms: Every timed call.
    """

    model: str
    format: str
    reference: str
    control: bool
    median_ms: float
    p95_ms: float
    images_per_s: float
    ratio: float
    low: float
    high: float
    verdict: str
    parameters: int | None
    gflops: float | None
    memory_mb: float | None
    times_ms: tuple[float, ...] = field(repr=False)

    @property
    def name(self) -> str:
        """Model and format."""
        return name_of(self.model, self.format)


@dataclass(frozen=True)
class Result:
    """What :func:`bench` measured, on what, what it had to leave out (name -> reason), and short
    names of models that are paths, with the attention inside.
    """

    rows: tuple[Row, ...]
    settings: dict[str, Any]
    environment: dict[str, Any]
    left_out: dict[str, str]
    names: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and dictionaries, for JSON."""
        return asdict(self)


def bench(
    groups: Sequence[Sequence[str]],
    settings: Settings | None = None,
    *,
    say: Callable[[str], object] = lambda text: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Result:
    """Measure models, each against the first one of its group. All groups take turns in one run.

    Args:
        groups: Models as typed for the command, see :mod:`scsa_yolo.benchmark.contestants`.
        settings: How they are run.
        say: Called with one line on what is being done.
        clock: Seconds, from any origin.

    Raises:
        ValueError: A setting or model is wrong, or nothing is left to measure.
        FileNotFoundError: There is no such file.
    """
    settings = settings or Settings()
    settings.check()
    if warning := busy(settings):
        say(warning)
    contestants = [(number, parse(text)) for number, group in enumerate(groups) for text in group]
    _refuse_twice([contestant.text for _, contestant in contestants])
    left_out: dict[str, str] = {}
    environment = _environment(settings)
    with tempfile.TemporaryDirectory(prefix="scsa_yolo-") as name, torch_set_up(settings):
        formats = _formats(settings, [contestant for _, contestant in contestants], left_out)
        ready: list[Ready] = []
        for place, (number, contestant) in enumerate(contestants):
            say(f"preparing {contestant.text}")
            ready += prepare(
                contestant, number, formats, settings, Path(name, str(place)), left_out
            )
        if not ready:
            raise ValueError(
                f"nothing is left to measure. {'. '.join(f'{k}: {v}' for k, v in left_out.items())}"
            )
        ready = with_controls(ready, settings)
        series, interrupted = _time(ready, settings, say, clock)
        if not interrupted:
            _measure_memory(ready, settings, environment["threads"], say)
    environment["load_after"] = _load()
    environment["interrupted"] = interrupted
    rows = tuple(_rows(ready, series, settings))
    return Result(rows, asdict(settings), environment, left_out, _names(ready))


def _names(ready: Sequence[Ready]) -> dict[str, str]:
    """Return short names of checkpoints and files."""
    files = [one for one in ready if one.contestant.kind in (CHECKPOINT, EXPORTED)]
    return {one.contestant.text: model_name(one.contestant.model, one.attention) for one in files}


def _refuse_twice(texts: Sequence[str]) -> None:
    if not texts:
        raise ValueError("name a model, such as yolov8n, or a preset")
    twice = next((text for text in texts if texts.count(text) > 1), None)
    if twice:
        raise ValueError(
            f"{twice} is given twice. The first model is its own control: one is enough"
        )


def _formats(
    settings: Settings, contestants: Sequence[Contestant], left_out: dict[str, str]
) -> list[str]:
    """Return the formats that can be made here; the others are left out, with what to type."""
    if all(contestant.kind == EXPORTED for contestant in contestants):
        return []
    found = {name: missing(name) for name in settings.formats}
    left_out |= {name: reason for name, reason in found.items() if reason}
    return [name for name, reason in found.items() if not reason]


def _time(
    ready: Sequence[Ready],
    settings: Settings,
    say: Callable[[str], object],
    clock: Callable[[], float],
) -> tuple[list[list[float]], bool]:
    """Return the times, and whether Ctrl-C ended them: whole rounds until then are kept."""
    wait(find_device(settings.device))
    series: list[list[float]] = [[] for _ in ready]
    began = clock()

    def progress(done: int, rounds: int) -> None:
        left = (clock() - began) / done * (rounds - done) if done else 0.0
        told = f", about {left:.0f} s left" if done and left >= 1 else ""
        say(f"round {done} of {rounds}{told}")

    try:
        in_turns(
            [one.call for one in ready],
            settings.rounds,
            warm_up=settings.warm_up,
            settle=int(len({one.format for one in ready}) > 1),
            seconds=settings.seconds,
            clock=clock,
            progress=progress,
            into=series,
        )
    except KeyboardInterrupt:
        whole = min(map(len, series))
        if whole < MIN_ROUNDS:
            raise
        say(f"interrupted: {whole} of {settings.rounds} rounds are kept")
        return [times[:whole] for times in series], True
    return series, False


def _measure_memory(
    ready: Sequence[Ready], settings: Settings, threads: int, say: Callable[[str], object]
) -> None:
    """Measure peak memory on the CPU, after the timing; a control has what its model has."""
    if not settings.memory or find_device(settings.device).type != "cpu":
        return
    for one in (one for one in ready if not one.control):
        say(f"peak memory of {one.name}")
        one.memory = peak_of(one.contestant, one.file, settings, threads)


def _rows(
    ready: Sequence[Ready], series: Sequence[Sequence[float]], settings: Settings
) -> list[Row]:
    references = {one.key(settings): index for index, one in reversed(list(enumerate(ready)))}
    controls = {
        one.key(settings): ratio(series[index], series[references[one.key(settings)]])
        for index, one in enumerate(ready)
        if one.control
    }
    rows = []
    for index, one in enumerate(ready):
        key = one.key(settings)
        found = ratio(series[index], series[references[key]])
        said = _verdict(one, index == references[key], found, controls[key], settings)
        rows.append(
            _row(one, series[index], found, said, ready[references[key]].name, settings.batch)
        )
    return rows


def _verdict(
    one: Ready, is_reference: bool, found: Ratio, control: Ratio, settings: Settings
) -> str:
    said = verdict(found, control, settings.noise_limit)
    if is_reference:
        return REFERENCE
    return CONTROL if one.control and control.reach <= settings.noise_limit else said


def _row(
    one: Ready, times: Sequence[float], found: Ratio, said: str, reference: str, batch: int
) -> Row:
    middle = median(times)
    return Row(
        model=one.contestant.text,
        format=one.format,
        reference=reference,
        control=one.control,
        median_ms=middle,
        p95_ms=p95(times),
        images_per_s=batch * 1e3 / middle,
        ratio=found.value,
        low=found.low,
        high=found.high,
        verdict=said,
        parameters=one.parameters,
        gflops=one.gflops,
        memory_mb=None if one.memory is None else one.memory / 1e6,
        times_ms=tuple(times),
    )


def _environment(settings: Settings) -> dict[str, Any]:
    """Return versions, hardware and the machine's load."""
    from importlib.metadata import PackageNotFoundError, version

    device = find_device(settings.device)
    found: dict[str, Any] = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": settings.threads or torch.get_num_threads(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    for package in (
        "scsa-yolo",
        "torch",
        "torchvision",
        "ultralytics",
        "onnxruntime",
        "openvino",
        "tensorrt",
    ):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    found["date"] = time.strftime("%Y-%m-%d %H:%M")
    found["load_before"] = _load()
    return found


def busy(settings: Settings) -> str | None:
    """Return one line when other programs leave too little of the machine to measure on."""
    load, cores = _load(), os.cpu_count() or 1
    wanted = min(settings.threads or torch.get_num_threads(), cores)
    if load is None or find_device(settings.device).type != "cpu" or load + wanted <= cores:
        return None
    return (
        f"the machine is busy: a load of {load:.1f} on {counted(cores, 'core')} leaves less than"
        f" {counted(wanted, 'thread')} here. The result may well be too noisy to tell; stop other"
        " programs first, or lower --threads"
    )


def _load() -> float | None:
    """Return the number of processes that wanted to run, averaged over the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
