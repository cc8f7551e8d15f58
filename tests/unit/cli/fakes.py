"""An API server in memory with a working operator behind it, for the commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime

from tests.unit.reconcile.worlds import KEY, Shop

from trimtab.api.resource import Resource
from trimtab.cli.api import Listing, NoSuchObject, Scope
from trimtab.cli.session import Session
from trimtab.cluster.port import Json, Key
from trimtab.errors import Refused, TrimtabError
from trimtab.simulation.cluster import SimulatedCluster

ANN = "ann@example.com"


@dataclass
class FakeApi:
    """Implements `trimtab.cli.api.Api` over a cluster in memory."""

    cluster: SimulatedCluster
    forbidden: str = ""
    """Message with which every write is refused."""
    patches: list[dict[str, str]] = field(default_factory=list)
    events: dict[str, asyncio.Queue[Json | TrimtabError | None]] = field(default_factory=dict)

    async def get(self, key: Key) -> Json:
        found = self.cluster.get(key)
        if found is None:
            raise NoSuchObject(f"there is no {key.resource.kind} {key.name}")
        return found

    async def list(self, resource: Resource, scope: Scope) -> Listing:
        found = self.cluster.find(resource, scope.namespace)
        return Listing([one for one in found if is_in(one, scope)], "1")

    async def watch(self, resource: Resource, scope: Scope, version: str) -> AsyncIterator[Json]:
        """Yield what is put into `events` for the kind; an error ends it, None as the server does.

        Whoever put it there is told by `task_done`.
        """
        queue = self.events.setdefault(resource.plural, asyncio.Queue())
        while True:
            event = await queue.get()
            try:
                if isinstance(event, TrimtabError):
                    raise event
                if event is None:
                    return
                yield event
            finally:
                queue.task_done()

    async def annotate(self, key: Key, annotations: dict[str, str]) -> Json:
        self._write()
        self.patches.append(annotations)
        return self.cluster.user_annotate(key, **annotations)

    async def create(self, key: Key, manifest: Json) -> Json:
        self._write()
        return self.cluster.user_apply(manifest)

    async def whoami(self) -> str:
        return ANN

    def _write(self) -> None:
        if self.forbidden:
            raise Refused(self.forbidden)


def is_in(obj: Json, scope: Scope) -> bool:
    """Whether an object is one of a scope; of labels only `name` and `name=value`."""
    metadata = obj["metadata"]
    name, equals, value = scope.labels.partition("=")
    labels = metadata.get("labels") or {}
    has_label = not name or (labels.get(name) == value if equals else name in labels)
    return has_label and scope.name in ("", metadata["name"])


@dataclass
class Desk:
    """A person at a terminal before a shop."""

    shop: Shop
    is_operator_alive: bool = True
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.api = FakeApi(self.shop.cluster)
        self.session = Session(self.api, KEY.namespace, self.said.append, self._sleep, self._now)

    async def _sleep(self, seconds: float) -> None:
        if self.is_operator_alive:
            await self.shop.harness.advance(seconds)

    def _now(self) -> datetime:
        return self.shop.cluster.time

    @property
    def text(self) -> str:
        return "\n".join(self.said)
