"""Broken data is found within a few scrapes, and mended data clears it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.unit.drift_counts import Series, baseline, series, with_identity

from trimtab.api.drift_policy import Signal
from trimtab.contract import metrics
from trimtab.decide.drift.signals.data import DataState, data_finding, watch_data, watched_series

BASELINE = baseline()
SIGNAL = Signal(kind="data", missing=0.02, unseen=0.02, out_of_range=0.02)
FAULTS = {
    "missing": metrics.FEATURE_MISSING,
    "unseen": metrics.FEATURE_UNSEEN,
    "outOfRange": metrics.FEATURE_OUT_OF_RANGE,
}


class Pods:
    """Two pods that count rows and faults."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.counts: dict[str, Series] = {"a": {}, "b": {}}
        self.state = DataState()
        self.now = 1000.0

    def scrape(self, rows: int = 50, *, signal: Signal = SIGNAL, **shares: float) -> str:
        """Count `rows` on each pod with these shares of faults, look, and return the verdict."""
        for counts in self.counts.values():
            self._add(counts, series(metrics.PREDICTED, **{"class": "0"}), rows)
            for fault, share in shares.items():
                key = series(FAULTS[fault], feature="x[0]")
                self._add(counts, key, self.random.binomial(rows, share))
        self.now += 5
        self.look(signal)
        return data_finding(self.state).verdict

    def look(self, signal: Signal = SIGNAL) -> None:
        seen = {
            name: watched_series(
                with_identity(counts, digest="sha256:1", baseline=BASELINE.digest), BASELINE.digest
            )
            for name, counts in self.counts.items()
        }
        self.state = watch_data(
            self.state, seen, BASELINE, signal, now=self.now, per_quarter=0.2, interval_seconds=5
        )

    def _add(self, counts: Series, key: tuple[str, frozenset[tuple[str, str]]], by: float) -> None:
        counts[key] = counts.get(key, 0.0) + by


def scrapes_until(pods: Pods, verdict: str, limit: int = 500, **shares: Any) -> int:
    for number in range(1, limit + 1):
        if pods.scrape(**shares) == verdict:
            return number
    raise AssertionError(f"not {verdict} after {limit} scrapes")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_column_that_breaks_is_found_within_two_scrapes(fault: str) -> None:
    pods = Pods()
    pods.look()
    for _ in range(10):
        assert pods.scrape() == "Stable"
    assert scrapes_until(pods, "Drifting", **dict[str, Any]({fault: 1.0})) <= 2
    finding = data_finding(pods.state)
    assert f"{fault} values of x[0]" in finding.message
    assert finding.value == 1.0


def test_a_tenth_of_the_rows_is_found_within_a_minute() -> None:
    pods = Pods()
    pods.look()
    assert scrapes_until(pods, "Drifting", missing=0.1) <= 12


@pytest.mark.parametrize("seed", range(5))
def test_as_much_as_is_allowed_raises_no_alarm(seed: int) -> None:
    pods = Pods(seed)
    pods.look()
    verdicts = {pods.scrape(missing=0.02) for _ in range(400)}
    assert verdicts == {"Stable"}


def test_mended_data_clears_it() -> None:
    pods = Pods()
    pods.look()
    scrapes_until(pods, "Drifting", missing=0.5)
    assert scrapes_until(pods, "Stable") <= 4


def test_it_stays_broken_while_nobody_sends_rows() -> None:
    pods = Pods()
    pods.look()
    scrapes_until(pods, "Drifting", missing=0.5)
    assert {pods.scrape(rows=0) for _ in range(50)} == {"Drifting"}


def test_before_any_row_there_is_no_data() -> None:
    pods = Pods()
    pods.look()
    assert pods.scrape(rows=0) == "NoData"


def test_what_was_counted_before_the_watch_began_is_not_judged() -> None:
    pods = Pods()
    for counts in pods.counts.values():
        counts[series(metrics.PREDICTED, **{"class": "0"})] = 10_000.0
        counts[series(metrics.FEATURE_MISSING, feature="x[0]")] = 9_000.0
    pods.look()
    pods.counts["new"] = dict(pods.counts["a"])
    assert {pods.scrape() for _ in range(20)} == {"Stable"}


def test_faults_without_a_limit_are_not_watched() -> None:
    pods = Pods()
    only_missing = Signal(kind="data", missing=0.02)
    pods.look(only_missing)
    assert {pods.scrape(signal=only_missing, unseen=0.5) for _ in range(20)} == {"Stable"}


def test_another_baseline_begins_anew() -> None:
    pods = Pods()
    pods.look()
    scrapes_until(pods, "Drifting", missing=0.5)
    other = baseline(n=20_000)
    state = watch_data(
        pods.state, {}, other, SIGNAL, now=pods.now, per_quarter=0.2, interval_seconds=5
    )
    assert data_finding(state).verdict == "NoData"


def test_counters_of_other_baselines_are_left_out() -> None:
    counts = with_identity(
        {series(metrics.PREDICTED, **{"class": "0"}): 5.0}, digest="d", baseline="sha256:other"
    )
    assert watched_series(counts, BASELINE.digest) == {}
