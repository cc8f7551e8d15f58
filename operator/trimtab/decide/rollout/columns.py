"""Numbers and columns of a Deployment: pods, shares, and the summary."""

from __future__ import annotations

from trimtab.api.conditions import Reason
from trimtab.api.deployment import DeploymentStatus, DeploymentSummary, Tried
from trimtab.api.meta import DEPLOYMENT_LABEL, MANAGED_BY_LABEL, MANAGER, REVISION_LABEL
from trimtab.contract.metrics import INFERENCE_PORT
from trimtab.decide.rollout.children import wanted_replicas
from trimtab.decide.rollout.counting import request_count
from trimtab.decide.rollout.judgement import counted_from
from trimtab.decide.rollout.phases import phase_of, progress_in
from trimtab.decide.rollout.snapshot import Snapshot
from trimtab.decide.rollout.steps import step_share
from trimtab.decide.rollout.traffic.plan import plan_traffic
from trimtab.decide.rollout.wanted import Wanted


def count_pods(snapshot: Snapshot, status: DeploymentStatus) -> DeploymentStatus:
    """Return the status with ready and desired pods, shares, and the numbers of `scale`."""
    metadata, stable = snapshot.deployment.metadata, status.stable
    counted = {
        role: _counted(snapshot, status, tried)
        for role, tried in (("stable", stable), ("candidate", status.candidate))
        if tried is not None
    }
    if status.last_good is not None:
        counted["last_good"] = _sized(snapshot, status, status.last_good).model_copy(
            update={"weight": "", "share": ""}
        )
    selector = f"{MANAGED_BY_LABEL}={MANAGER},{DEPLOYMENT_LABEL}={metadata.name}"
    if stable is not None:
        # What `scale` counts: the candidate's size follows the step, and is not HPA's.
        selector += f",{REVISION_LABEL}={stable.revision}"
    return status.model_copy(
        update={
            **counted,
            "replicas": len(snapshot.pods_of(stable.revision)) if stable is not None else 0,
            "selector": selector,
            "url": f"http://{metadata.name}.{metadata.namespace}.svc:{INFERENCE_PORT}",
        }
    )


def _sized(snapshot: Snapshot, status: DeploymentStatus, tried: Tried) -> Tried:
    spec = snapshot.deployment.spec
    return tried.model_copy(
        update={
            "ready": snapshot.ready_of(tried.revision),
            "desired": wanted_replicas(spec, status, tried, snapshot.now),
        }
    )


def _counted(snapshot: Snapshot, status: DeploymentStatus, tried: Tried) -> Tried:
    return _sized(snapshot, status, tried).model_copy(
        update={
            "weight": _weight(snapshot, status, tried.revision),
            "share": _measured_share(snapshot, status, tried.revision),
        }
    )


def _weight(snapshot: Snapshot, status: DeploymentStatus, revision: str) -> str:
    """Return the wanted weight, with the pods that come nearest to it while both serve."""
    phase = phase_of(status)
    progress = progress_in(phase)
    spec = snapshot.deployment.spec
    weight = f"{plan_traffic(spec, status).weight_of(revision) * 100:g}%"
    if phase is None or progress is None:
        return weight
    is_candidate = revision == phase.candidate.revision
    if progress.withdrawn:
        return f"{weight} until data is back" if is_candidate else weight
    share = step_share(spec, progress.step)
    pods = share.candidate if is_candidate else share.stable
    return f"{weight} wanted, {pods} of {share.total} pods"


def _measured_share(snapshot: Snapshot, status: DeploymentStatus, revision: str) -> str:
    stable, phase = status.stable, phase_of(status)
    progress = progress_in(phase)
    if stable is None or phase is None or progress is None:
        return ""
    own, both = 0.0, 0.0
    for one in (stable.revision, phase.candidate.revision):
        origins = progress.step.origins
        began = counted_from(phase, progress)
        requests = request_count(one, snapshot.processes, origins, began)
        both += requests
        own += requests if one == revision else 0.0
    return f"{own / both * 100:.0f}%" if both else ""


def summarise(
    snapshot: Snapshot, status: DeploymentStatus, wanted: Wanted, reason: Reason
) -> DeploymentSummary:
    """Return the strings of the columns; `reason`: of the condition that says most."""
    spec, stable, candidate = snapshot.deployment.spec, status.stable, status.candidate
    progress = progress_in(phase_of(status))
    step = progress.step if progress is not None else None
    ready = snapshot.ready_of(stable.revision) if stable is not None else 0
    return DeploymentSummary(
        want=spec.version or (wanted.version.spec.version if wanted.version else ""),
        serving=stable.version if stable is not None else "",
        candidate=candidate.version if candidate is not None else "",
        step=f"{step.index + 1}/{step.of} {step.weight * 100:g}%" if step is not None else "",
        ready=f"{ready}/{spec.replicas}",
        reason=reason,
    )
