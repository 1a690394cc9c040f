"""The end of a report: what failed or is missing, on what it ran, the plan, the hashes, and how to
make it again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scsa_yolo.study.planning.plan import plan_hash
from scsa_yolo.study.reporting.document import (
    Block,
    Code,
    Details,
    Heading,
    Items,
    Line,
    Mark,
    Table,
    Text,
)
from scsa_yolo.study.reporting.evidence import Evidence, Record
from scsa_yolo.study.reporting.findings import Finding
from scsa_yolo.study.reporting.wording import count

__all__ = ["gaps", "origin"]

# Of a run's arguments, what an arm or a run has for itself.
_OWN_ARGUMENTS = ("seed", "pretrained", "name", "project", "save_dir", "model", "data", "device")
_SHOWN = 20  # lines of a list of runs without a record


def gaps(evidence: Evidence, findings: list[Finding]) -> list[Block]:
    """Return what failed, what is missing, what was left out of the pairs, and what looks wrong."""
    blocks: list[Block] = [Heading(2, "Failures and gaps")]
    failed = [record for record in evidence.records.values() if record["status"] == "failed"]
    if failed:
        rows = [
            [record["id"], str(record["error"] or "no message"), str(record["attempts"])]
            for record in failed
        ]
        blocks += [
            Heading(3, "Failed runs"),
            Table(["run", "error", "attempts"], rows, words=(0, 1)),
        ]
    waiting = [run.id for run in evidence.runs if run.id not in evidence.records]
    if waiting:
        more = [f"and {len(waiting) - _SHOWN} more"] if len(waiting) > _SHOWN else []
        blocks += [Heading(3, "Runs without a usable record"), Items([*waiting[:_SHOWN], *more])]
    left_out = list(_left_out(evidence, findings))
    if left_out:
        blocks += [Heading(3, "Left out of the pairs"), Items(left_out)]
    doubts: list[Line] = [*evidence.problems, *_resumed(evidence), *_mixed(evidence)]
    if doubts:
        blocks += [Heading(3, "To be looked at"), Items(doubts)]
    if len(blocks) == 1:
        blocks.append(
            Text(
                "None: every planned run finished, every record is sound, conditions were the same"
                " for all."
            )
        )
    return blocks


def _left_out(evidence: Evidence, findings: list[Finding]) -> Iterator[str]:
    for finding in findings:
        for arm in finding.comparisons:
            for reason in evidence.left_out(finding.setting, arm, evidence.plan.primary):
                yield f"{finding.setting.title}, {arm}, {reason}"


def _resumed(evidence: Evidence) -> Iterator[str]:
    found = [record["id"] for record in evidence.records.values() if record["resumed"]]
    if found:
        yield (
            f"{count(len(found), 'run')} went on after an interruption, with other random numbers"
            f" than a run in one piece: {', '.join(found)}"
        )


def _mixed(evidence: Evidence) -> Iterator[str]:
    """Yield a line for each condition that was not the same for all finished runs."""
    done = [record for record in evidence.records.values() if record["status"] == "done"]
    for title, spread in _conditions(done).items():
        if len(spread) > 1:
            counted = "; ".join(
                f"{value} ({count(len(ids), 'run')})" for value, ids in spread.items()
            )
            yield f"not the same for all runs: {title}: {counted}"
    dirty = [
        record["id"]
        for record in done
        if isinstance(record["code"], Mapping) and record["code"].get("dirty")
    ]
    if dirty:
        yield f"{count(len(dirty), 'run')} used code with uncommitted changes"
    for data in evidence.plan.data:
        prints = {_text(record["data_fingerprint"]) for record in done if record["data"] == data}
        if len(prints) > 1:
            yield f"the data set {data} changed between runs: {len(prints)} fingerprints"
    yield from _arguments(done)


def _arguments(done: list[Record]) -> Iterator[str]:
    seen: dict[str, set[str]] = defaultdict(set)
    with_arguments = [
        record["arguments"] for record in done if isinstance(record["arguments"], Mapping)
    ]
    for key in sorted(
        {key for arguments in with_arguments for key in arguments} - {*_OWN_ARGUMENTS}
    ):
        seen[key] = {_text(arguments.get(key)) for arguments in with_arguments}
    for key, values in seen.items():
        if len(values) > 1:
            yield f"not the same for all runs: training argument {key}: {', '.join(sorted(values))}"


def _conditions(records: list[Record]) -> dict[str, dict[str, list[str]]]:
    """Return condition to value to ids of runs."""
    found: dict[str, dict[str, list[str]]] = {}
    for record in records:
        code = record["code"]
        values = {
            f"version of {name}": version
            for name, version in sorted(_mapping(record["versions"]).items())
        }
        values |= {
            f"hardware, {name}": value
            for name, value in sorted(_mapping(record["hardware"]).items())
        }
        values["commit"] = code.get("commit") if isinstance(code, Mapping) else None
        for title, value in values.items():
            text = "none" if value is None else str(value)
            found.setdefault(title, {}).setdefault(text, []).append(record["id"])
    return found


def origin(evidence: Evidence, folder_name: str) -> list[Block]:
    """Return on what the study ran, its plan, the hashes, and how to make it again."""
    records = list(evidence.records.values())
    return [
        Heading(2, "Where the numbers come from"),
        *_ran_on(records),
        *_data(evidence, records),
        Heading(3, "Plan"),
        Text(("Hash ", Mark(plan_hash(evidence.plan), "code"), "; every record carries it.")),
        Details("plan.yaml", [Code(evidence.plan_text, "yaml")]),
        Details(f"Hashes of {count(len(records), 'record')}", [_hashes(records)]),
        Heading(3, "To make it again"),
        Text("The tables and drawings, from the plan and the records, with the same bytes:"),
        Code(f"scsa-yolo study report {_quoted(folder_name)}", "console"),
        Text("The runs:"),
        Code(
            f"scsa-yolo study run {_quoted(folder_name + '/plan.yaml')} --folder NEW_FOLDER",
            "console",
        ),
    ]


def _ran_on(records: list[Record]) -> list[Block]:
    rows = [[title, " / ".join(spread)] for title, spread in _conditions(records).items()]
    return (
        [Table(["what", "value"], rows, words=(0, 1))]
        if rows
        else [Text("There is no record yet.")]
    )


def _data(evidence: Evidence, records: list[Record]) -> list[Block]:
    rows: list[list[Line]] = []
    for data in evidence.plan.data:
        splits: dict[tuple[str, str, str, str], None] = {}  # each once, in the order of the runs
        for record in (record for record in records if record["data"] == data):
            for split, found in _mapping(record["data_fingerprint"]).items():
                content = _mapping(found)
                counts = [str(content.get(key, "-")) for key in ("images", "boxes", "hash")]
                splits[split, counts[0], counts[1], counts[2]] = None
        for split, images, boxes, digest in splits:
            rows.append([Path(data).name, split, images, boxes, Mark(digest[:23], "code")])
    head = ["data", "split", "images", "boxes", "fingerprint"]
    return [Heading(3, "Data"), Table(head, rows, (0, 1, 4))] if rows else []


def _hashes(records: list[Record]) -> Table:
    rows: list[list[Line]] = [
        [record["id"], record["status"], Mark(record["hash"], "code")] for record in records
    ]
    return Table(["run", "status", "hash"], rows, words=(0, 1, 2))


def _mapping(content: Any) -> Mapping[str, Any]:
    return content if isinstance(content, Mapping) else {}


def _text(content: Any) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=False)


def _quoted(text: str) -> str:
    from shlex import quote

    return quote(text)
