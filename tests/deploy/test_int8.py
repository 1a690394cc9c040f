"""Which layers lose accuracy in 8 bits, and an ONNX file with the attention left in float."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scsa_yolo.attention.base import Attention
from scsa_yolo.deploy import int8, int8_onnx
from scsa_yolo.host.transfer import attention_modules

SIZE = 64


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    rng = torch.Generator().manual_seed(0)
    flat = torch.rand(3, 3, 5, 5, generator=rng)
    return torch.nn.functional.interpolate(flat, (SIZE, SIZE), mode="bilinear").numpy()


@pytest.fixture(scope="module")
def net(make_checkpoint: Callable[[str], Path]) -> Any:
    """A fused detector of SCSA whose output depends on every weight."""
    from ultralytics import YOLO

    return YOLO(make_checkpoint("yolov8n-scsa")).model.eval().fuse(verbose=False)


def state(net: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def run(net: Any, images: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return net(torch.from_numpy(images))[0].clone()


def test_one_layer_changes_the_output_and_is_put_back(net: Any, images: np.ndarray) -> None:
    ranges, before, plain = (
        int8.calibrate(net, torch.from_numpy(images)),
        state(net),
        run(net, images),
    )
    assert set(ranges) == set(int8.layer_names(net))
    for layer in ("model.0.conv", "model.2.m.0.attn"):
        with int8.fake_quantized(net, [layer], ranges):
            assert not torch.equal(run(net, images), plain)
            changed = {
                name
                for name, tensor in net.state_dict().items()
                if not torch.equal(tensor, before[name])
            }
            assert changed
            assert all(name.startswith(layer) for name in changed)
        assert torch.equal(run(net, images), plain)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_put_back_after_an_error(net: Any, images: np.ndarray) -> None:
    ranges, before, plain = (
        int8.calibrate(net, torch.from_numpy(images)),
        state(net),
        run(net, images),
    )
    says = r"no layer 'model\.99' to quantize; it has model\.0\.conv"
    with (
        pytest.raises(ValueError, match=says),
        int8.fake_quantized(net, ["model.0.conv", "model.99"], ranges),
    ):
        pass
    with (
        pytest.raises(RuntimeError, match="mine"),
        int8.fake_quantized(net, ["model.0.conv"], ranges),
    ):
        raise RuntimeError("mine")
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert torch.equal(run(net, images), plain)


@pytest.fixture(scope="module")
def plain(net: Any) -> Any:
    """The same detector with nothing folded: what the report must say, whoever folded the model."""
    copied = copy.deepcopy(net)
    for module in copied.modules():
        if isinstance(module, Attention):
            module.unfold()
    return copied


def test_ranges_are_those_of_the_net_that_is_not_folded(
    net: Any, plain: Any, images: np.ndarray
) -> None:
    """A folded attention writes its result over its input: seen afterwards, the range is wrong."""
    x, by_hand = torch.from_numpy(images), {}
    for name, module in attention_modules(plain).items():
        by_hand[name] = []
        module.register_forward_pre_hook(
            partial(lambda seen, _, given: seen.append(given[0].clone()), by_hand[name])
        )
    with torch.inference_mode():
        plain(x)
    for hooked in attention_modules(plain).values():
        hooked._forward_pre_hooks.clear()
    folded, expected = int8.calibrate(net, x), int8.calibrate(plain, x)
    assert folded.keys() == expected.keys()
    for name, ends in folded.items():
        assert ends == pytest.approx(expected[name], rel=1e-4, abs=1e-6), name
    for name, (seen,) in by_hand.items():
        assert folded[name][0] == pytest.approx(float(seen.min()), rel=1e-4, abs=1e-6)
        assert folded[name][1] == pytest.approx(float(seen.max()), rel=1e-4, abs=1e-6)


def test_report_is_the_same_whether_the_net_was_folded(
    net: Any, plain: Any, images: np.ndarray
) -> None:
    """Every figure, and so every rank; rounded weights reach the attention too."""
    folded = {one.layer: one for one in int8.layer_report(net, images[:1], conf=1e-5)}
    expected = {one.layer: one for one in int8.layer_report(plain, images[:1], conf=1e-5)}
    for name, loss in expected.items():
        assert folded[name].raw_mean == pytest.approx(loss.raw_mean, rel=0.02, abs=1e-8), name
        assert folded[name].raw_max == pytest.approx(loss.raw_max, rel=0.02, abs=1e-8), name


def test_rounded_weights_reach_a_folded_attention(net: Any, images: np.ndarray) -> None:
    """Ranges so wide that only the weights' rounding is left to see."""
    name, x = "model.4.m.0.attn", torch.from_numpy(images)
    attention = net.get_submodule(name)
    given = torch.rand(1, attention.channels, 8, 8, generator=torch.Generator().manual_seed(0))
    ranges = int8.calibrate(net, x)
    with torch.inference_mode():
        before = attention(given.clone())
        with int8.fake_quantized(net, [name], ranges):
            hooks = dict(attention._forward_hooks), dict(attention._forward_pre_hooks)
            attention._forward_hooks.clear()
            attention._forward_pre_hooks.clear()
            rounded = attention(given.clone())
            attention._forward_hooks.update(hooks[0])
            attention._forward_pre_hooks.update(hooks[1])
        after = attention(given.clone())
    assert not torch.equal(rounded, before)
    assert torch.equal(after, before), "the constants are made of the weights as they were"
    assert (rounded - before).abs().max() < 0.05 * before.abs().max()


