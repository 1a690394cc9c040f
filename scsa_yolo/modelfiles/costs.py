"""What the packaged models cost: a table that was counted once, and the counting.

Building and counting a model takes a second or two, the largest take longer. So the counts of all
packaged models lie beside this file in ``costs.json``, which ``tools/make_costs.py`` writes. With
each count stands a hash of the YAMLs that it was made from: ours, and Ultralytics' stock one. A row
whose YAML has changed since is counted anew.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from scsa_yolo.modelfiles.catalogue import MARK, Entry, Row, places, read_yaml
from scsa_yolo.support.files import canonical
from scsa_yolo.support.packaged import packaged_folder

TABLE = Path(__file__).with_name("costs.json")
FORMAT = "scsa-yolo costs 1"

Say = Callable[[str], None]


class Table:
    """The counts that were packaged.

    Attributes:
        versions: Of the packages that counted.
        rows: By the model's name.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        if content["format"] != FORMAT:
            raise ValueError(f"it is no table of costs: {content['format']!r}")
        self.versions: dict[str, str] = content["versions"]
        self.rows = {row["name"]: Row(**row) for row in content["rows"]}
        self._hashes: dict[str, str] = content["yamls"]

    def row(self, entry: Entry) -> Row | None:
        """Return what an entry costs, None where it or its stock model is not what was counted."""
        row = self.rows.get(entry.name)
        files = source_files(entry)
        known = [self._hashes.get(name) == yaml_hash(file) for name, file in files.items()]
        return row if all(known) else None


def read_table() -> Table | None:
    """Return the packaged table, None where it is missing or damaged."""
    try:
        return Table(json.loads(TABLE.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def rows(
    chosen: Sequence[Entry], *, recount: bool = False, say: Say | None = None
) -> Iterator[Row]:
    """Yield what the entries cost: from the packaged table, or counted where it does not hold.

    Args:
        chosen: The models.
        recount: Count all of them, a second or two each.
        say: Called before a model is counted, with a line for people.
    """
    table = None if recount else read_table()
    counting = Counting()
    for number, entry in enumerate(chosen, 1):
        row = table.row(entry) if table else None
        if row is None:
            if say is not None:
                say(f"counting {entry.name}, {number} of {len(chosen)}")
            row = counting.row(entry)
        yield row


class Counting:
    """Builds and counts models; each stock model once."""

    def __init__(self) -> None:
        self._stock: dict[str, Any] = {}

    def row(self, entry: Entry) -> Row:
        """Build and count one model and its stock model."""
        from scsa_yolo.complexity import cost, load

        built = load(entry.name)
        own = cost(built.model)
        if entry.stock is not None and entry.stock not in self._stock:
            self._stock[entry.stock] = cost(load(entry.stock).model)
        stock = self._stock.get(entry.stock or "")
        return Row(
            name=entry.name,
            task=built.task,
            parameters=own.parameters,
            gflops=own.gflops,
            attention_gflops=own.attention_flops / 1e9,
            attention=places(built.model),
            stock=entry.stock,
            stock_parameters=stock and stock.parameters,
            stock_gflops=stock and stock.gflops,
        )


def counted(chosen: Sequence[Entry], versions: dict[str, str], say: Say) -> dict[str, Any]:
    """Count the entries and return the content of ``costs.json``."""
    hashes: dict[str, str] = {}
    for entry in chosen:
        for name, file in source_files(entry).items():
            hashes[name] = yaml_hash(file)
    listed = [asdict(row) for row in rows(chosen, recount=True, say=say)]
    return {"format": FORMAT, "versions": versions, "yamls": hashes, "rows": listed}


def source_files(entry: Entry) -> dict[str, Path]:
    """Return the YAMLs that decide what an entry costs, by a name that is the same everywhere."""
    models = packaged_folder("models")
    files = {entry.file: models / entry.file}
    if entry.stock is None:
        return files
    ours = entry.file.replace(MARK, "")
    if (models / ours).is_file():
        return {**files, ours: models / ours}
    name = ours.split("/")[-1]
    return {**files, name: _stock_yamls().get(name, Path(name))}


def yaml_hash(path: Path) -> str:
    """Return a hash of what a YAML says, whatever its comments and line ends; ``""`` of no file."""
    try:
        content = read_yaml(path)
    except OSError:
        return ""
    return hashlib.sha256(canonical(content).encode()).hexdigest()


@lru_cache(maxsize=1)
def _stock_yamls() -> dict[str, Path]:
    """Return Ultralytics' model YAMLs by name; it is found, not imported, which takes seconds."""
    spec = importlib.util.find_spec("ultralytics")
    places = spec.submodule_search_locations if spec else None
    folders = [Path(place, "cfg", "models") for place in places or ()]
    return {path.name: path for folder in folders for path in sorted(folder.rglob("*.yaml"))}
