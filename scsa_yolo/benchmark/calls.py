"""How ``scsa-yolo bench`` runs a model: its settings, and a call without arguments of a network or
exported file.
"""

from __future__ import annotations

import contextlib
import platform
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scsa_yolo.paired.turns import MIN_ROUNDS, NOISE_LIMIT, WARM_UP

FORMATS = ("pytorch", "onnx", "openvino", "torchscript", "engine")
PRECISIONS = ("fp32", "fp16", "bf16", "amp")
AGAINST = ("first", "format")
_LEAST_SIZE = 32  # pixels: the stride of most networks


@dataclass(frozen=True)
class Settings:
    """How models are run and timed.

    Attributes:
        formats: Each model is run in each of these.
        batch: Pictures a call.
        imgsz: Side of the pictures in pixels.
        device: ``"cpu"``, ``"0"``, ``"cuda:0"``, ``"mps"``; ``""`` for the first GPU if there is
            one, else the CPU.
        precision: ``fp32``, ``fp16``, ``bf16``, or ``amp``: torch's autocast, to float16 on a GPU,
            bfloat16 on a CPU.
        threads: CPU threads of a call; None for as many as torch takes by itself.
        rounds: Rounds in which each model is timed once.
        seconds: Stop after this time though rounds are left.
        warm_up: Rounds before the timed ones.
        compile: Run networks through ``torch.compile``.
        channels_last: Keep networks and pictures in this memory format.
        fuse: Fold batch norms and attention for inference, as Ultralytics' ``fuse()`` does.
        against: What a ratio is to: the ``first`` model in the first format, or the first model in
            the same ``format``.
        memory: Measure peak memory.
        noise_limit: Beyond this share, the first model's ratio to itself forbids all claims.
    """

    formats: tuple[str, ...] = ("pytorch",)
    batch: int = 1
    imgsz: int = 640
    device: str = ""
    precision: str = "fp32"
    threads: int | None = None
    rounds: int = 60
    seconds: float | None = None
    warm_up: int = WARM_UP
    compile: bool = False
    channels_last: bool = False
    fuse: bool = True
    against: str = "first"
    memory: bool = True
    noise_limit: float = NOISE_LIMIT

    def check(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            ValueError: A value is out of its range, a name unknown, or a device absent.
        """
        _check_names("--formats", self.formats, FORMATS)
        _check_names("--precision", (self.precision,), PRECISIONS)
        _check_names("--against", (self.against,), AGAINST)
        if len(set(self.formats)) < len(self.formats):
            raise ValueError(f"--formats names a format twice: {','.join(self.formats)}")
        _check_least("--rounds", self.rounds, MIN_ROUNDS, ": fewer give no interval")
        _check_least("--batch", self.batch, 1)
        _check_least("--imgsz", self.imgsz, _LEAST_SIZE, " pixels")
        _check_least("--warm-up", self.warm_up, 0)
        if self.threads is not None:
            _check_least("--threads", self.threads, 1)
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"--seconds must be above 0, got {self.seconds}")
        if not 0 < self.noise_limit < 1:
            raise ValueError(
                f"--noise-limit is a share between 0 and 1, such as {NOISE_LIMIT}, got"
                f" {self.noise_limit}"
            )
        if self.precision != "fp32" and set(self.formats) != {"pytorch"}:
            raise ValueError(
                f"--precision {self.precision} is for the format pytorch alone. For others, export"
                " the model in that precision and give its file to bench"
            )
        find_device(self.device)


def _check_names(option: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None or not given:
        raise ValueError(f"{option} takes {', '.join(known)}, got {unknown or ''!r}")


def _check_least(option: str, value: int, least: int, why: str = "") -> None:
    if value < least:
        raise ValueError(f"{option} must be at least {least}{why}, got {value}")


def find_device(name: str) -> torch.device:
    """Return the device of a name as typed.

    Raises:
        ValueError: The name is none, or there is no such device here.
    """
    text = str(name).strip().lower()
    if not text:
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(f"cuda:{text}" if text.isdigit() else text)
    except RuntimeError:
        raise ValueError(
            f"--device takes cpu, cuda, a GPU's number such as 0, or mps, got {name!r}"
        ) from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            seen = f"{count} CUDA devices, numbered from 0," if count else "no CUDA device"
            raise ValueError(
                f"torch {torch.__version__} sees {seen} here: type --device cpu, or install torch"
                " for CUDA"
            )
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("there is no mps device here: type --device cpu")
    if device.type not in ("cpu", "mps"):
        raise ValueError(
            f"--device takes cpu, cuda, a GPU's number such as 0, or mps, got {name!r}"
        )
    return device


@contextmanager
def torch_set_up(settings: Settings) -> Iterator[None]:
    """Set torch's threads, and cuDNN's search for the fastest algorithms; both are put back."""
    threads, search = torch.get_num_threads(), torch.backends.cudnn.benchmark
    torch.set_num_threads(settings.threads or threads)
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = search


def network_call(network: nn.Module, settings: Settings) -> Callable[[], object]:
    """Return a call that runs a network on one batch that lies on the device, and waits for the
    result.
    """
    device = find_device(settings.device)
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(settings.precision, torch.float32)
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    images = pictures(settings, channels_of(network)).to(device, dtype).to(memory_format=layout)
    network = network.eval().requires_grad_(False).to(device, dtype)
    if settings.channels_last:
        network = network.to(memory_format=torch.channels_last)
    run: Callable[[torch.Tensor], object] = torch.compile(network) if settings.compile else network

    def call() -> None:
        with torch.inference_mode(), _autocast(settings, device):
            run(images)
        wait(device)

    return call


def _autocast(settings: Settings, device: torch.device) -> AbstractContextManager[Any]:
    if settings.precision != "amp":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if device.type == "cpu" else torch.float16)


def wait(device: torch.device) -> None:
    """Return when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def file_call(path: Path, settings: Settings) -> Callable[[], object]:
    """Return a call that runs an exported file in its runtime, NumPy arrays in and out.

    Raises:
        ImportError: The runtime is missing; the message says what to type.
        OSError: There is no such file.
        ValueError: The runtime cannot load it, or it was exported for another batch or size.
    """
    from scsa_yolo.deploy.runtimes import load

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a runtime's own, on the format that was asked for
        device, threads = (
            str(find_device(settings.device)),
            settings.threads or torch.get_num_threads(),
        )
        runner = load(path, device=device, threads=threads)
    shape = runner.shape if runner.shape and len(runner.shape) == 4 else (None, None, None, None)
    asked = (settings.batch, None, settings.imgsz, settings.imgsz)
    if any(size is not None and wanted not in (None, size) for size, wanted in zip(shape, asked)):
        batch, _, height, width = ("any" if size is None else size for size in shape)
        raise ValueError(
            f"{path.name} was exported for batch {batch} and {height} x {width} pixels: set"
            " --batch, --imgsz"
        )
    images = pictures(settings, shape[1] or 3).numpy()
    return lambda: runner(images)


def pictures(settings: Settings, channels: int) -> torch.Tensor:
    """Return one batch of random pictures (B, C, H, W), values from 0 to 1; the same ones at every
    call.
    """
    shape = (settings.batch, channels, settings.imgsz, settings.imgsz)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def channels_of(network: nn.Module) -> int:
    """Return the number of channels of the pictures that a network takes."""
    kernels = (parameter for parameter in network.parameters() if parameter.dim() == 4)
    return next((kernel.shape[1] for kernel in kernels), 3)


def processor() -> str:
    """Return the name of the CPU."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
