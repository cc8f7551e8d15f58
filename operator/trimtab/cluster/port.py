"""What the operator asks of a cluster: a few verbs on plain JSON objects.

Objects are JSON as the API server has them. Every verb raises `Refused`, `Conflict` or
`Unavailable` with kind, namespace, name and verb in the message.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

Json = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """A type of object: group, version, plural and kind."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """`group/version`, or `version` in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version


MODEL_VERSIONS = Resource("trimtab.dev", "v1alpha1", "modelversions", "ModelVersion")
DEPLOYMENTS = Resource("trimtab.dev", "v1alpha1", "modeldeployments", "Deployment")
DRIFT_POLICIES = Resource("trimtab.dev", "v1alpha1", "driftpolicies", "DriftPolicy")
RETRAIN_JOBS = Resource("trimtab.dev", "v1alpha1", "retrainjobs", "RetrainJob")
WORKLOADS = Resource("apps", "v1", "deployments", "Deployment")
SERVICES = Resource("", "v1", "services", "Service")
PODS = Resource("", "v1", "pods", "Pod")
JOBS = Resource("batch", "v1", "jobs", "Job")
SECRETS = Resource("", "v1", "secrets", "Secret")

OWN_KINDS = (MODEL_VERSIONS, DEPLOYMENTS, DRIFT_POLICIES, RETRAIN_JOBS)
CHILD_KINDS = (WORKLOADS, SERVICES, PODS, JOBS)
"""Watched only where labelled as ours."""
WATCHED = OWN_KINDS + CHILD_KINDS

BY_API_KIND = {(r.api_version, r.kind): r for r in (*WATCHED, SECRETS)}


class Key(NamedTuple):
    """One object to reconcile: type, namespace, name."""

    resource: Resource
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.resource.plural}/{self.namespace}/{self.name}"


class Cluster(Protocol):
    """The port. Writes use the field manager `trimtab` and return the object as stored."""

    async def list(self, resource: Resource) -> list[Json]:
        """Return all objects of a type in the watched namespaces (children: only ours)."""
        ...

    async def read(self, key: Key) -> Json | None:
        """Return the live object, or None if there is none."""
        ...

    async def apply(self, manifest: Json, *, uid: str | None = None) -> Json:
        """Server-side apply, forced, of a whole object (apiVersion, kind, metadata given).

        uid: of this object only; Conflict if there is none or another one of that name.
        """
        ...

    async def apply_new(self, manifest: Json) -> Json | None:
        """The same for an object that must not exist; None, and nothing written, if it does."""
        ...

    async def apply_status(self, key: Key, status: Json) -> Json:
        """Server-side apply of the whole status subresource; nothing else of the object."""
        ...

    async def restore(self, key: Key, spec: Json, *, resource_version: str) -> Json:
        """JSON merge patch (RFC 7386) of the spec of a child, if it is still at this version.

        Takes out what others added, which server-side apply leaves alone.
        """
        ...

    async def create(self, manifest: Json) -> Json | None:
        """Create an object; None if one of that name exists already, which is success."""
        ...

    async def delete(self, key: Key, *, uid: str, resource_version: str | None = None) -> None:
        """Delete the object if it is still this one; success if it is gone already.

        Children are deleted in the background by garbage collection.
        """
        ...

    async def record_event(
        self, regarding: Json, *, reason: str, message: str, warning: bool = False
    ) -> None:
        """Write an event about an object. Failure is logged, never raised."""
        ...

    async def hold_lease(self, *, name: str, identity: str, seconds: float) -> bool:
        """Take or renew the Lease; False if another identity holds it."""
        ...

    async def release_lease(self, *, name: str, identity: str) -> None:
        """Give the Lease back if it is ours, so that the next holder need not wait."""
        ...
