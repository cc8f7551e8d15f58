"""The rows of the section: traffic as it is, with a healthy candidate and with a bad one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from tests.bench.statistics.wired.prometheus import Source
from tests.bench.statistics.wired.users import (
    Alike,
    Answers,
    Bursts,
    ByMinute,
    Cold,
    Independent,
    Retries,
    Unlike,
    Users,
)
from tests.bench.statistics.wired.world import KEY, Trial, World

BASE = 0.01
OUTCOMES = {"gates": [{"name": "outcomes", "bad": "outcomes", "against": "stable", "margin": "1%"}]}
SLOW = {
    "gates": [
        {
            "name": "slow",
            "bad": "slow",
            "against": "stable",
            "margin": "1%",
            "slowerThan": "250ms",
        }
    ]
}
Draws = np.random.Generator
LABELS_SETTLE = 1500.0
"""Seconds of rest, so that as many labels of stable come as will ever come."""
SHORT_REST = 300.0
"""Seconds, where requests are independent: the less is known of stable, the harder."""


def trial(
    answers: Callable[[Draws], Answers],
    rate: float,
    *,
    users: Mapping[str, Any] | None = None,
    **more: Any,
) -> Trial:
    """Return a trial with these users."""

    def make(draws: Draws) -> Users:
        return Users(draws, rate, answers(draws), **(users or {}))

    return Trial(make, **more)


# --- moments in which everything is bad -----------------------------------------------------------


class Outage:
    """One time span, `seconds` long, that begins at any moment of the rollout."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.at: float | None = None

    def __call__(self, world: World, now: float) -> bool:
        if now < world.users.began:
            return False
        if self.at is None:
            self.at = world.users.began + float(world.draws.uniform(5, 190))
        return self.at <= now < self.at + self.seconds


