"""What ``scsa-yolo bench`` measures, as it is typed: a model's name or file, and the attention to
put into it.

yolov8n                   a model YAML: stock, packaged or any path; .yaml may be left out
yolov8n+EMA               the same with attention in its residual units
yolov8n+SCSA:slot=out:window=9
resnet50+SCSA             a torchvision classifier, the attention injected
best.pt                   a checkpoint
best.onnx, best_openvino_model, best.torchscript, best.engine
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from scsa_yolo.attention import create_attention
from scsa_yolo.blocks import fold

YAML, CHECKPOINT, EXPORTED, TORCHVISION = "yaml", "checkpoint", "exported", "torchvision"
# How exported names end, and the format's name as Ultralytics spells it.
ENDINGS = {
    ".onnx": "onnx",
    "_openvino_model": "openvino",
    ".torchscript": "torchscript",
    ".engine": "engine",
}
_OF_THE_SLOT = ("slot", "start")


@dataclass(frozen=True)
class Contestant:
    """A model to measure.

    Attributes:
        text: As typed; also its name in tables.
        kind: One of YAML, CHECKPOINT, EXPORTED and TORCHVISION.
        model: The name or path without the attention.
        attention: The attention to put in, or None.
        options: Those of the attention, ``slot`` and ``start`` included.
    """

    text: str
    kind: str
    model: str
    attention: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def format(self) -> str:
        """The format of an exported file, otherwise ``pytorch``."""
        return next((name for end, name in ENDINGS.items() if self.model.endswith(end)), "pytorch")


def parse(text: str) -> Contestant:
    """Read a contestant as typed, and make sure that there is such a model.

    Raises:
        ValueError: There is no such model, attention or option; or attention is asked for in
            weights that exist.
        FileNotFoundError: There is no such file.
    """
    text = text.strip().rstrip("/")
    whole = not text or Path(text).exists() or "+" not in text  # a path may hold a plus
    model, attention, options = (text, None, {}) if whole else _attention(text)
    kind, model = _kind(model)
    contestant = Contestant(text, kind, model, attention, options)
    if attention and kind in (CHECKPOINT, EXPORTED):
        raise ValueError(
            f"{text}: attention goes into a model before it is trained. Type a model YAML, such as"
            f" yolov8n+{attention}"
        )
    if attention and kind == YAML:
        _graft(contestant)
    return contestant


def _attention(text: str) -> tuple[str, str, dict[str, Any]]:
    model, _, rest = text.rpartition("+")
    name, *pairs = rest.split(":")
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals or not value or key in options:
            raise ValueError(
                f"{text}: options are name=value, each once, such as {model}+{name}:slot=out, got"
                f" {pair!r}"
            )
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(
                f"{text}: {value!r} is no value such as 9, true, softmax or [3, 5]"
            ) from error
    with torch.random.fork_rng(devices=[]):
        create_attention(
            name, 64, **{key: value for key, value in options.items() if key not in _OF_THE_SLOT}
        )
    return model, name, options


def _kind(model: str) -> tuple[str, str]:
    """Return the kind of a model and its full name."""
    if not model:
        raise ValueError(_no_such_model(model))
    suffix = Path(model).suffix.lower()
    exported, checkpoint = model.endswith(tuple(ENDINGS)), suffix in (".pt", ".pth")
    if exported or checkpoint:
        if not Path(model).exists():
            raise FileNotFoundError(
                f"there is no file '{model}'. Fresh weights take the same time: type a model's"
                " name, such as yolov8n"
            )
        return EXPORTED if exported else CHECKPOINT, model
    from scsa_yolo.complexity import quiet
    from scsa_yolo.grafting import load_model

    name = model if suffix in (".yaml", ".yml") else f"{model}.yaml"
    try:
        with quiet():
            load_model(name)
        return YAML, name
    except FileNotFoundError:
        if model in _torchvision_names():
            return TORCHVISION, model
    raise ValueError(_no_such_model(model))


def _torchvision_names() -> list[str]:
    import torchvision

    return torchvision.models.list_models(module=torchvision.models)


def _no_such_model(model: str) -> str:
    from scsa_yolo.modelfiles import catalogue

    packaged = catalogue.entries()
    names = [Path(name).stem for entry in packaged for name in (entry.name, entry.stock) if name]
    names = list(dict.fromkeys([*names, *_torchvision_names()]))
    close = get_close_matches(model.removesuffix(".yaml"), names, n=3, cutoff=0.6)
    hint = f" Did you mean {', '.join(close)}?" if close else ""
    return (
        f"there is no model '{model}'.{hint} A model is a YAML's name or path, a checkpoint (.pt),"
        f" an exported file ({', '.join(ENDINGS)}) or a torchvision classifier; scsa-yolo models"
        " lists those with attention"
    )


def _graft(contestant: Contestant) -> str:
    """Return the text of the model YAML with the attention."""
    from scsa_yolo.complexity import quiet
    from scsa_yolo.grafting import graft, to_yaml

    with quiet():
        d = graft(contestant.model, str(contestant.attention), **contestant.options)
    return to_yaml(d, header=contestant.text)


def build(contestant: Contestant) -> Any:
    """Build a model on the CPU, and return the ``YOLO`` or ``RTDETR`` object, or torchvision's
    module.

    Fresh weights are the same at every call, and moved a little off their initial values: attention
    modules start with scales of 1 and offsets of 0, which exporters fold away as they never could
    after training; and in a deep network without offsets the values shrink until they are denormal,
    which CPUs compute slowly. Weights of a file are left alone.

    Raises:
        ValueError: It cannot be built or loaded.
    """
    if contestant.kind == CHECKPOINT:
        return _load_checkpoint(contestant.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = _build_fresh(contestant)
        perturb(network_of(built))
    return built


def network_of(built: Any) -> nn.Module:
    """Return the network of a ``YOLO`` object, or a torch module itself."""
    return built.model if hasattr(built, "task") else built


def _build_fresh(contestant: Contestant) -> Any:
    if contestant.kind == TORCHVISION:
        import torchvision

        network = torchvision.models.get_model(contestant.model, weights=None)
        if contestant.attention:
            from scsa_yolo.injection import inject

            inject(network, contestant.attention, **contestant.options)
        return network
    from scsa_yolo.complexity import load
    from scsa_yolo.modelfiles.graft_file import check_builds, default_name

    if contestant.attention:
        return check_builds(
            _graft(contestant), default_name(contestant.model, contestant.attention)
        )
    return load(contestant.model)


def _load_checkpoint(path: str) -> Any:
    from scsa_yolo.complexity import load

    try:
        return load(path)
    except Exception as error:  # a checkpoint is anybody's pickle
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: Ultralytics cannot load this checkpoint: {first}") from error


def inference_network(built: Any, *, fuse: bool) -> nn.Module:
    """Return the network as it is run: with ``fuse``, batch norms and attention folded by
    Ultralytics' ``fuse()``.

    For other networks, whose batch norms stay, the attention alone.
    """
    network = network_of(built).eval()
    if not fuse:
        return network
    return network.fuse(verbose=False) if hasattr(built, "task") else fold(network)


@torch.no_grad()
def perturb(network: nn.Module, share: float = 0.05) -> None:
    """Move parameters and buffers in place, by ``share`` of their spread, or of 1 where all are
    equal.

    Parameters that are not trained, such as the bins of YOLO's box branch, are left alone.
    """
    for parameter in network.parameters():
        if parameter.requires_grad:
            spread = float(parameter.std(correction=0)) if parameter.numel() > 1 else 0.0
            parameter.add_(
                torch.randn_like(parameter),
                alpha=share * (spread if parameter.dim() > 1 and spread else 1),
            )
    for name, buffer in network.named_buffers():
        if buffer.is_floating_point():
            buffer.mul_(1 + share * torch.rand_like(buffer))  # variances stay positive
            if name.endswith("running_mean"):
                buffer.add_(torch.randn_like(buffer), alpha=share)
