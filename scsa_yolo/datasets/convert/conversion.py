"""From a native data set to Ultralytics' layout: find, read in parallel, write in order, report."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from types import ModuleType
from typing import Any

from scsa_yolo.datasets.convert.image import ImageConverter, Outcome
from scsa_yolo.datasets.convert.ledger import Ledger
from scsa_yolo.datasets.convert.report import Report, SplitCount
from scsa_yolo.datasets.convert.sizes import Evidence, Ruling
from scsa_yolo.datasets.convert.splits import data_yaml, fallbacks, yaml_names
from scsa_yolo.datasets.convert.writer import (
    FINDINGS,
    SIDE_FORMAT,
    UNPACKED,
    Findings,
    Placer,
    TextFile,
    Work,
    WriteError,
    read_report,
    writing,
)
from scsa_yolo.datasets.native import coco, exdark, flir, visdrone, voc
from scsa_yolo.datasets.native.archives import FOREIGN, archives_of, is_archive, unpack
from scsa_yolo.datasets.native.options import Official, Options
from scsa_yolo.datasets.native.records import (
    STOPPING,
    Finding,
    Item,
    NothingFound,
    Plan,
    UsageError,
)
from scsa_yolo.datasets.native.source import Source, usable

READERS: dict[str, ModuleType] = {
    "visdrone": visdrone,
    "exdark": exdark,
    "flir": flir,
    "voc": voc,
    "coco": coco,
}
# of what is written; raise it when a converter's output changes, so that nothing old is resumed
FORMAT = 2


class Stopped(Exception):
    """A strict conversion met an error or a guess; the message is the finding."""


class Unbalanced(Exception):
    """What was found is not what was written, put aside and left out: a fault of this program."""


def convert_dataset(
    name: str,
    source: str | Path,
    dest: str | Path,
    options: Options | None = None,
    *,
    strict: bool = False,
    force: bool = False,
    workers: int | None = None,
    keep: int = 5,
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Convert a data set from its native format. ``source`` is only read.

    Args:
        name: visdrone, exdark, flir, voc or coco.
        source: The unpacked data set, an archive, or a folder of archives.
        dest: Folder to make; it appears when it is whole.
        options: What to write, and how to read.
        strict: Stop at the first thing that cannot be read or must be guessed, instead of
            reporting it.
        force: Replace a finished conversion in ``dest``.
        workers: Threads.
        keep: How many findings of each sort to keep for the screen; all are in
            DEST/conversion.jsonl.
        progress: Draw a bar.
        say: Told what goes on, a line at a time.

    Raises:
        UsageError: The request cannot be carried out.
        Stopped: ``strict``, and something could not be read or had to be guessed.
        Unbalanced: The balance does not close; DEST is not made.
        WriteError: A full disk, or no permission.
    """
    options = options or Options()
    if name not in READERS:
        raise UsageError(f"unknown data set {name!r}; there are {', '.join(READERS)}")
    options.check(name, READERS[name].OPTIONS)
    given = Path(os.path.realpath(_expanded(source)))
    folder = Path(os.path.abspath(_expanded(dest)))
    _check_places(given, folder)
    request = _request(name, given, options)
    if (done := _already(folder, request, force)) is not None:
        say(f"{folder} holds this conversion already: left as it is (--force makes it anew)")
        return done
    work = Work(folder, request)
    try:
        work.open()
        if work.resumed:
            say(f"going on with what an interrupted run left in {work.path}")
        run = _Run(
            name,
            work,
            options,
            strict,
            workers or min(8, (os.cpu_count() or 1) + 2),
            keep,
            progress,
        )
        try:
            return run.convert(_source(name, given, work, say), force)
        except UsageError:
            if not work.resumed:
                work.discard()
            raise
    finally:
        work.close()


def _expanded(path: str | Path) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # ~name of no user
        raise UsageError(f"{path}: {error}") from None


def _check_places(given: Path, dest: Path) -> None:
    for path in (given, dest):
        if not all(map(usable, (part.lstrip(".") or "x" for part in path.parts))):
            shown = os.fsencode(path).decode(errors="backslashreplace")
            raise UsageError(f"{shown}: a name that is not UTF-8; rename it, or use a link to it")
    if not given.exists():
        raise UsageError(f"{given}: no such file or folder")
    if not os.access(given, os.R_OK):
        raise UsageError(f"{given}: no permission to read it")
    real = Path(os.path.realpath(dest))
    if real == given or given in real.parents or real in given.parents:
        raise UsageError(
            f"DEST {dest} and SOURCE {given} must not lie in each other: nothing is written into"
            " SOURCE"
        )


