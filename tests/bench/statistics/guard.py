"""Section 9: how often the guard breaches a healthy version in a day, and how soon a bad one.

The operator's own learning, references and tests, round by round: 4 pods (with a control in the
first hour, unless said) or 3, a round every 15 s, one day of rest before, then 24 hours of guard.
Labels of outcomes come late, those of wrong answers at another time than those of right ones.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
from tests.bench.statistics.as_wired import upper_bound
from tests.bench.statistics.rows import Row, judged
from tests.unit.decide.rollout.builders import freeze

from trimtab.api.deployment import Count, Deployment, GuardStatus, Tried
from trimtab.decide.rollout.control import without_control
from trimtab.decide.rollout.counting import side_of
from trimtab.decide.rollout.ends import day_of
from trimtab.decide.rollout.guard import watch
from trimtab.decide.rollout.judgement import learn_spread
from trimtab.decide.rollout.measures import ERRORS, REQUESTS, labelled_measure, wrong_measure
from trimtab.decide.rollout.snapshot import Memory, ProcessView, Snapshot

SECTION = "9 guard"
RUNS = 100
FAULT_RUNS = 100
INTERVAL = 15.0
HOUR, DAY = 3600.0, 86_400.0
START = datetime(2026, 1, 1, tzinfo=UTC)
BASE = 0.01
MARGIN = "0.5%"
WRONG = 0.05
"""Of answers whose labels come late."""
GATES = [{"name": "errors", "bad": "errors", "against": "stable", "margin": MARGIN}]
LATE_GATES = [{"name": "wrong", "bad": "outcomes", "against": "stable", "margin": "1%"}]
CONTROL_FROM = 60.0
"""Seconds after the promotion, when the old pods are gone."""

Share = Callable[[float, float], float]
"""Of a time since the promotion and of another since the first day began: what is bad for all."""


@dataclass(frozen=True)
class Case:
    """Traffic of one Deployment; rates in requests a second over all pods."""

    rate: float = 20.0
    correlation: float = 0.0
    """Of two requests within a minute of one pod."""
    share: Share = lambda _since, _day: BASE
    replicas: int = 3
    fault: float = 0.0
    """Of the promoted version's requests, bad beside the others from `fault_from` seconds on."""
    fault_from: float = 0.0
    hours: float = 24.0
    labels: tuple[float, float] | None = None
    """Seconds until the labels of right answers come, and of wrong ones; none: it is of errors."""
    surges: float = 1.0
    """Times as many requests in 5 of each 40 minutes."""


def rhythm(_since: float, day: float) -> float:
    """Three times more, and three times less, over a day."""
    return BASE * 3 ** float(np.sin(2 * np.pi * day / DAY))


def hourly(_since: float, day: float) -> float:
    """Three times more, and three times less, over an hour."""
    return BASE * 3 ** float(np.sin(2 * np.pi * day / HOUR))


def harder(since: float, _day: float) -> float:
    """Ten times more for everybody, from ten minutes after the promotion on."""
    return BASE * (10 if since >= 600 else 1)


def late(labels: tuple[float, float], surges: float = 1.0) -> Case:
    """Return a case of outcomes."""
    return Case(share=lambda _since, _day: WRONG, labels=labels, surges=surges)


HEALTHY = {
    "independent, 20/s": Case(),
    "independent, 100/s": Case(rate=100),
    "correlation .01 by pod and minute, 20/s": Case(correlation=0.01),
    "correlation .01 by pod and minute, 100/s": Case(correlation=0.01, rate=100),
    "correlation .05 by pod and minute, 20/s": Case(correlation=0.05),
    "correlation .05, 20/s, with a control": Case(correlation=0.05, replicas=4),
    "daily rhythm x3, 20/s": Case(share=rhythm),
    "hourly rhythm x3, 20/s": Case(share=hourly),
    "daily rhythm x3, 100/s": Case(share=rhythm, rate=100),
    "1 % -> 10 % for everybody, 20/s, with a control": Case(share=harder, replicas=4),
    "1 % -> 10 % for everybody, 100/s, with a control": Case(share=harder, replicas=4, rate=100),
    "labels of right 600 s, of wrong 5 s late": late((600, 5)),
    "the same beside surges x3": late((600, 5), surges=3),
    "labels of right 5 s, of wrong 600 s late, surges x3": late((5, 600), surges=3),
}
FAULTS = {
    "2 % above the margin, 20/s": Case(fault=0.025, fault_from=900, hours=3),
    "2 % above the margin, 20/s, with a control": Case(
        fault=0.025, fault_from=900, hours=3, replicas=4
    ),
    "twice as wrong, labels of right 600 s, of wrong 5 s late": replace(
        late((600, 5)), fault=WRONG, fault_from=900, hours=3
    ),
    "twice as wrong, labels of right 5 s, of wrong 600 s late, surges x3": replace(
        late((5, 600), surges=3), fault=WRONG, fault_from=900, hours=5
    ),
}


