"""The checks that :func:`scsa_yolo.testing.check_attention` runs, one small function each, and what
they are run on.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

Factory = Callable[[int], nn.Module]
Size = tuple[int, int]

LARGE = 1e3  # magnitude of the autocast checks' input
TOLERANCE = (
    1e-5  # of what must be equal up to the order of float32 sums, relative to the largest value
)
SEEDS = 5  # sets of parameters after which one without a gradient counts as unused
OPSET = 13
# What torch says about the exporters that Ultralytics uses; nothing in a module can change it.
EXPORTER_WARNINGS = (
    (DeprecationWarning, "You are using the legacy TorchScript-based ONNX export"),
    (DeprecationWarning, "The feature will be removed"),
    (FutureWarning, r"`torch\.jit\.trace"),
    (DeprecationWarning, r"`torch\.jit\.trace"),
)


class ConformanceError(AssertionError):
    """An attention module broke the contract; the message says where, and what to do."""


class SkipCheck(Exception):
    """A check cannot run here."""


@dataclass(frozen=True)
class Subject:
    """What is checked: builds modules and inputs that are the same at every call."""

    name: str
    build: Factory
    sizes: tuple[Size, ...]

    def module(self, channels: int, *, seed: int = 0) -> nn.Module:
        """Build the module in eval mode with its parameters moved off their initial values."""
        torch.manual_seed(seed)
        module = self.build(channels)
        if not isinstance(module, nn.Module):
            raise self.broken(
                channels,
                f"the factory returned {type(module).__name__}",
                "return a torch.nn.Module",
            )
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        return module.eval()

    def input(self, channels: int, size: Size, *, batch: int = 2) -> torch.Tensor:
        """Return a float32 map whose channels have means of their own."""
        generator = torch.Generator().manual_seed(channels + 1000 * size[0] + size[1])
        offsets = torch.randn(batch, channels, 1, 1, generator=generator)
        return torch.randn(batch, channels, *size, generator=generator) + offsets

    def broken(self, channels: int, what: str, fix: str) -> ConformanceError:
        """Return the error that says where, what and what to do."""
        return ConformanceError(f"{self.name} with {channels} channels: {what}. To do: {fix}.")

    @property
    def largest(self) -> Size:
        """The size with the most positions."""
        return max(self.sizes, key=lambda size: size[0] * size[1])


def _same(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    """Equal up to the order of float32 sums."""
    scale = max(1.0, expected.abs().max().item())
    return actual.shape == expected.shape and bool(
        (actual - expected).abs().max() <= TOLERANCE * scale
    )


def check_build(subject: Subject, channels: int) -> None:
    """Take the width as the only argument that must be given, and be a torch.nn.Module."""
    subject.module(channels)


def check_repr(subject: Subject, channels: int) -> None:
    """Name the class in repr, so that a printed model shows which attention it has."""
    module = subject.module(channels)
    if type(module).__name__ not in repr(module):
        raise subject.broken(
            channels, f"repr is {repr(module)[:80]!r}", "let repr hold the class name"
        )


def check_shape(subject: Subject, channels: int) -> None:
    """Keep the shape of every map, in training and in eval mode."""
    for size in subject.sizes:
        x = subject.input(channels, size)
        for training in (True, False):
            module = subject.module(channels).train(training)
            shape = tuple(module(x).shape)
            if shape != tuple(x.shape):
                what = f"a map of {tuple(x.shape)} became {shape} (training={training})"
                raise subject.broken(channels, what, "return the input's shape")


def check_dtype(subject: Subject, channels: int) -> None:
    """Keep the data type of a model in float64 or bfloat16."""
    for dtype in (torch.float64, torch.bfloat16):
        module = subject.module(channels).to(dtype)
        got = module(subject.input(channels, subject.largest).to(dtype)).dtype
        if got != dtype:
            fix = "cast what is computed in another type back with .to(x.dtype)"
            raise subject.broken(channels, f"a module and a map of {dtype} gave {got}", fix)


def check_deterministic(subject: Subject, channels: int) -> None:
    """Give the same output twice in eval mode."""
    module, x = subject.module(channels), subject.input(channels, subject.largest)
    if not torch.equal(module(x), module(x)):
        fix = "draw random numbers and update statistics in training mode only"
        raise subject.broken(channels, "two calls in eval mode differ", fix)


def check_one_image(subject: Subject, channels: int) -> None:
    """Take a batch of one, in training too, and give each image what it gets in a larger batch."""
    for size in subject.sizes:
        x, module = subject.input(channels, size), subject.module(channels)
        if not _same(module(x[:1]), module(x)[:1]):
            raise subject.broken(
                channels, f"at {size} an image's result depends on the others", "keep dim 0 apart"
            )
        module.train()(x[:1])


def check_input_kept(subject: Subject, channels: int) -> None:
    """Leave the input as it is: the shortcut of a residual unit reads it again."""
    for training in (True, False):
        module, x = (
            subject.module(channels).train(training),
            subject.input(channels, subject.largest),
        )
        before, version = x.clone(), x._version
        module(x)
        if x._version != version or not torch.equal(x, before):
            fix = "write x * gate instead of x *= gate, and no inplace=True on the input"
            raise subject.broken(channels, "the input was modified in place", fix)


def check_memory_format(subject: Subject, channels: int) -> None:
    """Give the same numbers for a map in channels-last order."""
    module, x = subject.module(channels), subject.input(channels, subject.largest)
    if not _same(module(x.contiguous(memory_format=torch.channels_last)), module(x)):
        raise subject.broken(
            channels, "channels_last changes the output", "use reshape, not view or as_strided"
        )


def check_gradients(subject: Subject, channels: int) -> None:
    """Give the input and every parameter a finite gradient, not zero at every size."""
    silent: set[str] = set()
    for seed in range(
        SEEDS
    ):  # a ReLU of one unit may be closed for all inputs: other parameters open it
        module = subject.module(channels, seed=seed).train()
        names = {"the input", *(name for name, p in module.named_parameters() if p.requires_grad)}
        silent = (silent if seed else names) - _reached(subject, channels, module)
        if not silent:
            return
    fix = "use what forward() leaves out, or remove it: unused parameters stop distributed training"
    raise subject.broken(channels, f"no gradient reaches {', '.join(sorted(silent))}", fix)


def _reached(subject: Subject, channels: int, module: nn.Module) -> set[str]:
    """Return the names of what gets a gradient other than zero at one size at least; refuse what is
    not finite.
    """
    reached = set()
    for size in subject.sizes:
        x = subject.input(channels, size)
        x = torch.cat((x, -x)).requires_grad_()
        module.zero_grad(set_to_none=True)
        with torch.enable_grad():
            y = module(x)
        y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)))
        for name, tensor in (("the input", x), *module.named_parameters()):
            if tensor.grad is None:
                continue
            if not tensor.grad.isfinite().all():
                fix = "look for a division, root or logarithm of what may be 0"
                raise subject.broken(
                    channels, f"at {size} the gradient of {name} is not finite", fix
                )
            if tensor.grad.any():
                reached.add(name)
    return reached


def check_autocast_bfloat16(subject: Subject, channels: int) -> None:
    """Stay finite and keep the input's type under autocast to bfloat16."""
    _check_autocast(subject, channels, torch.bfloat16)