def test_folding_is_as_it_was_afterwards(net: Any, images: np.ndarray) -> None:
    attention = net.get_submodule("model.4.m.0.attn")
    watch = vars(attention)["_watch"]
    assert attention.overwrites
    assert attention.is_folded
    int8.layer_report(net, images[:1])
    with int8.fake_quantized(
        net, ["model.4.m.0.attn"], int8.calibrate(net, torch.zeros(1, 3, 64, 64))
    ):
        pass
    assert attention.overwrites
    assert attention.is_folded
    assert vars(attention)["_watch"] is watch


def test_values_that_are_no_numbers_have_no_range(net: Any) -> None:
    broken = copy.deepcopy(net)
    with torch.no_grad():
        broken.model[4].m[0].cv1.conv.weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"model\.4\.m\.0\.cv1\.conv: its values are no finite"):
        int8.calibrate(broken, torch.rand(1, 3, SIZE, SIZE))
    with pytest.raises(ValueError, match="at least one image"):
        int8.calibrate(net, torch.zeros(0, 3, SIZE, SIZE))
    with (
        pytest.raises(ValueError, match="calibrate the model first"),
        int8.fake_quantized(net, ["model.0.conv"], {}),
    ):
        pass


def test_rounding_by_hand() -> None:
    """Weights: 127 steps to the largest of each output channel. Activations: 255 steps, 0 among the
    values.
    """
    weight = torch.tensor([[1.0, 0.004, -0.5], [254.0, 3.1, 2.9]])
    expected = torch.tensor([[127, 1, -64], [127, 2, 1]]) * torch.tensor([[1 / 127], [2.0]])
    assert torch.allclose(int8._round_weight(weight), expected)
    x = torch.tensor([-1.0, 0.0, 0.011, 1.55, 9.0])
    assert torch.allclose(
        int8._round(x, -0.55, 2.0), torch.tensor([-0.55, 0.0, 0.01, 1.55, 2.0]), atol=1e-6
    )
    assert torch.equal(int8._round(torch.zeros(3), 0.0, 0.0), torch.zeros(3))


def test_percentiles_narrow_the_ranges(net: Any, images: np.ndarray) -> None:
    x = torch.from_numpy(images)
    full, narrow = int8.calibrate(net, x), int8.calibrate(net, x, 95.0)
    assert all(
        narrow[name][0] >= full[name][0] and narrow[name][1] <= full[name][1] for name in full
    )
    assert narrow["model.0.conv"] != full["model.0.conv"]
    with pytest.raises(ValueError, match="percentile must be above 50"):
        int8.calibrate(net, x, 1.0)


def test_report_names_every_layer_and_the_worst_first(
    net: Any, images: np.ndarray, tmp_path: Path
) -> None:
    said: list[str] = []
    losses = int8.layer_report(net, images[:1], calibration=images, conf=1e-5, say=said.append)
    assert {loss.layer for loss in losses} == set(int8.layer_names(net))
    assert len(said) == len(losses)
    assert [loss.raw_mean for loss in losses] == sorted(
        (loss.raw_mean for loss in losses), reverse=True
    )
    attention = [loss for loss in losses if loss.attention]
    assert len(attention) == 10
    assert {loss.kind for loss in attention} == {"SCSA"}
    assert max(loss.raw_mean for loss in attention) > 0
    assert all(loss.lost is not None and 0 <= loss.lost <= 1 for loss in losses)
    file = tmp_path / "layers.json"
    int8.write_report(losses, file)
    assert [row["layer"] for row in json.loads(file.read_text())] == [loss.layer for loss in losses]
    table = int8.format_report(losses, 3)
    assert losses[2].layer in table
    assert losses[3].layer not in table.split("attention layers")[0].replace(losses[0].layer, "")
    assert "10 attention layers" in table


