"""What a decision about a Deployment rests on, with a default for all that a test does not name."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from trimtab.api.conditions import Reason
from trimtab.api.deployment import (
    Deployment,
    DeploymentSpec,
    DeploymentStatus,
    Gate,
    GuardStatus,
    HistoryEntry,
    Rejected,
    StepStatus,
    Tried,
)
from trimtab.api.model_version import Artifact, ModelVersion
from trimtab.decide.rollout.measures import ERRORS, REQUESTS
from trimtab.decide.rollout.phases import Phase, Progress, Stepping, rollout_status
from trimtab.decide.rollout.snapshot import (
    Asked,
    Frozen,
    PodView,
    ProcessView,
    Snapshot,
    WorkloadView,
)
from trimtab.decide.rollout.wanted import revision_of

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ERRORS_GATE = {"name": "errors", "bad": "errors", "against": "stable", "margin": "1%"}


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def digest_of(version: str) -> str:
    return "sha256:" + hashlib.sha256(version.encode()).hexdigest()


def a_gate(**fields: Any) -> Gate:
    return Gate.model_validate({**ERRORS_GATE, **fields}, context={"stored": True})


def a_deployment(
    version: str | None = "v2",
    *,
    replicas: int = 3,
    status: DeploymentStatus | None = None,
    annotations: Mapping[str, str] | None = None,
    rollout: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Deployment:
    """Return a Deployment as the API server holds it; `rollout` and `spec` are camelCase."""
    target: dict[str, Any] = {"follow": {}} if version is None else {"version": version}
    deployment = Deployment.model_validate(
        {
            "metadata": {
                "name": "digits",
                "namespace": "shop",
                "generation": 1,
                "annotations": dict(annotations or {}),
            },
            "spec": {
                "model": "digits",
                "replicas": replicas,
                "rollout": dict(rollout or {}),
                **target,
                **spec,
            },
        }
    )
    return deployment.model_copy(update={"status": status or DeploymentStatus()})


def a_spec(version: str | None = "v2", **fields: Any) -> DeploymentSpec:
    return a_deployment(version, **fields).spec


def a_version(
    version: str = "v2", *, phase: str = "Verified", form: str = "sklearn", age: float = 0.0
) -> ModelVersion:
    """Return a ModelVersion of the line digits; `age`: seconds that it is older than NOW."""
    return ModelVersion.model_validate(
        {
            "metadata": {
                "name": f"digits-{version}",
                "namespace": "shop",
                "creationTimestamp": (NOW - seconds(age)).isoformat().replace("+00:00", "Z"),
            },
            "spec": {
                "model": "digits",
                "version": version,
                "artifact": {
                    "uri": f"s3://models/{version}/",
                    "digest": digest_of(version),
                    "format": form,
                },
            },
            "status": {"phase": phase},
        }
    )


def revision(version: str) -> str:
    """Return the revision of a version under the default serving part."""
    return revision_of(digest_of(version), a_spec().serving)


def a_tried(version: str = "v2", *, since: datetime = NOW) -> Tried:
    return Tried(
        version=version,
        version_object=f"digits-{version}",
        digest=digest_of(version),
        revision=revision(version),
        workload=f"digits-{revision(version)}",
        artifact=Artifact(uri=f"s3://models/{version}/", digest=digest_of(version)),
        since=since,
    )


def a_status(phase: Phase | None = None, *, stable: str | None = "v1", **fields: Any) -> Any:
    """Return a status in a phase; without one it is at rest."""
    if phase is not None:
        fields |= {"candidate": phase.candidate, "rollout": rollout_status(phase)}
    if stable is not None:
        fields["stable"] = a_tried(stable)
    return DeploymentStatus().model_copy(update=fields)


def a_step(weight: float = 0.25, *, index: int = 0, of: int = 2, **fields: Any) -> StepStatus:
    return StepStatus(**{"index": index, "of": of, "weight": weight, "started": NOW, **fields})


def a_stepping(step: StepStatus | None = None, **fields: Any) -> Stepping:
    return Stepping(
        **{
            "candidate": a_tried("v2"),
            "started": NOW,
            "progress": Progress(step or a_step()),
            **fields,
        }
    )


def a_guard(version: str = "v2", **fields: Any) -> GuardStatus:
    return GuardStatus(
        **{
            "revision": revision(version),
            "since": NOW,
            "until": NOW + timedelta(hours=24),
            **fields,
        }
    )


def a_rejection(version: str = "v2", reason: Reason = Reason.GATE_FAILED) -> Rejected:
    return Rejected(
        revision=revision(version),
        version=version,
        reason=reason,
        by="trimtab",
        at=NOW,
        evidence="gate errors",
    )


def an_end(version: str = "v2", outcome: str = "RolledBack", **fields: Any) -> HistoryEntry:
    return HistoryEntry(
        **{
            "version": version,
            "revision": revision(version),
            "outcome": outcome,
            "at": NOW,
            "by": "trimtab",
            "automatic": True,
            **fields,
        }
    )


def a_pod(version: str = "v2", number: int = 0, **fields: Any) -> PodView:
    return PodView(
        **{
            "name": f"digits-{version}-{number}",
            "uid": f"{version}-{number}",
            "revision": revision(version),
            "ready": True,
            "was_ready": True,
            "startable_seconds": 3600.0,
            "ready_seconds": 60.0 if fields.get("ready", True) else 0.0,
            **fields,
        }
    )


def pods(version: str, count: int, **fields: Any) -> tuple[PodView, ...]:
    return tuple(a_pod(version, number, **fields) for number in range(count))


def a_process(
    version: str = "v2",
    requests: float = 0.0,
    errors: float = 0.0,
    *,
    counts: Mapping[str, float] | None = None,
    **fields: Any,
) -> ProcessView:
    counted = {REQUESTS: requests, ERRORS: errors} if counts is None else counts
    return ProcessView(
        **{
            "process": f"{version}-0/1",
            "revision": revision(version),
            "counts": counted,
            "sampled_at": NOW,
            **fields,
        }
    )


def a_workload(version: str, replicas: int, *, ready: int | None = None) -> WorkloadView:
    name = f"digits-{revision(version)}"
    return WorkloadView(
        name=name,
        uid=f"uid-{version}",
        revision=revision(version),
        replicas=replicas,
        ready=replicas if ready is None else ready,
    )


def freeze(version: ModelVersion, revision: str, asked: Asked | None = None) -> Frozen:
    """Return how a revision runs; the template tells which version it is of, and asks."""
    template = {"of": version.spec.version}
    if asked is not None:
        template["asks"] = asked.artifact.uri
    return Frozen(f"digits-{revision}", "serving:1", template)


def a_snapshot(
    deployment: Deployment | None = None,
    *,
    now: datetime = NOW,
    versions: tuple[ModelVersion, ...] | None = None,
    workloads: tuple[WorkloadView, ...] = (),
    **fields: Any,
) -> Snapshot:
    """Return a snapshot; v1 and v2 are there and verified, and pods have their workloads."""
    if versions is None:
        versions = (a_version("v1", age=60.0), a_version("v2"))
    sizes = Counter(pod.revision for pod in fields.get("pods", ()))
    implied = [
        WorkloadView(f"digits-{revision}", f"uid-{revision}", revision, size, ready=size)
        for revision, size in sizes.items()
    ]
    workloads = workloads or tuple(implied)
    return Snapshot(
        now=now,
        deployment=deployment or a_deployment(),
        freeze=freeze,
        versions={version.metadata.name: version for version in versions},
        workloads={workload.revision: workload for workload in workloads},
        **fields,
    )
