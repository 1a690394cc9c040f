"""Checkpoints of 0.1.0 load, safely too, and give the numbers that were recorded then.

Made with 0.1.0 as Ultralytics' trainer saves (``ema`` in float16): narrow rows with SCSA and its
options, IdentityStart, and every other module. ``folded`` is one SCSA that was pickled after
``fold``, when its constants still were buffers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ultralytics import YOLO

from scsa_yolo.attention import SCSA
from scsa_yolo.blocks import fold

FIXTURES = Path(__file__).parents[1] / "fixtures"
RECORDED = dict(np.load(FIXTURES / "checkpoint-0.1.0.npz"))
ATTENTION = sorted(key for key in RECORDED if key.startswith("attention/"))


@pytest.fixture(scope="module", params=[False, True], ids=["pickle", "weights_only"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    if request.param and not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
        pytest.skip("safe loading of whole models needs torch 2.6")
    file = tmp_path_factory.mktemp("old") / "old.pt"
    file.write_bytes((FIXTURES / "checkpoint-0.1.0.ckpt").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        if request.param:
            patch.setenv("ULTRALYTICS_SAFE_LOAD", "1")
        return YOLO(file).model.float().eval()


def test_the_whole_model_gives_the_same_numbers(model: Any) -> None:
    x = torch.from_numpy(RECORDED["x"]).float()
    with torch.no_grad():
        found = model(x)[0]
    expected = torch.from_numpy(RECORDED["output"])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("key", ATTENTION)
@pytest.mark.parametrize("folded", [False, True], ids=["", "folded"])
def test_each_attention_gives_the_same_numbers(model: Any, key: str, folded: bool) -> None:
    module = model.get_submodule(key.removeprefix("attention/"))
    expected = torch.from_numpy(RECORDED[key])
    width = expected.shape[1]
    noise = np.random.RandomState(width).randn(*expected.shape)
    x = torch.from_numpy(noise.astype("float32"))
    if folded:
        fold(module)
    with torch.no_grad():
        found = module(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_module_that_was_pickled_folded() -> None:
    module = torch.load(FIXTURES / "folded-0.1.0.ckpt", weights_only=False)
    assert isinstance(module, SCSA)
    x = torch.from_numpy(RECORDED["folded_x"])
    kept = x.clone()
    with torch.no_grad():
        found = module(x)
    expected = torch.from_numpy(RECORDED["folded_output"])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    fresh = SCSA(8)
    fresh.load_state_dict(module.state_dict(), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(fresh.eval()(kept), expected, rtol=1e-4, atol=1e-5)
