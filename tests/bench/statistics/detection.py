"""Section 8, the other side: how soon a bad candidate is found through the whole real path.

Beside each median is that of the test of section 1 alone (`sums`): on sums of the same moments, in
rounds that begin with the candidate's first request. It takes all requests for independent, and
rolls healthy candidates back (see `as_wired`). Independent traffic may take a quarter longer, or
two rounds: one in which the candidate starts, and one in which traffic is taken away. Steps last
long enough to see when a fault is found.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from tests.bench.statistics.rows import Row, judged
from tests.bench.statistics.wired.cases import BASE, trial
from tests.bench.statistics.wired.users import ByMinute, Independent
from tests.bench.statistics.wired.world import End, Trial, play

from trimtab.stats.counts import BadTotal
from trimtab.stats.sequential import gate_evidence

RUNS = 60
SUMS_RUNS = 100
SECTION = "8 detection"
MOST_OF_SUMS = 1.25
MOST_ROUNDS = 2
ROUND_SECONDS = 5.0
THRESHOLD = 600.0
"""Of three gates and two steps at 99 %."""
MARGIN = 0.005
LEAST_FOUND = 0.95
MOST_CLUSTERED = 600
ROLLOUT = {
    "deadline": "2h",
    "steps": [{"weight": "25%", "for": "10m"}, {"weight": "50%", "for": "20m"}],
}


@dataclass(frozen=True)
class Fault:
    """One entry: bad requests above stable's 1 %, requests a second to all pods."""

    above: float
    rate: float
    correlation: float = 0.0

    @property
    def trial(self) -> Trial:
        """What its rollouts are like. Clustered traffic has the steps of `as_wired`."""
        users = {"fault": self.above}
        if self.correlation:
            return trial(lambda d: ByMinute(d, BASE, self.correlation), self.rate, users=users)
        return trial(lambda d: Independent(d, BASE), self.rate, users=users, rollout=ROLLOUT)

    def __str__(self) -> str:
        """Return its name in the table."""
        traffic = f"correlation {self.correlation:g}" if self.correlation else "independent"
        return f"+{self.above:.0%}, {traffic}, {self.rate:g}/s"


ENTRIES = (
    Fault(0.02, 5),
    Fault(0.02, 20),
    Fault(0.02, 100),
    Fault(0.05, 5),
    Fault(0.05, 20),
    Fault(0.05, 100),
    Fault(0.2, 5),
    Fault(0.2, 20),
    Fault(0.2, 100),
    Fault(1.0, 5),
    Fault(1.0, 20),
    Fault(1.0, 100),
    Fault(0.2, 20, correlation=0.05),
    Fault(1.0, 20, correlation=0.05),
)


def run(number: int, seed: int) -> End:
    """Play one run of an entry."""
    return play(ENTRIES[number].trial, seed)


def median(values: Iterable[float]) -> float:
    """Return the median; infinite where most are."""
    return float(np.median([*values]))


def sums_need(fault: Fault, draws: np.random.Generator) -> float:
    """Return the candidate requests until sums show a fault in independent traffic, once."""
    ours, theirs = BadTotal(0.0, 0.0), BadTotal(0.0, 0.0)
    for share, seconds in ((0.25, 600.0), (0.5, 1200.0)):
        before, ours, theirs = ours.total, BadTotal(0.0, 0.0), BadTotal(0.0, 0.0)
        for _ in range(int(seconds / ROUND_SECONDS)):
            arrived = fault.rate * ROUND_SECONDS
            n, m = draws.poisson(arrived * share), draws.poisson(arrived * (1 - share))
            bad = draws.binomial(n, BASE + (1 - BASE) * fault.above)
            ours += BadTotal(float(bad), float(n))
            theirs += BadTotal(float(draws.binomial(m, BASE)), float(m))
            if gate_evidence(ours, theirs, MARGIN) >= THRESHOLD:
                return before + ours.total
    return math.inf


def row(fault: Fault, ends: list[End]) -> Row:
    """Return the line of one entry."""
    found = [end for end in ends if end.outcome == "RolledBack"]
    missed = [math.inf] * (len(ends) - len(found))
    requests = median([*(float(end.requests) for end in found), *missed])
    seconds = median([*(end.seconds for end in found), *missed])
    what = f"fault, {fault}: found"
    measured = f"{len(found)} of {len(ends)}, {requests:.0f} requests, {seconds:.0f} s"
    if fault.correlation:
        goal = f">= {LEAST_FOUND:.0%}, <= {MOST_CLUSTERED} requests"
        is_met = len(found) >= LEAST_FOUND * len(ends) and requests <= MOST_CLUSTERED
        return judged(SECTION, what, measured, goal, is_met)
    draws = np.random.default_rng(1)
    sums = median(sums_need(fault, draws) for _ in range(SUMS_RUNS))
    if math.isinf(sums):
        return Row(SECTION, what, measured, "sums: not found")
    of_round = fault.rate * ROUND_SECONDS * 0.25
    most = max(MOST_OF_SUMS * sums, sums + MOST_ROUNDS * of_round)
    peers = f"sums: {sums:.0f} requests"
    return judged(SECTION, what, measured, f"<= {most:.0f} requests", requests <= most, peers)


def rows(runs: int = RUNS) -> list[Row]:
    """Return all lines; `runs` a line."""
    found = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for number, fault in enumerate(ENTRIES):
            found.append(row(fault, list(pool.map(partial(run, number), range(runs), chunksize=2))))
            print(found[-1], flush=True)
    return found
