"""What a reconciler works with: the ports, the cache, the clock and the settings.

A pass (`reconcile.pass_`) observes once from the cache and the telemetry, decides by calling
`trimtab.decide`, and acts through `world.cluster`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trimtab.cluster.port import Cluster, Json, Key
from trimtab.decide.outcome import Note
from trimtab.errors import RetryLater
from trimtab.notify.settings import Notifications
from trimtab.reconcile.announce import SINKS, Announcer
from trimtab.reconcile.machine.cache import Cache, Change, uid_of
from trimtab.reconcile.machine.watched import resource_of

if TYPE_CHECKING:
    from trimtab.api.model_version import ModelVersion
    from trimtab.api.resource import Resource
    from trimtab.store.port import Store
    from trimtab.telemetry.port import Telemetry


LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Settings:
    """What the chart decides for the operator."""

    serving_image: str
    training_image: str
    serving_onnx_image: str | None = None
    """None: the serving image has what ONNX needs."""
    serving_tables_image: str | None = None
    """None: the serving image has pandas, XGBoost and LightGBM."""
    image_pull_policy: str = "IfNotPresent"
    operator_namespace: str = "trimtab-system"
    watch_namespaces: tuple[str, ...] = ()
    """Empty: all namespaces."""
    store_credentials: str | None = None
    """Folder with the operator's own store credentials; None: artifacts are checked by the pods."""
    checkpoint_uri: str | None = None
    """Where counts of open windows are kept; None: a restart begins them anew."""
    signing_key_file: str | None = None
    """File with the release's seed, by which checkpoints are sealed; None: there are none."""
    notifications: Notifications = field(default_factory=Notifications)
    notification_secrets: str = ""
    """Folder with the URLs and keys of the destinations of notifications."""

    def serving_image_for(self, version: ModelVersion) -> str:
        """Return the image that has what the version needs.

        Where nobody could read its manifest, that is the one that has what any estimator needs.
        """
        if version.spec.artifact.format == "onnx":
            return self.serving_onnx_image or self.serving_image
        if version.status.frameworks or version.status.phase == "Unknown":
            return self.serving_tables_image or self.serving_image
        return self.serving_image


@dataclass
class Passed:
    """What the runner keeps of one object between passes; safe to lose."""

    written_at: datetime | None = None
    """When this process last wrote the status, or first saw it as it should be."""
    refusals: int = 0
    """Passes in a row that ended with a refusal."""
    refused_until: datetime = LONG_AGO
    """What was refused is not tried again before, unless something else is decided."""
    uid: str = ""
    unsure: Unsure | None = None
    unwritten: tuple[Note, ...] = ()
    """What was decided while acting and is not in status yet."""


@dataclass(frozen=True)
class Unsure:
    """A status write whose reply did not come: it may have its effect, or have it later."""

    based_on: str
    """Resource version."""
    status: Json
    taken: Callable[[], None]
    """To be called if it has."""


def _always() -> bool:
    return True


@dataclass
class World:
    """Everything outside a reconciler."""

    cluster: Cluster
    cache: Cache
    telemetry: Telemetry
    store: Store
    settings: Settings
    enqueue: Callable[[Key], None]
    """Ask for another object to be reconciled soon."""
    now: Callable[[], datetime] = field(default=utc_now)
    list_soon: Callable[[Resource], None] = lambda resource: None
    """Have a kind listed at once: what is known of it has proven old."""
    memory: dict[Key, Any] = field(default_factory=dict)
    """What a kind keeps between passes; safe to lose at any time."""
    models: dict[tuple[str, str, str], tuple[Json, Any]] = field(default_factory=dict)
    """By kind, namespace and name: an object of ours as it was read last, and its model."""
    is_leading: Callable[[], bool] = _always
    """Whether this process holds the Lease for sure; nothing is written while it does not."""
    announcer: Announcer = field(init=False)
    _passed: dict[Key, Passed] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.announcer = Announcer([sink(self.cluster) for sink in SINKS])

    def passed(self, key: Key) -> Passed:
        """Return what the runner keeps of an object."""
        return self._passed.setdefault(key, Passed())

    def forget(self, key: Key) -> None:
        """Drop what is kept of an object that is gone."""
        self.memory.pop(key, None)
        self.models.pop((key.resource.kind, key.namespace, key.name), None)
        passed = self._passed.pop(key, None)
        if passed is not None:
            self.announcer.forget(passed.uid)

    def remember(self, obj: Json) -> None:
        """Take the reply to one of our own writes into the cache."""
        self.cache.put(resource_of(obj), obj)

    async def look(self, key: Key) -> Json | None:
        """Read an object live and remember what was found, also that there is none."""
        known = self.cache.get(key)
        live = await self.cluster.read(key)
        if live is not None:
            self.remember(live)
        elif known is not None:
            self._lose(self.cache.drop(key.resource, known))
            self.list_soon(key.resource)  # should it be there all the same, nobody would tell
        return live

    def _lose(self, gone: Change | None) -> None:
        """Wake who reads an object that is gone: its deletion will be no news."""
        if gone is not None:
            self.cache.on_own_write(gone)

    def require_lease(self) -> None:
        """Raise RetryLater if another process may be leading by now."""
        if not self.is_leading():
            raise RetryLater("the Lease was not renewed for a while; nothing is written until then")

    async def apply(self, manifest: Json, *, uid: str, resource_version: str | None) -> Json:
        """Apply the child that has this uid and version, and remember the reply."""
        self.require_lease()
        stored = await self.cluster.apply(manifest, uid=uid, resource_version=resource_version)
        self.remember(stored)
        return stored

    async def apply_new(self, manifest: Json) -> Json | None:
        """Make a child and remember the reply; None if an object of that name exists."""
        self.require_lease()
        stored = await self.cluster.apply_new(manifest)
        if stored is not None:
            self.remember(stored)
        return stored

    async def restore(self, key: Key, spec: Json, *, resource_version: str) -> Json:
        """Take out of a child what others added, and remember the reply."""
        self.require_lease()
        stored = await self.cluster.restore(key, spec, resource_version=resource_version)
        self.remember(stored)
        return stored

    async def create(self, manifest: Json) -> Json | None:
        """Create an object; None if one of that name exists."""
        self.require_lease()
        return await self.cluster.create(manifest)

    async def delete(self, key: Key, *, uid: str, resource_version: str | None) -> None:
        """Delete the child that has this uid and version; it is gone for us, whoever tells so.

        Where something holds it up, an event of it that is newer brings it back. Where the answer
        is that there is none, a list has to say so, too.
        """
        self.require_lease()
        if not await self.cluster.delete(key, uid=uid, resource_version=resource_version):
            self.list_soon(key.resource)
            return
        known = self.cache.get(key)
        if known is not None and uid_of(known) == uid:
            self._lose(self.cache.take_out(key.resource, known))

    async def apply_status(self, key: Key, status: Json, *, resource_version: str | None) -> Json:
        """Write a status that rests on this version of its object, and remember the reply."""
        self.require_lease()
        stored = await self.cluster.apply_status(
            key, status, uid=self.passed(key).uid or None, resource_version=resource_version
        )
        self.remember(stored)
        return stored
