"""What a DriftPolicy finds and does: per Deployment and signal a verdict, then the ordered rules.

    window ends ──> verdict per signal ──> conditions, events
                                      └──> first rule whose signal fired ──> retrain | request

A window is judged once. Verdicts stand until the next window, or until the Deployment serves a
version with another baseline; then they start again. `rollback` and `pause` are not done here: the
Deployment reads them by `requested_action`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from trimtab.api.conditions import EventReason
from trimtab.api.drift_policy import (
    Ceiling,
    DriftPolicy,
    DriftPolicyStatus,
    FeatureFinding,
    LastAction,
    Signal,
    SignalKind,
    SignalStatus,
    Skipped,
)
from trimtab.api.retrain_job import RetrainJob
from trimtab.contract.artifact import Baseline, class_slice
from trimtab.decide.drift.budget import QUARTER, budget_after
from trimtab.decide.drift.counts import Finding, Series, predicted_rows
from trimtab.decide.drift.rules import (
    RetrainRequest,
    SkipRetrain,
    StartRetrain,
    asks_to_retrain,
    decide_start,
    jobs_of,
    winning_rule,
)
from trimtab.decide.drift.signals.distances import (
    DEFAULT_TOLERANCE,
    judge_inputs,
    judge_predictions,
)
from trimtab.decide.drift.signals.quality import Standard, judge_outcomes, judge_quality
from trimtab.decide.drift.summary import set_conditions, summary_of
from trimtab.decide.outcome import Note, Outcome
from trimtab.decide.rollout.snapshot import Request

LARGEST_ALPHA = 0.1
"""A look is never taken at a weaker level, however generous the budget."""
SMALLEST_ALPHA = 1e-12
"""Nor at a stricter one: below it, one minus the level is one to a computer."""
REMEMBERED_SKIPS = 100
HOURLY_LABELS_FROM = timedelta(hours=1)
"""From this label delay on, labels are counted by the hour of their prediction."""


# --- what is seen -------------------------------------------------------------------------------


@dataclass(frozen=True)
class WindowView:
    """A completed window. `counts` is None where nothing was counted; `silence` then says why."""

    start: datetime
    end: datetime
    counts: Series | None
    silence: str = ""


@dataclass(frozen=True)
class LabelledWindow:
    """A window of predictions whose labels have had their time.

    counts: of the labels, as a window's (`OUTCOMES`, `OUTCOME_ERRORS_*`). predicted: rows that the
    labels are among; None where nobody knows.
    """

    start: datetime
    end: datetime
    counts: Series
    predicted: float | None


@dataclass(frozen=True)
class Target:
    """One Deployment of the policy. `baseline_digest` is "" while nobody knows it."""

    name: str
    model: str
    is_serving: bool = False
    baseline_digest: str = ""
    baseline: Baseline | None = None
    baseline_missing: str = ""
    """Why there is no baseline."""
    window: WindowView | None = None
    labelled: LabelledWindow | None = None
    data: Finding | None = None
    best_scores: Mapping[SignalKind, float] = field(default_factory=dict)
    stable_scores: Mapping[SignalKind, float] = field(default_factory=dict)
    """What the metric of a signal was at training: of the best version, of the one serving."""
    candidate: str | None = None
    waiting_versions: frozenset[str] = frozenset()


@dataclass(frozen=True)
class PolicySnapshot:
    """Everything that the decision rests on. `overlapped`: Deployment to the older policy."""

    policy: DriftPolicy
    now: datetime
    targets: tuple[Target, ...] = ()
    overlapped: Mapping[str, str] = field(default_factory=dict)
    jobs: tuple[RetrainJob, ...] = ()


PolicyOutcome = Outcome[DriftPolicyStatus, StartRetrain]


def decide_policy(snapshot: PolicySnapshot) -> PolicyOutcome:
    """Return verdicts, conditions and actions of one pass."""
    status = snapshot.policy.status
    entries = [entry for target in snapshot.targets for entry in _entries(snapshot, target)]
    notes = _flips(status, entries, snapshot)
    baselines = _baselines(snapshot)
    starts, skips = _retrainings(snapshot, entries, baselines)
    fresh = [skip for skip in skips if not _is_told(status, skip)]
    notes += [Note(EventReason.RETRAIN_SKIPPED, skip.message) for skip in fresh]
    last_action, begun = _last_action(snapshot, starts)
    notes += [Note(EventReason.RETRAIN_STARTED, start.message) for start in begun]
    new = status.model_copy(
        update={
            "observed_generation": snapshot.policy.metadata.generation,
            "signals": entries,
            "budget": budget_after(
                status,
                entries,
                snapshot.policy.spec.false_alarms.per_quarter,
                alpha_of_look(snapshot.policy),
                snapshot.now,
            ),
            "baselines": baselines,
            "last_action": last_action,
            "skipped": _told(status, fresh),
        }
    )
    new = set_conditions(snapshot.policy, new, snapshot.overlapped, snapshot.now)
    targets = [target.name for target in snapshot.targets]
    new = new.model_copy(update={"summary": summary_of(new, targets, snapshot.policy.spec)})
    return Outcome(
        new,
        notes=tuple(notes),
        actions=tuple(starts),
        wake_at=min((skip.until for skip in skips if skip.until is not None), default=None),
        inputs=_inputs(snapshot, entries) if notes else {},
    )


def _inputs(snapshot: PolicySnapshot, entries: list[SignalStatus]) -> dict[str, Any]:
    """Return what the notes of a pass rest on: each signal's figures, level and baseline."""
    return {
        "generation": snapshot.policy.metadata.generation,
        "alpha": alpha_of_look(snapshot.policy),
        "baselines": {t.name: t.baseline_digest[7:23] for t in snapshot.targets},
        "signals": [
            entry.model_dump(
                mode="json", by_alias=True, exclude_none=True, exclude={"message", "top"}
            )
            for entry in entries
            if entry.verdict in ("Drifting", "Stable")
        ],
    }


