"""Users of a simulated cluster: requests spread over the ready pods that the Service selects.

Each pod counts as a real serving container does; a version's behaviour says how it answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trimtab.api.meta import MODEL_LABEL, REVISION_LABEL, VERSION_LABEL
from trimtab.cluster.port import SERVICES, Json, Key
from trimtab.contract import metrics as names
from trimtab.contract.metrics import SeriesKey
from trimtab.simulation.cluster import SimulatedCluster, ready_pods

FAST_SECONDS = 0.01
SLOW_SECONDS = 1.0


@dataclass(frozen=True)
class Behaviour:
    """How a version answers: shares in 0..1.

    errors, rejected: of the requests. slow: takes a second in place of 10 ms. accuracy: of the
    labels that come back, None for no labels. estimated: mean calibrated probability of the
    predicted class. low: of the rows whose one input lies in the lower of its two bins. silent:
    the metrics port does not answer. broken: it answers NaN. empty: it answers nothing of ours.
    late: seconds that it answers after the others.
    """

    errors: float = 0.0
    rejected: float = 0.0
    slow: float = 0.0
    accuracy: float | None = None
    estimated: float = 0.95
    missing: float = 0.0
    low: float = 0.5
    silent: bool = False
    broken: bool = False
    empty: bool = False
    late: float = 0.0


Behave = Callable[[str], Behaviour]
"""From a version's name to how it answers now."""


def environment(pod: Json) -> dict[str, str]:
    """Return the environment of a pod's model container."""
    containers = pod["spec"]["containers"]
    return {e["name"]: e.get("value", "") for e in containers[0].get("env") or []}


@dataclass
class WarmUp:
    """How much of its warm-up a pod has behind it, as `serving/counting/requests.py` counts it.

    The first `requests`, and those of the first `seconds` from the first one on, are no evidence
    about slowness; the warm-up ends with the later of both.
    """

    requests: int
    seconds: float
    answered: int = 0
    until: float | None = None

    def takes(self, count: int, began: float, seconds: float) -> int:
        """Return how many of the next `count` it takes; they come evenly in `seconds`.

        began: Unix seconds at their beginning.
        """
        if count == 0:
            return 0
        if self.until is None:
            self.until = began + self.seconds
        by_number = max(0, self.requests - self.answered)
        by_time = round(count * (self.until - began) / seconds) if seconds > 0 else 0
        self.answered += count
        return min(count, max(by_number, by_time))

    @classmethod
    def of(cls, pod: Json) -> WarmUp:
        """Return that of a new pod, as its environment says."""
        env = environment(pod)
        return cls(
            int(env.get("TRIMTAB_WARM_UP_REQUESTS", "20")),
            float(env.get("TRIMTAB_WARM_UP_SECONDS", "10")),
        )


