"""Every decision that is in status, to the destinations that want it.

    cache ──change──> inbox ──what its namespace names──> a queue for each destination ──> posted

It looks on: what it hears of is written already, and no pass waits for it or knows of it. An object
keeps its last decisions in status, and how far each destination is told is kept with the Lease
(`marks`), so that a process that takes over goes on where the one before it ended. Nothing here may
end the operator: a bug is logged and costs one message.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from heapq import nsmallest
from operator import itemgetter

from pydantic import ValidationError

from trimtab.api.record import Decision
from trimtab.cluster.port import OWN_KINDS, Cluster, Json, Key
from trimtab.decide.led_time import Instant
from trimtab.errors import RetryLater
from trimtab.notify.message import Message, message_of
from trimtab.notify.routes import is_used, passes
from trimtab.reconcile.machine.cache import Cache, Change, key_of, uid_of
from trimtab.reconcile.machine.queue import BackOff
from trimtab.reconcile.notifying.marks import Mark, ago, earliest, from_text, latest, to_text
from trimtab.reconcile.notifying.namespaces import Namespaces
from trimtab.reconcile.notifying.outbox import Outbox, instant_of
from trimtab.reconcile.notifying.owners import owner_of
from trimtab.reconcile.notifying.stepping import step_on
from trimtab.state_metrics.kinds import decisions_after, last_number

logger = logging.getLogger(__name__)

MARKS_ANNOTATION = "trimtab.dev/notified"
"""Of the Lease."""
MARKED_EVERY_SECONDS = 3.0
ON_ITS_WAY_SECONDS = 60.0
"""So long a decision may be in status before it is seen here, as when a reply is lost."""
RESOLUTION_SECONDS = 0.1
"""Of the Lease's clock: what it shows now may be the time of a decision that was told."""
MOST_IN_INBOX = 5000
BACK_OFF = BackOff(first=1.0, most=30.0)


@dataclass(frozen=True)
class _Offered:
    message: Message
    boxes: tuple[Outbox, ...]
    """Whose own filters let it through, and which have not been told."""


