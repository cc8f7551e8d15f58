"""The policy, window after window: `decide_policy`, as the operator calls it.

The status is carried forward. Nothing is known of what a retraining would have made, so each one
counts as ended with its window and the recorded model goes on serving; cool-down and the limit a
week count, giving up does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from trimtab.api.drift_policy import DriftPolicy, SignalStatus
from trimtab.api.retrain_job import RetrainJob
from trimtab.decide.drift.finding import Finding
from trimtab.decide.drift.policy import PolicyOutcome, decide_policy
from trimtab.decide.drift.rules import fired_of, winning_rule
from trimtab.decide.drift.snapshot import (
    LabelledWindow,
    PolicySnapshot,
    WatchedDeployment,
    WindowView,
)
from trimtab.decide.drift.windows import counts_labels_by_hour
from trimtab.replay.data_watch import WindowsWatch
from trimtab.replay.recording import RecordedLabels, RecordedWindow, Recording

SILENCE = "NoTraffic: nothing was recorded"


@dataclass(frozen=True)
class Look:
    """One signal on one window, judged at `at`. `action` is "" where nothing follows."""

    window: RecordedWindow | RecordedLabels
    entry: SignalStatus
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
        self._data = WindowsWatch(spec, recording.baseline)
        self._broken: Finding | None = None

    def looks(self) -> Iterator[Look]:
        for moment in _moments(self._recording, has_late=bool(self._late)):
            outcome = self._decide(moment)
            actions = _actions(
                self._policy, outcome, self._name, {j.metadata.name for j in self._jobs}
            )
            for entry in outcome.status.signals:
                is_late = entry.kind in self._late
                window = moment.labels if is_late else moment.window
                is_new = moment.is_new_labels if is_late else moment.is_new_window
                if window is not None and is_new:
                    yield Look(window, entry, actions.get(entry.kind, ""), moment.at)
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
        watched = WatchedDeployment(
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
        return decide_policy(PolicySnapshot(self._policy, moment.at, (watched,), jobs=jobs))

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


def _actions(
    policy: DriftPolicy, outcome: PolicyOutcome, deployment: str, made: set[str]
) -> dict[str, str]:
    """Return what follows, by the signal whose rule won."""
    rule = winning_rule(policy.spec, fired_of(outcome.status.signals, deployment))
    actions: dict[str, str] = {}
    if rule is not None:
        done = [word for word in rule.do if word != "retrain"]
        if "retrain" in rule.do and policy.spec.retrain is None:
            done.append("notify (no spec.retrain)")
        actions[rule.signal] = " ".join(done)
    for start in outcome.actions:
        if start.name not in made:
            actions[start.signal] = " ".join([*actions.get(start.signal, "").split(), "retrain"])
    if not outcome.actions and rule is not None and "retrain" in rule.do and policy.spec.retrain:
        reason = outcome.status.skipped[-1].reason if outcome.status.skipped else ""
        held = f"retrain held: {reason}" if reason else "retrain held"
        actions[rule.signal] = f"{actions[rule.signal]} {held}".strip()
    return actions
