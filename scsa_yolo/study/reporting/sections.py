"""The middle of a report: for one model and data set the tables and drawings that its verdicts
stand on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median

from scsa_yolo.paired.differences import mean, root_mean_square, sd
from scsa_yolo.study.reporting import plots
from scsa_yolo.study.reporting.conditions import as_mapping, epochs
from scsa_yolo.study.reporting.document import (
    Block,
    Details,
    Figure,
    Heading,
    Line,
    Mark,
    Table,
    Text,
)
from scsa_yolo.study.reporting.evidence import Evidence, Measure, Record, final, number
from scsa_yolo.study.reporting.findings import Finding
from scsa_yolo.study.reporting.verdict import OPEN
from scsa_yolo.study.reporting.wording import (
    NONE,
    count,
    is_skewed,
    listed,
    p_value,
    plain,
    points,
    signed,
    span,
)

__all__ = ["section"]

_CURVE = (  # Ultralytics' column of the score that it measures after every epoch
    "metrics/mAP50-95(B)"
)


def section(evidence: Evidence, finding: Finding) -> list[Block]:
    """Return everything about one model and data set."""
    blocks: list[Block] = [Heading(2, finding.setting.title)]
    if not any(finding.values.values()):
        return [
            *blocks,
            Text(f"No finished run gave {evidence.plan.primary}, so there is no table."),
        ]
    return [
        *blocks,
        *_primary(evidence, finding),
        *_by_seed(evidence, finding),
        *_skew(evidence, finding),
        *_noise(evidence, finding),
        *_curves(evidence, finding),
        *_others(evidence, finding),
        *_conditions(evidence, finding),
        *_costs(evidence, finding),
    ]


def _primary(evidence: Evidence, finding: Finding) -> list[Block]:
    plan = evidence.plan
    share = f"{100 * plan.verdict['confidence']:g} %"
    head = [
        "arm",
        "runs",
        f"{plan.primary}, mean",
        "sd",
        "pairs",
        "difference",
        "its sd",
        f"{share} t",
        f"{share} BCa",
    ]
    head += ["p, sign-flip", "p of the verdict", "better in", "verdict"]
    rows: list[list[Line]] = []
    for arm, values in finding.values.items():
        row: list[Line] = [
            arm,
            str(len(values)),
            points(finding.mean(arm)),
            points(sd(list(values.values()))),
        ]
        if arm in finding.comparisons:
            found, verdict = finding.comparisons[arm], finding.verdicts[arm]
            plain_p = NONE if verdict.word == OPEN else p_value(found.p)
            row += [
                str(found.n),
                signed(found.mean),
                points(found.sd),
                span(found.t),
                span(found.bca),
            ]
            row += [
                plain_p,
                p_value(verdict.p),
                f"{found.wins} of {found.n}",
                Mark(verdict.word, verdict.word),
            ]
        else:
            row += [*["-"] * 8, "control"]
        rows.append(row)
    blocks: list[Block] = [
        Heading(3, f"{plan.primary}, in points"),
        Table(head, rows, words=(0, 12)),
    ]
    if any(found.n for found in finding.comparisons.values()):
        kind, margin = plan.verdict["interval"], plan.verdict["margin"]
        drawn = plots.differences(finding.comparisons, kind, margin, plan.primary, plan.control)
        caption = (
            f"Dots: one seed each. Diamond and bar: mean and {share}"
            f" {'BCa' if kind == 'bca' else 't'} interval, cut off where it is far wider than the"
            f" dots. Band: the margin of {plain(100 * margin, 2)} points."
        )
        blocks.append(Figure(drawn, caption))
    return blocks


def _by_seed(evidence: Evidence, finding: Finding) -> list[Block]:
    plan, control = evidence.plan, finding.values[evidence.plan.control]
    rows: list[list[Line]] = []
    for seed in plan.seeds:
        row: list[Line] = [str(seed)]
        for arm, values in finding.values.items():
            if seed in values:
                paired = arm != plan.control and seed in control
                row.append(
                    points(values[seed])
                    + (f" ({signed(values[seed] - control[seed])})" if paired else "")
                )
            else:
                record = evidence.find(finding.setting, arm, seed)
                row.append(
                    "no record"
                    if record is None
                    else "failed"
                    if record["status"] != "done"
                    else "no value"
                )
        rows.append(row)
    return [
        Details(
            f"{plan.primary} by seed, with the difference", [Table(["seed", *finding.values], rows)]
        )
    ]


def _skew(evidence: Evidence, finding: Finding) -> list[Block]:
    """Return what the tests assume, and whether the differences look like it."""
    rows: list[list[Line]] = []
    for arm, found in finding.comparisons.items():
        skew, tail = found.skew, found.bootstrap_t
        open_ = finding.verdicts[arm].word == OPEN
        shown = [f"{skew.skewness:+.2f}", p_value(skew.p)] if skew else [NONE, NONE]
        p = NONE if open_ else p_value(tail.p)
        rows.append([arm, str(found.n), *shown, span(tail.interval), p])
    if not any(found.n > 1 for found in finding.comparisons.values()):
        return []
    share = f"{100 * evidence.plan.verdict['confidence']:g} %"
    head = ["arm", "pairs", "skewness", "p of it", f"{share} studentized", "p, studentized"]
    words = " ".join(_assumed(finding))
    return [Heading(3, "How far the test holds"), Table(head, rows), Text(words, note=True)]


def _assumed(finding: Finding) -> Iterator[str]:
    yield (
        "The sign-flip test is exact if arm and control could change places, or if the differences"
        " lie evenly around their mean. The studentized bootstrap follows their skew, and a verdict"
        " needs both."
    )
    skewed = [arm for arm, found in finding.comparisons.items() if is_skewed(found)]
    if skewed:
        yield (
            f"The differences of {listed(skewed)} are lopsided: look at the single seeds before"
            " you trust a mean."
        )
    pairs = max(found.n for found in finding.comparisons.values())
    unseen = 100 * (1 - 0.05 ** (1 / pairs))
    yield (
        f"{count(pairs, 'pair')} can miss what comes in fewer than {unseen:.0f} of 100 runs, such"
        " as a collapse of the training (with 95 % certainty)."
    )


def _noise(evidence: Evidence, finding: Finding) -> list[Block]:
    plan, control = evidence.plan, list(finding.values[evidence.plan.control].values())
    lines = []
    if finding.noise:
        largest, typical = max(map(abs, finding.noise)), root_mean_square(finding.noise)
        runs = count(len(finding.noise), "equal run")
        if largest == 0:
            lines.append(
                f"{runs} of {plan.repeats.arm} gave the same {plan.primary} to the last digit: it"
                " is 0 here."
            )
        else:
            lines.append(
                f"{runs} of {plan.repeats.arm} differed from the first by at most {points(largest)}"
                f" points of {plan.primary} (root mean square {points(typical)}), without any cause"
                " but the machine."
            )
    else:
        lines.append(
            "Not measured: no run was done twice (repeats in the plan). So this report cannot say"
            " how much of a difference two equal runs would show."
        )
    spread = sd(control)
    if spread is not None:
        lines.append(
            f"Between seeds {plan.control} varies by {points(spread)} points (sd of {len(control)}"
            " runs)."
        )
    return [Heading(3, "Noise floor"), Text(" ".join(lines))]


def _curves(evidence: Evidence, finding: Finding) -> list[Block]:
    blocks: list[Block] = []
    curves = {arm: _runs(evidence.done(finding.setting, arm)) for arm in finding.values}
    if any(curves.values()):
        drawn = plots.learning_curves(curves, "mAP50-95, points")
        caption = (
            "Thin: one run each; thick: the mean of an arm. After every epoch, by Ultralytics' own"
            " validation."
        )
        blocks.append(Figure(drawn, caption, "Learning curves"))
    return blocks


def _runs(records: list[Record]) -> list[dict[int, float]]:
    runs = []
    for record in records:
        pairs = (
            (number(epoch, "epoch"), number(epoch, _CURVE)) for epoch in record["epochs"] or ()
        )
        run = {
            int(epoch): value for epoch, value in pairs if epoch is not None and value is not None
        }
        runs += [run] if run else []
    return runs


def _others(evidence: Evidence, finding: Finding) -> list[Block]:
    measures = {
        name: final(name) for name in evidence.plan.metrics if name != evidence.plan.primary
    }
    if not measures or not finding.comparisons:
        return []
    note = (
        "p is not corrected here: these rows explore, the verdict is about the primary metric"
        " alone."
    )
    table = _compared(evidence, finding, measures, "metric")
    return [Heading(3, "Other metrics and sizes, in points"), table, Text(note, note=True)]


def _conditions(evidence: Evidence, finding: Finding) -> list[Block]:
    names: dict[str, Measure] = {}
    for arm in finding.values:
        for record in evidence.done(finding.setting, arm):
            found = record["by_condition"]
            for condition, groups in found.items() if isinstance(found, Mapping) else ():
                for group in groups if isinstance(groups, Mapping) else ():
                    names[f"{condition}: {group}"] = _in_condition(
                        condition, group, evidence.plan.primary
                    )
    if not names or not finding.comparisons:
        return []
    title = f"{evidence.plan.primary} by condition, in points"
    return [
        Heading(3, title),
        _compared(evidence, finding, dict(sorted(names.items())), "condition"),
    ]


def _in_condition(condition: str, group: str, metric: str) -> Measure:
    return lambda record: number(record["by_condition"], condition, group, metric)


def _compared(
    evidence: Evidence, finding: Finding, measures: Mapping[str, Measure], what: str
) -> Table:
    control = evidence.plan.control
    share = f"{100 * evidence.plan.verdict['confidence']:g} %"
    rows: list[list[Line]] = []
    for name, measure in measures.items():
        base = list(evidence.values(finding.setting, control, measure).values())
        for arm in finding.comparisons:
            found = evidence.compare(finding.setting, arm, measure)
            ours = list(evidence.values(finding.setting, arm, measure).values())
            row = [points(mean(base)), points(mean(ours)), str(found.n), signed(found.mean)]
            p = NONE if finding.verdicts[arm].word == OPEN else p_value(found.p)
            row += [span(found.t), span(found.bca), p, f"{found.wins} of {found.n}"]
            rows.append([name, arm, *row])
    head = [
        what,
        "arm",
        control,
        "arm's mean",
        "pairs",
        "difference",
        f"{share} t",
        f"{share} BCa",
        "p",
        "better in",
    ]
    return Table(head, rows, words=(0, 1))


def _costs(evidence: Evidence, finding: Finding) -> list[Block]:
    head = ["arm", "attention found", "modules", "parameters", "GFLOPs", "epochs"]
    head += ["training, min", "memory, MB", "GPU memory, MB"]
    rows: list[list[Line]] = []
    for arm in finding.values:
        done = evidence.done(finding.setting, arm)
        attention = [as_mapping(record["attention"]) for record in done if record["attention"]]
        classes = sorted({_class_names(found.get("class")) for found in attention})
        trained = sorted({epochs(record) for record in done})
        row = [
            " / ".join(classes) or "-",
            " / ".join(sorted({str(found.get("count")) for found in attention})) or "-",
            _middle(evidence, finding, arm, _of("parameters"), 0),
            _middle(evidence, finding, arm, _of("gflops"), 2),
            " / ".join(map(str, trained)) or "-",
            _middle(evidence, finding, arm, _of("seconds", 60), 1),
            _middle(evidence, finding, arm, _of("peak_memory_mb"), 0),
            _middle(evidence, finding, arm, _of("peak_gpu_memory_mb"), 0),
        ]
        rows.append([arm, *row])
    note = (
        "Medians over an arm's finished runs. Latency is left out: a record's was taken when other"
        " runs may have shared the machine. scsa-yolo bench measures all arms in turns."
    )
    return [Heading(3, "Cost"), Table(head, rows, words=(0, 1)), Text(note, note=True)]


def _class_names(paths: object) -> str:
    """Return ``SCSA`` of ``scsa_yolo.attention.scsa.SCSA``; several are joined by " + "."""
    return " + ".join(path.rpartition(".")[2] for path in str(paths or "none").split(" + "))


def _of(key: str, unit: float = 1.0) -> Measure:
    return lambda record: None if (value := number(record, key)) is None else value / unit


def _middle(evidence: Evidence, finding: Finding, arm: str, measure: Measure, digits: int) -> str:
    values = evidence.values(finding.setting, arm, measure)
    return plain(median(values.values()) if values else None, digits)
