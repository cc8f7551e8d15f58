"""The Lease: at most one operator acts.

A Lease is taken if nobody holds it, if we hold it (a restarted container has the same identity
and goes on at once), or if its holder has not renewed it for its own duration, as measured by
*our* clock since we saw it change: clocks of two machines are never compared. Every write carries
the resource version that it is based on, so that of two takers one fails.

An annotation is a clock that goes while one of its holders leads: every renewal moves it on, it
stands still while nobody can act, and no wall clock that jumps can move it. Each begins somewhere
else, years from all others, so that nobody takes a reading of one for one of another: two operators
that each have a Lease, by mistake, read what the other wrote.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from trimtab.api.resource import Resource
from trimtab.cluster.port import Json
from trimtab.cluster.transport import AlreadyExists, NotFound, Transport
from trimtab.errors import Conflict

LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
LED_ANNOTATION = "trimtab.dev/led-seconds"
_BEGINNINGS = 2**16
_APART_SECONDS = 1e8
TAKEN_SECONDS = 3.0
"""What taking the Lease counts for: what the holder before may have led since its last renewal. So
an operator that ends before it has ever renewed keeps nothing under way for ever."""


def micro_time(moment: datetime) -> str:
    """Return a MicroTime as the API server wants it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True)
class Seen:
    """A Lease as it was when it last changed before our eyes."""

    version: str
    at: float
    """Of our monotonic clock, seconds."""


@dataclass(frozen=True)
class _Led:
    """What the Lease's clock showed at a moment of our monotonic clock, in seconds."""

    seconds: float
    at: float
    trusted_for: float
    """So long after it nobody else can hold the Lease."""


def led_of(lease: Json) -> float | None:
    """Return what the clock of a Lease shows, in seconds; None if nobody can read it."""
    try:
        seconds = float((lease["metadata"].get("annotations") or {})[LED_ANNOTATION])
    except (KeyError, ValueError):
        return None
    return seconds if 0 <= seconds < _BEGINNINGS * _APART_SECONDS else None


def _beginning(identity: str, now: datetime) -> float:
    """Return where the clock of a Lease begins that `identity` makes now."""
    return zlib.crc32(f"{identity} {now}".encode()) % _BEGINNINGS * _APART_SECONDS


def is_free(spec: Json, identity: str, seen: Seen, now: float) -> bool:
    """Tell whether `identity` may take the Lease; `now` is of the clock of `seen`."""
    holder = spec.get("holderIdentity") or ""
    return holder in ("", identity) or now >= seen.at + float(spec.get("leaseDurationSeconds") or 0)


def lease_spec(old: Json, identity: str, seconds: float, now: datetime) -> Json:
    """Return the spec of the Lease as held by `identity` from now on."""
    is_ours = old.get("holderIdentity") == identity
    transitions = int(old.get("leaseTransitions") or 0)
    return {
        "holderIdentity": identity,
        "leaseDurationSeconds": max(1, math.ceil(seconds)),
        "acquireTime": old.get("acquireTime") if is_ours else micro_time(now),
        "renewTime": micro_time(now),
        "leaseTransitions": transitions if is_ours or not old else transitions + 1,
    }


class LeaseHolder:
    """Takes, renews and gives back one Lease."""

    def __init__(
        self,
        transport: Transport,
        namespace: str,
        name: str,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._transport = transport
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self._now = now
        self._ours: Json | None = None
        """As our last write returned it: renewing needs no read."""
        self._seen: Seen | None = None
        self._led: _Led | None = None
        self._kept: dict[str, str] = {}
        """Annotations to be written with the next renewal."""
        self._annotations: Json = {}
        """As they were at the last renewal."""

    def keep(self, annotation: str, value: str) -> None:
        """Write an annotation with the next renewal, and with the release: no write of its own."""
        self._kept[annotation] = value

    def kept(self, annotation: str) -> str | None:
        """Return an annotation as it was at the last renewal; None before, or if there is none."""
        value = self._annotations.get(annotation)
        return value if isinstance(value, str) else None

    def led_seconds(self) -> float:
        """Return what the Lease's clock shows now; 0 before we hold it first."""
        led = self._led
        if led is None:
            return 0.0
        return led.seconds + min(max(0.0, self._clock() - led.at), led.trusted_for)

    async def hold(self, identity: str, seconds: float) -> bool:
        """Take or renew; False if another identity holds it. Raises what requests raise."""
        asked_at = self._clock()
        lease = self._ours or await self._read()
        self._ours = None
        if lease is None:
            lease = {"metadata": {"name": self._name, "namespace": self._namespace}}
        elif not self._may_take(lease, identity):
            return False
        spec = lease_spec(lease.get("spec") or {}, identity, seconds, self._now())
        led = self._taken(lease, identity) if self._led is None else self.led_seconds()
        try:
            self._ours = await self._write(lease, spec, led)
        except (Conflict, NotFound):
            # Somebody wrote in between. Read once more: our own lost reply is also seen as this.
            lease = await self._read()
            if lease is None or (lease.get("spec") or {}).get("holderIdentity") != identity:
                return False
            self._ours = lease
        self._led = _Led(led, asked_at, seconds)
        self._annotations = self._ours["metadata"].get("annotations") or {}
        return True

    async def release(self, identity: str) -> None:
        """Give the Lease back, so that the next one need not wait; nothing if it is not ours."""
        lease = await self._read()
        self._ours = None
        spec = (lease or {}).get("spec") or {}
        if lease is not None and spec.get("holderIdentity") == identity:
            free = spec | {"holderIdentity": "", "leaseDurationSeconds": 1}
            await self._write(lease, free, max(led_of(lease) or 0.0, self.led_seconds()))

    def _taken(self, lease: Json, identity: str) -> float:
        led = led_of(lease)
        return _beginning(identity, self._now()) if led is None else led + TAKEN_SECONDS

    def _may_take(self, lease: Json, identity: str) -> bool:
        version = lease["metadata"].get("resourceVersion", "")
        if self._seen is None or self._seen.version != version:
            self._seen = Seen(version, self._clock())
        return is_free(lease.get("spec") or {}, identity, self._seen, self._clock())

    async def _read(self) -> Json | None:
        try:
            return await self._transport.request(
                "get", "GET", LEASES, namespace=self._namespace, name=self._name
            )
        except NotFound:
            return None

    async def _write(self, lease: Json, spec: Json, led: float) -> Json:
        known = lease["metadata"]
        annotations = known.get("annotations") or {}
        annotations = annotations | self._kept | {LED_ANNOTATION: f"{led:.1f}"}
        metadata = known | {"annotations": annotations}
        body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "spec": spec}
        if "resourceVersion" not in metadata:
            try:
                return await self._transport.request(
                    "create",
                    "POST",
                    LEASES,
                    namespace=self._namespace,
                    body=body | {"metadata": metadata},
                )
            except AlreadyExists as error:
                raise Conflict(str(error)) from error
        names = ("name", "namespace", "uid", "resourceVersion", "annotations")
        kept = {k: metadata[k] for k in names}
        return await self._transport.request(
            "update",
            "PUT",
            LEASES,
            namespace=self._namespace,
            name=self._name,
            body=body | {"metadata": kept},
        )
