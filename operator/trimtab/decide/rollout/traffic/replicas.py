"""Shares by replica count: one Service spreads requests evenly over its pods."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """The nearest reachable share: `candidate` of `total` pods."""

    candidate: int
    total: int

    @property
    def value(self) -> float:
        """Candidate pods among all."""
        return self.candidate / self.total if self.total else 0.0


def nearest_share(weight: float, stable: int, replicas: int) -> Share:
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


def is_too_large(share: Share, weight: float) -> bool:
    """Return whether the smallest reachable share is far above what was asked for."""
    return share.candidate == 1 and share.value > 2 * weight and share.value > 0.34
