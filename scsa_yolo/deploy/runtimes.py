"""Exported models, each in the runtime it was made for, behind one call: an array in, the graph's
raw outputs out.

A runtime is imported when a file needs it, never before. Adding one is an entry of
:data:`RUNTIMES`.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["RUNTIMES", "MissingRuntime", "Runner", "Runtime", "load", "reason", "runtime_of"]


class MissingRuntime(ImportError):
    """A runtime is not installed; the message says what to type."""


class Runner(ABC):
    """A loaded model; call it with images.

    Attributes:
        name: The runtime, such as ``ONNX Runtime``.
        version: Its version.
        shape: The input's shape (B, C, H, W), None where the graph leaves a size open, or None if
            it does not say.
    """

    name: str = ""
    version: str = ""
    shape: tuple[int | None, ...] | None = None

    @abstractmethod
    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """Run the graph once.

        Args:
            images: float32 (B, C, H, W), RGB from 0 to 1; converted to the type of the graph's
                input.

        Returns:
            The outputs in the graph's order, as float32 where they are of another float type.
        """


@dataclass(frozen=True)
class Runtime:
    """What runs files of one kind.

    Attributes:
        name: What people call it.
        package: The module to import.
        suffix: How the file's or folder's name ends.
        install: What to type where the package is missing.
        runner: Makes a runner of (path, device, threads).
    """

    name: str
    package: str
    suffix: str
    install: str
    runner: Callable[[Path, str, int | None], Runner]

    def missing(self) -> str | None:
        """Return one line that says what to type, or None where the package is there."""
        if importlib.util.find_spec(self.package) is not None:
            return None
        return f"{self.name} is not installed. Type: {self.install}"


def load(model: Any, *, device: str = "cpu", threads: int | None = None) -> Runner:
    """Load a model into its runtime.

    Args:
        model: A file or folder whose name ends as one of :data:`RUNTIMES` says, or a torch module,
            which is run as it is.
        device: As for torch: ``"cpu"``, ``"cuda:0"`` or ``"0"``.
        threads: CPU threads of a call; default: as many as the runtime takes by itself.

    Raises:
        MissingRuntime: The package of the runtime is not installed.
        FileNotFoundError: There is no such file or folder.
        ValueError: No runtime takes such a file, or it is damaged.
    """
    device = f"cuda:{device}" if str(device).isdigit() else str(device)
    if not isinstance(model, (str, Path)):
        return _Torch(model, device, threads)
    path = Path(model)
    runtime = runtime_of(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if missing := runtime.missing():
        raise MissingRuntime(f"{path.name} needs it: {missing}")
    try:
        return runtime.runner(path, device, threads)
    except (MissingRuntime, OSError):
        raise
    except Exception as error:  # each runtime has exceptions of its own
        raise ValueError(f"{path}: {runtime.name} cannot load it: {reason(error)}") from error


def runtime_of(path: str | Path) -> Runtime:
    """Return the runtime of a file by the end of its name.

    Raises:
        ValueError: There is none.
    """
    for runtime in RUNTIMES:
        if Path(path).name.endswith(runtime.suffix):
            return runtime
    known = ", ".join(f"{runtime.suffix} ({runtime.name})" for runtime in RUNTIMES)
    raise ValueError(f"{path}: no runtime for such a name. Known: {known}")


def reason(error: BaseException) -> str:
    """Return the line of an error that says what was wrong: OpenVINO's begin with lines on its own
    source files.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from ", "Check '"))] or lines
    return f"{type(error).__name__}: {told[0]}" if told else type(error).__name__


def _numbers(output: Any) -> np.ndarray:
    """Return an output as an array, float types widened to float32."""
    array = np.asarray(output)
    return (
        array.astype(np.float32) if array.dtype.kind == "f" and array.dtype != np.float32 else array
    )


