"""The work queue: which object is looked at next, and not before when.

A key is in the queue at most once and never worked on twice at the same time; what is added
while its pass runs is done again afterwards. A failed key waits longer each time, with jitter; an
event ends that wait, except where the server itself said when to come back. One token bucket
bounds all passes together. The queue holds no task and no timer per key and does no I/O: a clock
is given, so that the simulation runs the same code.

    add ──> waiting (heap by time) ──take──> in flight ──done/failed──> waiting or out
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from trimtab.cluster.port import Key

SHORTEST_WAIT_SECONDS = 1.0
"""After a failure, however many events come in."""


@dataclass(frozen=True)
class BackOff:
    """Seconds to wait after the n-th failure in a row: doubled each time, within bounds."""

    first: float = 0.5
    most: float = 120.0
    jitter: float = 0.3
    """Share of the wait that is left to chance, so that failures do not come back in step."""

    def seconds(self, failures: int, chance: float) -> float:
        """Return the wait after `failures` failures (from 1); `chance` is in 0..1."""
        wait = min(self.most, self.first * 2.0 ** min(failures - 1, 60))
        return wait * (1 - self.jitter * chance)


@dataclass
class TokenBucket:
    """At most `burst` at once and `rate` per second in the long run."""

    rate: float
    burst: float
    tokens: float = field(init=False)
    at: float = field(init=False, default=float("-inf"))

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def _fill(self, now: float) -> None:
        if self.at > float("-inf"):
            self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now

    def wait_seconds(self, now: float) -> float:
        """Return how long until one token is there; 0 if there is one."""
        self._fill(now)
        return 0.0 if self.tokens >= 1 else (1 - self.tokens) / self.rate

    def spend(self, now: float) -> None:
        """Take one token."""
        self._fill(now)
        self.tokens -= 1


@dataclass
class _Entry:
    """What is known of one key. Times are those of the queue's clock."""

    due: float
    asked: float | None = None
    """When an event first asked for the coming pass; None for a plain look."""
    asked_running: float | None = None
    """The same of the pass in flight."""
    failures: int = 0
    floor: float = float("-inf")
    """The server said: not before this."""
    in_flight: bool = False
    again: float | None = None
    """Added while in flight: due then."""
    ticket: int = 0
    """Of the valid heap item; others are left-overs."""


@dataclass(frozen=True)
class Finished:
    """What one pass took, in seconds of the clock."""

    latency: float | None
    """From the event that asked for it to the end; None if no event did."""


