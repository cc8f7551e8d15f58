"""An API server in memory with a working operator behind it, for the commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from tests.unit.reconcile.worlds import KEY, Shop

from trimtab.api.resource import Resource
from trimtab.cli.api import NoSuchObject
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

    async def get(self, key: Key) -> Json:
        found = self.cluster.get(key)
        if found is None:
            raise NoSuchObject(f"there is no {key.resource.kind} {key.name}")
        return found

    async def list(self, resource: Resource, namespace: str | None) -> list[Json]:
        return self.cluster.find(resource, namespace)

    async def annotate(self, key: Key, annotations: dict[str, str]) -> Json:
        self._write()
        self.patches.append(annotations)
        return self.cluster.user_annotate(key, **annotations)

    async def create(self, manifest: Json) -> Json:
        self._write()
        return self.cluster.user_apply(manifest)

    async def whoami(self) -> str:
        return ANN

    def _write(self) -> None:
        if self.forbidden:
            raise Refused(self.forbidden)


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


class StopWatching(TrimtabError):
    """Ends a watch."""
