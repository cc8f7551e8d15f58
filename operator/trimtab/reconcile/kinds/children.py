"""The children of a Deployment: made, kept as wanted, taken away.

What somebody changed by hand is put back and told; before pods are taken away, the Deployment is
read live. The first write of a child only makes it: where the name is taken already, it is ours if
this Deployment is its controller, and otherwise left alone. What moves users or takes pods away is
for the child as it was seen: a write that comes late undoes nothing that was written since.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar, assert_never

from trimtab.api.conditions import EventReason
from trimtab.api.deployment import Deployment
from trimtab.build.names import service_names
from trimtab.build.service import build_metrics_service, build_service
from trimtab.build.workload import build_workload
from trimtab.cluster.port import DEPLOYMENTS, SERVICES, WORKLOADS, Json, Key
from trimtab.decide.outcome import Note
from trimtab.decide.rollout.children import ChildAction, Remove, Size
from trimtab.decide.rollout.snapshot import Taken
from trimtab.decide.rollout.traffic.replicas import Route
from trimtab.errors import Conflict, Moved, NameTaken, Refused
from trimtab.reconcile.kinds.applied import (
    Applied,
    leftover_patch,
    needs_apply,
    repair_note,
)
from trimtab.reconcile.kinds.confirmed import ready_replicas
from trimtab.reconcile.kinds.keys import keys_due, make_keys
from trimtab.reconcile.kinds.ownership import is_ours, name_taken, require_ours
from trimtab.reconcile.kinds.pods import workload_revision
from trimtab.reconcile.kinds.typed import typed
from trimtab.reconcile.machine.cache import key_of, uid_of, version_of
from trimtab.reconcile.machine.observability import CONFIGURATION_REPAIRS
from trimtab.reconcile.machine.watched import resource_of
from trimtab.reconcile.machine.world import World

logger = logging.getLogger(__name__)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
MOST_TRIES = 3
"""To write a child whose status changes all the time."""
NAMES_AGAIN = timedelta(seconds=30)
"""Nobody tells when a name that is not ours becomes free: it is looked at again after this."""


class _Write(Protocol[T_co]):
    """Writes a child that is at a version."""

    def __call__(self, *, resource_version: str | None) -> Awaitable[T_co]:
        """Raises Conflict if it is at another one."""
        ...


@dataclass(frozen=True)
class _Seen:
    """That a name is taken: what to do, and until when this is believed without a look."""

    message: str
    until: datetime


@dataclass
class Children:
    """What is known of the children that were applied; safe to lose."""

    applied: dict[Key, Applied] = field(default_factory=dict)
    keys_made: datetime | None = None
    """When the Secrets with the keys were made, or found, last."""
    taken: dict[Key, _Seen] = field(default_factory=dict)
    looked_for: set[Key] = field(default_factory=set)
    """Workloads that status names and no view has: they were looked for once."""
    repairs: list[Note] = field(default_factory=list)
    """What was put back and is not told yet: a pass that breaks off tells it when it goes on."""


async def taken_names(world: World, key: Key, owner: Json, made: Children) -> Taken:
    """Return which names of children are somebody else's.

    What is not labelled as ours is in no cache, so a Service that is not known is asked for, and a
    workload whose name a write found taken.
    """
    services: dict[str, str] = {}
    workloads: dict[str, str] = {}
    wanted = [Key(SERVICES, key.namespace, name) for name in service_names(key.name)]
    for child in dict.fromkeys((*wanted, *made.taken)):
        message = await _why_taken(world, child, owner, made)
        if message is not None:
            found = services if child.resource == SERVICES else workloads
            found[child.name] = message
    return Taken(services, workloads)


async def _why_taken(world: World, child: Key, owner: Json, made: Children) -> str | None:
    live = world.cache.get(child)
    if live is None or not is_ours(live, uid_of(owner)):
        seen = made.taken.get(child)
        if seen is not None and world.now() < seen.until:
            return seen.message
        live = await _read(world, child)
    if live is None or is_ours(live, uid_of(owner)):
        made.taken.pop(child, None)
        return None
    message = str(name_taken(live, child, owner))
    made.taken[child] = _Seen(message, world.now() + NAMES_AGAIN)
    return message


async def _read(world: World, child: Key) -> Json | None:
    """Return what has that name, read live: the view may be of an object that is gone."""
    return await (world.cluster.read if world.cache.get(child) is None else world.look)(child)


async def carry_out(
    world: World,
    deployment: Deployment,
    taken: Taken,
    actions: Iterable[ChildAction],
    made: Children,
) -> list[Note]:
    """Take the actions in their order; return what was put back on the way.

    A child whose name is taken is left out. Where a write finds that out, what comes after it is
    left out too, and the next pass, which comes at once, decides with it.
    """
    key = Key(DEPLOYMENTS, deployment.metadata.namespace, deployment.metadata.name)
    acting = _Acting(world, key, deployment, taken, made)
    try:
        for action in actions:
            if acting.refused is None or await _may_go_without_route(world, key, action):
                await acting.take(action)
    except NameTaken as error:
        child = _child_of(key, error)
        made.taken[child] = _Seen(str(error), world.now() + NAMES_AGAIN)
        made.applied.pop(child, None)
        world.enqueue(key)
    if acting.refused is not None:
        raise acting.refused
    due = keys_due(world, key, made.keys_made)
    if due is not None and world.now() >= due:
        made.repairs += await _make_keys(world, deployment, made)
    await _look_for_lost(world, key, deployment, made)
    repairs, made.repairs = made.repairs, []
    return repairs


async def _look_for_lost(world: World, key: Key, deployment: Deployment, made: Children) -> None:
    """Look live for workloads that are known by name, were not deleted by us, and are not seen.

    A watch by label tells of a deletion, too, when somebody takes the label away, and a list leaves
    it out. One that is still wanted was applied again by now; any other would stay for ever.
    """
    status = deployment.status
    named = {
        Key(WORKLOADS, key.namespace, tried.workload)
        for tried in (status.last_good, status.candidate, status.stable)
        if tried is not None
    }
    applied = {one for one in made.applied if one.resource == WORKLOADS}
    for child in sorted(applied | (named - made.looked_for), key=str):
        if world.cache.get(child) is not None:
            continue
        made.applied.pop(child, None)
        live = await world.cluster.read(child)
        made.looked_for.add(child)
        owner = world.cache.get(key)
        if live is not None and owner is not None and is_ours(live, uid_of(owner)):
            world.cache.revive(live)
            world.remember(live)
            world.enqueue(key)
    made.looked_for &= named


@dataclass
class _Acting:
    """Actions of one pass as they are taken."""

    world: World
    key: Key
    deployment: Deployment
    taken: Taken
    made: Children
    checked: bool = False
    """Whether it was looked at live that pods may be taken away."""
    refused: Refused | None = None
    """Why the route could not be written."""

    async def take(self, action: ChildAction) -> None:
        """Take one action, and add what was put back."""
        world, namespace, made = self.world, self.key.namespace, self.made
        match action:
            case Size(tried) if tried.workload in self.taken.workloads:
                return
            case Size(tried, replicas):
                workload = world.cache.get(Key(WORKLOADS, namespace, tried.workload))
                if workload is None and made.keys_made is None:
                    made.repairs += await _make_keys(world, self.deployment, made)
                if _shrinks(workload, replicas):
                    await self._check()
                await self._apply(build_workload(self.deployment, tried, replicas))
            case Route(revision):
                await self._route(revision)
            case Remove(name, uid):
                await self._check()
                child = Key(WORKLOADS, namespace, name)
                await _delete_child(world, self.key, child, uid)
                made.applied.pop(child, None)
            case _:
                assert_never(action)

    async def _apply(self, manifest: Json) -> None:
        self.made.repairs += await _apply_child(self.world, self.key, manifest, self.made)

    async def _route(self, revision: str | None) -> None:
        try:
            for service in _services(self.deployment, revision, self.taken):
                await self._apply(service)
        except NameTaken:
            raise
        except Refused as error:
            self.refused = error

    async def _check(self) -> None:
        if not self.checked:
            await _check_live(self.world, self.key, self.taken)
            self.checked = True


async def _make_keys(world: World, deployment: Deployment, made: Children) -> list[Note]:
    try:
        note = await make_keys(world, deployment)
    except Refused as error:
        if deployment.status.stable is None:
            raise
        # A quota refuses one that is there, too: whether it is missing, the pods will show.
        logger.info("%s: %s", deployment.metadata.name, error)
        note = None
    made.keys_made = world.now()
    return _repaired({"kind": "Secret"}, note)


def _services(deployment: Deployment, revision: str | None, taken: Taken) -> list[Json]:
    services = (build_service(deployment, revision), build_metrics_service(deployment))
    return [one for one in services if one["metadata"]["name"] not in taken.services]


def _shrinks(workload: Json | None, replicas: int) -> bool:
    """Return whether pods of a workload are taken away."""
    return workload is not None and replicas < _pods(workload)


def _child_of(key: Key, error: NameTaken) -> Key:
    resource = SERVICES if error.kind == SERVICES.kind else WORKLOADS
    return Key(resource, key.namespace, error.name)


async def _check_live(world: World, key: Key, taken: Taken) -> None:
    """Before pods are taken away: is what we decided on still how it is?

    Does the Service still select what it did? What somebody made of it, unheard, is put back first.
    """
    live = await world.cluster.read(key)
    known = world.cache.get(key)
    if live is None or known is None or live["metadata"].get("deletionTimestamp"):
        raise Conflict(f"{key} is gone or being deleted; nothing is taken away")
    if version_of(live) > version_of(known):
        world.remember(live)
        raise Moved(f"{key} changed meanwhile; deciding again before pods are taken away")
    service = _service_of(key)
    if service.name in taken.services:
        return
    seen = world.cache.get(service)
    found = await world.look(service)
    if (found or {}).get("spec") != (seen or {}).get("spec"):
        raise Moved(f"{service} is not as known; it is put back before pods are taken away")


def _service_of(key: Key) -> Key:
    """Return the Service that the requests go to."""
    return Key(SERVICES, key.namespace, service_names(key.name)[0])


async def _may_go_without_route(world: World, key: Key, action: ChildAction) -> bool:
    """Return whether an action may be taken though the route was refused.

    A quarantined version goes all the same if the Service, as it is, selects stable's pods, too,
    and all of them are Ready: they get its requests.
    """
    match action:
        case Remove(name, _):
            pass
        case Size(tried, replicas):
            name = tried.workload
            if not _shrinks(world.cache.get(Key(WORKLOADS, key.namespace, name)), replicas):
                return False
        case _:
            return False
    owner, workload = world.cache.get(key), world.cache.get(Key(WORKLOADS, key.namespace, name))
    if owner is None or workload is None:
        return False
    deployment = typed(Deployment, owner, world.models)
    stable = deployment.status.stable
    leaving = workload_revision(workload)
    rejected = {entry.revision for entry in deployment.status.rejected}
    if stable is None or leaving not in rejected or leaving == stable.revision:
        return False
    service = await world.look(_service_of(key))
    serving = await world.look(Key(WORKLOADS, key.namespace, stable.workload))
    if service is None or serving is None:
        return False
    labels = serving["spec"]["template"]["metadata"]["labels"]
    selects = service["spec"]["selector"].items() <= labels.items()
    return selects and ready_replicas(serving) >= max(1, deployment.spec.replicas)


async def _apply_child(world: World, key: Key, manifest: Json, made: Children) -> list[Note]:
    """Apply a child if it is not as wanted; return what somebody had changed by hand."""
    child = key_of(resource_of(manifest), manifest)
    owner = world.cache.get(key)
    if owner is None:
        raise Conflict(f"{key} is gone; nothing is made for it")
    known = made.applied.get(child)
    live = world.cache.get(child)
    if live is None:
        stored = await world.apply_new(manifest)
        if stored is not None:
            made.applied[child] = Applied(manifest, stored.get("spec"))
            return _repaired(manifest, repair_note(manifest, None, known))
        live = await world.cluster.read(child)
    elif not is_ours(live, uid_of(owner)):
        live = await world.look(child)
    if live is None:
        raise Conflict(f"{child} was there a moment ago")
    require_ours(live, child, owner)
    return await _apply_ours(world, key, child, manifest, live, made)


async def _apply_ours(
    world: World, key: Key, child: Key, manifest: Json, live: Json, made: Children
) -> list[Note]:
    known = made.applied.get(child)
    if not needs_apply(manifest, live, known):
        if known is None:
            made.applied[child] = Applied(manifest, live.get("spec"))
        return []
    is_repair = known is not None and known.intent == manifest
    # The view may be of before it was changed; who did is asked of the live object.
    before = await world.cluster.read(child) if is_repair else live
    note = repair_note(manifest, before, known)
    try:
        stored = await _apply(world, key, child, manifest, before or live)
    except Refused:
        if not await _make_way(world, child, manifest):
            raise
        stored = await _apply(world, key, child, manifest, world.cache.get(child) or live)
    leftover = leftover_patch(manifest, stored, known)
    if leftover:
        version = stored["metadata"]["resourceVersion"]
        stored = await world.restore(child, leftover, resource_version=version)
    made.applied[child] = Applied(manifest, stored.get("spec"))
    return _repaired(manifest, note)


async def _apply(world: World, key: Key, child: Key, manifest: Json, seen: Json) -> Json:
    write = partial(world.apply, manifest, uid=uid_of(seen))
    if child.resource == WORKLOADS and _pods(manifest) >= _pods(seen):
        # Its status changes just when pods become Ready, and a conflict would cost the time.
        return await write(resource_version=None)
    return await _as_seen(world, key, child, seen, write)


def _pods(workload: Json) -> int:
    return int(workload["spec"].get("replicas", 1))


async def _delete_child(world: World, key: Key, child: Key, uid: str) -> None:
    seen = world.cache.get(child)
    if seen is not None and uid_of(seen) == uid:
        await _as_seen(world, key, child, seen, partial(world.delete, child, uid=uid))
    else:
        await world.delete(child, uid=uid, resource_version=None)


async def _as_seen(world: World, key: Key, child: Key, seen: Json, write: _Write[T]) -> T:
    """Write a child if it is as it was seen; Moved if its spec is another one by now.

    Its status, which changes with every pod, is not what the decision rests on. Who sees an old
    child may see an old Deployment, too: what is decided again rests on both as they are.
    """
    for _ in range(MOST_TRIES - 1):
        try:
            return await write(resource_version=seen["metadata"].get("resourceVersion"))
        except Conflict as error:
            newest = await world.look(child)
            if newest is None:
                raise
            if uid_of(newest) != uid_of(seen) or newest.get("spec") != seen.get("spec"):
                await world.look(key)
                raise Moved(str(error)) from error
            seen = newest
    return await write(resource_version=seen["metadata"].get("resourceVersion"))


async def _make_way(world: World, child: Key, manifest: Json) -> bool:
    """Put back lists in which an entry of another hand contradicts ours; return whether any did.

    Server-side apply adds ours beside it: the same name of a port under two numbers, for example.
    """
    live = await world.cluster.read(child)
    lists = leftover_patch(manifest, live, None) if live is not None else {}
    if live is None or not lists:
        return False
    await world.restore(child, lists, resource_version=live["metadata"]["resourceVersion"])
    return True


def _repaired(manifest: Json, note: str | None) -> list[Note]:
    if note is None:
        return []
    CONFIGURATION_REPAIRS.labels(manifest["kind"]).inc()
    return [Note(EventReason.CONFIGURATION_REPAIRED, note, warning=True)]
