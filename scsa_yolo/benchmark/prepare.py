"""Models made ready for ``scsa-yolo bench``: built, exported, loaded, counted, and run once; what
fails is left out.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scsa_yolo.benchmark.calls import Settings, channels_of, file_call, find_device, network_call
from scsa_yolo.benchmark.contestants import (
    EXPORTED,
    TORCHVISION,
    Contestant,
    build,
    inference_network,
)


@dataclass
class Ready:
    """A model in a format that has run once.

    Attributes:
        contestant: The model.
        format: ``pytorch``, or that of the exported file.
        group: Models of one group are measured against its first.
        call: Runs it on one batch and returns when the result is there.
        file: The exported file; None for PyTorch.
        parameters: As run; None where it is not known.
        gflops: The same.
        memory: Peak in bytes.
        control: Whether this is a reference built again.
        attention: Names of the attention modules inside, each once.
    """

    contestant: Contestant
    format: str
    group: int
    call: Callable[[], object]
    file: Path | None = None
    parameters: int | None = None
    gflops: float | None = None
    memory: int | None = None
    control: bool = False
    attention: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Model and format."""
        return name_of(self.contestant.text, self.format)

    def key(self, settings: Settings) -> tuple[int, str]:
        """Return what those have in common that share a reference."""
        return self.group, self.format if settings.against == "format" else ""


def name_of(model: str, format: str) -> str:
    """Return the name of a model in a format."""
    return f"{model} {format}"


def missing(format: str) -> str | None:
    """Return one line on what a format lacks here and what to type, or None where everything is
    there.
    """
    from scsa_yolo.deploy.formats import FORMATS

    known = FORMATS.get(format)
    absent = [
        name for name in (known.needs if known else ()) if importlib.util.find_spec(name) is None
    ]
    return f"needs {', '.join(absent)}. Type: {known.install}" if known and absent else None


def prepare(
    contestant: Contestant,
    group: int,
    formats: Sequence[str],
    settings: Settings,
    folder: Path,
    left_out: dict[str, str],
) -> list[Ready]:
    """Return a model in each of the formats.

    Args:
        contestant: The model; one that is an exported file has a format already.
        group: Its group.
        formats: What it is run in.
        settings: How it is run.
        folder: Where exported files go; made when needed.
        left_out: Takes what failed, and why.
    """
    text = contestant.text
    if contestant.kind == EXPORTED:
        file = Path(contestant.model)
        made = _guarded(
            partial(_from_file, contestant, group, file, settings, contestant.format),
            text,
            left_out,
        )
        return [made] if made else []
    built = _guarded(partial(_build, contestant, settings), text, left_out)
    if built is None:
        return []
    makers: dict[str, Callable[[], Ready]] = {}
    for format in (format for format in formats if format != "pytorch"):
        file = _guarded(
            partial(_export, built, format, folder, settings), name_of(text, format), left_out
        )
        if file:
            makers[format] = partial(_from_file, contestant, group, file, settings, format)
    network = inference_network(
        built, fuse=settings.fuse
    )  # after the exports, which start from the whole network
    counted = _cost(network, contestant, settings.imgsz)
    inside = _attention_in(network)
    makers["pytorch"] = partial(_from_network, contestant, group, network, settings)
    ready = []
    for format in (format for format in formats if format in makers):
        made = _guarded(makers[format], name_of(text, format), left_out)
        if made:
            made.parameters, made.gflops = counted
            made.attention = inside
            ready.append(made)
    return ready


def with_controls(ready: Sequence[Ready], settings: Settings) -> list[Ready]:
    """Return the list with each reference followed by itself, built or loaded again."""
    listed, seen = [], set()
    for one in ready:
        listed.append(one)
        if one.key(settings) in seen:
            continue
        seen.add(one.key(settings))
        if one.file is None:
            network = inference_network(build(one.contestant), fuse=settings.fuse)
            again = _from_network(one.contestant, one.group, network, settings)
        else:
            again = _from_file(one.contestant, one.group, one.file, settings, one.format)
        again.control, again.parameters, again.gflops = True, one.parameters, one.gflops
        listed.append(again)
    return listed


def _guarded(make: Callable[[], Any], name: str, left_out: dict[str, str]) -> Any:
    """Return what ``make`` returns, or None after noting why it failed."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001  models, exporters and runtimes raise whatever they like
        left_out[name] = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        return None


def _build(contestant: Contestant, settings: Settings) -> Any:
    built = build(contestant)
    stride = int(max(getattr(getattr(built, "model", None), "stride", [1])))
    if settings.imgsz % stride:
        lower = settings.imgsz // stride * stride
        raise ValueError(
            f"--imgsz must be a multiple of {stride}, such as {lower or stride} or {lower + stride}"
        )
    return built


def _export(built: Any, format: str, folder: Path, settings: Settings) -> Path:
    """Export a model at the batch and size of the settings."""
    if not hasattr(built, "task"):
        raise ValueError(
            "bench exports models of Ultralytics alone. Export this one yourself and give its file"
        )
    from scsa_yolo.deploy.export import export

    folder.mkdir(parents=True, exist_ok=True)
    device = (
        str(find_device(settings.device)).removeprefix("cuda:") if format == "engine" else "cpu"
    )
    asked = {"imgsz": settings.imgsz, "batch": settings.batch, "device": device}
    return export(built, format, asked, folder=folder).path


def _from_network(
    contestant: Contestant, group: int, network: nn.Module, settings: Settings
) -> Ready:
    device = find_device(settings.device)
    on_gpu = device.type == "cuda"
    before = torch.cuda.memory_allocated(device) if on_gpu else 0
    call = network_call(network, settings)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    call()
    memory = (
        torch.cuda.max_memory_allocated(device) - before if on_gpu and settings.memory else None
    )
    return Ready(contestant, "pytorch", group, call, memory=memory)


def _from_file(
    contestant: Contestant, group: int, file: Path, settings: Settings, format: str
) -> Ready:
    call = file_call(file, settings)
    call()
    return Ready(contestant, format, group, call, file)


def _attention_in(network: nn.Module) -> tuple[str, ...]:
    from scsa_yolo.host.transfer import attention_modules

    kinds = [type(module).__name__ for module in attention_modules(network).values()]
    return tuple(dict.fromkeys(kinds))


def _cost(network: nn.Module, contestant: Contestant, imgsz: int) -> tuple[int, float | None]:
    """Return parameters and GFLOPs, one multiplication with its addition as two; None where they
    cannot be counted.
    """
    parameters = sum(parameter.numel() for parameter in network.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the counters' own
        if contestant.kind != TORCHVISION:
            from scsa_yolo.complexity import cost

            return parameters, cost(network, imgsz).gflops or None
        from torch.utils.flop_counter import FlopCounterMode

        shadow = deepcopy(network).to("meta").eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            shadow(torch.empty(1, channels_of(shadow), imgsz, imgsz, device="meta"))
        return parameters, counter.get_total_flops() / 1e9