def requested_action(
    policies: Iterable[DriftPolicy], deployment: str, stable_baseline: str
) -> Request | None:
    """Return what a policy asks of a Deployment, `rollback` or `pause`, with the figures.

    The request stands while the Deployment serves the baseline that the verdict is about, and ends
    by itself when another version serves.
    """
    for policy in policies:
        if policy.status.baselines.get(deployment) != stable_baseline:
            continue
        fired = {
            entry.kind: entry
            for entry in policy.status.signals
            if entry.deployment == deployment and entry.verdict == "Drifting"
        }
        rule = winning_rule(policy.spec, fired)
        for do in ("rollback", "pause"):
            if rule is not None and do in rule.do:
                return Request(do, f"{policy.metadata.name}: {fired[rule.signal].message}")
    return None


def alpha_of_look(policy: DriftPolicy) -> float:
    """Return the level of one signal in one window: the budget over looks and signals."""
    spec = policy.spec
    looks = max(1.0, QUARTER / spec.window)
    share = spec.false_alarms.per_quarter / looks / len(spec.signals)
    return min(LARGEST_ALPHA, max(SMALLEST_ALPHA, share))


def standard_of(signal: Signal, target: Target) -> Standard | None:
    """Return what quality or outcomes are held to; None where no reference is known."""
    bound = _bound_of(signal, target)
    if bound is None:
        return None
    return Standard(signal.metric or "accuracy", bound, signal.class_)


def _bound_of(signal: Signal, target: Target) -> float | None:
    given = signal.floor or signal.ceiling
    if given is None or given.limit is not None:
        return given.limit if given is not None else None
    scores = target.best_scores if given.from_ == "best" else target.stable_scores
    score = scores.get(signal.kind)
    if score is None:
        return None
    if isinstance(given, Ceiling):
        return score * (1 + (given.rise_by or 0.0)) if score > 0 else None
    return max(0.0, score - (given.drop_by or 0.0))


def counts_labels_by_hour(signal: Signal) -> bool:
    """Whether the labels of a signal are late enough to be counted by hour of prediction."""
    return signal.label_delay is not None and signal.label_delay >= HOURLY_LABELS_FROM


def _baselines(snapshot: PolicySnapshot) -> dict[str, str]:
    known = snapshot.policy.status.baselines
    found = {
        target.name: target.baseline_digest or known.get(target.name, "")
        for target in snapshot.targets
        if target.is_serving
    }
    return {name: digest for name, digest in found.items() if digest}


