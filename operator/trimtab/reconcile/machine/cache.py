"""The operator's view of the cluster: the newest known JSON of every watched object.

Events, lists and the replies to our own writes all come in here. A view never goes back: an
event that is older than what a write returned is dropped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from trimtab.api.meta import DEPLOYMENT_LABEL, RETRAIN_JOB_LABEL
from trimtab.api.resource import Resource
from trimtab.cluster.port import (
    DEPLOYMENTS,
    OWN_KINDS,
    PODS,
    RETRAIN_JOBS,
    SERVICES,
    WORKLOADS,
    Json,
    Key,
)
from trimtab.reconcile.machine.other_hands import kept_managers

REMEMBERED_DELETIONS = 10_000
NAMING_MANAGERS = (WORKLOADS, SERVICES)
POD_SPEC_FIELDS = ("nodeName", "serviceAccountName", "terminationGracePeriodSeconds")


class Change(NamedTuple):
    """How the view of one object changed; None stands for no object."""

    resource: Resource
    old: Json | None
    new: Json | None


def key_of(resource: Resource, obj: Json) -> Key:
    """Return the key of an object of that type."""
    metadata = obj["metadata"]
    return Key(resource, metadata.get("namespace", ""), metadata["name"])


def version_of(obj: Json) -> int:
    """Return the resource version as a number; they are comparable since Kubernetes 1.35."""
    text = obj["metadata"].get("resourceVersion", "0")
    return int(text) if text.isdigit() else 0


def uid_of(obj: Json) -> str:
    """Return the uid, empty if there is none."""
    return str(obj["metadata"].get("uid", ""))


def parent_of(resource: Resource, obj: Json) -> Key | None:
    """Return the key of ours that an object belongs to: itself, or its parent.

    By label; where somebody took that away, by owner.
    """
    if resource in OWN_KINDS:
        return key_of(resource, obj)
    labels = obj["metadata"].get("labels") or {}
    namespace = obj["metadata"].get("namespace", "")
    if RETRAIN_JOB_LABEL in labels:
        return Key(RETRAIN_JOBS, namespace, labels[RETRAIN_JOB_LABEL])
    if DEPLOYMENT_LABEL in labels:
        return Key(DEPLOYMENTS, namespace, labels[DEPLOYMENT_LABEL])
    for owner in obj["metadata"].get("ownerReferences") or []:
        for kind in OWN_KINDS:
            if (owner.get("apiVersion"), owner.get("kind")) == (kind.api_version, kind.kind):
                return Key(kind, namespace, str(owner.get("name", "")))
    return None


def without_ballast(resource: Resource, obj: Json) -> Json:
    """Return the object without what nobody reads and what fills the memory.

    The fields of field managers, but for what others own in the spec of a child of ours; of a
    pod's spec all but where it runs and its containers' names, images and ports. Our own workloads
    and Jobs stay whole: they are compared with the intent.
    """
    kept = dict(obj)
    kept["metadata"] = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    if resource in NAMING_MANAGERS and "managedFields" in obj["metadata"]:
        kept["metadata"]["managedFields"] = kept_managers(obj["metadata"]["managedFields"])
    if resource == PODS and "spec" in obj:
        spec = obj["spec"]
        kept["spec"] = {name: spec[name] for name in POD_SPEC_FIELDS if name in spec}
        kept["spec"]["containers"] = [
            {name: c[name] for name in ("name", "image", "ports") if name in c}
            for c in spec.get("containers") or []
        ]
    return kept


class Cache:
    """Objects by type, namespace and name; children by parent."""

    def __init__(self) -> None:
        self._objects: dict[Resource, dict[str, dict[str, Json]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        self._children: dict[Key, set[Key]] = defaultdict(set)
        self._gone: dict[str, int] = {}
        """By uid the version at which an object was told to be gone."""
        self.on_own_write: Callable[[Change], None] = lambda change: None
        """Called with what a reply to our own write changed; its event will be no news."""
        self.listeners: list[Callable[[Change], None]] = []
        """Called with every change of the view, wherever it came from."""

    def put(self, resource: Resource, obj: Json) -> bool:
        """Take the reply to an own write in; False if it is no news."""
        change = self.take_in(resource, obj)
        if change is not None:
            self.on_own_write(change)
        return change is not None

    def take_in(self, resource: Resource, obj: Json) -> Change | None:
        """Take an object in and return what changed; None if it is not news."""
        key = key_of(resource, obj)
        known = self.get(key)
        gone = self._gone.get(uid_of(obj))
        if gone is not None and version_of(obj) <= gone:
            return None
        # A version of 0 is one that cannot be compared: believe whoever speaks last.
        if known is not None and 0 < version_of(obj) <= version_of(known):
            return None
        kept = without_ballast(resource, obj)
        self._objects[resource][key.namespace][key.name] = kept
        return self._changed(key, known, kept)

    def take_out(self, resource: Resource, obj: Json) -> Change | None:
        """Take a deletion in and return what changed; a newer object of that name stays."""
        self._remember_deletion(obj)
        return self.drop(resource, obj)

    def revive(self, obj: Json) -> None:
        """Forget that an object was told as deleted: it was read live since.

        A watch by label tells that, too, when only the label is gone, and in the same version.
        """
        self._gone.pop(uid_of(obj), None)

    def drop(self, resource: Resource, obj: Json) -> Change | None:
        """Forget an object that was not found, and return what changed.

        Any later word of it brings it back: one answer is less than a deletion that was told.
        """
        key = key_of(resource, obj)
        known = self.get(key)
        if known is None or uid_of(known) != uid_of(obj):
            return None
        del self._objects[resource][key.namespace][key.name]
        return self._changed(key, known, None)

    def get(self, key: Key) -> Json | None:
        """Return the object, or None. It is shared: never change it."""
        return self._objects[key.resource].get(key.namespace, {}).get(key.name)

    def all(self, resource: Resource, namespace: str | None = None) -> Iterator[Json]:
        """Yield the objects of a type, in one namespace or in all."""
        spaces = self._objects[resource]
        if namespace is not None:
            yield from list(spaces.get(namespace, {}).values())
            return
        for objects in list(spaces.values()):
            yield from list(objects.values())

    def keys(self, resource: Resource) -> dict[Key, str]:
        """Return the uids of the known objects of a type, by key."""
        return {key_of(resource, obj): uid_of(obj) for obj in self.all(resource)}

    def children(self, parent: Key, resource: Resource) -> list[Json]:
        """Return the children of that type, by name."""
        keys = sorted(k.name for k in self._children.get(parent, ()) if k.resource == resource)
        objects = self._objects[resource][parent.namespace]
        return [objects[name] for name in keys]

    def replace(
        self, resource: Resource, listed: Iterable[Json], before: dict[Key, str]
    ) -> list[Change]:
        """Take a full list in; return what differed, which are repairs.

        `before` is what `keys` returned before the list was asked for: only what was known then
        and is not listed has gone. What came in by event while the list was on its way stays.
        """
        changes = []
        seen: set[Key] = set()
        for obj in listed:
            seen.add(key_of(resource, obj))
            changes.append(self.take_in(resource, obj))
        for key, uid in before.items():
            known = self.get(key)
            if key not in seen and known is not None and uid_of(known) == uid:
                changes.append(self.take_out(resource, known))
        return [change for change in changes if change is not None]

    def _changed(self, key: Key, old: Json | None, new: Json | None) -> Change:
        self._link(key.resource, key, old, new)
        change = Change(key.resource, old, new)
        for listener in self.listeners:
            listener(change)
        return change

    def _link(self, resource: Resource, key: Key, old: Json | None, new: Json | None) -> None:
        before = parent_of(resource, old) if old is not None else None
        after = parent_of(resource, new) if new is not None else None
        if before is not None and before != after:
            self._children[before].discard(key)
            if not self._children[before]:
                del self._children[before]
        if after is not None and after != key:
            self._children[after].add(key)

    def _remember_deletion(self, obj: Json) -> None:
        """A late event or a stale list must not bring a deleted object back.

        What is newer than its deletion is alive: a watch by label also tells of a deletion when
        somebody changed the label.
        """
        if uid := uid_of(obj):
            self._gone[uid] = max(version_of(obj), self._gone.get(uid, 0))
        if len(self._gone) > REMEMBERED_DELETIONS:
            del self._gone[next(iter(self._gone))]
