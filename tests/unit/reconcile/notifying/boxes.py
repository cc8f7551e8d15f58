"""A receiver in memory, and queues to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.unit.notify.messages import message

from trimtab.notify.message import Message, Telling
from trimtab.notify.settings import Destination
from trimtab.reconcile.notifying.outbox import Outbox


@dataclass
class Clock:
    """Monotonic seconds, as a test says."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Receiver:
    """Takes messages, or raises."""

    taken: list[Telling] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    error: Exception | None = None
    picky: dict[str, Exception] = field(default_factory=dict)
    """By id: what is raised for this message alone."""

    async def post(self, telling: Telling) -> None:
        self.tried.append(telling.message.id)
        error = self.picky.get(telling.message.id, self.error)
        if error is not None:
            raise error
        self.taken.append(telling)

    @property
    def ids(self) -> list[str]:
        return [telling.message.id for telling in self.taken]


def numbered(seq: int, **of: Any) -> Message:
    return message(seq=seq, **of)


def box(receiver: Receiver, clock: Clock, most: int = 1000, **fields: Any) -> Outbox:
    destination = Destination.model_validate({"name": "there", "type": "webhook", **fields})
    return Outbox(destination, receiver.post, clock=clock, chance=lambda: 0.0, most=most)


async def sent(outbox: Outbox) -> float | None:
    """Send what can be sent now; return how long it waits then, None: it is empty."""
    while True:
        wait = await outbox.step()
        if wait != 0.0:
            return wait


async def within(outbox: Outbox, clock: Clock, seconds: float) -> int:
    """Let so much time pass; return how often the receiver was asked meanwhile."""
    until, steps = clock.now + seconds, 0
    while (wait := await sent(outbox)) is not None and clock.now + wait <= until:
        clock.now += wait
        steps += 1
    clock.now = until
    return steps
