"""Events of Kubernetes: one object per object and reason, written as a series.

The number of the last decision that was told is in an annotation, so that the same decision is not
told twice: neither after a lost reply nor by another process. A write is for the event as it was
seen, so that none that comes late takes a series back. Written by the core API, which alone lets
the message of a series change (`k8s.io/kubernetes/pkg/apis/core/validation/events.go`).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from trimtab.api.record import Decision
from trimtab.api.resource import Resource
from trimtab.cluster.lease import micro_time
from trimtab.cluster.port import Json
from trimtab.cluster.transport import AlreadyExists, NotFound, Transport
from trimtab.errors import Conflict

EVENTS = Resource("", "v1", "events", "Event")
CONTROLLER = "trimtab.dev/operator"
SEQ_ANNOTATION = "trimtab.dev/seq"
MERGE = "application/merge-patch+json"
MOST_NAME_CHARACTERS = 253
MOST_INSTANCE_CHARACTERS = 128
REMEMBERED_SERIES = 20_000
"""Of a forgotten series the object is read before it is written: one request more."""


@dataclass(frozen=True)
class _Told:
    """How far a series is told."""

    seq: int
    count: int
    version: str
    """Resource version of the event."""


class EventSeries:
    """Tells decisions as events; each call raises what the transport raises."""

    def __init__(self, transport: Transport, instance: str) -> None:
        self._transport = transport
        self._instance = instance[:MOST_INSTANCE_CHARACTERS]
        self._series: OrderedDict[tuple[str, str], _Told] = OrderedDict()

    async def tell(self, regarding: Json, decision: Decision) -> None:
        """Tell one decision about an object, unless it or a later one of its reason was told."""
        namespace = regarding["metadata"]["namespace"]
        name = series_name(regarding, decision.reason)
        key = (namespace, name)
        told = self._series.pop(key, None)
        if told is None:
            told = await self._begin(namespace, self._first(name, regarding, decision))
        if told.seq < decision.seq:
            try:
                told = await self._go_on(namespace, name, decision, told)
            except (Conflict, NotFound):
                # It is another by now, or outlived its hour: then the series begins anew.
                told = await self._begin(namespace, self._first(name, regarding, decision))
                if told.seq < decision.seq:
                    told = await self._go_on(namespace, name, decision, told)
        self._remember(key, told)

    async def _begin(self, namespace: str, event: Json) -> _Told:
        """Create the object; return how far it is told, also where it exists already."""
        try:
            stored = await self._transport.request(
                "create", "POST", EVENTS, namespace=namespace, body=event
            )
        except AlreadyExists:
            name = event["metadata"]["name"]
            stored = await self._transport.request(
                "get", "GET", EVENTS, namespace=namespace, name=name
            )
        return _told_of(stored)

    async def _go_on(self, namespace: str, name: str, decision: Decision, told: _Told) -> _Told:
        """Tell it in the object as it was seen; Conflict if that is another by now."""
        stored = await self._transport.request(
            "patch",
            "PATCH",
            EVENTS,
            namespace=namespace,
            name=name,
            body=_next(decision, told),
            content_type=MERGE,
        )
        return _told_of(stored)

    def _first(self, name: str, regarding: Json, decision: Decision) -> Json:
        metadata, at = regarding["metadata"], decision.at
        second = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "annotations": {SEQ_ANNOTATION: str(decision.seq)},
            },
            "involvedObject": {
                "apiVersion": regarding["apiVersion"],
                "kind": regarding["kind"],
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata.get("uid", ""),
            },
            "eventTime": micro_time(at),
            "firstTimestamp": second,
            "lastTimestamp": second,
            "count": 1,
            "reportingComponent": CONTROLLER,
            "reportingInstance": self._instance,
            "source": {"component": "trimtab"},
            "action": decision.reason,
            "reason": decision.reason,
            "message": decision.message,
            "type": _type_of(decision),
        }

    def _remember(self, key: tuple[str, str], told: _Told) -> None:
        self._series[key] = told
        if len(self._series) > REMEMBERED_SERIES:
            self._series.popitem(last=False)


def series_name(regarding: Json, reason: str) -> str:
    """Return the name of the one event of an object and a reason."""
    metadata = regarding["metadata"]
    of_both = hashlib.sha256(f"{metadata.get('uid', '')}/{reason}".encode()).hexdigest()[:16]
    prefix = metadata["name"][: MOST_NAME_CHARACTERS - 1 - len(of_both)]
    return f"{prefix.rstrip('.-')}.{of_both}"


def _next(decision: Decision, told: _Told) -> Json:
    count = told.count + 1
    return {
        "metadata": {
            "annotations": {SEQ_ANNOTATION: str(decision.seq)},
            "resourceVersion": told.version,
        },
        "lastTimestamp": decision.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "count": count,
        "series": {"count": count, "lastObservedTime": micro_time(decision.at)},
        "message": decision.message,
        "type": _type_of(decision),
    }


def _type_of(decision: Decision) -> str:
    return "Warning" if decision.warning else "Normal"


def _told_of(event: Json) -> _Told:
    annotations = event["metadata"].get("annotations") or {}
    seq, count = annotations.get(SEQ_ANNOTATION, "0"), event.get("count") or 1
    version = str(event["metadata"]["resourceVersion"])
    return _Told(int(seq) if seq.isdigit() else 0, int(count), version)
