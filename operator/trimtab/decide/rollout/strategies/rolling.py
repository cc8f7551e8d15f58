"""rolling: the candidate at full size, then one switch; nothing is judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from trimtab.api.deployment import Gate, GateStatus, Rollout, Step, StepStatus


class Rolling:
    """No steps and no gates."""

    name: ClassVar[str] = "rolling"

    def steps(self, rollout: Rollout) -> Sequence[Step]:
        """Return none: it goes from ready to promoted."""
        return ()

    def gates(self, rollout: Rollout) -> Sequence[Gate]:
        """Return none, during the rollout and after it."""
        return ()

    def weight(self, step: StepStatus) -> float | None:
        """Return the weight of the step: one that a canary was in when the spec was changed."""
        return step.weight

    def needed_share(self, rollout: Rollout, step: StepStatus | None) -> float:
        """Return 1: it takes all requests at once."""
        return 1.0

    def promotion(self, version: str, requests: float, gates: Sequence[GateStatus]) -> str:
        """Say that nothing was judged."""
        return f"{version} serves; strategy rolling has no gates"
