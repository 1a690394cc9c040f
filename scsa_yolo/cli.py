"""The ``scsa-yolo`` command: a thin face over the rooms of the package.

A command is one entry of :data:`COMMANDS`: a module with ``add_arguments(parser)`` and
``run(args)``, which returns the exit code. What these modules import beyond the standard library
they import inside functions, so that ``--help`` is there at once. Rooms raise; :func:`main` alone
turns errors into exit codes:

===== ==========================================================================================
code  meaning
===== ==========================================================================================
0     done
1     done, and what was examined is not right: the data has errors, an export differs, the doctor
      found a problem, a run of a study failed
2     not done: a wrong argument, a file that cannot be read or written, a missing package
130   interrupted by Ctrl-C
===== ==========================================================================================
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

from scsa_yolo import __version__
from scsa_yolo.support.arguments import add_force, add_json, check_json, split_json
from scsa_yolo.support.text import one_line
from scsa_yolo.support.words import closest, hint

USAGE_ERROR = 2
INTERRUPTED = 130


@dataclass(frozen=True)
class Command:
    """A subcommand: one line of what it does, examples, its arguments, and what it runs (returning
    the exit code).
    """

    summary: str
    examples: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser, "the report")
    add_force(parser)


def _doctor(args: argparse.Namespace) -> int:
    from pathlib import Path

    from scsa_yolo.commands import doctor
    from scsa_yolo.support.arguments import STDOUT
    from scsa_yolo.support.files import write_text

    check_json(args.json, force=args.force)
    found = []
    for check in doctor.checks():
        found.append(check)
        if args.json != STDOUT:
            print(doctor.text(check), flush=True)
    if args.json == STDOUT:
        print(doctor.as_json(found))
    else:
        print(f"\n{doctor.verdict(found)}")
        if args.json is not None:
            write_text(Path(args.json), f"{doctor.as_json(found)}\n")
    return int(any(check.state == doctor.PROBLEM for check in found))


def _room(module: str, summary: str, examples: str) -> Command:
    """Return the command of a module that brings its own arguments."""

    def arguments(parser: argparse.ArgumentParser) -> None:
        import_module(module).add_arguments(parser)

    def run(args: argparse.Namespace) -> int:
        return import_module(module).run(args)

    return Command(summary, examples, arguments, run)


_DATA = {
    "convert": (
        "scsa_yolo.datasets.convert.command",
        "turn a native format into Ultralytics' layout",
    ),
    "check": ("scsa_yolo.datasets.check.command", "say what is wrong with a data set"),
    "show": ("scsa_yolo.datasets.show.command", "draw samples of a data set"),
}


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    for name, (module, summary) in _DATA.items():
        import_module(module).add_arguments(actions.add_parser(name, help=summary))


def _data(args: argparse.Namespace) -> int:
    return import_module(_DATA[args.action][0]).run(args)


COMMANDS: dict[str, Command] = {
    "doctor": Command(
        "check the installation and say what to type for whatever is wrong",
        "scsa-yolo doctor",
        _doctor_arguments,
        _doctor,
    ),
    "models": _room(
        "scsa_yolo.commands.models",
        "list the packaged model YAMLs, what they cost, and where the attention sits",
        "scsa-yolo models yolo11\nscsa-yolo models --scales ns --csv > models.csv",
    ),
    "graft": _room(
        "scsa_yolo.commands.graft",
        "put an attention module into the residual units of any model YAML",
        "scsa-yolo graft yolo11s-seg.yaml EMA -o yolo11s-seg-ema.yaml\nscsa-yolo graft yolov8n.yaml"
        " SCSA --rows 4,6,8 --option window=9 --option gate=softmax --start identity",
    ),
    "data": Command(
        "convert a data set from its native format, check one before training, or draw samples"
        " of it",
        "scsa-yolo data convert visdrone ~/VisDrone ~/datasets/VisDrone-scsa\n"
        "scsa-yolo data check scsa-demo.yaml\n"
        "scsa-yolo data show scsa-demo.yaml -o samples.png",
        _data_arguments,
        _data,
    ),
    "evaluate": _room(
        "scsa_yolo.evaluation.command",
        "measure a detector by object size, by condition, and by COCO's and VisDrone's rules",
        "scsa-yolo evaluate runs/detect/train/weights/best.pt data=scsa-demo.yaml",
    ),
    "bench": _room(
        "scsa_yolo.benchmark.command",
        "measure latency, throughput and memory of models in turns, against the first of them",
        "scsa-yolo bench yolov8n.yaml yolov8n-scsa.yaml yolov8n+EMA\n"
        "scsa-yolo bench best.pt best.onnx --imgsz 320 --csv bench.csv",
    ),
    "export": _room(
        "scsa_yolo.deploy.command",
        "export a model, and prove that the result is equal: raw outputs, boxes, mAP, latency",
        "scsa-yolo export best.pt format=onnx,openvino dynamic=True data=scsa-demo.yaml",
    ),
    "study": _room(
        "scsa_yolo.study.command",
        "compare models on your data with paired seeds, and say what the numbers carry",
        "scsa-yolo study init plan.yaml\nscsa-yolo study run plan.yaml\nscsa-yolo study report"
        " runs/study/demo",
    ),
}

# What people type who expect a command here that has another name, or is Ultralytics' own.
_STOCK = "is the stock command's. Type: yolo"
HINTS = {
    "train": f"training {_STOCK} train model=yolov8n-scsa.yaml data=scsa-demo.yaml",
    "val": f"validation {_STOCK} val model=best.pt data=my.yaml, or: scsa-yolo evaluate best.pt"
    " data=my.yaml",
    "predict": f"prediction {_STOCK} predict model=best.pt source=street.jpg",
    "track": f"tracking {_STOCK} track model=best.pt source=street.mp4",
    "tune": f"tuning {_STOCK} tune model=yolov8n-scsa.yaml data=my.yaml",
    "settings": f"settings {_STOCK} settings",
    "benchmark": "it is called bench. Type: scsa-yolo bench yolov8n yolov8n+SCSA",
    "validate": "it is called evaluate. Type: scsa-yolo evaluate best.pt data=my.yaml",
    "eval": "it is called evaluate. Type: scsa-yolo evaluate best.pt data=my.yaml",
    "convert": "it is an action of data. Type: scsa-yolo data convert --help",
    "check": "it is an action of data. Type: scsa-yolo data check my.yaml",
    "show": "it is an action of data. Type: scsa-yolo data show my.yaml",
    "run": "it is an action of study. Type: scsa-yolo study run plan.yaml",
    "report": "it is an action of study. Type: scsa-yolo study report runs/study/demo",
    "version": "Type: scsa-yolo --version",
}


class _Parser(argparse.ArgumentParser):
    """Errors as everywhere here: one line, and what to type."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read the words, and refuse here what the command does not know."""
        found, rest = self.parse_loosely(args, namespace)
        if rest and not self._subparsers:
            self.refuse(rest)
        return found, rest

    def parse_loosely(self, args: Any = None, namespace: Any = None) -> Any:
        """Read ``--json`` by our grammar, and return what the command does not know."""
        words = sys.argv[1:] if args is None else list(args)
        if any(
            "--json" in action.option_strings and action.nargs == "?" for action in self._actions
        ):
            words = split_json(words)
        return super().parse_known_args(words, namespace)

    def refuse(self, rest: list[str]) -> NoReturn:
        """Leave with what is not understood, and with what to type."""
        self.error(self._unrecognized(rest))

    def error(self, message: str) -> NoReturn:
        """Print one line with what to type, and leave with code 2."""
        message = _with_hint(message)
        end = "" if message.endswith(("?", ".")) else "."
        todo = "" if "Type: " in message else f"{end} Type: {self.prog} --help"
        self.exit(USAGE_ERROR, f"scsa-yolo: {message}{todo}\n")

    def _unrecognized(self, rest: list[str]) -> str:
        """Say which words are not understood, and which option was perhaps meant."""
        options = [name for action in self._actions for name in action.option_strings]
        for word in rest:
            name, equals, value = word.partition("=")
            option = f"--{name.replace('_', '-')}"
            if equals and option in options:
                return f"unrecognized arguments: {' '.join(rest)}. Type: {option} {value}"
        typed = next((word for word in rest if word.startswith("-")), "")
        meant = _meant(typed.split("=")[0], options)
        return f"unrecognized arguments: {' '.join(rest)}{meant}"


