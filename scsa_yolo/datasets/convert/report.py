"""What a conversion says at its end: counts beside the official ones, and what it dropped or
changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from scsa_yolo.datasets.convert.writer import FINDINGS, Findings
from scsa_yolo.datasets.native.balance import Balance, lost_shares
from scsa_yolo.datasets.native.options import Official
from scsa_yolo.datasets.native.records import KINDS, Finding, Plan

_VERBS = {
    "error": "missing or not readable",
    "guess": "GUESSED: the source does not say (--strict refuses)",
    "dropped": "dropped",
    "changed": "changed",
    "moved": "to the side file",
    "note": "worth knowing",
}
# Reasons that are no loss: the user's wish, known flaws of official files, what is not in SOURCE.
_HARMLESS = frozenset(
    {
        *("foreign-format", "image-left-out", "masks", "no-annotation", "no-area", "no-image"),
        *("not-listed", "other-class", "outside"),
    }
)
MAX_LOSS = 0.25


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
        balance: Pictures and annotation rows: found, written, put aside, left out by reason.
        first: The first findings of each sort.
    """

    name: str
    names: tuple[str, ...]
    splits: Mapping[str, Mapping[str, Any]]
    findings: Mapping[str, Mapping[str, int]]
    absent: Mapping[str, int] = field(default_factory=dict)
    fallback: str | None = None
    first: Mapping[tuple[str, str], list[Finding]] = field(default_factory=dict)
    balance: Mapping[str, Any] = field(default_factory=dict)

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
            balance=content.get("balance", {}),
        )

    def with_balance(self, balance: Balance) -> Report:
        """Return the report with what closes it."""
        return replace(self, balance=balance.as_json())

    def as_json(self) -> dict[str, Any]:
        """Return what conversion.json holds."""
        because: dict[str, Any] = {"copied_because": self.fallback} if self.fallback else {}
        body = {"dataset": self.name, "names": list(self.names), "splits": dict(self.splits)}
        because |= {"absent_splits": dict(self.absent)} if self.absent else {}
        balance = {"balance": dict(self.balance)}
        return {**body, "findings": dict(self.findings), **because, **balance}

    @property
    def errors(self) -> int:
        """How often input could not be read as its format."""
        return sum(self.findings.get("error", {}).values())

    @property
    def has_train(self) -> bool:
        """Whether the set has pictures to train on."""
        return not {"train-is-val", "train-is-test"} & self.findings.get("guess", {}).keys()

    def problems(self, max_loss: float = MAX_LOSS) -> Iterator[str]:
        """Say why the set should not be used as it is, though it was converted.

        Args:
            max_loss: The share of pictures, or of annotation rows, that may be lost to errors.
                Known flaws, what was not asked for and what SOURCE does not have are no loss.
        """
        if not any(count["boxes"] for count in self.splits.values()):
            yield "no box was kept: every picture is a background"
        if not self.balance:  # converted before there was one
            return
        left = Counter[str]()
        for split in self.balance["pictures"].values():
            left.update(split["left_out"])
        if self.findings.get("error", {}).get("bad-file", 0) > left["bad-file"]:
            yield "a list or a JSON could not be read, and all that it names is left out"
        for what, lost, of in lost_shares(self.balance, _HARMLESS):
            if lost > max_loss * of:
                share = f"more than {max_loss:.0%} (--max-loss {max_loss:g})"
                yield f"{lost:,} of {of:,} {what} were lost, {share}"

    def text(self, dest: str) -> str:
        """The report for the screen."""
        lines = [*self._table(), "", *self._classes(), *self._balance()]
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

    def _balance(self) -> list[str]:
        """The balance; classes whose rows were all written have no line."""
        if not self.balance:
            return []
        pictures: list[tuple[str, ...]] = [("pictures", "found", "converted", "left out", "why")]
        for split, count in self.balance["pictures"].items():
            left = count["left_out"]
            cells = (_n(count["found"]), _n(count["converted"]), _n(sum(left.values())))
            pictures.append((split, *cells, _why(left)))
        head = ("annotation rows", "read", "written", "side file", "dropped", "why")
        rows: list[tuple[str, ...]] = [head]
        for split, classes in self.balance["rows"].items():
            rows.append(_row_of(split, list(classes.values())))
            changed = {name: c for name, c in classes.items() if c["read"] != c["written"]}
            rows += [_row_of(f"  {name}", [count]) for name, count in sorted(changed.items())]
        return ["", *_columns(pictures, 1), "", *_columns(rows, 1)]

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


def _row_of(label: str, counts: list[Mapping[str, Any]]) -> tuple[str, ...]:
    dropped = Counter[str]()
    for count in counts:
        dropped.update(count["dropped"])
    keys = ("read", "written", "side_file")
    cells = (_n(sum(count[key] for count in counts)) for key in keys)
    return label, *cells, _n(sum(dropped.values())), _why(dropped)


def _why(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {_n(count)}" for reason, count in sorted(reasons.items()))


def _columns(rows: list[tuple[str, ...]], words: int = 0) -> list[str]:
    """Lay out a table: names to the left, numbers to the right, the last ``words`` columns left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        numbers = len(row) - words
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:numbers], widths[1:])]
        lines.append("  ".join([*cells, *row[numbers:]]).rstrip())
    return lines
