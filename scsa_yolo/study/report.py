"""``report``: a study's folder in, an HTML page, Markdown and CSV out; the same records give the same bytes."""

from __future__ import annotations

import os
from pathlib import Path

from scsa_yolo.study import answers, html, markdown, provenance, sections
from scsa_yolo.study.evidence import collect
from scsa_yolo.study.findings import find
from scsa_yolo.study.runs_table import as_csv

__all__ = ["report"]


def report(folder: str | Path, output: str | Path | None = None) -> Path:
    """Write ``report.html``, ``report.md`` and ``report.csv`` from a study's plan and records alone.

    Args:
        folder: The study's folder, with ``plan.yaml`` and ``records/``.
        output: Folder for the three files, made if it is not there; None: the study's own.

    Returns:
        The path of ``report.html``.

    Raises:
        ValueError: The plan is no plan. Records that cannot be used are listed in the report instead.
        OSError: The folder holds no plan, or the files cannot be written; files of an earlier report stay as they were.
        ImportError: scipy or matplotlib is missing.
    """
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
    _write(target, texts)
    return target / "report.html"


def _write(folder: Path, texts: dict[str, str]) -> None:
    """Write all beside their places first, so that a full disk leaves the earlier report whole."""
    pairs = [(folder / f".{name}.{os.getpid()}", folder / name) for name in texts]
    try:
        for (temporary, _), text in zip(pairs, texts.values()):
            temporary.write_text(text, encoding="utf-8", newline="\n")
        for temporary, path in pairs:
            os.replace(temporary, path)
    finally:
        for temporary, _ in pairs:
            temporary.unlink(missing_ok=True)
