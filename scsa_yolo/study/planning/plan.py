"""The plan of a study: a YAML file, read and checked for form. `scsa_yolo.study.planning.verify`
checks what its names mean.

Nothing here imports torch or Ultralytics, so that a report can be made where neither a data set nor
a model is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from scsa_yolo.study.planning.file import PlanError, check_plain, named, read_yaml, shown
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
# NumPy takes seeds of 32 bits, and Ultralytics adds a process's number to them.
_LAST_SEED = 2**32 - 1001
_MOST_REPEATS = 100
_LONGEST = 200  # characters of a run's name: file systems allow 255 bytes for it and its suffix
_NAME = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9.-]*(_[A-Za-z0-9.-]+)*"
)  # no "__", which joins the parts of a run's id


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
    content = read_yaml(file)
    with named(file):
        plan = parse(content)
        plan_hash(plan)
    return plan


def parse(content: Any) -> Plan:
    """Return the plan that a mapping holds.

    Raises:
        PlanError: A key is unknown, missing or of the wrong kind.
    """
    if not isinstance(content, Mapping):
        raise PlanError(
            f"a plan is a mapping with the keys {', '.join(_REQUIRED)}, got {shown(content)}"
        )
    check_plain(content)
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
    models, data = _files(content["models"], "models"), _files(content["data"], "data")
    _check_length(models, data, arms)
    return Plan(
        name=_name(content["name"], "name"),
        models=models,
        data=data,
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
    except (TypeError, ValueError, RecursionError) as error:
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
                f"{where}: unknown key {shown(key)}.{hint(key, known)} Known: {', '.join(known)}"
            )


def hint(name: Any, known: Collection[str]) -> str:
    """Return " Did you mean X?" or nothing."""
    close = get_close_matches(str(name), list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""


def _name(value: Any, key: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value) or len(value) > _LONGEST:
        raise PlanError(
            f"{key}: a name is letters, digits, '.', '-' and single '_', such as scsa-w9, got"
            f" {shown(value)}"
        )
    return value


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise PlanError(f"{key}: must be a mapping, got {shown(value)}")
    return value


def _choice(value: Any, choices: tuple[str, ...], key: str) -> str:
    if not isinstance(value, str) or value not in choices:
        raise PlanError(f"{key}: must be one of {', '.join(choices)}, got {shown(value)}")
    return value


def _check_length(models: Sequence[str], data: Sequence[str], arms: Collection[str]) -> None:
    parts = ([Path(m).stem for m in models], [Path(d).stem for d in data], list(arms))
    longest = [max(names, key=len) for names in parts]
    if sum(map(len, longest)) > _LONGEST:
        raise PlanError(
            f"arms: a run is named after its model, data and arm, and {shown('__'.join(longest))}"
            f" is too long for a file's name; use at most {_LONGEST} characters together"
        )


def _texts(value: Any, key: str, least: int = 1) -> tuple[str, ...]:
    if (
        not isinstance(value, list)
        or len(value) < least
        or not all(isinstance(v, str) and v for v in value)
    ):
        raise PlanError(f"{key}: must be a list of names, got {shown(value)}")
    twice = next((v for i, v in enumerate(value) if v in value[:i]), None)
    if twice is not None:
        raise PlanError(f"{key}: {shown(twice)} comes twice")
    return tuple(value)


def _files(value: Any, key: str) -> tuple[str, ...]:
    names = _texts(value, key)
    stems = [Path(name).stem for name in names]
    for i, stem in enumerate(stems):
        _name(stem, key)  # becomes part of the names of files
        if stem in stems[:i]:
            raise PlanError(
                f"{key}: two are called {shown(stem)}, and runs are named after them; rename one of"
                " the files"
            )
    return names


def _arms(value: Any) -> dict[str, Arm]:
    if not isinstance(value, Mapping) or not value:
        raise PlanError(
            "arms: must be a mapping such as {stock: {}, scsa: {attention: SCSA}}, got"
            f" {shown(value)}"
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
            raise PlanError(f"{where}.{key}: must be a text, got {shown(content[key])}")
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
    _check_rows(content.get("rows"), f"{where}.rows")
    return Arm(name, **{**content, "options": dict(options)})


def _check_rows(value: Any, where: str) -> None:
    """Check the form of ``rows``: layer numbers, or layer numbers with options of their own."""
    if value is None:
        return
    numbers = list(value) if isinstance(value, (list, Mapping)) else []
    whole = [isinstance(v, int) and not isinstance(v, bool) for v in numbers]
    if not numbers or not all(whole):
        example = f"[{value}]" if isinstance(value, int) else "[2, 4]"
        raise PlanError(
            f"{where}: must be a list of layer numbers such as {example}, or a mapping such as"
            f" {{2: {{window: 9}}}}, got {shown(value)}"
        )
    if isinstance(value, Mapping):
        for number, options in value.items():
            _mapping(options, f"{where}.{number}")


def _seeds(value: Any) -> tuple[int, ...]:
    fine = isinstance(value, list) and value and all(_is_seed(seed) for seed in value)
    if not fine:
        raise PlanError(
            f"seeds: must be a list of whole numbers from 0 to {_LAST_SEED}, such as [0, 1, 2],"
            f" got {shown(value)}"
        )
    twice = sorted({v for i, v in enumerate(value) if v in value[:i]})
    if twice:
        raise PlanError(
            f"seeds: {', '.join(map(str, twice))} more than once; equal runs are written under"
            " 'repeats'"
        )
    return tuple(value)


def _is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LAST_SEED


def _repeats(value: Any, arms: Mapping[str, Arm], seeds: tuple[int, ...]) -> Repeats | None:
    if value is None:
        return None
    content = _mapping(value, "repeats")
    known_keys(content, ("arm", "seed", "times"), "repeats")
    arm = _choice(content.get("arm"), tuple(arms), "repeats.arm")
    if not _is_seed(content.get("seed")) or content["seed"] not in seeds:
        raise PlanError(
            f"repeats.seed: must be one of {', '.join(map(str, seeds))}, got"
            f" {shown(content.get('seed'))}"
        )
    times = content.get("times", 1)
    whole = isinstance(times, int) and not isinstance(times, bool)
    if not whole or not 1 <= times <= _MOST_REPEATS:
        raise PlanError(
            f"repeats.times: must be a whole number from 1 to {_MOST_REPEATS}, got {shown(times)}"
        )
    return Repeats(arm, content["seed"], times)


def _metrics(value: Any) -> tuple[str, ...]:
    names = _texts(value, "metrics")
    for name in names:
        if name not in METRICS:
            raise PlanError(
                f"metrics: unknown {shown(name)}.{hint(name, METRICS)} Known: {', '.join(METRICS)}"
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
                f"verdict.{key}: must be a number from {least:g} to {most:g}, got {shown(number)}"
            )
    _choice(rules["interval"], INTERVALS, "verdict.interval")
    return rules
