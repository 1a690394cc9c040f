"""The table of layers that Ultralytics prints while it builds: held back, then printed with our
rows in it.
"""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from torch import nn
from ultralytics.utils import LOGGER

from scsa_yolo.host.row import Row

_PARAMS = 12  # characters of the column before the module's name: the parameters and two blanks


class LayerTable(logging.Filter):
    """Hold back what ``parse_model`` logs, and log it on exit; lines of our rows show our names and
    parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.thread = threading.get_ident()  # another thread may be building, too

    def __enter__(self) -> LayerTable:
        LOGGER.addFilter(self)
        return self

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep records of the build; let everything else pass."""
        ours = record.funcName == "parse_model" and record.thread == self.thread
        if record.levelno != logging.INFO or not ours:
            return True
        self.records.append(record)
        return False

    def replace(self, stock: nn.Module, layer: nn.Module, row: Row, count: int) -> None:
        """Rewrite the line of ``stock``, the layer as built, into that of ``layer`` with ``count``
        attentions.
        """
        start, column = f"{row.index:>3}{layer.f!s:>20}", f"{stock.type:<45}"
        shown = (
            row.name
            if count == 0 or row.block is None
            else f"{row.name} ({count} x {row.attention}, {row.slot})"
        )
        for record in self.records:
            line = str(record.msg)
            at = line.find(column)
            if not line.startswith(start) or at < _PARAMS:
                continue  # not this layer's line; a line whose form upstream changed stays as it is
            arguments = line[at + len(column) :].strip() if stock is layer else str(row.args)
            written = {**row.options, **({} if row.start == "paper" else {"start": row.start})}
            options = f" {written}" if written else ""
            record.msg = f"{line[: at - _PARAMS]}{layer.np:10.0f}  {shown:<45}{arguments}{options}"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        LOGGER.removeFilter(self)
        for record in self.records:
            LOGGER.handle(record)
