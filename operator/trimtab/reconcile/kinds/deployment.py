"""Reconcile a Deployment: observe once, decide, act.

Intent before effect: the new status is written first, then the children that it means. A pass
that is killed in between is finished by the next one from the status alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import ValidationError

from trimtab.api.conditions import Reason
from trimtab.api.deployment import Deployment, DeploymentStatus
from trimtab.api.drift_policy import DriftPolicy
from trimtab.api.meta import REVISION_LABEL
from trimtab.api.model_version import ModelVersion
from trimtab.build.names import workload_name
from trimtab.build.workload import CONTAINER, build_pod_template
from trimtab.cluster.port import (
    DRIFT_POLICIES,
    MODEL_VERSIONS,
    PODS,
    SERVICES,
    WORKLOADS,
    Json,
    Key,
)
from trimtab.decide.drift.policy import requested_action
from trimtab.decide.rollout.compatibility import why_incompatible
from trimtab.decide.rollout.draft import Decision
from trimtab.decide.rollout.guard import detectors_to_save
from trimtab.decide.rollout.life import decide_deployment
from trimtab.decide.rollout.measures import measures_of
from trimtab.decide.rollout.snapshot import (
    Frozen,
    Memory,
    PodView,
    ProcessView,
    Request,
    ServiceView,
    Snapshot,
    WorkloadView,
)
from trimtab.errors import SpecError
from trimtab.reconcile.kinds.children import Children, carry_out
from trimtab.reconcile.kinds.names import telemetry_key
from trimtab.reconcile.kinds.pods import target_of, view_of
from trimtab.reconcile.kinds.status_writes import should_write
from trimtab.reconcile.kinds.typed import all_typed
from trimtab.reconcile.machine.world import World
from trimtab.telemetry.port import Backend, NoData, NoDataReason, ProcessCounters

NOT_SCRAPED_YET = NoData(NoDataReason.WAITING, "not scraped yet")


@dataclass
class _Kept:
    """What is kept of one Deployment between passes; safe to lose."""

    memory: Memory = field(default_factory=Memory)
    children: Children = field(default_factory=Children)
    written_at: datetime | None = None


async def reconcile_deployment(world: World, key: Key) -> datetime | None:
    """Bring one Deployment a step further; return when to look again at the latest."""
    live = world.cache.get(key)
    if live is None or live["metadata"].get("deletionTimestamp"):
        world.telemetry.forget(telemetry_key(key))
        world.memory.pop(key, None)
        return None
    kept: _Kept = world.memory.setdefault(key, _Kept())

    snapshot = observe(world, key, live, kept.memory)

    decision = decide_deployment(snapshot)
    kept.memory = decision.memory

    await _write_intent(world, key, live, decision, kept)
    await carry_out(world, key, snapshot, decision.status, kept.children)
    for note in decision.events:
        await world.cluster.record_event(
            live, reason=note.reason, message=note.message, warning=note.warning
        )
    return decision.wake_at


def _backend(deployment: Deployment) -> Backend | None:
    """Return who scrapes the pods; None for the operator itself."""
    known = deployment.spec.metrics.prometheus
    if known is None:
        return None
    return Backend(
        url=known.url,
        secret=known.secret_name or "",
        labels=tuple(sorted(known.labels.items())),
        interval_seconds=known.interval.total_seconds(),
        timeout_seconds=known.timeout.total_seconds(),
    )


# --- observe -------------------------------------------------------------------------------------


def observe(world: World, key: Key, live: Json, memory: Memory) -> Snapshot:
    """Return everything that the decision rests on, and renew the scrape targets."""
    deployment = parse_deployment(live)
    now = world.now()
    pods = world.cache.children(key, PODS)
    metrics = deployment.spec.metrics
    targets = [target for pod in pods if (target := target_of(pod, metrics)) is not None]
    world.telemetry.set_targets(telemetry_key(key), targets, _backend(deployment))
    versions = _versions(world, key.namespace, deployment.spec.model)
    views = tuple(view_of(pod, now) for pod in pods)
    return Snapshot(
        now=now,
        deployment=deployment,
        freeze=lambda version, revision: _freeze(world, deployment, version, revision),
        versions=versions,
        workloads=_workloads(world, key),
        services=_services(world, key),
        pods=views,
        processes=_processes(world, key, deployment.status, views),
        incompatible=_incompatible(world, deployment, versions),
        memory=memory,
        requested=_requested(world, key, deployment),
    )


def _requested(world: World, key: Key, deployment: Deployment) -> Request | None:
    """Return what a DriftPolicy asks for, judged against the baseline that serves now."""
    stable = deployment.status.stable
    documents = world.store.cached(stable.digest) if stable is not None else None
    if documents is None or documents.baseline is None:
        return None
    policies = all_typed(DriftPolicy, world.cache.all(DRIFT_POLICIES, key.namespace))
    return requested_action(policies, key.name, documents.baseline.digest)


def parse_deployment(live: Json) -> Deployment:
    """Return the typed object; SpecError if an older schema let something else in."""
    try:
        return Deployment.model_validate(live)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SpecError(f"{where}: {first['msg']}") from error


def _versions(world: World, namespace: str, model: str) -> dict[str, ModelVersion]:
    return {
        obj["metadata"]["name"]: ModelVersion.model_validate(obj)
        for obj in world.cache.all(MODEL_VERSIONS, namespace)
        if obj["spec"]["model"] == model
    }


def _freeze(world: World, deployment: Deployment, version: ModelVersion, revision: str) -> Frozen:
    template = build_pod_template(
        deployment,
        version,
        revision,
        world.settings.serving_image_for(version.spec.artifact.format),
        world.settings.image_pull_policy,
    )
    containers = template["spec"]["containers"]
    image = next((c.get("image", "") for c in containers if c.get("name") == CONTAINER), "")
    return Frozen(workload_name(deployment.metadata.name, revision), image, template)


def _workloads(world: World, key: Key) -> dict[str, WorkloadView]:
    views: dict[str, WorkloadView] = {}
    for obj in world.cache.children(key, WORKLOADS):
        revision = (obj["metadata"].get("labels") or {}).get(REVISION_LABEL, "")
        views[revision] = WorkloadView(
            name=obj["metadata"]["name"],
            uid=obj["metadata"].get("uid", ""),
            revision=revision,
            replicas=int(obj.get("spec", {}).get("replicas", 1)),
            terminating="deletionTimestamp" in obj["metadata"],
        )
    return views


def _services(world: World, key: Key) -> dict[str, ServiceView]:
    return {
        obj["metadata"]["name"]: ServiceView(
            obj["metadata"]["name"], obj.get("spec", {}).get("selector") or {}
        )
        for obj in world.cache.children(key, SERVICES)
    }


def _processes(
    world: World, key: Key, status: DeploymentStatus, pods: tuple[PodView, ...]
) -> tuple[ProcessView, ...]:
    digests = [
        tried.digest
        for tried in (status.stable, status.candidate, status.last_good)
        if tried is not None
    ]
    ready = {pod.name: pod.ready_seconds for pod in pods if pod.ready and not pod.terminating}
    now = world.now().timestamp()
    views = []
    for process in world.telemetry.processes(telemetry_key(key)):
        problem = process.no_data(now)
        if problem is not None and _is_young(process, ready.get(process.pod, 0.0)):
            problem = NOT_SCRAPED_YET
        views.append(
            ProcessView(
                process=process.process,
                revision=process.revision,
                counts=measures_of(process.series, digests),
                sampled_at=_moment(process.sampled_at),
                problem=None if problem is None else Reason(problem.reason.value),
                detail="" if problem is None else f"{process.pod}: {problem.detail}",
                pod_ready=process.pod in ready and not process.is_gone,
                born=_moment(process.process_start),
                first=measures_of(process.first, digests),
            )
        )
    return tuple(views)


def _is_young(process: ProcessCounters, ready_seconds: float) -> bool:
    """Return whether its scrapes failed only because it was still starting.

    Forgiven for as long as a sample would hold. Times of conditions are whole seconds.
    """
    grace = process.stale_after_seconds + 1.0
    return process.sampled_at is None and ready_seconds <= grace and not process.is_gone


def _moment(unix_seconds: float | None) -> datetime | None:
    return None if unix_seconds is None else datetime.fromtimestamp(unix_seconds, UTC)


def _incompatible(
    world: World, deployment: Deployment, versions: dict[str, ModelVersion]
) -> dict[str, str]:
    stable = deployment.status.stable
    documents = world.store.cached(stable.digest) if stable is not None else None
    if documents is None:
        return {}
    result: dict[str, str] = {}
    for name, version in versions.items():
        other = world.store.cached(version.spec.artifact.digest)
        why = why_incompatible(documents.signature, other.signature) if other else None
        if why is not None:
            result[name] = why
    return result


# --- act -----------------------------------------------------------------------------------------


async def _write_intent(
    world: World, key: Key, live: Json, decision: Decision, kept: _Kept
) -> None:
    status = decision.status
    if status.guard is not None:
        saved = detectors_to_save(decision.memory)
        if saved:
            guard = status.guard.model_copy(update={"detectors": saved})
            status = status.model_copy(update={"guard": guard})
    new = status.to_json()
    if not should_write(live.get("status") or {}, new, kept.written_at, world.now()):
        kept.written_at = kept.written_at or world.now()
        return
    await world.apply_status(key, new)
    kept.written_at = world.now()
