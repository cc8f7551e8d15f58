"""How much time comparing may take: an account that predicting pays into.

    predicting s seconds   ──> + share * s, up to a few comparisons' worth
    comparing n rows       ──> - what it took; allowed only if what it is expected to take is there

Whether a call is compared follows from its number of rows and from times, never from what is in
the rows or in the answers. All of it belongs to the prediction thread.
"""

from __future__ import annotations

from typing import Final

CARRIED_COMPARISONS: Final = 2.0
"""What may be saved up, in comparisons as large as lately asked for: no burst after quiet hours."""
PACE: Final = 0.5
"""Of what a comparison took, that must be paid in again before the next one."""
_NEW: Final = 0.2
_WORST_JUMP: Final = 4.0
_FORGETTING: Final = 0.999


class Costs:
    """What a model took for calls of about as many rows, in seconds.

    Kept by powers of two. A size that was not seen is taken to cost as many times more than the
    nearest smaller one as it is larger, or as much as the nearest larger one.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def add(self, rows: int, seconds: float) -> None:
        """Take note of a call; one that took very long for once is believed in part."""
        size = rows.bit_length()
        known = self._seconds.get(size)
        if known is None:
            self._seconds[size] = seconds
        else:
            self._seconds[size] += _NEW * (min(seconds, _WORST_JUMP * known) - known)

    def expected(self, rows: int) -> float:
        """Return the seconds that a call of `rows` rows will take; 0 when none is known."""
        size = rows.bit_length()
        if size in self._seconds:
            return self._seconds[size]
        smaller = [one for one in self._seconds if one < size]
        if smaller:
            nearest = max(smaller)
            return float(self._seconds[nearest] * 2 ** (size - nearest))
        return self._seconds[min(self._seconds)] if self._seconds else 0.0

    def forget(self, rows: int) -> None:
        """Believe a little less in the cost of calls of this size: it is not being measured."""
        size = rows.bit_length()
        self._seconds[size] = _FORGETTING * self.expected(rows)


class Budget:
    """The account; `share` of the seconds spent predicting may be spent comparing."""

    def __init__(self, share: float, costs: Costs) -> None:
        self._share = share
        self._costs = costs
        self._saved = 0.0
        self._owed = 0.0
        self._largest = 0.0
        self._last = (0, 0.0)
        """Rows of the last call, and what it paid in."""

    def earn(self, rows: int, seconds: float) -> None:
        """Pay in for a call of `rows` rows that took `seconds`."""
        self._largest = max(self._costs.expected(rows), _FORGETTING * self._largest)
        earned = self._share * seconds
        self._last = (rows, earned)
        self._owed = max(0.0, self._owed - earned)
        self._saved = min(CARRIED_COMPARISONS * self._largest, self._saved + earned)

    def begins(self) -> bool:
        """Whether something may be compared from now on, before anybody knows what will come.

        So that it does not depend on it: a call like the last one would be paid for.
        """
        rows, earned = self._last
        paid = self._costs.expected(rows) <= self._saved + earned
        return rows > 0 and paid and self._owed <= earned

    def allows(self, rows: int, longest: float) -> bool:
        """Whether comparing `rows` rows is paid for, and takes no longer than `longest` seconds."""
        expected = self._costs.expected(rows)
        if expected > longest:
            self._costs.forget(rows)
            return False
        return expected <= self._saved and not self._owed

    def spend(self, rows: int, seconds: float) -> None:
        """Pay for a comparison; what was not there is owed and earned first."""
        self._costs.add(rows, seconds)
        self._saved -= seconds
        self._owed = PACE * seconds