class Pods:
    """What the pods of one version have counted."""

    def __init__(
        self,
        version: str,
        names: int,
        draws: np.random.Generator,
        labels: tuple[float, float] | None = None,
    ) -> None:
        self.revision = version
        self.draws = draws
        self.requests = np.zeros(names)
        self.errors = np.zeros(names)
        self.labels = [np.zeros(names), np.zeros(names)]
        """Labels that came: of right answers, and of wrong ones."""
        self._late = [deque([np.zeros(names)] * int(late // INTERVAL)) for late in labels or ()]
        self._minute = -1
        self._share = np.ones(names)

    def serve(self, now: float, rate: float, share: float, correlation: float) -> None:
        """One round; rate: requests a second of one pod."""
        if correlation and now // 60 != self._minute:
            self._minute = int(now // 60)
            a = BASE * (1 - correlation) / correlation
            b = (1 - BASE) * (1 - correlation) / correlation
            self._share = self.draws.beta(a, b, len(self.requests)) / BASE
        n = self.draws.poisson(rate * INTERVAL, len(self.requests))
        bad = self.draws.binomial(n, np.clip(share * self._share, 0, 1))
        self.requests += n
        if not self._late:
            self.errors += bad
        for at, answers in enumerate((n - bad, bad) if self._late else ()):
            self._late[at].append(answers.astype(float))
            self.labels[at] += self._late[at].popleft()

    def shown(self) -> Count:
        """Return what a gate has seen of them in all."""
        right, wrong = (float(came.sum()) for came in self.labels)
        if self._late:
            return Count(bad=wrong, total=right + wrong)
        return Count(bad=float(self.errors.sum()), total=float(self.requests.sum()))

    def views(self) -> tuple[ProcessView, ...]:
        """Return them as decisions see them."""
        return tuple(
            ProcessView(
                process=f"{self.revision}-{number}",
                revision=self.revision,
                counts={
                    REQUESTS: float(requests),
                    ERRORS: float(errors),
                    labelled_measure(digest_of(self.revision)): float(right + wrong),
                    wrong_measure(digest_of(self.revision)): float(wrong),
                },
            )
            for number, (requests, errors, right, wrong) in enumerate(
                zip(self.requests, self.errors, *self.labels, strict=True)
            )
        )


def digest_of(version: str) -> str:
    """Return the digest of a version's artifact."""
    return "sha256:" + version[-1] * 64


def tried(version: str) -> Tried:
    """Return a version as status keeps it."""
    digest = digest_of(version)
    return Tried.model_validate(
        {
            "version": version,
            "versionObject": f"churn-{version}",
            "digest": digest,
            "revision": version,
            "workload": f"churn-{version}",
            "image": "serving",
            "artifact": {"uri": "s3://simulated/churn/", "digest": digest},
            "template": {},
            "since": START.isoformat(),
        }
    )


def deployment_of(case: Case, stable: str, guard: GuardStatus | None) -> Deployment:
    """Return a Deployment in which a version serves."""
    found = Deployment.model_validate(
        {
            "metadata": {"name": "churn", "namespace": "shop"},
            "spec": {
                "model": "churn",
                "version": stable,
                "replicas": case.replicas,
                "metrics": {"scrape": {"interval": f"{INTERVAL:g}s"}},
                "rollout": {"gates": LATE_GATES if case.labels else GATES},
            },
        }
    )
    status = found.status.model_copy(
        update={"stable": tried(stable), "last_good": tried("v1"), "guard": guard}
    )
    return found.model_copy(update={"status": status})


class Watch:
    """One version, from the day before its promotion on."""

    def __init__(self, case: Case, seed: int) -> None:
        self.case = case
        self.draws = np.random.default_rng(seed)
        self.memory = Memory()
        self.now = float(self.draws.uniform(0, DAY)) // INTERVAL * INTERVAL
        """Seconds since midnight of the first day."""

    def _snapshot(self, deployment: Deployment, *pods: Pods) -> Snapshot:
        return Snapshot(
            now=START + timedelta(seconds=self.now),
            deployment=deployment,
            freeze=freeze,
            processes=tuple(view for one in pods for view in one.views()),
        )

    def rest(self, old: Pods) -> Count:
        """A day of the version before; return what it showed in the last three minutes."""
        case, deployment, shown = self.case, deployment_of(self.case, "v1", None), None
        began = self.now
        while self.now < began + DAY:
            if self.now >= began + DAY - 180 and shown is None:
                shown = old.shown()
            self.now += INTERVAL
            share = case.share(-1.0, self.now)
            old.serve(self.now, self._rate() / case.replicas, share, case.correlation)
            self.memory = learn_spread(self._snapshot(deployment, old), self.memory)
        assert shown is not None
        return Count(bad=old.shown().bad - shown.bad, total=old.shown().total - shown.total)

    def _rate(self) -> float:
        """Return the requests a second of now, over all pods."""
        return self.case.rate * (self.case.surges if self.now % 2400 < 300 else 1.0)

    def guard(self) -> float | None:
        """Watch the version; return after how many seconds it was breached."""
        case = self.case
        old = Pods("v1", case.replicas, self.draws, case.labels)
        shown = self.rest(old)
        promoted, since = self.now, START + timedelta(seconds=self.now)
        guard = GuardStatus(
            revision="v2",
            since=since,
            until=since + timedelta(days=1),
            references={"wrong" if case.labels else "errors": shown},
            hours={name: day_of(habit.hours) for name, habit in self.memory.habits.items()},
            peaks={name: day_of(habit.peaks) for name, habit in self.memory.habits.items()},
        )
        self.memory = self.memory.of_new_stable()
        new = Pods("v2", case.replicas, self.draws, case.labels)
        control = Pods("v1", 1, self.draws)
        while (after := self.now - promoted) < case.hours * HOUR:
            guard = self._with_control(guard, after)
            self.now += INTERVAL
            share = case.share(after, self.now)
            beside = guard.control_since is not None
            each = self._rate() / (case.replicas + beside)
            fault = case.fault if after >= case.fault_from else 0.0
            new.serve(self.now, each, share + fault, case.correlation)
            if beside:
                control.serve(self.now, each, share, case.correlation)
            others = [control] if case.replicas >= 4 else [old] if after < CONTROL_FROM else []
            snapshot = self._snapshot(deployment_with(case, guard), new, *others)
            self.memory = learn_spread(snapshot, self.memory)
            breach, self.memory = watch(snapshot, guard, side_of(tried("v2")), self.memory)
            if breach is not None:
                return self.now - promoted
        return None

    def _with_control(self, guard: GuardStatus, after: float) -> GuardStatus:
        if self.case.replicas < 4:
            return guard
        if guard.control_since is None and CONTROL_FROM <= after < HOUR:
            now = START + timedelta(seconds=self.now)
            return guard.model_copy(update={"control_since": now})
        if guard.control_since is not None and after >= HOUR:
            guard, self.memory = without_control(guard, self.memory)
        return guard


_DEPLOYMENTS: dict[tuple[object, ...], Deployment] = {}


def deployment_with(case: Case, guard: GuardStatus) -> Deployment:
    """Return the Deployment under guard; made once, since parsing takes longer than watching."""
    key = (case.labels, case.replicas, guard.control_since is not None)
    if key not in _DEPLOYMENTS:
        _DEPLOYMENTS[key] = deployment_of(case, "v2", guard)
    return _DEPLOYMENTS[key]


def run(name: str, seed: int) -> float | None:
    """Return when the guard of a row breached, in seconds after the promotion."""
    return Watch({**HEALTHY, **FAULTS}[name], seed).guard()


def rows(runs: int = RUNS, fault_runs: int = FAULT_RUNS, only: str = "") -> list[Row]:
    """Return all lines; `runs` a line."""
    found = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name in HEALTHY:
            if only in name:
                ends = list(pool.map(partial(run, name), range(runs)))
                found.append(healthy_row(name, ends))
                print(found[-1], flush=True)
        for name, case in FAULTS.items():
            if only in name:
                ends = list(pool.map(partial(run, name), range(fault_runs)))
                found.append(fault_row(name, case, ends))
                print(found[-1], flush=True)
    return found


def healthy_row(name: str, ends: list[float | None]) -> Row:
    """Return the line about a healthy version."""
    false, runs = sum(end is not None for end in ends), len(ends)
    return judged(
        SECTION,
        f"healthy, 24 h, {name}: breached",
        f"{false} of {runs} (bound {upper_bound(false, runs) * 100:.1f} %)",
        "<= 1 %",
        false <= 0.01 * runs,
    )


def fault_row(name: str, case: Case, ends: list[float | None]) -> Row:
    """Return the line about a fault that must be found."""
    seconds = [end - case.fault_from for end in ends if end is not None]
    early = sum(second <= 0 for second in seconds)
    median = float(np.median(seconds)) if seconds else float("inf")
    most = math.inf if case.labels else 250
    return judged(
        SECTION,
        f"fault, {name}: found",
        f"{len(seconds) - early} of {len(ends)} after {median:.0f} s",
        ">= 95 %" if case.labels else f">= 95 %, <= {most} s",
        len(seconds) - early >= 0.95 * len(ends) and median <= most,
    )
