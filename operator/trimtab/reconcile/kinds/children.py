"""The children of a Deployment: made, kept as wanted, taken away.

What somebody changed by hand is put back and told; before pods are taken away, the Deployment is
read live.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import assert_never

from trimtab.api.conditions import EventReason
from trimtab.api.deployment import DeploymentStatus
from trimtab.build.service import build_metrics_service, build_service, build_token_secret
from trimtab.build.workload import build_workload
from trimtab.cluster.port import WORKLOADS, Json, Key
from trimtab.decide.rollout.children import Remove, Route, Size, order_actions, plan_children
from trimtab.decide.rollout.snapshot import Snapshot
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
    world: World, key: Key, snapshot: Snapshot, status: DeploymentStatus, made: Children
) -> None:
    """Make the children what the status means, in the order of their effects."""
    deployment = snapshot.deployment
    plan = plan_children(deployment.spec, status, snapshot.now)
    checked = False
    for action in order_actions(snapshot, plan):
        match action:
            case Size(tried, replicas):
                live = snapshot.workloads.get(tried.revision)
                if live is None and not made.has_secret:
                    await world.cluster.create(
                        build_token_secret(deployment, secrets.token_bytes(32))
                    )
                    made.has_secret = True
                if live is not None and replicas == 0 and live.replicas > 0 and not checked:
                    checked = await _check_live(world, key)
                await _apply_child(world, key, build_workload(deployment, tried, replicas), made)
            case Route(revision):
                await _apply_child(world, key, build_service(deployment, revision), made)
                await _apply_child(world, key, build_metrics_service(deployment), made)
            case Remove(name, uid):
                checked = checked or await _check_live(world, key)
                child = Key(WORKLOADS, key.namespace, name)
                await world.cluster.delete(child, uid=uid)
                made.applied.pop(child, None)
            case _:
                assert_never(action)


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


async def _apply_child(world: World, key: Key, manifest: Json, made: Children) -> None:
    """Apply a child if it is not as wanted; tell of what somebody changed by hand."""
    child = key_of(resource_of(manifest), manifest)
    live = world.cache.get(child)
    known = made.applied.get(child)
    if not needs_apply(manifest, live, known):
        if known is None and live is not None:
            made.applied[child] = Applied(intent_hash(manifest), live.get("spec"))
        return
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
    if note is not None:
        CONFIGURATION_REPAIRS.labels(manifest["kind"]).inc()
        owner = world.cache.get(key)
        assert owner is not None
        await world.cluster.record_event(
            owner, reason=EventReason.CONFIGURATION_REPAIRED, message=note, warning=True
        )