def check_autocast_float16(subject: Subject, channels: int) -> None:
    """Stay finite and keep the input's type under autocast to float16."""
    _check_autocast(subject, channels, torch.float16)


def _check_autocast(subject: Subject, channels: int, low: torch.dtype) -> None:
    for dtype in (torch.float32, low):
        module, x = subject.module(channels), subject.input(channels, subject.largest)
        x = (x * (LARGE / x.abs().max())).to(dtype)
        try:
            with torch.autocast("cpu", dtype=low):
                y = module(x)
        except RuntimeError as error:
            if "not implemented for" in str(error):  # an operator that this torch lacks on the CPU
                raise SkipCheck(str(error)) from error
            raise
        if y.dtype != dtype:
            fix = "cast the gate with .to(x.dtype) before the full-size product"
            raise subject.broken(
                channels, f"under autocast to {low} a map of {dtype} became {y.dtype}", fix
            )
        if not y.isfinite().all():
            fix = f"take sums and products that leave {low}'s range in float32"
            raise subject.broken(
                channels, f"not finite under autocast to {low} for inputs up to {LARGE:g}", fix
            )


def check_state_dict(subject: Subject, channels: int) -> None:
    """Load its own state dict strictly into a fresh module, and give the same output."""
    module, other = subject.module(channels), subject.module(channels, seed=1)
    other.load_state_dict(module.state_dict(), strict=True)
    x = subject.input(channels, subject.largest)
    if not torch.equal(other(x), module(x)):
        fix = "keep tensors that forward() reads as parameters or persistent buffers"
        raise subject.broken(
            channels, "a module with the same state dict gives another output", fix
        )


def check_copies(subject: Subject, channels: int) -> None:
    """Survive deepcopy (the EMA of training) and pickle (checkpoints), defined at a module's top
    level.
    """
    module, x = subject.module(channels), subject.input(channels, subject.largest)
    for way, other in (
        ("deepcopy", copy.deepcopy(module)),
        ("pickle", pickle.loads(pickle.dumps(module))),
    ):
        if not torch.equal(other(x), module(x)):
            raise subject.broken(
                channels, f"after {way} the output differs", "keep all state in the module"
            )


