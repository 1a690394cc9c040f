"""What every attention module shares: one constructor vocabulary, checked arguments, clear
errors.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from scsa_yolo.attention.fast.paths import Ways
from scsa_yolo.attention.functional import plain_sizes

# Begins the names of buffers in which modules of 0.1.0, pickled after fold(), hold constants.
OLD_CONSTANTS = "folded_"
# What belongs to this object in this process: it is neither copied nor saved.
OWN = ("_children", "_watch")


class Attention(nn.Module):
    """Base of the attention modules: maps (B, C, H, W) to the same shape.

    Subclasses take ``channels`` (C) as their first, positional argument and every option by
    keyword, hold only ``torch.nn`` children and parameters (so that safe loading works), and call
    :meth:`check_input` in ``forward``. Ours write their equations in :meth:`plain`, name their fast
    ways in ``ways``, and let ``fast.paths.choose`` choose.

    Args:
        channels: Width C of the input, an int of at least 1.
        fast: False computes the plain equations always, as ``use_plain`` does.

    Raises:
        ValueError: ``channels`` is not an int of at least 1, or ``fast`` no bool.
    """

    # On the class: modules in checkpoints of earlier versions have none of their own.
    fast = True  # False: the plain equations, always; see use_plain
    is_folded = False
    overwrites = False
    any_width = False  # a pruner looked on: widths that no weight knows may change
    # of a traced graph that is for the size of its example alone; see blocks.fix_size
    runtime: str | None = None
    portable = False  # traced graphs in 4-D convolutions and arithmetic; see blocks.use_portable
    ways: ClassVar[Ways] = Ways()

    def __init__(self, channels: int, *, fast: bool = True) -> None:
        super().__init__()
        owner = type(self).__name__
        self.channels = check_int("channels", channels, low=1, owner=owner)
        if not check_bool("fast", fast, owner=owner):
            self.fast = False

    def check_input(self, x: torch.Tensor) -> None:
        """Refuse what is not a batch of feature maps of this module's width.

        ``x.dim()`` stays a plain int under tracing and export.
        """
        name = type(self).__name__
        if x.dim() != 4:
            raise ValueError(
                f"{name} takes (batch, channels, height, width), got {x.dim()}"
                f" dimensions {tuple(x.shape)}. For one image, type x[None]."
            )
        sizes = plain_sizes(x) if torch.jit.is_tracing() else x.shape
        if sizes[1] != self.channels and not self.takes_width(sizes[1]):
            raise ValueError(
                f"{name} was built for {self.channels} channels, got a map of {sizes[1]}:"
                f" {tuple(sizes)}. Type {name}({sizes[1]}), or give it a map of"
                f" {self.channels} channels."
            )

    def takes_width(self, channels: int) -> bool:
        """Tell whether a map of another width than ``channels`` is right: after pruning.

        A module whose weights know its width asks them; one whose weights do not, such as ECA,
        follows once somebody looked into it by hooks, as pruners do.
        """
        width = self.live_width()
        return self.any_width if width is None else width == channels

    def live_width(self) -> int | None:
        """Return the width that the layers have now, or None where no weight knows it."""
        return None

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the module's equations as they are written, calling every child."""
        raise NotImplementedError(f"{type(self).__name__} has no plain form")

    def fold(self, *, overwrite: bool = False) -> None:
        """Prepare for inference: what depends on the weights alone is computed once.

        Constants are made at the next call, and made anew when the weights they come from changed.
        While gradients are recorded, the live weights are used. ``train()`` and loading a state
        dict undo it; in training mode nothing is folded. The state dict stays as it is.

        Args:
            overwrite: Let ``forward`` write its result into its input where autograd does not
                record and no hook looks on. Allow it only where nothing else reads that map.
        """
        self.unfold()
        if not self.training:
            self.is_folded = True
            self.overwrites = overwrite

    def unfold(self) -> None:
        """Undo :meth:`fold`."""
        for name in ("is_folded", "overwrites", *OWN):
            vars(self).pop(name, None)

    def train(self, mode: bool = True) -> Attention:
        """Set the mode as torch does; training mode undoes :meth:`fold`."""
        if mode:
            self.unfold()
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this object alone; a copy makes its own."""
        state = dict(vars(self))
        for name in ("overwrites", *OWN):
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore as torch does; constants that 0.1.0 saved as buffers are made anew."""
        super().__setstate__(state)
        vars(self).pop("overwrites", None)
        old = [name for name in self._buffers if name.startswith(OLD_CONSTANTS)]
        for name in old:
            del self._buffers[name]
            self._non_persistent_buffers_set.discard(name)
        if old:
            self.is_folded = True

    def _replicate_for_data_parallel(self) -> Any:
        replica: Any = super()._replicate_for_data_parallel()
        for name in ("overwrites", *OWN):
            vars(replica).pop(name, None)
        return replica

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
        options = {**self.shown_options(), **({} if self.fast else {"fast": False})}
        return ", ".join([str(self.channels), *(f"{k}={v!r}" for k, v in options.items())])

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
