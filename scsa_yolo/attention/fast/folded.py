"""What depends on weights alone, computed once for inference, and made anew when they changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import is_
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from scsa_yolo.attention.fast.mode import HOOKS, Children, children_of, recorded
from scsa_yolo.attention.plain import BRANCHES

Reads = list[tuple[nn.Module, str]]


@dataclass(frozen=True)
class Square:
    """SMSA's constants for square maps, both directions side by side as 2 C channels."""

    kernel: torch.Tensor  # (C, 1, k)
    bias: torch.Tensor  # (2 C, 1)
    gain: torch.Tensor  # (2 C), both norms' weights
    shift: torch.Tensor  # (2 C), both norms' biases


@dataclass(frozen=True)
class Constants:
    """The constants of SMSA and PCSA; what a module has no use for is None."""

    kernel: torch.Tensor | None = None  # (C, k), the branches' kernels padded to the largest
    bias: torch.Tensor | None = None  # (C)
    kernel_w: torch.Tensor | None = None  # the same of the width, where it has its own
    bias_w: torch.Tensor | None = None
    centred: torch.Tensor | None = None  # (C), the width's bias as GroupNorm sees it
    gap: torch.Tensor | None = None  # (1, C, k // 2), zeros between the profiles of one map
    square: Square | None = None
    products: torch.Tensor | None = None  # (C, C), each weight of q times each of k
    values: torch.Tensor | None = None  # (C), v's weights


class Sources:
    """The weights that constants were made of: which tensors, where they lie, what they held.

    ``tensor._version`` sees neither ``weight.data.mul_(...)`` nor writes through numpy, so on a CPU
    the bytes are compared: they are few, and that takes a microsecond or two.
    """

    def __init__(self, reads: Reads) -> None:
        self.holders = [child._parameters for child, _ in reads]
        self.names = [name for _, name in reads]
        self.tensors = self._now()
        self.whole = all(tensor is not None for tensor in self.tensors)
        if not self.whole:  # weights are no parameters here: a replica, a sharded module
            return
        self.places = [tensor.data_ptr() for tensor in self.tensors]
        self.versions = [_version(tensor) for tensor in self.tensors]
        self.views = [_bytes(tensor) for tensor in self.tensors if _readable(tensor)]
        self.contents = list(map(bytes, self.views))
        self.all_read = len(self.views) == len(self.tensors)

    def _now(self) -> list[Any]:
        return list(map(dict.get, self.holders, self.names))

    def same(self) -> bool:
        """Tell whether the weights are what they were."""
        if not all(map(is_, self._now(), self.tensors)):
            return False
        if list(map(torch.Tensor.data_ptr, self.tensors)) != self.places:
            return False
        if list(map(bytes, self.views)) != self.contents:
            return False
        return self.all_read or list(map(_version, self.tensors)) == self.versions


