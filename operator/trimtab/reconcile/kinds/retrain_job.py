"""RetrainJob: one attempt at retraining, from cause to ModelVersion."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, assert_never

from trimtab.api.conditions import EventReason
from trimtab.api.deployment import Deployment
from trimtab.api.model_version import ModelVersion, version_object_name
from trimtab.api.retrain_job import FINISHED_PHASES, Champion, RetrainJob
from trimtab.build.job import CONTAINER, build_job
from trimtab.cluster.port import DEPLOYMENTS, JOBS, MODEL_VERSIONS, PODS, Json, Key
from trimtab.decide.retrain.attempt import (
    CreateJob,
    CreateVersion,
    JobView,
    MadeVersion,
    PodView,
    RetrainDecision,
    RetrainSnapshot,
    decide_retrain,
)
from trimtab.errors import Conflict, Refused, RetryLater, SpecError
from trimtab.reconcile.kinds.ownership import is_controlled_by, require_ours
from trimtab.reconcile.kinds.typed import readable, typed
from trimtab.reconcile.machine.world import World

REFUSED_AGAIN_SECONDS = 30.0
TAKEN_AGAIN_SECONDS = 5.0
_STUCK_IMAGES = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName"})


async def reconcile_retrain_job(world: World, key: Key) -> datetime | None:
    """Observe, decide, act; the version that an action made is looked at in the same pass."""
    snapshot = observe(world, key)
    if snapshot is None:
        return None

    decision = decide_retrain(snapshot)

    try:
        made = await _carry_out(world, key, snapshot, decision)
    except Refused as error:
        await _tell_refusal(world, key, error)
        raise RetryLater(str(error), REFUSED_AGAIN_SECONDS) from error
    if made is not None:
        decision = decide_retrain(replace(snapshot, made=made))
    await _write(world, key, snapshot, decision)
    if decision.look_again is None:
        return None
    return snapshot.now + decision.look_again


def observe(world: World, key: Key) -> RetrainSnapshot | None:
    """Return everything that the decision rests on; None if there is nothing to decide."""
    job = typed(RetrainJob, world.cache.get(key))
    if job is None or job.metadata.deletion_timestamp is not None:
        return None
    if job.status.phase in FINISHED_PHASES:
        return None
    batch_job = world.cache.get(Key(JOBS, key.namespace, key.name))
    pods = sorted(world.cache.children(key, PODS), key=_age_order)
    return RetrainSnapshot(
        job=job,
        now=world.now(),
        serving=_serving(world, key.namespace, job.spec.cause.deployment),
        batch_job=_job_view(batch_job) if batch_job and _is_ours(batch_job, job) else None,
        pods=tuple(_pod_view(pod) for pod in pods if _is_of_job(pod, key.name)),
        made=_made(world, job) if job.status.new_version else None,
    )


# --- observe ------------------------------------------------------------------------------------


def _serving(world: World, namespace: str, name: str) -> Champion | None:
    try:
        deployment = typed(Deployment, world.cache.get(Key(DEPLOYMENTS, namespace, name)))
    except SpecError:
        return None
    stable = deployment.status.stable if deployment is not None else None
    if stable is None:
        return None
    return Champion(
        version_object=stable.version_object,
        uri=str(stable.artifact.uri),
        digest=stable.digest,
    )


def _made(world: World, job: RetrainJob) -> MadeVersion | None:
    name = version_object_name(job.spec.model, job.status.new_version)
    return _made_view(world.cache.get(Key(MODEL_VERSIONS, job.metadata.namespace, name)))


def _made_view(version: Json | None) -> MadeVersion | None:
    if version is None:
        return None
    name = version["metadata"]["name"]
    found, _ = readable(ModelVersion, [version])
    if not found:
        return MadeVersion(name, digest="one that this release cannot read", retrain_job=None)
    (spec,) = (made.spec for made in found)
    lineage = spec.lineage
    return MadeVersion(
        name=name,
        digest=spec.artifact.digest,
        retrain_job=lineage.retrain_job if lineage is not None else None,
    )


def _is_ours(batch_job: Json | None, job: RetrainJob) -> bool:
    if batch_job is None or "deletionTimestamp" in batch_job["metadata"]:
        return False
    return is_controlled_by(batch_job, job.metadata.uid)


def _is_of_job(pod: Json, job: str) -> bool:
    owners = pod["metadata"].get("ownerReferences") or []
    return any(owner.get("kind") == "Job" and owner.get("name") == job for owner in owners)


def _age_order(obj: Json) -> tuple[str, str]:
    return obj["metadata"].get("creationTimestamp") or "", obj["metadata"]["name"]


def _job_view(batch_job: Json) -> JobView:
    status = batch_job.get("status") or {}
    ended = {
        condition["type"]: condition
        for condition in status.get("conditions") or []
        if condition.get("status") == "True" and condition["type"] in ("Complete", "Failed")
    }
    end = ended.get("Complete") or ended.get("Failed")
    failed = ended.get("Failed")
    return JobView(
        is_complete="Complete" in ended,
        failed=(failed.get("reason", ""), failed.get("message", "")) if failed else None,
        ended=_time(end.get("lastTransitionTime")) if end is not None else None,
    )


def _pod_view(pod: Json) -> PodView:
    status = pod.get("status") or {}
    containers: list[Json] = status.get("containerStatuses") or []
    container: Json = next((c for c in containers if c.get("name") == CONTAINER), {})
    state: dict[str, Any] = container.get("state") or {}
    terminated = state.get("terminated")
    return PodView(
        name=pod["metadata"]["name"],
        is_running="running" in state,
        waiting=_waiting(status, state),
        exit_code=terminated.get("exitCode") if terminated else None,
        message=terminated.get("message") or "" if terminated else "",
        finished=_time(terminated.get("finishedAt")) if terminated else None,
    )


def _waiting(status: Json, state: Json) -> str:
    """Say in words that do not change at every try why a pod does not start."""
    waiting = (state.get("waiting") or {}).get("reason", "")
    if waiting in _STUCK_IMAGES:
        return "the training image cannot be pulled"
    if waiting == "CreateContainerConfigError":
        return "the pod cannot be made; look at its events"
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return "no node has room for the pod"
    return ""


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


# --- act ----------------------------------------------------------------------------------------


async def _carry_out(
    world: World, key: Key, snapshot: RetrainSnapshot, decision: RetrainDecision
) -> MadeVersion | None:
    match decision.action:
        case None:
            return None
        case CreateJob() as action:
            await _create_job(world, key, snapshot.job, action)
            return None
        case CreateVersion() as action:
            return await _create_version(world, action)
        case _:
            assert_never(decision.action)


async def _create_job(world: World, key: Key, job: RetrainJob, action: CreateJob) -> None:
    manifest = build_job(
        job,
        action.champion,
        action.new_version,
        action.output_uri,
        image=world.settings.training_image,
        pull_policy=world.settings.image_pull_policy,
    )
    stored = await world.cluster.create(manifest)
    if stored is None:
        # Ours from before a restart, or one of that name that is not ours.
        child = Key(JOBS, key.namespace, key.name)
        stored = await world.cluster.read(child)
        owner = world.cache.get(key)
        if stored is None or owner is None:
            raise Conflict(f"{child} was there a moment ago", TAKEN_AGAIN_SECONDS)
        require_ours(stored, child, owner)
    if stored is not None:
        world.remember(stored)


async def _create_version(world: World, action: CreateVersion) -> MadeVersion | None:
    stored = await world.cluster.create(action.manifest)
    if stored is None:
        metadata = action.manifest["metadata"]
        stored = await world.cluster.read(
            Key(MODEL_VERSIONS, metadata["namespace"], metadata["name"])
        )
    if stored is not None:
        world.remember(stored)
        world.enqueue(
            Key(MODEL_VERSIONS, stored["metadata"]["namespace"], stored["metadata"]["name"])
        )
    return _made_view(stored)


async def _write(
    world: World, key: Key, snapshot: RetrainSnapshot, decision: RetrainDecision
) -> None:
    if decision.status.to_json() == snapshot.job.status.to_json():
        return
    stored = await world.apply_status(key, decision.status.to_json())
    for event in decision.events:
        await world.cluster.record_event(
            stored, reason=event.reason, message=event.message, warning=event.warning
        )


async def _tell_refusal(world: World, key: Key, error: Refused) -> None:
    obj = world.cache.get(key)
    if obj is not None:
        await world.cluster.record_event(
            obj, reason=EventReason.WRITE_REFUSED, message=str(error), warning=True
        )