# --- verdicts -----------------------------------------------------------------------------------


def _entries(snapshot: PolicySnapshot, target: Target) -> list[SignalStatus]:
    if not target.is_serving:
        return []
    if not target.baseline_digest:
        # After a restart with the store away: what was found stands until there is more to see.
        return [e for e in snapshot.policy.status.signals if e.deployment == target.name]
    return [_entry(snapshot, target, signal) for signal in snapshot.policy.spec.signals]


def _entry(snapshot: PolicySnapshot, target: Target, signal: Signal) -> SignalStatus:
    status = snapshot.policy.status
    is_same_baseline = status.baselines.get(target.name) == target.baseline_digest
    known = next(
        (
            entry
            for entry in status.signals
            if is_same_baseline and entry.deployment == target.name and entry.kind == signal.kind
        ),
        None,
    )
    if signal.kind == "data":
        finding = target.data or Finding("NoData", "Waiting: no scrape yet")
        return _status_of(signal, target, finding, None)
    span = _span(signal, target)
    if span is None:
        return known or _status_of(
            signal, target, Finding("NoData", "Waiting: the first window is not over"), None
        )
    if known is not None and known.window_end == span[1] and not _spec_changed(snapshot):
        return known
    finding = _judge(snapshot, target, signal)
    return _status_of(signal, target, finding, None if finding.verdict == "NoData" else span)


def _spec_changed(snapshot: PolicySnapshot) -> bool:
    policy = snapshot.policy
    return policy.status.observed_generation != policy.metadata.generation


def _span(signal: Signal, target: Target) -> tuple[datetime, datetime] | None:
    if counts_labels_by_hour(signal):
        labelled = target.labelled
        return (labelled.start, labelled.end) if labelled is not None else None
    window = target.window
    return (window.start, window.end) if window is not None else None


def _judge(snapshot: PolicySnapshot, target: Target, signal: Signal) -> Finding:
    if signal.kind in ("quality", "outcomes"):
        return _judge_harm(snapshot, target, signal)
    window = target.window
    assert window is not None
    if window.counts is None:
        return Finding("NoData", window.silence)
    if target.baseline is None:
        return Finding("NoData", f"NoSeries: {target.baseline_missing}")
    tolerance = DEFAULT_TOLERANCE if signal.tolerance is None else signal.tolerance
    judge = judge_inputs if signal.kind == "inputs" else judge_predictions
    return judge(window.counts, target.baseline, tolerance, alpha_of_look(snapshot.policy))


def _judge_harm(snapshot: PolicySnapshot, target: Target, signal: Signal) -> Finding:
    alpha = alpha_of_look(snapshot.policy)
    standard = standard_of(signal, target)
    if standard is None:
        return Finding("NoData", _no_reference(signal))
    if counts_labels_by_hour(signal):
        labelled = target.labelled
        assert labelled is not None
        return judge_outcomes(labelled.counts, standard, alpha, predicted=labelled.predicted)
    window = target.window
    assert window is not None
    if window.counts is None:
        return Finding("NoData", window.silence)
    if signal.kind == "quality":
        return judge_quality(window.counts, target.baseline, standard, alpha)
    rows = predicted_rows(window.counts)
    return judge_outcomes(window.counts, standard, alpha, predicted=rows)


def _no_reference(signal: Signal) -> str:
    metric = signal.metric or "accuracy"
    of_class = f", slice {class_slice(signal.class_)!r}" if signal.class_ else ""
    bound = "ceiling.limit" if signal.ceiling is not None else "floor.limit"
    return (
        f"NoSeries: no {metric} is known of any promoted version; state it in "
        f"spec.evaluation of the ModelVersion (metric {metric}{of_class}), or use {bound}"
    )


def _status_of(
    signal: Signal, target: Target, finding: Finding, span: tuple[datetime, datetime] | None
) -> SignalStatus:
    return SignalStatus(
        kind=signal.kind,
        deployment=target.name,
        verdict=finding.verdict,
        value=finding.value,
        threshold=finding.threshold,
        n=finding.n,
        needed=finding.needed,
        window_start=span[0] if span is not None else None,
        window_end=span[1] if span is not None else None,
        top=[FeatureFinding(name=name[:256], value=value) for name, value in finding.top],
        message=finding.message[:1024],
    )


