"""The top of a report: the question, the answer to it in plain words, and what it stands on."""

from __future__ import annotations

from collections import Counter

from scsa_yolo.study.planning.arms import describe
from scsa_yolo.study.reporting.document import Block, Heading, Items, Line, Mark, Table, Text
from scsa_yolo.study.reporting.evidence import Evidence
from scsa_yolo.study.reporting.findings import Finding
from scsa_yolo.study.reporting.verdict import (
    HARMS,
    IMPROVES,
    NO_DIFFERENCE,
    UNDECIDED,
    Verdict,
    is_reference,
)
from scsa_yolo.study.reporting.wording import count, listed, p_value, signed, span

__all__ = ["answers", "rules"]


def answers(evidence: Evidence, findings: list[Finding]) -> list[Block]:
    """Return question, verdicts and the state of the study."""
    plan = evidence.plan
    where = listed([finding.setting.title for finding in findings])
    under_test = [name for name in evidence.arms[1:] if not is_reference(plan.arms[name])]
    others = under_test or evidence.arms[1:]
    ask = (
        f"{'do' if len(others) > 1 else 'does'} {listed(others)} change {plan.primary} for {where}?"
    )
    blocks: list[Block] = [
        Heading(1, f"Study {plan.name}"),
        Text((Mark("Question."), f" Against {plan.control}, {ask}")),
        Text((Mark("State."), f" {_state(evidence)}")),
    ]
    for finding in findings:
        if len(findings) > 1:
            blocks.append(Heading(3, finding.setting.title))
        blocks += _answer(evidence, finding)
    return [*blocks, Heading(3, "Arms"), _arms(evidence, findings)]


def _state(evidence: Evidence) -> str:
    states = Counter(record["status"] for record in evidence.records.values())
    waiting = len(evidence.runs) - len(evidence.records)
    text = f"{states['done']} of {count(len(evidence.runs), 'planned run')} finished"
    text += f", {states['failed']} failed" if states["failed"] else ""
    text += f", {waiting} without a usable record" if waiting else ""
    return text + (
        "; what is missing or wrong is listed below."
        if text.count(",") or evidence.problems
        else "."
    )


def _answer(evidence: Evidence, finding: Finding) -> list[Block]:
    control = evidence.plan.control
    if not finding.comparisons:
        return [Text("The plan has no arm besides the control, so there is nothing to compare.")]
    if not finding.values[control]:
        reason = f"No finished run of {control} gave {evidence.plan.primary}: nothing is claimed."
        return [Text((Mark("No evidence."), f" {reason}"))]
    first = [Text((Mark("Answer."), f" {_headline(evidence, finding)}"))]
    return [*first, Items([_sentence(evidence, finding, arm) for arm in finding.comparisons])]


def _headline(evidence: Evidence, finding: Finding) -> str:
    said = {
        arm: verdict for arm, verdict in finding.verdicts.items() if arm not in finding.references
    }
    if not said:
        return "All arms are references, each tested by itself."
    parts = []
    for word, text in (
        (IMPROVES, f"better {evidence.plan.primary} than {evidence.plan.control}: {{}}"),
        (HARMS, f"worse than {evidence.plan.control}: {{}}"),
        (NO_DIFFERENCE, "no measurable difference: {}"),
        (UNDECIDED, "not decided: {}"),
    ):
        arms = [arm for arm, verdict in said.items() if verdict.word == word]
        if arms:
            parts.append(text.format(listed(arms)))
    pairs = sorted({finding.comparisons[arm].n for arm in said})
    seeds = (
        count(pairs[0], "paired seed")
        if len(pairs) == 1
        else f"{pairs[0]} to {pairs[-1]} paired seeds"
    )
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]} ({seeds})."


