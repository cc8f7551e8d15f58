"""RetrainJob: one attempt at retraining, from cause to ModelVersion.

Before an attempt is given up, or its training done once more, all that it rests on is read live.
"""

from __future__ import annotations

from typing import assert_never

from trimtab.api.deployment import Deployment
from trimtab.api.model_version import ModelVersion, version_object_name
from trimtab.api.retrain_job import Champion, RetrainJob
from trimtab.build.engines import engine_of
from trimtab.build.training_pod import RunRequest
from trimtab.cluster.port import DEPLOYMENTS, MODEL_VERSIONS, PODS, RETRAIN_JOBS, Json, Key
from trimtab.decide.outcome import Note
from trimtab.decide.retrain.actions import CreateVersion, RetrainOutcome, StartRun
from trimtab.decide.retrain.attempt import decide_retrain, rests_on_absence
from trimtab.decide.retrain.snapshot import MadeVersion, RetrainSnapshot
from trimtab.errors import Conflict, SpecError
from trimtab.reconcile.kinds.ownership import require_ours
from trimtab.reconcile.kinds.typed import readable, typed
from trimtab.reconcile.machine.cache import parent_of
from trimtab.reconcile.machine.world import World
from trimtab.reconcile.pass_ import KindPass

TAKEN_AGAIN_SECONDS = 5.0


async def _decide(world: World, key: Key, live: Json) -> RetrainOutcome:
    """Observe once, decide; look live before anything is thrown away."""
    seen = observe(world, typed(RetrainJob, live))
    outcome = decide_retrain(seen)
    if rests_on_absence(seen, outcome):
        outcome = decide_retrain(await _look_live(world, key, seen.job))
    return outcome


async def _act(world: World, key: Key, outcome: RetrainOutcome) -> tuple[Note, ...]:
    """Start the run, or make the version that came of it."""
    for action in outcome.actions:
        match action:
            case StartRun():
                await _start_run(world, key, action)
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
    engine = engine_of(job)
    made_by_engine = world.cache.get(Key(engine.resource, key.namespace, key.name))
    return RetrainSnapshot(
        job=job,
        now=world.now(),
        led=world.cluster.led_seconds(),
        serving=_serving(world, key.namespace, job.spec.cause.deployment),
        run=engine.view(job, made_by_engine, world.cache.children(key, PODS)),
        made=_made(world, job) if job.status.new_version else None,
    )


# --- observe ------------------------------------------------------------------------------------


async def _look_live(world: World, key: Key, job: RetrainJob) -> RetrainSnapshot:
    """Return what is there; Conflict if the RetrainJob is not."""
    keys = [
        key,
        Key(DEPLOYMENTS, key.namespace, job.spec.cause.deployment),
        Key(engine_of(job).resource, key.namespace, key.name),
    ]
    if job.status.new_version:
        keys.append(_version_key(job))
    for one in keys:
        await world.look(one)
    # What runs a training names its pods by chance: of one that is not known there is no name.
    for pod in await world.cluster.list(PODS):
        if parent_of(PODS, pod) == key:
            world.remember(pod)
    live = world.cache.get(key)
    if live is None:
        raise Conflict(f"{key} is gone")
    return observe(world, typed(RetrainJob, live))


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
    return _made_view(world.cache.get(_version_key(job)))


def _version_key(job: RetrainJob) -> Key:
    name = version_object_name(job.spec.model, job.status.new_version)
    return Key(MODEL_VERSIONS, job.metadata.namespace, name)


def _made_view(version: Json | None) -> MadeVersion | None:
    if version is None:
        return None
    name = version["metadata"]["name"]
    found, _ = readable(ModelVersion, [version])
    if not found:
        return MadeVersion(name, digest="one that this release cannot read", retrain_job=None)
    (made,) = found
    spec, lineage = made.spec, made.spec.lineage
    return MadeVersion(
        name=name,
        digest=spec.artifact.digest,
        retrain_job=lineage.retrain_job if lineage is not None else None,
        made_at=made.metadata.creation_timestamp,
    )


# --- act ----------------------------------------------------------------------------------------


async def _start_run(world: World, key: Key, action: StartRun) -> None:
    owner = world.cache.get(key)
    if owner is None:
        return
    job = typed(RetrainJob, owner)
    engine = engine_of(job)
    request = RunRequest(
        job,
        action.champion,
        action.new_version,
        action.output_uri,
        image=world.settings.training_image,
        pull_policy=world.settings.image_pull_policy,
    )
    stored = await world.create(engine.build(request))
    if stored is None:
        # Ours from before a restart, or one of that name that is not ours.
        child = Key(engine.resource, key.namespace, key.name)
        stored = await world.cluster.read(child)
        if stored is None:
            raise Conflict(f"{child} was there a moment ago", TAKEN_AGAIN_SECONDS)
        require_ours(stored, child, owner)
    if stored is not None:
        world.remember(stored)


async def _create_version(world: World, action: CreateVersion) -> None:
    stored = await world.create(action.manifest)
    if stored is None:
        metadata = action.manifest["metadata"]
        stored = await world.cluster.read(
            Key(MODEL_VERSIONS, metadata["namespace"], metadata["name"])
        )
    if stored is not None:
        world.remember(stored)
