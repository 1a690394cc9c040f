"""fold(): constants are computed once for inference, numbers and state dict stay, and every way
back is found.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch

from scsa_yolo.attention import attention_names, create_attention
from scsa_yolo.attention.base import Attention
from scsa_yolo.attention.fast.mode import children_of

OPTIONS: list[dict[str, Any]] = [
    {},
    {"heads": 2},
    {"qkv_bias": True},
    {"scale": "positions"},
    {"shared": False},
    {"window": "global"},
    {"pool": "max"},
    {"gate": "softmax"},
    {"norm": "batch"},
    {"norm": "layer"},
    {"norm_first": True},
    {"parts": "spatial"},
    {"parts": "channel"},
    {"first": "channel"},
    {"kernels": [7]},
]


def perturbed(name: str, channels: int = 8, **options: Any) -> Attention:
    torch.manual_seed(0)
    module = create_attention(name, channels, **options)
    for parameter in module.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.3)
    return module.eval()


def constants(module: Attention) -> Any:
    """What the module keeps; it is made by a call."""
    with torch.no_grad():
        module(torch.zeros(1, module.channels, 14, 14))
    folded = children_of(module).folded
    return folded.constants if folded else None


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    "scale", [1.0, 1e-3], ids=["", "faint"]
)  # so faint that the norms' epsilon counts
@pytest.mark.parametrize("size", [(1, 1), (6, 9), (15, 14), (15, 15), (70, 65), (70, 70)], ids=str)
def test_folding_keeps_numbers(
    options: dict[str, Any], size: tuple[int, int], scale: float
) -> None:
    module = perturbed("SCSA", **options)
    x = torch.randn(2, 8, *size) * scale
    with torch.enable_grad():
        plain = module(x.clone())
    with torch.no_grad():
        unfolded = module(x.clone())
        module.fold()
        folded = module(x.clone())
        module.fold(overwrite=True)
        y = x.clone()
        overwritten = module(y)
    for found in (unfolded, folded, overwritten):
        torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.parametrize("channels", [1, 6, 30, 64])
@pytest.mark.parametrize("side", [2, 13, 40, 300])  # 300 is beyond what goes through one norm
def test_square_maps_of_any_width(channels: int, side: int) -> None:
    module = perturbed("SCSA", channels)
    x = torch.randn(1, channels, side, side)
    with torch.no_grad():
        plain = module(x)
        module.fold(overwrite=True)
        torch.testing.assert_close(module(x.clone()), plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", attention_names())
def test_every_module_folds_and_keeps_its_state_dict(name: str) -> None:
    module = perturbed(name, 16)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    x = torch.randn(1, 16, 12, 9)
    with torch.no_grad():
        plain = module(x)
        module.fold(overwrite=True)
        torch.testing.assert_close(module(x.clone()), plain, rtol=1e-5, atol=1e-6)
    assert module.state_dict().keys() == before.keys()


def test_the_input_is_overwritten_only_where_that_is_allowed() -> None:
    module, x = perturbed("SCSA"), torch.randn(1, 8, 14, 14)
    kept = x.clone()
    with torch.no_grad():
        module(x)
        module.fold()
        module(x)
        assert torch.equal(x, kept)
        module.fold(overwrite=True)
        assert module(x).data_ptr() == x.data_ptr()
    x = kept.clone()
    module(x)  # autograd records: the input is needed
    assert torch.equal(x, kept)


def test_large_maps_and_many_channels_take_the_matrix_product() -> None:
    module, x = (
        perturbed("SCSA", 64),
        torch.randn(1, 64, 63, 63),
    )  # 64 x 64 x 81 products, above the limit
    with torch.enable_grad():
        plain = module(x)
    with torch.no_grad():
        torch.testing.assert_close(module(x), plain, rtol=1e-5, atol=1e-6)


def test_training_undoes_folding_and_sees_new_weights() -> None:
    module, x = perturbed("SCSA"), torch.randn(1, 8, 14, 14)
    module.fold(overwrite=True)
    assert constants(module)
    module.train()
    assert not constants(module)
    assert not module.overwrites
    with torch.no_grad():
        module.q.weight.add_(3.0)
        module.local_dwc.weight.add_(1.0)
        changed = module.eval()(x)
        module.fold()
        torch.testing.assert_close(module(x), changed, rtol=1e-5, atol=1e-6)


def test_a_module_in_training_is_not_folded() -> None:
    module = perturbed("SCSA").train()
    module.fold(overwrite=True)
    assert not constants(module)
    assert not module.overwrites


@pytest.mark.parametrize("parent", [False, True])
def test_loading_weights_undoes_folding(parent: bool) -> None:
    module, other, x = (
        perturbed("SCSA"),
        create_attention("SCSA", 8).eval(),
        torch.randn(1, 8, 14, 14),
    )
    module.fold()
    if parent:
        holder = torch.nn.Sequential(module)
        holder.load_state_dict({f"0.{key}": value for key, value in other.state_dict().items()})
    else:
        module.load_state_dict(other.state_dict())
    assert not constants(module)
    with torch.no_grad():
        assert torch.equal(module(x), other(x))


def test_copies_pickles_and_types_carry_the_constants() -> None:
    module, x = perturbed("SCSA"), torch.randn(1, 8, 14, 14)
    module.fold(overwrite=True)
    with torch.no_grad():
        result = module(x.clone())
        for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            assert torch.equal(twin(x.clone()), result)
        double = copy.deepcopy(module).double()
        torch.testing.assert_close(double(x.double()).float(), result, rtol=1e-4, atol=1e-5)
        assert constants(double).kernel.dtype == torch.float64


def test_folded_in_inference_mode_it_still_gives_gradients() -> None:
    module = perturbed("SCSA")
    with torch.inference_mode():
        module.fold()
    x = torch.randn(1, 8, 14, 14, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_modules_of_earlier_checkpoints_have_no_flag_of_their_own() -> None:
    module = perturbed("SCSA")
    module.__dict__.pop("overwrites", None)
    assert not module.overwrites


@pytest.mark.parametrize("size", [(14, 14), (9, 20)], ids=str)
@pytest.mark.parametrize("name", attention_names())
def test_an_empty_batch_stays_empty(name: str, size: tuple[int, int]) -> None:
    module, x = perturbed(name, 16), torch.randn(0, 16, *size)
    with torch.no_grad():
        assert module(x).shape == x.shape
        module.fold(overwrite=True)
        assert module(x).shape == x.shape
    assert module.train()(x).shape == x.shape
