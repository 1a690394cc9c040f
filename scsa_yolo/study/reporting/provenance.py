"""The end of a report: what failed or is missing, on what it ran, the plan, the hashes, and how to
make it again.
"""

from __future__ import annotations

from collections.abc import Iterator

from scsa_yolo.study.planning.plan import plan_hash
from scsa_yolo.study.reporting.conditions import as_mapping, conditions, doubtful
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
from scsa_yolo.study.reporting.evidence import Evidence, Record, data_title
from scsa_yolo.study.reporting.findings import Finding
from scsa_yolo.study.reporting.wording import count

__all__ = ["gaps", "origin"]

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
    doubts: list[Line] = [*evidence.problems, *doubtful(evidence)]
    if doubts:
        blocks += [Heading(3, "To be looked at"), Items(doubts)]
    if len(blocks) == 1:
        blocks.append(
            Text(
                "None: every planned run finished, every record is sound, and all trained on the"
                " same data for the same number of epochs, with the same arguments, versions and"
                " hardware."
            )
        )
    return blocks


def _left_out(evidence: Evidence, findings: list[Finding]) -> Iterator[str]:
    for finding in findings:
        for arm in finding.comparisons:
            for reason in evidence.left_out(finding.setting, arm, evidence.plan.primary):
                yield f"{finding.setting.title}, {arm}, {reason}"


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
    rows = [[title, " / ".join(spread)] for title, spread in conditions(records).items()]
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
            for split, found in as_mapping(record["data_fingerprint"]).items():
                content = as_mapping(found)
                counts = [str(content.get(key, "-")) for key in ("images", "boxes", "hash")]
                splits[split, counts[0], counts[1], counts[2]] = None
        for split, images, boxes, digest in splits:
            rows.append([data_title(data), split, images, boxes, Mark(digest[:23], "code")])
    head = ["data", "split", "images", "boxes", "fingerprint"]
    return [Heading(3, "Data"), Table(head, rows, (0, 1, 4))] if rows else []


def _hashes(records: list[Record]) -> Table:
    rows: list[list[Line]] = [
        [record["id"], record["status"], Mark(record["hash"], "code")] for record in records
    ]
    return Table(["run", "status", "hash"], rows, words=(0, 1, 2))


def _quoted(text: str) -> str:
    from shlex import quote

    return quote(text)
