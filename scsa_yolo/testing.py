"""The conformance check of attention modules: what a module must do to work in every model, export
and comparison.

Ours pass it; third parties run the same check on theirs, in one line of a test::

    from scsa_yolo.testing import check_attention

    def test_mine():
        check_attention(Mine)

It needs no test framework. The random numbers are its own: neither the caller's seed nor its
generator is touched.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from scsa_yolo.attention import create_attention
from scsa_yolo.conformance import CHECKS, Check, ConformanceError, Factory, Size, SkipCheck, Subject

__all__ = ["CHECKS", "ConformanceError", "Report", "check_attention"]


@dataclass(frozen=True)
class Report:
    """What :func:`check_attention` did.

    Attributes:
        name: The registered name, or the name of the factory.
        passed: Names of the checks that passed.
        skipped: Names of the checks that were left out, each with its reason.
    """

    name: str
    passed: tuple[str, ...]
    skipped: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.name}: {len(self.passed)} checks passed ({', '.join(self.passed)})"]
        return "\n".join(
            lines + [f"  skipped {name}: {reason}" for name, reason in self.skipped.items()]
        )


def check_attention(
    factory: Factory | str,
    *,
    channels: Sequence[int] = (16, 24, 64, 96),
    sizes: Sequence[Size] = ((1, 1), (5, 9), (20, 20), (33, 17)),
    skip: Collection[str] = (),
) -> Report:
    """Check an attention module at every width of ``channels`` and every map of ``sizes``.

    Parameters are moved off their initial values first, so that one which starts behind a zero
    still shows its gradient. Modules without parameters pass the gradient check by their input's
    gradient; parameters that do not require gradients are left alone.

    Args:
        factory: A class or callable that takes the width, or a registered name.
        channels: Widths to build, at least one.
        sizes: Heights and widths of the maps in pixels, at least one.
        skip: Names of checks (keys of ``CHECKS``) to leave out.

    Returns:
        What passed and what was skipped: the ONNX checks without onnx and onnxruntime, and what was
            asked for.

    Raises:
        ConformanceError: A check failed.
        ValueError: ``skip`` names no check, or there is nothing to check.
    """
    _check_arguments(channels, sizes, skip)
    subject = _subject(factory, tuple(sizes))
    passed, skipped = [], dict.fromkeys(skip, "asked to")
    with torch.random.fork_rng(devices=[]):
        for name, check in CHECKS.items():
            if name in skip:
                continue
            try:
                for width in channels:
                    _run(name, check, subject, width)
                passed.append(name)
            except SkipCheck as reason:
                skipped[name] = str(reason)
    return Report(subject.name, tuple(passed), skipped)


def _check_arguments(channels: Sequence[int], sizes: Sequence[Size], skip: Collection[str]) -> None:
    unknown = sorted(set(skip) - set(CHECKS))
    if unknown:
        raise ValueError(
            f"unknown checks {', '.join(map(repr, unknown))}. Known: {', '.join(CHECKS)}"
        )
    if not channels or not sizes:
        raise ValueError(
            "check_attention needs at least one width in channels and one map in sizes"
        )


def _subject(factory: Factory | str, sizes: tuple[Size, ...]) -> Subject:
    if isinstance(factory, str):
        return Subject(factory, partial(create_attention, factory), sizes)
    return Subject(getattr(factory, "__name__", repr(factory)), factory, sizes)


def _run(name: str, check: Check, subject: Subject, channels: int) -> None:
    """Run one check; whatever the module raises becomes a ConformanceError that names the check."""
    try:
        check(subject, channels)
    except (ConformanceError, SkipCheck):
        raise
    except Exception as error:
        what = f"the check {name!r} ended in {type(error).__name__}: {error}"
        raise subject.broken(
            channels, what, (check.__doc__ or "").splitlines()[0].rstrip(".")
        ) from error
