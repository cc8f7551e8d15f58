"""A candidate or a control that alone answers requests: stable has no Ready pod, and it has one.

Nothing but a condemnation takes it out of traffic then: the requests would go to nobody. Whatever
else would end its step, or its time, waits until a pod of stable is Ready.
"""

from __future__ import annotations

from trimtab.api.conditions import Reason
from trimtab.api.deployment import DeploymentStatus
from trimtab.decide.rollout.phases import Phase, is_late, phase_of, progress_in
from trimtab.decide.rollout.snapshot import Snapshot
from trimtab.decide.rollout.traffic.plan import control_share, plan_traffic
from trimtab.decide.rollout.wanted import Wanted


def carries_alone(snapshot: Snapshot, status: DeploymentStatus) -> bool:
    """Return whether only the candidate of a rollout under way answers requests."""
    stable, phase, spec = status.stable, phase_of(status), snapshot.deployment.spec
    if stable is None or phase is None or spec.replicas == 0:
        return False
    revision = phase.candidate.revision
    if revision not in plan_traffic(spec, status).revisions:
        return False
    return snapshot.ready_of(stable.revision) == 0 and snapshot.ready_of(revision) > 0


def control_alone(snapshot: Snapshot, status: DeploymentStatus) -> bool:
    """Return whether only the control beside stable answers requests."""
    stable, control = status.stable, status.last_good
    if stable is None or control is None or control_share(snapshot.deployment.spec, status) == 0:
        return False
    return snapshot.ready_of(stable.revision) == 0 and snapshot.ready_of(control.revision) > 0


def why_unwanted(phase: Phase, wanted: Wanted) -> str | None:
    """Return why the candidate is to be dropped for what is wanted by now; None if it is not."""
    version = phase.candidate.version
    if wanted.version is None:
        why = wanted.refusal.message if wanted.refusal is not None else "its version is gone"
        return f"{version} is no longer wanted: {why}"
    if wanted.revision != phase.candidate.revision:
        return f"{wanted.version.spec.version} is wanted now"
    if wanted.refusal is not None and wanted.refusal.reason is Reason.NAME_TAKEN:
        return f"{version} has no place: {wanted.refusal.message}"
    return None


def what_waits(snapshot: Snapshot, status: DeploymentStatus, wanted: Wanted) -> str | None:
    """Return what would take the candidate out of traffic, and what it waits for; None: nothing."""
    phase, stable = phase_of(status), status.stable
    if phase is None or stable is None or not carries_alone(snapshot, status):
        return None
    version, progress = phase.candidate.version, progress_in(phase)
    waits = why_unwanted(phase, wanted)
    if waits is None:
        if phase.pause is None and is_late(snapshot.deployment.spec, phase, snapshot.instant):
            waits = f"the deadline of {version} has passed"
        elif progress is not None and progress.no_data_since is not None:
            waits = f"nobody sees whether {version} is good"
        else:
            return None
    return (
        f"{stable.version} has no Ready pod: {version} keeps all requests until it has one, or a "
        f"person says promote or abort, although {waits}"
    )
