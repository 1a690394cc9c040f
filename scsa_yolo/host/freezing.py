"""``freeze``: attention that did not come with the weights goes on learning, unless it is named.

``freeze=10`` means "these layers are good as they are". New attention inside them is not: it is as
it was drawn, and frozen it would stay so for ever. Stock code freezes by the beginning of a
parameter's name (``model.2.``), so what lies in a layer goes with it. Here the entries of layers
that hold new attention are written out, without it, before stock code reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from torch import nn
from ultralytics.utils import LOGGER

from scsa_yolo.blocks import UNTRAINED
from scsa_yolo.host.transfer import attention_modules
from scsa_yolo.support.text import counted

ALL_BUT_ATTENTION = "all-but-attention"
ALL_BUT_ATTENTION_AND_HEAD = "all-but-attention-and-head"
WORDS = (ALL_BUT_ATTENTION, ALL_BUT_ATTENTION_AND_HEAD)

Entry = int | str  # of a list of `freeze`: stock freezes what begins with model.<entry>.


def setup_train(original: Callable[..., Any], trainer: Any, *args: Any, **kwargs: Any) -> Any:
    """Work of the wrapper of ``BaseTrainer._setup_train()``: rewrite ``args.freeze`` as soon as the
    model is there, before stock code reads it.
    """
    shadowed = vars(trainer).get("setup_model")
    setup_model = trainer.setup_model
    left: list[str] = []

    def setup_and_rewrite(*a: Any, **k: Any) -> Any:
        _take_back(trainer, shadowed)
        checkpoint = setup_model(*a, **k)
        left.extend(_rewrite(trainer))
        return checkpoint

    trainer.setup_model = setup_and_rewrite
    try:
        result = original(trainer, *args, **kwargs)
    finally:
        _take_back(trainer, shadowed)
    _finish(trainer, left)
    return result


def _take_back(trainer: Any, shadowed: Any) -> None:
    vars(trainer).pop("setup_model", None)
    if shadowed is not None:
        trainer.setup_model = shadowed


def frozen_attention(model: nn.Module, freeze: Any) -> list[str]:
    """Return the attention modules of ``model`` that training with ``freeze`` would not train.

    Args:
        model: A model of Ultralytics as the trainer gets it: built, its weights loaded.
        freeze: As for ``yolo train``: a number of layers, a list of layers or of names, one of
            :data:`WORDS`, or None.
    """
    entries, _ = expanded(model, freeze)
    frozen = [f"model.{entry}." for entry in entries]
    return [
        name
        for name, module in attention_modules(_inner(model)).items()
        if any(True for _ in module.parameters()) and any(start in f"{name}." for start in frozen)
    ]


def all_but_attention(model: nn.Module, *, head: bool = True) -> list[Entry]:
    """Return the list for ``freeze`` that leaves the attention of ``model`` alone to learn.

    The same as ``freeze=all-but-attention``, as a list that can be changed.

    Args:
        model: A model of Ultralytics with attention.
        head: Freeze the head too, the model's last layer. Where the weights know other classes
            than the data, it has to learn: False.

    Raises:
        ValueError: ``model`` has no attention of ours.
    """
    inner = _inner(model)
    attention = attention_modules(inner)
    if not attention:
        raise ValueError(
            f"freeze={ALL_BUT_ATTENTION} needs a model with attention, such as yolov8n-scsa.yaml;"
            " this one has none. Type: scsa-yolo models"
        )
    layers: Any = inner.model
    count = len(layers) if head else len(layers) - 1
    return _without(inner, range(count), attention, [])


def expanded(model: nn.Module, freeze: Any) -> tuple[list[Entry], list[str]]:
    """Return the list that freezes what ``freeze`` means, and the parameters that no entry of such
    a list can name: those of a module that holds attention deeper inside.
    """
    inner = _inner(model)
    if isinstance(freeze, str) and freeze in WORDS:
        return all_but_attention(inner, head=freeze == ALL_BUT_ATTENTION), []
    attention = attention_modules(inner)
    new = {name for name, module in attention.items() if vars(module).get(UNTRAINED)}
    if isinstance(freeze, list):  # an entry that is attention itself names it
        new -= {f"model.{entry}" for entry in freeze}
        wanted: Collection[Entry] = freeze
    else:
        number = freeze if isinstance(freeze, int) else 0
        wanted = range(number)
    left: list[str] = []
    return _without(inner, wanted, new, left), left


def _without(
    inner: nn.Module, wanted: Collection[Entry], kept: Collection[str], left: list[str]
) -> list[Entry]:
    """Return ``wanted``, with every entry that holds one of ``kept`` written out without it."""
    entries: list[Entry] = []
    for entry in wanted:
        path = f"model.{entry}"
        if path in kept:
            continue
        if _holds(path, kept):
            entries += _children(inner.get_submodule(path), path, kept, left)
        else:
            entries.append(entry)
    return entries


def _children(
    module: nn.Module, path: str, kept: Collection[str], left: list[str]
) -> Iterator[Entry]:
    """Yield the largest parts of ``module`` without one of ``kept``; note its own parameters."""
    left += [f"{path}.{name}" for name, _ in module.named_parameters(recurse=False)]
    for name, child in module.named_children():
        inside = f"{path}.{name}"
        if inside in kept:
            continue
        if _holds(inside, kept):
            yield from _children(child, inside, kept, left)
        elif child.state_dict():
            yield inside.removeprefix("model.")


def _holds(path: str, kept: Collection[str]) -> bool:
    return any(name.startswith(f"{path}.") for name in kept)


def _inner(model: nn.Module) -> Any:
    """Return the model itself, out of what Ultralytics wraps around it for distillation."""
    return getattr(model, "student_model", model)


def _rewrite(trainer: Any) -> list[str]:
    """Put the written out list into the trainer's arguments, where a resumed run finds it too."""
    freeze, inner = trainer.args.freeze, _inner(trainer.model)
    attention = attention_modules(inner) if isinstance(inner, nn.Module) else {}
    if freeze is None or not (attention or freeze in WORDS):
        return []
    if not isinstance(freeze, (int, list)) and freeze not in WORDS:
        LOGGER.warning(
            f"freeze={freeze!r} is no number and no list, so nothing is frozen. Write a number of"
            f" layers, a list such as [0, 1, '2.cv1'], or {' or '.join(WORDS)}"
        )
        return []
    entries, left = expanded(inner, freeze)
    before = list(range(freeze)) if isinstance(freeze, int) else freeze
    if entries != before:
        trainer.args.freeze = entries
    _say(inner, freeze, entries, attention)
    return left


