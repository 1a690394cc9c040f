"""Which layers lose accuracy in 8 bits, and an ONNX file with the attention left in float."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scsa_yolo.deploy import int8

SIZE = 64


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    rng = torch.Generator().manual_seed(0)
    flat = torch.rand(3, 3, 5, 5, generator=rng)
    return torch.nn.functional.interpolate(flat, (SIZE, SIZE), mode="bilinear").numpy()


@pytest.fixture(scope="module")
def net() -> Any:
    """A fused detector of SCSA with perturbed weights."""
    from ultralytics import YOLO

    net = YOLO("yolov8n-scsa.yaml").model.eval()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1 + 0.5 * (torch.rand(parameter.shape, generator=rng) - 0.5))
    return net.fuse(verbose=False)


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
    with pytest.raises(Exception, match=r".+"):
        int8.quantize_onnx(exported, target, images[:, :, :32])
    assert target.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [target]
