"""SCSA beyond the golden vectors: the fast path against the plain one, its backward, its options,
its limits.
"""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from plain_scsa import PlainSCSA
from torch import nn

from scsa_yolo.attention import PCSA, SCSA, SMSA
from scsa_yolo.attention.fast import direct
from scsa_yolo.attention.plain import compress, join_heads, split_heads

# name of the ablation, its options, and the parameters it adds to SCSA(16)'s 256
ABLATIONS = [
    ("without PCSA", {"parts": "spatial"}, -5 * 16),
    ("without SMSA", {"parts": "channel"}, -(6 * 16 + 4 * 16 + 16)),
    ("PCSA first", {"first": "channel"}, 0),
    ("normalisation first", {"norm_first": True}, 0),
    ("no normalisation", {"norm": "none"}, -4 * 16),
    ("batch norm", {"norm": "batch"}, 0),
    ("layer norm", {"norm": "layer"}, 0),
    ("no progressive compression", {"window": "global"}, 0),
    ("multi-head and shuffle", {"heads": 4, "shuffle": True}, 0),
    ("unshared convolutions", {"shared": False}, 6 * 16 + 16),
    ("scale by sqrt(H W)", {"scale": "positions"}, 0),
    ("one branch of 3", {"kernels": [3]}, 3 * 16 - 6 * 16),
    ("one branch of 7", {"kernels": [7]}, 7 * 16 - 6 * 16),
    ("two branches", {"kernels": [3, 7]}, 5 * 16 - 6 * 16),
    ("max pooling", {"pool": "max"}, 0),
    ("softmax gate", {"gate": "softmax"}, 0),
    ("qkv bias", {"qkv_bias": True}, 3 * 16),
    ("covering the edge", {"cover_edge": True}, 0),
]
IDS = [name for name, _, _ in ABLATIONS]


