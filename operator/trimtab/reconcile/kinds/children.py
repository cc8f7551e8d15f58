"""The children of a Deployment: made, kept as wanted, taken away.

What somebody changed by hand is put back and told; before pods are taken away, the Deployment is
read live.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import assert_never

from trimtab.api.conditions import EventReason
from trimtab.api.deployment import Deployment
from trimtab.build.service import build_metrics_service, build_service, build_token_secret
from trimtab.build.workload import build_workload
from trimtab.cluster.port import DEPLOYMENTS, WORKLOADS, Json, Key
from trimtab.decide.outcome import Note
from trimtab.decide.rollout.children import ChildAction, Remove, Size
from trimtab.decide.rollout.traffic.replicas import Route
from trimtab.errors import Conflict
from trimtab.reconcile.kinds.applied import (
    Applied,
    intent_hash,
    leftover_patch,
    needs_apply,
    repair_note,
)
from trimtab.reconcile.machine.cache import key_of, version_of
from trimtab.reconcile.machine.observability import CONFIGURATION_REPAIRS
from trimtab.reconcile.machine.watched import resource_of
from trimtab.reconcile.machine.world import World


@dataclass
class Children:
    """What is known of the children that were applied; safe to lose."""

    applied: dict[Key, Applied] = field(default_factory=dict)
    has_secret: bool = False


async def carry_out(
    world: World, deployment: Deployment, actions: Iterable[ChildAction], made: Children
) -> list[Note]:
    """Take the actions in their order; return what was put back on the way."""
    key = Key(DEPLOYMENTS, deployment.metadata.namespace, deployment.metadata.name)
    repairs: list[Note] = []
    checked = False
    for action in actions:
        match action:
            case Size(tried, replicas):
                workload = world.cache.get(Key(WORKLOADS, key.namespace, tried.workload))
                if workload is None and not made.has_secret:
                    await world.cluster.create(
                        build_token_secret(deployment, secrets.token_bytes(32))
                    )
                    made.has_secret = True
                if _shrinks(workload, replicas) and not checked:
                    checked = await _check_live(world, key)
                manifest = build_workload(deployment, tried, replicas)
                repairs += await _apply_child(world, manifest, made)
            case Route(revision):
                repairs += await _apply_child(world, build_service(deployment, revision), made)
                repairs += await _apply_child(world, build_metrics_service(deployment), made)
            case Remove(name, uid):
                checked = checked or await _check_live(world, key)
                child = Key(WORKLOADS, key.namespace, name)
                await world.cluster.delete(child, uid=uid)
                made.applied.pop(child, None)
            case _:
                assert_never(action)
    return repairs


def _shrinks(workload: Json | None, replicas: int) -> bool:
    """Return whether the last pods of a workload are taken away."""
    return workload is not None and replicas == 0 and workload["spec"].get("replicas", 1) > 0


async def _check_live(world: World, key: Key) -> bool:
    """Before pods are taken away: is what we decided on still how it is?"""
    live = await world.cluster.read(key)
    known = world.cache.get(key)
    if live is None or known is None or live["metadata"].get("deletionTimestamp"):
        raise Conflict(f"{key} is gone or being deleted; nothing is taken away")
    if version_of(live) > version_of(known):
        world.remember(live)
        raise Conflict(f"{key} changed meanwhile; deciding again before pods are taken away")
    return True


async def _apply_child(world: World, manifest: Json, made: Children) -> list[Note]:
    """Apply a child if it is not as wanted; return what somebody had changed by hand."""
    child = key_of(resource_of(manifest), manifest)
    live = world.cache.get(child)
    known = made.applied.get(child)
    if not needs_apply(manifest, live, known):
        if known is None and live is not None:
            made.applied[child] = Applied(intent_hash(manifest), live.get("spec"))
        return []
    is_repair = known is not None and known.intent == intent_hash(manifest)
    # The cache keeps no field managers; whoever changed it is asked of the live object.
    before = await world.cluster.read(child) if is_repair else live
    note = repair_note(manifest, before, known)
    stored = await world.apply(manifest)
    leftover = leftover_patch(manifest, stored, known) if live is not None else {}
    if leftover:
        version = stored["metadata"]["resourceVersion"]
        stored = await world.restore(child, leftover, resource_version=version)
    made.applied[child] = Applied(intent_hash(manifest), stored.get("spec"))
    if note is None:
        return []
    CONFIGURATION_REPAIRS.labels(manifest["kind"]).inc()
    return [Note(EventReason.CONFIGURATION_REPAIRED, note, warning=True)]
