"""The conformance suite over all modules, and what it must find in broken ones."""

import importlib.util
from collections.abc import Callable

import pytest
import torch
from torch import nn

from scsa_yolo.attention import attention_names
from scsa_yolo.testing import CHECKS, ConformanceError, check_attention

SIZES = ((1, 1), (5, 9), (20, 20), (33, 17))


@pytest.mark.parametrize("channels", [16, 24, 64, 96])
@pytest.mark.parametrize("name", attention_names())
def test_conforms(name: str, channels: int) -> None:
    report = check_attention(name, channels=(channels,), sizes=SIZES)
    assert report.passed == tuple(CHECKS)
    assert not report.skipped


class Good(nn.Module):
    """A gate of one weight a channel: right in everything but that no one registered it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def gate(self, x: torch.Tensor) -> torch.Tensor:
        return (x.mean(dim=(2, 3)) * self.weight).sigmoid()[:, :, None, None].to(x.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dim() != 4:
            raise ValueError("takes 4 dimensions")
        return x * self.gate(x)


class InPlace(Good):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mul_(self.gate(x))


class Promotes(Good):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x).float()


class PromotesUnderAutocast(Good):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (x.mean(dim=(2, 3)) * self.weight).sigmoid()[:, :, None, None]


class Overflows(Good):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (self.gate(x) + (x * x).to(x.dtype).amax() * 0)


class Unused(Good):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.spare = nn.Parameter(torch.ones(1))


class Detached(Good):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x).detach()


class InfiniteGradient(Good):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x) + (x - x).sqrt() * self.weight[:, None, None]


class Pools(Good):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.max_pool2d(x, 2, ceil_mode=True) * self.gate(x)


class MixesBatch(Good):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * x.mean()


class BatchNormOfDescriptor(Good):
    """The classic that raises for one image, in training."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.bn(x.mean(dim=(2, 3), keepdim=True)).sigmoid() * self.gate(x)


class Random(Good):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (1 + 0.1 * torch.rand(1)).to(x.dtype)


class Views(Good):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.view(x.shape[0], -1).view(x.shape))


class HidesState(Good):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("scale", torch.rand(1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.scale.to(x.dtype)


class HoldsFunction(Good):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.activation = lambda t: t


class Anonymous(Good):
    def __repr__(self) -> str:
        return "Attention()"


class AnyInput(Good):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight.mean()


class BakesSize(Good):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * x.new_ones(int(x.shape[2]), 1)


class NeedsMore(nn.Module):
    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()


@pytest.mark.parametrize(
    ("factory", "skip", "message"),
    [
        (
            InPlace,
            (),
            "InPlace with 16 channels: the input was modified in place. To do: write x [*] gate",
        ),
        (Promotes, (), "a module and a map of torch.bfloat16 gave torch.float32"),
        (
            PromotesUnderAutocast,
            (),
            "under autocast to torch.bfloat16 a map of torch.bfloat16 became torch.float32",
        ),
        (Overflows, (), "not finite under autocast to torch.float16 for inputs up to 1000"),
        (Unused, (), "no gradient reaches spare. To do: use what forward"),
        (Detached, (), "no gradient reaches weight"),
        (InfiniteGradient, (), r"at \(1, 1\) the gradient of the input is not finite"),
        (Pools, (), r"a map of \(2, 16, 5, 9\) became \(2, 16, 3, 5\)"),
        (MixesBatch, (), r"at \(1, 1\) an image's result depends on the others"),
        (
            BatchNormOfDescriptor,
            (),
            "the check 'one image' ended in ValueError: Expected more than 1 value",
        ),
        (Random, (), "two calls in eval mode differ"),
        (Views, (), "the check 'memory format' ended in RuntimeError: view size is not compatible"),
        (HidesState, (), "a module with the same state dict gives another output"),
        (HoldsFunction, (), "the check 'copies' ended in .*Can't (get|pickle) local"),
        (Anonymous, (), r"repr is 'Attention\(\)'"),
        (AnyInput, ("safe load",), "an input of 3 dimensions was taken"),
        (
            Good,
            (),
            "safe loading refuses .*Good. To do: register the class with register_attention",
        ),
        (
            BakesSize,
            ("safe load", "torchscript", "onnx"),
            r"exported with symbolic sizes, the output differs at \(1, 1\)",
        ),
        (
            NeedsMore,
            (),
            "the check 'build' ended in TypeError: .*reduction.* To do: Take the width as the only",
        ),
        (lambda channels: "SCSA", (), "the factory returned str. To do: return a torch.nn.Module"),
    ],
    ids=lambda value: getattr(value, "__name__", "") if callable(value) else None,
)
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # BakesSize
def test_finds(factory: Callable[[int], nn.Module], skip: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConformanceError, match=message):
        check_attention(factory, channels=(16,), sizes=SIZES, skip=skip)


def test_good_module_passes_the_rest() -> None:
    report = check_attention(Good, channels=(16,), sizes=SIZES, skip=("safe load",))
    assert report.name == "Good"
    assert report.skipped == {"safe load": "asked to"}
    assert set(report.passed) == set(CHECKS) - {"safe load"}
    assert "17 checks passed" in str(report)
    assert "skipped safe load: asked to" in str(report)


def test_without_onnx_the_rest_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name.startswith("onnx") else find(name)
    )
    report = check_attention("ECA", channels=(16,), sizes=((5, 9),))
    assert report.skipped == dict.fromkeys(
        ("onnx", "onnx dynamic"), "onnx and onnxruntime not installed"
    )


def test_callers_random_numbers_are_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    check_attention("SE", channels=(16,), sizes=((5, 9),), skip=("onnx", "onnx dynamic"))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"skip": ("onnxx",)}, "unknown checks 'onnxx'. Known: build, repr"),
        ({"channels": ()}, "at least one width"),
        ({"sizes": ()}, "at least one"),
    ],
)
def test_bad_arguments(arguments: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_attention("SE", **arguments)


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(ConformanceError, match=r"unknown attention 'SEE'.* Known: SCSA"):
        check_attention("SEE")
