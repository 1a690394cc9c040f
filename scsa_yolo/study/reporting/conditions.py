"""Whether runs can be compared: data, epochs, arguments, versions, code and hardware of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from scsa_yolo.study.reporting.evidence import Evidence, Record, Setting, number
from scsa_yolo.study.reporting.wording import count, listed

__all__ = ["as_mapping", "conditions", "doubtful", "epochs", "unlike"]

# Of a run's arguments, what an arm or a run has for itself. `freeze` is the plan's; a record has it
# written out by layers, without the arm's attention.
_OWN_ARGUMENTS = (
    "seed",
    "pretrained",
    "name",
    "project",
    "save_dir",
    "model",
    "data",
    "device",
    "freeze",
)
# Arguments of the machine: they change how fast a run is, not what it computes.
_MACHINE = ("workers", "cache")
_MOST = 3  # differences that a sentence lists


def epochs(record: Record) -> int:
    """Return how many epochs a run trained."""
    rows = record["epochs"] if isinstance(record["epochs"], list) else []
    last = [found for row in rows if (found := number(row, "epoch")) is not None]
    return int(max(last, default=0))


def unlike(evidence: Evidence, setting: Setting, arm: str) -> str:
    """Say how the training of an arm differed from the control's in any pair; nothing if it did
    not.

    Epochs that differ because the plan has runs stop early are said elsewhere: they are planned.
    """
    plan = evidence.plan
    stops = bool(plan.train.get("patience"))
    found: dict[str, None] = {}
    for seed in plan.seeds:
        pair = [evidence.find(setting, name, seed) for name in (arm, plan.control)]
        done = [record for record in pair if record is not None and record["status"] == "done"]
        if len(done) == 2:
            found |= dict.fromkeys(_differ(done[0], done[1], epochs_too=not stops))
    names = list(found)
    more = [f"{len(names) - _MOST} more"] if len(names) > _MOST else []
    return listed([*names[:_MOST], *more]) if names else ""


def _differ(ours: Record, theirs: Record, *, epochs_too: bool) -> Iterator[str]:
    if epochs_too and epochs(ours) != epochs(theirs):
        yield f"epochs {epochs(ours)} and {epochs(theirs)}"
    if _text(ours["data_fingerprint"]) != _text(theirs["data_fingerprint"]):
        yield "the data"
    one, other = as_mapping(ours["arguments"]), as_mapping(theirs["arguments"])
    for key in sorted({*one, *other} - {*_OWN_ARGUMENTS, *_MACHINE}):
        if _text(one.get(key)) != _text(other.get(key)):
            yield f"{key} {_text(one.get(key))} and {_text(other.get(key))}"


def doubtful(evidence: Evidence) -> list[str]:
    """Return a line for each condition that was not the same for all finished runs."""
    done = [record for record in evidence.records.values() if record["status"] == "done"]
    return [
        *_resumed(evidence),
        *_mixed(done),
        *_dirty(done),
        *_changed_data(evidence, done),
        *_arguments(done),
        *_trained(evidence, done),
        *_built(evidence, done),
    ]


def _resumed(evidence: Evidence) -> Iterator[str]:
    found = [record["id"] for record in evidence.records.values() if record["resumed"]]
    if found:
        yield (
            f"{count(len(found), 'run')} went on after an interruption, with other random numbers"
            f" than a run in one piece: {', '.join(found)}"
        )


def _mixed(done: list[Record]) -> Iterator[str]:
    for title, spread in conditions(done).items():
        if len(spread) > 1:
            yield f"not the same for all runs: {title}: {_counted(spread)}"


def _counted(spread: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{value} ({count(len(ids), 'run')})" for value, ids in spread.items())


def _dirty(done: list[Record]) -> Iterator[str]:
    dirty = [record["id"] for record in done if as_mapping(record["code"]).get("dirty")]
    if dirty:
        yield f"{count(len(dirty), 'run')} used code with uncommitted changes"


def _changed_data(evidence: Evidence, done: list[Record]) -> Iterator[str]:
    for data in evidence.plan.data:
        prints = {_text(record["data_fingerprint"]) for record in done if record["data"] == data}
        if len(prints) > 1:
            yield f"the data set {data} changed between runs: {len(prints)} fingerprints"


def _arguments(done: list[Record]) -> Iterator[str]:
    given = [as_mapping(record["arguments"]) for record in done if record["arguments"]]
    keys = {key for arguments in given for key in arguments}
    for key in sorted(keys - {*_OWN_ARGUMENTS}):
        values = {_text(arguments.get(key)) for arguments in given}
        if len(values) > 1:
            yield f"not the same for all runs: training argument {key}: {', '.join(sorted(values))}"


def _trained(evidence: Evidence, done: list[Record]) -> Iterator[str]:
    """Yield a line where runs trained for different numbers of epochs, or not as planned."""
    spread: dict[str, list[str]] = {}
    for record in sorted(done, key=epochs):
        spread.setdefault(str(epochs(record)), []).append(record["id"])
    planned = evidence.plan.train.get("epochs")
    if len(spread) > 1:
        yield f"not the same for all runs: epochs trained: {_counted(spread)}"
    elif spread and isinstance(planned, int) and next(iter(spread)) != str(planned):
        yield f"every run trained {next(iter(spread))} epochs, and the plan says {planned}"


def _built(evidence: Evidence, done: list[Record]) -> Iterator[str]:
    """Yield a line for an arm whose runs on one model and data set did not hold the same layers."""
    seen: dict[tuple[Setting, str], set[tuple[Any, Any]]] = {}
    for record in done:
        attention = as_mapping(record["attention"])
        layers = (record["parameters"], attention.get("count"))
        key = (Setting(record["model"], record["data"]), record["arm"])
        seen.setdefault(key, set()).add(layers)
    for (setting, arm), layers_seen in seen.items():
        if len(layers_seen) > 1:
            yield f"{setting.title}: runs of {arm} differ in parameters or in attention modules"


def conditions(records: list[Record]) -> dict[str, dict[str, list[str]]]:
    """Return condition to value to ids of runs; a record that does not say one counts as none."""
    stated = {record["id"]: _stated(record) for record in records}
    titles = dict.fromkeys(title for values in stated.values() for title in values)
    found: dict[str, dict[str, list[str]]] = {title: {} for title in titles}
    for name, values in stated.items():
        for title in titles:
            value = values.get(title)
            text = "none" if value is None else str(value)
            found[title].setdefault(text, []).append(name)
    return found


def _stated(record: Record) -> dict[str, Any]:
    code = as_mapping(record["code"])
    versions = sorted(as_mapping(record["versions"]).items())
    hardware = sorted(as_mapping(record["hardware"]).items())
    values = {f"version of {name}": version for name, version in versions}
    values |= {f"hardware, {name}": value for name, value in hardware}
    return {**values, "commit": code.get("commit")}


def as_mapping(content: Any) -> Mapping[str, Any]:
    """Return a record's value where it is a mapping, else an empty one."""
    return content if isinstance(content, Mapping) else {}


def _text(content: Any) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=False)