def perturbed(module: nn.Module, seed: int = 0) -> nn.Module:
    """Away from the initial values, where norms are the identity and biases small."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module.eval()


def twins(channels: int, **options: object) -> tuple[nn.Module, SCSA]:
    plain = perturbed(PlainSCSA(channels, **options))
    fast = SCSA(channels, **options).eval()
    fast.load_state_dict(plain.state_dict(), strict=True)
    return plain, fast


@pytest.mark.parametrize("channels", [8, 16, 24, 64])
@pytest.mark.parametrize("size", [(1, 1), (3, 20), (7, 7), (20, 20), (33, 17), (64, 30)], ids=str)
def test_fast_equals_plain_with_gradients(channels: int, size: tuple[int, int]) -> None:
    plain, fast = twins(channels)
    inputs = [
        torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    ]
    grad = torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(2))
    outputs = [module(x.requires_grad_()) for module, x in zip((plain, fast), inputs)]
    for output in outputs:
        output.backward(grad)
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, rtol=1e-4, atol=1e-5)
    expected = dict(plain.named_parameters())
    for name, parameter in fast.named_parameters():
        torch.testing.assert_close(
            parameter.grad, expected[name].grad, rtol=1e-4, atol=2e-5, msg=name
        )
    with torch.no_grad():
        torch.testing.assert_close(fast(inputs[0]), outputs[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 40])
def test_fast_equals_plain_at_inference(batch: int) -> None:
    # both ways of the convolution: written out for short sequences, oneDNN's for long ones
    plain, fast = twins(16, window=100)
    x = torch.randn(batch, 16, 70, 66, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x), rtol=1e-5, atol=1e-5)


def test_backward_is_right_in_double_precision() -> None:
    module = perturbed(SCSA(8, heads=2, qkv_bias=True)).double()
    x = torch.randn(2, 8, 9, 15, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: module(t), (x,), atol=1e-6)


def test_nothing_full_size_is_kept_for_backward_besides_the_input() -> None:
    module, x = SCSA(16), torch.randn(2, 16, 40, 40, requires_grad=True)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        module(x)
    full = {t.data_ptr() for t in kept if t.numel() >= x.numel()}
    assert full <= {x.data_ptr()}, f"{len(full)} full-size tensors are kept"


def test_frozen_and_partly_frozen_parameters() -> None:
    module, x = SCSA(16), torch.randn(1, 16, 20, 20)
    module.requires_grad_(False)
    module.q.weight.requires_grad_(True)
    module(x).sum().backward()
    assert module.q.weight.grad.abs().sum() > 0
    assert all(p.grad is None for name, p in module.named_parameters() if name != "q.weight")


def test_backward_twice_over_one_graph() -> None:
    module, x = SCSA(16), torch.randn(1, 16, 20, 20, requires_grad=True)
    loss = module(x).square().sum()
    loss.backward(retain_graph=True)
    once = x.grad.clone()
    loss.backward()
    torch.testing.assert_close(x.grad, 2 * once)


@pytest.mark.parametrize("mode", ["train", "no_grad", "frozen input"])
def test_input_is_not_changed(mode: str) -> None:
    module, x = SCSA(16), torch.randn(1, 16, 20, 20)
    before = x.clone()
    with torch.set_grad_enabled(mode != "no_grad"):
        module(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize(("options", "extra"), [row[1:] for row in ABLATIONS], ids=IDS)
def test_option_changes_parameters_as_it_says(options: dict, extra: int) -> None:
    assert sum(p.numel() for p in SCSA(16, **options).parameters()) == 256 + extra


@pytest.mark.parametrize(("options", "extra"), [row[1:] for row in ABLATIONS], ids=IDS)
def test_option_changes_the_output_and_learns(options: dict, extra: int) -> None:
    x = torch.randn(3, 16, 20, 23, generator=torch.Generator().manual_seed(0))
    module = perturbed(SCSA(16, **options))
    reference = perturbed(SCSA(16))
    reference.load_state_dict({**reference.state_dict(), **matching(module, reference)})
    output = module(x)
    assert output.shape == x.shape
    assert not torch.allclose(output, reference(x), atol=1e-6), "the option does nothing"
    output.square().sum().backward()
    silent = [
        name
        for name, p in module.named_parameters()
        if p.grad is None or not p.grad.abs().sum() > 0
    ]
    # a softmax over one position, or over positions of a constant profile, has no gradient of its
    # bias
    assert [name for name in silent if "bias" not in name] == []


def matching(module: nn.Module, reference: nn.Module) -> dict[str, torch.Tensor]:
    theirs = reference.state_dict()
    return {
        k: v for k, v in module.state_dict().items() if k in theirs and v.shape == theirs[k].shape
    }


def test_halves_are_smsa_and_pcsa() -> None:
    whole, x = perturbed(SCSA(16)), torch.randn(2, 16, 21, 30)
    spatial, channel = SMSA(16).eval(), PCSA(16).eval()
    spatial.load_state_dict(
        {k: v for k, v in whole.state_dict().items() if k in spatial.state_dict()}
    )
    channel.load_state_dict(
        {k: v for k, v in whole.state_dict().items() if k in channel.state_dict()}
    )
    torch.testing.assert_close(channel(spatial(x)), whole(x))
    without = SCSA(16, parts="spatial").eval()
    without.load_state_dict(spatial.state_dict())
    torch.testing.assert_close(without(x), spatial(x))
    reverse = SCSA(16, first="channel").eval()
    reverse.load_state_dict(whole.state_dict())
    torch.testing.assert_close(reverse(x), spatial(channel(x)))


@pytest.mark.parametrize(("cover", "seen"), [(False, 14), (True, 20)])
def test_window_sees_the_edge_only_when_asked(cover: bool, seen: int) -> None:
    module = perturbed(PCSA(16, cover_edge=cover))
    x = torch.randn(1, 16, 20, 20)
    changed = x.clone()
    changed[:, :, 14:, :] *= 3
    gates = [direct.channel_gate(module, compress(module, t)) for t in (x, changed)]
    assert torch.equal(*gates) == (seen == 14)


def test_shuffle_lets_each_head_see_every_branch() -> None:
    # with 4 heads over 16 channels a head has one channel of each of SMSA's four branches, not one
    # whole branch
    module = PCSA(16, heads=4, shuffle=True)
    t = torch.arange(16.0).view(1, 16, 1)
    heads = split_heads(module, t)
    assert heads[0, 0, :, 0].tolist() == [0, 4, 8, 12]
    assert torch.equal(join_heads(module, heads), t)


@pytest.mark.parametrize(
    ("channels", "branches", "kernels"),
    [
        (1, 1, (3,)),
        (2, 2, (3, 5)),
        (3, 3, (3, 5, 7)),
        (60, 4, (3, 5, 7, 9)),
        (90, 3, (3, 5, 7)),
        (10, 2, (3, 5)),
    ],
)
def test_any_width(channels: int, branches: int, kernels: tuple[int, ...]) -> None:
    module = SCSA(channels, heads=8).eval()
    assert (module.branches, module.kernels) == (branches, kernels)
    assert channels % module.heads == 0
    assert module.heads <= 8
    for size in ((1, 1), (9, 5)):
        assert module(torch.randn(1, channels, *size)).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("train", [True, False])
def test_autocast_keeps_type_and_stays_finite(dtype: torch.dtype, train: bool) -> None:
    module = SCSA(16).train(train)
    x = (torch.randn(2, 16, 80, 80) * 1e3).clamp(-1e3, 1e3).to(dtype).requires_grad_(train)
    with torch.autocast("cpu", dtype=dtype):
        y = module(x)
    assert y.dtype == dtype
    assert y.isfinite().all()
    if train:
        y.float().abs().mean().backward()
        assert x.grad.isfinite().all()


def test_channels_last_copies_and_pickles() -> None:
    module, x = perturbed(SCSA(24)), torch.randn(2, 24, 12, 19)
    expected = module(x)
    torch.testing.assert_close(module(x.to(memory_format=torch.channels_last)), expected)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(x), expected)


@pytest.mark.parametrize(
    ("options", "dynamic"),
    # torch ties ceil-mode pooling to sizes with its example's remainder, so cover_edge is exported
    # at a fixed size
    [
        ({}, True),
        ({"pool": "max"}, True),
        ({"cover_edge": True}, False),
        ({"window": "global"}, True),
        ({"heads": 2}, True),
    ],
    ids=str,
)
def test_torch_export(options: dict, dynamic: bool) -> None:
    module, x = perturbed(SCSA(16, **options)), torch.randn(2, 16, 20, 21)
    torch.testing.assert_close(torch.export.export(module, (x,)).module()(x), module(x))
    if dynamic:
        sizes = {
            2: torch.export.Dim("height", min=14, max=200),
            3: torch.export.Dim("width", min=14, max=200),
        }
        exported = torch.export.export(module, (x,), dynamic_shapes=(sizes,))
        for shape in ((14, 14), (33, 50)):
            other = torch.randn(2, 16, *shape)
            torch.testing.assert_close(exported.module()(other), module(other))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window must be an int of at least 1 or 'global', got 0"),
        ({"window": "seven"}, "got 'seven'"),
        ({"window": True}, "got True"),
        ({"window": "global", "pool": "max"}, "averages the whole map"),
        ({"kernels": [3, 4]}, "kernels must be odd"),
        ({"kernels": []}, "one to four odd sizes"),
        ({"kernels": 7}, "one to four odd sizes"),
        ({"kernels": [3, 5, 7, 9, 11]}, "one to four odd sizes"),
        ({"heads": 0}, "heads must be an int of at least 1, got 0"),
        ({"heads": 2.0}, "heads must be an int of at least 1, got 2.0"),
        ({"pool": "mean"}, "pool must be one of 'avg', 'max', got 'mean'"),
        ({"gate": "tanh"}, "gate must be one of"),
        ({"qkv_bias": 1}, "qkv_bias must be true or false, got 1"),
        ({"attn_drop": 1.5}, "attn_drop must be a number from 0.0 to 1.0, got 1.5"),
        ({"parts": "none"}, "parts must be one of"),
        ({"first": "both"}, "first must be one of"),
        ({"norm": "instance"}, "norm must be one of"),
        ({"scale": "sqrt"}, "scale must be one of"),
    ],
    ids=str,
)
def test_bad_options_name_the_value(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"SCSA: .*{message}"):
        SCSA(16, **options)


@pytest.mark.parametrize("channels", [0, -4, 16.0, "16", None, True])
def test_bad_channels(channels: object) -> None:
    with pytest.raises(ValueError, match="SCSA: channels must be an int of at least 1"):
        SCSA(channels)


@pytest.mark.parametrize("shape", [(16, 20, 20), (20, 20), (1, 1, 16, 20, 20)], ids=str)
def test_input_that_is_not_a_batch_of_maps(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"takes \(batch, channels, height, width\)"):
        SCSA(16)(torch.randn(shape))


def test_state_dict_of_another_width_says_what_to_build() -> None:
    with pytest.raises(
        RuntimeError,
        match=r"does not belong to SCSA\(64\).*channels and options that it was saved with",
    ):
        SCSA(64).load_state_dict(SCSA(32).state_dict())


def test_attention_dropout_acts_in_training_alone() -> None:
    module, x = SCSA(16, attn_drop=0.5), torch.randn(1, 16, 20, 20)
    assert not torch.equal(module.train()(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))
