"""The wanted traffic as weights per revision, whatever carries it out."""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.api.deployment import DeploymentSpec, DeploymentStatus
from trimtab.decide.rollout.phases import phase_of, progress_in
from trimtab.decide.rollout.strategies import strategy_of


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


def plan_traffic(spec: DeploymentSpec, status: DeploymentStatus) -> Traffic:
    """Return the traffic that a spec and a status mean."""
    stable, phase = status.stable, phase_of(status)
    if stable is None:
        candidate = status.candidate
        return Traffic(((candidate.revision, 1.0),) if candidate is not None else ())
    progress, weight = progress_in(phase), None
    if progress is not None and not progress.withdrawn:
        weight = strategy_of(spec.rollout).weight(progress.step)
    control, share = status.last_good, control_share(spec, status)
    if control is not None and share > 0:
        return Traffic(((stable.revision, 1 - share), (control.revision, share)))
    if phase is None or not weight:
        return Traffic(((stable.revision, 1.0),))
    return Traffic(((stable.revision, 1 - weight), (phase.candidate.revision, weight)))


def control_share(spec: DeploymentSpec, status: DeploymentStatus) -> float:
    """Return which share of the requests the control gets, one pod of many; 0 without one."""
    if phase_of(status) is not None or status.last_good is None or not _has_control(status):
        return 0.0
    return 1 / (spec.replicas + 1)


def _has_control(status: DeploymentStatus) -> bool:
    """Return whether a pod of the last good version serves beside the guarded one."""
    guard = status.guard
    if guard is None or guard.control_since is None:
        return False
    return status.candidate is None
