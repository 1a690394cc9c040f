"""From records to a report: evidence, verdicts, and the page as HTML, Markdown and CSV."""