def _request(name: str, given: Path, options: Options) -> dict[str, Any]:
    """What makes two runs the same."""
    stat = given.stat()
    archives = {
        path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in archives_of(given)
    }
    kind = "folder" if given.is_dir() else f"file of {stat.st_size} bytes"
    return {
        "format": FORMAT,
        "name": name,
        "source": str(given),
        "kind": kind,
        "archives": archives,
        "options": options.as_json(),
    }


def _already(dest: Path, request: dict[str, Any], force: bool) -> Report | None:
    """Return the report of this very conversion; None if there is room for it."""
    if not dest.exists() or (dest.is_dir() and not any(dest.iterdir())):
        return None
    found = read_report(dest) if dest.is_dir() else None
    if found is None or found["state"] != "complete":
        raise UsageError(
            f"{dest} exists and is not a finished conversion: choose another folder, or move it"
            " away"
        )
    if force:
        return None
    if found.get("request") != request:
        before = found.get("request", {})
        differing = [key for key in request if before.get(key) != request[key]] or ["format"]
        raise UsageError(
            f"{dest} holds another conversion ({', '.join(differing)} differ): --force replaces it"
        )
    return Report.from_json(found)


def _source(name: str, given: Path, work: Work, say: Callable[[str], None]) -> Source:
    """Look into the folder; unpack archives, beside DEST, if it does not hold the data set
    already.
    """
    reader = READERS[name]
    source = Source(given, None, (given,))
    archives = archives_of(given)
    try:
        if given.is_dir() and (not archives or reader.present(source)):
            if archives:
                say(
                    f"{archives[0].name} and other archives in SOURCE are not unpacked: the"
                    " unpacked data set is there"
                )
            return source
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None
    area = work.path / UNPACKED
    with writing(area):
        unpack(archives, area, getattr(reader, "wanted", lambda member: True), say)
    return Source(given, area, (given, area) if given.is_dir() else (area,))


