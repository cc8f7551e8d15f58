"""The API server in memory, as the real cluster verbs meet it: requests in, JSON or errors out.

Every request but those of the Lease and of kopf has a number. What disturbs a run looks at each
request before it is served, and may refuse it, lose its reply or let it land late.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trimtab.api.resource import Resource
from trimtab.cluster.events import EVENTS, MERGE, SEQ_ANNOTATION
from trimtab.cluster.kubernetes_api import NO_VERSION
from trimtab.cluster.lease import LEASES
from trimtab.cluster.port import Json, Key
from trimtab.cluster.transport import AlreadyExists, NotFound, Transport
from trimtab.errors import Conflict
from trimtab.simulation.apply import merge_patch
from trimtab.simulation.cluster import SimulatedCluster

WAY_SECONDS = 0.004
"""From the operator to the API server, and back."""
SLOW_SECONDS = 1.0


@dataclass(frozen=True)
class Request:
    """One request of one process."""

    verb: str
    method: str
    resource: Resource
    namespace: str | None
    name: str | None
    subresource: str
    query: Mapping[str, str]
    body: Any
    content_type: str
    number: int = 0
    """From 1; 0 for a request that is not counted."""

    @property
    def is_write(self) -> bool:
        """Whether it may change something."""
        return self.method != "GET"

    @property
    def key(self) -> Key:
        """Of the object that is asked for; empty names where it is a list."""
        return Key(self.resource, self.namespace or "", self.name or self._name_in_body())

    def _name_in_body(self) -> str:
        metadata = self.body["metadata"] if isinstance(self.body, dict) else {}
        return str(metadata.get("name", ""))

    def __str__(self) -> str:
        what = f"{self.resource.plural}{self.subresource and '/' + self.subresource}"
        return f"{self.verb} {what} {self.key.name}".rstrip()


@dataclass(frozen=True)
class Telling:
    """One decision that an event told."""

    uid: str
    reason: str
    seq: int


Serve = Callable[[], Awaitable[Json]]
Disturb = Callable[["Connection", Request, Serve], Awaitable[Json]]


async def undisturbed(connection: Connection, request: Request, serve: Serve) -> Json:
    """Serve as it is asked."""
    return await serve()


@dataclass
class Server:
    """Serves one cluster in memory to all processes."""

    cluster: SimulatedCluster
    disturb: Disturb = undisturbed
    requests: list[Request] = field(default_factory=list)
    told: list[Telling] = field(default_factory=list)
    events: dict[str, Json] = field(default_factory=dict)
    leases: dict[str, Json] = field(default_factory=dict)
    before_write: Callable[[Request], None] = lambda request: None
    stale_seconds: float = 0.0
    """Lists show the objects as they were so long ago."""
    past: Callable[[Resource, float], list[Json]] = lambda resource, seconds: []
    is_slow: bool = False
    """Every request takes a second: a loop without an end is found out already."""
    _lease_version: int = 0

    async def serve(self, request: Request) -> Json:
        """Return what a real API server answers; raises what the transport makes of an error."""
        if request.resource == LEASES:
            return self._lease(request)
        if request.resource == EVENTS:
            return self._event(request)
        if request.is_write:
            self.before_write(request)
        return await self._object(request)

    async def _object(self, request: Request) -> Json:
        cluster, key, body = self.cluster, request.key, request.body
        match request.method:
            case "GET" if request.name is not None:
                return _found(cluster.get(key), request)
            case "GET":
                return {"items": await self._listed(request.resource)}
            case "PATCH" if request.subresource == "status":
                return await self._status(request)
            case "PATCH" if request.content_type == MERGE:
                version = body["metadata"]["resourceVersion"]
                return await cluster.restore(key, body["spec"], resource_version=version)
            case "PATCH" if body["metadata"].get("resourceVersion") == NO_VERSION:
                made = await cluster.apply_new(body)
                if made is None:
                    raise Conflict(f"{request}: 409 it exists")
                return made
            case "PATCH":
                return await cluster.apply(body, **_preconditions(body))
            case "POST":
                made = await cluster.create(body)
                if made is None:
                    raise AlreadyExists(f"{request}: 409 it exists")
                return made
            case "DELETE":
                _found(cluster.get(key), request)
                conditions = body["preconditions"]
                version = conditions.get("resourceVersion")
                await cluster.delete(key, uid=conditions["uid"], resource_version=version)
                return {}
        raise AssertionError(f"{request}: no such method")

    async def _listed(self, resource: Resource) -> list[Json]:
        if self.stale_seconds:
            return self.past(resource, self.stale_seconds)
        return await self.cluster.list(resource)

    async def _status(self, request: Request) -> Json:
        body = request.body
        if self.cluster.get(request.key) is None:
            raise NotFound(f"{request}: 404")
        return await self.cluster.apply_status(request.key, body["status"], **_preconditions(body))

    # --- events and the Lease ---------------------------------------------------------------

    def _event(self, request: Request) -> Json:
        name, body = request.key.name, request.body
        stored = self.events.get(name)
        if request.method == "POST":
            if stored is not None:
                raise AlreadyExists(f"{request}: 409 it exists")
            self.events[name] = body
            body["metadata"]["resourceVersion"] = "1"
            self._note(body, 0)
            return dict(body)
        stored = _found(stored, request)
        if request.method == "PATCH":
            before, version = _seq_of(stored), stored["metadata"]["resourceVersion"]
            if body["metadata"].get("resourceVersion", version) != version:
                raise Conflict(f"{request}: 409 changed")
            merge_patch(stored, body)
            stored["metadata"]["resourceVersion"] = str(int(version) + 1)
            self._note(stored, before)
        return stored

    def _note(self, event: Json, before: int) -> None:
        if _seq_of(event) > before:
            uid = event["involvedObject"]["uid"]
            self.told.append(Telling(uid, event["reason"], _seq_of(event)))

    def _lease(self, request: Request) -> Json:
        name = request.key.name
        held = self.leases.get(name)
        if request.method == "GET":
            return _found(held, request)
        if request.method == "POST" and held is not None:
            raise AlreadyExists(f"{request}: 409 it exists")
        if request.method == "PUT":
            version = request.body["metadata"]["resourceVersion"]
            if version != _found(held, request)["metadata"]["resourceVersion"]:
                raise Conflict(f"{request}: 409 changed")
        self._lease_version += 1
        metadata = request.body["metadata"]
        metadata = metadata | {"uid": name, "resourceVersion": str(self._lease_version)}
        self.leases[name] = request.body | {"metadata": metadata}
        return self.leases[name]


class Connection(Transport):
    """What one process reaches the server by."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.is_dead = False
        """Its process was killed: nothing is sent, and no reply arrives."""
        self.kill: Callable[[], None] = lambda: None
        """Kill the process that has this connection."""

    async def request(
        self,
        verb: str,
        method: str,
        resource: Resource,
        *,
        namespace: str | None,
        name: str | None = None,
        subresource: str = "",
        query: Mapping[str, str] | None = None,
        body: Json | bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Json:
        """See the transport."""
        await self._alive()
        known = self.server.requests
        number = 0 if resource == LEASES else len(known) + 1
        parsed = json.loads(body) if isinstance(body, bytes) else json.loads(json.dumps(body))
        request = Request(
            verb, method, resource, namespace, name, subresource, query or {}, parsed,
            content_type, number,
        )  # fmt: skip
        if number:
            known.append(request)
        return await self.server.disturb(self, request, lambda: self._serve(request))

    async def _serve(self, request: Request) -> Json:
        await asyncio.sleep(SLOW_SECONDS if self.server.is_slow else WAY_SECONDS)
        try:
            return json_copy(await self.server.serve(request))
        finally:
            await asyncio.sleep(WAY_SECONDS)
            await self._alive()

    async def _alive(self) -> None:
        if self.is_dead:
            await never()


async def never() -> Any:
    """Wait for what never comes; only cancelling ends it."""
    await asyncio.get_running_loop().create_future()


def json_copy(obj: Json) -> Json:
    """Return a copy as a reply is one."""
    copied: Json = json.loads(json.dumps(obj))
    return copied


def _preconditions(body: Json) -> dict[str, str | None]:
    metadata = body["metadata"]
    return {"uid": metadata.get("uid"), "resource_version": metadata.get("resourceVersion")}


def _found(obj: Json | None, request: Request) -> Json:
    if obj is None:
        raise NotFound(f"{request}: 404")
    return obj


def _seq_of(event: Json) -> int:
    return int(event["metadata"]["annotations"][SEQ_ANNOTATION])
