"""Short names for models and data sets, as tables, titles and records show them.

Ultralytics calls every trained model ``best.pt``, and most data sets come with a ``data.yaml``.
Such names say nothing, so the run's folder or the data set's folder stands for them. Only names of
files, and a run's ``args.yaml``, are read: no model is opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

# How the names of files begin that Ultralytics gives to every run's weights.
_WEIGHTS = re.compile(r"(best|last|epoch\d+)(?=$|[._-])")
# Data YAMLs with these names are named by their folder.
_DATA = {"data", "dataset"}
_MOST_FOLDERS = 8  # added to make two names differ


def model_name(model: str | Path, attention: Iterable[str] = ()) -> str:
    """Return a short name of a model's file: its run, its YAML, its attention.

    ``runs/detect/train3/weights/best.pt`` of a run whose model was ``yolov8n-scsa.yaml`` is
    ``train3 (yolov8n-scsa)``, the ``last.onnx`` beside it ``train3-last.onnx (yolov8n-scsa)``. A
    ``best.pt`` outside a run's folder is named with the folder that holds it. Every other file
    keeps its own name.

    Args:
        model: Path or name of a checkpoint, an exported file, or a YAML.
        attention: Names of the attention modules inside, where the caller knows them; those that
            the name does not say already are added.
    """
    path = Path(os.path.abspath(model))
    weights = _WEIGHTS.match(path.name)
    name, stated = path.name, []
    if weights:
        run = path.parents[1] if path.parent.name == "weights" else path.parent
        trained = _trained_from(run)
        if trained is None and path.parent.name != "weights":
            name = f"{path.parent.name}/{path.name}" if path.parent.name else path.name
        else:
            name = _of_run(run.name, weights[1], path.name[weights.end() :])
            stated = [trained] if trained else []
    known = _words(" ".join([name, *stated]))
    stated += [one for one in dict.fromkeys(attention) if one.lower() not in known]
    return f"{name} ({', '.join(stated)})" if stated else name


def data_name(data: str | Path) -> str:
    """Return a short name of a data set: that of its YAML, or of the folder of a ``data.yaml``.

    A folder that holds the YAML, and a bare name such as ``coco8``, are taken as well.
    """
    path = Path(os.path.abspath(data))
    if path.suffix.lower() not in (".yaml", ".yml"):
        return path.name
    generic = path.stem.lower() in _DATA and path.parent.name
    return path.parent.name if generic else path.stem


def distinct(names: Sequence[str], paths: Sequence[str | Path]) -> list[str]:
    """Return the names, with folders of their paths before those that two share.

    Args:
        names: One name a path.
        paths: Where the named things lie; two equal paths keep equal names.
    """
    places = [Path(os.path.abspath(path)) for path in paths]
    result = list(names)
    for depth in range(1, _MOST_FOLDERS):
        same = _shared(result, places)
        for i in same:
            folders = places[i].parts[:-1][-depth:]
            result[i] = "/".join([*folders, places[i].name])
        if not same:
            break
    return result


def _of_run(run: str, kind: str, rest: str) -> str:
    """Name a file of a run: ``best`` is the run itself, and ``.pt`` is the usual kind."""
    name = run if kind == "best" else f"{run}-{kind}"
    return name if rest in ("", ".pt") else f"{name}{rest}"


def _trained_from(run: Path) -> str | None:
    """Return the stem of the model that a run's ``args.yaml`` names; None without such a file.

    The empty text stands for a run that went on from another run's weights.
    """
    file = run / "args.yaml"
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    if not isinstance(settings, dict) or not isinstance(settings.get("model"), str):
        return None
    stem = re.split(r"[/\\]", settings["model"])[-1].removesuffix(".pt")
    stem = stem.removesuffix(".yaml").removesuffix(".yml")
    return "" if _WEIGHTS.fullmatch(stem) else stem


def _words(text: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", text.lower()))


def _shared(names: Sequence[str], places: Sequence[Path]) -> list[int]:
    """Return the positions of names that stand for several paths."""
    of_name: dict[str, set[Path]] = {}
    for name, place in zip(names, places, strict=True):
        of_name.setdefault(name, set()).add(place)
    return [i for i, name in enumerate(names) if len(of_name[name]) > 1]
