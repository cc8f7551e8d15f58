"""ModelVersion: look at the stored artifact once, and say who uses the version."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from trimtab.api.deployment import Deployment
from trimtab.api.model_version import Artifact, ModelVersion
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
    """Have the small files at hand again for those who decide with them."""
    readers = readers_of_documents(world.cache, live)
    if not readers:
        return None
    own = version.spec.artifact
    is_own_read = await _have_read(world, own)
    others = [
        await _have_read(world, artifact)
        for artifact in _served_without_version(world, readers)
        if artifact.digest != own.digest
    ]
    if True in (is_own_read, *others):
        for reader in readers:
            world.enqueue(reader)
    # The version was verified before; whether it still can be loaded, the pods will say.
    return world.now() + READ_AGAIN if is_own_read is False else None


async def _have_read(world: World, artifact: Artifact) -> bool | None:
    """Read an artifact's small files; None if they are at hand, False if that cannot be done."""
    if world.store.cached(artifact.digest) is not None:
        return None
    try:
        await world.store.documents(str(artifact.uri), artifact.digest)
    except (StoreAway, ArtifactBroken):
        return False
    return True


def _served_without_version(world: World, readers: Iterable[Key]) -> list[Artifact]:
    """Return what Deployments serve although its ModelVersion is gone, or is another by now.

    Nobody else reads it, and newer versions are compared with it.
    """
    artifacts: dict[str, Artifact] = {}
    deployments = all_typed(Deployment, filter(None, map(world.cache.get, readers)))
    for deployment in deployments:
        stable = deployment.status.stable
        if stable is None:
            continue
        name = Key(MODEL_VERSIONS, deployment.metadata.namespace, stable.version_object)
        found = all_typed(ModelVersion, filter(None, [world.cache.get(name)]))
        if not any(one.spec.artifact.digest == stable.digest for one in found):
            artifacts[stable.digest] = stable.artifact
    return list(artifacts.values())


async def _check_of(world: World, version: ModelVersion) -> Check:
    artifact = version.spec.artifact
    try:
        documents = await world.store.documents(str(artifact.uri), artifact.digest)
    except StoreAway as error:
        return Away(str(error), is_final=error.no_credentials)
    except ArtifactBroken as error:
        return Broken(error.reason, str(error))
    return Matched(documents.baseline, frozenset(documents.manifest.frameworks))
