"""Whoever looks into a module gets its plain equations, and every fast way gives their numbers."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, jvp, vmap
from torch.nn.utils import parametrize, prune

import scsa_yolo.attention
from scsa_yolo.attention import Attention, create_attention, use_plain
from scsa_yolo.attention.fast import paths
from scsa_yolo.blocks import IdentityStart, fold

NAMES = (
    *("SCSA", "SMSA", "PCSA", "SE", "ECA", "FCA", "CBAM", "CA", "SA", "EMA", "CPCA", "AFGCA"),
    "ELA",
)
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in NAMES),
    ("EMA", {"factor": 4}),
    ("SA", {"groups": 1}),
    *(
        ("SCSA", options)
        for options in (
            {"heads": 2, "shuffle": True},
            {"qkv_bias": True},
            {"scale": "positions"},
            {"shared": False},
            {"window": "global"},
            {"window": 3, "cover_edge": True},
            {"pool": "max"},
            {"gate": "softmax"},
            {"norm": "batch"},
            {"norm": "layer"},
            {"norm": "none"},
            {"norm_first": True},
            {"parts": "spatial"},
            {"parts": "channel"},
            {"first": "channel"},
            {"kernels": [7]},
        )
    ),
]
modules = pytest.mark.parametrize("name", NAMES)
with_options = pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)


def perturbed(name: str, channels: int = 8, **options: Any) -> Attention:
    torch.manual_seed(0)
    module = create_attention(name, channels, **options)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    assert isinstance(module, Attention)
    return module.eval()


def image(channels: int = 8, size: tuple[int, int] = (9, 15), batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(batch + 10 * size[0])
    return torch.randn(batch, channels, *size, generator=generator)


def close(actual: Any, expected: Any) -> None:
    """Equal up to the order of sums, relative to the largest value."""
    if isinstance(actual, tuple):
        for a, b in zip(actual, expected, strict=True):
            close(a, b)
        return
    largest = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    torch.testing.assert_close(actual, expected, rtol=2e-4, atol=2e-5 * largest)


def inner(module: nn.Module) -> list[nn.Module]:
    """The layers with weights inside a module."""
    layers = [child for child in module.modules() if child is not module]
    return [child for child in layers if isinstance(getattr(child, "weight", None), nn.Parameter)]


def ways_taken(module: Attention, x: torch.Tensor) -> Any:
    return paths.choose(module, x)


# --- every path against plain


@pytest.mark.parametrize("size", [(1, 1), (9, 15), (14, 14), (33, 17)], ids=str)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@with_options
def test_recorded_paths_give_plain_values_and_gradients(
    name: str, options: dict[str, Any], training: bool, size: tuple[int, int]
) -> None:
    if training and size == (1, 1) and options.get("norm") == "batch":
        pytest.skip("torch's batch norm refuses")
    fast = perturbed(name, **options).train(training).double()
    plain = use_plain(copy.deepcopy(fast))
    inputs = [image(size=size).double().requires_grad_() for _ in range(2)]
    outputs = [module(x) for module, x in zip((fast, plain), inputs)]
    close(*outputs)
    cotangent = torch.randn(outputs[0].shape, dtype=torch.float64)
    for y in outputs:
        y.backward(cotangent)
    close(inputs[0].grad, inputs[1].grad)
    for (key, a), b in zip(fast.named_parameters(), plain.parameters()):
        assert a.grad is not None, key
        close(a.grad, b.grad)
    for a, b in zip(fast.buffers(), plain.buffers()):
        close(a, b)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "strided"])
@pytest.mark.parametrize("size", [(1, 1), (9, 15), (14, 14), (70, 66)], ids=str)
@with_options
def test_inference_paths_give_plain_values(
    name: str, options: dict[str, Any], size: tuple[int, int], layout: str
) -> None:
    module = perturbed(name, **options)
    x = image(size=size)
    if layout == "channels_last":
        x = x.to(memory_format=torch.channels_last)
    if layout == "strided":
        x = x.repeat_interleave(2, dim=3)[..., ::2]
    with torch.no_grad():
        expected = module.plain(x)
        for batch in (x, x[:1], x[:0]):
            close(module(batch), expected[: len(batch)])
            close(module.double()(batch.double()), expected[: len(batch)].double())
            module.float()
        module.fold()
        for batch in (x, x[:1], x[:0]):
            close(module(batch), expected[: len(batch)])
        module.fold(overwrite=True)
        close(module(x.clone()), expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@with_options
def test_traced_paths_give_plain_values(name: str, options: dict[str, Any]) -> None:
    module, x = perturbed(name, **options), image(size=(14, 21))
    with torch.no_grad():
        expected = module.plain(x)
        for ready in (module, use_plain(copy.deepcopy(module)), fold(module)):
            traced = torch.jit.trace(ready, x)
            close(traced(x), expected)


# --- who looks on gets the plain way


def hook(module: nn.Module) -> None:
    inner(module)[0].register_forward_hook(lambda *seen: None)


def pre_hook(module: nn.Module) -> None:
    inner(module)[0].register_forward_pre_hook(lambda *seen: None)


def backward_hook(module: nn.Module) -> None:
    inner(module)[0].register_full_backward_hook(lambda *seen: None)


def mask(module: nn.Module) -> None:
    for layer in inner(module):
        prune.l1_unstructured(layer, "weight", amount=0.5)


def weight_norm(module: nn.Module) -> None:
    layer = next(child for child in inner(module) if child.weight.dim() > 1)
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(layer)


def spectral_norm(module: nn.Module) -> None:
    layer = next(child for child in inner(module) if child.weight.dim() > 1)
    nn.utils.spectral_norm(layer)


class Twice(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


def parametrized(module: nn.Module) -> None:
    parametrize.register_parametrization(inner(module)[0], "weight", Twice())


class Wrapper(nn.Module):
    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) * 2


def wrapped(module: nn.Module) -> None:
    target = inner(module)[-1]
    for child in list(module.modules()):
        for key, value in list(child._modules.items()):
            if value is target:
                child._modules[key] = Wrapper(target)


def instance_forward(module: nn.Module) -> None:
    layer = inner(module)[0]
    original = layer.forward
    layer.forward = lambda x: original(x)


VISITORS: dict[str, Callable[[nn.Module], None]] = {
    visitor.__name__: visitor
    for visitor in (
        *(hook, pre_hook, backward_hook, mask, weight_norm, spectral_norm),
        *(parametrized, wrapped, instance_forward),
    )
}


@pytest.mark.parametrize("visitor", VISITORS)
@modules
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_a_visitor_gets_the_plain_equations(name: str, visitor: str) -> None:
    module, x = perturbed(name, 16), image(16)
    with torch.no_grad():
        module(x)  # it has been looked through before
    if visitor.endswith("_norm") and all(layer.weight.dim() < 2 for layer in inner(module)):
        pytest.skip("no matrix to normalise")
    VISITORS[visitor](module)
    assert ways_taken(module, x) is paths.plain
    for _ in range(3):  # two backward passes crashed where a mask was read once
        optimizer = torch.optim.SGD(module.parameters(), lr=1e-12)
        optimizer.zero_grad()
        y = module(x)
        close(y, module.plain(x))
        y.square().sum().backward()
        assert all(p.grad is not None for p in module.parameters() if p.requires_grad)
        optimizer.step()
    with torch.no_grad():
        fold(module)
        close(module(x), module.plain(x))


@modules
def test_a_mask_is_kept_in_every_step(name: str) -> None:
    module, x = perturbed(name, 16).train(), image(16)
    mask(module)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        module(x).square().sum().backward()
        optimizer.step()
    module(x)
    for layer in inner(module):
        assert torch.equal(layer.weight, layer.weight_orig * layer.weight_mask)


@modules
def test_global_hooks_see_every_layer(name: str) -> None:
    module, x, seen = perturbed(name, 16), image(16), []
    handle = nn.modules.module.register_module_forward_hook(lambda m, *rest: seen.append(m))
    try:
        with torch.no_grad():
            module(x)
    finally:
        handle.remove()
    assert set(inner(module)) - {m for m in inner(module) if isinstance(m, nn.ReLU)} <= set(seen)


@modules
def test_counters_that_hook_modules_count_something(name: str) -> None:
    thop = pytest.importorskip("thop", reason="comes with Ultralytics")
    module, x = perturbed(name, 16), image(16)
    operations, parameters = thop.profile(module, (x,), verbose=False)
    assert operations > 0
    assert parameters > 0


# --- functional transforms and second derivatives


@with_options
def test_second_derivatives_as_the_module_stands(name: str, options: dict[str, Any]) -> None:
    module = perturbed(name, 4, **options).double()
    x = image(4, (2, 3), 1).double().requires_grad_()
    weights = tuple(module.parameters())
    assert torch.autograd.gradcheck(lambda t, *_: module(t), (x, *weights), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda t, *_: module(t), (x, *weights), fast_mode=True)


@modules
def test_second_derivatives_use_the_weights_of_the_forward_pass(name: str) -> None:
    """As in meta-learning: ``functional_call`` lends weights for the forward pass alone."""
    module, x = perturbed(name, 8).train().double(), image().double()
    results = []
    for candidate in (module, use_plain(copy.deepcopy(module))):
        lent = {key: (2 * p).detach().requires_grad_() for key, p in module.named_parameters()}
        loss = functional_call(candidate, lent, (x,)).square().sum()
        first = torch.autograd.grad(loss, lent.values(), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), lent.values())
        results.append((loss, *first, *second, *candidate.buffers()))
    close(*results)


# torch's own jvp rules are compiled by the deprecated torch.jit.script when they are first asked for.
torchs_rules = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")


@torchs_rules
@modules
def test_functional_transforms(name: str) -> None:
    module, x = perturbed(name), image(batch=1)
    weights = dict(module.named_parameters())

    def loss(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return functional_call(module, weights, (x,)).square().sum()

    found = grad(loss)(weights, x)
    module.plain(x).square().sum().backward()
    for key, parameter in module.named_parameters():
        close(found[key], parameter.grad)
    batches = torch.stack((x, 2 * x))
    close(vmap(module)(batches), torch.stack([module.plain(b) for b in batches]))
    per_image = vmap(grad(loss), in_dims=(None, 0))(weights, batches)
    close(per_image[key][0], found[key])
    value, tangent = jvp(module, (x,), (torch.ones_like(x),))
    close(value, module.plain(x))
    small = image(8, (2, 2), 1)
    jacobian = jacrev(module)(small)
    close(jacobian.flatten(4).sum(-1), jvp(module, (small,), (torch.ones_like(small),))[1])
    assert tangent.shape == x.shape


@torchs_rules
@modules
def test_forward_mode_outside_of_functions(name: str) -> None:
    from torch.autograd import forward_ad

    module, x = perturbed(name), image()
    with forward_ad.dual_level():
        y = module(forward_ad.make_dual(x, torch.ones_like(x)))
        assert forward_ad.unpack_dual(y).tangent is not None


# --- replicas, sharded weights, other kinds of tensors


def replica(module: nn.Module) -> nn.Module:
    """As torch.nn.parallel.replicate makes them on GPUs: weights are plain, non-leaf attributes."""
    made = {child: child._replicate_for_data_parallel() for child in module.modules()}
    for child, twin in made.items():
        for key, value in child._modules.items():
            setattr(twin, key, made[value]) if value is not None else None
        for key, value in child._parameters.items():
            setattr(twin, key, None if value is None else value.view_as(value))
        for key, value in child._buffers.items():
            setattr(twin, key, value)
    return made[module]


@pytest.mark.filterwarnings("ignore:.*ParameterDict.*")
@with_options
def test_replicas_hand_gradients_back(name: str, options: dict[str, Any]) -> None:
    if name == "AFGCA":
        pytest.skip("torch does not replicate a ParameterDict")
    module, x = perturbed(name, **options).train(), image()
    replica(module)(x).square().sum().backward()
    found = [p.grad for p in module.parameters()]
    module.zero_grad()
    use_plain(module)(x).square().sum().backward()
    for (key, parameter), gradient in zip(module.named_parameters(), found):
        assert gradient is not None, key
        close(gradient, parameter.grad)


@modules
def test_a_folded_module_is_replicated_without_its_constants(name: str) -> None:
    if name == "AFGCA":
        pytest.skip("torch does not replicate a ParameterDict")
    module, x = perturbed(name), image()
    with torch.no_grad():
        fold(module)(x)
        twin = replica(module)
        inner(module)[0].weight.add_(1.0)
        close(twin(x), module.plain(x))


# --- weights that change under folded constants


def in_place(module: nn.Module) -> None:
    for layer in inner(module):
        layer.weight.mul_(1.5)


def by_data(module: nn.Module) -> None:
    for layer in inner(module):
        layer.weight.data.mul_(0.5)


def other_data(module: nn.Module) -> None:
    for layer in inner(module):
        layer.weight.data = layer.weight.data * 0.5


def through_numpy(module: nn.Module) -> None:
    for layer in inner(module):
        layer.weight.detach().numpy()[...] *= 0.5


def replaced(module: nn.Module) -> None:
    for layer in inner(module):
        layer.weight = nn.Parameter(layer.weight * 2)


def child_loads(module: nn.Module) -> None:
    for layer in inner(module):
        layer.load_state_dict({key: value + 0.5 for key, value in layer.state_dict().items()})


def pruned_for_good(module: nn.Module) -> None:
    mask(module)
    for layer in inner(module):
        prune.remove(layer, "weight")


def new_child(module: nn.Module) -> None:
    target = inner(module)[0]
    other = copy.deepcopy(target)
    other.weight.data.mul_(3)
    for child in list(module.modules()):
        for key, value in list(child._modules.items()):
            if value is target:
                child._modules[key] = other


def averaged(module: nn.Module) -> None:
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.mul_(0.9).add_(0.05)


def a_step(module: nn.Module) -> None:
    with torch.enable_grad():
        module(image(module.channels)).square().sum().backward()
    torch.optim.SGD(module.parameters(), lr=0.5).step()


CHANGES = {
    change.__name__: change
    for change in (
        *(in_place, by_data, other_data, through_numpy, replaced, child_loads, pruned_for_good),
        *(new_child, averaged, a_step),
    )
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("size", [(14, 14), (9, 15)], ids=str)
@pytest.mark.parametrize("name", ["SCSA", "SMSA", "PCSA"])  # the others keep none
def test_folded_constants_follow_the_weights(name: str, change: str, size: tuple[int, int]) -> None:
    module, x = perturbed(name), image(size=size)
    with torch.no_grad():
        before = fold(module)(x)
        CHANGES[change](module)
        expected = module.plain(x)
        assert not torch.allclose(before, expected, atol=1e-6), "the change shows in nothing"
        close(module(x), expected)
    y = module(x)
    gradients = torch.autograd.grad(y.square().sum(), list(module.parameters()))
    plain = torch.autograd.grad(module.plain(x).square().sum(), list(module.parameters()))
    for a, b in zip(gradients, plain):
        close(a, b)


@modules
def test_functional_call_on_a_folded_module(name: str) -> None:
    module, x = perturbed(name), image(size=(14, 14))
    with torch.no_grad():
        kept = fold(module)(x)
        other = {key: 2 * value for key, value in module.named_parameters()}
        twin = copy.deepcopy(module)
        twin.load_state_dict({**module.state_dict(), **other})
        close(functional_call(module, other, (x,)), twin.plain(x))
        close(module(x), kept)


@modules
def test_copies_of_a_folded_module(name: str) -> None:
    module, x = perturbed(name), image(size=(14, 14))
    with torch.no_grad():
        fold(module)(x)
        expected = module.plain(x)
        average = torch.optim.swa_utils.AveragedModel(module)
        for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), average):
            close(twin(x), expected)
        for layer in inner(module):
            layer.weight.mul_(1.5)
        average.update_parameters(module)
        twin = copy.deepcopy(average.module)
        close(average(x), twin.plain(x))


# --- nobody's map is overwritten while somebody looks


@pytest.mark.parametrize("where", ["layer", "inner layer", "unit", "attention", "global"])
def test_a_neighbours_hook_sees_the_map_as_it_was(where: str) -> None:
    from ultralytics.nn.modules.block import C2f

    from scsa_yolo.blocks import give_slot, units

    torch.manual_seed(0)
    block = C2f(16, 16, 1, True)
    unit = next(unit for _, unit in units(block))
    give_slot(unit, perturbed("SCSA"))
    fold(block.eval())
    kept: list[torch.Tensor] = []
    x = torch.randn(1, 16, 14, 14)

    def keep(module: nn.Module, args: Any, output: torch.Tensor) -> None:
        if module in (unit.cv1, unit.cv1.act):
            kept.append(output.detach())
        if module is unit.attn:
            kept.append(args[0].detach())

    with torch.no_grad():
        expected = block(x)
        before = unit.cv1(block.cv1(x).chunk(2, 1)[1]).clone()
        if where == "global":
            handle = nn.modules.module.register_module_forward_hook(keep)
        else:
            places = {"layer": unit.cv1, "inner layer": unit.cv1.act, "unit": unit}
            handle = places.get(where, unit.attn).register_forward_hook(keep)
        try:
            close(block(x), expected)
        finally:
            handle.remove()
        # the activation is one object for all layers, so others' maps are kept, too
        assert where == "unit" or any(torch.equal(seen, before) for seen in kept)
        assert unit.attn.overwrites
        close(block(x), expected)


# --- the switch


def test_use_plain_and_back() -> None:
    model, x = nn.Sequential(perturbed("SCSA"), perturbed("ELA")), image()
    assert scsa_yolo.attention.use_plain(model) is model
    assert ways_taken(model[0], x) is paths.plain
    assert "fast=False" in repr(model[0])
    assert not any("fast" in key for key in model.state_dict())
    use_plain(model, False)
    assert ways_taken(model[0], x) is not paths.plain
    assert "fast" not in repr(model[0])
    with pytest.raises(ValueError, match="Conv2d holds no attention module"):
        use_plain(nn.Conv2d(1, 1, 1))


@pytest.mark.parametrize("name", scsa_yolo.attention.attention_names())
def test_the_option_fast(name: str) -> None:
    module = create_attention(name, 16, fast=False)
    assert not module.fast
    assert "fast=False" in repr(module)
    assert not pickle.loads(pickle.dumps(module)).fast
    with pytest.raises(ValueError, match=f"{name}: fast must be true or false, got 0"):
        create_attention(name, 16, fast=0)


def test_the_option_survives_the_trainers_rebuild() -> None:
    from ultralytics.nn.tasks import DetectionModel

    import scsa_yolo as package

    d = package.graft("yolov8n.yaml", "SCSA", rows=[2], fast=False)
    model = DetectionModel(d, verbose=False)
    again = DetectionModel(model.yaml, verbose=False)
    found = [m for m in again.modules() if isinstance(m, Attention)]
    assert found
    assert not any(m.fast for m in found)


@pytest.mark.filterwarnings("ignore:attention 'BARE'")  # of its class, which lies in this test
def test_a_third_partys_module_without_the_option(attention_registry: None) -> None:
    @scsa_yolo.attention.register_attention("BARE")
    class Bare(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()

    with pytest.raises(ValueError, match="BARE has no option 'fast'"):
        create_attention("BARE", 8, fast=False)


# --- widths


@pytest.mark.parametrize("name", [*NAMES, "Conv1x1"])
def test_another_width_is_refused_in_plain_words(name: str) -> None:
    module = create_attention(name, 64)
    message = rf"{name} was built for 64 channels, got a map of 32.*Type {name}\(32\)"
    for ready in (module, use_plain(copy.deepcopy(module)), IdentityStart(module, 64)):
        with pytest.raises(ValueError, match=message):
            ready(torch.zeros(2, 32, 8, 8))


def test_a_blend_of_another_width_says_so() -> None:
    with pytest.raises(ValueError, match="IdentityStart was built for 8 channels, got a map of 4"):
        IdentityStart(nn.Identity(), 8)(torch.zeros(1, 4, 3, 3))
