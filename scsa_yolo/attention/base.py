"""What every attention module shares: one constructor vocabulary, checked arguments, clear
errors.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from scsa_yolo.attention.functional import recorded

# begins the names of buffers that hold constants; they are not part of the state dict
FOLDED = "folded_"


class Attention(nn.Module):
    """Base of the attention modules: maps (B, C, H, W) to the same shape.

    Subclasses take ``channels`` (C) as their first, positional argument and every option by
    keyword, hold only ``torch.nn`` children and parameters (so that safe loading works), and call
    :meth:`check_input` in ``forward``.

    Args:
        channels: Width C of the input, an int of at least 1.

    Raises:
        ValueError: ``channels`` is not an int of at least 1.
    """

    # On the class: modules in checkpoints of earlier versions have none of their own.
    overwrites = False
    runtime: str | None = (
        None  # of a traced graph that is for the size of its example alone; see blocks.fix_size
    )

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = check_int("channels", channels, low=1, owner=type(self).__name__)

    def check_input(self, x: torch.Tensor) -> None:
        """Refuse what is not a batch of feature maps. ``x.dim()`` stays a plain int under tracing
        and export.
        """
        if x.dim() != 4:
            raise ValueError(
                f"{type(self).__name__} takes (batch, channels, height, width), got {x.dim()}"
                f" dimensions {tuple(x.shape)}. For one image, type x[None]."
            )

    def in_onnx_of_one_size(self) -> bool:
        """Tell whether a graph is being traced to ONNX, for the size of its example alone."""
        return (
            self.runtime is not None and torch.jit.is_tracing() and torch.onnx.is_in_onnx_export()
        )

    def times(self, x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """Return ``x * gate``; in the memory of ``x`` once :meth:`fold` allowed it and nothing
        records.
        """
        return x.mul_(gate) if self.overwrites and not recorded() else x * gate

    def fold(self, *, overwrite: bool = False) -> None:
        """Prepare for inference with the weights as they are: what depends on them alone is
        computed once.

        As with a fused batch norm, later changes of the weights are not seen. ``train()`` and
        loading a state dict undo it; in training mode nothing is folded. The state dict stays as it
        is.

        Args:
            overwrite: Let ``forward`` write its result into its input where autograd does not
                record. Allow it only where nothing else reads that map.
        """
        self.unfold()
        if not self.training:
            with torch.inference_mode(False), torch.no_grad():
                for name, constant in self.constants().items():
                    self.register_buffer(FOLDED + name, constant.contiguous(), persistent=False)
            self.overwrites = overwrite

    def unfold(self) -> None:
        """Undo :meth:`fold`."""
        for name in [name for name in self._buffers if name.startswith(FOLDED)]:
            delattr(self, name)
        self.overwrites = False

    def constants(self) -> dict[str, torch.Tensor]:
        """Return what :meth:`fold` keeps, by name: tensors that depend on the weights alone."""
        return {}

    def folded(self, name: str) -> torch.Tensor | None:
        """Return a constant that :meth:`fold` kept, or None."""
        return self._buffers.get(FOLDED + name)

    def train(self, mode: bool = True) -> Attention:
        """Set the mode as torch does; training mode undoes :meth:`fold`."""
        if mode:
            self.unfold()
        return super().train(mode)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.unfold()
        super()._load_from_state_dict(*args, **kwargs)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load as torch does, and say which width to build when the tensors are of another one."""
        try:
            return super().load_state_dict(state_dict, strict=strict, assign=assign)
        except RuntimeError as error:
            if "size mismatch" not in str(error):
                raise
            name = type(self).__name__
            raise RuntimeError(
                f"this state dict does not belong to {name}({self.channels}): its tensors have"
                f" another width or other options. Build {name} with the channels and options that"
                f" it was saved with. Details: {error}"
            ) from error

    def extra_repr(self) -> str:
        """Show the width and, through ``_options``, what departs from the module's defaults."""
        return ", ".join(
            [
                str(self.channels),
                *(f"{key}={value!r}" for key, value in self.shown_options().items()),
            ]
        )

    def shown_options(self) -> dict[str, Any]:
        """Options worth showing in ``repr``: the values in force after the width's limits were
        applied.
        """
        return {}


def check_int(name: str, value: Any, *, low: int, high: int | None = None, owner: str) -> int:
    """Return ``value`` when it is an int (not a bool) in [low, high]; otherwise say what is
    asked.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or value < low
        or (high is not None and value > high)
    ):
        asked = f"an int of at least {low}" if high is None else f"an int from {low} to {high}"
        raise ValueError(f"{owner}: {name} must be {asked}, got {value!r}")
    return value


def check_odd(name: str, value: Any, *, owner: str) -> int:
    """Return ``value`` when it is an odd int of at least 1: kernels that keep the map's size."""
    if check_int(name, value, low=1, owner=owner) % 2 == 0:
        raise ValueError(
            f"{owner}: {name} must be odd so that the map keeps its size, got {value!r}"
        )
    return int(value)


def check_bool(name: str, value: Any, *, owner: str) -> bool:
    """Return ``value`` when it is a bool; YAML spells them true and false."""
    if not isinstance(value, bool):
        raise ValueError(f"{owner}: {name} must be true or false, got {value!r}")
    return value


def check_float(name: str, value: Any, *, low: float, high: float, owner: str) -> float:
    """Return ``value`` as a float when it is a number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{owner}: {name} must be a number from {low} to {high}, got {value!r}")
    return float(value)


def check_choice(
    name: str, value: Any, choices: Collection[str], *, owner: str | None = None
) -> str:
    """Return ``value`` when it is one of ``choices``; otherwise list them. ``owner`` is whose
    setting it is.
    """
    if not isinstance(value, str) or value not in choices:
        of = "" if owner is None else f"{owner}: "
        raise ValueError(
            f"{of}{name} must be one of {', '.join(map(repr, choices))}, got {value!r}"
        )
    return value


def largest_divisor(number: int, at_most: int) -> int:
    """Return the largest divisor of ``number`` that is at most ``at_most`` (at least 1).

    The one rule by which groups, heads and branches are limited to what a width allows.
    """
    return next(d for d in range(min(number, max(at_most, 1)), 0, -1) if number % d == 0)


def group_norm(x: torch.Tensor, norm: nn.GroupNorm) -> torch.Tensor:
    """Apply ``norm`` to (B, C, ...) without the check of ``nn.GroupNorm`` that refuses one value
    per group.

    Such groups are legal here (a 1 x 1 map, a batch of one, a width as small as the number of
    groups): their result is the bias.
    """
    return torch.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
