"""How slow this machine is now: the one place where limits of tests stretch.

A limit says how long something takes at most on a machine that is free. Beside other work all of it
takes longer, and that is no fault of what is tested: a limit is meant in seconds of a free machine.
What is found in the end, the verdict, does not stretch.

Slowness is the time that a small piece of work takes over the time that it takes on a free machine,
at least 1, and at most `MOST`, so that what hangs ends on any machine.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from statistics import fmean

MOST = 10.0
FREE_SECONDS = 0.03
"""Of the processor, for the piece of work; a machine that needs more is slow without any load."""
AGAIN_SECONDS = 1.0
"""A measurement holds so long."""
_ROUNDS = 60_000

_measured: deque[tuple[float, float]] = deque(maxlen=600)
"""When, by the monotonic clock, and what."""
_measuring = threading.Lock()


def slowness() -> float:
    """Return how many times slower than a free machine this one is."""
    is_due = not _measured or time.monotonic() - _measured[-1][0] > AGAIN_SECONDS
    # Who comes while another measures does not wait: many at once would measure each other.
    if is_due and _measuring.acquire(blocking=not _measured):
        try:
            found = slowness_of(*_work())
            _measured.append((time.monotonic(), found))
        finally:
            _measuring.release()
    return _measured[-1][1]


def slowness_of(seconds: float, processor_seconds: float) -> float:
    """Return the slowness of a machine that needed so long for the piece of work."""
    free = min(processor_seconds, FREE_SECONDS)
    return min(MOST, max(1.0, seconds / free)) if free > 0 else 1.0


def slowest(seconds: float) -> float:
    """Return the worst that was measured within the last seconds, now included."""
    return max(_measured_since(time.monotonic() - seconds))


def _measured_since(moment: float) -> list[float]:
    now = slowness()
    return [now, *(found for at, found in list(_measured) if at >= moment)]


def stretched(seconds: float) -> float:
    """Return a limit for something that begins now."""
    return seconds * slowness()


class Limit:
    """Seconds of a free machine that run from now on; slowness is measured on the way."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._asked_at = time.monotonic()

    def is_over(self) -> bool:
        """Return whether they have run out."""
        now = time.monotonic()
        self._left -= (now - self._asked_at) / fmean(_measured_since(self._asked_at))
        self._asked_at = now
        return self._left < 0


def _work() -> tuple[float, float]:
    """Return the seconds that passed over the piece of work, and those of the processor.

    It leaves the interpreter to other threads, and is not slowed down by them.
    """
    began, used = time.perf_counter(), time.thread_time()
    hashlib.pbkdf2_hmac("sha256", b"", b"", _ROUNDS)
    return time.perf_counter() - began, time.thread_time() - used
