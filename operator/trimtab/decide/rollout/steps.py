"""The step that a rollout is in, as pods: read by decisions, by children and by the report."""

from __future__ import annotations

from trimtab.api.deployment import DeploymentSpec, DeploymentStatus
from trimtab.decide.rollout.traffic.replicas import Share, is_too_large, nearest_share


def first_weight(spec: DeploymentSpec) -> float:
    """Return the weight of the first step that has one, in 0..1."""
    return next((s.weight for s in spec.rollout.steps if s.weight is not None), 1.0)


def step_share(spec: DeploymentSpec, status: DeploymentStatus) -> Share:
    """Return the pods of the candidate, and of both, for the step that status is in."""
    step = status.rollout.step if status.rollout is not None else None
    weight = step.weight if step is not None and step.weight > 0 else first_weight(spec)
    return nearest_share(weight, max(1, spec.replicas), spec.replicas)


def is_share_too_large(spec: DeploymentSpec, status: DeploymentStatus) -> bool:
    """Return whether a rollout waits because one pod is far more than the wanted share."""
    rollout = status.rollout
    if rollout is None or rollout.phase != "Starting" or status.stable is None:
        return False
    if spec.rollout.strategy != "canary" or spec.rollout.allow_coarse:
        return False
    return is_too_large(step_share(spec, status), first_weight(spec))
