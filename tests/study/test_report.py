"""Reports of made-up records: what they say, what they refuse to say, and that they hold together
as files.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
import re
from collections.abc import Callable, Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

from scsa_yolo.study.planning.plan import load, plan_hash
from scsa_yolo.study.planning.schedule import Run, schedule
from scsa_yolo.study.records.record import KEYS, sealed
from scsa_yolo.study.reporting import as_html as html
from scsa_yolo.study.reporting import as_markdown as markdown
from scsa_yolo.study.reporting import plots
from scsa_yolo.study.reporting.document import Code, Details, Heading, Items, Mark, Table, Text
from scsa_yolo.study.reporting.report import report
from scsa_yolo.support.files import canonical

ARMS: dict[str, Any] = {
    "stock": {},
    "scsa": {"attention": "SCSA"},
    "ema": {"attention": "EMA"},
    "identity": {"attention": "Identity"},
    "one-size-up": {"scale": "s"},
}
EFFECTS = {"stock": 0.0, "scsa": 0.03, "ema": -0.03, "identity": 0.0, "one-size-up": 0.06}
LATENCY = {"stock": 30.0, "scsa": 32.0, "ema": 36.0, "identity": 30.1, "one-size-up": 61.0}
SIZES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
Change = Callable[[Run, dict[str, Any]], "dict[str, Any] | None"]


def make_plan(**changes: Any) -> dict[str, Any]:
    plan = {
        "name": "made-up",
        "models": ["yolov8n.yaml"],
        "data": ["hituav.yaml"],
        "arms": ARMS,
        "control": "stock",
        "seeds": list(range(8)),
        "repeats": {"arm": "stock", "seed": 0, "times": 2},
        "train": {"epochs": 5, "imgsz": 320},
    }
    return {**plan, **changes}


def score(run: Run) -> float:
    """A seed's luck, which pairs share, the arm's effect, and a little noise of each run that is no
    repeat.
    """
    luck = random.Random(f"{run.model} {run.data} {run.seed}").gauss(0, 0.01)
    noise = 0.0 if run.arm in ("stock", "identity") else random.Random(run.id).gauss(0, 0.003)
    return 0.2 + luck + noise + EFFECTS[run.arm]


def make_record(run: Run, digest: str) -> dict[str, Any]:
    ap = score(run)
    final = {
        name: round(ap * factor, 6) for name, factor in zip(SIZES, (1, 1.9, 0.9, 0.5, 1.2, 1.6))
    }
    return {
        **dict.fromkeys(KEYS),
        "schema": 1,
        "study": "made-up",
        "plan_hash": digest,
        **{
            "id": run.id,
            "model": run.model,
            "data": run.data,
            "arm": run.arm,
            "seed": run.seed,
            "repeat": run.repeat,
        },
        **{"status": "done", "attempts": 1, "resumed": [], "started": "2026-01-01T00:00:00Z"},
        **{
            "seconds": 512.3 + run.seed,
            "cpu_seconds": 900.0,
            "total_seconds": 540.0,
            "peak_memory_mb": 1800.5,
        },
        "versions": {
            "scsa_yolo": "1.0",
            "ultralytics": "8.4.190",
            "torch": "2.15.0",
            "python": "3.11.2",
        },
        "code": {"commit": "0123456789abcdef", "dirty": False},
        "hardware": {
            "cpu": "A <CPU> & more",
            "cores": 2,
            "threads": 1,
            "gpu": None,
            "platform": "Linux",
        },
        "data_fingerprint": {"val": {"images": 10, "boxes": 50, "hash": f"sha256:{'ab' * 32}"}},
        "arguments": {"epochs": 5, "seed": run.seed, "pretrained": True},
        "attention": {
            "class": "scsa_yolo.attention.scsa.SCSA",
            "count": 10,
            "parameters": 1234,
            "slot": "mid",
        },
        "parameters": 3011238,
        "gflops": 8.2,
        "latency_ms": {
            "median": LATENCY[run.arm] + run.seed / 5,
            "p95": 70.0,
            "imgsz": 320,
            "batch": 1,
        }
        | {"device": "cpu", "threads": 1},
        "epochs": [
            {"epoch": e, "time": e * 9.1, "metrics/mAP50-95(B)": round(ap * e / 5, 6)}
            for e in range(1, 6)
        ],
        "final": final,
        "by_condition": {"light": {"Low": dict(final), "Twilight": {**final, "AP": None}}},
    }


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Path]:
    """Return the maker of a study's folder with records of all runs; `change` edits one or, with
    None, drops it.
    """

    def make(change: Change = lambda run, record: record, **plan: Any) -> Path:
        folder = tmp_path / "study"
        (folder / "records").mkdir(parents=True)
        (folder / "plan.yaml").write_text(
            yaml.safe_dump(make_plan(**plan), sort_keys=False), encoding="utf-8"
        )
        parsed = load(folder / "plan.yaml")
        for run in schedule(parsed):
            record = change(run, make_record(run, plan_hash(parsed)))
            if record is not None:
                (folder / "records" / f"{run.id}.json").write_text(
                    json.dumps(sealed(record)), encoding="utf-8"
                )
        return folder

    return make


@pytest.fixture(autouse=True)
def fewer_drawings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw only in tests that ask for it: drawing is what takes time, and most tests read the
    text.
    """
    if "drawn" not in request.fixturenames:
        for name in ("differences", "learning_curves"):
            monkeypatch.setattr(plots, name, lambda *data: "<svg></svg>")


