"""The plan of a study: a YAML file, read and checked for form. `scsa_yolo.study.planning.verify`
checks what its names mean.

Nothing here imports torch or Ultralytics, so that a report can be made where neither a data set nor
a model is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from scsa_yolo.support.files import canonical

__all__ = [
    "METRICS",
    "VERDICT",
    "Arm",
    "Plan",
    "PlanError",
    "Repeats",
    "load",
    "parse",
    "plan_hash",
]

_SIZES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
# Name in a plan -> (rules, score) of `scsa_yolo.evaluation`. Without a prefix: COCO's rules.
METRICS: dict[str, tuple[str, str]] = {
    **{name: ("coco", name.lower()) for name in (*_SIZES, "AR_1", "AR_10", "AR_100")},
    **{f"visdrone_{name}": ("visdrone", name.lower()) for name in ("AP", "AP50", "AP75", "AR_500")},
    **{f"ultralytics_{name}": ("ultralytics", name.lower()) for name in ("AP", "AP50")},
}
VERDICT: dict[str, Any] = {"alpha": 0.05, "margin": 0.005, "interval": "bca", "confidence": 0.95}
# Beyond these a verdict would say nothing: alpha 0.9 calls chance an improvement, a margin of 50
# points calls everything equal.
_BOUNDS = {"alpha": (1e-6, 0.1), "margin": (0.0, 0.1), "confidence": (0.9, 0.999)}
INTERVALS = ("bca", "t")
SPLITS = ("val", "test", "train")
WEIGHTS = ("last", "best")
_KEYS = (
    "name",
    "models",
    "data",
    "arms",
    "control",
    "seeds",
    "repeats",
    "train",
    "metrics",
    "primary",
    "verdict",
    "split",
    "weights",
    "accept",
)
_REQUIRED = ("name", "models", "data", "arms", "control", "seeds", "train")
_NAME = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9.-]*(_[A-Za-z0-9.-]+)*"
)  # no "__", which joins the parts of a run's id


class PlanError(ValueError):
    """A plan that cannot be run as it is; the message is one line that names the key and what is
    known.
    """


@dataclass(frozen=True)
class Arm:
    """What is in the slot.

    Attributes:
        name: The arm's name.
        attention: A registered attention, None for the model as it is.
        options: The attention's options.
        slot: ``mid`` or ``out``.
        start: ``paper`` or ``identity``.
        rows: Layer numbers that get it; None for all with residual units. A mapping gives rows
            options of their own.
        scale: The same model at another scale, such as ``s``: the n-to-s step.
        pretrained: Weights to start from; None for the plan's training arguments.
    """

    name: str
    attention: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    slot: str = "mid"
    start: str = "paper"
    rows: Any = None
    scale: str | None = None
    pretrained: str | None = None


@dataclass(frozen=True)
class Repeats:
    """Runs that are done again, unchanged: how much two equal runs differ."""

    arm: str
    seed: int
    times: int


@dataclass(frozen=True)
class Plan:
    """A checked plan.

    Attributes:
        name: Of the study.
        models: Model YAMLs that arms start from.
        data: Data YAMLs.
        arms: By name, in the plan's order.
        control: The arm that others are compared with.
        seeds: Seeds of every arm.
        repeats: Equal runs for the noise floor, or None.
        train: Ultralytics' training arguments, the same for all runs.
        metrics: Names out of `METRICS`.
        primary: The one that verdicts are about.
        verdict: ``alpha``, ``margin`` (in units of the metric, 0 to 1), ``interval`` and
            ``confidence``.
        split: Where the final metrics are measured.
        weights: ``last`` or ``best``. `best` is the epoch that Ultralytics found best on the
            validation split: chosen and measured on the same pictures, it is too good by an amount
            that differs between arms. So `last` is the default.
        accept: Codes of findings of ``scsa-yolo data check`` that do not stop a run.
        raw: The plan's mapping as it was read; its hash identifies the plan.
    """

    name: str
    models: tuple[str, ...]
    data: tuple[str, ...]
    arms: Mapping[str, Arm]
    control: str
    seeds: tuple[int, ...]
    repeats: Repeats | None
    train: Mapping[str, Any]
    metrics: tuple[str, ...]
    primary: str
    verdict: Mapping[str, Any]
    split: str
    weights: str
    accept: tuple[str, ...]
    raw: Mapping[str, Any] = field(repr=False)


def load(path: str | Path) -> Plan:
    """Read a plan's YAML.

    Raises:
        PlanError: It is no YAML, or no plan.
        OSError: The file cannot be read.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"there is no plan '{file}'. Type: scsa-yolo study init {file.name or 'plan.yaml'}"
        )
    try:
        content = yaml.load(file.read_text(encoding="utf-8-sig"), Loader=_Loader)
    except UnicodeDecodeError as error:
        raise PlanError(f"{file}: not a text file") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        raise PlanError(
            f"{where}: no valid YAML: {getattr(error, 'problem', None) or error}"
        ) from error
    try:
        return parse(content)
    except PlanError as error:
        raise PlanError(f"{file}: {error}") from error


