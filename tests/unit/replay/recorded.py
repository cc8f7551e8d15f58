"""Expositions of a small model, as its pods would export them, with a time on each line."""

from __future__ import annotations

from trimtab.contract.artifact import Baseline, Interval, NumericFeature, baseline_digest

DAY = 86_400.0
T0 = 1_767_225_600.0
"""2026-01-01 00:00 UTC."""


def baseline(n: int = 10_000) -> Baseline:
    """Two halves of one feature; scores of two classes in two bins."""
    found = Baseline(
        digest="",
        n=n,
        features=[
            NumericFeature(name="x", edges=[0.0], counts=[n // 2, n // 2], minimum=-9, maximum=9)
        ],
        score_edges=[0.5],
        score_counts=[n // 2, n // 2],
        predicted_counts={"no": n // 2, "yes": n // 2},
        metrics=[Interval(metric="accuracy", value=0.9, interval=(0.89, 0.91), n=n)],
    )
    return found.model_copy(update={"digest": baseline_digest(found)})


def scrape(
    at: float,
    low: float,
    high: float,
    *,
    start: float | None = None,
    digest: str | None = None,
    source: str = "",
    is_whole: bool = False,
) -> str:
    """One exposition: cumulated rows below and above the edge. source: labels of the scrape.

    is_whole: as pods wrote it before, each series with its digests.
    """
    digest = digest or baseline().digest
    short = f'{source}model="m",version="v1"'
    whole = f'{short},digest="d",baseline="{digest}"'
    own = whole if is_whole else short
    lines = [
        f"trimtab_model_info{{{whole}}} 1 {at}",
        "# TYPE trimtab_feature_bin_total counter",
        f'trimtab_feature_bin_total{{{own},feature="x",bin="0"}} {low} {at}',
        f'trimtab_feature_bin_total{{{own},feature="x",bin="1"}} {high} {at}',
        f'trimtab_predicted_total{{{own},class="no"}} {low} {at}',
        f'trimtab_predicted_total{{{own},class="yes"}} {high} {at}',
        f"trimtab_requests_started_total{{{own}}} {low + high} {at}",
        f"other_series 7 {at}",
    ]
    if start is not None:
        labels = f"{{{source.rstrip(',')}}}" if source else ""
        lines.append(f"process_start_time_seconds{labels} {start} {at}")
    return "\n".join(lines) + "\n"
