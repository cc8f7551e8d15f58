"""Objects of a namespace, kept as they are on the server by watches."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from trimtab.api.group import DEPLOYMENT_LABEL
from trimtab.api.resource import (
    DEPLOYMENTS,
    DRIFT_POLICIES,
    PODS,
    RETRAIN_JOBS,
    Json,
    Resource,
)
from trimtab.cli.api import Outdated, Scope
from trimtab.cli.seen import Seen
from trimtab.cli.session import Session
from trimtab.errors import Refused, TrimtabError

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 30.0


def scopes_of(namespace: str, name: str) -> dict[Resource, Scope]:
    """Return what a tree is made of; name: of one Deployment, empty for all."""
    label = f"{DEPLOYMENT_LABEL}={name}" if name else DEPLOYMENT_LABEL
    return {
        DEPLOYMENTS: Scope(namespace, name=name),
        PODS: Scope(namespace, labels=label),
        DRIFT_POLICIES: Scope(namespace),
        RETRAIN_JOBS: Scope(namespace),
    }


@dataclass
class Mirror:
    """All objects of some scopes, and what cannot be seen of them."""

    scopes: Mapping[Resource, Scope]
    objects: dict[Resource, dict[str, Json]] = field(default_factory=dict)
    versions: dict[Resource, str] = field(default_factory=dict)
    """Of the newest thing seen of a type; without one it has to be listed."""
    problems: dict[Resource, str] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, session: Session) -> None:
        """List everything once; of what belongs to a Deployment, what may not be read is left out.

        TrimtabError where the Deployments, or the server, cannot be read.
        """
        await asyncio.gather(*(self._read(session, resource) for resource in self.scopes))

    async def follow(self, session: Session) -> None:
        """Watch everything until cancelled; what fails is tried again, and told meanwhile."""
        await asyncio.gather(*(self._follow(session, resource) for resource in self.scopes))

    def of(self, resource: Resource) -> list[Seen]:
        """Return the objects of a type."""
        return [Seen(one) for one in self.objects.get(resource, {}).values()]

    async def _read(self, session: Session, resource: Resource) -> None:
        try:
            await self._list(session, resource)
        except Refused as error:
            if resource == DEPLOYMENTS:
                raise
            self._say(resource, f"{resource.plural} are not shown: {error}")

    async def _list(self, session: Session, resource: Resource) -> None:
        listing = await session.api.list(resource, self.scopes[resource])
        self.objects[resource] = {Seen(one).name: one for one in listing.items}
        self.versions[resource] = listing.version
        self._say(resource, "")

    async def _follow(self, session: Session, resource: Resource) -> None:
        wait = FIRST_WAIT_SECONDS
        while True:
            try:
                if resource not in self.versions:
                    await self._list(session, resource)
                scope, version = self.scopes[resource], self.versions[resource]
                async for event in session.api.watch(resource, scope, version):
                    wait = FIRST_WAIT_SECONDS
                    self._apply(resource, Seen(event))
            except Outdated:
                self.versions.pop(resource, None)
            except TrimtabError as error:
                # What happened meanwhile is not known: it is listed again.
                self.versions.pop(resource, None)
                self._say(resource, f"{resource.plural} may be outdated: {error}")
            await session.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    def _apply(self, resource: Resource, event: Seen) -> None:
        obj = event.at("object")
        version = obj.text("metadata", "resourceVersion")
        if version:
            self.versions[resource] = version
        known = self.objects.setdefault(resource, {})
        if event.text("type") in ("ADDED", "MODIFIED"):
            known[obj.name] = dict(obj.items())
        elif event.text("type") == "DELETED":
            known.pop(obj.name, None)
        else:
            return
        self._say(resource, "")

    def _say(self, resource: Resource, problem: str) -> None:
        if problem:
            self.problems[resource] = problem
        else:
            self.problems.pop(resource, None)
        self.changed.set()
