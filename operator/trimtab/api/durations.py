"""Durations as people write them: `30s`, `1h30m`. Plain: the command line reads them too."""

import re
from datetime import timedelta
from typing import Final

PATTERN: Final = r"^([0-9]{1,6}(\.[0-9]{1,6})?(ms|s|m|h))+$"
MOST_CHARACTERS: Final = 20
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
SHORTEST: Final = timedelta(milliseconds=1)
LONGEST: Final = timedelta(hours=87_600)
"""Ten years: far above any use, and far below what a signed 64-bit count of nanoseconds holds."""


def parse_duration(value: object) -> timedelta:
    """Return the duration of a Go style string such as `1h30m`; ValueError outside 1ms..87600h."""
    if isinstance(value, timedelta):
        return value
    if (
        not isinstance(value, str)
        or len(value) > MOST_CHARACTERS
        or not re.fullmatch(PATTERN, value, re.ASCII)
    ):
        raise ValueError(f"{value!r} is not a duration such as 30s, 5m or 24h; days are hours")
    seconds = sum(float(n) * _UNIT_SECONDS[unit] for n, unit in _PART.findall(value))
    duration = timedelta(seconds=seconds)
    if duration < SHORTEST:
        raise ValueError("a duration must be longer than zero, such as 30s")
    if duration > LONGEST:
        raise ValueError("a duration is at most 87600h")
    return duration
