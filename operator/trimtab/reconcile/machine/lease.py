"""Leadership: passes run only while this process holds the Lease.

    waiting ──held──> leading ──no answer for 6 s──> unsure ──held──> leading
                        └───────────another holds it──────┴──> LeaseLostError: the process ends

While the API server does not answer nobody can take the Lease either, so that being unsure only
holds back further passes; the memory of windows and counters is worth keeping. A process that
stood still for a while is unsure as soon as it goes on: what its passes were about to write waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from trimtab.cluster.port import Cluster
from trimtab.errors import Refused, RetryLater, TrimtabError
from trimtab.reconcile.machine import observability
from trimtab.reconcile.machine.engine import Engine

logger = logging.getLogger(__name__)

DURATION_SECONDS = 10.0
RENEW_SECONDS = 3.0
RETRY_SECONDS = 1.0
ANSWER_WITHIN_SECONDS = 2.0
UNSURE_AFTER_SECONDS = 6.0


class LeaseLostError(TrimtabError):
    """Another process holds the Lease now; this one must end."""


class Leadership:
    """Keeps the Lease for one identity and lets the engine work while it is held."""

    def __init__(
        self,
        cluster: Cluster,
        engine: Engine,
        *,
        name: str,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._engine = engine
        self._name = name
        self._identity = identity
        self._clock = clock
        self.tried_at = clock()
        """When the Lease was last asked for; a loop that hangs shows here."""
        self._held_at: float | None = None
        self.has_led = False
        self.speaks = False
        """Whether this process tells what there is: from its first Lease until it gives it back or
        another process has it. An API server that is away for a while changes nothing of that.
        """
        engine.world.is_leading = self.is_sure

    async def run(self) -> None:
        """Take and renew until cancelled; raises LeaseLostError."""
        while True:
            wait = await self.step()
            await asyncio.sleep(wait)

    def is_sure(self) -> bool:
        """Tell whether the Lease was renewed so lately that nobody else can have it."""
        held_at = self._held_at
        return held_at is not None and self._clock() - held_at <= UNSURE_AFTER_SECONDS

    async def step(self) -> float:
        """Ask once; return the seconds until the next time. Raises LeaseLostError."""
        self.tried_at = asked_at = self._clock()
        held = await self._ask()
        if held:
            if not self._engine.is_allowed:
                logger.info("leading as %s", self._identity)
            self._held_at, self.has_led, self.speaks = asked_at, True, True
            self._engine.allow()
            observability.LEADING.set(1)
            return RENEW_SECONDS
        if held is False and self.has_led:
            self._stop()
            self.speaks = False
            raise LeaseLostError(f"another process holds the Lease {self._name}")
        if self._held_at is not None and not self.is_sure():
            if self._engine.is_allowed:
                logger.warning("the Lease could not be renewed; no further passes until it is")
            self._stop()
        return RETRY_SECONDS if self.has_led else RENEW_SECONDS

    async def release(self) -> None:
        """Give the Lease back, so that a successor starts at once; failure only costs time."""
        self._stop()
        self.speaks = False
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                await self._cluster.release_lease(name=self._name, identity=self._identity)
        except (RetryLater, Refused, TimeoutError) as error:
            logger.warning("the Lease was not given back: %s", error)

    async def _ask(self) -> bool | None:
        """Return True if held, False if another holds it, None if nobody knows."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                return await self._cluster.hold_lease(
                    name=self._name, identity=self._identity, seconds=DURATION_SECONDS
                )
        except TimeoutError:
            logger.warning("the Lease %s: no answer", self._name)
        except (RetryLater, Refused) as error:
            logger.warning("the Lease %s: %s", self._name, error)
        return None

    def _stop(self) -> None:
        self._engine.hold()
        observability.LEADING.set(0)
