"""Section 1: requests until a bad candidate fails, and how often a healthy one does."""

from __future__ import annotations

import numpy as np
from tests.bench.statistics.rows import Row, judged

from trimtab.stats.counts import BadTotal
from trimtab.stats.sequential import gate_evidence

THRESHOLD = 100.0
"""1/alpha at alpha = 0.01."""
STABLE_PER_CANDIDATE = 4
RUNS = 60
CASES = (
    # candidate, stable, margin, look after, median of the reference, most that is accepted
    (1.0, 0.001, 0.01, 1, 4, 4),
    (0.2, 0.001, 0.01, 10, 40, 50),
    (0.05, 0.001, 0.01, 10, 330, 370),
    (0.05, 0.01, 0.01, 10, 855, 950),
    (0.02, 0.01, 0.0, 10, 4340, 4800),
)


def requests_to_fail(
    candidate: float, stable: float, margin: float, step: int, draws: np.random.Generator, most: int
) -> int | None:
    """Candidate requests until the gate fails; None if it does not within `most`."""
    ours, theirs = BadTotal(0, 0), BadTotal(0, 0)
    for requests in range(step, most + 1, step):
        control = step * STABLE_PER_CANDIDATE
        ours += BadTotal(float(draws.binomial(step, candidate)), float(step))
        theirs += BadTotal(float(draws.binomial(control, stable)), float(control))
        if gate_evidence(ours, theirs, margin) >= THRESHOLD:
            return requests
    return None


def rows() -> list[Row]:
    """Delays, then false alarms without a change and on the boundary of the null."""
    draws = np.random.default_rng(1)
    found = []
    for candidate, stable, margin, step, reference, most in CASES:
        delays = [
            requests_to_fail(candidate, stable, margin, step, draws, 20_000) for _ in range(RUNS)
        ]
        median = float(np.median([20_000 if delay is None else delay for delay in delays]))
        what = f"{candidate:.0%} against {stable:.1%} bad, margin {margin:.0%}: requests to Fail"
        goal = f"<= {most} ({reference} by independent code)"
        found.append(judged("1 gate", what, f"{median:.0f}", goal, median <= most))
    for what, candidate, margin, runs, allowed in (
        ("no change (1 % both, margin 1 %), 360 looks: false", 0.01, 0.01, 200, 0),
        ("on the boundary (2 % against 1 %), 360 looks: false", 0.02, 0.01, 200, 2),
    ):
        false = sum(
            requests_to_fail(candidate, 0.01, margin, 10, draws, 3600) is not None
            for _ in range(runs)
        )
        measured = f"{false} of {runs}"
        found.append(judged("1 gate", what, measured, f"<= {allowed} of {runs}", false <= allowed))
    return found
