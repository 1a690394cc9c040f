"""``scsa-yolo study``: its actions, and what they print."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``scsa-yolo study`` and their arguments."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    init = actions.add_parser("init", help="write a plan with comments")
    init.add_argument(
        "file", nargs="?", type=Path, default=Path("plan.yaml"), help="(default: plan.yaml)"
    )
    init.add_argument("--force", action="store_true", help="overwrite the file if it exists")
    check = actions.add_parser(
        "check", help="build every arm, check the data, say how many runs it would be"
    )
    check.add_argument("plan", type=Path, help="the plan's YAML, or the name of a packaged one")
    check.add_argument(
        "--tflops", type=float, help="throughput of one GPU that the estimated hours assume"
    )
    go = actions.add_parser("run", help="do the runs that are left")
    go.add_argument("plan", type=Path, help="the plan's YAML, or the name of a packaged one")
    go.add_argument("--folder", type=Path, help="the study's folder (default: runs/study/NAME)")
    go.add_argument("--jobs", type=int, help="runs at a time on this machine (default: 1)")
    go.add_argument(
        "--threads", type=int, help="threads of each run on a CPU (default: Ultralytics' choice)"
    )
    go.add_argument("--device", help="as for Ultralytics: cpu, 0, 0,1 ... (default: its choice)")
    go.add_argument(
        "--retry-failed", action="store_true", help="do runs again that have a record of failure"
    )
    go.add_argument(
        "--ray",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help=(
            "spread the runs over a Ray cluster: its address, local for this machine (default: the"
            " running cluster)"
        ),
    )
    go.add_argument(
        "--gpus-per-run",
        type=float,
        help="with --ray: GPUs of each run (default: 1 where there are any)",
    )
    go.add_argument("--cpus-per-run", type=float, help="with --ray: CPUs of each run")
    go.add_argument(
        "--retries", type=int, help="with --ray: how often a lost run is started again (default: 2)"
    )
    status = actions.add_parser("status", help="say how far a study is")
    status.add_argument("folder", type=Path, help="the study's folder")
    report = actions.add_parser(
        "report", help="make the tables, plots and verdicts from the records"
    )
    report.add_argument("folder", type=Path, help="the study's folder")
    report.add_argument("--output", type=Path, help="folder to write to (default: the study's)")


def run(args: argparse.Namespace) -> int:
    """Run ``scsa-yolo study`` and return the exit code.

    Raises:
        ValueError, OSError: The input was wrong; the message is one line.
    """
    return int(
        {"init": _init, "check": _check, "run": _run, "status": _status, "report": _report}[
            args.action
        ](args)
    )


def _init(args: argparse.Namespace) -> int:
    from scsa_yolo.modelfiles.graft_file import write
    from scsa_yolo.study.planning.template import template

    if args.file.suffix.lower() not in (".yaml", ".yml"):
        raise ValueError(
            f"a plan is a YAML file, got '{args.file}'. Type: scsa-yolo study init {args.file}.yaml"
        )
    write(args.file, template(args.file.stem), force=args.force)
    print(f"wrote {args.file}. Change it, then type: scsa-yolo study check {args.file}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from scsa_yolo.study.planning.check import check_plan
    from scsa_yolo.study.planning.paper import TFLOPS, find

    return check_plan(find(args.plan), TFLOPS if args.tflops is None else args.tflops)


def _run(args: argparse.Namespace) -> int:
    from scsa_yolo.study.planning.paper import find

    for name in ("jobs", "threads"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise ValueError(f"--{name} takes a number from 1, got {getattr(args, name)}")
    names = ("retry_failed", "device", "threads", "jobs")
    options: dict[str, Any] = {
        name: getattr(args, name) for name in names if getattr(args, name) is not None
    }
    of_ray = {name: getattr(args, name) for name in ("gpus_per_run", "cpus_per_run", "retries")}
    of_ray = {name: value for name, value in of_ray.items() if value is not None}
    plan = find(args.plan)
    try:
        if args.ray is not None:
            from scsa_yolo.study.running.cluster import run_on_ray

            return run_on_ray(plan, args.folder, address=args.ray, **options, **of_ray)
        if of_ray:
            raise ValueError(
                f"--{next(iter(of_ray)).replace('_', '-')} is for a cluster: add --ray"
            )
        from scsa_yolo.study.running.local import run_study

        return run_study(plan, args.folder, **options)
    except KeyboardInterrupt:
        print("\nstopped; type the same command again to go on", file=sys.stderr)
        return 130


def _status(args: argparse.Namespace) -> int:
    from scsa_yolo.study.running.status import status

    print(status(args.folder))
    return 0


def _report(args: argparse.Namespace) -> int:
    from scsa_yolo.study.reporting.report import make

    path, answer = make(args.folder, output=args.output)
    print(f"{answer}\n\nwrote {path}, report.md and report.csv")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m scsa_yolo.study.command`` and return the exit code."""
    parser = argparse.ArgumentParser(prog="scsa-yolo study")
    add_arguments(parser)
    try:
        return run(parser.parse_args(argv))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"scsa-yolo: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
