"""A stretch of time of Prometheus, Thanos or Mimir: its raw samples, never rate() or increase().

Asked for in chunks, each a query with a range selector as of its end. A chunk that the server
finds too large is asked for again in halves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from trimtab.errors import SpecError, Unavailable
from trimtab.replay.counting import Counting
from trimtab.replay.matching import Matchers
from trimtab.replay.processes import WANTED, Processes
from trimtab.telemetry.port import NoData
from trimtab.telemetry.prometheus import PrometheusReader

CHUNK_SECONDS = 3600.0
SMALLEST_CHUNK_SECONDS = 60.0


@dataclass(frozen=True)
class Span:
    """The time [start, end) that is replayed."""

    start: datetime
    end: datetime


async def read_range(
    reader: PrometheusReader,
    matchers: Matchers,
    span: Span,
    counting: Counting,
    now: Callable[[], float] = time.time,
) -> list[str]:
    """Count what was recorded in the span; returns notes.

    Unavailable says why the server gave nothing, SpecError that it has no such series.
    """
    start, end = span.start.timestamp(), min(span.end.timestamp(), now())
    if start >= end:
        raise SpecError("--from must be before --to, and in the past")
    selector = f"{{{','.join([_names_matcher(), *matchers.promql()])}}}"
    processes = Processes(counting)
    chunk = CHUNK_SECONDS
    at = start
    while at < end:
        chunk = min(chunk, end - at)
        found = await reader.series(f"{selector}[{round(chunk * 1000)}ms]", at + chunk)
        if isinstance(found, NoData):
            if chunk <= SMALLEST_CHUNK_SECONDS:
                raise Unavailable(f"Prometheus: {found.detail}")
            chunk = max(SMALLEST_CHUNK_SECONDS, chunk / 2)
            continue
        processes.add(found)
        at += chunk
    if not counting.has_counted and not processes.notes():
        raise SpecError(
            "Prometheus has no counters of a model in this time"
            + (f" with {', '.join(matchers.promql())}" if matchers.promql() else "")
        )
    return processes.notes()


def _names_matcher() -> str:
    return f'__name__=~"{"|".join(WANTED)}"'
