"""The hour ledger: labels and predicted rows by the hour of the prediction, for each version.

Labels come days after their rows, to any pod. Each pod counts them by hour; here their increments
are booked under that hour, so that what a pod counted stays when the pod is gone, and it does not
matter when a label was scraped. Memory is bounded by hours, versions and series.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trimtab.contract import metrics
from trimtab.contract.metrics import Series, SeriesKey
from trimtab.telemetry.checkpoint import SavedHours

TOTAL_OF_HOURLY: Mapping[str, str] = {
    metrics.OUTCOMES_BY_HOUR: metrics.OUTCOMES,
    metrics.OUTCOME_ERRORS_BY_HOUR_COUNT: metrics.OUTCOME_ERRORS_COUNT,
    metrics.OUTCOME_ERRORS_BY_HOUR_SUM: metrics.OUTCOME_ERRORS_SUM,
    metrics.OUTCOME_ERRORS_BY_HOUR_SQUARES: metrics.OUTCOME_ERRORS_SQUARES,
    metrics.OUTCOME_ERRORS_BY_HOUR_ABSOLUTE: metrics.OUTCOME_ERRORS_ABSOLUTE,
    metrics.PREDICTED_BY_HOUR: metrics.PREDICTED,
}
"""Metrics by hour, and those that mean the same without the hour."""
MAX_VERSIONS = 8
MAX_SERIES_AN_HOUR = 2_000
_ROW_LABELS = frozenset({"predicted", "actual", "correct"})

Place = tuple[str, int]
"""Digest of a version, Unix hour."""


@dataclass
class _Ledger:
    hours_kept: int
    booked: dict[Place, dict[SeriesKey, float]] = field(default_factory=dict)


class HourStore:
    """Ledgers by Deployment key. Increments come in as the counter store returns them."""

    def __init__(self) -> None:
        self._by_key: dict[str, _Ledger] = {}
        self._places: dict[SeriesKey, tuple[Place, SeriesKey] | None] = {}

    def watch(self, key: str, hours: int | None) -> bool:
        """Keep so many past hours for `key`; None drops what there is. True if it is new."""
        if hours is None:
            self._by_key.pop(key, None)
            return False
        known = self._by_key.get(key)
        if known is None:
            self._by_key[key] = _Ledger(hours)
            return True
        known.hours_kept = hours
        return False

    def add(self, key: str, grown: Mapping[SeriesKey, float], now: float) -> None:
        """Book increments that were seen at `now` (Unix seconds)."""
        ledger = self._by_key.get(key)
        if ledger is None:
            return
        oldest = int(now // 3600) - ledger.hours_kept
        has_new = False
        for series, value in grown.items():
            if series[0] not in TOTAL_OF_HOURLY:
                continue
            found = self._place_of(series)
            if found is None or found[0][1] < oldest:
                continue
            place, short = found
            counts = ledger.booked.get(place)
            if counts is None:
                counts = ledger.booked[place] = {}
                has_new = True
            if short in counts or len(counts) < MAX_SERIES_AN_HOUR:
                counts[short] = counts.get(short, 0.0) + value
        if has_new:
            _drop_oldest(ledger, oldest)

    def hours(self, key: str, digest: str) -> dict[int, Series]:
        """What is booked for one version, by hour; named as the metrics without an hour."""
        ledger = self._by_key.get(key)
        if ledger is None:
            return {}
        return {
            hour: dict(counts) for (own, hour), counts in ledger.booked.items() if own == digest
        }

    def save(self, key: str) -> SavedHours | None:
        """The ledger of `key` as it is now; None where nobody watches."""
        ledger = self._by_key.get(key)
        if ledger is None:
            return None
        booked = {place: dict(counts) for place, counts in ledger.booked.items()}
        return SavedHours(ledger.hours_kept, booked)

    def restore(self, key: str, saved: SavedHours | None) -> None:
        """Take up a saved ledger in place of the one that `key` has."""
        if saved is not None:
            booked = {place: dict(counts) for place, counts in saved.booked.items()}
            self._by_key[key] = _Ledger(saved.hours_kept, booked)

    def _place_of(self, series: SeriesKey) -> tuple[Place, SeriesKey] | None:
        """Digest, hour and the series without them; None for an hour that is no number."""
        if series not in self._places:
            if len(self._places) >= 100_000:
                self._places = {}
            name, labels = series
            named = dict(labels)
            hour = named.get("hour", "")
            if not (hour.isascii() and hour.isdigit() and len(hour) <= 9):
                self._places[series] = None
            else:
                rows = frozenset(pair for pair in labels if pair[0] in _ROW_LABELS)
                place = named.get("digest", ""), int(hour)
                self._places[series] = place, (TOTAL_OF_HOURLY[name], rows)
        return self._places[series]


def by_hour(series: Series) -> dict[SeriesKey, float]:
    """Return those of the series that count by hour."""
    return {key: value for key, value in series.items() if key[0] in TOTAL_OF_HOURLY and value}


def _drop_oldest(ledger: _Ledger, oldest: int) -> None:
    """Forget hours that are too old, and all but the versions that were booked for last."""
    latest: dict[str, int] = {}
    for digest, hour in ledger.booked:
        latest[digest] = max(hour, latest.get(digest, 0))
    kept = set(sorted(latest, key=lambda digest: latest[digest])[-MAX_VERSIONS:])
    for place in [p for p in ledger.booked if p[1] < oldest or p[0] not in kept]:
        del ledger.booked[place]
