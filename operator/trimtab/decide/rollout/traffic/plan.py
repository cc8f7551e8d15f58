"""The wanted traffic as weights per revision, whatever carries it out."""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.api.deployment import DeploymentStatus
from trimtab.decide.rollout.phases import phase_of, progress_in


@dataclass(frozen=True)
class Traffic:
    """Revisions in the route with their weights in 0..1, which sum to 1; empty: nothing serves."""

    weights: tuple[tuple[str, float], ...] = ()

    @property
    def revisions(self) -> tuple[str, ...]:
        """Those that are in the route."""
        return tuple(revision for revision, _ in self.weights)

    def weight_of(self, revision: str) -> float:
        """Return the weight of a revision; 0 if it is not in the route."""
        return dict(self.weights).get(revision, 0.0)


def plan_traffic(status: DeploymentStatus) -> Traffic:
    """Return the traffic that a status means."""
    stable, phase = status.stable, phase_of(status)
    if stable is None:
        candidate = status.candidate
        return Traffic(((candidate.revision, 1.0),) if candidate is not None else ())
    progress = progress_in(phase)
    if phase is None or progress is None or progress.withdrawn:
        return Traffic(((stable.revision, 1.0),))
    weight = progress.step.weight
    return Traffic(((stable.revision, 1 - weight), (phase.candidate.revision, weight)))
