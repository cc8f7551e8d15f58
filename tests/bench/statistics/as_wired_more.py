"""Section 8b: the same as section 8 for more kinds of traffic, with fewer runs a row."""

from __future__ import annotations

from tests.bench.statistics.as_wired import rows_of
from tests.bench.statistics.rows import Row
from tests.bench.statistics.wired.cases import MORE

RUNS = 200


def rows(runs: int = RUNS, only: str = "") -> list[Row]:
    """Return all lines; `runs` a line."""
    return rows_of([case for case in MORE if only in case], runs)
