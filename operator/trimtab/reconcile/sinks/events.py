"""Events of Kubernetes."""

from __future__ import annotations

from datetime import datetime, timedelta

from trimtab.api.record import Decision
from trimtab.cluster.port import Cluster, Json

EVENTS_LAST = timedelta(hours=1)
"""As long as the API server keeps an event: an older decision is no news any more."""


class EventSink:
    """Tells each decision as an event, but for those that are older than an event lasts."""

    name = "events"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def tell(self, regarding: Json, decision: Decision, now: datetime) -> None:
        """See `Sink`."""
        if now - decision.at <= EVENTS_LAST:
            await self._cluster.tell_event(regarding, decision)