class Traffic:
    """A steady stream of requests to one Deployment's Service."""

    def __init__(
        self,
        cluster: SimulatedCluster,
        deployment: Key,
        behave: Behave,
        *,
        rate: float = 50.0,
        seed: int = 1,
    ) -> None:
        self.cluster = cluster
        self.deployment = deployment
        self.behave = behave
        self.rate = rate
        self.counters: dict[str, dict[SeriesKey, float]] = defaultdict(lambda: defaultdict(float))
        """By pod uid."""
        self.answered: dict[str, float] = defaultdict(float)
        """By version: what users saw, with `version!` for bad answers."""
        self.wrong: dict[str, float] = defaultdict(float)
        """By version: predictions that their label did not bear out."""
        self.lost = 0.0
        """Requests that no ready pod was there for."""
        self._random = np.random.default_rng(seed)
        self._cold_random = np.random.default_rng([seed, 1])
        """Its own, so that a warm-up does not change what users meet."""
        self._warm_ups: dict[str, WarmUp] = {}
        """By pod uid."""

    def send(self, seconds: float) -> None:
        """Send the requests of that much time."""
        service = self.cluster.get(self.deployment._replace(resource=SERVICES))
        pods = ready_pods(self.cluster, service) if service is not None else []
        requests = int(self._random.poisson(self.rate * seconds))
        if not pods:
            self.lost += requests if service is not None else 0
            return
        spread = self._random.multinomial(requests, [1 / len(pods)] * len(pods))
        for pod, count in zip(pods, spread, strict=True):
            self._answer(pod, int(count), seconds)

    def _answer(self, pod: Json, count: int, seconds: float) -> None:
        labels = pod["metadata"]["labels"]
        version = labels[VERSION_LABEL]
        how = self.behave(version)
        errors = int(self._random.binomial(count, how.errors))
        rejected = int(self._random.binomial(count - errors, how.rejected))
        slow = int(self._random.binomial(count, how.slow))
        self.answered[version] += count
        self.answered[f"{version}!"] += errors + rejected
        uid = pod["metadata"]["uid"]
        warm_up = self._warm_ups.setdefault(uid, WarmUp.of(pod))
        cold = warm_up.takes(count, self.cluster.time.timestamp() - seconds, seconds)
        cold_slow = int(self._cold_random.hypergeometric(slow, count - slow, cold))
        own = self.counters[uid]
        identity = self._identity(pod)

        def add(name: str, value: float, **more: str) -> None:
            own[name, frozenset({**identity, **more}.items())] += value

        add(names.REQUESTS_STARTED, count)
        add(names.REQUESTS, count - errors - rejected, code="200")
        add(names.REQUESTS, errors, code="500")
        add(names.REQUESTS, rejected, code="422")
        for name, timed, late in (
            (names.REQUEST_SECONDS, count, slow),
            (names.ASIDE_SECONDS, cold, cold_slow),
        ):
            for bound in names.REQUEST_SECONDS_BUCKETS:
                within = (timed - late) * (bound >= FAST_SECONDS) + late * (bound >= SLOW_SECONDS)
                add(name + "_bucket", within, le=f"{bound:g}")
            add(name + "_count", timed)
        good = count - errors - rejected
        self._predict(add, version, good, how)

    def _predict(self, add: Callable[..., None], version: str, rows: int, how: Behaviour) -> None:
        first = int(self._random.binomial(rows, 0.5))
        for predicted, other, n in (("a", "b", first), ("b", "a", rows - first)):
            add(names.PREDICTED, n, **{"class": predicted})
            sure, unsure = n * how.estimated, n * (1 - how.estimated)
            add(names.PROBABILITY_SUM, sure, **{"predicted": predicted, "class": predicted})
            add(names.PROBABILITY_SUM, unsure, **{"predicted": predicted, "class": other})
            if how.accuracy is not None:
                right = int(self._random.binomial(n, how.accuracy))
                add(names.OUTCOMES, right, predicted=predicted, actual=predicted)
                add(names.OUTCOMES, n - right, predicted=predicted, actual=other)
                self.wrong[version] += n - right
        missing = int(self._random.binomial(rows, how.missing))
        add(names.FEATURE_MISSING, missing, feature="x")
        low = int((rows - missing) * how.low)
        add(names.FEATURE_BIN, low, feature="x", bin="0")
        add(names.FEATURE_BIN, rows - missing - low, feature="x", bin="1")

    def _identity(self, pod: Json) -> dict[str, str]:
        labels = pod["metadata"]["labels"]
        return {"model": labels[MODEL_LABEL], "version": labels[VERSION_LABEL]}

    def _info(self, pod: Json) -> SeriesKey:
        """Return what says the digests of this version; that of its baseline is the same here."""
        digest = environment(pod).get("TRIMTAB_ARTIFACT_DIGEST", "")
        more = {"digest": digest, "baseline": digest}
        return names.MODEL_INFO, frozenset({**self._identity(pod), **more}.items())

    def series_of(self, pod: Json) -> dict[SeriesKey, float]:
        """Return what the pod's metrics port shows now; all names, also before any request."""
        if pod["metadata"]["uid"] not in self.counters:
            self._answer(pod, 0, 0.0)
        return {self._info(pod): 1.0, **self.counters[pod["metadata"]["uid"]]}

    def revisions(self) -> set[str]:
        """Return the revisions that the Service selects ready pods of."""
        service = self.cluster.get(self.deployment._replace(resource=SERVICES))
        pods = ready_pods(self.cluster, service) if service is not None else []
        return {pod["metadata"]["labels"][REVISION_LABEL] for pod in pods}
