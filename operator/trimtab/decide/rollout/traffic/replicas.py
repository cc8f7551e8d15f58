"""Shares by replica count: one Service spreads requests evenly over its pods."""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.api.deployment import DeploymentSpec
from trimtab.decide.rollout.traffic.plan import Traffic


@dataclass(frozen=True)
class Share:
    """The nearest reachable share: `candidate` of `total` pods."""

    candidate: int
    total: int

    def __str__(self) -> str:
        """Return it as people read it."""
        return f"{self.candidate} of {self.total} pods"

    @property
    def value(self) -> float:
        """Candidate pods among all."""
        return self.candidate / self.total if self.total else 0.0

    @property
    def stable(self) -> int:
        """Pods that are not the candidate's."""
        return self.total - self.candidate


@dataclass(frozen=True)
class Route:
    """Let the Service select one revision, or all (None)."""

    revision: str | None


class Replicas:
    """The default, which needs nothing but a Service."""

    def is_asked_for(self, spec: DeploymentSpec) -> bool:
        """Return True: what nothing else carries out is carried out by pods."""
        return True

    def share(self, weight: float, stable: int, replicas: int) -> Share:
        """Return the candidate pods, beside `stable` pods, whose share is nearest to `weight`.

        `weight` in 0..1. 100 % means full size (`replicas`). At least one pod, never more than
        stable plus replicas.
        """
        if weight >= 1 or stable == 0:
            return Share(max(1, replicas), max(1, replicas) + stable)
        exact = weight * stable / (1 - weight)
        choices = {max(1, int(exact)), max(1, int(exact) + 1)}
        best = min(sorted(choices), key=lambda c: abs(c / (c + stable) - weight))
        best = min(best, max(1, stable + replicas))
        return Share(best, best + stable)

    def is_too_large(self, share: Share, weight: float) -> bool:
        """Return whether the smallest reachable share is far above what was asked for."""
        return share.candidate == 1 and share.value > 2 * weight and share.value > 0.34

    def route(self, traffic: Traffic) -> Route | None:
        """Return the selector: the one revision that gets requests, or all; None if none does."""
        match traffic.revisions:
            case ():
                return None
            case (only,):
                return Route(only)
            case _:
                return Route(None)
