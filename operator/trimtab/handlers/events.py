"""kopf as the event source: every watch event goes into the cache and wakes who reads it.

No create, update or delete handlers, timers, daemons or indices: kopf would write to objects or
start slowly. The settings here were measured; each says why.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import kopf

from trimtab.api.meta import MANAGED_BY_LABEL, MANAGER
from trimtab.api.resource import Resource
from trimtab.cluster.kubernetes_api import PAGE
from trimtab.cluster.port import Json
from trimtab.cluster.transport import path_of
from trimtab.handlers.session import login
from trimtab.reconcile.machine.cache import Change
from trimtab.reconcile.machine.engine import Engine
from trimtab.reconcile.machine.watched import child_kinds, watched


class EndlessBackOffs:
    """Seconds between tries, jittered, without an end: kopf gives up when they run out."""

    def __iter__(self) -> Iterator[float]:
        wait = 0.5
        while True:
            yield wait * random.uniform(0.7, 1.0)
            wait = min(30.0, wait * 2)


class NoDiffs(kopf.DiffBaseStorage):
    """Compares nothing: kopf otherwise copies each object twice per event for handlers we lack."""

    def build(self, **_: Any) -> Any:
        """Return nothing to compare."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Return nothing remembered."""

    def store(self, **_: Any) -> None:
        """Store nothing."""


def kopf_settings() -> kopf.OperatorSettings:
    """Return the settings under which kopf only watches."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.persistence.diffbase_storage = NoDiffs()
    settings.queueing.worker_limit = None
    # Idle per-object tasks are memory.
    settings.queueing.idle_timeout = 1
    settings.queueing.exit_timeout = 0.5
    settings.watching.server_timeout = 300
    settings.watching.inactivity_timeout = 70
    # A list as a whole is held in memory several times over.
    settings.watching.chunk_size = PAGE
    # With it kopf can lose objects.
    settings.watching.initial_streaming = False
    settings.networking.error_backoffs = EndlessBackOffs()
    settings.networking.connect_timeout = 10
    for resource in child_kinds():
        # Foreign pods are never listed.
        settings.watching.label_selectors[_selector(resource)] = f"{MANAGED_BY_LABEL}={MANAGER}"
    return settings


_PATH = re.compile(
    r"(?P<api>/api/[^/]+/|/apis/[^/]+/[^/]+/)(?:namespaces/(?P<namespace>[^/]+)/)?(?P<plural>[^/]+)"
)
"""Of a list of objects."""


def _selector(resource: Resource) -> tuple[str, str, str]:
    return resource.group, resource.version, resource.plural


def kopf_registry(
    engine: Engine, on_watch: Callable[[Resource, str], None]
) -> kopf.OperatorRegistry:
    """Return the handlers: one per watched kind, and the login.

    on_watch: called with type and namespace, empty for all, when a watch has listed.
    """
    registry = kopf.OperatorRegistry()
    kinds = {path_of(resource, None): resource for resource in watched()}

    def on_list(path: str) -> None:
        match = _PATH.fullmatch(path)
        if match is not None and (resource := kinds.get(match["api"] + match["plural"])):
            on_watch(resource, match["namespace"] or "")

    kopf.on.login(registry=registry, id="login")(partial(login, on_list))
    for resource in watched():
        _watch(registry, engine, resource)
    return registry


def _watch(registry: kopf.OperatorRegistry, engine: Engine, resource: Resource) -> None:
    """Group, version and plural are named: our `Deployment` is ambiguous otherwise."""

    async def on_event(event: Any, **_: Any) -> None:
        engine.on_change(take(engine, resource, event["type"], event["object"]))

    kopf.on.event(*_selector(resource), registry=registry, id=resource.plural)(on_event)


def take(engine: Engine, resource: Resource, kind_of_event: str | None, obj: Json) -> Change | None:
    """Take an event into the cache; None if it is no news."""
    cache = engine.world.cache
    # Items of a list of a built-in kind may come without their type.
    whole = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
    if kind_of_event == "DELETED":
        return cache.take_out(resource, whole)
    return cache.take_in(resource, whole)
