"""Decisions get their numbers here, and are told to every sink in order, each once.

    decided ──number──> in status (written) ──> each sink, in order ──> told, in status with the
                                                                       next write

A sink that fails is asked again later, and by the next process; it tells a number that it has told
already as done. So is one that refuses, more and more rarely: whether that is for good nobody says.
Nothing here stands in the way of a decision: what a sink does not take waits in status, and what
waits too long is dropped by a decision that says so.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from trimtab.api.conditions import EventReason
from trimtab.api.record import Decision, Record
from trimtab.cluster.port import Cluster, Json
from trimtab.decide.led_time import Instant, led_between
from trimtab.decide.outcome import LONGEST_MESSAGE, Note
from trimtab.errors import Refused, RetryLater
from trimtab.reconcile.sinks.events import EventSink
from trimtab.reconcile.sinks.sink import Sink

logger = logging.getLogger(__name__)

KEPT_DECISIONS = 10
"""The last ones stay in status for people to read, told or not."""
MOST_DECISIONS = 60
MOST_STATUS_BYTES = 64 * 1024
MOST_INPUT_BYTES = 2048
TELL_AGAIN = timedelta(seconds=15)
MOST_AT_ONCE = 25
"""So many decisions of one object a sink is told without a pause, as events of client-go are
(`EventSourceObjectSpamFilter` in `k8s.io/client-go/tools/record`); then one each `TELL_AGAIN`."""
LONGEST_WAIT = timedelta(minutes=5)
REFUSED_LONG = timedelta(minutes=10)
"""So old a decision is when it is asked whether the sink refuses it alone."""


SINKS: tuple[Callable[[Cluster], Sink], ...] = (EventSink,)
"""A further sink is a file in `sinks` and an entry here."""


@dataclass(frozen=True)
class _Refusal:
    """A sink refused the last time that it was asked about an object."""

    at: datetime
    wait: timedelta

    def is_over(self, now: datetime) -> bool:
        """Tell whether it is to be asked again; at once if the clock was put back."""
        return not self.at <= now < self.at + self.wait


@dataclass
class _Allowance:
    """How many decisions of an object a sink may be told now."""

    at: datetime
    left: float = MOST_AT_ONCE

    def take(self, now: datetime) -> bool:
        """Use one of them, if there is one. A clock that was put back gives none."""
        earned = max(timedelta(), now - self.at) / TELL_AGAIN
        self.at, self.left = now, min(MOST_AT_ONCE, self.left + earned)
        if self.left < 1:
            return False
        self.left -= 1
        return True


@dataclass
class Announcer:
    """The sinks, and how far each has been told in this process. Safe to lose."""

    sinks: Sequence[Sink]
    _told: dict[tuple[str, str], int] = field(default_factory=dict)
    """By uid and sink."""
    _under_way: dict[str, asyncio.Task[bool]] = field(default_factory=dict)
    """By uid: never two at once, or a late reply would tell an earlier decision last."""
    _refused: dict[tuple[str, str], _Refusal] = field(default_factory=dict)
    """By uid and sink."""
    _allowed: dict[tuple[str, str], _Allowance] = field(default_factory=dict)
    """By uid and sink."""
    _own: dict[str, int] = field(default_factory=dict)
    """By uid: the first decision that this process has made."""

    def made(self, uid: str, seq: int) -> None:
        """This process made the decision `seq`: it is news whatever a clock that jumps says."""
        self._own.setdefault(uid, seq)

    async def begin(
        self, uid: str, tell: Callable[[], Coroutine[Any, Any, bool]]
    ) -> asyncio.Task[bool]:
        """Begin to tell of an object in a task of its own, or return the one under way."""
        task = self._under_way.get(uid)
        if task is None or task.done():
            task = asyncio.create_task(tell())
            self._under_way[uid] = task
            task.add_done_callback(partial(self._ended, uid))
        await asyncio.sleep(0)
        return task

    def _ended(self, uid: str, task: asyncio.Task[bool]) -> None:
        if self._under_way.get(uid) is task:
            del self._under_way[uid]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("decisions of %s were not told", uid, exc_info=error)

    def has_news(self, uid: str, record: Json) -> bool:
        """Tell whether this process has yet to make sure that every sink was told everything.

        `record` is as status has it: most passes end here, and need not read the decisions.
        """
        seq = record.get("seq", 0)
        return any(self._told.get((uid, sink.name), 0) < seq for sink in self.sinks)

    async def announce(
        self, regarding: Json, record: Record, now: datetime, led: float | None = None
    ) -> bool:
        """Tell each sink what it has not been told; return whether all of it was taken.

        led: seconds on the clock of the Lease now, if there is one.
        """
        uid = regarding["metadata"].get("uid", "")
        is_complete = True
        for sink in self.sinks:
            refusal = self._refused.get((uid, sink.name))
            if refusal is None or refusal.is_over(now):
                told = await self._tell(sink, regarding, record, Instant(now, led))
                self._told[uid, sink.name] = told
            is_complete = is_complete and self._told_to(sink, uid, record) >= record.seq
        return is_complete

    async def _tell(self, sink: Sink, regarding: Json, record: Record, now: Instant) -> int:
        """Tell one sink in order; return the number up to which it has been told."""
        of = regarding["metadata"].get("uid", ""), sink.name
        told = self._told_to(sink, of[0], record)
        refused: Decision | None = None
        for decision in record.decisions:
            if decision.seq <= told:
                continue
            if not self._allowed.setdefault(of, _Allowance(now.at)).take(now.at):
                return (refused or decision).seq - 1
            try:
                await sink.tell(regarding, decision, self._as_of(of[0], decision, now))
            except RetryLater as error:
                logger.info("%s: decision %d waits: %s", sink.name, decision.seq, error)
                return (refused or decision).seq - 1
            except Refused as error:
                logger.warning("%s: decision %d is refused: %s", sink.name, decision.seq, error)
                if refused is not None or _age(decision, now) < REFUSED_LONG:
                    return self._put_off(of, refused or decision, now.at)
                refused = decision  # it alone, or everything: the next one shows
            else:
                self._refused.pop(of, None)
                refused = None
        return max(told, record.seq) if refused is None else self._put_off(of, refused, now.at)

    def _as_of(self, uid: str, decision: Decision, now: Instant) -> datetime:
        own = self._own.get(uid)
        is_own = own is not None and decision.seq >= own
        return decision.at if is_own else decision.at + _age(decision, now)

    def _put_off(self, of: tuple[str, str], refused: Decision, now: datetime) -> int:
        """Ask less and less often; return the number up to which was told."""
        before = self._refused.get(of)
        wait = TELL_AGAIN if before is None else min(before.wait * 2, LONGEST_WAIT)
        self._refused[of] = _Refusal(now, wait)
        return refused.seq - 1

    def again_at(self, uid: str, now: datetime) -> datetime:
        """Return when to ask again those who have not taken everything."""
        refused = [self._refused.get((uid, sink.name)) for sink in self.sinks]
        moments = [one.at + one.wait for one in refused if one and not one.is_over(now)]
        return min(moments, default=now + TELL_AGAIN)

    def told(self, uid: str, record: Record) -> dict[str, int]:
        """Return by sink the number up to which it has been told, for status to keep."""
        return {sink.name: self._told_to(sink, uid, record) for sink in self.sinks}

    def _told_to(self, sink: Sink, uid: str, record: Record) -> int:
        return max(self._told.get((uid, sink.name), 0), record.told.get(sink.name, 0))

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self._own.pop(uid, None)
        for sink in self.sinks:
            self._told.pop((uid, sink.name), None)
            self._refused.pop((uid, sink.name), None)
            self._allowed.pop((uid, sink.name), None)


def _age(decision: Decision, now: Instant) -> timedelta:
    """Return how long operators led since; by the wall clock for one of an older release.

    The process that made it may have had a clock hours behind ours.
    """
    return led_between(Instant(decision.at, decision.led), now)


def has_told(task: asyncio.Task[bool]) -> bool:
    """Return whether everything was told by now."""
    return task.done() and not task.cancelled() and task.exception() is None and task.result()


def numbered(
    record: Record,
    notes: Iterable[Note],
    told: Mapping[str, int],
    *,
    common: Mapping[str, Any],
    now: datetime,
    led: float | None = None,
) -> Record:
    """Return the record with the notes as its next decisions, and without what nobody needs."""
    decisions = list(record.decisions)
    seq = record.seq
    for note in notes:
        seq += 1
        decisions.append(_decision(seq, note, common, Instant(now, led)))
    kept = [d for d in decisions if d.seq > seq - KEPT_DECISIONS or not _is_told(d, told)]
    return _within(MOST_DECISIONS, Record(seq=seq, told=dict(told), decisions=kept), now)


def bounded(status: Json, record: Record, now: datetime) -> Record:
    """Return the record such that the whole status, with it, has at most 64 KiB.

    The oldest decisions go first; the newest stays whatever the size of the rest is.
    """
    rest = _size({name: value for name, value in status.items() if name != "record"})
    sizes = [_size(decision.to_json()) + 1 for decision in record.decisions]
    room, kept = MOST_STATUS_BYTES - rest - 512, 0
    for size in reversed(sizes):
        room -= size
        if room < 0 and kept:
            break
        kept += 1
    return _within(kept, record, now)


def _within(most: int, record: Record, now: datetime) -> Record:
    """Return the record with its last `most` decisions; a loss is a decision of its own."""
    surplus = len(record.decisions) - most
    if surplus <= 0:
        return record
    if all(_is_told(decision, record.told) for decision in record.decisions[:surplus]):
        return record.model_copy(update={"decisions": record.decisions[surplus:]})
    # A third goes, so that not every further one is a loss, and room for the decision that says so.
    cut = min(surplus + most // 3 + 1, len(record.decisions) - 1)
    lost = [d for d in record.decisions[:cut] if not _is_told(d, record.told)]
    # A dropped decision that told of an earlier loss is told of with it.
    first = min(int(d.inputs.get("first", d.seq)) for d in lost)
    note = Note(
        EventReason.DECISIONS_DROPPED,
        f"decisions {first} to {lost[-1].seq} were dropped before they were told everywhere: "
        "status had no more room",
        warning=True,
    )
    seq = record.seq + 1
    gap = _decision(seq, note, {"first": first, "last": lost[-1].seq}, Instant(now))
    return Record(seq=seq, told=record.told, decisions=[*record.decisions[cut:], gap])


def _decision(seq: int, note: Note, common: Mapping[str, Any], now: Instant) -> Decision:
    return Decision(
        seq=seq,
        at=now.at,
        led=now.led,
        reason=note.reason,
        message=note.message[:LONGEST_MESSAGE],
        warning=note.warning,
        inputs=_small({**common, **note.inputs}),
    )


def _small(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs, without the largest ones where all together are above 2 KiB."""
    kept = {name: value for name, value in inputs.items() if value not in (None, "", {}, [])}
    left_out: list[str] = []
    while _size(kept | {"leftOut": left_out}) > MOST_INPUT_BYTES:
        largest = max(kept, key=lambda name: _size(kept[name]))
        left_out.append(largest)
        del kept[largest]
    return kept | ({"leftOut": left_out} if left_out else {})


def _is_told(decision: Decision, told: Mapping[str, int]) -> bool:
    return bool(told) and all(decision.seq <= seq for seq in told.values())


def _size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":"), default=str))
