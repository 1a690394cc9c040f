"""One grammar for the arguments of all commands: ``data=``, ``-o``, ``--json``, old spellings.

``--json`` prints JSON alone on the standard output; ``--json FILE`` writes it there, and FILE ends
in ``.json``: any other word after ``--json`` is an operand. Spellings of earlier versions go on
working, with a line that names the new one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from scsa_yolo.support.files import write_json

STDOUT = Path("-")  # what --json gives when no file follows


def add_json(parser: argparse._ActionsContainer, what: str = "the result") -> None:
    """Add ``--json [FILE]``: `STDOUT` in ``args.json`` for the standard output, or the file."""
    parser.add_argument(
        "--json",
        nargs="?",
        const=STDOUT,
        type=_json_file,
        metavar="FILE.json",
        help=f"print {what} as JSON and nothing else, or write it into FILE.json",
    )


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet``."""
    parser.add_argument(
        "--quiet", action="store_true", help="no progress and no log of Ultralytics"
    )


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add ``--force``."""
    parser.add_argument("--force", action="store_true", help="write over files that are there")


def split_json(words: Sequence[str]) -> list[str]:
    """Return the words so that ``--json`` takes the next one only where it ends in ``.json``."""
    found = list(words)
    for i, word in enumerate(found):
        if word == "--":
            break
        followed = i + 1 < len(found) and found[i + 1].lower().endswith(".json")
        if word == "--json" and not followed:
            found[i] = f"--json={STDOUT}"
    return found


def check_json(path: Path | None, *, force: bool) -> None:
    """Refuse a JSON file that could not be written, before the work.

    Raises:
        FileExistsError: It is there and `force` is false, or it is a folder.
        FileNotFoundError: Its folder is not there.
    """
    if path is None or path == STDOUT:
        return
    if path.is_dir():
        raise FileExistsError(f"'{path}' is a folder. Choose another name")
    if path.exists() and not force:
        raise FileExistsError(f"'{path}' is there already. Choose another name, or add --force")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder '{path.parent}'. Type: mkdir -p '{path.parent}'"
        )


def give_json(path: Path, content: Any) -> None:
    """Print JSON on the standard output, or write it into the file and say so."""
    if path == STDOUT:
        print(json.dumps(content, indent=2, ensure_ascii=False))
        return
    write_json(path, content, indent=2)
    print(f"wrote {path}", file=sys.stderr)


@contextlib.contextmanager
def stdout_for_json(path: Path | None) -> Iterator[None]:
    """Send what is printed to the standard error while the standard output is kept for JSON."""
    if path != STDOUT:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield


def ultralytics_on_stderr() -> None:
    """Import Ultralytics while the standard output is the standard error, so that its logger writes
    there: ``graft ... > my.yaml`` stays YAML.
    """
    with contextlib.redirect_stdout(sys.stderr):
        import ultralytics.utils  # noqa: F401


def say_old(old: str, new: str) -> None:
    """Say on the standard error that a spelling has a new form."""
    print(f"scsa-yolo: {old} still works; its name is now {new}", file=sys.stderr)


class Renamed(argparse.Action):
    """An option under its old spelling: ``add_argument("--out", action=Renamed, now="-o", ...)``.

    It is left out of the help, and fills the place (``dest``) of the new one.
    """

    def __init__(self, option_strings: Sequence[str], dest: str, now: str, **options: Any) -> None:
        options.setdefault("default", argparse.SUPPRESS)
        options["help"] = argparse.SUPPRESS
        super().__init__(option_strings, dest, **options)
        self.now = now

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the value and say the new spelling."""
        say_old(option_string or self.dest, self.now)
        setattr(namespace, self.dest, values)


def operands_anywhere(parser: argparse.ArgumentParser, dest: str) -> None:
    """Let operands stand between and behind options too: ``best.pt --rounds 0 imgsz=64``.

    argparse gives all operands of a list to their first run and calls later ones unknown.

    Args:
        parser: Its operands are one list: ``add_argument(dest, nargs="*")``.
        dest: Where that list is.
    """
    # the command's own parser refuses in parse_known_args what it does not know
    parse = getattr(parser, "parse_loosely", parser.parse_known_args)
    refuse = getattr(parser, "refuse", None)

    def with_late_operands(args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        found, rest = parse(args, namespace)
        late = [word for word in rest if not word.startswith("-")]
        setattr(found, dest, [*(getattr(found, dest) or []), *late])
        unknown = [word for word in rest if word.startswith("-")]
        if unknown and refuse is not None:
            refuse(unknown)
        return found, unknown

    parser.parse_known_args = with_late_operands  # type: ignore[method-assign]


def sorted_operands(words: Iterable[str], known: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Sort operands into bare words and ``name=value``.

    Args:
        words: The operands, in any order.
        known: Names that may stand before the equals sign, such as ``model`` and ``data``.

    Raises:
        ValueError: A name is not known or comes twice; the message says what to type.
    """
    bare: list[str] = []
    named: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            bare.append(word)
            continue
        if name not in known:
            option = name.replace("_", "-")
            raise ValueError(
                f"{word} is not understood here. Type: --{option} {value}, if there is such an"
                f" option; before an equals sign stand {', '.join(known)}"
            )
        if name in named:
            raise ValueError(f"{name}= is given twice: {named[name]} and {value}")
        if not value:
            raise ValueError(f"{word} has no value. Type: {name}=NAME")
        named[name] = value
    return bare, named


def _json_file(text: str) -> Path:
    if text == str(STDOUT):
        return STDOUT
    if not text.lower().endswith(".json"):
        raise argparse.ArgumentTypeError(f"the file's name must end in .json, got {text!r}")
    return Path(text)
