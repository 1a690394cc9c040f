"""Contestants as typed, and a bench of real networks on a clock that the tests turn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scsa_yolo.benchmark import contestants as bench_contestants
from scsa_yolo.benchmark import memory as bench_memory
from scsa_yolo.benchmark import prepare as bench_prepare
from scsa_yolo.benchmark.calls import Settings, file_call, find_device, network_call
from scsa_yolo.benchmark.contestants import (
    CHECKPOINT,
    EXPORTED,
    TORCHVISION,
    YAML,
    Contestant,
    build,
    parse,
)
from scsa_yolo.benchmark.measuring import Result, bench

TINY = {"imgsz": 64, "rounds": 3, "warm_up": 0, "device": "cpu", "memory": False}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yolov8n", Contestant("yolov8n", YAML, "yolov8n.yaml")),
        ("yolo11s-scsa.yaml", Contestant("yolo11s-scsa.yaml", YAML, "yolo11s-scsa.yaml")),
        ("yolov8n+EMA", Contestant("yolov8n+EMA", YAML, "yolov8n.yaml", "EMA")),
        (
            "yolov9t.yaml+SCSA:slot=out:kernels=[3, 5]",
            Contestant(
                "yolov9t.yaml+SCSA:slot=out:kernels=[3, 5]",
                YAML,
                "yolov9t.yaml",
                "SCSA",
                {"slot": "out", "kernels": [3, 5]},
            ),
        ),
        ("resnet18", Contestant("resnet18", TORCHVISION, "resnet18")),
        (
            "resnet18+SE:slot=out",
            Contestant("resnet18+SE:slot=out", TORCHVISION, "resnet18", "SE", {"slot": "out"}),
        ),
    ],
)
def test_a_contestant_as_typed(text: str, expected: Contestant) -> None:
    assert parse(text) == expected
    assert parse(text).format == "pytorch"


@pytest.mark.parametrize(
    ("name", "kind", "format"),
    [
        ("a+b.pt", CHECKPOINT, "pytorch"),
        ("best.onnx", EXPORTED, "onnx"),
        ("best_openvino_model/", EXPORTED, "openvino"),
        ("best.torchscript", EXPORTED, "torchscript"),
    ],
)
def test_a_file_is_known_by_its_ending(tmp_path: Path, name: str, kind: str, format: str) -> None:
    path = tmp_path / name
    path.mkdir() if name.endswith("/") else path.touch()
    found = parse(f"{tmp_path}/{name}")
    assert (found.kind, found.format, found.attention) == (kind, format, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("yolov8q", "Did you mean yolov8"),
        ("resnet51", "Did you mean resnet50"),
        ("", "there is no model ''"),
        ("yolov8n+SCZA", "Did you mean SCSA"),
        ("yolov8n+SCSA:windw=9", "no option 'windw'"),
        ("yolov8n+SCSA:window", "options are name=value"),
        ("yolov8n+SCSA:window=7:window=9", "each once"),
        ("yolov8n+SCSA:window=[3", "is no value"),
        ("yolov8n+SCSA:slot=in", "slot must be one of"),
        ("yolov8n-scsa+EMA", "has attention rows already"),
        ("nowhere.onnx", "there is no file 'nowhere.onnx'"),
        ("yolov8n.pt", "there is no file 'yolov8n.pt'"),
        ("nowhere.pt+SCSA", "there is no file 'nowhere.pt'"),
    ],
)
def test_what_is_no_contestant(text: str, says: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=says.replace("[", r"\[")):
        parse(text)


def test_trained_weights_take_no_attention(tmp_path: Path) -> None:
    (tmp_path / "best.pt").touch()
    with pytest.raises(
        ValueError, match=r"attention goes into a model before it is trained.*yolov8n\+SCSA"
    ):
        parse(f"{tmp_path}/best.pt+SCSA")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"rounds": 2}, "--rounds must be at least 3"),
        ({"batch": 0}, "--batch must be at least 1"),
        ({"imgsz": 8}, "--imgsz must be at least 32"),
        ({"threads": 0}, "--threads must be at least 1"),
        ({"warm_up": -1}, "--warm-up must be at least 0"),
        ({"seconds": 0.0}, "--seconds must be above 0"),
        ({"noise_limit": 3.0}, "--noise-limit is a share"),
        ({"formats": ("onnx", "tf")}, "--formats takes pytorch, onnx.*got 'tf'"),
        ({"formats": ()}, "--formats takes pytorch"),
        ({"formats": ("onnx", "onnx")}, "a format twice"),
        ({"precision": "fp8"}, "--precision takes fp32.*got 'fp8'"),
        ({"precision": "fp16", "formats": ("pytorch", "onnx")}, "for the format pytorch alone"),
        ({"against": "last"}, "--against takes first, format"),
        ({"device": "tpu9x"}, "--device takes cpu"),
        ({"device": "meta"}, "--device takes cpu"),
    ],
)
def test_settings_out_of_range(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Settings(**changed).check()


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"sees no CUDA device here: type --device cpu"):
        find_device("0")
    assert find_device("") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="sees 2 CUDA devices, numbered from 0"):
        find_device("cuda:2")


def test_fresh_weights_are_always_the_same_and_none_is_a_constant_to_fold() -> None:
    before = torch.get_rng_state()
    first, again = (build(parse("resnet18+SCSA")) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    weights = first.state_dict()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in weights.items())
    floats = {
        name: value
        for name, value in weights.items()
        if value.is_floating_point() and value.numel() > 1
    }
    assert not [name for name, value in floats.items() if (value == value.flatten()[0]).all()]
    assert all((value > 0).all() for name, value in floats.items() if name.endswith("running_var"))


def test_what_is_not_trained_is_not_moved() -> None:
    network = build(parse("yolov8n")).model
    assert torch.equal(network.model[-1].dfl.conv.weight.flatten(), torch.arange(16.0))


class Clock:
    """A clock that calls move on: a network by its parameters, so that more of them are slower."""

    def __init__(self) -> None:
        self.now = 0.0
        self.jitter = 0.0
        self.calls = 0

    def __call__(self) -> float:
        return self.now

    def taking(self, seconds: float, call: Callable[[], object]) -> Callable[[], None]:
        """A call that does its work the first time, and takes these seconds every time."""
        todo = [call]

        def timed() -> None:
            while todo:
                todo.pop()()
            self.calls += 1
            self.now += seconds * (1 + self.jitter * (self.calls % 3))

        return timed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    network_call, file_call = bench_prepare.network_call, bench_prepare.file_call

    def of_network(network: torch.nn.Module, settings: Settings) -> Callable[[], object]:
        seconds = 1e-30 * sum(p.numel() for p in network.parameters()) ** 4
        return clock.taking(seconds, network_call(network, settings))

    monkeypatch.setattr(bench_prepare, "network_call", of_network)
    monkeypatch.setattr(bench_prepare, "file_call", lambda *of: clock.taking(1e-3, file_call(*of)))
    return clock


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, needs: Callable[..., None]) -> Path:
    """yolov8n as ONNX, for one picture of 64 pixels."""
    needs("onnx", "onnxslim", "onnxruntime")
    folder = tmp_path_factory.mktemp("exported")
    return bench_prepare._export(build(parse("yolov8n")), "onnx", folder, Settings(**TINY))


@pytest.fixture
def threads() -> int:
    return torch.get_num_threads()


def test_the_first_is_the_reference_and_its_own_control(clock: Clock, threads: int) -> None:
    said: list[str] = []
    settings = Settings(**{**TINY, "threads": threads + 1, "batch": 2})
    result = bench(
        [["resnet18", "resnet18+SE", "resnet18+Identity"]], settings, say=said.append, clock=clock
    )
    assert [(row.model, row.control, row.verdict) for row in result.rows] == [
        ("resnet18", False, "reference"),
        ("resnet18", True, "control"),
        ("resnet18+SE", False, "slower"),
        ("resnet18+Identity", False, "no difference"),
    ]
    stock, again, more, same = result.rows
    assert (stock.ratio, again.ratio, same.ratio) == pytest.approx((1, 1, 1))
    assert more.ratio == pytest.approx((more.parameters / stock.parameters) ** 4)
    assert more.low <= more.ratio <= more.high
    assert stock.images_per_s == pytest.approx(2 / (stock.median_ms / 1e3))
    assert (stock.parameters, same.parameters) == (11_689_512, 11_689_512)
    assert stock.gflops == pytest.approx(0.298, abs=0.01)  # 3.63 at 224 pixels
    assert {row.memory_mb for row in result.rows} == {None}
    assert {len(row.times_ms) for row in result.rows} == {3}
    assert result.left_out == {}
    assert result.environment["threads"] == threads + 1
    assert torch.get_num_threads() == threads
    assert {"preparing resnet18+SE", "round 3 of 3"} <= set(said)


def test_a_noisy_machine_claims_nothing(clock: Clock) -> None:
    clock.jitter = 0.2
    result = bench([["resnet18", "resnet18+SE"]], Settings(**{**TINY, "rounds": 7}), clock=clock)
    assert [row.verdict for row in result.rows] == ["reference", "too noisy", "too noisy"]


def test_groups_have_references_of_their_own(clock: Clock) -> None:
    groups = [["resnet18", "resnet18+Identity"], ["resnet34"]]
    result = bench(groups, Settings(**TINY), clock=clock)
    assert [(row.model, row.reference) for row in result.rows] == [
        ("resnet18", "resnet18 pytorch"),
        ("resnet18", "resnet18 pytorch"),
        ("resnet18+Identity", "resnet18 pytorch"),
        ("resnet34", "resnet34 pytorch"),
        ("resnet34", "resnet34 pytorch"),
    ]


def of_clockwork(result: Result) -> list[tuple[str, str, str]]:
    return [(row.model, row.format, row.reference) for row in result.rows if not row.control]


@pytest.mark.parametrize("against", ["first", "format"])
def test_models_times_formats(clock: Clock, needs: Callable[..., None], against: str) -> None:
    formats = ("pytorch", "torchscript")
    settings = Settings(**{**TINY, "formats": formats, "against": against})
    result = bench([["yolov8n"]], settings, clock=clock)
    second = "yolov8n pytorch" if against == "first" else "yolov8n torchscript"
    assert of_clockwork(result) == [
        ("yolov8n", "pytorch", "yolov8n pytorch"),
        ("yolov8n", "torchscript", second),
    ]
    assert sum(row.control for row in result.rows) == (1 if against == "first" else 2)
    assert {row.parameters for row in result.rows} == {3_151_904}  # fused
    assert result.rows[0].gflops == pytest.approx(0.0874, abs=0.001)


def test_a_given_file_and_one_that_does_not_fit(exported: Path, clock: Clock) -> None:
    result = bench([[str(exported), "yolov8n"]], Settings(**TINY), clock=clock)
    assert of_clockwork(result) == [
        (str(exported), "onnx", f"{exported} onnx"),
        ("yolov8n", "pytorch", f"{exported} onnx"),
    ]
    assert (result.rows[0].parameters, result.rows[0].gflops) == (None, None)
    with pytest.raises(
        ValueError, match=r"nothing is left to measure.*exported for batch 1 and 64 x 64"
    ):
        bench([[str(exported)]], Settings(**{**TINY, "imgsz": 96}))


def test_what_fails_is_left_out_and_the_rest_goes_on(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    (tmp_path / "broken.pt").write_bytes(b"no pickle")
    models = [str(tmp_path / "broken.onnx"), str(tmp_path / "broken.pt"), "yolov8n", "resnet18"]
    result = bench([models], Settings(**{**TINY, "imgsz": 72}), clock=clock)
    assert [row.model for row in result.rows] == ["resnet18", "resnet18"]
    assert set(result.left_out) == set(models[:3])
    assert "broken.onnx" in result.left_out[models[0]]
    assert "cannot load this checkpoint" in result.left_out[models[1]]
    assert "must be a multiple of 32, such as 64 or 96" in result.left_out["yolov8n"]


def test_a_missing_runtime_says_what_to_type(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    real = bench_prepare.importlib.util.find_spec
    monkeypatch.setattr(
        bench_prepare.importlib.util,
        "find_spec",
        lambda name, *of: None if name == "onnxruntime" else real(name, *of),
    )
    result = bench(
        [["resnet18"]],
        Settings(**{**TINY, "formats": ("onnx", "pytorch", "torchscript")}),
        clock=clock,
    )
    assert {row.format for row in result.rows} == {"pytorch"}
    assert result.left_out["onnx"].startswith("needs onnxruntime. Type: pip install")
    assert "models of Ultralytics alone" in result.left_out["resnet18 torchscript"]


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ([[]], "name a model"),
        ([["resnet18"], ["resnet18"]], "resnet18 is given twice"),
        ([["resnet1"]], "no model"),
    ],
)
def test_nothing_to_measure(groups: list[list[str]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        bench(groups, Settings(**TINY))


@pytest.mark.parametrize(
    ("changed", "dtype"),
    [
        ({}, torch.float32),
        ({"precision": "bf16"}, torch.bfloat16),
        ({"precision": "amp"}, torch.float32),
    ],
)
def test_precision_layout_and_mode_of_the_call(changed: dict[str, str], dtype: torch.dtype) -> None:
    seen: list[Any] = []

    class Network(torch.nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = super().forward(x)
            channels_last = x.is_contiguous(memory_format=torch.channels_last)
            seen.append(
                (
                    x.shape,
                    x.dtype,
                    y.dtype,
                    channels_last,
                    torch.is_inference_mode_enabled(),
                    self.training,
                )
            )
            return y

    settings = Settings(**{**TINY, "batch": 3, "channels_last": True, **changed})
    network_call(Network(4, 4, 1), settings)()
    result = torch.bfloat16 if changed else torch.float32
    assert seen == [((3, 4, 64, 64), dtype, result, True, True, False)]


def test_a_file_is_called_with_the_pictures_of_the_settings(exported: Path) -> None:
    (boxes,) = file_call(exported, Settings(**TINY))()
    assert boxes.shape == (1, 84, 84)


def test_peak_memory_of_a_process_of_its_own(exported: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux: VmHWM is in /proc")
    contestant = parse(str(exported))
    small = bench_memory.peak_of(contestant, exported, Settings(**TINY), 1)
    assert small is not None
    assert 20e6 < small < 400e6
    # the runtime alone, where this process holds torch and Ultralytics
    assert small < bench_memory.high_water_mark()
    assert (
        bench_memory.peak_of(contestant, exported.with_name("gone.onnx"), Settings(**TINY), 1)
        is None
    )


def test_peak_memory_counts_what_a_network_allocates(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux: VmHWM is in /proc")

    class Hungry(torch.nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ones(100_000_000).sum() + super().forward(x)

    request = {
        "contestant": {
            "text": "resnet18",
            "kind": TORCHVISION,
            "model": "resnet18",
            "attention": None,
            "options": {},
        },
        "file": None,
        "settings": {**TINY, "threads": torch.get_num_threads()},
    }
    monkeypatch.setattr(bench_contestants, "build", lambda contestant: torch.nn.Conv2d(3, 4, 1))
    lean = bench_memory.measure(request)
    monkeypatch.setattr(bench_contestants, "build", lambda contestant: Hungry(3, 4, 1))
    assert bench_memory.measure(request) - lean > 300e6
