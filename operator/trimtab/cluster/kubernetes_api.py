"""The cluster port on a real API server. The only module that knows its verbs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from trimtab.api.meta import MANAGED_BY_LABEL, MANAGER
from trimtab.api.record import Decision
from trimtab.api.resource import Resource
from trimtab.cluster.apply_body import apply_body
from trimtab.cluster.events import MERGE, EventSeries
from trimtab.cluster.lease import LeaseHolder
from trimtab.cluster.port import OWN_KINDS, Json, Key
from trimtab.cluster.transport import AlreadyExists, NotFound, Transport, connect
from trimtab.errors import Conflict, Refused

PAGE = 500
APPLY = "application/apply-patch+yaml; charset=utf-8"
"""With its charset, so that the transport's package sends the bytes as they are."""
NO_VERSION = "1"
"""The resource version of an empty store: no object has it."""

NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

Objects = list[Json]
"""In the class below `list` is a verb."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class KubernetesCluster:
    """Implements `trimtab.cluster.port.Cluster`."""

    def __init__(
        self,
        transport: Transport,
        *,
        written: Iterable[Resource],
        namespaces: Sequence[str] = (),
        lease_namespace: str = "trimtab-system",
        instance: str = "operator",
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """Watch `namespaces`, or all if there is none; `instance` signs events.

        `written` are the types of the objects that are applied and created.
        """
        self._transport = transport
        self._written = {(one.api_version, one.kind): one for one in written}
        self._namespaces = tuple(namespaces)
        self._lease_namespace = lease_namespace
        self._events = EventSeries(transport, instance)
        self._clock = clock
        self._now = now
        self._leases: dict[str, LeaseHolder] = {}

    @classmethod
    async def connect(
        cls,
        *,
        written: Iterable[Resource],
        namespaces: Sequence[str],
        lease_namespace: str,
        instance: str,
    ) -> KubernetesCluster:
        """Return a cluster as the environment names it: in-cluster or KUBECONFIG."""
        return cls(
            await connect(),
            written=written,
            namespaces=namespaces,
            lease_namespace=lease_namespace,
            instance=instance,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def list(self, resource: Resource) -> Objects:
        """Return all objects of a type in the watched namespaces (children: only ours)."""
        found: Objects = []
        for namespace in self._namespaces or (None,):
            found += await self._list(resource, namespace)
        return found

    async def _list(self, resource: Resource, namespace: str | None) -> Objects:
        query = {"limit": str(PAGE)}
        if resource not in OWN_KINDS:
            query["labelSelector"] = f"{MANAGED_BY_LABEL}={MANAGER}"
        found: Objects = []
        while True:
            page = await self._transport.request(
                "list", "GET", resource, namespace=namespace, query=query
            )
            # Items of built-in kinds come without their type.
            kind = {"apiVersion": resource.api_version, "kind": resource.kind}
            found += [kind | item for item in page.get("items") or []]
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return found
            query["continue"] = token

    async def read(self, key: Key) -> Json | None:
        """Return the live object, or None if there is none."""
        try:
            return await self._transport.request(
                "get", "GET", key.resource, namespace=key.namespace, name=key.name
            )
        except NotFound:
            return None

    async def apply(
        self, manifest: Json, *, uid: str | None = None, resource_version: str | None = None
    ) -> Json:
        """Server-side apply, forced, of a whole object; Conflict if it is another or newer."""
        key, only = self._key_of(manifest), _preconditions(uid, resource_version)
        return await self._apply_if("apply", key, with_metadata(manifest, **only))

    async def apply_new(self, manifest: Json) -> Json | None:
        """Server-side apply that only creates; None if one of that name exists.

        A create would leave its fields with a second entry of ours among the managers, and what an
        apply leaves out later would stay. A version that no object has is met by none that exists.
        """
        new = with_metadata(manifest, resourceVersion=NO_VERSION)
        try:
            return await self._apply("apply_new", self._key_of(manifest), new)
        except Conflict:
            return None

    async def apply_status(
        self,
        key: Key,
        status: Json,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> Json:
        """Server-side apply of the status; NotFound, a RetryLater, if the object is gone."""
        metadata = {"name": key.name, "namespace": key.namespace}
        manifest = {
            "apiVersion": key.resource.api_version,
            "kind": key.resource.kind,
            "metadata": metadata | _preconditions(uid, resource_version),
            "status": status,
        }
        return await self._apply_if("apply_status", key, manifest, "status")

    async def _apply_if(self, verb: str, key: Key, manifest: Json, subresource: str = "") -> Json:
        """Apply; Conflict where the object has not the manifest's uid and resource version."""
        try:
            return await self._apply(verb, key, manifest, subresource)
        except Refused as error:
            # What the server says then: the uid cannot be changed.
            if "metadata.uid: Invalid value" in str(error):
                raise Conflict(str(error)) from error
            raise

    async def _apply(self, verb: str, key: Key, manifest: Json, subresource: str = "") -> Json:
        return await self._transport.request(
            verb,
            "PATCH",
            key.resource,
            namespace=key.namespace,
            name=key.name,
            subresource=subresource,
            query={"fieldManager": MANAGER, "force": "true"},
            body=apply_body(manifest),
            content_type=APPLY,
        )

    async def restore(self, key: Key, spec: Json, *, resource_version: str) -> Json:
        """Merge patch of the spec; Conflict if the object changed since."""
        return await self._transport.request(
            "restore",
            "PATCH",
            key.resource,
            namespace=key.namespace,
            name=key.name,
            query={"fieldManager": MANAGER},
            body={"metadata": {"resourceVersion": resource_version}, "spec": spec},
            content_type=MERGE,
        )

    async def create(self, manifest: Json) -> Json | None:
        """Create an object; None if one of that name exists already, which is success."""
        key = self._key_of(manifest)
        try:
            return await self._transport.request(
                "create",
                "POST",
                key.resource,
                namespace=key.namespace,
                query={"fieldManager": MANAGER},
                body=manifest,
            )
        except AlreadyExists:
            return None

    async def delete(self, key: Key, *, uid: str, resource_version: str | None = None) -> bool:
        """Delete the object if it is still this one; False if it is gone already."""
        preconditions = {"uid": uid}
        if resource_version is not None:
            preconditions["resourceVersion"] = resource_version
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": preconditions,
        }
        try:
            await self._transport.request(
                "delete",
                "DELETE",
                key.resource,
                namespace=key.namespace,
                name=key.name,
                body=options,
            )
        except NotFound:
            return False
        return True

    async def tell_event(self, regarding: Json, decision: Decision) -> None:
        """Tell a decision as an event, once."""
        await self._events.tell(regarding, decision)

    async def hold_lease(self, *, name: str, identity: str, seconds: float) -> bool:
        """Take or renew the Lease; False if another identity holds it."""
        return await self._lease(name).hold(identity, seconds)

    def led_seconds(self) -> float:
        """Return what the Lease's clock shows now; 0 before we hold it."""
        led = max((lease.led_seconds() for lease in self._leases.values()), default=0.0)
        return round(led, 1)

    async def release_lease(self, *, name: str, identity: str) -> None:
        """Give the Lease back if it is ours, so that the next holder need not wait."""
        await self._lease(name).release(identity)

    def keep_with_lease(self, annotation: str, value: str) -> None:
        """Have the next renewal of the Lease write an annotation."""
        for lease in self._leases.values():
            lease.keep(annotation, value)

    def kept_with_lease(self, annotation: str) -> str | None:
        """Return an annotation of the Lease as it was at the last renewal."""
        kept = (lease.kept(annotation) for lease in self._leases.values())
        return next((value for value in kept if value is not None), None)

    async def read_namespace_annotations(self, namespace: str) -> Mapping[str, str]:
        """Return the annotations of a namespace; none if it is gone."""
        try:
            found = await self._transport.request(
                "get", "GET", NAMESPACES, namespace=None, name=namespace, accept=METADATA_ONLY
            )
        except NotFound:
            return {}
        annotations = (found.get("metadata") or {}).get("annotations") or {}
        return annotations if isinstance(annotations, dict) else {}

    def _lease(self, name: str) -> LeaseHolder:
        if name not in self._leases:
            self._leases[name] = LeaseHolder(
                self._transport, self._lease_namespace, name, clock=self._clock, now=self._now
            )
        return self._leases[name]

    def _key_of(self, manifest: Json) -> Key:
        metadata = manifest["metadata"]
        resource = self._written[manifest["apiVersion"], manifest["kind"]]
        return Key(resource, metadata["namespace"], metadata["name"])


def _preconditions(uid: str | None, resource_version: str | None) -> dict[str, str]:
    given = {"uid": uid, "resourceVersion": resource_version}
    return {name: value for name, value in given.items() if value is not None}


def with_metadata(manifest: Json, **fields: str) -> Json:
    """Return the manifest with these preconditions in its metadata."""
    return manifest | {"metadata": manifest["metadata"] | fields}