def _with_hint(message: str) -> str:
    """Say of a word that is no command or choice what was perhaps meant."""
    found = re.search(r"invalid choice: '?([^' ]*)'? \(choose from (.*)\)", message)
    if not found:
        return message
    word, choices = found[1], re.findall(r"[\w.+-]+", found[2])
    start = f"invalid choice: {word!r}"
    if "argument command" in message and word.lower() in HINTS:
        return f"{start}: {HINTS[word.lower()]}"
    meant = _meant(word, choices)
    return f"{start}{meant or '.'} There are {', '.join(choices)}"


def _meant(word: str, known: list[str]) -> str:
    """Return the sentence that says what was perhaps meant, after its full stop."""
    close = hint(closest(word, known))
    return close and f".{close}"


def _wrapped(summary: str) -> str:
    """Return the summary as sentences in lines of a screen; the formatter keeps text as it is."""
    return textwrap.fill(f"{summary[0].upper()}{summary[1:]}.", 100)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    top = _Parser(
        prog="scsa-yolo",
        description=(
            "SCSA and other attention modules for YOLO and RT-DETR, on unmodified Ultralytics."
        ),
        epilog=(
            "Training, validation and prediction are the stock yolo command: "
            "yolo train model=yolov8n-scsa.yaml data=scsa-demo.yaml imgsz=320 epochs=20. "
            "Exit codes: 0 done; 1 done, and what was examined is not right; 2 not done: wrong "
            "arguments, a file or a package is missing; 130 interrupted."
        ),
    )
    top.add_argument("--version", action="version", version=f"scsa-yolo {__version__}")
    subparsers = top.add_subparsers(dest="command", metavar="command", required=True)
    for name, command in COMMANDS.items():
        sub = subparsers.add_parser(
            name,
            help=command.summary,
            description=_wrapped(command.summary),
            epilog="examples:\n"
            + "\n".join(f"  {example}" for example in command.examples.splitlines()),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.arguments(sub)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``scsa-yolo`` and return its exit code; the table above says what each code means."""
    arguments = _asking_for_help(list(sys.argv[1:] if argv is None else argv))
    try:
        args = parser().parse_args(arguments)
        args.typed = shlex.join(["scsa-yolo", *arguments])
        return COMMANDS[args.command].run(args)
    except SystemExit as stop:  # argparse, after --help, --version or an error that it has printed
        return int(stop.code or 0)
    except BrokenPipeError:  # the reader, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "interrupted", INTERRUPTED)
    except ImportError as error:
        return _fail(_with_advice(error), USAGE_ERROR)
    except (ValueError, OSError) as error:
        return _fail(str(error) or type(error).__name__, USAGE_ERROR)


def _asking_for_help(arguments: list[str]) -> list[str]:
    """Turn nothing at all, and ``help evaluate``, into the option that argparse knows."""
    if not arguments:
        return ["--help"]
    return [*arguments[1:], "--help"] if arguments[0] == "help" else arguments


def _with_advice(error: ImportError) -> str:
    """Send to the doctor, unless the error says by itself what to install."""
    text = str(error)
    said = "pip install" in text or "Type: " in text
    return text if said else f"{text}. Type: scsa-yolo doctor"


def _fail(message: str, code: int) -> int:
    print(f"scsa-yolo: {one_line(message)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
