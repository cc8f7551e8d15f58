"""Whether this process should be restarted (live) and whether it does its work (ready).

A restart helps against a hung loop or task, not against an API server that is away: what counts is
that things are tried. Ready means every watched kind was listed once and the queue was empty once;
a standby is ready when it has listed, or a rolling update would wait for itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from trimtab.reconcile.machine import observability
from trimtab.reconcile.machine.engine import Engine
from trimtab.reconcile.machine.lease import Leadership
from trimtab.reconcile.machine.resync import Resync

MOST_LOOP_LAG_SECONDS = 10.0
LEASE_TRIED_WITHIN_SECONDS = 60.0
LISTED_WITHIN_SECONDS = 25 * 60.0
MOST_OVERDUE_SECONDS = 10 * 60.0
LAG_EVERY_SECONDS = 1.0


class Health:
    """Reads the other parts; asked by the probes."""

    def __init__(
        self,
        engine: Engine,
        resync: Resync,
        leadership: Leadership,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._resync = resync
        self._leadership = leadership
        self._clock = clock
        self._lag_seconds = 0.0

    async def measure_lag(self) -> None:
        """Measure how late the event loop wakes up, until cancelled."""
        while True:
            due = self._clock() + LAG_EVERY_SECONDS
            await asyncio.sleep(LAG_EVERY_SECONDS)
            self._lag_seconds = max(0.0, self._clock() - due)
            observability.LOOP_LAG_SECONDS.set(self._lag_seconds)

    def why_not_live(self) -> list[str]:
        """Return what a restart would mend; empty if nothing."""
        now = self._clock()
        listed_at = self._resync.listed_at
        overdue = self._engine.queue.oldest_seconds if self._engine.is_allowed else 0.0
        checks = {
            f"the event loop is {self._lag_seconds:.0f} s late": (
                self._lag_seconds > MOST_LOOP_LAG_SECONDS
            ),
            "the Lease is not asked for": (
                now - self._leadership.tried_at > LEASE_TRIED_WITHIN_SECONDS
            ),
            "nothing was listed for 25 minutes": (
                listed_at is not None and now - listed_at > LISTED_WITHIN_SECONDS
            ),
            f"an object is {overdue:.0f} s overdue": overdue > MOST_OVERDUE_SECONDS,
        }
        return [text for text, is_so in checks.items() if is_so]

    def why_not_ready(self) -> list[str]:
        """Return what is still to come before this process does its work."""
        if self._resync.listed_at is None:
            return ["not everything was listed yet"]
        if self._leadership.has_led and not self._engine.drained.is_set():
            return ["the queue was never empty yet"]
        return []
