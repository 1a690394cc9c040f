"""What goes on around a call: what records, traces or compiles it, and who looks on."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn.modules import module as torch_module

GLOBAL_HOOKS = (
    torch_module._global_forward_hooks,
    torch_module._global_forward_pre_hooks,
    torch_module._global_backward_hooks,
    torch_module._global_backward_pre_hooks,
)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
PLAIN_TENSORS = frozenset((torch.Tensor, nn.Parameter))
# Modes that change no operator: a default device, and torch's counter of operations, which is to
# count what really runs.
HARMLESS_MODES = ("torch.utils._device", "torch.utils.flop_counter")


def traced() -> bool:
    """Tell whether a graph is being made of what runs: traced, or compiled."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


def recorded() -> bool:
    """Tell whether autograd records or a graph is being made: then nothing may be overwritten."""
    return torch.is_grad_enabled() or traced()


def transformed(x: torch.Tensor) -> bool:
    """Tell whether a functional transform, a mode or another kind of tensor is at work on ``x``."""
    if type(x) not in PLAIN_TENSORS or forward_ad._current_level >= 0:
        return True
    if torch._C._functorch.maybe_current_level() is not None:
        return True
    if not (torch._C._len_torch_function_stack() or torch._C._len_torch_dispatch_stack()):
        return False
    return any(type(mode).__module__ not in HARMLESS_MODES for mode in _modes())


def counted() -> bool:
    """Tell whether torch's counter of operations runs; it hooks every module, and changes none."""
    if not torch._C._len_torch_dispatch_stack():
        return False
    return any(type(mode).__module__ == "torch.utils.flop_counter" for mode in _modes())


def _modes() -> list[Any]:
    """Return the modes that are on, of both kinds."""
    python = torch.utils._python_dispatch
    dispatch: list[Any] = [python._get_current_dispatch_mode()]
    if hasattr(python, "_get_current_dispatch_mode_stack"):
        dispatch = list(python._get_current_dispatch_mode_stack())
    function = torch.overrides._get_current_function_mode_stack()
    return [mode for mode in (*dispatch, *function) if mode is not None]


class Children:
    """The modules inside one, looked through once; :meth:`same` tells whether that still holds.

    A walk through the children at each call would cost more than some modules. So their hooks,
    which are dictionaries that live as long as the child, are kept and asked again, and so is what
    else would change: which children there are, their classes, and their attributes by number.
    """

    def __init__(self, module: nn.Module) -> None:
        inside = list(module.modules())[1:]
        self.owner = id(module)
        self.holders = [m._modules for m in (module, *inside) if m._modules or m is module]
        self.held = [tuple(holder.values()) for holder in self.holders]
        self.inside = inside
        self.classes = [type(child) for child in inside]
        self.attributes = [vars(child) for child in inside]
        self.sizes = [len(attributes) for attributes in self.attributes]
        self.hooks = tuple(vars(child)[name] for child in inside for name in HOOKS)
        self.weights = [m._parameters for m in (module, *inside) if m._parameters]
        self.ordinary = all(map(_is_ordinary, inside))
        self.folded: Any = None  # what folding keeps; see scsa_yolo.attention.fast.folded

    def same(self, module: nn.Module) -> bool:
        """Tell whether ``module`` still has the children that were looked through."""
        return (
            self.owner == id(module)
            and list(map(type, self.inside)) == self.classes
            and list(map(len, self.attributes)) == self.sizes
            and [tuple(holder.values()) for holder in self.holders] == self.held
            and self.holders[0] is module._modules
        )

    def hooked(self) -> bool:
        """Tell whether a child has a hook of any kind."""
        return any(self.hooks)

    def odd_weights(self) -> bool:
        """Tell whether a weight is another kind of tensor (sharded, quantized by a subclass)."""
        tensors = chain.from_iterable(map(dict.values, self.weights))
        return not _WEIGHT_TYPES.issuperset(map(type, tensors))


_WEIGHT_TYPES = PLAIN_TENSORS | {type(None)}


def _is_ordinary(child: nn.Module) -> bool:
    """Tell whether a child is torch's own layer and computes as that layer does.

    Not so: a wrapper, a fake-quantized, parametrized or adapted layer, a forward put on the
    instance.
    """
    from_torch = type(child).__module__.startswith("torch.nn.modules.")
    return from_torch and "forward" not in vars(child)


def children_of(module: Any) -> Children:
    """Return what is known of the modules inside ``module``, looked through again if they changed.

    It is kept on the instance and never copied or saved, see ``Attention.__getstate__``.
    """
    known: Children | None = vars(module).get("_children")
    if known is None or not known.same(module):
        known = Children(module)
        vars(module)["_children"] = known
    return known


def watched(module: Any, x: torch.Tensor) -> bool:
    """Tell whether somebody looks into ``module``: only the plain equations show all there is.

    Hooks and pruning masks of children, parametrizations, wrappers, global hooks, functional
    transforms, modes, other kinds of tensors.
    """
    if transformed(x) or (any(GLOBAL_HOOKS) and not counted()):
        return True
    children = children_of(module)
    if children.hooked():
        module.any_width = True
        return True
    return not children.ordinary or children.odd_weights()


def watched_in_graph(module: nn.Module) -> bool:
    """Tell the same while a graph is made, where transforms and modes are the tracer's own."""
    for child in module.modules():
        if child is module:
            continue
        if not _is_ordinary(child) or any(getattr(child, name) for name in HOOKS):
            return True
    return False