def _sentence(evidence: Evidence, finding: Finding, arm: str) -> Line:
    comparison, verdict, plan = finding.comparisons[arm], finding.verdicts[arm], evidence.plan
    role = " (reference)" if arm in finding.references else ""
    start = (f"{arm}{role}: ", Mark(verdict.word, verdict.word))
    if not comparison.n:
        return (*start, f": {verdict.refusal}.")
    numbers = f", {signed(comparison.mean)} points of {plan.primary} against {plan.control}"
    # BCa alone would look too certain with few seeds, so t stands beside it.
    kinds = (
        {"BCa": comparison.bca, "t": comparison.t}
        if plan.verdict["interval"] == "bca"
        else {"t": comparison.t}
    )
    found = [f"{kind} {span(interval)}" for kind, interval in kinds.items() if interval is not None]
    if found:
        numbers += f" ({100 * plan.verdict['confidence']:g} % interval: {', '.join(found)})"
    numbers += f", better in {comparison.wins} of {count(comparison.n, 'seed')}"
    numbers += f" and equal in {comparison.ties}" if comparison.ties else ""
    return (*start, f"{numbers}, {_tested(verdict)}.", *_remarks(evidence, finding, arm))


def _confidence(evidence: Evidence) -> str:
    kind = {"bca": "BCa", "t": "t"}[evidence.plan.verdict["interval"]]
    return f"{100 * evidence.plan.verdict['confidence']:g} % {kind} interval"


def _tested(verdict: Verdict) -> str:
    after = f" after Holm over {verdict.family} arms" if verdict.family > 1 else ""
    return f"p = {p_value(verdict.p)}{after}"


def _remarks(evidence: Evidence, finding: Finding, arm: str) -> list[str]:
    comparison, verdict = finding.comparisons[arm], finding.verdicts[arm]
    found, effect = [], abs(comparison.mean or 0)
    if verdict.refusal and verdict.word == UNDECIDED:
        found.append(f" {verdict.refusal[0].upper()}{verdict.refusal[1:]}.")
    if verdict.word in (IMPROVES, HARMS) and effect < evidence.plan.verdict["margin"]:
        found.append(" The difference is smaller than the margin that the plan calls relevant.")
    largest = max((abs(value) for value in finding.noise), default=0.0)
    if verdict.word in (IMPROVES, HARMS) and effect < largest:
        found.append(" The difference is smaller than that of two equal runs.")
    return found


def _arms(evidence: Evidence, findings: list[Finding]) -> Table:
    rows: list[list[Line]] = []
    seeds = len(evidence.plan.seeds)
    for name in evidence.arms:
        reference = is_reference(evidence.plan.arms[name])
        role = (
            "control"
            if name == evidence.plan.control
            else "reference"
            if reference
            else "under test"
        )
        counts = [f"{len(evidence.done(finding.setting, name))} of {seeds}" for finding in findings]
        rows.append([name, role, describe(evidence.plan.arms[name]), *counts])
    titles = (
        [f"runs, {finding.setting.title}" for finding in findings]
        if len(findings) > 1
        else ["finished runs"]
    )
    return Table(["arm", "role", "what it is", *titles], rows, words=(0, 1, 2))


def rules(evidence: Evidence) -> list[Block]:
    """Return the rules by which the words are chosen."""
    fixed, plan = evidence.plan.verdict, evidence.plan
    band = f"{signed(-fixed['margin'])} and {signed(fixed['margin'])} points"
    both = ", and so does the t interval" if fixed["interval"] == "bca" else ""
    interval = _confidence(evidence)
    first = f": p after correction is at most {fixed['alpha']:g} and the {interval} is above 0."
    lines: list[Line] = [
        (Mark(IMPROVES, IMPROVES), first),
        (Mark(HARMS, HARMS), ": the same, below 0."),
        (Mark(NO_DIFFERENCE, NO_DIFFERENCE), f": the whole {interval} lies between {band}{both}."),
        (
            Mark(UNDECIDED, UNDECIDED),
            ": none of these, or every run scored 0; more seeds may tell.",
        ),
    ]
    notes = (
        f"Fixed in the plan before the first run, on {plan.primary}. A pair is an arm and the"
        " control trained from the same seed. p is that of the two-sided sign-flip test of the"
        " paired differences, exact up to 16 pairs; n pairs cannot give less than 2/2^n. Holm's"
        " correction covers the arms under test, for each model and data set by itself; a"
        " reference arm answers a question of its own and keeps its plain p. Intervals are not"
        " corrected. BCa never reaches beyond the least and the largest difference, so with few"
        " seeds it is too narrow: read the t interval beside it."
    )
    return [Heading(3, "What the words mean"), Items(lines), Text(notes, note=True)]
