"""RetrainJob: one attempt at retraining, from cause to ModelVersion."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from trimtab.api.conditions import EventReason
from trimtab.api.deployment import Deployment
from trimtab.api.model_version import version_object_name
from trimtab.api.retrain_job import FINISHED_PHASES, Champion, RetrainJob
from trimtab.build.engines import engine_of
from trimtab.build.training_pod import RunRequest
from trimtab.cluster.port import DEPLOYMENTS, MODEL_VERSIONS, PODS, Json, Key
from trimtab.decide.retrain.actions import CreateVersion, RetrainDecision, StartRun
from trimtab.decide.retrain.attempt import decide_retrain
from trimtab.decide.retrain.snapshot import MadeVersion, RetrainSnapshot
from trimtab.errors import Conflict, Refused, RetryLater, SpecError
from trimtab.reconcile.kinds.typed import typed
from trimtab.reconcile.machine.world import World

REFUSED_AGAIN_SECONDS = 30.0
TAKEN_AGAIN_SECONDS = 5.0


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
    engine = engine_of(job)
    made_by_engine = world.cache.get(Key(engine.resource, key.namespace, key.name))
    return RetrainSnapshot(
        job=job,
        now=world.now(),
        serving=_serving(world, key.namespace, job.spec.cause.deployment),
        run=engine.view(job, made_by_engine, world.cache.children(key, PODS)),
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
    spec = version["spec"]
    return MadeVersion(
        name=version["metadata"]["name"],
        digest=spec["artifact"]["digest"],
        retrain_job=(spec.get("lineage") or {}).get("retrainJob"),
    )


# --- act ----------------------------------------------------------------------------------------


async def _carry_out(
    world: World, key: Key, snapshot: RetrainSnapshot, decision: RetrainDecision
) -> MadeVersion | None:
    match decision.action:
        case None:
            return None
        case StartRun() as action:
            await _start_run(world, key, snapshot.job, action)
            return None
        case CreateVersion() as action:
            return await _create_version(world, action)
        case _:
            assert_never(decision.action)


async def _start_run(world: World, key: Key, job: RetrainJob, action: StartRun) -> None:
    engine = engine_of(job)
    request = RunRequest(
        job,
        action.champion,
        action.new_version,
        action.output_uri,
        image=world.settings.training_image,
        pull_policy=world.settings.image_pull_policy,
    )
    stored = await world.cluster.create(engine.build(request))
    if stored is None:
        # Ours from before a restart, or one of that name that is not ours.
        stored = await world.cluster.read(Key(engine.resource, key.namespace, key.name))
        if not engine.view(job, stored, ()).exists:
            raise Conflict(
                f"{key}: a {engine.resource.kind} of that name exists that is going away or "
                "belongs to somebody else; delete it if it stays",
                TAKEN_AGAIN_SECONDS,
            )
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
