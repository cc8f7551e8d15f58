"""What the operator asks of a cluster: a few verbs on plain JSON objects.

Objects are JSON as the API server has them. Every verb raises `Refused`, `Conflict` or
`Unavailable` with kind, namespace, name and verb in the message.
"""

from collections.abc import Mapping
from typing import Protocol

from trimtab.api.record import Decision
from trimtab.api.resource import (
    DEPLOYMENTS,
    DRIFT_POLICIES,
    MODEL_VERSIONS,
    OWN_KINDS,
    PODS,
    RETRAIN_JOBS,
    Json,
    Key,
    Resource,
)

__all__ = [
    "DEPLOYMENTS",
    "DRIFT_POLICIES",
    "MODEL_VERSIONS",
    "OWN_KINDS",
    "PODS",
    "RETRAIN_JOBS",
    "SECRETS",
    "SERVICES",
    "WORKLOADS",
    "Cluster",
    "Json",
    "Key",
    "Resource",
]

WORKLOADS = Resource("apps", "v1", "deployments", "Deployment")
SERVICES = Resource("", "v1", "services", "Service")
SECRETS = Resource("", "v1", "secrets", "Secret")


class Cluster(Protocol):
    """The port. Writes use the field manager `trimtab` and return the object as stored."""

    async def list(self, resource: Resource) -> list[Json]:
        """Return all objects of a type in the watched namespaces (children: labelled as ours)."""
        ...

    async def read(self, key: Key) -> Json | None:
        """Return the live object, or None if there is none."""
        ...

    async def apply(
        self, manifest: Json, *, uid: str | None = None, resource_version: str | None = None
    ) -> Json:
        """Server-side apply, forced, of a whole object (apiVersion, kind, metadata given).

        uid: of this object only; Conflict if there is none or another one of that name.
        resource_version: only as it was then; Conflict if it changed since, however late this is.
        """
        ...

    async def apply_new(self, manifest: Json) -> Json | None:
        """The same for an object that must not exist; None, and nothing written, if it does."""
        ...

    async def apply_status(
        self,
        key: Key,
        status: Json,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> Json:
        """Server-side apply of the whole status subresource; nothing else of the object.

        Conflict if `uid` is not its uid (it was deleted and made again meanwhile), or if it is not
        at `resource_version` any more: what this status rests on has changed.
        """
        ...

    async def restore(self, key: Key, spec: Json, *, resource_version: str) -> Json:
        """JSON merge patch (RFC 7386) of the spec of a child, if it is still at this version.

        Takes out what others added, which server-side apply leaves alone.
        """
        ...

    async def create(self, manifest: Json) -> Json | None:
        """Create an object; None if one of that name exists already, which is success."""
        ...

    async def delete(self, key: Key, *, uid: str, resource_version: str | None = None) -> bool:
        """Delete the object if it is still this one; False if it is gone already.

        Children are deleted in the background by garbage collection.
        """
        ...

    async def tell_event(self, regarding: Json, decision: Decision) -> None:
        """Tell a numbered decision as an event: once, however often it is asked for.

        One object per uid and reason, a series; a number that is not above the last is told.
        """
        ...

    async def hold_lease(self, *, name: str, identity: str, seconds: float) -> bool:
        """Take or renew the Lease; False if another identity holds it."""
        ...

    def led_seconds(self) -> float:
        """Return a reading, in seconds, of the clock that goes while a holder of the Lease leads.

        It stands still while nobody can act: no holder, or an API server that does not answer. It
        begins anywhere: only what it grew by means something, and only between near readings.
        """
        ...

    async def release_lease(self, *, name: str, identity: str) -> None:
        """Give the Lease back if it is ours, so that the next holder need not wait."""
        ...

    def keep_with_lease(self, annotation: str, value: str) -> None:
        """Have the next renewal of the Lease, or its release, write an annotation: no write more.

        It is lost with a process that ends before. The next holder finds it.
        """
        ...

    def kept_with_lease(self, annotation: str) -> str | None:
        """Return an annotation of the Lease as of the last renewal; None if there is none."""
        ...

    async def read_namespace_annotations(self, namespace: str) -> Mapping[str, str]:
        """Return the annotations of a namespace; none if it is gone. Its metadata alone is read."""
        ...
