"""A report as one HTML file: no script, no network, light and dark by the reader's system."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from scsa_yolo.study.reporting.document import (
    Block,
    Code,
    Details,
    Figure,
    Heading,
    Items,
    Line,
    Mark,
    Table,
    Text,
    parts,
)
from scsa_yolo.study.reporting.verdict import OPEN, WORDS

__all__ = ["page"]

# --ink, --faint, --band and --line also colour the drawings, see `scsa_yolo.study.reporting.plots`.
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --faint: #646b73; --line: #d9dde1; --paper: #fff; --band: #eef1f4;
  --improves: #12703a; --harms: #b3261e; --undecided: #8a5300; --same: #40566b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --faint: #9aa3ac; --line: #3a4149; --paper: #15181b;
  --band: #22272c; --improves: #62d08c; --harms: #ff8f86; --undecided: #f0b45a; --same: #a9bfd4; } }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .5rem; } h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; padding-top: 1rem;
  border-top: 1px solid var(--line); } h3 { font-size: 1.05rem; margin: 1.75rem 0 .25rem; }
h1, h2, h3, p, li, td, th { overflow-wrap: anywhere; } p { margin: .5rem 0; max-width: 52rem; }
li { margin: .25rem 0; max-width: 52rem; } .note { color: var(--faint); font-size: .87rem; }
.wide { overflow-x: auto; } .wide td:first-child, .wide th:first-child { position: sticky; left: 0;
  background: var(--paper); } .swipe { display: none; } table { border-collapse: collapse; margin: .75rem 0; font-size: .87rem; }
th, td { padding: .3rem .55rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top;
  font-variant-numeric: tabular-nums; overflow-wrap: normal; } td { white-space: nowrap; }
th { font-weight: 600; color: var(--faint); vertical-align: bottom; } .words { text-align: left; }
td.words { white-space: normal; }
tr > td:first-child { font-weight: 600; white-space: nowrap; }
.verdict { font-weight: 600; }
.improves { color: var(--improves); } .harms { color: var(--harms); }
.undecided { color: var(--undecided); } .same { color: var(--same); }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; } figcaption { color: var(--faint);
  font-size: .87rem; max-width: 52rem; }
pre { background: var(--band); padding: .75rem 1rem; overflow-x: auto; font-size: .85rem; border-radius: 4px; }
code { font-family: ui-monospace, monospace; font-size: .9em; } summary { cursor: pointer; margin: .75rem 0; }
@media (max-width: 48rem) { .swipe { display: block; color: var(--faint); font-size: .8rem; } }
@media print { details > * { display: block; } }
"""
_NARROW = 4  # columns that a phone shows without swiping


def page(title: str, blocks: Iterable[Block]) -> str:
    """Return the file's text."""
    body = "\n".join(_block(block) for block in blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _block(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Text(line, note):
            return f'<p class="note">{_line(line)}</p>' if note else f"<p>{_line(line)}</p>"
        case Items(lines):
            return f"<ul>\n{''.join(f'<li>{_line(line)}</li>{chr(10)}' for line in lines)}</ul>"
        case Table():
            return _table(block)
        case Figure(svg, caption, title):
            head = f"<h3>{escape(title)}</h3>\n" if title else ""
            return f"{head}<figure>\n{svg}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"
        case Code(text, _):
            return f"<pre><code>{escape(text.rstrip())}</code></pre>"
        case Details(title, inner):
            content = "\n".join(_block(part) for part in inner)
            return f"<details>\n<summary>{escape(title)}</summary>\n{content}\n</details>"


def _table(table: Table) -> str:
    def row(tag: str, cells: Iterable[str]) -> str:
        listed = enumerate(cells)
        return "".join(
            f"<{tag}{_class(column in table.words)}>{text}</{tag}>" for column, text in listed
        )

    head = f"<thead><tr>{row('th', map(escape, table.head))}</tr></thead>"
    body = "\n".join(f"<tr>{row('td', map(_line, cells))}</tr>" for cells in table.rows)
    # Of a wide table a phone shows the first columns, and the verdict is in the last.
    wide = len(table.head) > _NARROW
    last = escape(table.head[-1])
    hint = f'<p class="swipe">Swipe sideways: the last column is {last}.</p>\n' if wide else ""
    inner = f"<table>\n{head}\n<tbody>\n{body}\n</tbody>\n</table>"
    return f'{hint}<div class="wide">{inner}</div>'


def _class(words: bool) -> str:
    return ' class="words"' if words else ""


def _line(line: Line) -> str:
    return "".join(_mark(part) if isinstance(part, Mark) else escape(part) for part in parts(line))


def _mark(mark: Mark) -> str:
    if mark.kind in (*WORDS, OPEN):
        colour = mark.kind if " " not in mark.kind else "same"  # also of `OPEN`
        return f'<span class="verdict {colour}">{escape(mark.text)}</span>'
    tag = "code" if mark.kind == "code" else "strong"
    return f"<{tag}>{escape(mark.text)}</{tag}>"