def is_growing(world: World, now: float) -> bool:
    """Whether the share grows: from the first second of a step until it has its pods."""
    status = world.status
    rollout = status.get("rollout") or {}
    if rollout.get("phase") == "Promoting":
        return True
    step = rollout.get("step")
    if step is None:
        return False
    pods = [p for p in world.ready_pods() if p["metadata"]["labels"]["trimtab.dev/version"] == "v2"]
    wanted = world.trial.replicas if float(step["weight"].rstrip("%")) >= 50 else 1
    wanted = max(wanted, world.trial.replicas // 3)
    return len(pods) < wanted


class SilentSide:
    """One side's metrics ports do not answer around an outage of both."""

    def __init__(self, version: str, outage: Outage) -> None:
        self.version, self.outage = version, outage

    def __call__(self, world: World, now: float) -> bool:
        is_out = self.outage(world, now)
        at = self.outage.at
        if at is not None:
            is_silent = at - 6 <= now < at + self.outage.seconds + 6
            world.silent = lambda version: is_silent and version == self.version
        return is_out


def _outage(seconds: float, **more: Any) -> Trial:
    everywhere = (1.0, Outage(seconds))
    return trial(
        lambda d: Independent(d, 0.001),
        100,
        users={"everywhere": everywhere},
        rest_seconds=SHORT_REST,
        **more,
    )


def _silent(version: str) -> Trial:
    everywhere = (1.0, SilentSide(version, Outage(10)))
    return trial(
        lambda d: Independent(d, 0.001),
        100,
        users={"everywhere": everywhere},
        rest_seconds=SHORT_REST,
    )


def _growing() -> Trial:
    return trial(
        lambda d: Independent(d, 0.001),
        100,
        users={"everywhere": (0.1, is_growing)},
        replicas=9,
        rest_seconds=SHORT_REST,
    )


def _labelled(base: float, right: float, wrong: float, **rollout: Any) -> Trial:
    """Labels come so many seconds after a right answer, and so many after a wrong one."""
    return trial(
        lambda d: Independent(d, base),
        100,
        users={"measure": "outcomes", "labelled_after": (right, wrong)},
        rollout=OUTCOMES | rollout,
        rest_seconds=LABELS_SETTLE,
    )


def _moving(now: float) -> float:
    return 0.01 if now < 750 else 0.1


def _hourly(now: float) -> float:
    return 0.01 * 3 ** np.sin(2 * np.pi * now / 3600.0)


LONG = {
    "deadline": "1h",
    "steps": [{"weight": "25%", "for": "5m"}, {"weight": "50%", "for": "10m"}],
}

DEATHS = tuple(
    (after, partial(World.lose_pod, version=version))
    for after, version in ((20, "v1"), (50, "v2"), (90, "v1"), (130, "v2"), (160, "v1"))
)
RESTARTS = ((40, World.restart_operator), (130, World.restart_operator))

HEALTHY: dict[str, Callable[[], Trial]] = {
    "independent, 20/s": lambda: trial(lambda d: Independent(d, BASE), 20, rest_seconds=SHORT_REST),
    "independent, 100/s": lambda: trial(
        lambda d: Independent(d, BASE), 100, rest_seconds=SHORT_REST
    ),
    **{f"both out for {s} s, 100/s": partial(_outage, s) for s in (1, 3, 10, 30)},
    "both out for 10 s, candidate's metrics silent": partial(_silent, "v2"),
    "both out for 10 s, stable's metrics silent": partial(_silent, "v1"),
    "10 % errors on both while the share grows, 9 replicas": _growing,
    "correlation .05 by pod and minute, 20/s": lambda: trial(lambda d: ByMinute(d, BASE, 0.05), 20),
    "correlation .05 by pod and minute, 100/s": lambda: trial(
        lambda d: ByMinute(d, BASE, 0.05), 100
    ),
    "correlation .05, steps of 5 m and 10 m": lambda: trial(
        lambda d: ByMinute(d, BASE, 0.05), 20, rollout=LONG
    ),
    "each error brings three more, 20/s": lambda: trial(lambda d: Retries(d, BASE, 3), 20),
    "bursts of 10 bad requests, 20/s": lambda: trial(lambda d: Bursts(d, BASE, 10), 20),
    "bursts of 20 bad requests, 20/s": lambda: trial(lambda d: Bursts(d, BASE, 20), 20),
    "labelled rows alike, 4 a request": lambda: trial(
        lambda d: Alike(d, 0.05, 4), 100, users={"measure": "outcomes"}, rollout=OUTCOMES
    ),
    "labelled rows alike, 16 a request": lambda: trial(
        lambda d: Alike(d, 0.05, 16), 100, users={"measure": "outcomes"}, rollout=OUTCOMES
    ),
    "labelled rows alike, 64 a request": lambda: trial(
        lambda d: Alike(d, 0.05, 64), 100, users={"measure": "outcomes"}, rollout=OUTCOMES
    ),
    "first 20 requests of a pod slow, 20/s": lambda: trial(
        lambda d: Cold(d, 0.001),
        20,
        users={"measure": "slow"},
        rollout=SLOW,
        rest_seconds=SHORT_REST,
    ),
    "first 20 requests of a pod slow, 200/s": lambda: trial(
        lambda d: Cold(d, 0.001),
        200,
        users={"measure": "slow"},
        rollout=SLOW,
        rest_seconds=SHORT_REST,
    ),
    "1 % -> 10 % on both in a step, 100/s": lambda: trial(lambda d: Independent(d, _moving), 100),
    "x3 by the hour on both, 100/s": lambda: trial(lambda d: Independent(d, _hourly), 100),
    "pods of both die in turn, correlation .05, 20/s": lambda: trial(
        lambda d: ByMinute(d, BASE, 0.05), 20, events=DEATHS
    ),
    "pods of both die in turn, first 20 requests slow, 200/s": lambda: trial(
        lambda d: Cold(d, 0.001),
        200,
        users={"measure": "slow"},
        rollout=SLOW,
        rest_seconds=SHORT_REST,
        events=DEATHS,
    ),
    "operator restarts twice, correlation .05, 20/s": lambda: trial(
        lambda d: ByMinute(d, BASE, 0.05), 20, events=RESTARTS
    ),
    "operator restarts twice, 1 % -> 10 % on both, 100/s": lambda: trial(
        lambda d: Independent(d, _moving), 100, events=RESTARTS
    ),
    "pods unlike each other, 0.5 to 1.5 %, 100/s": lambda: trial(
        lambda d: Unlike(d, 0.005, 0.015), 100
    ),
}

MORE: dict[str, Callable[[], Trial]] = {
    "labels of wrong answers after 5 s, of right ones after 5 m, 5 % wrong": partial(
        _labelled, 0.05, 300.0, 5.0
    ),
    "labels of wrong answers after 5 s, of right ones after 10 m, 20 % wrong": partial(
        _labelled, 0.2, 600.0, 5.0
    ),
    "labels of right answers at once, of wrong ones after 5 m, 5 % wrong": partial(
        _labelled, 0.05, 0.0, 300.0
    ),
    **{
        f"both out for {s} s, 100/s, of a Prometheus": partial(_outage, s, prometheus=Source())
        for s in (3, 10, 30)
    },
    "both out for 10 s, 100/s, of a Prometheus that scrapes each 10 s": partial(
        _outage, 10, prometheus=Source(interval=10)
    ),
    "both out for 10 s, 100/s, of a Prometheus that scrapes each 5 s": partial(
        _outage, 10, prometheus=Source(interval=5, look="5s")
    ),
    "correlation .05 by pod and minute, 100/s, of a Prometheus": lambda: trial(
        lambda d: ByMinute(d, BASE, 0.05), 100, prometheus=Source()
    ),
}

CASES = HEALTHY | MORE

__all__ = ["BASE", "CASES", "HEALTHY", "KEY", "MORE", "Trial", "trial"]
