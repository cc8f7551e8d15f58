"""Users of one Deployment as traffic really is: clustered, in bursts, with outages and cold pods.

Each model says how many of the requests that a pod answers in a moment are bad; candidate and
stable are treated alike unless a fault is asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Protocol

import numpy as np

from trimtab.api.meta import MODEL_LABEL, VERSION_LABEL
from trimtab.cluster.port import Json
from trimtab.contract import metrics as names
from trimtab.contract.metrics import SeriesKey
from trimtab.simulation.cluster import START
from trimtab.simulation.traffic import environment
from trimtab.telemetry.exposition import Exposition

if TYPE_CHECKING:
    from tests.bench.statistics.wired.world import World

FAST_SECONDS, SLOW_SECONDS = 0.01, 1.0
DAY = 86_400.0
_WITHIN = [
    (bound >= FAST_SECONDS, bound >= SLOW_SECONDS) for bound in names.REQUEST_SECONDS_BUCKETS
]
"""Of each bucket, whether fast and slow requests count in it."""


@dataclass
class Pod:
    """One serving process: what it has answered."""

    uid: str
    version: str
    born: float
    """In seconds of the loop."""
    requests: int = 0
    bad: int = 0
    right: int = 0
    """Labels that have come, of right and of wrong answers."""
    wrong: int = 0
    awaited: list[tuple[float, int, int]] = field(default_factory=list)
    """When labels come, how many of right answers and how many of wrong ones; a heap."""

    def label(self, now: float) -> None:
        """Take the labels that have come by now."""
        while self.awaited and self.awaited[0][0] <= now:
            _, right, wrong = heappop(self.awaited)
            self.right += right
            self.wrong += wrong


class Answers(Protocol):
    """How many of `n` arriving requests (rows, where labelled) are bad; may add some of its own."""

    def __call__(self, now: float, seconds: float, pod: Pod, n: int) -> tuple[int, int]:
        """Return requests and bad ones of this moment."""


Moment = Callable[["World", float], bool]
"""Whether all pods answer badly now; see `Users.everywhere`."""


@dataclass
class Users:
    """`rate` requests a second over all ready pods; `measure`: errors, slow or outcomes.

    fault: share of the candidate's requests that are bad beside the others. everywhere: a share of
    bad requests on both sides while a moment lasts.
    """

    draws: np.random.Generator
    rate: float
    answers: Answers
    measure: str = "errors"
    fault: float = 0.0
    everywhere: tuple[float, Moment] | None = None
    labelled_after: tuple[float, float] = (0.0, 0.0)
    """Seconds until a right answer has its label, and until a wrong one has."""
    arrivals: Callable[[float, float], int] | None = None
    """Requests of one pod in a moment, given the expected number; Poisson by default."""
    pods: dict[str, Pod] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    began: float = float("inf")
    """When the rollout began."""
    _at: float = 0.0
    _series: dict[str, list[SeriesKey]] = field(default_factory=dict)

    def begin(self, world: World, now: float) -> None:
        """The candidate is wanted from now on."""
        self.began = now
        self.answered.clear()

    def knows(self, pod: Json) -> bool:
        """Whether it has answered before."""
        return pod["metadata"]["uid"] in self.pods

    def send(self, world: World, now: float) -> None:
        """Send the requests of the time since the last call."""
        seconds = now - self._at
        if seconds <= 0:
            return
        self._at = now
        ready = world.ready_pods()
        if not ready:
            return
        expected = self.rate * seconds / len(ready)
        share, moment = self.everywhere or (0.0, None)
        is_bad_for_all = moment is not None and moment(world, now)
        for found in ready:
            pod = self._pod(found, now)
            n = int(self.draws.poisson(expected))
            n, bad = self.answers(now, seconds, pod, n)
            if is_bad_for_all:
                bad += int(self.draws.binomial(n - bad, share))
            if self.fault and pod.version == "v2":
                bad += int(self.draws.binomial(n - bad, self.fault))
            pod.requests += n
            pod.bad += bad
            right_after, wrong_after = self.labelled_after
            heappush(pod.awaited, (now + right_after, n - bad, 0))
            heappush(pod.awaited, (now + wrong_after, 0, bad))
            pod.label(now)
            self.answered[pod.version] += n

    def _pod(self, found: Json, now: float) -> Pod:
        uid = found["metadata"]["uid"]
        known = self.pods.get(uid)
        if known is None:
            known = self.pods[uid] = Pod(uid, found["metadata"]["labels"][VERSION_LABEL], now)
        return known

    def exposition(self, found: Json) -> Exposition:
        """Return what the metrics port shows."""
        pod = self._pod(found, self._at)
        n, bad = pod.requests, pod.bad
        errors = bad if self.measure == "errors" else 0
        slow = bad if self.measure == "slow" else 0
        values = [n, n - errors, errors, n]
        values += [n * is_fast - slow * (is_fast - is_slow) for is_fast, is_slow in _WITHIN]
        if self.measure == "outcomes":
            values += [pod.right, pod.wrong]
        series = self._series_of(found)
        return Exposition(
            dict(zip(series, map(float, values), strict=False)), START.timestamp() + pod.born
        )

    def _series_of(self, found: Json) -> list[SeriesKey]:
        """Return the keys of the values above; made once a pod."""
        uid = found["metadata"]["uid"]
        if uid not in self._series:
            identity = self._identity(found)

            def of(name: str, label: str = "", *values: str) -> list[SeriesKey]:
                more = [frozenset({(label, value)}) for value in values] or [frozenset()]
                return [(name, identity | one) for one in more]

            outcomes = of(names.OUTCOMES, "actual", "a", "b")
            bounds = [f"{bound:g}" for bound in names.REQUEST_SECONDS_BUCKETS]
            self._series[uid] = [
                *of(names.REQUESTS_STARTED),
                *of(names.REQUESTS, "code", "200", "500"),
                *of(names.REQUEST_SECONDS + "_count"),
                *of(names.REQUEST_SECONDS + "_bucket", "le", *bounds),
                *((name, labels | {("predicted", "a")}) for name, labels in outcomes),
            ]
        return self._series[uid]

    @staticmethod
    def _identity(found: Json) -> frozenset[tuple[str, str]]:
        labels = found["metadata"]["labels"]
        digest = environment(found).get("TRIMTAB_ARTIFACT_DIGEST", "")
        identity = {
            "model": labels[MODEL_LABEL],
            "version": labels[VERSION_LABEL],
            "digest": digest,
            "baseline": digest,
        }
        return frozenset(identity.items())


# --- how requests are answered --------------------------------------------------------------------


class Independent:
    """Each request is bad by itself with a chance that may move with time: `base(now)`."""

    def __init__(self, draws: np.random.Generator, base: float | Callable[[float], float]) -> None:
        self._draws = draws
        self._base = base

    def __call__(self, now: float, seconds: float, pod: Pod, n: int) -> tuple[int, int]:
        base = self._base if isinstance(self._base, float) else self._base(now)
        return n, int(self._draws.binomial(n, base))


class ByMinute:
    """Beta-binomial per pod and minute: each pod's minute has a share of its own.

    correlation: of two requests within a pod's minute, 0..1.
    """

    def __init__(self, draws: np.random.Generator, base: float, correlation: float) -> None:
        self._draws = draws
        strength = (1 - correlation) / correlation
        self._beta = base * strength, (1 - base) * strength
        self._shares: dict[str, tuple[float, float]] = {}

    def __call__(self, now: float, seconds: float, pod: Pod, n: int) -> tuple[int, int]:
        until, share = self._shares.get(pod.uid, (-1.0, 0.0))
        if now >= until:
            first = 60.0 * float(self._draws.random()) if until < 0 else 60.0
            share = float(self._draws.beta(*self._beta))
            self._shares[pod.uid] = now + first, share
        return n, int(self._draws.binomial(n, share))


class Retries:
    """Each error brings `more` on the same pod."""

    def __init__(self, draws: np.random.Generator, base: float, more: int) -> None:
        self._draws, self._base, self._more = draws, base, more

    def __call__(self, now: float, seconds: float, pod: Pod, n: int) -> tuple[int, int]:
        bad = int(self._draws.binomial(n, self._base))
        return n + self._more * bad, bad * (1 + self._more)


class Bursts:
    """Bad requests come `size` at once, from one client to one pod."""

    def __init__(self, draws: np.random.Generator, base: float, size: int) -> None:
        self._draws, self._base, self._size = draws, base, size

    def __call__(self, now: float, seconds: float, pod: Pod, n: int) -> tuple[int, int]:
        good = int(self._draws.binomial(n, 1 - self._base))
        bad = self._size * int(self._draws.binomial(n - good, 1 / self._size))
        return good + bad, bad


class Alike:
    """Rows that come `size` to a request are all right or all wrong."""

    def __init__(self, draws: np.random.Generator, base: float, size: int) -> None:
        self._draws, self._base, self._size = draws, base, size

    def __call__(self, now: float, seconds: float, pod: Pod, n: int) -> tuple[int, int]:
        requests = int(self._draws.binomial(n, 1 / self._size))
        return requests * self._size, int(self._draws.binomial(requests, self._base)) * self._size


class Cold:
    """The first requests of each new pod are slow."""

    def __init__(self, draws: np.random.Generator, base: float, first: int = 20) -> None:
        self._draws, self._base, self._first = draws, base, first

    def __call__(self, now: float, seconds: float, pod: Pod, n: int) -> tuple[int, int]:
        cold = min(n, max(0, self._first - pod.requests))
        return n, cold + int(self._draws.binomial(n - cold, self._base))


class Unlike:
    """Each pod has a share of its own, for all its life."""

    def __init__(self, draws: np.random.Generator, low: float, high: float) -> None:
        self._draws, self._range = draws, (low, high)
        self._shares: dict[str, float] = {}

    def __call__(self, now: float, seconds: float, pod: Pod, n: int) -> tuple[int, int]:
        share = self._shares.setdefault(pod.uid, float(self._draws.uniform(*self._range)))
        return n, int(self._draws.binomial(n, share))
