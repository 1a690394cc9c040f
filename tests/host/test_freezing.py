"""``freeze``: new attention goes on learning unless it is named, trained attention freezes as stock
says.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn import tasks

from scsa_yolo.blocks import UNTRAINED
from scsa_yolo.host.freezing import all_but_attention, frozen_attention
from scsa_yolo.host.transfer import attention_modules

BACKBONE = [
    [-1, 1, "Conv", [16, 3, 2]],
    [-1, 2, "C2f_SCSA", [16, True, {"start": "identity"}]],
    [-1, 1, "CA", []],  # holds a batch norm of its own
    [-1, 1, "C2f_SCSA", [16, True]],
]
SMALL: dict[str, Any] = {
    "nc": 2,
    "scale": "n",
    "backbone": BACKBONE,
    "head": [[[2, 3], 1, "Detect", ["nc"]]],
}


def small() -> Any:
    return tasks.DetectionModel(deepcopy(SMALL), nc=2, verbose=False)


def trained() -> Any:
    """A model whose attention came from a checkpoint."""
    model = small()
    for module in model.modules():
        vars(module).pop(UNTRAINED, None)
    return model


class Trainer(DetectionTrainer):
    """As far as the layers are frozen: the data and what follows are left out."""

    def __init__(self, model: Any, freeze: Any, weights: Any = None) -> None:
        from ultralytics.cfg import get_cfg

        self.args = get_cfg(
            overrides={"freeze": freeze, "model": "x.yaml", "amp": False, "plots": False}
        )
        self.made, self.weights = model, weights
        self.model: Any = None
        self.device = torch.device("cpu")
        self.world_size = 0
        self.resume = False
        self.ema: Any = None

    def setup_model(self) -> None:
        self.model = self.made
        if self.weights is not None:
            self.model.load(self.weights)

    def set_model_attributes(self) -> None:
        pass

    def _build_train_pipeline(self) -> None:
        self.scheduler = SimpleNamespace()
        self.start_epoch = 0

    def get_validator(self) -> Any:
        return SimpleNamespace(metrics=SimpleNamespace(keys=[]))

    def label_loss_items(self, *args: Any, **kwargs: Any) -> list[str]:
        return []

    def set_class_weights(self) -> None:
        pass

    def resume_training(self, checkpoint: Any) -> None:
        pass

    def run_callbacks(self, event: str) -> None:
        pass


def frozen(freeze: Any, model: Any = None, weights: Any = None) -> tuple[set[str], Trainer]:
    """Return the layers and attention modules with a parameter that training would not change."""
    trainer = Trainer(small() if model is None else model, freeze, weights)
    trainer.batch_size = 2
    trainer._setup_train()
    names = {name for name, p in trainer.model.named_parameters() if not p.requires_grad}
    return {name for name in names if ".dfl." not in name}, trainer


def attention_parameters(model: nn.Module) -> set[str]:
    names = tuple(f"{name}." for name in attention_modules(model))
    return {name for name, _ in model.named_parameters() if name.startswith(names)}


def below(model: nn.Module, layers: range) -> set[str]:
    starts = tuple(f"model.{index}." for index in layers)
    return {name for name, _ in model.named_parameters() if name.startswith(starts)}


@pytest.mark.parametrize("freeze", [4, [0, 1, 3], 5, 1, 0, None, [1], ["1.m.0", 3]])
def test_new_attention_goes_on_learning(freeze: Any) -> None:
    model = small()
    entries = range(freeze) if isinstance(freeze, int) else freeze or []
    starts = tuple(f"model.{entry}." for entry in entries)
    asked = {name for name, _ in model.named_parameters() if name.startswith(starts)}
    asked = {name for name in asked if ".dfl." not in name}
    found, _ = frozen(freeze, model)
    assert found == asked - attention_parameters(model)


@pytest.mark.parametrize("freeze", [4, [0, 1, 3], ["1.m.0"]])
def test_attention_from_a_checkpoint_freezes_as_stock_says(freeze: Any, yolo_log: Any) -> None:
    model = small()
    entries = range(freeze) if isinstance(freeze, int) else freeze
    starts = tuple(f"model.{entry}." for entry in entries)
    asked = {name for name, _ in model.named_parameters() if name.startswith(starts)}
    found, _ = frozen(freeze, model, weights=trained())
    assert found == asked
    assert yolo_log.matching("freeze=all-but-attention")


def test_named_attention_is_frozen() -> None:
    model = small()
    found, _ = frozen(["1.m.0.attn", 2, "3.m.0.attn.attention", 0], model)
    assert found >= below(model, range(2, 3))
    assert {name for name in found if name.startswith("model.1.")} == {
        name for name, _ in model.named_parameters() if name.startswith("model.1.m.0.attn.")
    }


def test_it_is_said_in_the_log(yolo_log: Any) -> None:
    frozen(4)
    (line,) = yolo_log.matching("to learn")
    assert line.startswith("scsa_yolo: freeze=4 leaves 4 attention modules to learn")
    assert "'1.m.0.attn'" in line


def test_norms_of_learning_attention_are_not_held() -> None:
    _, trainer = frozen(4)
    trainer._model_train()
    held = {
        name
        for name, m in trainer.model.named_modules()
        if isinstance(m, nn.BatchNorm2d) and not m.training
    }
    attention = tuple(f"{name}." for name in attention_modules(trainer.model))
    norms = {name for name, m in trainer.model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    asked = {name for name in norms if name.startswith(tuple(f"model.{i}." for i in range(4)))}
    assert held == {name for name in asked if not name.startswith(attention)}
    assert any(name.startswith(attention) for name in norms)


@pytest.mark.parametrize(
    ("freeze", "head_learns"),
    [("all-but-attention", False), ("all-but-attention-and-head", True)],
)
@pytest.mark.parametrize("make", [small, trained])
def test_all_but_attention(freeze: str, head_learns: bool, make: Any) -> None:
    model = make()
    found, _ = frozen(freeze, model)
    everything = {name for name, _ in model.named_parameters() if ".dfl." not in name}
    learning = attention_parameters(model)
    if head_learns:
        learning |= below(model, range(4, 5))
    assert everything - found == learning - {n for n in learning if ".dfl." in n}


def test_all_but_attention_is_a_list_too() -> None:
    model = trained()
    by_list, _ = frozen(all_but_attention(model), trained())
    by_word, _ = frozen("all-but-attention", trained())
    assert by_list == by_word


def test_all_but_attention_of_a_model_without() -> None:
    with pytest.raises(ValueError, match="needs a model with attention"):
        all_but_attention(tasks.DetectionModel("yolov8n.yaml", verbose=False))


@pytest.mark.parametrize("freeze", ["backbone", "10", (0, 1), 2.5])
def test_what_stock_would_ignore_is_a_warning(freeze: Any, yolo_log: Any) -> None:
    found, _ = frozen(freeze)
    assert not found
    assert yolo_log.matching("so nothing is frozen")


def test_a_resumed_run_finds_the_same_list() -> None:
    """The checkpoint holds the trainer's arguments, and attention that came with the weights."""
    first, trainer = frozen(4)
    for model in (trainer.model, trainer.ema.ema):
        assert not any(vars(m).get(UNTRAINED) for m in model.modules())
    second, _ = frozen(trainer.args.freeze, trainer.model)
    assert second == first