# --- events and actions -------------------------------------------------------------------------


_FIRED_EVENTS = {
    "inputs": EventReason.DRIFT_DETECTED,
    "predictions": EventReason.DRIFT_DETECTED,
    "quality": EventReason.HARM_DETECTED,
    "outcomes": EventReason.HARM_DETECTED,
    "data": EventReason.DATA_BROKEN,
}


def _flips(
    status: DriftPolicyStatus, entries: list[SignalStatus], snapshot: PolicySnapshot
) -> list[Note]:
    """Tell of signals that fired or cleared; a new baseline counts as cleared."""
    before = {(e.deployment, e.kind) for e in status.signals if e.verdict == "Drifting"}
    watched = {target.name for target in snapshot.targets}
    found: list[Note] = []
    for entry in entries:
        was_drifting = (entry.deployment, entry.kind) in before
        text = f"{entry.deployment}: {entry.message}"
        if entry.verdict == "Drifting" and not was_drifting:
            found.append(Note(_FIRED_EVENTS[entry.kind], text, warning=True))
        elif was_drifting and (entry.verdict == "Stable" or _is_new(snapshot, entry)):
            found.append(Note(EventReason.DRIFT_CLEARED, text))
    gone = {(name, kind) for name, kind in before if name not in watched}
    found += [
        Note(EventReason.DRIFT_CLEARED, f"{name}: {kind} is not watched any more")
        for name, kind in sorted(gone)
    ]
    return found


def _is_new(snapshot: PolicySnapshot, entry: SignalStatus) -> bool:
    target = next(t for t in snapshot.targets if t.name == entry.deployment)
    known = snapshot.policy.status.baselines.get(entry.deployment)
    return bool(target.baseline_digest) and known != target.baseline_digest


def _retrainings(
    snapshot: PolicySnapshot, entries: list[SignalStatus], baselines: Mapping[str, str]
) -> tuple[list[StartRetrain], list[SkipRetrain]]:
    retrain = snapshot.policy.spec.retrain
    starts: list[StartRetrain] = []
    skips: list[SkipRetrain] = []
    if retrain is None:
        return starts, skips
    for target in snapshot.targets:
        fired = {
            entry.kind: entry
            for entry in entries
            if entry.deployment == target.name and entry.verdict == "Drifting"
        }
        signal = asks_to_retrain(snapshot.policy.spec, fired)
        if signal is None or target.name not in baselines:
            continue
        answer = decide_start(
            RetrainRequest(
                policy=snapshot.policy,
                retrain=retrain,
                deployment=target.name,
                model=target.model,
                baseline=baselines[target.name],
                fired=fired[signal],
                jobs=jobs_of(snapshot.jobs, target.name),
                candidate=target.candidate,
                waiting_versions=target.waiting_versions,
                is_data_broken="data" in fired,
                now=snapshot.now,
            )
        )
        if isinstance(answer, StartRetrain):
            starts.append(answer)
        elif answer is not None:
            skips.append(answer)
    return starts, skips


def _last_action(
    snapshot: PolicySnapshot, starts: list[StartRetrain]
) -> tuple[LastAction | None, list[StartRetrain]]:
    """Write down what is about to be done; the same intent again keeps its time and is not told."""
    known = snapshot.policy.status.last_action
    begun = []
    for start in starts:
        if known is not None and known.do == f"retrain {start.name}":
            continue
        begun.append(start)
        known = LastAction.model_validate(
            {
                "do": f"retrain {start.name}",
                "signal": start.signal,
                "deployment": start.deployment,
                "cause": start.message[:1024],
                "at": snapshot.now.replace(microsecond=0),
            }
        )
    return known, begun


def _is_told(status: DriftPolicyStatus, skip: SkipRetrain) -> bool:
    return any(s.key == skip.key and s.reason == skip.reason for s in status.skipped)


def _told(status: DriftPolicyStatus, fresh: list[SkipRetrain]) -> list[Skipped]:
    """Remember what was said, so that nothing is said twice."""
    said = [Skipped(key=skip.key, reason=skip.reason.value) for skip in fresh]
    return [*status.skipped, *said][-REMEMBERED_SKIPS:]
