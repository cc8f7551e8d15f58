"""The cluster port in memory: a clock that only moves when told, and faults on demand.

What a real API server does and the operator depends on is here: resource versions, generations,
server-side apply of one manager, the status subresource, preconditions, garbage collection by
owner, and watch events. Pods and Jobs are run by `simulation.kubelet`.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import ValidationError

from trimtab.api.fields import format_time
from trimtab.api.kinds import BY_PLURAL
from trimtab.api.meta import MANAGED_BY_LABEL, MANAGER
from trimtab.api.record import Decision
from trimtab.api.resource import Resource
from trimtab.api.schema import UNSEEN
from trimtab.cluster.port import OWN_KINDS, PODS, Json, Key
from trimtab.errors import Conflict, Refused, RetryLater
from trimtab.reconcile.machine.watched import resource_of
from trimtab.simulation.apply import (
    NOT_OWNED,
    Path,
    apply_intent,
    copied,
    fields_of_change,
    merge_patch,
)

EventType = Literal["ADDED", "MODIFIED", "DELETED"]
Listener = Callable[[EventType, Resource, Json], None]
OUR_APPLIES = {"manager": MANAGER, "operation": "Apply"}
START = datetime(2026, 1, 1, tzinfo=UTC)
NO_OBJECT: Json = {"metadata": {"resourceVersion": ""}}


class Killed(BaseException):
    """The operator's process was killed; nothing in it may catch this."""


@dataclass(frozen=True)
class RecordedEvent:
    """An event as the operator wrote it."""

    at: datetime
    regarding: Key
    reason: str
    message: str
    warning: bool
    seq: int


@dataclass(frozen=True)
class Write:
    """One write request of the operator, in order."""

    at: datetime
    verb: str
    key: Key
    changed: bool
    """False if the server found nothing to change."""


@dataclass
class Lease:
    """Who holds a Lease and until when."""

    holder: str
    until: datetime


def key_of_manifest(manifest: Json) -> Key:
    """Return the key of a manifest; its namespace defaults to `default`."""
    metadata = manifest["metadata"]
    return Key(resource_of(manifest), metadata.get("namespace", "default"), metadata["name"])


