"""Counters of what was decided while this process leads, as lines of its metrics page.

    count, observe ──> series of an owner ──> 0 for a while ──> its value

A series that begins with its first increase has none for Prometheus: `increase` and `rate` look at
what lies between two samples. What is counted here is rare, so that most of it would be lost: each
series is shown at 0 first, for longer than Prometheus usually takes between two scrapes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.state_metrics.families import Family
from trimtab.state_metrics.lines import Text, labelled, text_of

AT_ZERO_FOR = timedelta(seconds=75)
"""Prometheus' default interval is a minute."""


@dataclass
class _Tally:
    value: float
    born: datetime
    is_grown: bool = False
    """For good, or a clock that is put back would let it fall."""

    def is_young(self, now: datetime) -> bool:
        """Tell whether it is still shown at 0; not longer than usual if the clock was put back."""
        self.is_grown = self.is_grown or not timedelta() <= now - self.born < AT_ZERO_FOR
        return not self.is_grown


class Tallies:
    """Counters by owner: what goes with the object, or with the last one of a namespace."""

    def __init__(self) -> None:
        self._owned: dict[Hashable, dict[Family, dict[str, _Tally]]] = {}

    def count(self, owner: Hashable, family: Family, now: datetime, *labels: str) -> None:
        """Count one in the series with all labels of the family."""
        self._add(owner, family, labelled(family, labels), 1.0, now)

    def observe(
        self,
        owner: Hashable,
        family: Family,
        now: datetime,
        value: float,
        buckets: Sequence[float],
        *labels: str,
    ) -> None:
        """Put a value into the histogram with these labels."""
        for bound in (*buckets, float("inf")):
            written = "+Inf" if bound == float("inf") else repr(bound)
            series = labelled(family, labels, "_bucket", le=written)
            self._add(owner, family, series, float(value <= bound), now)
        self._add(owner, family, labelled(family, labels, "_sum"), value, now)
        self._add(owner, family, labelled(family, labels, "_count"), 1.0, now)

    def _add(
        self, owner: Hashable, family: Family, series: str, value: float, now: datetime
    ) -> None:
        own = self._owned.setdefault(owner, {}).setdefault(family, {})
        own.setdefault(series, _Tally(0.0, now)).value += value

    def text(self, owner: Hashable, now: datetime) -> tuple[Text, datetime | None]:
        """Return the lines of an owner, and when they change by time alone; None: never."""
        owned = self._owned.get(owner, {})
        young = [tally.born for tally in _all(owned) if tally.is_young(now)]
        shown: Mapping[Family, Mapping[str, float]] = {
            family: {one: 0.0 if t.is_young(now) else t.value for one, t in series.items()}
            for family, series in owned.items()
        }
        return text_of(shown), min(young) + AT_ZERO_FOR if young else None

    def forget(self, owner: Hashable) -> None:
        """Drop the counters of an owner."""
        self._owned.pop(owner, None)


def _all(owned: Mapping[Family, Mapping[str, _Tally]]) -> list[_Tally]:
    return [tally for series in owned.values() for tally in series.values()]
