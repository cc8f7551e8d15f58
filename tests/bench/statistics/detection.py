"""Section 8, the other side: how soon a bad candidate is found through the whole real path.

Beside each median is that of the plain test of section 1 on the same rollouts, which looks at sums
and takes all requests for independent (`plain`; it rolls healthy candidates back, see `as_wired`).
Independent traffic may take a quarter longer. Steps last long enough to see when a fault is found.
"""

from __future__ import annotations

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

RUNS = 20
SECTION = "8 detection"
MOST_OF_PLAIN = 1.25
LEAST_FOUND = 0.95
MOST_CLUSTERED = 600
ROLLOUT = {
    "deadline": "2h",
    "steps": [{"weight": "25%", "for": "10m"}, {"weight": "50%", "for": "20m"}],
}


@dataclass(frozen=True)
class Fault:
    """One entry: bad requests above stable's 1 %, requests a second to all pods.

    plain: median candidate requests that the plain test needs; None: more than the rollout has.
    """

    above: float
    rate: float
    plain: float | None
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
    Fault(0.02, 5, None),
    Fault(0.02, 20, None),
    Fault(0.02, 100, None),
    Fault(0.05, 5, None),
    Fault(0.05, 20, None),
    Fault(0.05, 100, None),
    Fault(0.2, 5, None),
    Fault(0.2, 20, None),
    Fault(0.2, 100, None),
    Fault(1.0, 5, None),
    Fault(1.0, 20, None),
    Fault(1.0, 100, None),
    Fault(0.2, 20, None, correlation=0.05),
)


def run(number: int, seed: int) -> End:
    """Play one run of an entry."""
    return play(ENTRIES[number].trial, seed)


def median(values: Iterable[float]) -> float:
    """Return the median; infinite where most are."""
    return float(np.median([*values]))


def row(fault: Fault, ends: list[End]) -> Row:
    """Return the line of one entry."""
    found = [end.outcome == "RolledBack" for end in ends]
    requests, seconds = (
        median(
            getattr(end, name) if is_found else float("inf")
            for end, is_found in zip(ends, found, strict=True)
        )
        for name in ("requests", "seconds")
    )
    what = f"fault, {fault}: found"
    measured = f"{sum(found)} of {len(ends)}, {requests:.0f} requests, {seconds:.0f} s"
    peers = "" if fault.plain is None else f"plain {fault.plain:.0f} requests"
    if fault.correlation:
        is_met = sum(found) >= LEAST_FOUND * len(ends) and requests <= MOST_CLUSTERED
        return judged(
            SECTION, what, measured, f">= 95 %, <= {MOST_CLUSTERED} requests", is_met, peers
        )
    if fault.plain is None:
        return Row(SECTION, what, measured)
    most = MOST_OF_PLAIN * fault.plain
    return judged(SECTION, what, measured, f"<= {most:.0f} requests", requests <= most, peers)


def rows(runs: int = RUNS) -> list[Row]:
    """Return all lines; `runs` a line."""
    found = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for number, fault in enumerate(ENTRIES):
            found.append(row(fault, list(pool.map(partial(run, number), range(runs), chunksize=2))))
            print(found[-1], flush=True)
    return found
