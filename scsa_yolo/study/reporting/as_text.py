"""The answer of a report in a few lines, for a terminal of 80 columns."""

from __future__ import annotations

import textwrap

from scsa_yolo.study.reporting.answers import headline, state
from scsa_yolo.study.reporting.evidence import Evidence
from scsa_yolo.study.reporting.findings import Finding
from scsa_yolo.study.reporting.verdict import OPEN
from scsa_yolo.study.reporting.wording import NONE, p_value, points, signed, span

__all__ = ["as_text"]

_WIDTH = 80


def as_text(evidence: Evidence, findings: list[Finding]) -> str:
    """Return state, headline and a small table for each model and data set."""
    lines = [f"{evidence.plan.name}: {state(evidence)}"]
    for finding in findings:
        lines += ["", f"{finding.setting.title}, {evidence.plan.primary} in points:"]
        lines += _table(evidence, finding)
        lines += textwrap.wrap(headline(evidence, finding), _WIDTH)
    return "\n".join(lines)


def _table(evidence: Evidence, finding: Finding) -> list[str]:
    share = f"{100 * evidence.plan.verdict['confidence']:g} % t"
    rows = [["arm", "mean", "difference", share, "p", "verdict"]]
    for arm in finding.values:
        row = [arm, points(finding.mean(arm))]
        found, verdict = finding.comparisons.get(arm), finding.verdicts.get(arm)
        if found is None or verdict is None:
            row += [NONE, NONE, NONE, "control"]
        else:
            p = NONE if verdict.word == OPEN else p_value(verdict.p)
            row += [signed(found.mean), span(found.t), p, verdict.word]
        rows.append(row)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths)).rstrip() for row in rows]
