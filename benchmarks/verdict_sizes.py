"""How often a verdict is wrong when there is nothing to find: simulated sizes of the rules.

    python benchmarks/verdict_sizes.py                # the tables of docs/studies.md, in Markdown
    python benchmarks/verdict_sizes.py --studies 200  # a quick look

Each row draws studies in which the arm's mean difference is 0 (for equivalence: exactly the margin)
and counts false verdicts of today's rules, beside those of version 0.1.0: the sign-flip test and
the BCa interval alone, on whatever pairs there were, whenever one looked, each data set by itself.
The seed is fixed, so the same scipy and NumPy give the same table.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from scsa_yolo.paired.differences import Comparison
from scsa_yolo.study.reporting.verdict import HARMS, IMPROVES, NO_DIFFERENCE, Rules, judge

Draw = Callable[[np.random.Generator, int], np.ndarray]
PAIRS = (6, 9, 12)
FEW = (4, 5, 6)  # today fewer than 6 are never equal; such a loss of more is called one
LOOKS = range(6, 14)
SD = 0.01  # of a difference, a share of 1
RULES = Rules()
FALSE = (IMPROVES, HARMS)


def collapsing(rng: np.random.Generator, pairs: int) -> np.ndarray:
    """One run in ten collapses by ten standard deviations; the others gain what that costs."""
    return 1.0 + rng.standard_normal(pairs) - 10.0 * (rng.random(pairs) < 0.1)


# Each with mean 0, long tails towards losses, and (but for the last) a standard deviation of 1.
DRAWS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "exponential": lambda rng, n: 1 - rng.exponential(size=n),
    "lognormal": lambda rng, n: (math.exp(0.5) - rng.lognormal(size=n)) / 2.1612,
    "Student t, 3 degrees": lambda rng, n: rng.standard_t(3, n) / math.sqrt(3),
    "collapse in 1 run of 10": collapsing,
}


def compared(values: np.ndarray) -> Comparison:
    """Return the comparison of these differences."""
    return Comparison(dict(enumerate(values.tolist())))


def candidates(drawn: np.ndarray) -> list[Comparison]:
    """Return the comparisons, of studies in rows, whose sign-flip p is at most alpha.

    Only these can be better or worse by either rule; all sign patterns are counted at once here,
    since scipy's test of each study alone takes most of the time.
    """
    pairs = drawn.shape[1]
    signs = np.array(list(itertools.product((1, -1), repeat=pairs - 1)))
    sums = np.abs(drawn[:, 1:] @ signs.T + drawn[:, :1])
    extreme = sums >= np.abs(drawn.sum(axis=1))[:, None] - 1e-12
    chosen = drawn[extreme.mean(axis=1) <= RULES.alpha + 1e-9]
    return [compared(values) for values in chosen]


def old_rule(found: Comparison) -> bool:
    """Return whether version 0.1.0 called these differences better or worse."""
    if found.p is None or found.p > RULES.alpha or found.bca is None:
        return False
    return found.bca[0] > 0 or found.bca[1] < 0


def old_equal(found: Comparison) -> bool:
    """Return whether version 0.1.0 called these differences no measurable difference."""
    return within(found.t) and within(found.bca) and not old_rule(found)


def within(interval: tuple[float, float] | None) -> bool:
    """Return whether an interval lies within the margin."""
    margin = RULES.margin
    return interval is not None and -margin <= interval[0] and interval[1] <= margin


def word(found: Comparison) -> str:
    """Return today's verdict on a finished study with one arm and one data set."""
    return judge({"arm": found}, RULES)["arm"].word


def sizes(studies: int) -> Iterator[str]:
    """Yield the rows of false verdicts by distribution and number of pairs."""
    yield "| differences | " + " | ".join(f"{n} pairs" for n in PAIRS) + " |"
    yield "|---|" + "--:|" * len(PAIRS)
    for name, draw in DRAWS.items():
        cells = []
        for pairs in PAIRS:
            rng = np.random.default_rng([1, pairs])
            drawn = SD * np.array([draw(rng, pairs) for _ in range(studies)])
            found = candidates(drawn)
            new = sum(word(one) in FALSE for one in found)
            cells.append(f"{share(new, studies)} ({share(sum(map(old_rule, found)), studies)})")
        yield f"| {name} | {' | '.join(cells)} |"


