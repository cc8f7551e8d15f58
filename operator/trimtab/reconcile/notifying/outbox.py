"""The queue of one destination: in order, bounded, and tried again until it is taken.

add ──> waiting ──post──> taken
          │  └──later, refused──> the same one again, after a while
          └──full: the oldest of the namespace with the most goes, and the next message says so
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter as Counts
from collections import deque
from collections.abc import Awaitable, Callable

from prometheus_client import Counter, Gauge

from trimtab.decide.led_time import Instant
from trimtab.errors import Refused, RetryLater
from trimtab.notify.message import Lost, Message, Telling, and_lost
from trimtab.notify.settings import Destination
from trimtab.reconcile.machine.queue import BackOff
from trimtab.reconcile.notifying.stepping import step_on

logger = logging.getLogger(__name__)

MOST_WAITING = 1000
GIVEN_UP_AFTER_SECONDS = 600.0
"""A message that is refused, in the words of HTTP by 4xx, for so long. One refusal may be of a
receiver that restarts; but a message that alone is refused must not keep the others for ever."""
BACK_OFF = BackOff(first=1.0, most=60.0)

MESSAGES = Counter(
    "trimtab_operator_notifications",
    "Tries to tell a decision, by what became of it: taken, later, refused. Lost: given up, or "
    "dropped from a queue that was full.",
    ["destination", "outcome"],
)
WAITING = Gauge(
    "trimtab_operator_notifications_waiting", "Decisions that wait to be told.", ["destination"]
)


def instant_of(message: Message) -> Instant:
    """Return when it was decided, by both clocks."""
    return Instant(message.decision.at, message.decision.led)


class Outbox:
    """Messages on their way to one destination."""

    def __init__(
        self,
        destination: Destination,
        post: Callable[[Telling], Awaitable[None]],
        *,
        clock: Callable[[], float],
        dashboard_url: str = "",
        chance: Callable[[], float] = random.random,
        most: int = MOST_WAITING,
    ) -> None:
        """post: raises RetryLater or Refused. clock: monotonic seconds. most: that may wait."""
        self.destination = destination
        self._post = post
        self._clock = clock
        self._dashboard_url = dashboard_url
        self._chance = chance
        self._most = most
        self._waiting: deque[Message] = deque()
        self._something = asyncio.Event()
        self._is_sending = False
        self._lost: Lost | None = None
        """What the next message is to say."""
        self._lost_meanwhile: Lost | None = None
        """And what the one that is under way does not say."""
        self._failures = 0
        self._again_at = 0.0
        self._refused_since: float | None = None
        for outcome in ("taken", "later", "refused", "lost"):
            MESSAGES.labels(destination.name, outcome)
        WAITING.labels(destination.name).set(0)

    def add(self, message: Message) -> None:
        """Put a message at the end; where there is no room an old one is lost."""
        if len(self._waiting) >= self._most:
            at = self._in_excess()
            self.lose(self._waiting[at], "there was no more room")
            del self._waiting[at]
            if at == 0:
                self._refused_since = None
        self._waiting.append(message)
        WAITING.labels(self.destination.name).set(len(self._waiting))
        self._something.set()

    def _in_excess(self) -> int:
        """Return where the oldest is of the namespace with the most: nobody crowds out others."""
        # The one that is under way may be taken.
        first = 1 if self._is_sending and self._most > 1 else 0
        names = [message.namespace for message in self._waiting][first:]
        counts = Counts(names)
        return first + names.index(max(counts, key=counts.__getitem__))

    def waiting(self) -> list[Instant]:
        """Return when those were decided that were not taken yet."""
        return [instant_of(message) for message in self._waiting]

    async def run(self) -> None:
        """Send until cancelled."""
        await step_on(self.step, self._something)

    async def step(self) -> float | None:
        """Try one message; return the seconds until the next try, None if there is none."""
        if not self._waiting:
            return None
        if (wait := self._again_at - self._clock()) > 0:
            return wait
        message = self._waiting[0]
        telling = Telling(message, self.destination, self._dashboard_url, self._lost)
        self._is_sending, is_taken = True, False
        try:
            is_taken = await self._try(telling)
        finally:
            self._is_sending = False
            self._lost = self._lost_meanwhile if is_taken else self.lost
            self._lost_meanwhile = None
        if is_taken:
            self._done(message)
        return 0.0 if self._waiting else None

    async def _try(self, telling: Telling) -> bool:
        """Return whether it was taken; otherwise say when to try again."""
        name, message = self.destination.name, telling.message
        try:
            await self._post(telling)
        except RetryLater as error:
            self._put_off("later", str(error), error.after_seconds)
        except Refused as error:
            self._refused(message, str(error))
        except Exception:  # a message that trips over a bug must not keep the others
            logger.exception("%s: %s: a bug in notifications", name, message.id)
            self._refused(message, "a bug of the operator")
        else:
            MESSAGES.labels(name, "taken").inc()
            if self._failures:
                logger.info("%s takes messages again", name)
            self._failures, self._refused_since = 0, None
            return True
        return False

    def _refused(self, message: Message, why: str) -> None:
        self._put_off("refused", why, None)
        if self._refused_since is None:
            self._refused_since = self._clock()
        elif self._clock() - self._refused_since >= GIVEN_UP_AFTER_SECONDS:
            self._refused_since = None
            self.lose(message, f"it was refused for {GIVEN_UP_AFTER_SECONDS:g} s: {why}")
            self._done(message)

    def _put_off(self, outcome: str, why: str, after_seconds: float | None) -> None:
        self._failures += 1
        wait = max(BACK_OFF.seconds(self._failures, self._chance()), after_seconds or 0.0)
        self._again_at = self._clock() + wait
        MESSAGES.labels(self.destination.name, outcome).inc()
        level = logging.WARNING if self._failures == 1 else logging.INFO
        logger.log(level, "%s: %s; again in %.0f s", self.destination.name, why, wait)

    def _done(self, message: Message) -> None:
        if self._waiting and self._waiting[0] is message:
            self._waiting.popleft()
        WAITING.labels(self.destination.name).set(len(self._waiting))

    @property
    def lost(self) -> Lost | None:
        """Return what was lost and not said yet."""
        return and_lost(self._lost, self._lost_meanwhile)

    def take_lost(self, lost: Lost | None) -> None:
        """Take over what the process before has lost and not said."""
        self._lost = and_lost(self._lost, lost)

    def lose(self, message: Message, why: str) -> None:
        """Say of a message that it will not be told: in the log, and in the next message."""
        at, name = message.decision.at, self.destination.name
        lost = Lost(1, at, at, is_least=message.missing_before > 0)
        if self._is_sending:
            self._lost_meanwhile = and_lost(self._lost_meanwhile, lost)
        else:
            self._lost = and_lost(self._lost, lost)
        MESSAGES.labels(name, "lost").inc()
        logger.warning("%s: decision %s (%s) is lost: %s", name, message.id, message.subject, why)