@pytest.fixture
def drawn() -> None:
    """Draw in this test."""


class Page(HTMLParser):
    """Text of a page, and whether its elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def parse(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert (page.wrong, page.open) == ([], [])
    return page


def texts(folder: Path) -> tuple[Page, str, list[dict[str, str]]]:
    """Make the report; return the page, the Markdown without escapes, and the rows of the CSV."""
    path = report(folder)
    assert path == folder / "report.html"
    with (folder / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    plain = re.sub(r"\\(.)", r"\1", (folder / "report.md").read_text(encoding="utf-8"))
    return parse(path.read_text(encoding="utf-8")), plain, rows


def line_of(text: str, start: str) -> str:
    found = [line for line in text.splitlines() if line.startswith(start)]
    assert found, f"no line starts with {start!r}"
    return found[0]


def failed(record: dict[str, Any], error: str = "RuntimeError: out of memory") -> dict[str, Any]:
    nothing = dict.fromkeys(("attention", "parameters", "gflops", "latency_ms"))
    return {
        **record,
        **nothing,
        "status": "failed",
        "error": error,
        "final": {},
        "by_condition": {},
        "epochs": [],
    }


@pytest.mark.usefixtures("drawn")
def test_a_whole_study(make_study: Callable[..., Path]) -> None:
    page, text, rows = texts(make_study())
    assert "do scsa and ema change AP for yolov8n on hituav?" in page.text
    assert "Better AP than stock: scsa; worse than stock: ema (8 paired seeds)." in text
    assert line_of(text, "- scsa: *improves*").endswith(
        "better in 8 of 8 seeds, p = 0.0156 after Holm over 2 arms."
    )
    assert line_of(text, "- ema: *harms*").endswith(
        "better in 0 of 8 seeds, p = 0.0156 after Holm over 2 arms."
    )
    assert "- identity (reference): *no measurable difference*, 0.00 points" in text
    assert "equal in 8, p = 1." in line_of(text, "- identity")
    assert "- one-size-up (reference): *improves*" in text
    assert "2 equal runs of stock gave the same AP to the last digit" in text
    assert "None: every planned run finished" in text
    for part in (
        "Twilight",
        "AP_small",
        "8.4.190",
        "sha256:abab",
        "control: stock",
        "scsa-yolo study report study",
    ):
        assert part in page.text
    assert len(rows) == 5 * 8 + 2


def test_numbers_of_the_main_table(make_study: Callable[..., Path]) -> None:
    folder = make_study()
    _, text, rows = texts(folder)
    finals = {row["id"]: float(row["AP"]) for row in rows}
    pairs = [
        finals[f"yolov8n__hituav__scsa__s{s}"] - finals[f"yolov8n__hituav__stock__s{s}"]
        for s in range(8)
    ]
    cells = [cell.strip() for cell in line_of(text, "| scsa | 8 |").split("|")[1:-1]]
    assert (
        cells[2] == f"{100 * sum(finals[f'yolov8n__hituav__scsa__s{s}'] for s in range(8)) / 8:.2f}"
    )
    assert cells[5] == f"{100 * sum(pairs) / 8:+.2f}"
    assert cells[9:] == ["0.00781", "0.0156", "8 of 8", "*improves*"]
    csv_pairs = [float(row["AP_minus_control"]) for row in rows if row["arm"] == "scsa"]
    assert csv_pairs == pytest.approx(pairs)
    assert all(row["AP_minus_control"] == "" for row in rows if row["arm"] == "stock")
    assert {row["role"] for row in rows} == {"control", "under test", "reference"}
    costs = [line for line in text.splitlines() if line.startswith("| scsa | SCSA")]
    assert "| 10 | 3,011,238 | 8.20 | 5 | 8.6 | 1,800 | - |" in costs[0]


@pytest.mark.usefixtures("drawn")
def test_page_stands_alone_and_is_the_same_again(
    make_study: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_study()
    first = report(folder).read_bytes()
    again = report(folder, tmp_path / "elsewhere" / "deep")
    assert again == tmp_path / "elsewhere" / "deep" / "report.html"
    for name in ("report.html", "report.md", "report.csv"):
        assert (folder / name).read_bytes() == again.with_name(name).read_bytes()
    assert sorted(path.name for path in again.parent.iterdir()) == [
        "report.csv",
        "report.html",
        "report.md",
    ]
    text = first.decode()
    page = parse(text)
    assert "://" not in text
    assert not re.search(r"<(script|link|img|iframe|object)|@import|url\((?!#)|src=", text)
    assert text.count("<svg") == 2
    assert len(page.ids) == len(set(page.ids))
    assert set(re.findall(r'(?:href="|url\()#([\w.-]+)', text)) <= set(page.ids)
    assert "#0102" not in text  # stand-ins of the page's colours
    assert "A &lt;CPU&gt; &amp; more" in text


@pytest.mark.usefixtures("drawn")
def test_two_models_and_two_data_sets(make_study: Callable[..., Path]) -> None:
    page, text, rows = texts(
        make_study(
            models=["yolov8n.yaml", "yolo11n.yaml"],
            data=["hituav.yaml", "bccd.yaml"],
            seeds=list(range(9)),
        )
    )
    titles = ["yolov8n on hituav", "yolov8n on bccd", "yolo11n on hituav", "yolo11n on bccd"]
    assert [line[3:] for line in text.splitlines() if line.startswith("## yolo")] == titles
    assert text.count("scsa: *improves*") == 4
    assert text.count("after Holm over 8 arms") == 8
    assert len(rows) == 4 * (5 * 9 + 2)
    assert len(page.ids) == len(set(page.ids))


def test_failures_and_gaps_are_listed(make_study: Callable[..., Path]) -> None:
    def change(run: Run, record: dict[str, Any]) -> dict[str, Any] | None:
        if (run.arm, run.seed) == ("scsa", 1):
            return failed(record, "ValueError: <b>bad|</b>")
        return None if (run.arm, run.seed, run.repeat) == ("stock", 2, 0) else record

    page, text, rows = texts(make_study(change))
    assert (
        "40 of 42 planned runs finished, 1 failed, 1 without a usable record; what is missing"
        in text
    )
    assert "| yolov8n__hituav__scsa__s1 | ValueError: <b>bad|</b> | 1 |" in text
    assert "ValueError: <b>bad|</b>" in page.text
    assert "- yolov8n__hituav__stock__s2" in text
    assert "- yolov8n on hituav, scsa, seed 1: scsa failed" in text
    assert "- yolov8n on hituav, scsa, seed 2: stock has no usable record" in text
    assert "better in 6 of 6 seeds" in line_of(text, "- scsa")
    assert [row["error"] for row in rows if row["status"] == "failed"] == [
        "ValueError: <b>bad|</b>"
    ]


def test_few_seeds_are_refused(make_study: Callable[..., Path]) -> None:
    _, text, _ = texts(make_study(seeds=[0, 1, 2], repeats=None))
    sentence = line_of(text, "- scsa: *undecided*")
    assert "better in 3 of 3 seeds" in sentence
    assert sentence.endswith(
        "3 pairs and 2 arms under test: p cannot fall below 0.5; it takes 7 seeds to say improves"
        " or harms."
    )
    assert "Not decided: scsa and ema (3 paired seeds)" in text
    assert "Not measured: no run was done twice" in text
    assert "*improves*," not in text


@pytest.mark.usefixtures("drawn")
def test_one_seed(make_study: Callable[..., Path]) -> None:
    _, text, _ = texts(make_study(seeds=[4], repeats=None))
    for arm in ("scsa", "ema", "identity", "one-size-up"):
        assert "*undecided*" in line_of(text, f"- {arm}")
    assert "1 pair and 2 arms under test" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda run, record: None, "No finished run of stock gave AP: nothing is claimed."),
        (
            lambda run, record: failed(record),
            "No finished run of stock gave AP: nothing is claimed.",
        ),
        (
            lambda run, record: failed(record) if run.arm == "stock" else record,
            "nothing is claimed",
        ),
        (
            lambda run, record: {**record, "final": None, "epochs": None, "by_condition": None},
            "nothing is claimed",
        ),
        (lambda run, record: record if run.arm == "stock" else None, "no pair of finished runs"),
    ],
    ids=["no records", "all failed", "control failed", "no metrics", "control alone"],
)
@pytest.mark.usefixtures("drawn")
def test_no_evidence_no_claim(make_study: Callable[..., Path], change: Change, words: str) -> None:
    page, text, _ = texts(make_study(change))
    assert words in text
    assert "*improves*," not in text
    assert "Traceback" not in page.text


def test_models_that_learned_nothing_are_not_called_equal(make_study: Callable[..., Path]) -> None:
    def change(run: Run, record: dict[str, Any]) -> dict[str, Any]:
        return record if run.arm == "ema" else {**record, "final": {**record["final"], "AP": 0.0}}

    _, text, _ = texts(make_study(change))
    assert line_of(text, "- scsa: *undecided*").endswith("Every pair has AP 0.")
    assert "- identity (reference): *undecided*" in text
    assert "- ema: *improves*" in text


def test_missing_metrics_are_dashes(make_study: Callable[..., Path]) -> None:
    def change(run: Run, record: dict[str, Any]) -> dict[str, Any]:
        final = {**record["final"], "AP_small": None}
        if run.seed == 3 and run.arm == "ema":
            final["AP"] = None
        return {
            **record,
            "final": final,
            "latency_ms": None,
            "attention": None,
            "hardware": None,
            "code": None,
        }

    page, text, rows = texts(make_study(change))
    assert "| AP_small | scsa | - | - | 0 | - | - | - | - | 0 of 0 |" in text
    assert "ema, seed 3: ema has no AP" in text
    assert "no value" in line_of(text, "| 3 |")
    assert {row["AP_small"] for row in rows} == {""}
    assert "AP against latency" not in page.text


def test_noise_floor(make_study: Callable[..., Path]) -> None:
    def change(run: Run, record: dict[str, Any]) -> dict[str, Any]:
        final = {**record["final"], "AP": record["final"]["AP"] + (0, 0.003, -0.004)[run.repeat]}
        return {**record, "final": final}

    _, text, _ = texts(make_study(change))
    assert (
        "2 equal runs of stock differed from the first by at most 0.40 points of AP (root mean"
        " square 0.35)" in text
    )


def test_gain_below_the_noise_says_so(make_study: Callable[..., Path]) -> None:
    def change(run: Run, record: dict[str, Any]) -> dict[str, Any]:
        final = {**record["final"], "AP": record["final"]["AP"] + 0.2 * run.repeat}
        return {**record, "final": final}

    _, text, _ = texts(make_study(change))
    assert line_of(text, "- scsa: *improves*").endswith(
        "The difference is smaller than that of two equal runs."
    )


def damaged(folder: Path) -> str:
    (folder / "records" / "yolov8n__hituav__scsa__s0.json").write_text(
        '{"schema": 1, "id"', encoding="utf-8"
    )
    return "yolov8n__hituav__scsa__s0.json: the record is damaged"


def edited(folder: Path) -> str:
    path = folder / "records" / "yolov8n__hituav__scsa__s0.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"AP": 0.2', '"AP": 0.9'), encoding="utf-8"
    )
    return "its hash does not fit"


def with_nan(folder: Path) -> str:
    path = folder / "records" / "yolov8n__hituav__scsa__s0.json"
    path.write_text(path.read_text(encoding="utf-8").replace("8.2", "NaN"), encoding="utf-8")
    return "yolov8n__hituav__scsa__s0.json: "


def of_another_plan(folder: Path) -> str:
    path = folder / "records" / "yolov8n__hituav__scsa__s0.json"
    record = {**json.loads(path.read_text(encoding="utf-8")), "plan_hash": f"sha256:{'0' * 64}"}
    path.write_text(json.dumps(sealed(record)), encoding="utf-8")
    return "the record of another plan"


@pytest.mark.parametrize("spoil", [damaged, edited, with_nan, of_another_plan])
def test_records_that_cannot_be_used(
    make_study: Callable[..., Path], spoil: Callable[[Path], str]
) -> None:
    folder = make_study()
    words = spoil(folder)
    _, text, rows = texts(folder)
    assert words in text
    assert "41 of 42 planned runs finished, 1 without a usable record" in text
    assert "scsa, seed 0: scsa has no usable record" in text
    assert "better in 7 of 7 seeds" in line_of(text, "- scsa")
    assert len(rows) == 41
    assert str(folder.parent) not in text  # the same report wherever the folder lies


def test_a_run_that_the_plan_does_not_have(make_study: Callable[..., Path]) -> None:
    folder = make_study()
    run = Run("yolov8n.yaml", "hituav.yaml", "scsa", 99)
    record = sealed(make_record(run, plan_hash(load(folder / "plan.yaml"))))
    (folder / "records" / f"{run.id}.json").write_text(json.dumps(record), encoding="utf-8")
    _, text, rows = texts(folder)
    assert f"- {run.id}.json: the plan has no such run" in text
    assert len(rows) == 42


def test_numbers_that_agree_although_they_must_not(make_study: Callable[..., Path]) -> None:
    def change(run: Run, record: dict[str, Any]) -> dict[str, Any]:
        if (run.arm, run.seed) in (("scsa", 1), ("ema", 1)):
            like = {
                ("scsa", 1): Run(run.model, run.data, "scsa", 0),
                ("ema", 1): Run(run.model, run.data, "stock", 1),
            }
            other = make_record(like[run.arm, run.seed], record["plan_hash"])
            epochs = [
                {**epoch, "time": 1.0} for epoch in other["epochs"]
            ]  # a clock does not make two runs different
            return {**record, "epochs": epochs, "final": other["final"]}
        return record

    _, text, _ = texts(make_study(change))
    same = "have the same numbers in every epoch, although their"
    assert f"yolov8n__hituav__scsa__s1 and yolov8n__hituav__scsa__s0 {same} seeds differ" in text
    assert f"yolov8n__hituav__ema__s1 and yolov8n__hituav__stock__s1 {same} arms differ" in text
    assert text.count(same) == 2  # repeats, and Identity beside stock, may agree


def test_unequal_conditions_are_named(make_study: Callable[..., Path]) -> None:
    def change(run: Run, record: dict[str, Any]) -> dict[str, Any]:
        if (run.arm, run.seed) != ("scsa", 0):
            return record
        return {
            **record,
            "resumed": [3],
            "versions": {**record["versions"], "torch": "2.5.0"},
            "code": {"commit": "0123456789abcdef", "dirty": True},
            "data_fingerprint": {"val": {"images": 9, "boxes": 50, "hash": "sha256:00"}},
            "arguments": {**record["arguments"], "epochs": 6},
        }

    _, text, _ = texts(make_study(change))
    assert (
        "not the same for all runs: version of torch: 2.5.0 (1 run); 2.15.0 (41 runs)"
        in text.replace("2.15.0 (41 runs); 2.5.0 (1 run)", "2.5.0 (1 run); 2.15.0 (41 runs)")
    )
    assert "1 run used code with uncommitted changes" in text
    assert "the data set hituav.yaml changed between runs: 2 fingerprints" in text
    assert "training argument epochs: 5, 6" in text
    assert "1 run went on after an interruption" in text
    assert "training argument seed" not in text


def test_rules_of_the_plan_are_used(make_study: Callable[..., Path]) -> None:
    strict = {"alpha": 0.001, "margin": 0.1, "interval": "t", "confidence": 0.9}
    _, text, _ = texts(make_study(verdict=strict, primary="AP50", metrics=["AP50", "AP"]))
    assert "- scsa: *no measurable difference*" in text
    assert "p after correction is at most 0.001 and the 90 % t interval is above 0" in text
    assert "lies between -10.00 and +10.00 points, and the studentized one, of at" in text
    assert "### AP50, in points" in text


def test_no_folder_of_a_study(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no plan\.yaml"):
        report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_earlier_files_survive_a_failed_write(
    make_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_study(seeds=[0, 1], repeats=None)
    before = {path.name: path.read_bytes() for path in report(folder).parent.glob("report.*")}
    (folder / "records" / "yolov8n__hituav__scsa__s0.json").unlink()
    write_bytes = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.suffix == ".html":
            raise OSError(28, "No space left on device")
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        report(folder)
    assert {path.name: path.read_bytes() for path in folder.glob("report.*")} == before
    assert not list(folder.glob(".*part*"))


def test_names_are_escaped() -> None:
    name = "<b>&|`x`*_\"'"
    blocks = [
        Heading(1, name),
        Text((name, Mark(name), Mark(name, "code"), Mark(name, "improves"))),
        Items([name]),
        Table([name], [[name]]),
        Code(f"```\n{name}"),
        Details(name, [Text(name)]),
    ]
    text = html.page(name, blocks)
    assert "<b>" not in text
    assert parse(text).text.count(name) == 12
    plain = markdown.render(blocks)
    table = [line for line in plain.splitlines() if line.startswith("| ")]
    assert [line.replace("\\|", "").count("|") for line in table] == [2, 2, 2]
    assert "````\n```" in plain


def test_hashes_of_the_records_are_in_the_report(make_study: Callable[..., Path]) -> None:
    folder = make_study(seeds=[0, 1], repeats=None)
    page, _, rows = texts(folder)
    for path in (folder / "records").iterdir():
        record = json.loads(path.read_text(encoding="utf-8"))
        content = {key: value for key, value in record.items() if key != "hash"}
        digest = f"sha256:{hashlib.sha256(canonical(content).encode()).hexdigest()}"
        assert digest in page.text
        assert digest in column(rows, "hash")


def column(rows: Iterable[dict[str, str]], name: str) -> list[str]:
    return [row[name] for row in rows]


def test_cells_of_the_csv_that_would_run_are_text(make_study: Callable[..., Path]) -> None:
    def change(run: Run, record: dict[str, Any]) -> dict[str, Any]:
        if (run.arm, run.seed) == ("scsa", 1):
            return failed(record, "=cmd|' /C calc'!A0")
        if (run.arm, run.seed) == ("scsa", 2):
            return {**record, "hardware": {**record["hardware"], "cpu": "@SUM(A1)"}}
        return record

    folder = make_study(change)
    _, _, rows = texts(folder)
    assert "'=cmd|' /C calc'!A0" in column(rows, "error")
    assert "'@SUM(A1)" in column(rows, "cpu")
    below = [row["AP_minus_control"] for row in rows if row["arm"] == "ema"]
    assert all(float(value) < 0 for value in below)  # numbers below 0 keep their sign


def test_repeats_of_the_csv_give_no_pair(make_study: Callable[..., Path]) -> None:
    repeats = {"arm": "scsa", "seed": 0, "times": 2}
    _, _, rows = texts(make_study(repeats=repeats))
    again = [row for row in rows if row["repeat"] != "0"]
    assert [row["repeat"] for row in again] == ["1", "2"]
    assert {row["AP_minus_control"] for row in again} == {""}
    assert {row["arm"] for row in again} == {"scsa"}
