"""How a candidate comes to its users: a module for each strategy, and the list of them.

A further strategy is a module here, an entry in STRATEGIES, and its name in `api.rollout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from trimtab.api.deployment import Gate, GateStatus, Rollout, Step, StepStatus
from trimtab.decide.rollout.strategies.canary import Canary
from trimtab.decide.rollout.strategies.rolling import Rolling


class Strategy(Protocol):
    """What a strategy states; the phases, the ways back and the ends are the same for all."""

    name: ClassVar[str]
    """As `spec.rollout.strategy` names it."""

    def steps(self, rollout: Rollout) -> Sequence[Step]:
        """Return the steps, with their weights, in order; none: it is promoted once it is Ready."""

    def gates(self, rollout: Rollout) -> Sequence[Gate]:
        """Return what is judged in every step, and by the guard after promotion."""

    def weight(self, step: StepStatus) -> float | None:
        """Return the candidate's weight among users at a step, 0..1; None: not in the route."""

    def needed_share(self, rollout: Rollout, step: StepStatus | None) -> float:
        """Return the share of the requests, 0..1, that the candidate's pods must be enough for.

        `step` None: while it starts. 1 means full size.
        """

    def promotion(self, version: str, requests: float, gates: Sequence[GateStatus]) -> str:
        """Return the message of a promotion: what was seen of the version before it."""


STRATEGIES: tuple[Strategy, ...] = (Canary(), Rolling())


def strategy_of(rollout: Rollout) -> Strategy:
    """Return the strategy that a spec names; LookupError if it is not in the list."""
    for strategy in STRATEGIES:
        if strategy.name == rollout.strategy:
            return strategy
    raise LookupError(f"no strategy {rollout.strategy}")