class _Torch(Runner):
    name = "PyTorch"

    def __init__(self, module: Any, device: str, threads: int | None) -> None:
        import torch

        self.version, self.device, self.threads = torch.__version__, torch.device(device), threads
        self.module = module.to(self.device).eval()
        first = next(iter(module.parameters()), None)
        self.dtype = (
            torch.float32 if first is None or not first.is_floating_point() else first.dtype
        )

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        import torch

        if self.threads and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # what a model warns of at run time is not the caller's doing
            output = self.module(
                torch.from_numpy(np.ascontiguousarray(images)).to(self.device, self.dtype)
            )
        return [
            _numbers((t.float() if t.is_floating_point() else t).cpu().numpy())
            for t in _tensors(output)
        ]


def _tensors(output: Any) -> list[Any]:
    """Return the tensors of a module's output in the order in which exporters flatten them; None is
    left out.
    """
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, (list, tuple)):
        return [tensor for part in output for tensor in _tensors(part)]
    return [] if output is None else [output]


def _checkpoint(path: Path, device: str, threads: int | None) -> Runner:
    """Run a checkpoint as exporters trace it: fused, in float32, heads in export mode."""
    import scsa_yolo

    scsa_yolo.register()
    from ultralytics.nn.tasks import load_checkpoint

    module = load_checkpoint(str(path))[0].float().eval().fuse(verbose=False)
    for part in module.modules():
        if hasattr(part, "export"):
            part.export = (
                True  # the heads then return what exported graphs return, and nothing besides
            )
    return _Torch(module, device, threads)


def _torchscript(path: Path, device: str, threads: int | None) -> Runner:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the format deprecated; it was asked for
        runner = _Torch(torch.jit.load(str(path), map_location=device), device, threads)
    runner.name = "TorchScript"
    return runner


