"""The cluster in memory behind HTTP: what kopf and the cluster port ask of an API server.

Discovery, lists in pages, watches, server-side apply, create, delete, Leases and events. Faults:
`answers` are statuses, or bodies with their `code`, to give in place of the next requests, `mute`
keeps events from watches.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from trimtab.api.resource import Resource
from trimtab.cluster.events import EVENTS, MERGE
from trimtab.cluster.kubernetes_api import NO_VERSION
from trimtab.cluster.lease import LEASES
from trimtab.cluster.port import Json, Key
from trimtab.errors import Conflict, Refused, RetryLater
from trimtab.reconcile.machine.watched import written
from trimtab.simulation.apply import merge_patch
from trimtab.simulation.cluster import EventType, SimulatedCluster

NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
SERVED = (*written(), EVENTS, LEASES, NAMESPACES)
APPLY_TYPE = "application/apply-patch+yaml"
HALF_CHARACTER = re.compile(rb"\\ud[89a-f]")
"""In a body of an apply, whatever it looks like: the API server reads it as YAML."""
VERBS = ["get", "list", "watch", "create", "patch", "delete"]


@dataclass(frozen=True)
class Asked:
    """The object or collection that a path names."""

    resource: Resource
    namespace: str | None
    name: str | None
    subresource: str

    @property
    def key(self) -> Key:
        return Key(self.resource, self.namespace or "", self.name or "")


@dataclass
class ApiServer:
    """Serves one cluster in memory."""

    cluster: SimulatedCluster
    requests: list[str] = field(default_factory=list)
    """Method and path with query of every request."""
    answers: list[int | Json] = field(default_factory=list)
    mute: Callable[[EventType, Resource], bool] = lambda event, resource: False
    expired: set[Resource] = field(default_factory=set)
    """Watches of these answer that their resource version is too old, once each."""
    deep: str = "0"
    """JSON that is sent wherever an object has the text `DEEP`: deeper than Python can nest."""
    events: dict[str, Json] = field(default_factory=dict)
    leases: dict[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._history: list[tuple[EventType, Resource, Json]] = []
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lease_version = 0
        self._port = 0
        self.cluster.listen(self._remember)

    async def open(self) -> str:
        """Listen on loopback, on the same port each time; return the URL."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return f"http://127.0.0.1:{self._port}"

    async def close(self) -> None:
        """Stop listening and cut all connections."""
        await self._runner.cleanup()

    # --- routing ----------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, int):
                return failure(answer, "Injected")
            return web.json_response(answer, status=answer["code"])
        parts = request.path.strip("/").split("/")
        if (found := discovery(parts)) is not None:
            return web.json_response(found)
        asked = parse(parts)
        if asked is None:
            return failure(404, "NotFound")
        try:
            return await self._serve(request, asked)
        except Conflict as error:
            return failure(409, "Conflict", str(error))
        except RetryLater as error:
            return failure(404, "NotFound", str(error))
        except Refused as error:
            return failure(422, "Invalid", str(error))

    async def _serve(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        data = await request.read()
        if request.content_type == APPLY_TYPE and HALF_CHARACTER.search(data):
            message = "error decoding YAML: found invalid Unicode character escape code"
            return failure(400, "BadRequest", message)
        body = json.loads(data or "null")
        if asked.resource == LEASES:
            return self._lease(request.method, asked, body)
        if asked.resource == EVENTS:
            return self._event(request.method, asked, body)
        if asked.resource == NAMESPACES and asked.name is not None:
            return self._namespace(request, asked.name)
        match request.method:
            case "GET" if asked.name is not None:
                obj = self.cluster.get(asked.key)
                return self._json(obj) if obj else failure(404, "NotFound")
            case "GET" if request.query.get("watch") == "true":
                return await self._watch(request, asked)
            case "GET":
                return self._json(self._list(request, asked))
            case "PATCH" if asked.subresource == "status":
                status, only = body["status"], preconditions(body)
                return self._json(await self.cluster.apply_status(asked.key, status, **only))
            case "PATCH" if request.content_type == MERGE:
                version = body["metadata"]["resourceVersion"]
                restored = self.cluster.restore(asked.key, body["spec"], resource_version=version)
                return web.json_response(await restored)
            case "PATCH" if body["metadata"].get("resourceVersion") == NO_VERSION:
                made = await self.cluster.apply_new(body)
                return web.json_response(made) if made else failure(409, "Conflict")
            case "PATCH":
                uid = body["metadata"].get("uid")
                known = self.cluster.get(asked.key)
                if uid is not None and known is not None and known["metadata"]["uid"] != uid:
                    message = "metadata.uid: Invalid value: field is immutable"
                    return failure(422, "Invalid", message)
                return web.json_response(await self.cluster.apply(body, **preconditions(body)))
            case "POST":
                made = await self.cluster.create(body)
                return web.json_response(made, status=201) if made else failure(409, EXISTS)
            case "DELETE":
                if self.cluster.get(asked.key) is None:
                    return failure(404, "NotFound")
                conditions = body["preconditions"]
                await self.cluster.delete(
                    asked.key,
                    uid=conditions["uid"],
                    resource_version=conditions.get("resourceVersion"),
                )
                return web.json_response({"kind": "Status", "status": "Success"})
        return failure(405, "MethodNotAllowed")

    def _namespace(self, request: web.Request, name: str) -> web.Response:
        """Return the metadata alone, as who reads it has to ask."""
        if "as=PartialObjectMetadata" not in request.headers["Accept"]:
            return failure(406, "NotAcceptable")
        annotations = self.cluster.namespace_annotations.get(name)
        if annotations is None:
            return failure(404, "NotFound")
        metadata = {"name": name, "annotations": annotations}
        kind = {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata"}
        return web.json_response({**kind, "metadata": metadata})

    def _json(self, body: Json) -> web.Response:
        return web.json_response(body, dumps=self._dumps)

    def _dumps(self, body: Json) -> str:
        return json.dumps(body).replace(f'"{DEEP}"', self.deep)

    # --- lists and watches ------------------------------------------------------------------

    def _matches(self, request: web.Request, asked: Asked, obj: Json) -> bool:
        labels = obj["metadata"].get("labels") or {}
        wanted = dict(
            pair.split("=") for pair in request.query.get("labelSelector", "").split(",") if pair
        )
        namespace = asked.namespace in (None, obj["metadata"]["namespace"])
        return namespace and wanted.items() <= labels.items()

    def _list(self, request: web.Request, asked: Asked) -> Json:
        items = [
            {name: value for name, value in obj.items() if name not in ("apiVersion", "kind")}
            for obj in self.cluster.find(asked.resource)
            if self._matches(request, asked, obj)
        ]
        start = int(request.query.get("continue") or 0)
        end = start + int(request.query.get("limit") or len(items) or 1)
        return {
            "apiVersion": asked.resource.api_version,
            "kind": f"{asked.resource.kind}List",
            "metadata": {
                "resourceVersion": str(len(self._history)),
                "continue": str(end) if end < len(items) else "",
            },
            "items": items[start:end],
        }

    def _remember(self, event: EventType, resource: Resource, obj: Json) -> None:
        self._history.append((event, resource, obj))
        task = asyncio.ensure_future(self._wake())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _watch(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        if asked.resource in self.expired:
            self.expired.remove(asked.resource)
            gone = {"kind": "Status", "code": 410, "reason": "Expired"}
            await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
            return response
        with contextlib.suppress(ConnectionResetError):
            await self._stream(request, asked, response)
        return response

    async def _stream(
        self, request: web.Request, asked: Asked, response: web.StreamResponse
    ) -> None:
        """Send what happened since the version asked for, until the client goes away."""
        position = int(request.query.get("resourceVersion") or 0)
        while True:
            for event, resource, obj in self._history[position:]:
                position += 1
                wanted = resource == asked.resource and self._matches(request, asked, obj)
                if wanted and not self.mute(event, resource):
                    line = self._dumps({"type": event, "object": obj})
                    await response.write(line.encode() + b"\n")
            async with self._changed:
                if position == len(self._history):
                    await self._changed.wait()

    # --- events -----------------------------------------------------------------------------

    def _event(self, method: str, asked: Asked, body: Any) -> web.StreamResponse:
        name = asked.name or body["metadata"]["name"]
        stored = self.events.get(name)
        if method == "POST":
            if stored is not None:
                return failure(409, EXISTS)
            self.events[name] = body
            body["metadata"]["resourceVersion"] = "1"
            return web.json_response(body, status=201)
        if stored is None:
            return failure(404, "NotFound")
        if method == "PATCH":
            version = stored["metadata"]["resourceVersion"]
            if body["metadata"].get("resourceVersion", version) != version:
                return failure(409, "Conflict")
            merge_patch(stored, body)
            stored["metadata"]["resourceVersion"] = str(int(version) + 1)
        return web.json_response(stored)

    # --- Leases -----------------------------------------------------------------------------

    def _lease(self, method: str, asked: Asked, body: Any) -> web.StreamResponse:
        name = asked.name or body["metadata"]["name"]
        held = self.leases.get(name)
        if method == "GET":
            return web.json_response(held) if held else failure(404, "NotFound")
        if method == "POST" and held is not None:
            return failure(409, EXISTS)
        if method == "PUT":
            if held is None:
                return failure(404, "NotFound")
            if body["metadata"]["resourceVersion"] != held["metadata"]["resourceVersion"]:
                return failure(409, "Conflict")
        self._lease_version += 1
        body["metadata"] |= {"uid": name, "resourceVersion": str(self._lease_version)}
        self.leases[name] = body
        return web.json_response(body)


def preconditions(body: Json) -> dict[str, str | None]:
    """Return what the object has to be for an apply."""
    metadata = body["metadata"]
    return {"uid": metadata.get("uid"), "resource_version": metadata.get("resourceVersion")}


EXISTS = "AlreadyExists"
DEEP = "DEEP"


def failure(status: int, reason: str, message: str = "") -> web.Response:
    """Return a Status as the API server does."""
    body = {"kind": "Status", "code": status, "reason": reason, "message": message}
    return web.json_response(body, status=status)


def discovery(parts: list[str]) -> Json | None:
    """Return the answer to a discovery request, None for any other path."""
    groups = sorted({(r.group, r.version) for r in SERVED if r.group})
    if parts == ["api"]:
        return {"versions": ["v1"]}
    if parts == ["apis"]:
        return {
            "groups": [
                {"name": g, "versions": [{"version": v}], "preferredVersion": {"version": v}}
                for g, v in groups
            ]
        }
    if parts == ["api", "v1"] or (parts[0] == "apis" and len(parts) == 3):
        group, version = ("", "v1") if parts[0] == "api" else (parts[1], parts[2])
        return {
            "resources": [
                {
                    "name": r.plural,
                    "kind": r.kind,
                    "singularName": r.kind.lower(),
                    "namespaced": r != NAMESPACES,
                    "verbs": VERBS,
                }
                for r in SERVED
                if (r.group, r.version) == (group, version)
            ]
        }
    return None


def parse(parts: list[str]) -> Asked | None:
    """Return what a path asks for; None if there is no such kind."""
    core = parts[0] == "api"
    group, version = ("", parts[1]) if core else (parts[1], parts[2])
    rest = parts[2:] if core else parts[3:]
    namespace = None
    if len(rest) >= 3 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = (*rest, None, None)[:3]
    for resource in SERVED:
        if (resource.group, resource.version, resource.plural) == (group, version, plural):
            return Asked(resource, namespace, name, subresource or "")
    return None
