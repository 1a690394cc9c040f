"""Damages plans at random, and watches that each ends in a plan or in one line that names the file.

    python tools/fuzz_plans.py                        # 5,000 plans, always the same ones
    python tools/fuzz_plans.py --seed 7 --plans 20000 --seconds 600

Half of the plans are damaged as text (bytes cut, doubled, exchanged), half as values (a key taken
away, a value put in another's place, odd values). Exit status: 0, or 1 with the plans that broke
the rule, which are kept in a folder. `tests/study/test_fuzzed_plans.py` runs a short form.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from scsa_yolo.study.planning.file import PlanError
from scsa_yolo.study.planning.plan import load, plan_hash
from scsa_yolo.study.planning.schedule import schedule
from scsa_yolo.study.planning.template import TEMPLATE

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    4,
    2**32,
    10**30,
    0.9,
    float("nan"),
    float("inf"),
    "",
    " ",
    "a__b",
    "../x.yaml",
    "=1+1",
    "\x00",
    "é",
    "a" * 300,
    [],
    {},
    [[]],
    [None],
    [True],
    {"": 1},
    {1: 2},
    {None: None},
    datetime.date(2024, 1, 1),
    b"bytes",
    {"a", "b"},
)
SNIPPETS = (
    "[" * 50,
    "{" * 50,
    "&a [*a]",
    "*b",
    "!!set {a}",
    "!!binary x",
    "2024-13-45",
    "9" * 5000,
    "0x" + "f" * 5000,
    "? [1]\n: 2\n",
    "<<: 1\n",
    "\t",
    "\x00",
    "---\n",
    "'",
    ": ",
    "- ",
    "!!python/object:os.system x",
)
MOST_RUNS = 1_000_000  # that a plan which is taken may have


def damage_text(rng: random.Random, text: str) -> str:
    """Return the text with one to four damages."""
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.randint(0, 40))
        part = text[start:end]
        new = rng.choice(("", part * 2, part[::-1], rng.choice(SNIPPETS)))
        text = text[:start] + new + text[end:]
    return text


def damage_values(rng: random.Random, content: Any) -> Any:
    """Return the mapping with one to three values taken away, exchanged or made odd."""
    content = copy.deepcopy(content)
    for _ in range(rng.randint(1, 3)):
        places = list(walk(content))
        holder, key = rng.choice(places)
        action = rng.random()
        if action < 0.2:
            del holder[key]
        elif action < 0.4:
            other, name = rng.choice(places)
            holder[key] = copy.deepcopy(other[name])
        else:
            holder[key] = copy.deepcopy(rng.choice(ODD))
        if not content:
            break
    return content


def walk(content: Any) -> Any:
    """Yield each container with each of its keys."""
    keys = list(content) if isinstance(content, dict) else range(len(content))
    for key in keys:
        yield content, key
        if isinstance(content[key], (dict, list)):
            yield from walk(content[key])


def fault_of(path: Path) -> tuple[str, str]:
    """Load a plan; return how it ended, and what is wrong with that, or nothing."""
    try:
        plan = load(path)
        plan_hash(plan)
        runs = len(schedule(plan))
    except PlanError as error:
        text = str(error)
        if str(path) not in text:
            return "refused", f"the error does not name the file: {text[:200]}"
        if "\n" in text or len(text) > 2000:
            return "refused", f"the error is no line: {text[:200]!r}"
        return "refused", ""
    except Exception as error:  # noqa: BLE001  whatever it is, a user would see a traceback
        return "traceback", f"{type(error).__name__}: {str(error)[:200]}"
    return "taken", f"{runs} runs" if runs > MOST_RUNS else ""


def fuzz(plans: int, seconds: float, seed: int, keep: Path) -> tuple[Counter[str], list[str]]:
    """Damage plans until the number or the time is reached; return the ends, and the faults."""
    rng = random.Random(seed)
    content = yaml.safe_load(TEMPLATE)
    content["repeats"] = {"arm": "stock", "seed": 0, "times": 2}
    content["arms"]["wide"] = {"attention": "SCSA", "options": {"window": 9}, "rows": [2, 4]}
    path = keep / "plan.yaml"
    ends: Counter[str] = Counter()
    faults: list[str] = []
    stop = time.monotonic() + seconds
    for number in range(plans):
        if time.monotonic() > stop:
            break
        if number % 2:
            text = damage_text(rng, TEMPLATE)
        else:
            text = yaml.safe_dump(damage_values(rng, content), allow_unicode=True)
        path.write_text(text, encoding="utf-8")
        end, fault = fault_of(path)
        ends[end] += 1
        if fault:
            path.rename(keep / f"fault-{number}.yaml")
            faults.append(f"plan {number} ({end}): {fault}")
    return ends, faults


def main() -> int:
    """Run the fuzzer and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--plans", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    keep = Path(tempfile.mkdtemp(prefix="fuzzed-plans-"))
    ends, faults = fuzz(args.plans, args.seconds, args.seed, keep)
    print(", ".join(f"{count} {end}" for end, count in sorted(ends.items())))
    for fault in faults:
        print(fault)
    if faults:
        print(f"kept in {keep}")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