def _say(
    inner: nn.Module, freeze: Any, entries: list[Entry], attention: dict[str, nn.Module]
) -> None:
    """Log what becomes of the attention in the layers that the user wants frozen."""
    frozen = frozen_attention(inner, entries)
    layers = range(freeze) if isinstance(freeze, int) else freeze
    asked = [f"model.{entry}." for entry in layers] if not isinstance(freeze, str) else ["model."]
    touched = [name for name in attention if any(start in f"{name}." for start in asked)]
    kept = [name for name in touched if name not in frozen]
    kept = [name for name in kept if any(True for _ in attention[name].parameters())]
    shown = freeze if isinstance(freeze, (int, str)) else "[...]"
    if kept:
        example = kept[0].removeprefix("model.")
        why = "" if isinstance(freeze, str) else " It did not come with the weights."
        LOGGER.info(
            f"scsa_yolo: freeze={shown} leaves {counted(len(kept), 'attention module')} to learn,"
            f" from {kept[0]} on.{why} To freeze one as well, name it in a list: '{example}'"
        )
    if frozen:
        LOGGER.info(
            f"scsa_yolo: freeze={shown} freezes {counted(len(frozen), 'attention module')} too,"
            f" from {frozen[0]} on: named, or come with the weights. To train the attention alone:"
            f" freeze={ALL_BUT_ATTENTION}"
        )


def _finish(trainer: Any, left: list[str]) -> None:
    """Freeze what no entry could name, and remember that training has begun."""
    for name, parameter in trainer.model.named_parameters():
        if any(name == full or name.endswith(f".{full}") for full in left):
            LOGGER.info(f"Freezing layer '{name}'")
            parameter.requires_grad = False
    copy = getattr(getattr(trainer, "ema", None), "ema", None)
    for model in (trainer.model, copy):
        for module in model.modules() if isinstance(model, nn.Module) else ():
            vars(module).pop(UNTRAINED, None)