class WorkQueue:
    """Keys with times. Everything is called from one thread."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        back_off: BackOff | None = None,
        bucket: TokenBucket | None = None,
        chance: Callable[[], float] = random.random,
        on_added: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._back_off = back_off or BackOff()
        self._bucket = bucket
        self._chance = chance
        self.on_added = on_added
        """Called when something may be due earlier than before: wakes sleeping workers."""
        self._entries: dict[Key, _Entry] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._tickets = count(1)
        self._in_flight = 0

    # --- in -----------------------------------------------------------------------------------

    def add(self, key: Key) -> None:
        """Ask for a pass now, because something happened."""
        now = self._clock()
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(due=now)
        if entry.asked is None:
            entry.asked = now
        if entry.in_flight:
            entry.again = now
        elif entry.ticket == 0 or max(now, entry.floor) < entry.due:
            self._schedule(key, entry, max(now, entry.floor))

    def add_at(self, key: Key, when: float) -> None:
        """Ask for a look at that time of the clock; an earlier one stays."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(due=when)
        if entry.in_flight:
            entry.again = when if entry.again is None else min(entry.again, when)
            return
        if entry.ticket == 0 or max(when, entry.floor) < entry.due:
            self._schedule(key, entry, max(when, entry.floor))

    # --- out ----------------------------------------------------------------------------------

    def take(self) -> Key | None:
        """Return a key that is due, now in flight; None if there is none or no token."""
        now = self._clock()
        self._drop_left_overs()
        if not self._heap or self._heap[0][0] > now:
            return None
        if self._bucket is not None:
            if self._bucket.wait_seconds(now) > 0:
                return None
            self._bucket.spend(now)
        _, _, key = heapq.heappop(self._heap)
        entry = self._entries[key]
        entry.in_flight, entry.again, entry.ticket = True, None, 0
        entry.asked_running, entry.asked = entry.asked, None
        self._in_flight += 1
        return key

    def done(self, key: Key, *, look_again: float | None = None) -> Finished:
        """End a pass that succeeded; `look_again` is a time of the clock."""
        entry = self._entries[key]
        entry.failures, entry.floor = 0, float("-inf")
        return self._end(key, entry, look_again)

    def failed(
        self, key: Key, *, after: float | None = None, back_off: BackOff | None = None
    ) -> Finished:
        """End a pass that failed.

        `after` seconds were asked for by the server: not even an event shortens that.
        `back_off` says how long to wait where no event comes; None: as usual.
        """
        now = self._clock()
        entry = self._entries[key]
        entry.failures += 1
        wait = (back_off or self._back_off).seconds(entry.failures, self._chance())
        if after is not None:
            wait = max(wait, after)
        # An event shortens the wait, but never to nothing: a pass that writes, fails and sees
        # its own write come back must not turn into a hot loop.
        entry.floor = now + max(after or 0.0, min(wait, SHORTEST_WAIT_SECONDS))
        entry.asked = entry.asked_running if entry.asked_running is not None else entry.asked
        return self._end(key, entry, now + wait)

    # --- state --------------------------------------------------------------------------------

    def wait_seconds(self) -> float | None:
        """Return how long until `take` may return something; None if nothing is scheduled."""
        self._drop_left_overs()
        if not self._heap:
            return None
        now = self._clock()
        wait = max(0.0, self._heap[0][0] - now)
        if self._bucket is not None:
            wait = max(wait, self._bucket.wait_seconds(now))
        return wait

    def now(self) -> float:
        """Return the time of the queue's clock."""
        return self._clock()

    @property
    def depth(self) -> int:
        """Keys that are due and wait for a worker."""
        now = self._clock()
        return sum(not e.in_flight and e.due <= now for e in self._entries.values())

    @property
    def in_flight(self) -> int:
        """Keys that are being worked on."""
        return self._in_flight

    @property
    def oldest_seconds(self) -> float:
        """How long the most overdue key has been waiting; 0 if none is due."""
        self._drop_left_overs()
        return max(0.0, self._clock() - self._heap[0][0]) if self._heap else 0.0

    def failures(self, key: Key) -> int:
        """Return how often the key failed in a row."""
        entry = self._entries.get(key)
        return entry.failures if entry is not None else 0

    # --- inside -------------------------------------------------------------------------------

    def _end(self, key: Key, entry: _Entry, next_at: float | None) -> Finished:
        self._in_flight -= 1
        entry.in_flight = False
        asked, entry.asked_running = entry.asked_running, None
        again, entry.again = entry.again, None
        times = [max(t, entry.floor) for t in (again, next_at) if t is not None]
        if times:
            self._schedule(key, entry, min(times))
        else:
            del self._entries[key]
        return Finished(latency=None if asked is None else self._clock() - asked)

    def _schedule(self, key: Key, entry: _Entry, when: float) -> None:
        entry.due, entry.ticket = when, next(self._tickets)
        heapq.heappush(self._heap, (when, entry.ticket, key))
        if len(self._heap) > 2 * len(self._entries) + 64:
            self._heap = [(e.due, e.ticket, k) for k, e in self._entries.items() if e.ticket]
            heapq.heapify(self._heap)
        self.on_added()

    def _drop_left_overs(self) -> None:
        while self._heap:
            _, ticket, key = self._heap[0]
            entry = self._entries.get(key)
            if entry is not None and entry.ticket == ticket and not entry.in_flight:
                return
            heapq.heappop(self._heap)
