"""ModelVersion: look at the stored artifact once, and say who uses the version."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from trimtab.api.deployment import Deployment
from trimtab.api.model_version import ModelVersion
from trimtab.cluster.port import DEPLOYMENTS, MODEL_VERSIONS, Json, Key
from trimtab.decide.model_version import (
    Away,
    Broken,
    Check,
    Matched,
    VersionOutcome,
    decide_version,
    needs_check,
    users_of,
)
from trimtab.decide.outcome import Note
from trimtab.errors import Unavailable
from trimtab.reconcile.kinds.typed import all_typed, typed
from trimtab.reconcile.machine.interest import readers_of_documents
from trimtab.reconcile.machine.world import World
from trimtab.reconcile.pass_ import KindPass
from trimtab.store.port import ArtifactBroken, StoreAway

READ_AGAIN = timedelta(minutes=5)


async def _decide(world: World, key: Key, live: Json) -> VersionOutcome:
    """Look at the stored artifact if that was not done yet, and at who uses the version."""
    version = typed(ModelVersion, live)
    check = await _check_of(world, version) if needs_check(version) else None
    deployments = all_typed(Deployment, world.cache.all(DEPLOYMENTS, key.namespace))
    outcome = decide_version(version, check, users_of(key.name, deployments), world.now())
    if version.status.phase == "Verified":
        return replace(outcome, wake_at=await _read_again(world, version, live))
    return outcome


async def _act(world: World, key: Key, outcome: VersionOutcome) -> tuple[Note, ...]:
    """Raise Unavailable while the store is away: the queue knows when to ask again."""
    for action in outcome.actions:
        raise Unavailable(f"{key}: {action.why}")
    return ()


MODEL_VERSION = KindPass(MODEL_VERSIONS, _decide, _act)
reconcile_model_version = MODEL_VERSION.reconciler()


async def _read_again(world: World, version: ModelVersion, live: Json) -> datetime | None:
    """After a restart: have the small files at hand again for those who decide with them."""
    artifact = version.spec.artifact
    readers = readers_of_documents(world.cache, live)
    if not readers or world.store.cached(artifact.digest) is not None:
        return None
    try:
        await world.store.documents(str(artifact.uri), artifact.digest)
    except (StoreAway, ArtifactBroken):
        # The version was verified before; whether it still can be loaded, the pods will say.
        return world.now() + READ_AGAIN
    for reader in readers:
        world.enqueue(reader)
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
