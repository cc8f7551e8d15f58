"""A cluster whose objects have decisions, and operators that come and go."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.unit.notify.messages import AT
from tests.unit.reconcile.notifying.boxes import Clock, Receiver, box, sent

from trimtab.api.record import Decision, Record
from trimtab.cluster.port import DEPLOYMENTS, Json
from trimtab.reconcile.machine.cache import Cache
from trimtab.reconcile.notifying.namespaces import Namespaces
from trimtab.reconcile.notifying.notifier import Notifier
from trimtab.reconcile.notifying.outbox import Outbox
from trimtab.simulation.cluster import SimulatedCluster

KEPT = 10


@dataclass
class Shop:
    """A cluster whose objects have decisions, and operators that come and go."""

    cluster: SimulatedCluster = field(default_factory=lambda: SimulatedCluster(now=AT))
    clock: Clock = field(default_factory=Clock)
    receivers: dict[str, Receiver] = field(default_factory=dict)
    destinations: list[Json] = field(default_factory=lambda: [{"name": "there"}])
    objects: dict[str, Json] = field(default_factory=dict)
    most_waiting: int = 1000
    back: timedelta = timedelta()
    """How far the wall clock was put back."""

    def now(self) -> datetime:
        return self.cluster.time - self.back

    async def start(self) -> None:
        """Begin another process, which knows all objects."""
        self.cache = Cache()
        for obj in self.objects.values():
            self.cache.put(DEPLOYMENTS, obj)
        self.boxes: list[Outbox] = []
        for of in self.destinations:
            receiver = self.receivers.setdefault(of["name"], Receiver())
            self.boxes.append(box(receiver, self.clock, most=self.most_waiting, **of))
        namespaces = Namespaces(self.cluster, clock=self.clock)
        self.notifier = Notifier(
            self.cache, self.cluster, self.boxes, namespaces, now=self.now, most=200
        )
        await self.notifier.take_up()

    def passes(self, seconds: float) -> None:
        self.cluster.time += timedelta(seconds=seconds)
        self.clock.now += seconds

    def decide(
        self,
        name: str = "digits",
        count: int = 1,
        namespace: str = "shop",
        status: Json | None = None,
        **fields: Any,
    ) -> None:
        """Write decisions into the status of an object, as a pass does."""
        old = self.objects.get(name, {})
        record = Record.model_validate(old.get("status", {}).get("record", {}))
        made = [
            Decision(
                seq=record.seq + n + 1,
                at=self.now(),
                led=self.cluster.led_seconds(),
                **{"reason": "RolledBack", "warning": True, **fields},
            )
            for n in range(count)
        ]
        kept = [*record.decisions, *made][-KEPT:]
        record = Record(seq=record.seq + count, decisions=kept)
        version = int(old.get("metadata", {}).get("resourceVersion", "0")) + 1
        self.objects[name] = {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "Deployment",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": f"uid-{name}",
                "resourceVersion": str(version),
            },
            "status": {**(status or {}), "record": record.to_json()},
        }
        self.cache.put(DEPLOYMENTS, self.objects[name])

    async def tell(self) -> None:
        """Route and send all that can be."""
        while await self.notifier.step() == 0.0:
            pass
        for outbox in self.boxes:
            await sent(outbox)

    def ids(self, name: str = "there") -> list[str]:
        return self.receivers[name].ids
