"""Broken data, watched at every scrape: missing, unseen and out-of-range values per feature.

Each pair (feature, fault) has a change detector of its own (statistics.md §2), started at its
first bad value: before that it could only have sunk. After an alarm the pair counts as broken until
a stretch of rows is back below its limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from trimtab.api.conditions import ConditionType, EventReason
from trimtab.api.drift_policy import DriftPolicySpec, Signal
from trimtab.contract import metrics
from trimtab.contract.artifact import Baseline
from trimtab.contract.metrics import Series, SeriesKey
from trimtab.decide.drift.budget import alarms_of_signal
from trimtab.decide.drift.finding import Finding
from trimtab.decide.drift.signals.signal import SignalType
from trimtab.decide.drift.snapshot import LabelledWindow, WatchedDeployment, WindowView
from trimtab.stats.change import DetectorState, reference_upper_bound, update
from trimtab.stats.counts import NOTHING, BadTotal

QUARTER_SECONDS = 90 * 24 * 3600.0
ROWS_TO_CLEAR = 200
"""A broken pair is judged again after so many rows."""
TOP_PAIRS = 5

_METRIC_OF_FAULT = {
    "missing": metrics.FEATURE_MISSING,
    "unseen": metrics.FEATURE_UNSEEN,
    "outOfRange": metrics.FEATURE_OUT_OF_RANGE,
}
Pair = tuple[str, str]
"""Fault and feature."""


class BrokenData(SignalType):
    """Values that are missing, unseen or out of range; its evidence is gathered by `DataWatch`."""

    kind = "data"
    event = EventReason.DATA_BROKEN
    condition = ConditionType.DATA_BROKEN
    is_judged_once = False
    goes_first = True

    def judge(self, signal: Signal, watched: WatchedDeployment, alpha: float) -> Finding:
        """Return what the watch says by now."""
        return watched.data or Finding("NoData", "Waiting: no scrape yet")

    def span(
        self, signal: Signal, watched: WatchedDeployment
    ) -> WindowView | LabelledWindow | None:
        """Return None: it is watched at every scrape."""
        return None

    def value_name(self, signal: Signal) -> str:
        """Return what is compared with its limit."""
        return "worst share"


@dataclass(frozen=True)
class PairState:
    """One watched pair. `since` counts since the alarm, or since the last look after it."""

    detector: DetectorState = field(default_factory=DetectorState)
    is_broken: bool = False
    since: BadTotal = NOTHING
    share: float = 0.0
    limit: float = 0.0


@dataclass(frozen=True)
class DataState:
    """What the data signal of one Deployment remembers; safe to lose.

    seen: cumulated counters by process at the last look, of the baseline `baseline`. rows: rows
    since the state began.
    """

    baseline: str = ""
    seen: Mapping[str, Series] = field(default_factory=dict)
    looked_at: float | None = None
    rows: float = 0.0
    pairs: Mapping[Pair, PairState] = field(default_factory=dict)


def state_to_json(state: DataState) -> dict[str, Any]:
    """Return what a successor needs: the evidence. It counts from its own first look on."""
    return {
        "baseline": state.baseline,
        "rows": state.rows,
        "pairs": [
            {
                "fault": fault,
                "feature": feature,
                "detector": own.detector.to_dict(),
                "isBroken": own.is_broken,
                "since": [own.since.bad, own.since.total],
                "share": own.share,
                "limit": own.limit,
            }
            for (fault, feature), own in state.pairs.items()
        ],
    }


def state_from_json(saved: Mapping[str, Any]) -> DataState:
    """Inverse of `state_to_json`; ValueError, KeyError or TypeError if it is not one of ours."""
    pairs = {
        (str(one["fault"]), str(one["feature"])): PairState(
            detector=DetectorState.from_dict(one["detector"]),
            is_broken=bool(one["isBroken"]),
            since=BadTotal(*(float(value) for value in one["since"])),
            share=float(one["share"]),
            limit=float(one["limit"]),
        )
        for one in saved["pairs"]
    }
    return DataState(str(saved["baseline"]), {}, None, float(saved["rows"]), pairs)


def watched_series(series: Series, baseline: str) -> dict[SeriesKey, float]:
    """Return the counters of one process that the data signal reads, of one baseline only."""
    wanted = {metrics.PREDICTED, *_METRIC_OF_FAULT.values()}
    return {
        key: value
        for key, value in series.items()
        if key[0] in wanted and ("baseline", baseline) in key[1]
    }


def watch_data(
    state: DataState,
    processes: Mapping[str, Series],
    baseline: Baseline,
    signal: Signal,
    *,
    now: float,
    per_quarter: float,
    interval_seconds: float,
) -> DataState:
    """Return the state after one scrape.

    processes: cumulated counters by process, as `watched_series` gives them; a process that is new
    here counts from now on. per_quarter: false alarms allowed to this signal. interval_seconds:
    shortest time between two looks.
    """
    if state.baseline != baseline.digest:
        return DataState(baseline.digest, dict(processes), now)
    grown: dict[Pair, float] = {}
    rows = 0.0
    for process, series in processes.items():
        before = state.seen.get(process)
        if before is None:
            continue
        for key, value in series.items():
            growth = max(0.0, value - before.get(key, 0.0))
            name, labels = key
            if name == metrics.PREDICTED:
                rows += growth
            elif growth > 0:
                pair = (_fault_of(name), dict(labels).get("feature", ""))
                grown[pair] = grown.get(pair, 0.0) + growth
    limits = _limits(signal)
    alarms = QUARTER_SECONDS / interval_seconds * max(1, len(limits) * len(baseline.features))
    run_length = max(2.0, alarms / per_quarter)
    elapsed = max(0.0, now - (state.looked_at if state.looked_at is not None else now))
    pairs = {
        pair: _next(
            state.pairs.get(pair, PairState()),
            BadTotal(bad := grown.get(pair, 0.0), max(rows, bad)),
            elapsed,
            limit=_limit_of(*_reference(baseline, pair), limits[pair[0]]),
            run_length=run_length,
        )
        for pair in {*state.pairs, *grown}
        if pair[0] in limits
    }
    return DataState(baseline.digest, dict(processes), now, state.rows + rows, pairs)


@dataclass(frozen=True)
class DataWatch:
    """How the data signal of a policy looks at the counters of one baseline.

    per_quarter: false alarms allowed to this signal.
    """

    signal: Signal
    baseline: Baseline
    per_quarter: float

    def watched_series(self, series: Series) -> dict[SeriesKey, float]:
        """Return the counters of one process that are looked at."""
        return watched_series(series, self.baseline.digest)

    def look(
        self,
        state: DataState,
        processes: Mapping[str, Series],
        *,
        now: float,
        interval_seconds: float,
    ) -> DataState:
        """Return the state after one scrape; see `watch_data`."""
        return watch_data(
            state,
            processes,
            self.baseline,
            self.signal,
            now=now,
            per_quarter=self.per_quarter,
            interval_seconds=interval_seconds,
        )


def data_watch(spec: DriftPolicySpec, baseline: Baseline) -> DataWatch | None:
    """Return how a policy watches its data; None where it does not."""
    signal = next((own for own in spec.signals if own.kind == BrokenData.kind), None)
    return None if signal is None else DataWatch(signal, baseline, alarms_of_signal(spec))


def data_finding(state: DataState) -> Finding:
    """Return what the signal says by now."""
    broken = {pair: own for pair, own in state.pairs.items() if own.is_broken}
    n = int(state.rows)
    if broken:
        ranked = sorted(broken.items(), key=lambda item: -item[1].share)
        (fault, feature), worst = ranked[0]
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        return Finding(
            "Drifting",
            f"{fault} values of {feature}{more}: {worst.share:.1%}, limit {worst.limit:.1%}; "
            "mend the source of the data, nothing is retrained on it",
            value=round(worst.share, 4),
            threshold=round(worst.limit, 4),
            n=n,
            top=tuple(
                (f"{f} {name}", round(own.share, 4)) for (f, name), own in ranked[:TOP_PAIRS]
            ),
        )
    if n == 0:
        return Finding("NoData", "NoTraffic: no row was counted since the watch began")
    return Finding("Stable", "missing, unseen and out-of-range values are within their limits", n=n)


def _next(
    own: PairState, batch: BadTotal, elapsed: float, *, limit: float, run_length: float
) -> PairState:
    if own.is_broken:
        since = own.since + batch
        if since.total < ROWS_TO_CLEAR:
            return replace(own, since=since, limit=limit)
        if since.share <= limit:
            return PairState(limit=limit)
        return replace(own, since=NOTHING, share=since.share, limit=limit)
    detector = update(own.detector, batch, elapsed, limit, run_length)
    since = own.since + batch if detector.looks == own.detector.looks else batch
    if detector.is_alarm:
        return PairState(DetectorState(), True, NOTHING, since.share, limit)
    return PairState(detector, False, since, since.share, limit)


@lru_cache(maxsize=4096)
def _limit_of(bad: int, rows: int, allowed: float) -> float:
    """Return the share that is still in order: what training showed, at most, and what is allowed.

    Kept, since it is asked for at every scrape and never changes for a baseline.
    """
    return reference_upper_bound(BadTotal(bad, rows), allowed)


def _reference(baseline: Baseline, pair: Pair) -> tuple[int, int]:
    """Return bad and all rows of a pair at training; unseen and out of range are none then."""
    fault, name = pair
    if fault != "missing":
        return 0, baseline.n
    bad = next((own.missing for own in baseline.features if own.name == name), 0)
    return min(bad, baseline.n), baseline.n


def _limits(signal: Signal) -> dict[str, float]:
    stated = {
        "missing": signal.missing,
        "unseen": signal.unseen,
        "outOfRange": signal.out_of_range,
    }
    return {fault: limit for fault, limit in stated.items() if limit is not None}


def _fault_of(metric: str) -> str:
    return next(fault for fault, name in _METRIC_OF_FAULT.items() if name == metric)
