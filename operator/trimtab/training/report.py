"""What a run leaves behind: a termination message of at most 4096 bytes, and the whole report.

The kubelet cuts longer messages, which would leave broken JSON; so parts are left out in a fixed
order, the least needed first, until it fits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from pydantic import ConfigDict, Field

from trimtab.contract.artifact import Interval
from trimtab.contract.location import Location
from trimtab.contract.training import (
    LONGEST_SHORT_TEXT,
    MESSAGE_LIMIT_BYTES,
    MOST_ROWS,
    ReportedComparison,
    ReportedMetric,
    TrainingReport,
    Verdict,
)
from trimtab.stats.challenger import Comparison


class Report(TrainingReport):
    """Everything known about a run, filled in as it goes."""

    model_config = ConfigDict(frozen=False)

    verdict: Verdict = "failed"
    seconds: dict[str, float] = Field(default_factory=dict)
    """By step; for people."""


def write_termination_message(report: Report, path: Path) -> None:
    """Write the message where the kubelet picks it up; a path that cannot be written is skipped."""
    if path.parent.is_dir():
        path.write_bytes(termination_message(report))


def write_report(report: Report, output: Location) -> None:
    """Keep the whole report: `report.json` in the folder that was asked for. Raise LocationError.

    The artifact lies beside it, in a folder named by its digest.
    """
    output.put("report.json", json.dumps(report.to_json(), indent=1).encode())


def termination_message(report: Report) -> bytes:
    """Return JSON that the kubelet does not cut: the whole report, or with parts left out.

    Left out in this order: timings; metrics of slices;
    parameters; code; URIs of datasets; the message beyond 600 and then 200 characters; all metrics
    but the first; datasets and champion.
    """
    part = report.model_copy()
    body = _encoded(part)
    for leave_out in _LESS_AND_LESS:
        if len(body) <= MESSAGE_LIMIT_BYTES:
            break
        leave_out(part)
        body = _encoded(part)
    return body


def _without_seconds(part: Report) -> None:
    part.seconds = {}


def _without_slices(part: Report) -> None:
    part.metrics = [one for one in part.metrics if one.slice == "all"]


def _without_parameters(part: Report) -> None:
    part.parameters = {}


def _without_code(part: Report) -> None:
    part.code = None


def _without_dataset_uris(part: Report) -> None:
    part.datasets = [one.model_copy(update={"uri": None}) for one in part.datasets]


def _with_first_metric_only(part: Report) -> None:
    part.metrics = part.metrics[:1]


def _with_message_cut(most: int) -> Callable[[Report], None]:
    def cut(part: Report) -> None:
        text = part.message
        part.message = text if len(text) <= most else text[: most - 1] + "…"

    return cut


def _without_datasets_and_champion(part: Report) -> None:
    part.datasets, part.champion = [], None


_LESS_AND_LESS: Final = (
    _without_seconds,
    _without_slices,
    _without_parameters,
    _without_code,
    _without_dataset_uris,
    _with_message_cut(600),
    _with_first_metric_only,
    _with_message_cut(200),
    _without_datasets_and_champion,
)


def _encoded(part: Report) -> bytes:
    return json.dumps(
        part.to_json(), ensure_ascii=False, separators=(",", ":"), allow_nan=False
    ).encode()


def reported_metrics(intervals: Iterable[Interval], dataset: str) -> list[ReportedMetric]:
    """Metrics as ModelVersion's `evaluation` takes them; six digits. Infinite ones are left out."""
    return [
        ReportedMetric(
            metric=one.metric,
            value=value,
            interval=_bounds(*one.interval),
            n=one.n,
            dataset=dataset,
            slice=one.slice[:LONGEST_SHORT_TEXT],
        )
        for one in intervals
        if (value := rounded(one.value)) is not None
    ]


def gate_first(metrics: list[ReportedMetric], metric: str) -> list[ReportedMetric]:
    """The metric that decides comes first: readers with room for one take that one."""
    return sorted(metrics, key=lambda one: (one.metric != metric, one.slice != "all"))


def reported_comparison(comparison: Comparison, metric: str) -> ReportedComparison:
    """The paired comparison; `not_worse_by` is the margin in units of the metric."""
    return ReportedComparison(
        metric=metric,
        difference=rounded(comparison.difference),
        interval=_bounds(comparison.lower, comparison.upper),
        not_worse_by=rounded(comparison.margin),
        n=comparison.n,
        needed=min(comparison.needed, MOST_ROWS),
    )


def _bounds(lower: float, upper: float) -> tuple[float, float] | None:
    """Return both bounds, or None if one of them is what JSON cannot say."""
    low, high = rounded(lower), rounded(upper)
    return None if low is None or high is None else (low, high)


def rounded(value: float) -> float | None:
    """Six digits behind the point; None for what JSON cannot say."""
    return round(value, 6) if math.isfinite(value) else None
