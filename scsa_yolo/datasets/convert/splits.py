"""What a converted set is trained, validated and tested on, and its data YAML."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from scsa_yolo.datasets.native.records import Finding, Plan
from scsa_yolo.datasets.native.splits import ROLES


def yaml_names(dest: Path) -> tuple[str, ...]:
    """Return the names of a set's YAML: that of its folder, so that records and titles say it, and
    ``data.yaml``, by which scripts have known it.
    """
    return tuple(dict.fromkeys((f"{dest.name}.yaml", "data.yaml")))


def yaml_in(dest: Path) -> str:
    """Return the name of the YAML in a converted set, which may be an old one, or renamed."""
    return next(name for name in yaml_names(dest) if (dest / name).is_file() or name == "data.yaml")


def roles_of(plan: Plan, filled: Collection[str]) -> dict[str, list[str]]:
    """Return the splits with images for each role that the source has."""
    roles = {role: [s for s in plan.roles.get(role, ()) if s in filled] for role in ROLES}
    return {role: splits for role, splits in roles.items() if splits}


def fallbacks(plan: Plan, filled: Collection[str], owners: bool) -> Iterator[Finding]:
    """Say which role is played by another split, since the source has none for it.

    Where the owners of the set have a val split that was not given (``owners``), this is worth
    knowing; anything else is a guess.
    """
    roles = roles_of(plan, filled)
    if "val" not in roles:
        if "test" in roles:
            kind = "note" if owners else "guess"
            reason = (
                "no val split: val is test, so the best epoch is chosen on the pictures that it is"
                " measured on"
            )
            yield Finding(kind, "val-is-test", "", None, reason)
        else:
            yield Finding("guess", "val-is-train", "", None, _SAME)
    if "train" not in roles and ("val" in roles or "test" in roles):
        split = "val" if "val" in roles else "test"
        reason = f"no train split: train is {split}; evaluate with this set, train with another"
        yield Finding("guess", f"train-is-{split}", "", None, reason)


_SAME = (
    "no val split: val is train, so its numbers say nothing about other pictures; --val-share 0.2"
    " draws a fifth of train as val (voc and coco)"
)


def data_yaml(name: str, plan: Plan, splits: Mapping[str, Mapping[str, Any]]) -> str:
    """The converted set's YAML. Without ``path``, Ultralytics takes the folder it lies in: it can
    be moved.
    """
    head = [f"# converted by `scsa-yolo data convert {name}`; see conversion.json", ""]
    every = [split for split in plan.splits if splits[split]["images"]]
    filled = roles_of(plan, every)
    rest = [split for split in every if split not in filled.get("test", ())]
    train = filled.get("train") or rest or every
    val = filled.get("val") or filled.get("test") or train
    roles = {"train": train, "val": val}
    if "test" in filled:
        roles["test"] = filled["test"]
    for role, names in roles.items():
        counted = f"{sum(splits[split]['images'] for split in names):,} images"
        note = "" if role in filled else f"; the source has no {role} split"
        head.append(f"{role}: # {counted}{note}")
        head += [f"  - images/{split}" for split in names]
    classes = {"names": dict(enumerate(plan.names))}
    text = yaml.safe_dump(classes, sort_keys=False, allow_unicode=True)
    return "\n".join(head) + f"\n\n{text}"