def test_attention_drawn_for_an_object_is_still_new_in_the_trainer() -> None:
    """``YOLO("...-scsa.yaml").load("stock.pt").train(freeze=4)`` builds the model a second time."""
    stock = deepcopy(SMALL)
    stock["backbone"] = [[*row[:2], row[2].removesuffix("_SCSA"), row[3][:2]] for row in BACKBONE]
    stock["backbone"][2] = [-1, 1, "nn.Identity", []]
    in_memory = small()
    in_memory.load(tasks.DetectionModel(stock, nc=2, verbose=False))
    model = small()
    found, _ = frozen(4, model, weights=in_memory)
    assert not found & attention_parameters(model)


def test_untrained_attention_stays_so_in_a_saved_file(tmp_path: Path) -> None:
    file = tmp_path / "untrained.pt"
    YOLO("yolov8n-scsa.yaml").save(file)
    loaded = YOLO(file).model
    assert not frozen_attention(loaded, 22)


def test_a_parameter_beside_attention_is_frozen_too() -> None:
    """No entry of stock's list can name a parameter of the module that holds the attention."""
    model = small()
    model.model[1].register_parameter("gamma", nn.Parameter(torch.ones(3)))
    found, _ = frozen(2, model)
    assert "model.1.gamma" in found
    assert not found & attention_parameters(model)


def test_frozen_attention_of_a_plan() -> None:
    assert frozen_attention(small(), 4) == []
    assert frozen_attention(small(), ["3.m.0.attn"]) == ["model.3.m.0.attn"]
    assert len(frozen_attention(trained(), 4)) == 4
    assert frozen_attention(trained(), None) == []


def test_stock_models_are_none_of_our_business(yolo_log: Any) -> None:
    model = tasks.DetectionModel("yolov8n.yaml", verbose=False)
    found, trainer = frozen(10, model)
    assert found == below(model, range(10))
    assert trainer.args.freeze == 10
    assert not yolo_log.matching("scsa_yolo")


def test_the_hook_goes_with_the_registration() -> None:
    assert BaseTrainer._setup_train.__wrapped__
