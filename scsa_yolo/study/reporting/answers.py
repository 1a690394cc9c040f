"""The top of a report: the question, the answer to it in plain words, and what it stands on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from scsa_yolo.study.planning.arms import describe
from scsa_yolo.study.reporting.document import Block, Heading, Items, Line, Mark, Table, Text
from scsa_yolo.study.reporting.evidence import Evidence
from scsa_yolo.study.reporting.findings import Finding
from scsa_yolo.study.reporting.verdict import (
    HARMS,
    IMPROVES,
    LEAST_EQUAL,
    NO_DIFFERENCE,
    OPEN,
    UNDECIDED,
    Verdict,
    is_reference,
)
from scsa_yolo.study.reporting.wording import (
    count,
    is_skewed,
    listed,
    p_value,
    points,
    signed,
    span,
)

__all__ = ["answers", "headline", "rules", "state"]


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
        Text((Mark("State."), f" {state(evidence)}")),
    ]
    for finding in findings:
        if len(findings) > 1:
            blocks.append(Heading(3, finding.setting.title))
        blocks += _answer(evidence, finding)
    return [*blocks, Heading(3, "Arms"), _arms(evidence, findings)]


def state(evidence: Evidence) -> str:
    """Return how many of the planned runs are there."""
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
        return [Text((Mark("No evidence."), f" {headline(evidence, finding)}"))]
    first = [Text((Mark("Answer."), f" {headline(evidence, finding)}"))]
    return [*first, Items([_sentence(evidence, finding, arm) for arm in finding.comparisons])]


def headline(evidence: Evidence, finding: Finding) -> str:
    """Return the answer for one model and data set in a sentence or two."""
    if not finding.values[evidence.plan.control]:
        name = evidence.plan.control
        return f"No finished run of {name} gave {evidence.plan.primary}: nothing is claimed."
    if not finding.comparisons:
        return "The plan has no arm besides the control, so there is nothing to compare."
    said = {
        arm: verdict for arm, verdict in finding.verdicts.items() if arm not in finding.references
    }
    if not said:
        return "All arms are references, each tested by itself."
    if any(verdict.word == OPEN for verdict in said.values()):
        return _open_headline(finding, said)
    parts = []
    for text, arms in _worded(evidence, finding, said):
        parts += [text.format(listed(arms))] if arms else []
    pairs = sorted({finding.comparisons[arm].n for arm in said})
    seeds = (
        count(pairs[0], "paired seed")
        if len(pairs) == 1
        else f"{pairs[0]} to {pairs[-1]} paired seeds"
    )
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]} ({seeds})." + _lacking(evidence, finding, said)


def _worded(
    evidence: Evidence, finding: Finding, said: Mapping[str, Verdict]
) -> Iterator[tuple[str, list[str]]]:
    """Yield words for a headline with the arms that they are true of."""
    plan = evidence.plan
    margin = plan.verdict["margin"]
    small = f" by less than the margin of {points(margin)} points"
    better, worse = f"better {plan.primary} than {plan.control}", f"worse than {plan.control}"
    for word, text in ((IMPROVES, better), (HARMS, worse)):
        arms = [arm for arm, verdict in said.items() if verdict.word == word]
        large = [arm for arm in arms if abs(finding.comparisons[arm].mean or 0) >= margin]
        yield f"{text}: {{}}", large
        yield f"{text}, but{small}: {{}}", [arm for arm in arms if arm not in large]
    for word, text in ((NO_DIFFERENCE, "no measurable difference"), (UNDECIDED, "not decided")):
        yield f"{text}: {{}}", [arm for arm, verdict in said.items() if verdict.word == word]


def _open_headline(finding: Finding, said: Mapping[str, Verdict]) -> str:
    reason = next((verdict.refusal for verdict in said.values() if "usable" in verdict.refusal), "")
    pairs = max(finding.comparisons[arm].n for arm in said)
    because = f": {reason}" if reason else ""
    return (
        f"No verdict yet for {listed(list(said))}{because} ({count(pairs, 'paired seed')} so far)."
        " Intervals below are of an unfinished study, and p is not shown: whoever stops when it is"
        " small is often wrong."
    )


def _lacking(evidence: Evidence, finding: Finding, said: Mapping[str, Verdict]) -> str:
    """Say which arms have no verdict because of missing pairs."""
    missing = {arm: lack for arm, lack in finding.missing.items() if arm in said}
    if not missing:
        return ""
    planned = len(evidence.plan.seeds)
    each = [f"{arm} {lack} of {planned}" for arm, lack in missing.items()]
    return (
        f" Planned pairs that are missing: {listed(each)}; an arm with a missing pair is not"
        " decided. Type: scsa-yolo study run PLAN --retry-failed"
    )


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
    kinds["studentized"] = comparison.bootstrap_t.interval
    found = [f"{kind} {span(interval)}" for kind, interval in kinds.items() if interval is not None]
    if found:
        numbers += f" ({100 * plan.verdict['confidence']:g} % interval: {', '.join(found)})"
    numbers += f", better in {comparison.wins} of {count(comparison.n, 'seed')}"
    numbers += f" and equal in {comparison.ties}" if comparison.ties else ""
    return (*start, f"{numbers}{_tested(verdict)}.", *_remarks(evidence, finding, arm))


def _confidence(evidence: Evidence) -> str:
    kind = {"bca": "BCa", "t": "t"}[evidence.plan.verdict["interval"]]
    return f"{100 * evidence.plan.verdict['confidence']:g} % {kind} interval"


def _tested(verdict: Verdict) -> str:
    if verdict.p is None:
        return ""
    after = f" after Holm over {verdict.family} arms" if verdict.family > 1 else ""
    return f", p = {p_value(verdict.p)}{after}"


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
    if verdict.word in (IMPROVES, HARMS) and not finding.noise:
        found.append(" How far two equal runs differ was not measured.")
    if verdict.word != OPEN and is_skewed(comparison):
        found.append(" The differences are lopsided, see How far the test holds.")
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
    fixed = evidence.plan.verdict
    band = f"{signed(-fixed['margin'])} and {signed(fixed['margin'])} points"
    both = ", and so does the t interval" if fixed["interval"] == "bca" else ""
    interval = _confidence(evidence)
    first = f": p after correction is at most {fixed['alpha']:g} and the {interval} is above 0."
    lines: list[Line] = [
        (Mark(IMPROVES, IMPROVES), first),
        (Mark(HARMS, HARMS), ": the same, below 0."),
        (
            Mark(NO_DIFFERENCE, NO_DIFFERENCE),
            f": the whole {interval} lies between {band}{both}, and the studentized one, of at"
            f" least {LEAST_EQUAL} pairs; or all differences are 0.",
        ),
        (
            Mark(UNDECIDED, UNDECIDED),
            ": none of these, or every run scored 0, or a planned pair is missing, or arm and"
            " control were not trained alike; more seeds may tell.",
        ),
    ]
    where = Text(_notes(evidence), note=True)
    return [Heading(3, "What the words mean"), Items(lines), where]


def _notes(evidence: Evidence) -> str:
    return (
        f"Fixed in the plan before the first run, on {evidence.plan.primary}; no verdict before"
        " the last planned run has its record. A pair is an arm and the control trained from the"
        " same seed. A verdict's p is the larger one of two: of the two-sided sign-flip test of the"
        " paired differences, exact up to 16 pairs where the differences lie evenly around their"
        " mean, and of the studentized bootstrap, which follows their skew; n pairs cannot give"
        " less than 2/2^n. Holm's correction covers the arms under test over all models and data"
        " sets of the plan; a reference arm answers a question of its own, and is corrected over"
        " them alone. Intervals are not corrected. BCa never reaches beyond the least and the"
        " largest difference, so with few seeds it is too narrow: read the t interval beside it."
    )