class _Loader(yaml.SafeLoader):
    """Refuses a key that comes twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                mark = node.value[i][0].start_mark
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} comes twice", mark
                )
        return super().construct_mapping(node, deep=deep)


def parse(content: Any) -> Plan:
    """Return the plan that a mapping holds.

    Raises:
        PlanError: A key is unknown, missing or of the wrong kind.
    """
    if not isinstance(content, Mapping):
        raise PlanError(
            f"a plan is a mapping with the keys {', '.join(_REQUIRED)}, got {_shown(content)}"
        )
    known_keys(content, _KEYS, "plan")
    missing = [key for key in _REQUIRED if content.get(key) is None]
    if missing:
        raise PlanError(
            f"the plan lacks {', '.join(missing)}. Type: scsa-yolo study init, for a plan with"
            " comments"
        )
    arms = _arms(content["arms"])
    seeds = _seeds(content["seeds"])
    metrics = _metrics(content.get("metrics", list(_SIZES)))
    return Plan(
        name=_name(content["name"], "name"),
        models=_files(content["models"], "models"),
        data=_files(content["data"], "data"),
        arms=arms,
        control=_choice(content["control"], tuple(arms), "control"),
        seeds=seeds,
        repeats=_repeats(content.get("repeats"), arms, seeds),
        train=_mapping(content["train"], "train"),
        metrics=metrics,
        primary=_choice(content.get("primary", metrics[0]), metrics, "primary"),
        verdict=_verdict(content.get("verdict")),
        split=_choice(content.get("split", "val"), SPLITS, "split"),
        weights=_choice(content.get("weights", "last"), WEIGHTS, "weights"),
        accept=_texts(content.get("accept", []), "accept", least=0),
        raw=dict(content),
    )


def plan_hash(plan: Plan) -> str:
    """Return ``sha256:...`` of the plan's content; comments, order of keys and layout do not
    count.
    """
    try:
        text = canonical(plan.raw)
    except (TypeError, ValueError) as error:
        raise PlanError(f"the plan holds a value that JSON cannot: {error}") from error
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def known_keys(content: Mapping[Any, Any], known: Collection[str], where: str) -> None:
    """Refuse keys that are not known.

    Raises:
        PlanError: With the closest known key, and all of them.
    """
    for key in content:
        if key not in known:
            raise PlanError(
                f"{where}: unknown key {key!r}.{hint(key, known)} Known: {', '.join(known)}"
            )


def hint(name: Any, known: Collection[str]) -> str:
    """Return " Did you mean X?" or nothing."""
    close = get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _name(value: Any, key: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise PlanError(
            f"{key}: a name is letters, digits, '.', '-' and single '_', such as scsa-w9, got"
            f" {_shown(value)}"
        )
    return value


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise PlanError(f"{key}: must be a mapping, got {_shown(value)}")
    return value


def _choice(value: Any, choices: tuple[str, ...], key: str) -> str:
    if not isinstance(value, str) or value not in choices:
        raise PlanError(f"{key}: must be one of {', '.join(choices)}, got {_shown(value)}")
    return value


def _texts(value: Any, key: str, least: int = 1) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or len(value) < least
        or not all(isinstance(v, str) and v for v in value)
    ):
        raise PlanError(f"{key}: must be a list of names, got {_shown(value)}")
    twice = next((v for i, v in enumerate(value) if v in value[:i]), None)
    if twice is not None:
        raise PlanError(f"{key}: {twice!r} comes twice")
    return tuple(value)


def _files(value: Any, key: str) -> tuple[str, ...]:
    names = _texts(value, key)
    stems = [Path(name).stem for name in names]
    for i, stem in enumerate(stems):
        _name(stem, key)  # becomes part of the names of files
        if stem in stems[:i]:
            raise PlanError(
                f"{key}: two are called {stem!r}, and runs are named after them; rename one of the"
                " files"
            )
    return names


def _arms(value: Any) -> dict[str, Arm]:
    if not isinstance(value, Mapping) or not value:
        raise PlanError(
            "arms: must be a mapping such as {stock: {}, scsa: {attention: SCSA}}, got"
            f" {_shown(value)}"
        )
    return {_name(name, "arms"): _arm(name, content) for name, content in value.items()}


def _arm(name: str, content: Any) -> Arm:
    where = f"arms.{name}"
    content = _mapping({} if content is None else content, where)
    known_keys(
        content, ("attention", "options", "slot", "start", "rows", "scale", "pretrained"), where
    )
    for key in ("attention", "scale", "pretrained"):
        if content.get(key) is not None and not isinstance(content[key], str):
            raise PlanError(f"{where}.{key}: must be a text, got {_shown(content[key])}")
    if content.get("attention") is None:
        idle = next((key for key in ("options", "slot", "start", "rows") if key in content), None)
        if idle is not None:
            raise PlanError(f"{where}.{idle}: needs an attention, such as attention: SCSA")
    options = _mapping(content.get("options", {}), f"{where}.options")
    reserved = next(
        (key for key in options if key in ("slot", "start", "rows", "model", "attention")), None
    )
    if reserved is not None:
        raise PlanError(f"{where}.options: write {reserved} beside options, not inside")
    return Arm(name, **{**content, "options": dict(options)})


def _seeds(value: Any) -> tuple[int, ...]:
    fine = (
        isinstance(value, list)
        and value
        and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    )
    if not fine or min(value) < 0:
        raise PlanError(
            f"seeds: must be a list of whole numbers from 0, such as [0, 1, 2], got {_shown(value)}"
        )
    twice = sorted({v for i, v in enumerate(value) if v in value[:i]})
    if twice:
        raise PlanError(
            f"seeds: {', '.join(map(str, twice))} more than once; equal runs are written under"
            " 'repeats'"
        )
    return tuple(value)


def _repeats(value: Any, arms: Mapping[str, Arm], seeds: tuple[int, ...]) -> Repeats | None:
    if value is None:
        return None
    content = _mapping(value, "repeats")
    known_keys(content, ("arm", "seed", "times"), "repeats")
    arm = _choice(content.get("arm"), tuple(arms), "repeats.arm")
    if content.get("seed") not in seeds or isinstance(content.get("seed"), bool):
        raise PlanError(
            f"repeats.seed: must be one of {', '.join(map(str, seeds))}, got"
            f" {_shown(content.get('seed'))}"
        )
    times = content.get("times", 1)
    if not isinstance(times, int) or isinstance(times, bool) or times < 1:
        raise PlanError(f"repeats.times: must be a whole number from 1, got {_shown(times)}")
    return Repeats(arm, content["seed"], times)


def _metrics(value: Any) -> tuple[str, ...]:
    names = _texts(value, "metrics")
    for name in names:
        if name not in METRICS:
            raise PlanError(
                f"metrics: unknown {name!r}.{hint(name, METRICS)} Known: {', '.join(METRICS)}"
            )
    return names


def _verdict(value: Any) -> dict[str, Any]:
    content = _mapping({} if value is None else value, "verdict")
    known_keys(content, tuple(VERDICT), "verdict")
    rules = {**VERDICT, **content}
    for key, (least, most) in _BOUNDS.items():
        number = rules[key]
        real = isinstance(number, (int, float)) and not isinstance(number, bool)
        if not real or not least <= number <= most:
            raise PlanError(
                f"verdict.{key}: must be a number from {least:g} to {most:g}, got {_shown(number)}"
            )
    _choice(rules["interval"], INTERVALS, "verdict.interval")
    return rules
