"""canary: more and more of the requests, step by step, under gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from trimtab.api.conditions import Reason
from trimtab.api.deployment import Gate, GateStatus, Rollout, Step, StepStatus
from trimtab.decide.rollout.measures import written


def first_weight(steps: Sequence[Step]) -> float:
    """Return the weight of the first step that has one, in 0..1; 1 if none has."""
    return next((step.weight for step in steps if step.weight is not None), 1.0)


class Canary:
    """Pods for the share of each step; the gates of the spec."""

    name: ClassVar[str] = "canary"

    def steps(self, rollout: Rollout) -> Sequence[Step]:
        """Return the steps of the spec."""
        return rollout.steps

    def gates(self, rollout: Rollout) -> Sequence[Gate]:
        """Return the gates of the spec."""
        return rollout.gates

    def weight(self, step: StepStatus) -> float | None:
        """Return the weight of the step."""
        return step.weight

    def needed_share(self, rollout: Rollout, step: StepStatus | None) -> float:
        """Return the weight of the step; before the first weight, that one."""
        if step is not None and step.weight > 0:
            return step.weight
        return first_weight(rollout.steps)

    def promotion(self, version: str, requests: float, gates: Sequence[GateStatus]) -> str:
        """Say on how many requests it rests, and how small a fault they would have shown."""
        telling = [gate for gate in gates if _tells(gate)]
        blind = [_unable(gate) for gate in gates if not _tells(gate) and _is_compared(gate)]
        seen = "could not have caught a fault"
        if telling:
            least = max(telling, key=lambda gate: gate.smallest_fault_share or 0.0)
            by = ", ".join(gate.name for gate in (telling if blind else [least]))
            seen = (
                f"would have caught a fault of {least.smallest_fault} or more in this step "
                f"by gate {by}{_of_stable(least)}"
            )
        named = f"; could not judge: {', '.join(blind)}" if blind else ""
        return f"{version} promoted after {written(requests)} requests: {seen}{named}"


def _of_stable(gate: GateStatus) -> str:
    """Return what stable showed: a fault is a share of all, not what it is above that."""
    stable = gate.stable
    if stable is None or stable.total <= 0:
        return ""
    return f" ({gate.name} of stable: {stable.bad / stable.total * 100:.1f}%)"


def _tells(gate: GateStatus) -> bool:
    """Whether a gate judged; one without data, or with a part of it, did not."""
    return bool(gate.smallest_fault) and gate.verdict != "NoData" and not gate.is_unable


def _is_compared(gate: GateStatus) -> bool:
    """Whether a gate had to tell a fault: one that had nothing to compare with had not."""
    return gate.verdict != "Skipped"


def _unable(gate: GateStatus) -> str:
    is_few = gate.verdict == "Pass" and gate.reason in ("", Reason.STABLE)
    return f"{gate.name} ({'TooFewRequests' if is_few else gate.reason})"
