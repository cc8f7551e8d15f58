"""What the commands ask of a cluster: a few verbs on plain JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from trimtab.api.resource import Json, Key, Resource
from trimtab.errors import TrimtabError


class NoSuchObject(TrimtabError):
    """The object that was named is not there."""


class NoSuchKind(NoSuchObject):
    """The cluster does not know the kind."""


class Outdated(TrimtabError):
    """A watch cannot go on from where it was: list again."""


@dataclass(frozen=True)
class Scope:
    """Which objects of a kind: those of a namespace, with a name or with labels where given."""

    namespace: str
    name: str = ""
    labels: str = ""


@dataclass(frozen=True)
class Listing:
    """Objects, and the version of the list that a watch goes on from."""

    items: list[Json]
    version: str


class Api(Protocol):
    """The port; every verb raises TrimtabError with the reason in words."""

    async def get(self, key: Key) -> Json:
        """Return an object; NoSuchObject if there is none."""
        ...

    async def list(self, resource: Resource, scope: Scope) -> Listing:
        """Return all objects in a scope."""
        ...

    def watch(self, resource: Resource, scope: Scope, version: str) -> AsyncIterator[Json]:
        """Yield events (`type`, `object`) from a version of a list on, until the server ends it.

        Outdated where the server does not have that version any more.
        """
        ...

    async def annotate(self, key: Key, annotations: dict[str, str]) -> Json:
        """Set annotations in one write."""
        ...

    async def create(self, key: Key, manifest: Json) -> Json:
        """Create an object."""
        ...

    async def whoami(self) -> str:
        """Return the user name that the API server knows us by."""
        ...


def no_such(key: Key) -> NoSuchObject:
    """Return the error for an object that is not there."""
    return NoSuchObject(f"there is no {key.resource.kind} {key.name} in namespace {key.namespace}")


def no_kind(resource: Resource) -> NoSuchKind:
    """Return the error for a kind that the cluster does not know."""
    return NoSuchKind(
        f"the cluster has no {resource.plural} of {resource.api_version}: is Trimtab installed?"
    )
