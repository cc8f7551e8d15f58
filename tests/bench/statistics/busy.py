"""Rows of section 10: does comparing make a pod that is at 80 % of its CPU look slow?

One prediction thread a pod, on a virtual clock, with the runtime's own budget: 200 requests a
second of 4 ms each. The candidate's pod asks the second model; three pods of stable do not.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
from tests.bench.statistics.as_wired import upper_bound
from tests.bench.statistics.guard import tried
from tests.bench.statistics.rows import Row, judged
from tests.unit.decide.rollout.builders import freeze

from trimtab.api.deployment import Deployment, StepStatus
from trimtab.decide.rollout.counting import origins_of, side_of
from trimtab.decide.rollout.judgement import Trial, judge_gates, learn_spread
from trimtab.decide.rollout.measures import ASIDE, REQUESTS, TIMED, slow_measure
from trimtab.decide.rollout.phases import Progress
from trimtab.decide.rollout.snapshot import Memory, ProcessView, Snapshot
from trimtab.serving.comparing.budget import Budget, Costs

SECTION = "10 paired"
START = datetime(2026, 1, 1, tzinfo=UTC)
RATE = 200.0
COST = 0.004
"""Seconds of one row; rows of one call cost as many times more."""
SLOW = 0.025
LOOK = 5.0
LASTS = 180.0
REST = 600.0
GATE = {
    "name": "slow",
    "bad": "slow",
    "slowerThan": "25ms",
    "against": "stable",
    "margin": "2%",
}


class Pod:
    """A prediction thread and its queue. budget: of the second model; 0 for none."""

    def __init__(self, budget: float, draws: np.random.Generator, fault: float = 0.0) -> None:
        costs = Costs()
        costs.add(1, COST)
        self._budget = Budget(budget, costs) if budget else None
        self._draws = draws
        self._fault = fault
        self._next = float(draws.exponential(1 / RATE))
        self._waiting: list[float] = []
        self._is_compared = False
        self._free_at = 0.0
        self.timed = self.slow = self.aside = self.slow_aside = 0
        self.compared = self.busy = 0.0

    def run(self, until: float) -> None:
        """Serve what arrives before `until`, in seconds."""
        while self._next < until:
            if not self._waiting:
                # Idle: what begins now is compared or not, whatever comes in it.
                self._is_compared = self._budget is not None and self._budget.begins()
                self._arrive()
            self._call(max(self._free_at, self._waiting[0]))

    def _arrive(self) -> None:
        self._waiting.append(self._next)
        self._next += float(self._draws.exponential(1 / RATE))

    def _arrivals(self, until: float) -> None:
        while self._next <= until:
            self._arrive()

    def _call(self, began: float) -> None:
        self._arrivals(began)
        call, self._waiting = self._waiting, []
        seconds = COST * len(call)
        if self._fault and self._draws.random() < self._fault:
            seconds += SLOW
        ends = began + seconds
        self.busy += seconds
        self._arrivals(ends)
        if self._budget is not None:
            self._budget.earn(len(call), seconds)
            is_free = self._is_compared and not self._waiting
            if is_free and self._budget.allows(len(call), 0.5):
                spent = COST * len(call)
                self._budget.spend(len(call), spent)
                self.compared += spent
                ends += spent
                self._arrivals(ends)
        self._free_at = ends
        slow = sum(ends - at > SLOW for at in call)
        self.timed += len(call)
        self.slow += slow
        if self._is_compared:
            self.aside += len(call)
            self.slow_aside += slow

    def view(self, version: str, number: int, *, sets_aside: bool = True) -> ProcessView:
        """Return it as decisions see it."""
        aside, slow_aside = (self.aside, self.slow_aside) if sets_aside else (0, 0)
        counts = {
            REQUESTS: float(self.timed),
            TIMED: float(self.timed - aside),
            slow_measure(SLOW): float(self.slow - slow_aside),
            ASIDE: float(aside),
        }
        return ProcessView(
            process=f"{version}-{number}",
            revision=version,
            counts=counts,
            born=START,
            sampled_at=START,
            warm={},
        )


def deployment() -> Deployment:
    """Return a Deployment with a gate of slow requests."""
    found = Deployment.model_validate(
        {
            "metadata": {"name": "churn", "namespace": "shop"},
            "spec": {
                "model": "churn",
                "version": "v2",
                "replicas": 3,
                "metrics": {"scrape": {"interval": "5s"}},
                "rollout": {"gates": [GATE]},
            },
        }
    )
    status = found.status.model_copy(update={"stable": tried("v1"), "candidate": tried("v2")})
    return found.model_copy(update={"status": status})


def play(
    fault: float, seed: int, *, sets_aside: bool = True
) -> tuple[float | None, float, float, float]:
    """Return when the gate failed (None: it did not), utilisation, compared and aside shares."""
    draws = np.random.default_rng(seed)
    stable, candidate = [Pod(0.0, draws) for _ in range(3)], Pod(0.1, draws, fault)
    found, memory, failed = deployment(), Memory(), None
    progress = Progress(StepStatus(index=0, of=2, weight=0.25, started=START))
    trial = Trial(side_of(tried("v2")), side_of(tried("v1")), progress, START)
    at = -REST
    while at < LASTS and failed is None:
        own = [] if at < 0 else [candidate.view("v2", 0, sets_aside=sets_aside)]
        others = [pod.view("v1", number) for number, pod in enumerate(stable)]
        snapshot = Snapshot(
            now=START + timedelta(seconds=at),
            deployment=found,
            freeze=freeze,
            processes=(*own, *others),
        )
        memory = learn_spread(snapshot, memory)
        if at == 0:
            origins = origins_of(snapshot.processes)
            step = progress.step.model_copy(update={"origins": origins})
            trial = replace(trial, progress=Progress(step))
        if at >= 0:
            judgement, memory, _ = judge_gates(snapshot, trial, memory)
            failed = at if judgement.failed is not None else None
        at += LOOK
        for pod in stable:
            pod.run(at + REST)
        if at > 0:
            candidate.run(at)
    return (
        failed,
        (candidate.busy + candidate.compared) / at,
        candidate.compared / max(candidate.busy, 1e-9),
        candidate.aside / max(candidate.timed, 1),
    )


def rows(runs: int, pool: ProcessPoolExecutor) -> list[Row]:
    """Return the lines about a busy pod."""
    ends = list(pool.map(partial(play, 0.0), range(runs), chunksize=4))
    false = sum(end[0] is not None for end in ends)
    busy, compared, aside = (float(np.mean([end[place] for end in ends])) for place in (1, 2, 3))
    told = f"{false} of {runs} (busy {busy:.0%}, comparing x{compared:.2f}, aside {aside:.0%})"
    what = "slow, 80 % CPU, the candidate compares: rolled back"
    found = [judged(SECTION, what, told, "<= 1 %", upper_bound(false, runs) <= 0.025)]
    whole = list(pool.map(partial(play, 0.0, sets_aside=False), range(20)))
    without = f"without setting aside {sum(end[0] is not None for end in whole)} of 20"
    found[0] = judged(SECTION, what, told, "<= 1 %", upper_bound(false, runs) <= 0.025, without)
    faulty = list(pool.map(partial(play, 0.1), range(20)))
    seconds = [end[0] for end in faulty if end[0] is not None]
    median = float(np.median(seconds)) if seconds else float("inf")
    told = f"{len(seconds)} of {len(faulty)} after {median:.0f} s"
    what = "slow, 80 % CPU, every tenth call 25 ms longer: found"
    found.append(judged(SECTION, what, told, ">= 95 %", len(seconds) >= 0.95 * len(faulty)))
    return found
