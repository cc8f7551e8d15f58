"""What a run leaves behind: a termination message of at most 4096 bytes, and the whole report.

The kubelet cuts longer messages, which would leave broken JSON; so parts are left out in a fixed
order, the least needed first, until it fits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from trimtab.contract.artifact import Interval
from trimtab.contract.location import Location
from trimtab.stats.challenger import Comparison

MOST_BYTES: Final = 4096


@dataclass
class Report:
    """Everything known about a run, filled in as it goes; JSON by `to_json`."""

    verdict: str = "failed"
    uri: str | None = None
    digest: str | None = None
    baseline: str | None = None
    metrics: list[dict[str, Any]] = field(default_factory=list)
    champion: dict[str, Any] | None = None
    comparison: dict[str, Any] | None = None
    datasets: list[dict[str, Any]] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    message: str = ""
    failure: str | None = None
    needed: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON, the failure under `class`; what is unknown is left out."""
        whole = {
            "verdict": self.verdict,
            "reason": self.reason,
            "message": self.message,
            "class": self.failure,
            "needed": self.needed,
            "uri": self.uri,
            "digest": self.digest,
            "baseline": self.baseline,
            "comparison": self.comparison,
            "metrics": self.metrics,
            "champion": self.champion,
            "datasets": self.datasets,
            "parameters": self.parameters,
            "code": self.code,
            "seconds": self.seconds,
        }
        return {name: value for name, value in whole.items() if value not in (None, {}, [])}


def write_termination_message(report: Report, path: Path) -> None:
    """Write the message where the kubelet picks it up; a path that cannot be written is skipped."""
    body = termination_message(report.to_json())
    if path.parent.is_dir():
        path.write_bytes(body)


def write_report(report: Report, output: Location) -> None:
    """Keep the whole report: `report.json` in the folder that was asked for. Raise LocationError.

    The artifact lies beside it, in a folder named by its digest.
    """
    output.put("report.json", json.dumps(report.to_json(), indent=1).encode())


def termination_message(whole: dict[str, Any], most_bytes: int = MOST_BYTES) -> bytes:
    """Return JSON of at most `most_bytes` bytes of UTF-8: complete, or with parts left out.

    Left out in this order: timings; metrics of slices;
    parameters; code; URIs of datasets; the message beyond 600 and then 200 characters; all metrics
    but the first; datasets and champion.
    """
    part = json.loads(json.dumps(whole))
    body = _encoded(part)
    for leave_out in _LESS_AND_LESS:
        if len(body) <= most_bytes:
            break
        leave_out(part)
        body = _encoded(part)
    return body


def _without(*names: str) -> Callable[[dict[str, Any]], None]:
    def leave_out(part: dict[str, Any]) -> None:
        for name in names:
            part.pop(name, None)

    return leave_out


def _without_slices(part: dict[str, Any]) -> None:
    metrics = part.get("metrics", [])
    part["metrics"] = [one for one in metrics if one.get("slice", "all") == "all"]


def _without_dataset_uris(part: dict[str, Any]) -> None:
    for dataset in part.get("datasets", []):
        dataset.pop("uri", None)


def _with_first_metric_only(part: dict[str, Any]) -> None:
    part["metrics"] = part.get("metrics", [])[:1]


def _with_message_cut(most: int) -> Callable[[dict[str, Any]], None]:
    def cut(part: dict[str, Any]) -> None:
        text = part.get("message", "")
        part["message"] = text if len(text) <= most else text[: most - 1] + "…"

    return cut


_LESS_AND_LESS: Final = (
    _without("seconds"),
    _without_slices,
    _without("parameters"),
    _without("code"),
    _without_dataset_uris,
    _with_message_cut(600),
    _with_first_metric_only,
    _with_message_cut(200),
    _without("datasets", "champion"),
)


def _encoded(part: dict[str, Any]) -> bytes:
    return json.dumps(part, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def metric_json(interval: Interval, dataset: str) -> dict[str, Any]:
    """One metric as ModelVersion's `evaluation` takes it; six digits."""
    return {
        "metric": interval.metric,
        "value": rounded(interval.value),
        "interval": [rounded(bound) for bound in interval.interval],
        "n": interval.n,
        "dataset": dataset,
        "slice": interval.slice,
    }


def gate_first(metrics: list[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    """The metric that decides comes first: readers with room for one take that one."""
    return sorted(metrics, key=lambda one: (one["metric"] != metric, one["slice"] != "all"))


def comparison_json(comparison: Comparison, metric: str) -> dict[str, Any]:
    """The paired comparison; `notWorseBy` is the margin in units of the metric."""
    return {
        "metric": metric,
        "difference": rounded(comparison.difference),
        "interval": [rounded(comparison.lower), rounded(comparison.upper)],
        "notWorseBy": rounded(comparison.margin),
        "n": comparison.n,
        "needed": comparison.needed,
    }


def rounded(value: float) -> float | None:
    """Six digits behind the point; None for what JSON cannot say."""
    return round(value, 6) if math.isfinite(value) else None
