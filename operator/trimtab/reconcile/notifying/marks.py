"""How far each destination has been told, in a few words that outlive the process.

Messages leave a destination's queue in order, so that one moment says it all: what was decided
before has been told. It is kept with the Lease, which is written every few seconds anyway, and the
next process takes from status what was decided since.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.api.fields import parse_time
from trimtab.decide.led_time import ANOTHER_CLOCK, Instant
from trimtab.notify.message import Lost

logger = logging.getLogger(__name__)

MOST_CHARACTERS = 16 * 1024


@dataclass(frozen=True)
class Mark:
    """What was decided before this moment was told; what is lost since was not said yet."""

    until: Instant
    lost: Lost | None = None

    def is_before(self, decided: Instant) -> bool:
        """Tell whether a decision may not have been told: it is of this moment, or later.

        By the Lease's clock, which does not jump, if both are of the same one.
        """
        until = self.until
        if until.led is not None and decided.led is not None:
            apart = decided.led - until.led
            if abs(apart) < ANOTHER_CLOCK.total_seconds():
                return apart >= 0
        return decided.at >= until.at


def earliest(moments: Iterable[Instant], otherwise: Instant) -> Instant:
    """Return a moment that is not after any of these, by either clock."""
    at, led = otherwise.at, otherwise.led
    for moment in moments:
        at = min(at, moment.at)
        if led is not None and moment.led is not None:
            led = min(led, moment.led)
    return Instant(at, led)


def latest(one: Instant, other: Instant) -> Instant:
    """Return the moment that is not before either of two, by either clock."""
    led = one.led
    if led is not None and other.led is not None:
        led = max(led, other.led)
    return Instant(max(one.at, other.at), led)


def ago(now: Instant, seconds: float) -> Instant:
    """Return the moment so many seconds before."""
    led = None if now.led is None else now.led - seconds
    return Instant(now.at - timedelta(seconds=seconds), led)


def to_text(marks: Mapping[str, Mark]) -> str:
    """Return the marks by destination as JSON."""
    return json.dumps({name: _to_json(mark) for name, mark in marks.items()}, sort_keys=True)


def from_text(text: str | None) -> dict[str, Mark]:
    """Return the marks of the process before; nothing where there are none that can be read."""
    if not text:
        return {}
    try:
        if len(text) > MOST_CHARACTERS:
            raise ValueError("too long")
        return {str(name): _from_json(entry) for name, entry in json.loads(text).items()}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        logger.warning("how far notifications were told cannot be read; they begin anew")
        return {}


def _to_json(mark: Mark) -> dict[str, object]:
    found: dict[str, object] = {"at": mark.until.at.isoformat()}
    if mark.until.led is not None:
        found["led"] = round(mark.until.led, 3)
    if mark.lost is not None:
        first, last = mark.lost.first.isoformat(), mark.lost.last.isoformat()
        found["lost"] = [mark.lost.count, first, last, mark.lost.is_least]
    return found


def _from_json(entry: Mapping[str, object]) -> Mark:
    led, lost = entry.get("led"), entry.get("lost")
    until = Instant(_time(entry["at"]), float(led) if isinstance(led, int | float) else None)
    if not isinstance(lost, list):
        return Mark(until)
    count, first, last, is_least = lost
    return Mark(until, Lost(int(count), _time(first), _time(last), is_least is True))


def _time(text: object) -> datetime:
    found = parse_time(text)
    if found is None:
        raise ValueError("no time")
    return found