class SimulatedCluster:
    """Implements `trimtab.cluster.port.Cluster`; `user_*` are what a person or controller does."""

    def __init__(self, now: datetime = START, watch_namespaces: tuple[str, ...] = ()) -> None:
        self.time = now
        self.watch_namespaces = watch_namespaces
        self.events: list[RecordedEvent] = []
        self._told: dict[tuple[str, str], int] = {}
        """By uid and reason: the number that the series of events is at."""
        self.writes: list[Write] = []
        self.leases: dict[str, Lease] = {}
        self.lease_annotations: dict[str, str] = {}
        self.namespace_annotations: dict[str, dict[str, str]] = {}
        self.crash_after_writes: int | None = None
        """Kill the operator when this many more writes are stored; 0: before the next one."""
        self.fault: Callable[[str, Key], Exception | None] = lambda verb, key: None
        """Called before every write with verb and key; what it returns is raised instead."""
        self._objects: dict[Resource, dict[Key, Json]] = defaultdict(dict)
        """Never changed in place, only replaced: views of them can be handed out."""
        self._owned: dict[tuple[Key, str], set[Path]] = {}
        self._listeners: list[Listener] = []
        self._resource_version = 1000
        self._uids = 0

    # --- what tests look at -----------------------------------------------------------------

    def now(self) -> datetime:
        """Return the simulated time; give it to `World.now`."""
        return self.time

    def get(self, key: Key) -> Json | None:
        """Return a copy of an object, whoever owns it."""
        obj = self._stored(key)
        return copied(obj) if obj is not None else None

    @property
    def version(self) -> int:
        """The newest resource version: the same as long as nothing changed."""
        return self._resource_version

    def find(self, resource: Resource, namespace: str | None = None, **labels: str) -> list[Json]:
        """Return copies of the objects of a type by name; labels need not be complete.

        Label names are given by `find(PODS, **{"trimtab.dev/revision": "..."})`.
        """
        return [copied(obj) for obj in self.views(resource, namespace, **labels)]

    def views(self, resource: Resource, namespace: str | None = None, **labels: str) -> list[Json]:
        """Return what `find` does without copying: for readers that change nothing."""
        return [
            obj
            for key, obj in sorted(self._objects[resource].items(), key=lambda item: item[0][1:])
            if namespace in (None, key.namespace)
            and labels.items() <= (obj["metadata"].get("labels") or {}).items()
        ]

    def _stored(self, key: Key) -> Json | None:
        return self._objects[key.resource].get(key)

    def count_writes(self) -> Counter[tuple[str, str]]:
        """Return the operator's write requests by verb and plural; events are not writes here."""
        return Counter((write.verb, write.key.resource.plural) for write in self.writes)

    def listen(self, listener: Listener) -> None:
        """Call back on every change with the event type, the resource and a view of the object."""
        self._listeners.append(listener)

    def forget_listeners(self) -> None:
        """End all watches, as when the operator dies."""
        self._listeners.clear()

    # --- the port ---------------------------------------------------------------------------

    async def list(self, resource: Resource) -> list[Json]:
        """Return copies of the objects that the operator may see."""
        labels = {MANAGED_BY_LABEL: MANAGER} if resource not in OWN_KINDS else {}
        found = self.find(resource, **labels)
        if not self.watch_namespaces:
            return found
        return [o for o in found if o["metadata"]["namespace"] in self.watch_namespaces]

    async def read(self, key: Key) -> Json | None:
        """Return a copy, or None."""
        return self.get(key)

    async def apply(
        self, manifest: Json, *, uid: str | None = None, resource_version: str | None = None
    ) -> Json:
        """Server-side apply without the status; Conflict if it is another or a newer one."""
        return await self._apply("apply", manifest, uid, resource_version)

    async def apply_new(self, manifest: Json) -> Json | None:
        """The same if there is no such object, else None."""
        key = key_of_manifest(manifest)
        if self._stored(key) is None:
            made = await self._apply("apply_new", manifest)
            self._collect(key)
            return made
        self._before_write("apply_new", key)
        self._after_write("apply_new", key, False)
        return None

    async def _apply(
        self,
        verb: str,
        manifest: Json,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> Json:
        key = key_of_manifest(manifest)
        intent = {
            name: value
            for name, value in manifest.items()
            if name in ("metadata", "spec", "data", "stringData", "type", "immutable")
        }
        intent["metadata"] = {k: v for k, v in intent["metadata"].items() if k not in NOT_OWNED}
        self._before_write(verb, key)
        before = self._stored(key)
        if uid is not None and (before is None or before["metadata"]["uid"] != uid):
            raise Conflict(f"apply {key}: there is none of uid {uid}")
        _require_version("apply", key, before, resource_version)
        target = copied(before) if before is not None else self._new(manifest)
        owned = self._owned.get((key, ""), set())
        now_owned = apply_intent(target, intent, owned)
        self._admit(target)
        managers = target["metadata"].setdefault("managedFields", [])
        if OUR_APPLIES not in managers:
            managers.append(dict(OUR_APPLIES))
        changed = self._store(key, target)
        self._owned[key, ""] = now_owned
        return self._after_write(verb, key, changed)

    async def apply_status(
        self,
        key: Key,
        status: Json,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> Json:
        """Server-side apply of the status; RetryLater if the object is gone."""
        self._before_write("apply_status", key)
        before = self._stored(key)
        if before is None:
            raise RetryLater(f"apply_status {key}: not found")
        if uid not in (None, before["metadata"]["uid"]):
            raise Conflict(f"apply_status {key}: uid is {before['metadata']['uid']}, not {uid}")
        _require_version("apply_status", key, before, resource_version)
        target = copied(before)
        now_owned = apply_intent(
            target, {"status": status}, self._owned.get((key, "status"), set())
        )
        self._admit(target, unchanged="spec")
        changed = self._store(key, target)
        self._owned[key, "status"] = now_owned
        return self._after_write("apply_status", key, changed)

    async def restore(self, key: Key, spec: Json, *, resource_version: str) -> Json:
        """Merge patch of the spec with a precondition."""
        self._before_write("restore", key)
        before = self._stored(key)
        _require_version("restore", key, before, resource_version)
        assert before is not None
        target = copied(before)
        merge_patch(target["spec"], spec)
        self._admit(target)
        return self._after_write("restore", key, self._store(key, target))

    async def create(self, manifest: Json) -> Json | None:
        """Create, or None if the name is taken."""
        key = key_of_manifest(manifest)
        self._before_write("create", key)
        if self._stored(key) is not None:
            self._after_write("create", key, False)
            return None
        target = self._new(manifest)
        self._admit(target)
        self._store(key, target)
        made = self._after_write("create", key, True)
        self._collect(key)
        return made

    async def delete(self, key: Key, *, uid: str, resource_version: str | None = None) -> bool:
        """Delete with preconditions; Conflict if the object is another or newer one."""
        self._before_write("delete", key)
        obj = self._stored(key)
        if obj is not None:
            metadata = obj["metadata"]
            if metadata["uid"] != uid:
                raise Conflict(f"delete {key}: uid is {metadata['uid']}, not {uid}")
            _require_version("delete", key, obj, resource_version)
            self._remove(key)
        self._after_write("delete", key, obj is not None)
        return obj is not None

    async def tell_event(self, regarding: Json, decision: Decision) -> None:
        """Add to `events`, unless the number was told for this object and reason."""
        key = key_of_manifest(regarding)
        series = (regarding["metadata"].get("uid", ""), decision.reason)
        if decision.seq > self._told.get(series, 0):
            self._told[series] = decision.seq
            self.events.append(
                RecordedEvent(
                    self.time,
                    key,
                    decision.reason,
                    decision.message,
                    decision.warning,
                    decision.seq,
                )
            )

    async def hold_lease(self, *, name: str, identity: str, seconds: float) -> bool:
        """Take or renew."""
        held = self.leases.get(name)
        if held is not None and held.holder != identity and held.until > self.time:
            return False
        self.leases[name] = Lease(identity, self.time + timedelta(seconds=seconds))
        return True

    def led_seconds(self) -> float:
        """Return the time since the beginning: it is never away."""
        return (self.time - START).total_seconds()

    async def release_lease(self, *, name: str, identity: str) -> None:
        """Give the Lease back if it is ours."""
        held = self.leases.get(name)
        if held is not None and held.holder == identity:
            del self.leases[name]

    def keep_with_lease(self, annotation: str, value: str) -> None:
        """Keep it at once."""
        self.lease_annotations[annotation] = value

    def kept_with_lease(self, annotation: str) -> str | None:
        """Return what was kept."""
        return self.lease_annotations.get(annotation)

    async def read_namespace_annotations(self, namespace: str) -> Mapping[str, str]:
        """Return what a test has set."""
        return self.namespace_annotations.get(namespace, {})

    # --- what everybody else does -----------------------------------------------------------

    def user_apply(self, manifest: Json, *, validate: bool = True) -> Json:
        """Create or replace labels, annotations and spec, as a person does; returns a copy.

        Raises Refused if the API server would not admit it.
        """
        key = key_of_manifest(manifest)
        before = self._stored(key)
        target = self._new(manifest) if before is None else copied(before)
        for name in ("spec", "data"):
            if name in manifest:
                target[name] = copied(manifest[name])
        for name in ("labels", "annotations", "ownerReferences"):
            if name in manifest["metadata"]:
                target["metadata"][name] = copied(manifest["metadata"][name])
        if validate:
            self._admit(target)
        self._store(key, target)
        return copied(self._objects[key.resource][key])

    def user_change(
        self, key: Key, change: Callable[[Json], Any], manager: str = "kubectl-edit"
    ) -> Json:
        """Change an object in place by a function, status included; returns a copy.

        A changed spec is put down to that field manager.
        """
        before = self._objects[key.resource][key]
        target = copied(before)
        change(target)
        if target.get("spec") != before.get("spec"):
            fields = fields_of_change({"spec": before.get("spec")}, {"spec": target.get("spec")})
            entry = {
                "manager": manager,
                "operation": "Update",
                "time": format_time(self.time),
                "fieldsV1": fields,
            }
            target["metadata"].setdefault("managedFields", []).append(entry)
        self._store(key, target)
        return copied(self._objects[key.resource][key])

    def user_annotate(self, key: Key, **annotations: str) -> Json:
        """Set annotations, such as a command."""
        return self.user_change(
            key, lambda obj: obj["metadata"].setdefault("annotations", {}).update(annotations)
        )

    def user_delete(self, key: Key) -> None:
        """Delete an object and by garbage collection what it owns."""
        if self._stored(key) is not None:
            self._remove(key)

    # --- inside -----------------------------------------------------------------------------

    def _before_write(self, verb: str, key: Key) -> None:
        if self.crash_after_writes == 0:
            raise Killed(f"before {verb} {key}")
        if (error := self.fault(verb, key)) is not None:
            raise error

    def _after_write(self, verb: str, key: Key, changed: bool) -> Json:
        self.writes.append(Write(self.time, verb, key, changed))
        if self.crash_after_writes is not None:
            self.crash_after_writes -= 1
            if self.crash_after_writes == 0:
                raise Killed(f"after {verb} {key}")
        return copied(self._stored(key) or {})

    def _new(self, manifest: Json) -> Json:
        self._uids += 1
        obj = copied(manifest)
        obj.pop("status", None)
        metadata = {k: v for k, v in obj["metadata"].items() if k not in NOT_OWNED}
        metadata.setdefault("namespace", "default")
        seed = f"{manifest['kind']}/{metadata['namespace']}/{metadata['name']}/{self._uids}"
        digest = hashlib.sha256(seed.encode()).hexdigest()
        metadata["uid"] = (
            f"{digest[:8]}-{digest[8:12]}-4{digest[12:15]}-8{digest[15:18]}-{digest[18:30]}"
        )
        metadata["creationTimestamp"] = format_time(self.time)
        metadata["generation"] = 1
        unseen = {"status": dict(UNSEEN)} if resource_of(manifest) in OWN_KINDS else {}
        return obj | {"metadata": metadata} | unseen

    def _admit(self, obj: Json, unchanged: str = "") -> None:
        """Refuse what the schema of one of our kinds refuses.

        What an older schema let in does not stand in the way where it is `unchanged` (KEP-4008).
        """
        resource = resource_of(obj)
        if resource not in OWN_KINDS:
            return
        try:
            BY_PLURAL[resource.plural].model.model_validate(obj)
        except ValidationError as error:
            if any(not found["loc"] or found["loc"][0] != unchanged for found in error.errors()):
                raise Refused(f"{obj['kind']} {obj['metadata']['name']}: {error}") from error

    def _store(self, key: Key, target: Json) -> bool:
        """Store if it differs; bump version and generation; tell the listeners."""
        before = self._stored(key)
        if before == target:
            return False
        metadata = target["metadata"]
        if before is not None and before.get("spec") != target.get("spec"):
            metadata["generation"] = before["metadata"].get("generation", 1) + 1
        self._resource_version += 1
        metadata["resourceVersion"] = str(self._resource_version)
        self._objects[key.resource][key] = target
        self._tell("ADDED" if before is None else "MODIFIED", key.resource, target)
        return True

    def _remove(self, key: Key) -> None:
        gone = copied(self._objects[key.resource].pop(key))
        for part in ("", "status"):
            self._owned.pop((key, part), None)
        self._resource_version += 1
        gone["metadata"]["resourceVersion"] = str(self._resource_version)
        self._tell("DELETED", key.resource, gone)
        uid = gone["metadata"]["uid"]
        for child, obj in [item for kind in self._objects.values() for item in kind.items()]:
            owners = obj["metadata"].get("ownerReferences") or []
            is_orphan = bool(owners) and all(owner["uid"] == uid for owner in owners)
            if is_orphan and self._stored(child) is not None:
                self._remove(child)

    def _collect(self, key: Key) -> None:
        """Remove what was made for owners that are gone, as the garbage collector does."""
        owners = (self._stored(key) or {}).get("metadata", {}).get("ownerReferences") or []
        alive = {obj["metadata"]["uid"] for kind in self._objects.values() for obj in kind.values()}
        if owners and not any(owner["uid"] in alive for owner in owners):
            self._remove(key)

    def _tell(self, event: EventType, resource: Resource, obj: Json) -> None:
        for listener in list(self._listeners):
            listener(event, resource, obj)


def _require_version(verb: str, key: Key, obj: Json | None, version: str | None) -> None:
    if version is not None and (obj or NO_OBJECT)["metadata"]["resourceVersion"] != version:
        raise Conflict(f"{verb} {key}: it is not at version {version}")


def ready_pods(cluster: SimulatedCluster, service: Json) -> list[Json]:
    """Return views of the ready pods that a Service sends requests to, by name."""
    selector = service["spec"].get("selector") or {}
    if not selector:
        return []
    pods = cluster.views(PODS, service["metadata"]["namespace"], **selector)
    return [pod for pod in pods if is_pod_ready(pod)]


def is_pod_ready(pod: Json) -> bool:
    """Tell whether the pod's condition Ready is true and it is not being deleted."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return "deletionTimestamp" not in pod["metadata"] and any(
        c["type"] == "Ready" and c["status"] == "True" for c in conditions
    )
