"""``scsa-yolo study check``: everything that can be known of a plan before its first run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scsa_yolo.paired.differences import seeds_needed
from scsa_yolo.study.planning import paper
from scsa_yolo.study.planning.arms import is_reference
from scsa_yolo.study.planning.file import PlanError, named
from scsa_yolo.study.planning.plan import Plan, load, plan_hash
from scsa_yolo.study.planning.schedule import schedule
from scsa_yolo.study.planning.verify import data_set, verify
from scsa_yolo.support.text import counted

__all__ = ["check_plan"]


def check_plan(path: str | Path, tflops: float = paper.TFLOPS) -> int:
    """Build every arm's model, check each data set, and print runs and costs; nothing is fetched or
    written.

    Args:
        path: The plan's YAML.
        tflops: See `scsa_yolo.study.planning.paper.estimate`.

    Returns:
        0, or 1 where a data set is unfit or missing.

    Raises:
        PlanError: The plan cannot be run.
    """
    plan = load(path)
    with named(path):
        return _check(plan, tflops)


def _check(plan: Plan, tflops: float) -> int:
    from scsa_yolo.complexity import cost
    from scsa_yolo.modelfiles.graft_file import check_builds

    print(f"{plan.name}: {plan_hash(plan)}")
    gflops = {}
    for (model, arm), (file, text) in verify(plan).items():
        try:
            built = check_builds(text, file)
        except ValueError as error:
            raise PlanError(f"arms.{arm} on {model}: {error}") from error
        if built.task != "detect":
            raise PlanError(
                f"models: {model} is a model for {built.task!r}, and studies are of detectors"
            )
        own = cost(built.model, plan.train["imgsz"])
        gflops[model, arm] = own.gflops
        print(
            f"  {model} {arm}: {own.parameters:,} parameters, {own.gflops:.2f} GFLOPs,"
            f" {_what(built)}",
            flush=True,
        )
    problems = _check_data(plan)
    lines = [_counts(plan), _enough(plan), paper.report(plan, tflops, gflops), *problems]
    print("\n".join(lines))
    return int(bool(problems))


def _what(built: Any) -> str:
    from scsa_yolo.modelfiles.catalogue import places

    found = {name: len(at) for name, at in places(built.model).items()}
    return ", ".join(f"{count} {name}" for name, count in found.items()) or "no attention"


def _check_data(plan: Plan) -> list[str]:
    """Say what each data set holds, and return a line for each thing that is wrong."""
    problems = []
    for name in plan.data:
        try:
            found = data_set(plan, name, None, lambda line: print(f"  {line}", flush=True))
        except PlanError as error:
            problems.append(str(error))
        else:
            problems += [f"data: {name} fails its check: {text}" for text in found.problems]
    return problems


def _enough(plan: Plan) -> str:
    """Say how many seeds the verdicts take: Holm's correction covers models and data sets."""
    arms = [arm for name, arm in plan.arms.items() if name != plan.control]
    under_test = sum(not is_reference(arm) for arm in arms) or len(arms)
    comparisons = max(1, under_test * len(plan.models) * len(plan.data))
    needed = seeds_needed(plan.verdict["alpha"], comparisons)
    enough = len(plan.seeds) >= needed
    says = "which is enough" if enough else "so nothing can be called better or worse"
    number = counted(comparisons, "comparison")
    return (
        f"verdicts: for {number} with {plan.control} it takes at least {needed} seeds, the plan"
        f" has {len(plan.seeds)}, {says}"
    )


def _counts(plan: Plan) -> str:
    parts = {"arms": plan.arms, "seeds": plan.seeds, "models": plan.models, "data sets": plan.data}
    shown = [
        f"{len(of)} {name}"
        for name, of in parts.items()
        if len(of) > 1 or name in ("arms", "seeds")
    ]
    repeats = 0 if plan.repeats is None else plan.repeats.times * len(plan.models) * len(plan.data)
    more = f", and {repeats} repeats" if repeats else ""
    return f"{len(schedule(plan))} runs: {' x '.join(shown)}{more}"