@pytest.fixture(scope="module")
def exported(net: Any, images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ultralytics import YOLO

    file = tmp_path_factory.mktemp("int8") / "model.pt"
    YOLO("yolov8n-scsa.yaml").save(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's notes
        return Path(YOLO(file).export(format="onnx", imgsz=SIZE, device="cpu"))


def test_quantized_file_keeps_the_attention_in_float(
    exported: Path, images: np.ndarray, tmp_path: Path, needs: Any
) -> None:
    needs("onnx", "onnxruntime")
    import onnx
    import onnxruntime

    everything, gates = tmp_path / "all.onnx", tmp_path / "gates.onnx"
    assert int8.quantize_onnx(exported, everything, images, keep=()) == []
    kept = int8.quantize_onnx(exported, gates, images)
    assert kept
    assert all("/attn/" in name for name in kept)
    for file in (everything, gates):
        nodes = onnx.load(file).graph.node
        rounded = {
            name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output
        }
        weighted = [node for node in nodes if node.op_type == "Conv"]
        inside = [node.input[1] in rounded for node in weighted if "/attn/" in node.name]
        assert (all if file == everything else any)(inside) is (file == everything)
        assert all(node.input[1] in rounded for node in weighted if "/attn/" not in node.name)
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        (output,) = session.run(None, {"images": images[:1]})
        assert np.isfinite(output).all()
        assert {prop.key for prop in onnx.load(file).metadata_props} >= {"names", "stride"}


def test_unknown_parts_are_named_and_files_stay(
    exported: Path, images: np.ndarray, tmp_path: Path, needs: Any
) -> None:
    needs("onnx", "onnxruntime")
    target = tmp_path / "int8.onnx"
    target.write_bytes(b"earlier")
    with pytest.raises(ValueError, match=r"has gates in its path; paths are .*model\.2/m\.0/attn"):
        int8.quantize_onnx(exported, target, images, keep=("gates",))
    says = r"takes pictures of 3 x 64 x 64 \(channels x height x width\), these are 3 x 32 x 64"
    with pytest.raises(ValueError, match=says):
        int8.quantize_onnx(exported, target, images[:, :, :32])
    with pytest.raises(ValueError, match="numbers from 0 to 1, got uint8"):
        int8.quantize_onnx(exported, target, (images * 255).astype(np.uint8))
    with pytest.raises(ValueError, match="at least one"):
        int8.quantize_onnx(exported, target, images[:0])
    with pytest.raises(FileNotFoundError, match="no such file"):
        int8.quantize_onnx(tmp_path / "gone.onnx", target, images)
    assert target.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [target]


def convolution(path: Path, batch: int | str, dtype: int = 1) -> Path:
    """An ONNX file of one convolution on (batch, 3, 8, 8)."""
    from onnx import TensorProto, helper, numpy_helper, save

    kind = np.float32 if dtype == TensorProto.FLOAT else np.float16
    weight = np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(kind)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["pictures", "w"], ["y"], name="/model.0/conv/Conv")],
        "g",
        [helper.make_tensor_value_info("pictures", dtype, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("y", dtype, [batch, 4, 8, 8])],
        [numpy_helper.from_array(weight, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.mark.parametrize("batch", [1, 2, 4, 8, "batch"])
def test_a_file_of_any_batch_is_quantized(batch: int | str, tmp_path: Path, needs: Any) -> None:
    """Three pictures fill no batch of 2, 4 or 8; the file's own name of the input is used."""
    needs("onnx", "onnxruntime")
    import onnx

    source, target = convolution(tmp_path / "a.onnx", batch), tmp_path / "b.onnx"
    images = np.stack([np.full((3, 8, 8), top, np.float32) for top in (0.2, 0.5, 0.9)])
    int8.quantize_onnx(source, target, images, keep=())
    graph = onnx.load(target).graph
    quantizer = next(node for node in graph.node if node.op_type == "QuantizeLinear")
    assert quantizer.input[0] == "pictures"
    (step,) = [one for one in graph.initializer if one.name == quantizer.input[1]]
    assert float(onnx.numpy_helper.to_array(step)) == pytest.approx(0.9 / 255, rel=1e-4)


def test_batches_hold_every_picture_once_before_any_comes_again() -> None:
    images = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1)
    shown = [batch.ravel().tolist() for batch in int8_onnx.batches(images, 3)]
    assert shown == [[0, 1, 2], [3, 4, 0]]
    assert [batch.shape[0] for batch in int8_onnx.batches(images[:1], 4)] == [4]


def test_what_is_no_float32_file_is_refused(tmp_path: Path, needs: Any) -> None:
    needs("onnx", "onnxruntime")
    images, target = np.zeros((1, 3, 8, 8), np.float32), tmp_path / "b.onnx"
    with pytest.raises(ValueError, match="its input is not float32"):
        int8.quantize_onnx(convolution(tmp_path / "a.onnx", 1, 10), target, images, keep=())
    source = convolution(tmp_path / "a.onnx", 1)
    int8.quantize_onnx(source, target, images + 0.5, keep=())
    with pytest.raises(ValueError, match="is quantized already"):
        int8.quantize_onnx(target, tmp_path / "c.onnx", images, keep=())
    with pytest.raises(ValueError, match=r"keep is a list .*\('attn',\)"):
        int8.quantize_onnx(source, target, images, keep="attn")
    source.write_bytes(b"no model")
    with pytest.raises(ValueError, match="not an ONNX model"):
        int8.quantize_onnx(source, target, images, keep=())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]