def _version(tensor: torch.Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _readable(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.is_contiguous() and tensor.numel() > 0


def _bytes(tensor: torch.Tensor) -> memoryview:
    """Return the memory of a contiguous tensor on a CPU; it stays alive with the view."""
    flat = tensor.detach().reshape(-1).view(torch.uint8)
    memory: Any = flat.numpy()
    return memoryview(memory)


class Folded:
    """The constants of one module, and the sources by which they are known to hold."""

    def __init__(self, module: Any) -> None:
        self.sources = Sources(reads(module))
        self.constants = Constants()
        tensors = self.sources.tensors
        if self.sources.whole and tensors:
            self.device, self.dtype = tensors[0].device, tensors[0].dtype
            with torch.inference_mode(False), torch.no_grad():
                self.constants = make(module)

    def fits(self, x: torch.Tensor) -> bool:
        """Tell whether the constants may be used for ``x``."""
        if not (self.sources.whole and self.sources.tensors):
            return False
        return self.device == x.device


def constants(module: Any, x: torch.Tensor) -> Constants | None:
    """Return the constants that :meth:`Attention.fold` allowed, as the weights are now, or None.

    None, too, while gradients are recorded: they belong to the live weights.
    """
    if not module.is_folded or module.training or torch.compiler.is_compiling():
        return None
    tracing = torch.jit.is_tracing()
    if torch.is_grad_enabled() and not tracing:
        return None
    children: Children = children_of(module)
    folded: Folded | None = children.folded
    if folded is None or not folded.sources.same():
        with not_traced():  # traced, they would be a part of the graph
            folded = children.folded = Folded(module)
    return folded.constants if folded.fits(x) else None


@contextmanager
def not_traced() -> Iterator[None]:
    """Leave a graph that is being traced alone."""
    native: Any = torch._C
    state = native._get_tracing_state()
    native._set_tracing_state(None)
    try:
        yield
    finally:
        native._set_tracing_state(state)


def reads(module: Any) -> Reads:
    """Return the weights that the constants of ``module`` are made of, as (child, name)."""
    found: Reads = []
    if module.has_spatial:
        convs = [child for suffix in _suffixes(module) for child in branches(module, suffix)]
        found += [(conv, name) for conv in convs for name in ("weight", "bias")]
        if isinstance(module.norm_h, nn.GroupNorm):
            norms = (module.norm_h, module.norm_w)
            found += [(norm, name) for norm in norms for name in ("weight", "bias")]
    if module.has_channel and _fixed_products(module):
        found += [(conv, "weight") for conv in (module.q, module.k, module.v)]
    return found


def make(module: Any) -> Constants:
    """Compute the constants of SMSA, PCSA or SCSA from its weights as they are."""
    found: dict[str, Any] = {}
    if module.has_spatial:
        found.update(_spatial(module))
    if module.has_channel and _fixed_products(module):
        found["products"] = products(module, 0).contiguous()
        found["values"] = module.v.weight.detach().reshape(-1).clone()
    return Constants(**found)


def _suffixes(module: Any) -> tuple[str, ...]:
    return ("",) if module.shared else ("", "_w")


def _fixed_products(module: Any) -> bool:
    """Tell whether q's and k's products do not depend on the size of the map."""
    return bool(module.heads == 1 and module.scale == "channels" and module.q.bias is None)


def branches(module: Any, suffix: str) -> list[Any]:
    """Return the convolutions of the branches, those of the width alone with ``_w``."""
    return [getattr(module, name + suffix) for name in BRANCHES[: module.branches]]


def joint_kernel(module: Any, suffix: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the branches' weights as (C, largest kernel), smaller kernels padded with zeros, and
    biases (C).
    """
    convs, largest = branches(module, suffix), max(module.kernels)
    pads = [(largest - size) // 2 for size in module.kernels]
    kernels = [_pad(conv.weight.squeeze(1), pad) for conv, pad in zip(convs, pads)]
    return torch.cat(kernels), torch.cat([conv.bias for conv in convs])


def _pad(kernel: torch.Tensor, pad: int) -> torch.Tensor:
    if not torch.jit.is_tracing():
        return F.pad(kernel, (pad, pad))
    # F.pad of a constant is nothing that the ONNX exporter can fold
    zeros = kernel.new_zeros(kernel.shape[0], pad)
    return torch.cat((zeros, kernel, zeros), dim=1)


def products(module: Any, positions: int) -> torch.Tensor:
    """Return (C, C): each weight of q times each of k, times the scale."""
    root = (positions if module.scale == "positions" else module.channels) ** -0.5
    return (module.q.weight.view(-1, 1) * root) * module.k.weight.view(1, -1)


def _spatial(module: Any) -> dict[str, Any]:
    kernel, bias = joint_kernel(module, "")
    kernel, bias = kernel.contiguous(), bias.contiguous()
    gap = kernel.new_zeros(1, module.channels, max(module.kernels) // 2)
    found: dict[str, Any] = {"kernel": kernel, "bias": bias, "gap": gap}
    if not module.shared:
        found["kernel_w"], found["bias_w"] = joint_kernel(module, "_w")
    norms = (module.norm_h, module.norm_w)
    if module.norm_first or not isinstance(module.norm_h, nn.GroupNorm):
        return found
    found["centred"] = _centred(found.get("bias_w", bias), module.norm_h.num_groups)
    if module.shared:
        gain = torch.cat([norm.weight for norm in norms])
        shift = torch.cat([norm.bias for norm in norms])
        twice = torch.cat((bias, bias)).unsqueeze(1)
        found["square"] = Square(kernel.unsqueeze(1), twice, gain, shift)
    return found


def _centred(bias: torch.Tensor, groups: int) -> torch.Tensor:
    """Return biases (C) that GroupNorm makes the same of: a shift of a whole group is taken out
    again.

    Two convolutions with one and the same bias are what OpenVINO does not merge with their bias.
    """
    per_group = bias.view(groups, -1)
    return (per_group - per_group.mean(dim=1, keepdim=True)).flatten()


class Watch:
    """A residual unit whose map its attention may overwrite, as long as nobody else sees it."""

    def __init__(self, unit: nn.Module, attention: nn.Module) -> None:
        own = set(attention.modules())
        self.modules = [m for m in unit.modules() if m not in own]
        self.held = [tuple(m._modules.values()) for m in self.modules]
        self.hooks = tuple(vars(m)[name] for m in self.modules for name in HOOKS[:2])

    def quiet(self) -> bool:
        """Tell whether the unit has no hook, and the layers that it had."""
        if any(self.hooks):
            return False
        return [tuple(m._modules.values()) for m in self.modules] == self.held


def watch_unit(module: Any, unit: nn.Module) -> None:
    """Let ``module``, the attention in the slot of ``unit``, look whether its map is its own."""
    vars(module)["_watch"] = Watch(unit, module)


def may_overwrite(module: Any) -> bool:
    """Tell whether ``module`` may write its result into its input.

    Not while autograd records or a graph is made, and not while a hook, on the module, on its unit
    or on a layer of the unit, may have kept that map.
    """
    if not module.overwrites or recorded():
        return False
    if any(vars(module)[name] for name in HOOKS):
        return False
    watch: Watch | None = vars(module).get("_watch")
    return watch is None or watch.quiet()


def times(module: Any, x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """Return ``x * gate``; in the memory of ``x`` where that is allowed."""
    return x.mul_(gate) if may_overwrite(module) else x * gate


def scale(fresh: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """Return ``fresh * gate``, in the memory of ``fresh`` where autograd does not need it."""
    # traced, too: a graph that differs with the mode of autograd fails torch's check of it
    return fresh * gate if recorded() else fresh.mul_(gate)
