"""How long it takes until a request that comes now is begun, before anybody reads its body.

What is measured is the time from one call's answers to those of the next: the prediction itself,
and all that the event loop had to do meanwhile (reading bodies, writing answers, refusing). So the
estimate holds whichever of both is the bottleneck.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

FIRST_CALLS: Final = 8
"""Calls after which what was learnt weighs more than what comes."""
LEARNING_RATE: Final = 0.2
LARGEST_LAG: Final = 0.5
"""Of the time of the queue, that waiting in sockets takes away."""
CALM: Final = 0.125
"""Of the time of the queue: where all of the next ones would wait less, these are not judged."""
CALM_REQUESTS: Final = 8
CALM_SIZE: Final = 4
"""As many times the judged body are theirs at most."""
TYPICAL_ROWS: Final = 64.0
"""Of a call: smaller ones tell of what a call costs, larger ones of what a row costs."""


class Pace:
    """Seconds of a call as `a + b * rows`, learnt by normalised least mean squares.

    Source: Widrow and Stearns, "Adaptive Signal Processing" (1985), chapter 6. It forgets by
    itself, and where all calls have one size it is right about calls of that size.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._call = 0.0
        self._rows = 0.0
        """Seconds of `TYPICAL_ROWS` rows."""

    def note(self, rows: int, seconds: float) -> None:
        """Take note of a call of `rows` rows that took `seconds`."""
        size = rows / TYPICAL_ROWS
        rate = 1.0 if self._calls < FIRST_CALLS else LEARNING_RATE
        self._calls += 1
        step = rate * (seconds - self._call - size * self._rows) / (1.0 + size * size)
        self._call = max(0.0, self._call + step)
        self._rows = max(0.0, self._rows + size * step)

    def seconds(self, calls: int, rows: int) -> float:
        """Return how long `calls` calls with `rows` rows together take; 0 before the first one."""
        return calls * self._call + rows / TYPICAL_ROWS * self._rows


class Lag:
    """How long a request may have lain in its socket when the event loop comes to read it.

    One turn of the loop reads all sockets that had something when it began. So the last one of
    them has waited for all others, and, if the loop did not rest before, for the turn before.
    """

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], object] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._call_soon = call_soon or asyncio.get_running_loop().call_soon
        self._clock = clock
        self._began: float | None = None
        self._ended = 0.0
        self._lasted = 0.0
        self._before = 0.0

    def seconds(self) -> float:
        """Return an upper bound of what the request read now has waited, without idle turns."""
        now = self._clock()
        if self._began is None:
            self._began = now
            self._call_soon(self._over)
            between = now - self._ended
            self._before = self._lasted + between if between <= self._lasted else 0.0
        return now - self._began + self._before

    def _over(self) -> None:
        """All that was read in this turn has been handled."""
        if self._began is not None:
            self._ended = self._clock()
            self._lasted = self._ended - self._began
            self._began = None


class Admission:
    """Whether a request can still be begun in time, by nothing but the length of its body."""

    def __init__(
        self, wait: Callable[[int], float], lag: Lag, *, queue_seconds: float, pace: Pace
    ) -> None:
        self._wait = wait
        self._pace = pace
        self._lag = lag
        self._limit = queue_seconds
        self._bytes_per_row = {False: 0.0, True: 0.0}
        self._calm = 0
        """Requests that are not judged, since the last one that was would hardly have waited."""
        self._calm_size = 0
        self.is_pressed = False
        """Whether the last request that was judged came near the limit."""

    def learn(self, size: int, rows: int, *, is_binary: bool) -> None:
        """Take note that a body of `size` bytes had `rows` rows."""
        known = self._bytes_per_row[is_binary]
        now = size / rows
        self._bytes_per_row[is_binary] = known + LEARNING_RATE * (now - known) if known else now

    def is_late(self, size: int, *, is_binary: bool) -> bool:
        """Whether a request with a body of `size` bytes would be begun too late."""
        if self._calm and size <= self._calm_size:
            self._calm -= 1
            return False
        per_row = self._bytes_per_row[is_binary]
        rows = int(size / per_row) if per_row else 1
        wait = self._wait(rows)
        if wait > 0.0:
            # Where refusing alone takes all time everybody is late. Some are answered all the same.
            wait += min(self._lag.seconds(), LARGEST_LAG * self._limit)
        self.is_pressed = wait > CALM * self._limit
        next_ones = self._pace.seconds(CALM_REQUESTS, CALM_REQUESTS * CALM_SIZE * rows)
        if wait + next_ones <= CALM * self._limit:
            self._calm, self._calm_size = CALM_REQUESTS, CALM_SIZE * size
        return wait > self._limit
