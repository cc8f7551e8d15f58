"""Counters of requests; they belong to the event loop."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from time import perf_counter

from trimtab.contract import metrics
from trimtab.serving.counting.exposition import Family, Labels, histogram_samples, labelled
from trimtab.serving.http.messages import CLIENT_LEFT, Request

_FROM_THE_START = (200, 400, 500, 503)


class RequestCounters:
    """Started and finished inference requests, by code and by duration."""

    def __init__(self) -> None:
        self._started = 0
        # Zeros from the start on, so that the first error is an increment and not a new series.
        self._codes: Counter[int] = Counter(dict.fromkeys(_FROM_THE_START, 0))
        self._seconds = [0] * (len(metrics.REQUEST_SECONDS_BUCKETS) + 1)
        self._seconds_sum = 0.0

    def start(self) -> None:
        """Count a request whose head has arrived."""
        self._started += 1

    def finish(self, request: Request, status: int) -> None:
        """Count an answered request; one whose client left has no duration."""
        self._codes[status] += 1
        if status != CLIENT_LEFT:
            seconds = perf_counter() - request.began
            self._seconds[bisect_left(metrics.REQUEST_SECONDS_BUCKETS, seconds)] += 1
            self._seconds_sum += seconds

    def snapshot(self, labels: Labels, depth: int) -> Callable[[], list[Family]]:
        """Return a function that renders the values of now later, in another thread."""
        started, codes = self._started, sorted(self._codes.items())
        seconds, seconds_sum = list(self._seconds), self._seconds_sum

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
                    metrics.QUEUE_DEPTH,
                    "gauge",
                    "Requests waiting for the model.",
                    [(labelled(metrics.QUEUE_DEPTH, labels), depth)],
                ),
            ]

        return families
