"""Who gets which share of the requests, and what carries it out.

`plan` says what is wanted, as weights per revision; a way makes it true. A further way is a module
here, an entry in WAYS and its field in `api.deployment`.
"""

from __future__ import annotations

from typing import Protocol

from trimtab.api.deployment import DeploymentSpec
from trimtab.decide.rollout.traffic.plan import Traffic
from trimtab.decide.rollout.traffic.replicas import Replicas, Route, Share


class Way(Protocol):
    """What turns weights into pods and a route."""

    def is_asked_for(self, spec: DeploymentSpec) -> bool:
        """Return whether the spec asks for this way."""

    def share(self, weight: float, stable: int, replicas: int) -> Share:
        """Return the share that comes nearest to `weight`, with the pods that it takes.

        `stable` pods run beside the candidate, which has `replicas` at full size.
        """

    def is_too_large(self, share: Share, weight: float) -> bool:
        """Return whether the nearest share is too far above `weight` to be tried unasked."""

    def route(self, traffic: Traffic) -> Route | None:
        """Return what sends the requests as the weights say; None if nothing serves."""


WAYS: tuple[Way, ...] = (Replicas(),)
"""The first that is asked for is taken; the last takes what is left."""


def way_of(spec: DeploymentSpec) -> Way:
    """Return what carries out the traffic of a spec."""
    return next(way for way in WAYS if way.is_asked_for(spec))
