"""Windows of increments for drift and quality: one look each, never merged over baselines.

A window belongs to (Deployment, baseline digest) and begins at a whole multiple of its length, so
that a daily window is a day. Memory and checkpoint are bounded by windows and series.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from trimtab.contract import metrics
from trimtab.contract.metrics import SeriesKey
from trimtab.telemetry.checkpoint import SavedWindows
from trimtab.telemetry.port import Window

logger = logging.getLogger(__name__)

WINDOWED_METRICS = frozenset(
    {
        metrics.REQUESTS,
        metrics.FEATURE_BIN,
        metrics.FEATURE_MISSING,
        metrics.FEATURE_UNSEEN,
        metrics.FEATURE_OUT_OF_RANGE,
        metrics.SCORE_BIN,
        metrics.SCORE_BIN_SUM,
        metrics.PREDICTED,
        metrics.PROBABILITY_SUM,
        metrics.OUTCOMES,
        metrics.OUTCOME_ERRORS_COUNT,
        metrics.OUTCOME_ERRORS_SUM,
        metrics.OUTCOME_ERRORS_SQUARES,
        metrics.OUTCOME_ERRORS_ABSOLUTE,
    }
)
MAX_WINDOWS = 4
"""Kept for each Deployment and baseline, the open one included."""
MAX_BASELINES = 8
MAX_SERIES = 20_000
"""In one window; further series are left out, which is said once."""
MAX_SERIES_IN_ALL = 4 * MAX_SERIES
"""In all windows of one Deployment, which a container that renames its series would fill."""
_IDENTITY = frozenset(metrics.IDENTITY_LABELS)


@dataclass
class _Open:
    seconds: float
    windows: dict[tuple[str, float], dict[SeriesKey, float]] = field(default_factory=dict)
    is_full: bool = False
    """Whether it was said that series are left out."""


class WindowStore:
    """Windows by Deployment key. Increments come in as the counter store returns them."""

    def __init__(self, max_windows: int = MAX_WINDOWS, max_series: int = MAX_SERIES) -> None:
        self._max_windows = max_windows
        self._max_series = max_series
        self._by_key: dict[str, _Open] = {}
        self._own_keys: dict[SeriesKey, tuple[str, SeriesKey]] = {}

    def watch(self, key: str, seconds: float | None) -> None:
        """Gather for `key` in windows of `seconds`; a changed length or None drops what there is.

        Raises ValueError unless seconds > 0.
        """
        if seconds is None:
            self._by_key.pop(key, None)
            return
        if not seconds > 0:
            raise ValueError(f"a window must be longer than {seconds} s")
        known = self._by_key.get(key)
        if known is None or known.seconds != seconds:
            self._by_key[key] = _Open(seconds)

    def add(
        self,
        key: str,
        grown: Mapping[SeriesKey, float],
        now: float,
        since: float | None = None,
        clock: float | None = None,
    ) -> None:
        """Add increments that were scraped at `now` (Unix seconds).

        clock: what our clock shows, where samples may be old; by default `now`.

        since: for increments over a restart of the operator, the time from which on they were
        counted. Those that reach back into an earlier window are left out: nobody knows which
        part of them belongs to this one.
        """
        own = self._by_key.get(key)
        if own is None:
            return
        start = now - now % own.seconds
        self._drop_ahead(own, max(now, clock or now))
        left = MAX_SERIES_IN_ALL - sum(map(len, own.windows.values()))
        if since is not None and since < start:
            return
        for series, value in grown.items():
            if series[0] not in WINDOWED_METRICS:
                continue
            baseline, short = self._shortened(series)
            window = own.windows.get((baseline, start))
            if window is None:
                window = own.windows[baseline, start] = {}
                self._drop_oldest(own)
            if short in window:
                window[short] += value
            elif len(window) < self._max_series and left > 0:
                window[short] = value
                left -= 1
            elif not own.is_full:
                own.is_full = True
                logger.warning(
                    "%s: a window has %d series; further ones are not counted. Drift of features "
                    "beyond them is not seen: watch fewer features, or publish fewer bins",
                    key,
                    self._max_series,
                )

    def windows(self, key: str) -> tuple[Window, ...]:
        """The kept windows by start, then baseline."""
        own = self._by_key.get(key)
        if own is None:
            return ()
        return tuple(
            Window(baseline, start, own.seconds, dict(counts))
            for (baseline, start), counts in sorted(own.windows.items(), key=_by_start)
        )

    def save(self, key: str) -> SavedWindows | None:
        """The windows of `key` as they are now; None where nobody watches."""
        own = self._by_key.get(key)
        if own is None:
            return None
        windows = {place: dict(counts) for place, counts in own.windows.items()}
        return SavedWindows(own.seconds, windows)

    def restore(self, key: str, saved: SavedWindows) -> None:
        """Take up saved windows in place of those that `key` has; others are not touched."""
        windows = {place: dict(counts) for place, counts in saved.windows.items()}
        own = self._by_key[key] = _Open(saved.seconds, windows)
        self._drop_oldest(own)

    def _shortened(self, series: SeriesKey) -> tuple[str, SeriesKey]:
        """Baseline and the series without identity labels; remembered, since it repeats."""
        known = self._own_keys.get(series)
        if known is None:
            name, labels = series
            baseline = next((value for label, value in labels if label == "baseline"), "")
            rest = frozenset(pair for pair in labels if pair[0] not in _IDENTITY)
            if len(self._own_keys) >= 2 * self._max_series:
                self._own_keys = {}
            known = self._own_keys[series] = (baseline, (name, rest))
        return known

    def _drop_ahead(self, own: _Open, now: float) -> None:
        """Forget windows of a time that is to come: the clock was ahead, and was put right.

        They would be the newest ones until that time. The next one may have begun already, where
        samples of two pods come in another order.
        """
        for place in [place for place in own.windows if place[1] > now + own.seconds]:
            del own.windows[place]

    def _drop_oldest(self, own: _Open) -> None:
        """Keep few windows of each baseline, and few baselines: those seen last."""
        starts: dict[str, list[float]] = {}
        for baseline, start in own.windows:
            starts.setdefault(baseline, []).append(start)
        for baseline, found in starts.items():
            for start in sorted(found)[: -self._max_windows]:
                del own.windows[baseline, start]
        latest = sorted(starts, key=lambda baseline: max(starts[baseline]))
        for baseline in latest[:-MAX_BASELINES]:
            for start in starts[baseline]:
                own.windows.pop((baseline, start), None)


def _by_start(item: tuple[tuple[str, float], dict[SeriesKey, float]]) -> tuple[float, str]:
    (baseline, start), _ = item
    return start, baseline