def equivalence(studies: int) -> Iterator[str]:
    """Yield the rows of false equivalence: the true mean is a loss as large as the margin."""
    yield "| differences | " + " | ".join(f"{n} pairs" for n in FEW) + " |"
    yield "|---|" + "--:|" * len(FEW)
    for name, draw in DRAWS.items():
        cells = []
        for pairs in FEW:
            rng = np.random.default_rng([2, pairs])
            shift = -RULES.margin
            drawn = [
                compared(shift + 0.25 * RULES.margin * draw(rng, pairs)) for _ in range(studies)
            ]
            new = sum(within(found.t) and word(found) == NO_DIFFERENCE for found in drawn)
            cells.append(f"{share(new, studies)} ({share(sum(map(old_equal, drawn)), studies)})")
        yield f"| {name} | {' | '.join(cells)} |"


def coverage(studies: int) -> Iterator[str]:
    """Yield the rows of how often 95 % intervals hold the mean."""
    yield "| differences | pairs | t | BCa | studentized |"
    yield "|---|--:|--:|--:|--:|"
    for name in ("normal", "exponential", "lognormal"):
        for pairs in PAIRS:
            rng = np.random.default_rng([3, pairs])
            held = np.zeros(3)
            for _ in range(studies):
                found = compared(SD * DRAWS[name](rng, pairs))
                intervals = (found.t, found.bca, found.bootstrap_t.interval)
                held += [i is None or i[0] <= 0 <= i[1] for i in intervals]
            yield f"| {name} | {pairs} | {' | '.join(share(h, studies) for h in held)} |"


def designs(studies: int) -> Iterator[str]:
    """Yield the rows of false verdicts by missing runs, early looks, and several data sets."""
    yield "| study, differences normal | false verdicts | version 0.1.0 |"
    yield "|---|--:|--:|"
    rng = np.random.default_rng(4)
    new = old = 0
    for _ in range(studies):
        drawn = SD * rng.standard_normal(12)
        kept = drawn[(drawn > 0) | (rng.random(12) < 0.5)]  # half of the lost pairs end as NaN
        for found in candidates(kept[None]):
            blocked = {"arm": "missing"} if len(kept) < 12 else {}
            new += judge({"arm": found}, RULES, blocked=blocked)["arm"].word in FALSE
            old += old_rule(found)
    yield row("12 seeds, half of the runs that would lose fail", new, old, studies)
    new = old = 0
    every = SD * rng.standard_normal((studies, LOOKS[-1]))
    stopped: set[bytes] = set()
    for pairs in LOOKS:
        for found in candidates(every[:, :pairs]):
            start = np.array(found.values).tobytes()[:40]  # five differences tell a study
            stopped |= {start} if old_rule(found) else set()
            if pairs == LOOKS[-1]:
                new += word(found) in FALSE
            else:
                open_ = judge({"arm": found}, RULES, unfinished="runs are left")["arm"]
                new += open_.word in FALSE
    old = len(stopped)
    yield row("13 seeds, a look after each from the 6th on", new, old, studies)
    new = old = 0
    for _ in range(studies):
        drawn = SD * rng.standard_normal((4, 10))
        found_in = candidates(drawn)
        if found_in:
            sets = {number: compared(values) for number, values in enumerate(drawn)}
            new += any(verdict.word in FALSE for verdict in judge(sets, RULES).values())
            old += any(map(old_rule, found_in))
    yield row("10 seeds, one arm on four data sets, any verdict", new, old, studies)


def row(title: str, new: int, old: int, studies: int) -> str:
    """Return a row of two shares."""
    return f"| {title} | {share(new, studies)} | {share(old, studies)} |"


def share(count: float, of: int) -> str:
    """Return a share of a hundred with one decimal."""
    return f"{100 * count / of:.1f} %"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=int, default=2000, help="simulated in each cell")
    tables = {make.__name__: make for make in (sizes, equivalence, designs, coverage)}
    parser.add_argument("--tables", nargs="+", choices=tables, default=list(tables))
    arguments = parser.parse_args()
    studies = arguments.studies
    for make in (tables[name] for name in arguments.tables):
        number = studies if make is not coverage else studies // 4  # each takes two bootstraps
        print(f"\n{make.__name__}, {number:,} studies a cell\n", flush=True)
        for line in make(number):
            print(line, flush=True)


if __name__ == "__main__":
    main()
