"""Deadlines count only the time in which an operator led, and reached the API server.

How long operators have led is a clock of its own: it stands still while nobody can act, and no wall
clock that jumps moves it. A deadline keeps its reading from the beginning. Where that is missing,
or was taken from the clock of another Lease, the wall clock counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

ANOTHER_CLOCK = timedelta(days=366)
"""So far beyond the wall clock it is of another Lease: their clocks begin years from each other."""
LOST_WITH_A_PROCESS = timedelta(seconds=15)
"""A process that is killed takes what it led since its last renewal of the Lease with it."""


@dataclass(frozen=True)
class Instant:
    """A moment by both clocks. led: seconds on the Lease's own; None where nobody knows."""

    at: datetime
    led: float | None = None


def led_between(then: Instant, now: Instant) -> timedelta:
    """Return how long operators led from `then` to `now`; by the wall clock if nobody knows."""
    wall = now.at - then.at
    if then.led is None or now.led is None:
        return wall
    led = timedelta(seconds=now.led - then.led)
    if led < -LOST_WITH_A_PROCESS or led > wall + ANOTHER_CLOCK:
        return wall
    return max(led, timedelta(0))


def is_to_come(until: datetime, now: datetime, at_most: timedelta) -> bool:
    """Return whether a moment of the wall clock, set `at_most` ahead, is still to come.

    One that lies further ahead was set before the clock was set back: it is over.
    """
    return timedelta(0) < until - now <= at_most
