"""The policy, window after window: `decide_policy`, as the operator calls it.

The status is carried forward. Nothing is known of what a retraining would have made, so each one
counts as ended with its window and the recorded model goes on serving; cool-down and the limit a
week count, giving up does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from trimtab.api.drift_policy import DriftPolicy, Signal, SignalKind, SignalStatus
from trimtab.api.retrain_job import RetrainJob
from trimtab.contract.artifact import Baseline
from trimtab.decide.drift.counts import Finding
from trimtab.decide.drift.policy import (
    LabelledWindow,
    PolicyOutcome,
    PolicySnapshot,
    Target,
    WindowView,
    counts_labels_by_hour,
    decide_policy,
)
from trimtab.decide.drift.rules import winning_rule
from trimtab.decide.drift.signals.data import DataState, data_finding, watch_data, watched_series
from trimtab.replay.recording import (
    RecordedLabels,
    RecordedWindow,
    Recording,
    Series,
    SeriesKey,
)

PROCESS = "recording"
SILENCE = "NoTraffic: nothing was recorded"


@dataclass(frozen=True)
class Look:
    """One signal on one window, judged at `at`. `action` is "" where nothing follows."""

    window: RecordedWindow | RecordedLabels
    found: SignalStatus
    action: str
    at: datetime


@dataclass(frozen=True)
class _Moment:
    """What is seen at one time: what is new then, and what was the newest before."""

    at: datetime
    window: RecordedWindow | None
    labels: RecordedLabels | None
    is_new_window: bool
    is_new_labels: bool


def replay(policy: DriftPolicy, recording: Recording) -> Iterator[Look]:
    """Yield the looks in order of time, then of the signals of the policy."""
    return _Player(policy, recording).looks()


class _Player:
    def __init__(self, policy: DriftPolicy, recording: Recording) -> None:
        spec = policy.spec
        if recording.labels is None:
            # Labels lie beside their rows, so there is nothing to wait for.
            signals = [s.model_copy(update={"label_delay": None}) for s in spec.signals]
            spec = spec.model_copy(update={"signals": signals})
        self._late = {s.kind for s in spec.signals if counts_labels_by_hour(s)}
        self._policy = policy.model_copy(update={"spec": spec, "status": type(policy.status)()})
        self._recording = recording
        self._name = next(iter(spec.selector.deployments), policy.metadata.name)
        self._jobs: list[RetrainJob] = []
        self._data = _Faults(self._policy, recording.baseline)
        self._broken: Finding | None = None

    def looks(self) -> Iterator[Look]:
        for moment in _moments(self._recording, has_late=bool(self._late)):
            outcome = self._decide(moment)
            actions = _actions(self._policy, outcome, {j.metadata.name for j in self._jobs})
            for found in outcome.status.signals:
                is_late = found.kind in self._late
                window = moment.labels if is_late else moment.window
                is_new = moment.is_new_labels if is_late else moment.is_new_window
                if window is not None and is_new:
                    yield Look(window, found, actions.get(found.kind, ""), moment.at)
            self._remember(outcome, moment.at)

    def _decide(self, moment: _Moment) -> PolicyOutcome:
        window, labels = moment.window, moment.labels
        if window is not None and moment.is_new_window:
            self._broken = self._finding(window)
        view = labelled = None
        if window is not None:
            view = WindowView(window.start, window.end, window.counts, SILENCE)
        if labels is not None:
            labelled = LabelledWindow(labels.start, labels.end, labels.counts, labels.predicted)
        scores = self._recording.scores(self._policy)
        target = Target(
            name=self._name,
            model=self._name,
            is_serving=True,
            baseline_digest=self._recording.baseline.digest,
            baseline=self._recording.baseline,
            window=view,
            labelled=labelled,
            data=self._broken,
            best_scores=scores,
            stable_scores=scores,
        )
        jobs = tuple(self._jobs)
        return decide_policy(PolicySnapshot(self._policy, moment.at, (target,), jobs=jobs))

    def _finding(self, window: RecordedWindow) -> Finding | None:
        """Return what is found of broken data; where nothing was read, it stands as before."""
        if self._recording.data is None:
            return self._data.finding(window)
        return self._recording.data.get(window.start, self._broken)

    def _remember(self, outcome: PolicyOutcome, moment: datetime) -> None:
        self._policy = self._policy.model_copy(update={"status": outcome.status})
        at = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for start in outcome.actions:
            raw = {
                **start.manifest,
                "metadata": {
                    **start.manifest["metadata"],
                    "namespace": self._policy.metadata.namespace or "default",
                    "creationTimestamp": at,
                },
                "status": {"phase": "Succeeded", "finished": at},
            }
            self._jobs.append(RetrainJob.model_validate(raw))


def _moments(recording: Recording, *, has_late: bool) -> Iterator[_Moment]:
    """Yield the times at which there is something new to judge."""
    windows = {window.end: window for window in recording.windows}
    labels = {own.judged: own for own in recording.labels or ()} if has_late else {}
    window, newest = None, None
    for at in sorted({*windows, *labels}):
        window, newest = windows.get(at, window), labels.get(at, newest)
        yield _Moment(at, window, newest, at in windows, at in labels)


class _Faults:
    """The data signal, which sees the recording as one process that is scraped once a window."""

    def __init__(self, policy: DriftPolicy, baseline: Baseline) -> None:
        spec = policy.spec
        self._signal: Signal | None = next((s for s in spec.signals if s.kind == "data"), None)
        self._baseline = baseline
        self._per_quarter = spec.false_alarms.per_quarter / len(spec.signals)
        self._interval: timedelta = spec.window
        self._total: dict[SeriesKey, float] = {}
        self._state = DataState()

    def finding(self, window: RecordedWindow) -> Finding | None:
        if self._signal is None:
            return None
        if self._state.looked_at is None:
            self._watch(window.start)
        for (name, labels), value in (window.counts or {}).items():
            key = (name, labels | {("baseline", self._baseline.digest)})
            self._total[key] = self._total.get(key, 0.0) + value
        self._watch(window.end)
        return data_finding(self._state)

    def _watch(self, at: datetime) -> None:
        assert self._signal is not None
        counted: Series = watched_series(self._total, self._baseline.digest)
        self._state = watch_data(
            self._state,
            {PROCESS: counted},
            self._baseline,
            self._signal,
            now=at.timestamp(),
            per_quarter=self._per_quarter,
            interval_seconds=self._interval.total_seconds(),
        )


def _actions(policy: DriftPolicy, outcome: PolicyOutcome, made: set[str]) -> dict[str, str]:
    """Return what follows, by the signal whose rule won."""
    fired: dict[SignalKind, SignalStatus] = {
        entry.kind: entry for entry in outcome.status.signals if entry.verdict == "Drifting"
    }
    rule = winning_rule(policy.spec, fired)
    found: dict[str, str] = {}
    if rule is not None:
        done = [word for word in rule.do if word != "retrain"]
        if "retrain" in rule.do and policy.spec.retrain is None:
            done.append("notify (no spec.retrain)")
        found[rule.signal] = " ".join(done)
    for start in outcome.actions:
        if start.name not in made:
            found[start.signal] = " ".join([*found.get(start.signal, "").split(), "retrain"])
    if not outcome.actions and rule is not None and "retrain" in rule.do and policy.spec.retrain:
        reason = outcome.status.skipped[-1].reason if outcome.status.skipped else ""
        held = f"retrain held: {reason}" if reason else "retrain held"
        found[rule.signal] = f"{found[rule.signal]} {held}".strip()
    return found
