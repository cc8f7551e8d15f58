"""Which requests of a candidate are evidence about its speed: those after its pods' warm-up."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from trimtab.api.deployment import WarmUp


@dataclass
class _Pods:
    """Pods that started with one step, and what each of them has behind it."""

    number: int
    requests: float = 0.0
    seconds: float = 0.0


class Warming:
    """The pods of one candidate, step after step, as `serving/counting/requests.py` counts."""

    def __init__(self, warm_up: WarmUp) -> None:
        self._requests = warm_up.requests
        self._seconds = warm_up.for_.total_seconds()
        self._pods: list[_Pods] = []

    def rest(self) -> None:
        """Let a pause pass, in which the pods that are there get warm."""
        for pods in self._pods:
            pods.requests = pods.seconds = inf

    def timed(self, pods: int, per_second: float, seconds: float) -> float:
        """Return the requests of a step whose time is evidence.

        pods: of the candidate, in all. per_second: requests of each. seconds: that the step lasts.
        """
        new = pods - sum(known.number for known in self._pods)
        if new > 0:
            self._pods.append(_Pods(new))
        timed = 0.0
        for known in self._pods:
            missing = max(0.0, self._requests - known.requests)
            by_number = missing / per_second if per_second > 0 else inf
            cold = max(by_number, self._seconds - known.seconds)
            timed += known.number * per_second * max(0.0, seconds - max(0.0, cold))
            known.requests += per_second * seconds
            known.seconds += seconds
        return timed