class _Run:
    """One conversion."""

    def __init__(
        self,
        name: str,
        work: Work,
        options: Options,
        strict: bool,
        workers: int,
        keep: int,
        progress: bool,
    ):
        self.name, self.work, self.options, self.strict = name, work, options, strict
        self.workers, self.keep, self.progress = workers, keep, progress
        self.placer = Placer(options.images)

    def convert(self, source: Source, force: bool) -> Report:
        with ExitStack() as stack:
            file = stack.enter_context(TextFile(self.work.path / FINDINGS))
            self.findings = Findings(file, self.keep)
            plan = self._plan(source)
            with writing(self.work.path):
                self._folders(plan)
            self.ledger = Ledger(source, plan.names)
            counts = self._write(plan, source, stack)
            self.ledger.close(self.work.path, plan.splits, self.tell)
        if not any(count.images for count in counts.values()):
            raise UsageError(f"{source.given}: no image could be converted{self._first_error()}")
        unclosed = list(source.balance.faults())
        if unclosed:
            raise Unbalanced(
                f"the balance does not close: {'; '.join(unclosed)}. This is a fault of scsa-yolo:"
                f" please report it. {self.work.dest} is not made"
            )
        report = Report.of(
            self.name, self._official(), plan, counts, self.findings, self.placer.fallback
        )
        report = report.with_balance(source.balance)
        with writing(self.work.path):
            text = data_yaml(self.name, plan, report.splits)
            for yaml in yaml_names(self.work.dest):
                (self.work.path / yaml).write_text(text, encoding="utf-8")
        self.work.finish(report.as_json(), force)
        return report

    def _plan(self, source: Source) -> Plan:
        """Find pictures and annotations, and tell what cannot be used or is a guess."""
        try:
            plan: Plan = READERS[self.name].plan(source, self.options, self.tell)
        except NothingFound as error:
            hint = f"{_hint(self.name, source)}{_packed(source)}{self._first_error()}"
            raise UsageError(f"{error}{hint}") from None
        except (WriteError, UsageError):
            raise
        except OSError as error:
            raise UsageError(f"{error.filename}: {error.strerror}") from None
        for path in sorted(source.unnamable):
            shown = os.fsencode(path).decode(errors="backslashreplace")
            shown = shown.removeprefix(f"{source.given}{os.sep}")
            reason = "left out: its name is not UTF-8, so no list can name it; rename it"
            self.tell(Finding("error", "bad-name", shown, None, reason))
        owners = hasattr(READERS[self.name], "NAMES")  # one set, whose splits are known
        for finding in fallbacks(plan, set(plan.splits), owners):
            self.tell(finding._replace(file=str(source.given)))
        return plan

    def _first_error(self) -> str:
        sorts = self.findings.first.items()
        first = next((every[0] for (kind, _), every in sorts if kind == "error" and every), None)
        return f"; the first reason: {first}" if first else ""

    def tell(self, finding: Finding) -> None:
        self.findings.add(finding)
        if self.strict and finding.kind in STOPPING:
            done = "a guess" if finding.kind == "guess" else "reported"
            raise Stopped(
                f"{finding}\nstopped (--strict); without it, this is {done} and the rest converted"
            )

    def _official(self) -> dict[str, Official]:
        reader = READERS[self.name]
        return reader.official(self.options) if hasattr(reader, "official") else reader.OFFICIAL

    def _folders(self, plan: Plan) -> None:
        for split in plan.splits:
            for kind in ("images", "labels"):
                (self.work.path / kind / split).mkdir(parents=True, exist_ok=True)
        (self.work.path / "side").mkdir(exist_ok=True)

    def _write(self, plan: Plan, source: Source, stack: ExitStack) -> dict[str, SplitCount]:
        counts = {split: SplitCount(len(plan.names)) for split in plan.splits}
        sides = {split: stack.enter_context(self._side(split, plan)) for split in plan.splits}
        # generators are closed here: one left half done may end in one of its own threads
        one = ImageConverter(self.work.path, source, self.options, self.placer, plan.names)
        unsure: list[Outcome] = []
        evidence = Evidence()
        jobs = ((item, None) for item in self.ledger.planned(plan.items))
        with closing(self._outcomes(one, jobs)) as outcomes:
            shown = _bar(outcomes, plan.total, self.name) if self.progress else outcomes
            for outcome in shown:
                if outcome.doubt is None:
                    self._take(outcome, counts, sides)
                    continue
                evidence.add(outcome.doubt)
                # read again when it is decided: annotations of a whole set are too much to keep
                unsure.append(Outcome(outcome.item, doubt=outcome.doubt))
        rulings = ((o.item, evidence.ruling(o.doubt)) for o in unsure if o.doubt is not None)
        with closing(self._outcomes(one, rulings)) as outcomes:
            for outcome in outcomes:
                self._take(outcome, counts, sides)
        return counts

    def _take(
        self, outcome: Outcome, counts: dict[str, SplitCount], sides: dict[str, TextFile]
    ) -> None:
        """Tell, count and list an image."""
        for finding in outcome.findings:
            self.tell(finding)
        self.ledger.take(outcome)
        if outcome.side is not None:
            split = outcome.item.split
            counts[split].add(outcome.kinds, len(outcome.side.get("ignore", ())))
            line = json.dumps(outcome.side, ensure_ascii=False)
            sides[split].write(f"{line}\n")

    def _side(self, split: str, plan: Plan) -> TextFile:
        names = {str(index): name for index, name in enumerate(plan.names)}
        header = {"format": SIDE_FORMAT, "dataset": self.name, "split": split, "names": names}
        file = TextFile(self.work.path / "side" / f"{split}.jsonl")
        file.write(json.dumps(header, ensure_ascii=False) + "\n")
        return file

    def _outcomes(
        self, one: ImageConverter, jobs: Iterable[tuple[Item, Ruling | None]]
    ) -> Generator[Outcome, None, None]:
        """Convert in threads; give out in order. Only a window of images is in memory."""
        waiting: deque[Future[Outcome]] = deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="convert")
        try:
            for item, ruling in jobs:
                waiting.append(pool.submit(one, item, ruling))
                if len(waiting) >= 64 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _packed(source: Source) -> str:
    """What lies in the source and could not be looked into."""
    names = [folder.path / name for folder in source.walk() for name in folder.files]
    packed = [p for p in names if is_archive(p.name) or p.name.lower().endswith(FOREIGN)]
    if not packed:
        return ""
    return f". {source.shown(packed[0])} is an archive: unpack it, or give it as SOURCE"


def _hint(name: str, source: Source) -> str:
    """What the source looks like instead."""
    like = [other for other, reader in READERS.items() if other != name and reader.present(source)]
    return f". This looks like {' or '.join(like)}" if like else ""


def _bar(outcomes: Iterator[Outcome], total: int, name: str) -> Iterable[Outcome]:
    from ultralytics.utils import TQDM

    return TQDM(outcomes, total=total, desc=f"converting {name}", unit="img")
