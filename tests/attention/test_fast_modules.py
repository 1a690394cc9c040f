"""The ten other modules against their plain forms: outputs, gradients, what is kept for
backward.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from plain_modules import PLAIN, Plain
from torch import nn

from scsa_yolo.attention import CA, ELA, create_attention

# Options and widths that take other ways through a module than its defaults at 16 and 64 channels.
CASES: list[tuple[str, int, dict[str, Any]]] = [
    *((name, channels, {}) for name in PLAIN for channels in (16, 64)),
    ("SA", 7, {}),  # the last channel passes
    ("SA", 12, {"groups": 3}),  # an odd number of groups
    ("EMA", 24, {"factor": 4}),
    ("EMA", 10, {"factor": 1}),
    ("ELA", 24, {"kernel_size": 1}),
    ("FCA", 24, {"dct_size": 14, "frequencies": "low4"}),
    ("CBAM", 24, {"kernel_size": 3}),
]
SIZES = [(1, 1), (3, 20), (7, 7), (20, 20), (33, 17), (70, 66)]
SEPARABLE = [CA, ELA]


def twins(name: str, channels: int, **options: Any) -> tuple[nn.Module, nn.Module]:
    """A plain and a fast module of the same weights, away from the initial values that hide
    something.
    """
    fast = create_attention(name, channels, **options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (
            *fast.parameters(),
            *(b for key, b in fast.named_buffers() if "running" in key),
        ):
            tensor.add_(torch.rand(tensor.shape, generator=generator), alpha=0.3)
    return Plain(copy.deepcopy(fast)), fast


def images(channels: int, size: tuple[int, int], batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(1))


def assert_close(actual: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    """Equal up to the order of sums, relative to the largest value."""
    share = 1e-5 if expected.dtype == torch.float32 else 1e-11
    atol = share * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(
        actual, expected, rtol=share, atol=atol, msg=lambda text: f"{what}: {text}"
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("name", "channels", "options"), CASES)
def test_fast_equals_plain_with_gradients(
    name: str, channels: int, options: dict[str, Any], size: tuple[int, int], training: bool
) -> None:
    """In double precision: a bias that many positions share sums up terms that cancel. float32:
    test_golden.py.
    """
    plain, fast = (module.double().train(training) for module in twins(name, channels, **options))
    inputs = [images(channels, size).double().requires_grad_() for _ in range(2)]
    grad = torch.randn(
        inputs[0].shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    expected, actual = (module(x) for module, x in zip((plain, fast), inputs))
    expected.backward(grad)
    actual.backward(grad)
    assert_close(actual, expected, "output")
    assert_close(inputs[1].grad, inputs[0].grad, "gradient of the input")
    for key, parameter in fast.named_parameters():
        assert_close(parameter.grad, plain.module.get_parameter(key).grad, f"gradient of {key}")
    for key, buffer in fast.named_buffers():
        assert_close(
            buffer, plain.module.get_buffer(key), key
        )  # running statistics are updated once


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("name", "channels", "options"), CASES)
def test_fast_equals_plain_at_inference(
    name: str,
    channels: int,
    options: dict[str, Any],
    size: tuple[int, int],
    memory_format: torch.memory_format,
) -> None:
    plain, fast = (module.eval() for module in twins(name, channels, **options))
    x = images(channels, size).contiguous(memory_format=memory_format)
    before = x.clone()
    with torch.no_grad():
        assert_close(fast(x), plain(x), "output")
    assert torch.equal(x, before)


def test_cpca_gives_the_memory_format_that_it_was_given() -> None:
    module, x = create_attention("CPCA", 16).eval(), images(16, (9, 12))
    assert module(x).is_contiguous()
    last = module(x.contiguous(memory_format=torch.channels_last))
    assert last.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("cls", SEPARABLE)
def test_nothing_full_size_is_kept_for_backward_besides_the_input(cls: Any) -> None:
    module, x = cls(16), images(16, (40, 40)).requires_grad_()
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        module(x)
    full = {t.data_ptr() for t in kept if t.numel() >= x.numel()}
    assert full <= {x.data_ptr()}, f"{len(full)} full-size tensors are kept"


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("cls", SEPARABLE)
def test_the_separable_backward_is_right_in_double_precision(cls: Any, training: bool) -> None:
    module = twins(cls.__name__, 8)[1].double().train(training)
    x = images(8, (5, 9)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: module(t), (x,), atol=1e-6)


@pytest.mark.parametrize("cls", SEPARABLE)
def test_frozen_and_partly_frozen_parameters(cls: Any) -> None:
    module, x = cls(16), images(16, (20, 20))
    last = list(module.parameters())[-1]
    module.requires_grad_(False)
    last.requires_grad_(True)
    module(x).square().sum().backward()
    assert last.grad.abs().sum() > 0
    assert all(p.grad is None for p in module.parameters() if p is not last)


@pytest.mark.parametrize("cls", SEPARABLE)
def test_backward_twice_over_one_graph(cls: Any) -> None:
    module, x = cls(16), images(16, (20, 20)).requires_grad_()
    loss = module(x).square().sum()
    loss.backward(retain_graph=True)
    once = x.grad.clone()
    loss.backward()
    torch.testing.assert_close(x.grad, 2 * once)
