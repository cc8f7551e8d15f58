"""Counters of requests; they belong to the event loop.

The first requests of a process are slow: caches are cold, libraries set themselves up at the first
call. They are counted like all others, and apart as well, so that nobody takes them as evidence.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from time import perf_counter, time
from typing import Final, NamedTuple

from trimtab.contract import metrics
from trimtab.serving.counting.exposition import Family, Labels, histogram_samples, labelled
from trimtab.serving.http.messages import CLIENT_LEFT, Request

OK: Final = 200
_FROM_THE_START = (200, 400, 500, 503)


class RequestTotals(NamedTuple):
    """Inference requests since the start, by whether they got what they asked for."""

    answered: int
    answered_seconds: float
    failed: int
    """With those whose clients left."""
    failed_seconds: float
    last: float
    """Unix seconds of the last one, 0 where there was none."""


class RequestCounters:
    """Started and finished inference requests, by code and by duration.

    The first `warm_up_requests`, and those of the first `warm_up_seconds` from the first one on,
    are counted apart; the warm-up ends with the later of both.
    """

    def __init__(self, warm_up_requests: int = 0, warm_up_seconds: float = 0.0) -> None:
        self.is_disturbed = False
        """Something beside the requests takes the time that they need: they are counted apart."""
        self._warm_up_left = warm_up_requests
        self._warm_up_seconds = warm_up_seconds
        self._warm_up_until: float | None = None
        self._is_warm = not (warm_up_requests or warm_up_seconds)
        self._started = 0
        # Zeros from the start on, so that the first error is an increment and not a new series.
        self._codes: Counter[int] = Counter(dict.fromkeys(_FROM_THE_START, 0))
        self._seconds = [0] * (len(metrics.REQUEST_SECONDS_BUCKETS) + 1)
        self._seconds_sum = 0.0
        self._failed_seconds = 0.0
        self._last = 0.0
        self._aside = [0] * len(self._seconds)
        self._aside_sum = 0.0

    def start(self, request: Request, *, is_loaded: bool = True) -> None:
        """Count a request whose head has arrived; before the model is here none is warm-up."""
        self._started += 1
        if self._is_warm:
            request.aside = self.is_disturbed
        else:
            request.aside = not is_loaded or self._is_in_warm_up(request.began)

    def refuse(self, status: int) -> None:
        """Count a request that was answered as soon as it was read."""
        self._started += 1
        self._codes[status] += 1
        self._seconds[0] += 1  # far below its upper end
        aside = self.is_disturbed if self._is_warm else self._is_in_warm_up(perf_counter())
        if aside:
            self._aside[0] += 1

    def _is_in_warm_up(self, now: float) -> bool:
        """Take note of one more request, begun at `now` seconds of a clock that only goes on."""
        if self._warm_up_until is None:
            self._warm_up_until = now + self._warm_up_seconds
        self._warm_up_left -= 1
        self._is_warm = self._warm_up_left < 0 and now >= self._warm_up_until
        return not self._is_warm or self.is_disturbed

    def finish(self, request: Request, status: int) -> None:
        """Count an answered request; one whose client left has no duration."""
        self._codes[status] += 1
        if status != CLIENT_LEFT:
            now = self._last = perf_counter()
            seconds = now - request.began
            self._seconds[bisect_left(metrics.REQUEST_SECONDS_BUCKETS, seconds)] += 1
            self._seconds_sum += seconds
            if status != OK:
                self._failed_seconds += seconds
            if request.aside or self.is_disturbed:
                self._aside[bisect_left(metrics.REQUEST_SECONDS_BUCKETS, seconds)] += 1
                self._aside_sum += seconds

    def totals(self) -> RequestTotals:
        """Return the sums of now."""
        return RequestTotals(
            answered=self._codes[OK],
            answered_seconds=max(0.0, self._seconds_sum - self._failed_seconds),
            failed=self._codes.total() - self._codes[OK],
            failed_seconds=self._failed_seconds,
            last=time() - perf_counter() + self._last if self._last else 0.0,
        )

    def snapshot(self, labels: Labels, depth: int) -> Callable[[], list[Family]]:
        """Return a function that renders the values of now later, in another thread."""
        started, codes = self._started, sorted(self._codes.items())
        seconds, seconds_sum = list(self._seconds), self._seconds_sum
        aside, aside_sum = list(self._aside), self._aside_sum

        def families() -> list[Family]:
            by_code = [
                (labelled(metrics.REQUESTS, [*labels, ("code", str(code))]), count)
                for code, count in codes
            ]
            histogram = histogram_samples(
                metrics.REQUEST_SECONDS,
                labels,
                metrics.REQUEST_SECONDS_BUCKETS,
                seconds,
                seconds_sum,
            )
            return [
                Family(
                    metrics.REQUESTS_STARTED,
                    "counter",
                    "Inference requests whose head has arrived.",
                    [(labelled(metrics.REQUESTS_STARTED, labels), started)],
                ),
                Family(metrics.REQUESTS, "counter", "Inference requests answered.", by_code),
                Family(
                    metrics.REQUEST_SECONDS,
                    "histogram",
                    "Seconds from first byte read to last byte written.",
                    histogram,
                ),
                Family(
                    metrics.ASIDE_SECONDS,
                    "histogram",
                    "Those of them that are no evidence about slowness.",
                    histogram_samples(
                        metrics.ASIDE_SECONDS,
                        labels,
                        metrics.REQUEST_SECONDS_BUCKETS,
                        aside,
                        aside_sum,
                    ),
                ),
                Family(
                    metrics.QUEUE_DEPTH,
                    "gauge",
                    "Requests waiting for the model.",
                    [(labelled(metrics.QUEUE_DEPTH, labels), depth)],
                ),
            ]

        return families
