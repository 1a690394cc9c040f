"""The middle of a report: for one model and data set the tables and drawings that its verdicts
stand on.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from scsa_yolo.paired.differences import mean, root_mean_square, sd
from scsa_yolo.study.reporting import plots
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
from scsa_yolo.study.reporting.wording import count, p_value, plain, points, ratio, signed, span

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
    head += ["p", "p, Holm", "better in", "verdict"]
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
            corrected = "reference" if arm in finding.references else p_value(verdict.p)
            row += [
                str(found.n),
                signed(found.mean),
                points(found.sd),
                span(found.t),
                span(found.bca),
            ]
            row += [
                p_value(found.p),
                corrected,
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
        lines.append("Not measured: no run was done twice (repeats in the plan).")
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
    where = {arm: _point(evidence, finding, arm) for arm in finding.values}
    if any(where.values()):
        caption = (
            f"Mean {evidence.plan.primary} with its sd over seeds, against the median latency of"
            " the arm's runs."
        )
        drawn = plots.trade_off(where, evidence.plan.primary)
        blocks.append(Figure(drawn, caption, f"{evidence.plan.primary} against latency"))
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


def _point(evidence: Evidence, finding: Finding, arm: str) -> plots.Point | None:
    latency = evidence.values(finding.setting, arm, _latency)
    score = finding.mean(arm)
    if not latency or score is None:
        return None
    spread = sd(list(finding.values[arm].values()))
    return plots.Point(
        median(latency.values()), 100 * score, None if spread is None else 100 * spread
    )


def _latency(record: Record) -> float | None:
    return number(record["latency_ms"], "median")


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
            row += [span(found.t), span(found.bca), p_value(found.p), f"{found.wins} of {found.n}"]
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
    head = [
        "arm",
        "attention found",
        "modules",
        "parameters",
        "GFLOPs",
        "latency, ms",
        "to control",
        "training, min",
    ]
    head += ["memory, MB", "GPU memory, MB"]
    rows: list[list[Line]] = []
    under = set()
    for arm in finding.values:
        done = evidence.done(finding.setting, arm)
        attention = [
            record["attention"] for record in done if isinstance(record["attention"], Mapping)
        ]
        classes = sorted({_class_names(found.get("class")) for found in attention})
        under |= {_conditions_of(record["latency_ms"]) for record in done if record["latency_ms"]}
        row = [
            " / ".join(classes) or "-",
            " / ".join(sorted({str(found.get("count")) for found in attention})) or "-",
            _middle(evidence, finding, arm, _of("parameters"), 0),
            _middle(evidence, finding, arm, _of("gflops"), 2),
            _middle(evidence, finding, arm, _latency, 1),
            "1.00x" if arm == evidence.plan.control else ratio(_ratio(evidence, finding, arm)),
            _middle(evidence, finding, arm, _of("seconds", 60), 1),
            _middle(evidence, finding, arm, _of("peak_memory_mb"), 0),
            _middle(evidence, finding, arm, _of("peak_gpu_memory_mb"), 0),
        ]
        rows.append([arm, *row])
    note = (
        "Medians over an arm's finished runs; the ratio is the median of the ratios seed by seed."
    )
    note += (
        f" Latency: {'; '.join(sorted(under))}: a guide, since other runs may share the machine."
        if under
        else ""
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


def _ratio(evidence: Evidence, finding: Finding, arm: str) -> float | None:
    ours, theirs = (
        evidence.values(finding.setting, name, _latency) for name in (arm, evidence.plan.control)
    )
    ratios = [ours[seed] / theirs[seed] for seed in ours if theirs.get(seed)]
    return median(ratios) if ratios else None


def _conditions_of(latency: Mapping[str, object]) -> str:
    device, threads = latency.get("device"), latency.get("threads")
    where = (
        f"{device}, {threads} thread{'' if threads == 1 else 's'}"
        if device == "cpu"
        else f"{device}"
    )
    return f"{latency.get('imgsz')} px, batch {latency.get('batch')}, {where}"
