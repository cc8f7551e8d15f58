"""ModelVersion: look at the stored artifact once, and say who uses the version."""

from __future__ import annotations

from datetime import datetime, timedelta

from trimtab.api.deployment import Deployment
from trimtab.api.model_version import ModelVersion
from trimtab.cluster.port import DEPLOYMENTS, Key
from trimtab.decide.model_version import (
    Away,
    Broken,
    Check,
    Matched,
    VersionDecision,
    decide_version,
    needs_check,
    users_of,
)
from trimtab.errors import Unavailable
from trimtab.reconcile.kinds.typed import all_typed, typed
from trimtab.reconcile.machine.world import World
from trimtab.store.port import ArtifactBroken, StoreAway

READ_AGAIN = timedelta(minutes=5)


async def reconcile_model_version(world: World, key: Key) -> datetime | None:
    """Observe, decide, act. Raises Unavailable, after the write, while the store is away."""
    version = typed(ModelVersion, world.cache.get(key))
    if version is None or version.metadata.deletion_timestamp is not None:
        return None
    check = await _check_of(world, version) if needs_check(version) else None
    deployments = all_typed(Deployment, world.cache.all(DEPLOYMENTS, key.namespace))
    used_by = users_of(key.name, deployments)

    decision = decide_version(version, check, used_by, world.now())

    await _write(world, key, version, decision)
    if decision.ask_again is not None:
        raise Unavailable(f"{key}: {decision.ask_again}")
    return await _read_again(world, version, deployments)


async def _read_again(
    world: World, version: ModelVersion, deployments: list[Deployment]
) -> datetime | None:
    """After a restart: have the small files at hand again for those who decide with them."""
    artifact = version.spec.artifact
    followers = [d for d in deployments if d.spec.model == version.spec.model]
    if version.status.phase != "Verified" or not followers:
        return None
    if world.store.cached(artifact.digest) is not None:
        return None
    try:
        await world.store.documents(str(artifact.uri), artifact.digest)
    except (StoreAway, ArtifactBroken):
        # The version was verified before; whether it still can be loaded, the pods will say.
        return world.now() + READ_AGAIN
    for deployment in followers:
        world.enqueue(Key(DEPLOYMENTS, deployment.metadata.namespace, deployment.metadata.name))
    return None


async def _check_of(world: World, version: ModelVersion) -> Check:
    artifact = version.spec.artifact
    try:
        documents = await world.store.documents(str(artifact.uri), artifact.digest)
    except StoreAway as error:
        return Away(str(error), is_final=error.no_credentials)
    except ArtifactBroken as error:
        return Broken(error.reason, str(error))
    return Matched(documents.baseline)


async def _write(world: World, key: Key, version: ModelVersion, decision: VersionDecision) -> None:
    if decision.status.to_json() == version.status.to_json():
        return
    stored = await world.apply_status(key, decision.status.to_json())
    for event in decision.events:
        await world.cluster.record_event(
            stored, reason=event.reason, message=event.message, warning=event.warning
        )