class Notifier:
    """Hears of every change of the cache once it has taken up."""

    def __init__(
        self,
        cache: Cache,
        cluster: Cluster,
        boxes: Sequence[Outbox],
        namespaces: Namespaces,
        *,
        now: Callable[[], datetime],
        most: int = MOST_IN_INBOX,
    ) -> None:
        """now: in UTC. most: decisions that may wait for what their namespace says."""
        self._cache = cache
        self._cluster = cluster
        self._boxes = tuple(boxes)
        self._namespaces = namespaces
        self._now = now
        self._most = most
        self._inbox: deque[_Offered] = deque()
        self._something = asyncio.Event()
        self._heard: dict[Key, tuple[str, int]] = {}
        """By object: its uid, and the last decision that was heard of."""
        self._gaps: dict[Key, dict[str, int]] = {}
        """By object and destination: the `missing_before` that its next message is to have."""
        self._marks: dict[str, Mark] | None = None
        """How far each destination was told when this process took up; None before."""
        self._has_taken_up = False
        self._meanwhile: list[_Offered] = []
        """What was decided while it takes up: to come after what was before."""
        self._failures = 0
        self._parts: list[asyncio.Task[None]] = []
        cache.listeners.append(self.on_change)

    # --- hearing ----------------------------------------------------------------------------

    async def take_up(self) -> None:
        """Go on where the process before ended: for one that leads and knows all objects.

        A destination that nobody has marked is new: nothing of what was before is told to it. With
        many objects this takes seconds, in which others have their turn.
        """
        if self._marks is not None or not self._boxes:
            return
        found, now = from_text(self._cluster.kept_with_lease(MARKS_ANNOTATION)), self._instant()
        self._marks = {box.destination.name: Mark(now) for box in self._boxes} | found
        for box in self._boxes:
            box.take_lost(self._marks[box.destination.name].lost)
        offered: list[tuple[datetime, _Offered]] = []
        for resource in OWN_KINDS:
            for key in self._cache.keys(resource):
                await asyncio.sleep(0)
                obj, so_far = self._cache.get(key), datetime.min.replace(tzinfo=UTC)
                for one in self._new_in(key, obj) if obj is not None else ():
                    # By time over all objects, and by number within one, whatever its clock did.
                    so_far = max(so_far, one.message.decision.at)
                    offered.append((so_far, one))
        self._offer(one for _, one in sorted(offered, key=itemgetter(0)))
        self._offer(self._meanwhile)
        self._meanwhile.clear()
        self._has_taken_up = True
        if self._inbox:
            logger.info("%d decisions may not have been told before", len(self._inbox))

    def on_change(self, change: Change) -> None:
        """Take a change of the cache in."""
        if self._marks is None or change.resource not in OWN_KINDS:
            return
        if change.new is None:
            if change.old is not None:
                key = key_of(change.resource, change.old)
                self._heard.pop(key, None)
                self._gaps.pop(key, None)
            return
        new = self._new_in(key_of(change.resource, change.new), change.new)
        if self._has_taken_up:
            self._offer(new)
        else:
            self._meanwhile += new

    def _new_in(self, key: Key, obj: Json) -> list[_Offered]:
        """Return the decisions that were not heard of, each with those that want it."""
        uid, last = uid_of(obj), last_number(obj)
        known_uid, heard = self._heard.get(key, ("", 0))
        is_first = known_uid != uid
        heard = 0 if is_first else heard
        if last <= heard and not is_first:
            return []
        self._heard[key] = uid, last
        if is_first:
            self._gaps.pop(key, None)
        try:
            decisions = decisions_after(obj, heard)
            return list(self._wanted(key, obj, decisions, heard, is_first=is_first))
        except ValidationError:
            logger.info("%s: what was decided cannot be read, and is not told", key)
        except Exception:  # the boundary that the module's docstring explains
            logger.exception("%s: a bug in notifications", key)
        return []

    def _wanted(
        self, key: Key, obj: Json, decisions: Sequence[Decision], heard: int, *, is_first: bool
    ) -> Iterator[_Offered]:
        """Yield those that a destination wants; of an object's first sight, what it may lack."""
        marks = self._marks or {}
        for decision in decisions:
            message = message_of(obj, decision, owner=owner_of(self._cache, obj))
            at = instant_of(message)
            boxes = [
                box
                for box in self._boxes
                if not (is_first and not marks[box.destination.name].is_before(at))
            ]
            # Status keeps the last decisions only: those between may be gone.
            if decision is decisions[0] and decision.seq > heard + 1:
                self._gaps[key] = {box.destination.name: decision.seq for box in boxes}
            wanting = [box for box in boxes if passes(box.destination, message)]
            yield from self._with_gaps(key, message, wanting)

    def _with_gaps(self, key: Key, message: Message, boxes: Sequence[Outbox]) -> Iterator[_Offered]:
        """Yield the message such that it names what each of these destinations may lack."""
        by_gap: dict[int, list[Outbox]] = {}
        gaps = self._gaps.get(key, {})
        for box in boxes:
            by_gap.setdefault(gaps.pop(box.destination.name, 0), []).append(box)
        if not gaps:
            self._gaps.pop(key, None)
        for before, lacking in by_gap.items():
            yield _Offered(replace(message, missing_before=before), tuple(lacking))

    def _offer(self, offered: Iterable[_Offered]) -> None:
        self._inbox.extend(offered)
        if len(self._inbox) > self._most + self._most // 20:  # not for each one that comes
            kept = _fairly(self._inbox, self._most)
            for one in self._inbox:
                for box in () if id(one) in kept else one.boxes:
                    box.lose(one.message, "too many wait for what namespaces say")
            self._inbox = deque(one for one in self._inbox if id(one) in kept)
        if self._inbox:
            self._something.set()

    # --- telling ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Take up, and tell until `end`; does nothing where there is no destination."""
        if not self._boxes:
            return
        await self.take_up()
        async with asyncio.TaskGroup() as group:
            routing = step_on(self.step, self._something)
            parts = [routing, self._mark(), *(box.run() for box in self._boxes)]
            self._parts = [group.create_task(part) for part in parts]

    async def end(self, *, is_last: bool) -> None:
        """Tell no more, then say how far it came: the next process goes on there.

        is_last: as of `mark`.
        """
        for part in self._parts:
            part.cancel()
        if self._parts:
            await asyncio.wait(self._parts)
        self.mark(is_last=is_last)

    async def step(self) -> float | None:
        """Put one decision into the queues of those that its namespace uses.

        Return the seconds until the next one; None if there is none.
        """
        if not self._inbox:
            return None
        head = self._inbox[0]
        try:
            named = await self._namespaces.named(head.message.namespace)
        except RetryLater as error:
            self._failures += 1
            logger.info("%s: notifications wait: %s", head.message.namespace, error)
            return BACK_OFF.seconds(self._failures, 0.5)
        except Exception:  # the boundary that the module's docstring explains
            logger.exception("%s: a bug in notifications", head.message.id)
            named = frozenset()
        self._failures = 0
        if self._inbox and self._inbox[0] is head:  # it may have been dropped meanwhile
            self._inbox.popleft()
            for box in head.boxes:
                if is_used(box.destination, named):
                    box.add(head.message)
        return 0.0 if self._inbox else None

    # --- marks ------------------------------------------------------------------------------

    async def _mark(self) -> None:
        while True:
            self.mark()
            await asyncio.sleep(MARKED_EVERY_SECONDS)

    def mark(self, *, is_last: bool = False) -> None:
        """Have the Lease's next renewal say how far each destination is told.

        is_last: no pass is under way any more, so that nothing is on its way into status.
        """
        if self._marks is None or not self._has_taken_up:
            return
        now = ago(self._instant(), -RESOLUTION_SECONDS if is_last else ON_ITS_WAY_SECONDS)
        marks = dict[str, Mark]()
        for box in self._boxes:
            name = box.destination.name
            otherwise = latest(now, self._marks[name].until)
            marks[name] = Mark(earliest(self._untold(box), otherwise), box.lost)
        self._cluster.keep_with_lease(MARKS_ANNOTATION, to_text(marks))

    def _untold(self, box: Outbox) -> Iterator[Instant]:
        yield from box.waiting()
        for offered in self._inbox:
            if box in offered.boxes:
                yield instant_of(offered.message)

    def _instant(self) -> Instant:
        return Instant(self._now(), self._cluster.led_seconds())


def _fairly(offered: Iterable[_Offered], most: int) -> set[int]:
    """Return by `id` which ones stay: of each namespace its last ones, as many as of any other."""
    seen = Counter[str]()
    ranked = list[tuple[int, int, int]]()
    for age, one in enumerate(reversed(list(offered))):
        ranked.append((seen[one.message.namespace], age, id(one)))
        seen[one.message.namespace] += 1
    return {found for _, _, found in nsmallest(most, ranked)}
