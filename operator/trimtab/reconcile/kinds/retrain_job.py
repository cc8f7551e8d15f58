"""RetrainJob: one attempt at retraining, from cause to ModelVersion."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, assert_never

from trimtab.api.deployment import Deployment
from trimtab.api.model_version import version_object_name
from trimtab.api.retrain_job import Champion, RetrainJob
from trimtab.build.job import CONTAINER, build_job
from trimtab.cluster.port import DEPLOYMENTS, JOBS, MODEL_VERSIONS, PODS, RETRAIN_JOBS, Json, Key
from trimtab.decide.outcome import Note
from trimtab.decide.retrain.attempt import (
    CreateJob,
    CreateVersion,
    JobView,
    MadeVersion,
    PodView,
    RetrainOutcome,
    RetrainSnapshot,
    decide_retrain,
)
from trimtab.errors import Conflict, SpecError
from trimtab.reconcile.kinds.typed import typed
from trimtab.reconcile.machine.world import World
from trimtab.reconcile.pass_ import KindPass

TAKEN_AGAIN_SECONDS = 5.0
_STUCK_IMAGES = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName"})


async def _decide(world: World, key: Key, live: Json) -> RetrainOutcome:
    """Observe once, decide."""
    return decide_retrain(observe(world, typed(RetrainJob, live)))


async def _act(world: World, key: Key, outcome: RetrainOutcome) -> tuple[Note, ...]:
    """Make the Job, or the version that came of it."""
    for action in outcome.actions:
        match action:
            case CreateJob():
                await _create_job(world, key, action)
            case CreateVersion():
                await _create_version(world, action)
            case _:
                assert_never(action)
    return ()


RETRAIN_JOB = KindPass(RETRAIN_JOBS, _decide, _act)
reconcile_retrain_job = RETRAIN_JOB.reconciler()


def observe(world: World, job: RetrainJob) -> RetrainSnapshot:
    """Return everything that the decision rests on."""
    key = Key(RETRAIN_JOBS, job.metadata.namespace, job.metadata.name)
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
    live = world.cache.get(Key(DEPLOYMENTS, namespace, name))
    try:
        stable = typed(Deployment, live).status.stable if live is not None else None
    except SpecError:
        return None
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
    spec = version["spec"]
    return MadeVersion(
        name=version["metadata"]["name"],
        digest=spec["artifact"]["digest"],
        retrain_job=(spec.get("lineage") or {}).get("retrainJob"),
    )


def _is_ours(batch_job: Json | None, job: RetrainJob) -> bool:
    if batch_job is None or "deletionTimestamp" in batch_job["metadata"]:
        return False
    owners = batch_job["metadata"].get("ownerReferences") or []
    return any(owner.get("uid") == job.metadata.uid for owner in owners)


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


async def _create_job(world: World, key: Key, action: CreateJob) -> None:
    job = typed(RetrainJob, world.cache.get(key) or {})
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
        stored = await world.cluster.read(Key(JOBS, key.namespace, key.name))
        if not _is_ours(stored, job):
            raise Conflict(
                f"{key}: a Job of that name exists that is going away or belongs to somebody "
                "else; delete it if it stays",
                TAKEN_AGAIN_SECONDS,
            )
    if stored is not None:
        world.remember(stored)


async def _create_version(world: World, action: CreateVersion) -> None:
    stored = await world.cluster.create(action.manifest)
    if stored is None:
        metadata = action.manifest["metadata"]
        stored = await world.cluster.read(
            Key(MODEL_VERSIONS, metadata["namespace"], metadata["name"])
        )
    if stored is not None:
        world.remember(stored)
