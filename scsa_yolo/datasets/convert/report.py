"""What a conversion says at its end: counts beside the official ones, and what it dropped or
changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from scsa_yolo.datasets.convert.writer import FINDINGS, Findings
from scsa_yolo.datasets.native.options import Official
from scsa_yolo.datasets.native.records import KINDS, Finding, Plan

_VERBS = {
    "error": "missing or not readable",
    "dropped": "dropped",
    "changed": "changed",
    "moved": "to the side file",
    "note": "worth knowing",
}


class SplitCount:
    """Counts of one split."""

    def __init__(self, classes: int):
        self.images = self.background = self.ignored = 0
        self.classes = [0] * classes

    def add(self, kinds: list[int], ignored: int) -> None:
        """Count an image."""
        self.images += 1
        self.background += not kinds
        self.ignored += ignored
        for kind in kinds:
            self.classes[kind] += 1


@dataclass(frozen=True)
class Report:
    """A finished conversion. All but ``first`` is kept in DEST/conversion.json.

    Attributes:
        name: Of the data set's reader.
        names: Class names.
        splits: Counts by split: images, boxes, background (images without a box), ignored (boxes),
            classes; beside them, where they are known, official_images, official_boxes and
            official_classes.
        findings: How many of each sort, by kind and code.
        absent: Images of official splits that SOURCE does not have.
        fallback: Why images were copied although links were asked for.
        first: The first findings of each sort.
    """

    name: str
    names: tuple[str, ...]
    splits: Mapping[str, Mapping[str, Any]]
    findings: Mapping[str, Mapping[str, int]]
    absent: Mapping[str, int] = field(default_factory=dict)
    fallback: str | None = None
    first: Mapping[tuple[str, str], list[Finding]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        name: str,
        official: Mapping[str, Official],
        plan: Plan,
        counts: Mapping[str, SplitCount],
        findings: Findings,
        fallback: str | None,
    ) -> Report:
        """Sum up a conversion."""
        splits = {}
        for split, count in counts.items():
            known = official.get(split, Official())
            row: dict[str, Any] = {"images": count.images, "boxes": sum(count.classes)}
            row |= {"background": count.background, "ignored": count.ignored}
            row["classes"] = dict(zip(plan.names, count.classes))
            if known.images is not None:
                row["official_images"] = known.images
            if known.boxes is not None:
                row["official_boxes"] = known.boxes
            if known.classes is not None:
                row["official_classes"] = dict(zip(plan.names, known.classes))
            splits[split] = row
        sorts: dict[str, dict[str, int]] = {}
        for kind, code in sorted(findings.counts, key=lambda key: (KINDS.index(key[0]), key[1])):
            sorts.setdefault(kind, {})[code] = findings.counts[kind, code]
        rest = {
            split: known.images
            for split, known in official.items()
            if split not in splits and known.images
        }
        absent = (
            rest if len(rest) < len(official) else {}
        )  # else it is another set in the same format
        return cls(name, plan.names, splits, sorts, absent, fallback, findings.first)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Report:
        """Read conversion.json."""
        return cls(
            content.get("dataset", ""),
            tuple(content.get("names", ())),
            content.get("splits", {}),
            content.get("findings", {}),
            content.get("absent_splits", {}),
            content.get("copied_because"),
        )

    def as_json(self) -> dict[str, Any]:
        """Return what conversion.json holds."""
        because: dict[str, Any] = {"copied_because": self.fallback} if self.fallback else {}
        body = {"dataset": self.name, "names": list(self.names), "splits": dict(self.splits)}
        because |= {"absent_splits": dict(self.absent)} if self.absent else {}
        return {**body, "findings": dict(self.findings), **because}

    @property
    def errors(self) -> int:
        """How often input could not be read as its format."""
        return sum(self.findings.get("error", {}).values())

    def text(self, dest: str) -> str:
        """The report for the screen."""
        lines = [*self._table(), "", *self._classes()]
        if self.absent:
            lines += [
                "",
                "not in SOURCE: "
                + ", ".join(f"{split} ({_n(n)} images)" for split, n in self.absent.items()),
            ]
        if self.fallback:
            lines += ["", f"images are copied: links are not possible here ({self.fallback})"]
        for kind in (kind for kind in KINDS if kind in self.findings):
            lines += ["", f"{_VERBS[kind]}: {sum(self.findings[kind].values()):,}"]
            for code, count in self.findings[kind].items():
                shown = [] if kind == "moved" else self.first.get((kind, code), [])
                lines.append(f"  {code}: {count:,}")
                lines += [f"    {finding}" for finding in shown]
                if shown and count > len(shown):
                    lines.append(f"    ... and {count - len(shown):,} more")
        if self.findings:
            lines += ["", f"all of these, one a line: {dest}/{FINDINGS}"]
        return "\n".join(lines)

    def _table(self) -> list[str]:
        rows: list[tuple[str, ...]] = [
            ("split", "images", "official", "boxes", "official", "background", "ignored")
        ]
        for split, count in self.splits.items():
            keys = ("images", "official_images", "boxes", "official_boxes", "background", "ignored")
            rows.append((split, *(_n(count.get(key)) for key in keys)))
        return _columns(rows)

    def _classes(self) -> list[str]:
        rows: list[tuple[str, ...]] = [("class", *self.splits)]
        for name in self.names:
            cells = []
            for count in self.splits.values():
                official = count.get("official_classes", {}).get(name)
                cells.append(
                    _n(count["classes"].get(name, 0))
                    + (f" of {_n(official)}" if official is not None else "")
                )
            rows.append((name, *cells))
        return _columns(rows)


def _n(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))])
        for row in rows
    ]


def data_yaml(name: str, plan: Plan, splits: Mapping[str, Mapping[str, Any]]) -> str:
    """The converted set's data.yaml. Without ``path``, Ultralytics takes the folder it lies in: it
    can be moved.
    """
    head = [f"# converted by `scsa-yolo data convert {name}`; see conversion.json", ""]
    filled = {role: [s for s in names if splits[s]["images"]] for role, names in plan.roles.items()}
    every = [split for split in plan.splits if splits[split]["images"]]
    train = (
        filled.get("train")
        or [split for split in every if split not in filled.get("test", ())]
        or every
    )
    val = filled.get("val") or filled.get("test") or train
    roles = {"train": train, "val": val, **({"test": filled["test"]} if filled.get("test") else {})}
    for role, names in roles.items():
        counted = f"{sum(splits[split]['images'] for split in names):,} images"
        note = "" if role != "val" or filled.get("val") else "; the source has no val split"
        if role == "train" and not filled.get("train"):
            note = "; the source has no train split"
        head.append(f"{role}: # {counted}{note}")
        head += [f"  - images/{split}" for split in names]
    return (
        "\n".join(head)
        + "\n\n"
        + yaml.safe_dump(
            {"names": dict(enumerate(plan.names))}, sort_keys=False, allow_unicode=True
        )
    )
