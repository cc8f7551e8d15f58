"""What processes have counted, read once: one round is looked at in several passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trimtab.contract.metrics import Series
from trimtab.decide.rollout.measures import measures_of


class Measured:
    """Measures by the series that they were read from; safe to lose.

    Telemetry never changes series in place, so that the very same ones have the same measures.
    """

    def __init__(self) -> None:
        self._digests: tuple[str, ...] = ()
        self._before: dict[int, tuple[Series, Mapping[str, float]]] = {}
        self._now: dict[int, tuple[Series, Mapping[str, float]]] = {}

    def begin(self, digests: Iterable[str]) -> None:
        """Begin a look, which counts outcomes of these; what the last one did not ask for goes."""
        wanted = tuple(digests)
        self._before = self._now if wanted == self._digests else {}
        self._digests, self._now = wanted, {}

    def of(self, series: Series) -> Mapping[str, float]:
        """Return the measures of one process; see `measures_of`."""
        known = self._before.get(id(series))
        if known is None or known[0] is not series:
            known = series, measures_of(series, self._digests)
        self._now[id(series)] = known
        return known[1]
