"""What the commands ask of a cluster, and the answer of a real API server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import yaml
from kubernetes.aio import config

from trimtab.api.resource import Resource
from trimtab.cluster.port import Json, Key
from trimtab.cluster.transport import NotFound, Transport, connect
from trimtab.errors import TrimtabError

SELF_REVIEWS = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview")
IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
PAGE = "500"


class NoSuchObject(TrimtabError):
    """The object that was named is not there."""


class Api(Protocol):
    """The port; every verb raises TrimtabError with the reason in words."""

    async def get(self, key: Key) -> Json:
        """Return an object; NoSuchObject if there is none."""
        ...

    async def list(self, resource: Resource, namespace: str | None) -> list[Json]:
        """Return the objects of a namespace, None for all."""
        ...

    async def annotate(self, key: Key, annotations: dict[str, str]) -> Json:
        """Set annotations in one write."""
        ...

    async def create(self, manifest: Json) -> Json:
        """Create an object."""
        ...

    async def whoami(self) -> str:
        """Return the user name that the API server knows us by."""
        ...


Objects = list[Json]
"""In the class below `list` is a verb."""


class ApiServer:
    """Implements `Api` on a real API server."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @classmethod
    async def connect(cls, context: str | None) -> ApiServer:
        """Return a connection as kubeconfig, or the pod that this runs in, says."""
        if not is_configured():
            raise TrimtabError(
                "no cluster: there is no kubeconfig in ~/.kube/config or where KUBECONFIG says"
            )
        _refuse_unknown(context)
        return cls(await connect(context))

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def get(self, key: Key) -> Json:
        """See the port."""
        try:
            return await self._transport.request(
                "get", "GET", key.resource, namespace=key.namespace, name=key.name
            )
        except NotFound as error:
            raise missing(key, error) from error

    async def list(self, resource: Resource, namespace: str | None) -> Objects:
        """See the port."""
        found: Objects = []
        query = {"limit": PAGE}
        while True:
            try:
                page = await self._transport.request(
                    "list", "GET", resource, namespace=namespace, query=query
                )
            except NotFound as error:
                raise NoSuchObject(
                    f"the cluster has no {resource.plural} of {resource.api_version}: "
                    "is Trimtab installed?"
                ) from error
            kind = {"apiVersion": resource.api_version, "kind": resource.kind}
            found += [kind | item for item in page.get("items") or []]
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return found
            query["continue"] = token

    async def annotate(self, key: Key, annotations: dict[str, str]) -> Json:
        """See the port."""
        try:
            return await self._transport.request(
                "patch",
                "PATCH",
                key.resource,
                namespace=key.namespace,
                name=key.name,
                body={"metadata": {"annotations": annotations}},
                content_type="application/merge-patch+json",
            )
        except NotFound as error:
            raise missing(key, error) from error

    async def create(self, manifest: Json) -> Json:
        """See the port."""
        group, _, version = manifest["apiVersion"].rpartition("/")
        kind = manifest["kind"]
        resource = Resource(group, version, f"{kind.lower()}s", kind)
        namespace = manifest["metadata"]["namespace"]
        return await self._transport.request(
            "create", "POST", resource, namespace=namespace, body=manifest
        )

    async def whoami(self) -> str:
        """See the port."""
        body = {"apiVersion": SELF_REVIEWS.api_version, "kind": SELF_REVIEWS.kind}
        review = await self._transport.request(
            "create", "POST", SELF_REVIEWS, namespace=None, body=body
        )
        return str(review["status"]["userInfo"]["username"])


def missing(key: Key, error: NotFound) -> NoSuchObject:
    """Return the error for an object, or its whole kind, that is not there."""
    if "could not find the requested resource" in str(error) or "page not found" in str(error):
        return NoSuchObject(
            f"the cluster has no {key.resource.plural} of {key.resource.api_version}: "
            "is Trimtab installed?"
        )
    return NoSuchObject(f"there is no {key.resource.kind} {key.name} in namespace {key.namespace}")


def is_configured() -> bool:
    """Whether there is a kubeconfig, or this runs in a pod."""
    if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
        return True
    usual = str(Path.home() / ".kube" / "config")
    return any(Path(p).is_file() for p in os.environ.get("KUBECONFIG", usual).split(os.pathsep))


_UNREADABLE = (
    config.ConfigException,
    OSError,
    yaml.YAMLError,
    UnicodeDecodeError,
    TypeError,
    AttributeError,
    KeyError,
)


def _refuse_unknown(context: str | None) -> None:
    """Raise TrimtabError for a context that a kubeconfig does not have, naming those it has."""
    if context is None:
        return
    try:
        names = [one["name"] for one in _contexts()[0]]
    except _UNREADABLE:
        return  # who connects says what is wrong with the kubeconfig
    if context not in names:
        there = f"there is {', '.join(names)}" if names else "it has none"
        raise TrimtabError(f"the kubeconfig has no context {context}; {there}")


def _contexts() -> tuple[Objects, Json]:
    """Return all contexts of the kubeconfig, and the current one."""
    contexts, current = config.list_kube_config_contexts(  # type: ignore[no-untyped-call]
        config_file=os.environ.get("KUBECONFIG")
    )
    return contexts, current


def usual_namespace(context: str | None) -> str:
    """Return the namespace of the context, or of the pod that this runs in, else `default`."""
    try:
        contexts, current = _contexts()
    except _UNREADABLE:
        if IN_CLUSTER_NAMESPACE.is_file():
            return IN_CLUSTER_NAMESPACE.read_text().strip() or "default"
        return "default"
    named = [c for c in contexts if c["name"] == context] if context else [current]
    return str((named[0]["context"].get("namespace") if named else None) or "default")
