"""A graft as a file: its text with a header that says where it came from, checked by building it,
written at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from scsa_yolo.grafting import graft, layers, to_yaml
from scsa_yolo.support.files import write_text

# What a file's stem must hold for `yolo` to take the right class, by how the name of its last row
# begins.
STEMS = {"rtdetr": "rtdetr", "world": "-world", "yoloe": "yoloe"}
# Stems that make `yolo` take a class that has no YAML.
TAKEN = ("fastsam", "sam_", "sam2_", "sam2.1_", "sam3", "mobile_sam", "yolo_nas")


def parse_options(pairs: Iterable[str]) -> dict[str, Any]:
    """Read ``window=9`` and ``kernels=[3, 5]``, values as YAML.

    Raises:
        ValueError: A pair has no ``=``, its name comes twice or belongs to another argument, or its
            value is no YAML.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not name or not equals or not value:
            raise ValueError(f"--option takes name=value, such as --option window=9, got {pair!r}")
        if name in ("slot", "start"):
            raise ValueError(f"type --{name} {value} instead of --option {pair}")
        if name in options:
            raise ValueError(f"--option {name} is given twice")
        try:
            options[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(
                f"--option {name}: {value!r} is no YAML value such as 9, true, softmax or [3, 5]"
            ) from error
    return options


def parse_rows(text: str) -> list[int]:
    """Read ``2,4,6``.

    Raises:
        ValueError: It is no list of layer numbers.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--rows takes layer numbers such as 2,4,6, got {text!r}") from None


def grafted(
    model: str,
    attention: str,
    *,
    command: str,
    slot: str,
    rows: list[int] | None,
    units: str = "residual",
    options: Mapping[str, Any],
) -> tuple[dict[str, Any], str]:
    """Graft, and return the model's dictionary and the text of its file, whose header holds what
    was typed.

    Arguments as of :func:`scsa_yolo.grafting.graft`, and errors too.
    """
    reserved = sorted({"model", "attention", "rows", "units"} & set(options))
    if reserved:
        raise ValueError(f"{attention} has no option {reserved[0]!r}")
    d = graft(model, attention, slot=slot, rows=rows, units=units, **options)
    from ultralytics import __version__ as ultralytics

    from scsa_yolo import __version__ as ours

    kind = "feed-forward" if units == "ffn" else units
    header = (
        f"{model} with {attention} in its {kind} units. Made on Ultralytics {ultralytics} by"
        f" scsa_yolo {ours}:"
    )
    return d, to_yaml(d, header=f"{header}\n  {command}")


def default_name(model: str, attention: str) -> str:
    """yolo11s-seg.yaml and EMA give yolo11s-seg-ema.yaml."""
    return f"{Path(model).stem}-{attention.lower()}.yaml"


def check_name(path: Path, d: Mapping[str, Any]) -> None:
    """Refuse a file name from which the ``yolo`` command would draw a wrong conclusion.

    Raises:
        ValueError: The model could not be used under this name.
    """
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise ValueError(f"the file must end in .yaml for yolo to take it as a model, got '{path}'")
    from ultralytics.nn.tasks import guess_model_scale

    stem = path.stem.lower()
    taken = next((text for text in TAKEN if text in stem), None)
    if taken:
        raise ValueError(
            f"yolo takes any file with {taken!r} in its name for another kind of model: choose a"
            " name without"
        )
    scale, scales = guess_model_scale(path), d.get("scales") or {}
    if scale and scales and scale not in scales:
        raise ValueError(
            f"the name '{path.name}' asks for scale {scale!r}, but the model has only"
            f" {', '.join(map(repr, scales))}: choose the letter in the name accordingly"
        )
    head = str(list(layers(d))[-1][1][2]).lower()
    marker = next((mark for start, mark in STEMS.items() if head.startswith(start)), None)
    if marker and marker not in stem:
        example = f"{path.stem}{marker}.yaml" if marker.startswith("-") else f"{marker}-{path.name}"
        raise ValueError(
            f"yolo knows such a model by {marker!r} in its file name, got '{path.name}'. Type for"
            f" example: {example}"
        )


def check_builds(text: str, name: str) -> Any:
    """Build the model from ``text`` as ``yolo`` would from a file of that name, and return the YOLO
    object.

    Raises:
        ValueError: It does not build; the message says why.
    """
    from scsa_yolo.complexity import load

    with tempfile.TemporaryDirectory(prefix="scsa_yolo-") as folder:
        path = Path(folder) / name
        path.write_text(text, encoding="utf-8")
        try:
            return load(path)
        except Exception as error:  # whatever upstream raises on a model that it cannot build
            raise ValueError(
                f"the grafted model does not build, nothing is written: {error}"
            ) from error


def refuse_existing(path: Path, *, force: bool) -> None:
    """Stop before the work when the result could not be written.

    Raises:
        FileExistsError: The file exists and ``force`` is false.
        FileNotFoundError: Its folder does not exist.
    """
    if path.is_dir() or (path.exists() and not force):
        kind = "a folder" if path.is_dir() else "there already"
        raise FileExistsError(
            f"'{path}' is {kind}. Choose another name"
            + ("" if path.is_dir() else ", or add --force")
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder '{path.parent}'. Type: mkdir -p '{path.parent}'"
        )


def write(path: Path, text: str, *, force: bool) -> None:
    """Write the file at once: never half of it, and never over another one unless ``force``."""
    refuse_existing(path, force=force)
    write_text(path, text)


def summary(d: Mapping[str, Any], model: Any, path: str | None) -> str:
    """Say what was made and how it is used: attention modules and rows, task, scale, and the
    command to type.
    """
    from scsa_yolo.modelfiles.catalogue import places

    where = "; ".join(
        f"{len(at)} {name} in rows {','.join(map(str, dict.fromkeys(at)))}"
        for name, at in places(model.model).items()
    )
    scales = list(d.get("scales") or {})
    size = (
        f"scale {scales[0]}"
        if len(scales) == 1
        else f"scales {', '.join(scales)}"
        if scales
        else "one size"
    )
    lines = [f"{path or 'printed'}: {model.task}, {size}, {where}"]
    if len(scales) > 1:
        lines.append(
            f"yolo takes scale {scales[0]} unless a letter in the file's name says another, as in"
            " yolo11s-mine.yaml. For one size alone, graft onto a name with its letter"
        )
    lines.append(
        f"Use it: yolo train model={path} data=..."
        if path
        else "Write it to a file: add -o NAME.yaml"
    )
    return "\n".join(lines)
