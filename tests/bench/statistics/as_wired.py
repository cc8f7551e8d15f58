"""Section 8: how often a healthy candidate is rolled back through the whole real path.

Each run is a rollout of its own on a virtual clock (see `wired/world.py`): default gates and
confidence unless said, 3 pods, steps of 25 % for 1 m and 50 % for 2 m, a scrape every 5 s, ten
minutes of rest before (five where requests are independent).
"""

from __future__ import annotations

import gc
import os
import resource
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from scipy.stats import beta
from tests.bench.statistics.rows import Row, judged
from tests.bench.statistics.wired.cases import CASES, HEALTHY
from tests.bench.statistics.wired.world import End, play

RUNS = 400
MOST_FALSE = 0.01
MOST_BOUND = 0.025
MOST_MINUTES = 30.0
SECTION = "8 as wired"


@dataclass(frozen=True)
class Ends:
    """How the runs of one row ended."""

    ends: tuple[End, ...]

    def of(self, outcome: str) -> int:
        """Return how many ended so."""
        return sum(end.outcome == outcome for end in self.ends)


def rarely_collect() -> None:
    """Let a process of the pool look for garbage seldom: a run leaves little, all in one piece."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


def upper_bound(count: int, runs: int) -> float:
    """Return the one-sided 95 % Clopper-Pearson bound of a share."""
    return 1.0 if count == runs else float(beta.ppf(0.95, count + 1, runs - count))


def run(case: str, seed: int) -> End:
    """Play one run of a row."""
    return play(CASES[case](), seed)


def runs_of(case: str, runs: int, pool: ProcessPoolExecutor) -> Ends:
    """Play all runs of a row."""
    return Ends(tuple(pool.map(partial(run, case), range(runs), chunksize=4)))


def healthy_row(case: str, ends: Ends) -> Row:
    """Return the line about a healthy candidate."""
    false, runs = ends.of("RolledBack"), len(ends.ends)
    bound = upper_bound(false, runs)
    others = Counter(end.outcome for end in ends.ends)
    del others["RolledBack"]
    told = ", ".join(f"{n} {outcome}" for outcome, n in sorted(others.items()))
    return judged(
        SECTION,
        f"healthy, {case}: rolled back",
        f"{false} of {runs} ({told})",
        "<= 1 %, bound <= 2.5 %",
        false <= MOST_FALSE * runs and bound <= MOST_BOUND,
    )


def time_row(cpu_seconds: float) -> Row:
    """Return the line about what the section costs."""
    minutes = cpu_seconds / 2 / 60
    return judged(
        SECTION,
        "the whole section, on two cores",
        f"{minutes:.1f} min ({cpu_seconds:.0f} s of CPU)",
        f"<= {MOST_MINUTES:g} min",
        minutes <= MOST_MINUTES,
    )


def rows(runs: int = RUNS, only: str = "") -> list[Row]:
    """Return all lines; `runs` a line."""
    before = children_seconds()
    found = rows_of([case for case in HEALTHY if only in case], runs)
    if runs >= RUNS and not only:
        found.append(time_row(children_seconds() - before))
    return found


def rows_of(cases: Iterable[str], runs: int) -> list[Row]:
    """Return the lines of these cases."""
    found = []
    with ProcessPoolExecutor(os.cpu_count(), initializer=rarely_collect) as pool:
        for case in cases:
            found.append(healthy_row(case, runs_of(case, runs, pool)))
            print(found[-1], flush=True)
    return found


def children_seconds() -> float:
    """Return the CPU time of the processes of pools that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
