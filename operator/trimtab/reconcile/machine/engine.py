"""Runs passes: takes keys from the queue, some at once, and calls the reconciler of the kind.

What a pass may end with:
- a time to look again, or None: done;
- RetryLater: the key waits and is tried again;
- SpecError or Refused: the reconciler should have written a condition; tried again soon,
  and more and more rarely;
- anything else is a bug: logged with its trace, counted, and the key waits like any other. One
  object that trips over a bug must not stop the operator from caring for all others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from trimtab.api.resource import Resource
from trimtab.cluster.port import Key
from trimtab.errors import Refused, RetryLater, SpecError
from trimtab.reconcile.machine import observability
from trimtab.reconcile.machine.cache import Change
from trimtab.reconcile.machine.interest import interested, interested_in_own_write
from trimtab.reconcile.machine.queue import BackOff, WorkQueue
from trimtab.reconcile.machine.world import World

logger = logging.getLogger(__name__)

Reconciler = Callable[[World, Key], Awaitable[datetime | None]]
"""One pass over one object; returns when to look again, None if only an event matters."""

REFUSED_BACK_OFF = BackOff(first=2.0, most=300.0)
"""One refusal may be a policy that was changed, or not up for a moment; many are for good."""
LONGEST_LOOK_AWAY = timedelta(minutes=10)
"""Times to look again are wall-clock times: a clock that jumps costs at most this."""


class Engine:
    """Passes over one queue. `run` ends only by cancellation."""

    def __init__(
        self,
        world: World,
        queue: WorkQueue,
        reconcilers: Mapping[Resource, Reconciler],
        *,
        most_at_once: int = 16,
    ) -> None:
        self.world = world
        self.queue = queue
        self.drained = asyncio.Event()
        """Set once when the queue first has nothing due and nothing in flight."""
        self._reconcilers = reconcilers
        self._most = most_at_once
        self._allowed = asyncio.Event()
        self._something = asyncio.Event()
        self._ended = asyncio.Event()
        queue.on_added = self._something.set
        world.cache.on_own_write = self._after_own_write

    # --- events -----------------------------------------------------------------------------

    def on_change(self, change: Change | None) -> None:
        """Wake everybody who is interested in a change of the cache."""
        if change is not None:
            for key in interested(self.world.cache, change):
                self.queue.add(key)

    def _after_own_write(self, change: Change) -> None:
        for key in interested_in_own_write(self.world.cache, change):
            self.queue.add(key)

    # --- work -------------------------------------------------------------------------------

    def allow(self) -> None:
        """Let passes begin: this process leads."""
        self._allowed.set()

    async def allowed(self) -> None:
        """Wait until passes may begin."""
        await self._allowed.wait()

    def hold(self) -> None:
        """Begin no further pass until allowed again; passes under way end."""
        self._allowed.clear()

    async def idle(self) -> None:
        """Wait until no pass is under way."""
        while self.queue.in_flight:
            self._ended.clear()
            await self._ended.wait()

    @property
    def is_allowed(self) -> bool:
        """Tell whether passes may begin."""
        return self._allowed.is_set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._allowed.wait()
                key = self.queue.take() if self.queue.in_flight < self._most else None
                if key is None:
                    await self._wait()
                else:
                    group.create_task(self._pass(key))

    async def _wait(self) -> None:
        """Sleep until something is added, due or finished."""
        if self.queue.in_flight == 0 and self.queue.depth == 0:
            self.drained.set()
        self._something.clear()
        is_full = self.queue.in_flight >= self._most
        try:
            async with asyncio.timeout(None if is_full else self.queue.wait_seconds()):
                await self._something.wait()
        except TimeoutError:
            return

    async def _pass(self, key: Key) -> None:
        kind = key.resource.kind
        started = time.monotonic()
        outcome = "bug"
        try:
            again = await self._reconcilers[key.resource](self.world, key)
        except asyncio.CancelledError:
            self.queue.failed(key)
            raise
        except RetryLater as error:
            outcome = "retry"
            logger.info("%s: %s; again later", key, error)
            finished = self.queue.failed(key, after=error.after_seconds)
        except (SpecError, Refused) as error:
            outcome = "refused"
            logger.warning("%s: %s", key, error)
            finished = self.queue.failed(key, back_off=REFUSED_BACK_OFF)
        except Exception:  # the boundary that the module's docstring explains
            logger.exception("%s: a bug in the operator", key)
            finished = self.queue.failed(key)
        else:
            outcome = "done"
            finished = self.queue.done(key, look_again=self._clock_time(again))
        finally:
            self._something.set()
            self._ended.set()
        observability.PASSES.labels(kind, outcome).inc()
        observability.PASS_SECONDS.labels(kind).observe(time.monotonic() - started)
        if outcome == "done" and finished.latency is not None:
            observability.LATENCY_SECONDS.labels(kind).observe(finished.latency)

    def _clock_time(self, again: datetime | None) -> float | None:
        if again is None:
            return None
        wait = min(again - self.world.now(), LONGEST_LOOK_AWAY)
        return self.queue.now() + max(0.0, wait.total_seconds())
