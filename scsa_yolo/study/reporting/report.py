"""``report``: a study's folder in, an HTML page, Markdown and CSV out; the same records give the
same bytes.
"""

from __future__ import annotations

from pathlib import Path

from scsa_yolo.study.reporting import answers, provenance, sections
from scsa_yolo.study.reporting import as_html as html
from scsa_yolo.study.reporting import as_markdown as markdown
from scsa_yolo.study.reporting.as_csv import as_csv
from scsa_yolo.study.reporting.as_text import as_text
from scsa_yolo.study.reporting.evidence import collect
from scsa_yolo.study.reporting.findings import find
from scsa_yolo.support.files import write_texts

__all__ = ["make", "report"]


def report(folder: str | Path, output: str | Path | None = None) -> Path:
    """Write ``report.html``, ``report.md`` and ``report.csv`` from a study's plan and records
    alone.

    Args:
        folder: The study's folder, with ``plan.yaml`` and ``records/``.
        output: Folder for the three files, made if it is not there; None: the study's own.

    Returns:
        The path of ``report.html``.

    Raises:
        ValueError: The plan is no plan. Records that cannot be used are listed in the report
            instead.
        OSError: The folder holds no plan, or the files cannot be written; files of an earlier
            report stay as they were.
        ImportError: scipy or matplotlib is missing.
    """
    return make(folder, output)[0]


def make(folder: str | Path, output: str | Path | None = None) -> tuple[Path, str]:
    """Do as `report`, and return the path with the answer as text for a terminal."""
    folder = Path(folder)
    evidence = collect(folder)
    findings = find(evidence)
    blocks = [
        *answers.answers(evidence, findings),
        *answers.rules(evidence),
        *(block for finding in findings for block in sections.section(evidence, finding)),
        *provenance.gaps(evidence, findings),
        *provenance.origin(evidence, folder.resolve().name),
    ]
    texts = {
        "report.csv": as_csv(evidence),
        "report.md": markdown.render(blocks),
        "report.html": html.page(f"Study {evidence.plan.name}", blocks),
    }
    target = folder if output is None else Path(output)
    target.mkdir(parents=True, exist_ok=True)
    write_texts({target / name: text for name, text in texts.items()})
    return target / "report.html", as_text(evidence, findings)
