"""Counting: bad among total, increments of counters over resets, sums over processes.

A counter belongs to one process (pod uid + container start). Its increment between two scrapes is
`new - old`, or `new` after a reset; sums over processes are exact in any order, so evidence is
always a difference of sums and never an extrapolated rate.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class BadTotal:
    """`bad` of `total` requests (or rows), 0 <= bad <= total, both finite; fractions are allowed.

    Raises ValueError for anything else: a share outside [0, 1] is a fault of the caller's pair.
    """

    bad: float
    total: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.bad) and math.isfinite(self.total)):
            raise ValueError(f"counts must be finite: {self.bad} of {self.total}")
        if not 0 <= self.bad <= self.total:
            raise ValueError(f"bad must lie between 0 and total: {self.bad} of {self.total}")

    @property
    def good(self) -> float:
        return self.total - self.bad

    @property
    def share(self) -> float:
        """bad / total; 0 when nothing was counted."""
        return self.bad / self.total if self.total else 0.0

    def __add__(self, other: "BadTotal") -> "BadTotal":
        return BadTotal(self.bad + other.bad, self.total + other.total)

    def __sub__(self, earlier: "BadTotal") -> "BadTotal":
        """What was counted since `earlier` (a reading of the same counters without a reset)."""
        return BadTotal(self.bad - earlier.bad, self.total - earlier.total)

    def divided(self, dispersion: float) -> "BadTotal":
        """The same share with the weight of `total / dispersion` independent requests."""
        if not dispersion >= 1:
            raise ValueError(f"dispersion is at least 1, not {dispersion}")
        return BadTotal(self.bad / dispersion, self.total / dispersion)


NOTHING = BadTotal(0.0, 0.0)


def sum_of(parts: Iterable[BadTotal]) -> BadTotal:
    """The sum over processes or over scrapes."""
    bad, total = 0.0, 0.0
    for part in parts:
        bad += part.bad
        total += part.total
    return BadTotal(bad, total)


# Start times of one process may differ by rounding of the boot time between two scrapes.
SAME_START_SECONDS = 0.5


@dataclass(frozen=True)
class Reading(Generic[Key]):
    """Counters of one process at one time.

    values: counter -> value (finite, >= 0). process_start: Unix seconds at which the process says
    that it began, None if it does not say.
    """

    values: Mapping[Key, float]
    process_start: float | None = None


@dataclass(frozen=True)
class Increments(Generic[Key]):
    """What was counted between two readings of one process.

    by_counter: counter -> increment, only where it is not zero. reset: the process began anew in
    between, so that everything in the newer reading is new. fell: counters that went down although
    the process says that it did not restart: such a reading cannot be believed.
    """

    by_counter: dict[Key, float]
    reset: bool = False
    fell: tuple[Key, ...] = ()


def increments(
    old: Reading[Key] | None,
    new: Reading[Key],
    may_fall: Callable[[Key], bool] = lambda key: False,
) -> Increments[Key]:
    """Increments from `old` to `new`, two readings of one process; `old` None: all of `new`.

    A later start time is a reset of all counters, even of those that have already overtaken their
    old value. Without start times a counter that fell was reset alone and counts as `new`.
    Counters missing from `new` have not grown. may_fall: sums that may fall by themselves; their
    difference is taken as it is, negative too.
    """
    if old is None or restarted(old, new):
        everything = {key: value for key, value in new.values.items() if value != 0}
        return Increments(everything, reset=old is not None)
    knows_start = old.process_start is not None and new.process_start is not None
    before = old.values
    grown: dict[Key, float] = {}
    fell: list[Key] = []
    for key, value in new.values.items():
        difference = value - before.get(key, 0.0)
        if difference == 0:
            continue
        if difference > 0 or may_fall(key):
            grown[key] = difference
        elif knows_start:
            fell.append(key)
        elif value != 0:
            grown[key] = value
    return Increments(grown, False, tuple(fell))


def restarted(old: Reading[Key], new: Reading[Key]) -> bool:
    """Whether the process says that it began anew between the two readings."""
    if old.process_start is None or new.process_start is None:
        return False
    return abs(new.process_start - old.process_start) > SAME_START_SECONDS


def merged(left: Mapping[Key, float], right: Mapping[Key, float]) -> dict[Key, float]:
    """Sum by counter; associative and commutative, so replicas and windows merge in any order."""
    result = dict(left)
    for key, value in right.items():
        result[key] = result.get(key, 0.0) + value
    return result