def check_safe_load(subject: Subject, channels: int) -> None:
    """Load from a checkpoint with weights_only=True."""
    if not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
        raise SkipCheck("needs torch 2.6")
    module, file = subject.module(channels), io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    needed = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    foreign = [name for name in needed if not name.startswith("torch.nn.modules.")]
    if foreign:
        fix = (
            "register the class with register_attention, and helper classes with"
            " torch.serialization.add_safe_globals"
        )
        raise subject.broken(channels, f"safe loading refuses {', '.join(foreign)}", fix)
    file.seek(0)
    with torch.serialization.safe_globals(
        [_import(name) for name in needed]
    ):  # as Ultralytics allows torch.nn
        other = torch.load(file, weights_only=True)
    x = subject.input(channels, subject.largest)
    if not torch.equal(other(x), module(x)):
        raise subject.broken(
            channels, "after safe loading the output differs", "keep all state in the module"
        )


def _import(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def check_bad_input(subject: Subject, channels: int) -> None:
    """Refuse an input that is not (batch, channels, height, width)."""
    module = subject.module(channels)
    for shape in ((channels, 8, 8), (2, channels, 8), (1, 1, channels, 8, 8)):
        try:
            module(torch.ones(shape))
        except Exception:  # noqa: BLE001  any error will do: what must not happen is a result
            continue
        fix = "raise ValueError when x.dim() != 4"
        raise subject.broken(channels, f"an input of {len(shape)} dimensions was taken", fix)


def check_torchscript(subject: Subject, channels: int) -> None:
    """Give the same output once traced."""
    module, x = subject.module(channels), subject.input(channels, subject.largest)
    with exporting():
        traced = torch.jit.trace(module, x)
        if not _same(traced(x), module(x)):
            raise subject.broken(
                channels, "the traced module's output differs", "use tensor operations alone"
            )


def check_onnx(subject: Subject, channels: int) -> None:
    """Export to ONNX with fixed sizes, and give the same output there."""
    module, x = subject.module(channels), subject.input(channels, subject.largest)
    if not _same(_onnx(module, x, {})(x), module(x)):
        raise subject.broken(
            channels, "ONNX Runtime's output differs", "use operators that export exactly"
        )


def check_onnx_dynamic(subject: Subject, channels: int) -> None:
    """Export to ONNX once with symbolic sizes, and give the same output at every size and batch."""
    module = subject.module(channels)
    run = _onnx(
        module, subject.input(channels, subject.largest), {0: "batch", 2: "height", 3: "width"}
    )
    for size in subject.sizes:
        for batch in (1, 3):
            x = subject.input(channels, size, batch=batch)
            if not _same(run(x), module(x)):
                fix = (
                    "keep Python numbers and branches that come from the map's size out of"
                    " forward()"
                )
                raise subject.broken(
                    channels, f"exported with symbolic sizes, the output differs at {size}", fix
                )


def _onnx(
    module: nn.Module, x: torch.Tensor, axes: dict[int, str]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Export ``module`` as Ultralytics does and return a function that runs the result."""
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise SkipCheck(f"{' and '.join(missing)} not installed")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    with TemporaryDirectory() as folder, exporting():
        file = str(Path(folder, "module.onnx"))
        names: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"]}
        names["dynamic_axes"] = {"x": axes, "y": axes}
        torch.onnx.export(module, (x,), file, dynamo=False, opset_version=OPSET, **names)
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda t: torch.from_numpy(session.run(None, {"x": t.numpy()})[0])


@contextmanager
def exporting() -> Iterator[None]:
    """Silence torch's words on its exporters' age, and nothing else; build no graph for
    gradients.
    """
    with warnings.catch_warnings(), torch.no_grad():
        for category, message in EXPORTER_WARNINGS:
            warnings.filterwarnings("ignore", message=message, category=category)
        yield


Check = Callable[[Subject, int], None]
CHECKS: dict[str, Check] = {
    "build": check_build,
    "repr": check_repr,
    "shape": check_shape,
    "dtype": check_dtype,
    "deterministic": check_deterministic,
    "one image": check_one_image,
    "input kept": check_input_kept,
    "memory format": check_memory_format,
    "gradients": check_gradients,
    "autocast bfloat16": check_autocast_bfloat16,
    "autocast float16": check_autocast_float16,
    "state dict": check_state_dict,
    "copies": check_copies,
    "safe load": check_safe_load,
    "bad input": check_bad_input,
    "torchscript": check_torchscript,
    "onnx": check_onnx,
    "onnx dynamic": check_onnx_dynamic,
}