class _Onnx(Runner):
    name = "ONNX Runtime"

    def __init__(self, path: Path, device: str, threads: int | None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        if threads:
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.startswith("cuda"):
            if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
                raise MissingRuntime(
                    "ONNX Runtime here runs on the CPU only. Type: pip install onnxruntime-gpu"
                )
            providers.insert(
                0, ("CUDAExecutionProvider", {"device_id": int(device.partition(":")[2] or 0)})
            )
        self.version = onnxruntime.__version__
        self.session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        self.input, *_ = self.session.get_inputs()
        self.shape = tuple(size if isinstance(size, int) else None for size in self.input.shape)
        self.dtype = np.float16 if "float16" in self.input.type else np.float32

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        outputs = self.session.run(None, {self.input.name: images.astype(self.dtype, copy=False)})
        return [_numbers(output) for output in outputs]


class _OpenVino(Runner):
    name = "OpenVINO"

    def __init__(self, folder: Path, device: str, threads: int | None) -> None:
        import openvino

        graphs = sorted(folder.glob("*.xml"))
        if len(graphs) != 1:
            raise ValueError(f"the folder must hold one .xml file, it holds {len(graphs)}")
        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        core, place = (
            openvino.Core(),
            device.upper() if device.startswith(("cpu", "gpu", "npu")) else "CPU",
        )
        if place == "CPU":
            config["INFERENCE_PRECISION_HINT"] = (
                "f32"  # some CPUs would silently compute a float32 file in bfloat16
            )
        self.version = openvino.__version__
        self.compiled = core.compile_model(core.read_model(graphs[0]), place, config)
        source = self.compiled.input(0)
        self.shape = tuple(
            None if size.is_dynamic else size.get_length() for size in source.partial_shape
        )
        self.dtype = source.element_type.to_dtype()
        self.request = self.compiled.create_infer_request()

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        done = self.request.infer([images.astype(self.dtype, copy=False)])
        return [_numbers(np.array(done[output])) for output in self.compiled.outputs]


class _TensorRT(Runner):
    """An engine through TensorRT's own API; torch holds the memory on the device."""

    name = "TensorRT"

    def __init__(self, path: Path, device: str, threads: int | None) -> None:
        import tensorrt
        import torch

        if not torch.cuda.is_available():
            raise MissingRuntime("TensorRT engines run on an NVIDIA GPU, and torch sees none here")
        self.device = torch.device(device if device.startswith("cuda") else "cuda:0")
        self.version = tensorrt.__version__
        runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
        self.engine = runtime.deserialize_cuda_engine(_without_metadata(path.read_bytes()))
        if self.engine is None:
            raise ValueError(
                "the engine was built by another version of TensorRT, or for another GPU"
            )
        self.context = self.engine.create_execution_context()
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        kinds = {name: self.engine.get_tensor_mode(name) for name in names}
        self.input, *_ = [name for name in names if kinds[name] == tensorrt.TensorIOMode.INPUT]
        self.outputs = [name for name in names if kinds[name] == tensorrt.TensorIOMode.OUTPUT]
        self.shape = tuple(
            None if size < 0 else size for size in self.engine.get_tensor_shape(self.input)
        )
        self.dtypes = {
            name: np.dtype(tensorrt.nptype(self.engine.get_tensor_dtype(name))) for name in names
        }

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        import torch

        source = torch.from_numpy(np.ascontiguousarray(images.astype(self.dtypes[self.input]))).to(
            self.device
        )
        self.context.set_input_shape(self.input, tuple(source.shape))
        self.context.set_tensor_address(self.input, source.data_ptr())
        results = []
        for name in self.outputs:
            empty = torch.from_numpy(
                np.empty(tuple(self.context.get_tensor_shape(name)), self.dtypes[name])
            )
            results.append(empty.to(self.device))
            self.context.set_tensor_address(name, results[-1].data_ptr())
        stream = torch.cuda.current_stream(self.device)
        if not self.context.execute_async_v3(stream.cuda_stream):
            raise ValueError(
                f"the engine does not run at {tuple(source.shape)}: it was built for {self.shape}"
            )
        stream.synchronize()
        return [_numbers(result.cpu().numpy()) for result in results]


class _Ultralytics(Runner):
    """Runtimes without a wrapper of ours, through Ultralytics' own."""

    def __init__(self, path: Path, device: str, threads: int | None) -> None:
        import torch
        from ultralytics.nn.autobackend import AutoBackend

        if threads:
            torch.set_num_threads(threads)
        self.device = torch.device(device)
        self.backend = AutoBackend(str(path), device=self.device)
        runtime = runtime_of(path)
        package = importlib.import_module(runtime.package)
        self.name, self.version = runtime.name, str(getattr(package, "__version__", ""))

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        import torch

        output = self.backend(torch.from_numpy(np.ascontiguousarray(images)).to(self.device))
        return [_numbers(tensor.cpu().numpy()) for tensor in _tensors(output)]


def _without_metadata(content: bytes) -> bytes:
    """Cut off the JSON that Ultralytics writes before an engine: its length in four bytes, then the
    text.
    """
    length = int.from_bytes(content[:4], byteorder="little")
    return (
        content[4 + length :] if content[4:5] == b"{" and 0 < length < len(content) - 4 else content
    )


EXTRA = "pip install 'scsa-yolo[export]'"
RUNTIMES: tuple[Runtime, ...] = (
    Runtime("PyTorch", "torch", ".pt", "pip install torch", _checkpoint),
    Runtime("TorchScript", "torch", ".torchscript", "pip install torch", _torchscript),
    Runtime("ONNX Runtime", "onnxruntime", ".onnx", EXTRA, _Onnx),
    Runtime("OpenVINO", "openvino", "_openvino_model", EXTRA, _OpenVino),
    Runtime(
        "TensorRT",
        "tensorrt",
        ".engine",
        "pip install tensorrt (on a machine with an NVIDIA GPU)",
        _TensorRT,
    ),
    Runtime("NCNN", "ncnn", "_ncnn_model", "pip install ncnn", _Ultralytics),
    Runtime("MNN", "MNN", ".mnn", "pip install MNN", _Ultralytics),
    Runtime("LiteRT", "ai_edge_litert", ".tflite", "pip install ai-edge-litert", _Ultralytics),
)
