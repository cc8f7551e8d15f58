"""What a DriftPolicy finds and does: per Deployment and signal a verdict, then the ordered rules.

    window ends ──> verdict per signal ──> conditions, events
                                      └──> first rule whose signal fired ──> retrain | request

A window is judged once. Verdicts stand until the next window, or until the Deployment serves a
version with another baseline; then they start again. `rollback` and `pause` are not done here: the
Deployment reads them by `requested_action`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.api.conditions import EventReason
from trimtab.api.drift_policy import (
    MOST_FEATURES,
    MOST_WATCHED,
    Attempt,
    DriftPolicy,
    DriftPolicyStatus,
    FeatureFinding,
    LastAction,
    Signal,
    SignalStatus,
    Skipped,
)
from trimtab.decide.drift.attempts import attempts_after, newly_cancelled
from trimtab.decide.drift.budget import alpha_of_look, budget_after
from trimtab.decide.drift.finding import Finding
from trimtab.decide.drift.rules import (
    RetrainRequest,
    SkipRetrain,
    StartRetrain,
    asks_to_retrain,
    decide_start,
    fired_of,
    is_finished,
    jobs_of,
    winning_rule,
)
from trimtab.decide.drift.signals import signal_type
from trimtab.decide.drift.signals.signal import SignalType
from trimtab.decide.drift.snapshot import (
    LabelledWindow,
    PolicySnapshot,
    WatchedDeployment,
    WindowView,
)
from trimtab.decide.drift.summary import set_conditions, summary_of
from trimtab.decide.outcome import Note, Outcome
from trimtab.decide.retrain.cause import retrain_job_name

REMEMBERED_SKIPS = 100
FEATURES_IN_ALL = 200
"""Features that the status names of all Deployments, so that an object has room for them."""
FEWEST_FEATURES = 5
REMEMBERED_JOBS = 2 * MOST_WATCHED


@dataclass(frozen=True)
class RequestedAction:
    """What a policy asks of a Deployment, `rollback` or `pause`, and why."""

    do: str
    message: str


PolicyOutcome = Outcome[DriftPolicyStatus, StartRetrain]


def decide_policy(snapshot: PolicySnapshot) -> PolicyOutcome:
    """Return verdicts, conditions and actions of one pass."""
    status = snapshot.policy.status
    entries = [entry for own in snapshot.deployments for entry in _entries(snapshot, own)]
    notes = _flips(status, entries, snapshot)
    baselines = _baselines(snapshot)
    attempts = attempts_after(snapshot)
    notes += [_cancelled(attempt) for attempt in newly_cancelled(status.attempts, attempts)]
    requests = _requests(snapshot, entries, baselines, attempts)
    starts, skips = _retrainings(requests)
    fresh = [skip for skip in skips if not _is_told(status, skip)]
    notes += [Note(EventReason.RETRAIN_SKIPPED, skip.message) for skip in fresh]
    begun = newly_begun(status, starts)
    notes += [Note(EventReason.RETRAIN_STARTED, start.message) for start in begun]
    new = status.model_copy(
        update={
            "observed_generation": snapshot.policy.metadata.generation,
            "signals": entries,
            "budget": budget_after(status, entries, snapshot.policy.spec, snapshot.now),
            "baselines": baselines,
            "last_action": _last_action(snapshot, begun),
            "started": [*status.started, *(start.name for start in begun)][-REMEMBERED_JOBS:],
            "ended": _ended(status, requests),
            "attempts": attempts,
            "skipped": _told(status, fresh),
        }
    )
    new = set_conditions(snapshot, new)
    names = [own.name for own in snapshot.deployments]
    new = new.model_copy(update={"summary": summary_of(new, names, snapshot.policy.spec)})
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
        "alpha": alpha_of_look(snapshot.policy.spec),
        "baselines": {own.name: own.baseline_digest[7:23] for own in snapshot.deployments},
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
) -> RequestedAction | None:
    """Return what a policy asks of a Deployment, `rollback` or `pause`, with the figures.

    The request stands while the Deployment serves the baseline that the verdict is about, and ends
    by itself when another version serves.
    """
    for policy in policies:
        if policy.status.baselines.get(deployment) != stable_baseline:
            continue
        fired = fired_of(policy.status.signals, deployment)
        rule = winning_rule(policy.spec, fired)
        for do in ("rollback", "pause"):
            if rule is not None and do in rule.do:
                return RequestedAction(do, f"{policy.metadata.name}: {fired[rule.signal].message}")
    return None


def _baselines(snapshot: PolicySnapshot) -> dict[str, str]:
    before = snapshot.policy.status.baselines
    digests = {
        own.name: own.baseline_digest or before.get(own.name, "")
        for own in snapshot.deployments
        if own.is_serving
    }
    return {name: digest for name, digest in digests.items() if digest}


# --- verdicts -----------------------------------------------------------------------------------


def _entries(snapshot: PolicySnapshot, watched: WatchedDeployment) -> list[SignalStatus]:
    if not watched.is_serving:
        return []
    if not watched.baseline_digest:
        # After a restart with the store away: what was said stands until there is more to see.
        return [e for e in snapshot.policy.status.signals if e.deployment == watched.name]
    return [_entry(snapshot, watched, signal) for signal in snapshot.policy.spec.signals]


def _entry(snapshot: PolicySnapshot, watched: WatchedDeployment, signal: Signal) -> SignalStatus:
    own = signal_type(signal.kind)
    before, span = _before(snapshot, watched, signal), own.span(signal, watched)
    if own.is_judged_once and before is not None:
        if span is None:
            return before
        if before.window_end == span.end and not _spec_changed(snapshot):
            return before
    finding = own.judge(signal, watched, alpha_of_look(snapshot.policy.spec))
    is_others = (watched.name, signal.kind) in snapshot.others
    if before is not None and is_others and _is_others_better(own, before, finding):
        return before
    span = None if finding.verdict == "NoData" else span
    return _status_of(signal, watched, finding, span, features_kept(len(snapshot.deployments)))


def features_kept(watched: int) -> int:
    """Return how many features of a signal the status names of each Deployment that is watched."""
    room = FEATURES_IN_ALL // max(1, watched)
    return min(MOST_FEATURES, max(FEWEST_FEATURES, room))


def _is_others_better(own: SignalType, before: SignalStatus, finding: Finding) -> bool:
    """Return whether the verdict of another operator stands; else both would write in turns.

    Who sees nothing knows no better. What is watched all the time each knows from its own
    beginning on: a fault that one of them has seen stands until that one says that it is over.
    """
    if finding.verdict == "NoData":
        return True
    if own.is_judged_once:
        return False
    return before.verdict == "Drifting" or (
        before.verdict != "NoData" and finding.verdict != "Drifting"
    )


def _before(
    snapshot: PolicySnapshot, watched: WatchedDeployment, signal: Signal
) -> SignalStatus | None:
    """Return what was said of a signal before, against the same baseline."""
    status = snapshot.policy.status
    if status.baselines.get(watched.name) != watched.baseline_digest:
        return None
    for entry in status.signals:
        if entry.deployment == watched.name and entry.kind == signal.kind:
            return entry
    return None


def _spec_changed(snapshot: PolicySnapshot) -> bool:
    policy = snapshot.policy
    return policy.status.observed_generation != policy.metadata.generation


def _status_of(
    signal: Signal,
    watched: WatchedDeployment,
    finding: Finding,
    span: WindowView | LabelledWindow | None,
    most_features: int,
) -> SignalStatus:
    return SignalStatus(
        kind=signal.kind,
        deployment=watched.name,
        verdict=finding.verdict,
        value=finding.value,
        threshold=finding.threshold,
        n=finding.n,
        needed=finding.needed,
        window_start=span.start if span is not None else None,
        window_end=span.end if span is not None else None,
        lower=finding.lower,
        upper=finding.upper,
        labelled=finding.labelled,
        top=[
            FeatureFinding(name=name[:256], value=value)
            for name, value in finding.top[:most_features]
        ],
        message=finding.message[:1024],
    )


# --- events and actions -------------------------------------------------------------------------


def _flips(
    status: DriftPolicyStatus, entries: list[SignalStatus], snapshot: PolicySnapshot
) -> list[Note]:
    """Tell of signals that fired or cleared; a new baseline ends what had fired."""
    before = {(e.deployment, e.kind) for e in status.signals if e.verdict == "Drifting"}
    watched = {own.name for own in snapshot.deployments}
    notes: list[Note] = []
    for entry in entries:
        was_drifting = (entry.deployment, entry.kind) in before
        text = f"{entry.deployment}: {entry.message}"
        if entry.verdict == "Drifting" and not was_drifting:
            notes.append(Note(signal_type(entry.kind).event, text, warning=True))
        elif was_drifting and entry.verdict == "Stable":
            notes.append(Note(EventReason.DRIFT_CLEARED, text))
        elif was_drifting and _is_new(snapshot, entry):
            anew = f"{entry.deployment}: {entry.kind} had fired for a version that serves no more"
            text = f"{anew}; not judged yet for this one: {entry.message}"
            notes.append(Note(EventReason.DRIFT_CLEARED, text))
    gone = {(name, kind) for name, kind in before if name not in watched}
    notes += [
        Note(EventReason.DRIFT_CLEARED, f"{name}: {kind} is not watched any more")
        for name, kind in sorted(gone)
    ]
    return notes


def _is_new(snapshot: PolicySnapshot, entry: SignalStatus) -> bool:
    """Whether the Deployment serves a version with another baseline than before."""
    watched = next(own for own in snapshot.deployments if own.name == entry.deployment)
    before = snapshot.policy.status.baselines.get(entry.deployment)
    return bool(watched.baseline_digest) and before != watched.baseline_digest


def _requests(
    snapshot: PolicySnapshot,
    entries: list[SignalStatus],
    baselines: Mapping[str, str],
    attempts: list[Attempt],
) -> list[RetrainRequest]:
    """Return what rules ask to retrain, one a Deployment at most."""
    retrain = snapshot.policy.spec.retrain
    requests: list[RetrainRequest] = []
    if retrain is None:
        return requests
    for watched in snapshot.deployments:
        fired = fired_of(entries, watched.name)
        signal = asks_to_retrain(snapshot.policy.spec, fired)
        if signal is None or watched.name not in baselines:
            continue
        if not watched.baseline_digest:
            # A verdict may stand that is about a version which serves no more.
            continue
        requests.append(
            RetrainRequest(
                policy=snapshot.policy,
                retrain=retrain,
                deployment=watched.name,
                model=watched.model,
                baseline=baselines[watched.name],
                fired=fired[signal],
                jobs=jobs_of(snapshot.jobs, watched.name),
                candidate=watched.candidate,
                waiting_versions=watched.waiting_versions,
                is_data_broken=any(signal_type(kind).goes_first for kind in fired),
                now=snapshot.now,
                made=watched.made,
                ended=frozenset(snapshot.policy.status.ended),
                attempts=tuple(one for one in attempts if one.deployment == watched.name),
            )
        )
    return requests


def _cancelled(attempt: Attempt) -> Note:
    return Note(
        EventReason.RETRAIN_CANCELLED,
        f"{attempt.deployment}: RetrainJob {attempt.name}, attempt {attempt.attempt}, was deleted "
        "before its end; it counts as an attempt, and is not made again",
    )


def _ended(status: DriftPolicyStatus, requests: list[RetrainRequest]) -> list[str]:
    """Remember who came to an end, so that no name is used again when it is deleted."""
    finished = [[job for job in one.same_key if is_finished(job)] for one in requests]
    names = [retrain_job_name(jobs[-1].spec.cause) for jobs in finished if jobs]
    return [*status.ended, *(n for n in names if n not in status.ended)][-REMEMBERED_JOBS:]


def _retrainings(
    requests: list[RetrainRequest],
) -> tuple[list[StartRetrain], list[SkipRetrain]]:
    starts: list[StartRetrain] = []
    skips: list[SkipRetrain] = []
    for request in requests:
        answer = decide_start(request)
        if isinstance(answer, StartRetrain):
            starts.append(answer)
        elif answer is not None:
            skips.append(answer)
    return starts, skips


def newly_begun(status: DriftPolicyStatus, starts: list[StartRetrain]) -> list[StartRetrain]:
    """Return those whose start was not told yet, as of a refused creation that is tried again."""
    last = status.last_action.do if status.last_action is not None else ""
    return [s for s in starts if s.name not in status.started and last != _retrain(s)]


def _retrain(start: StartRetrain) -> str:
    return f"retrain {start.name}"


def _last_action(snapshot: PolicySnapshot, begun: list[StartRetrain]) -> LastAction | None:
    """Write down what is about to be done; the same intent again keeps its time."""
    if not begun:
        return snapshot.policy.status.last_action
    start = begun[-1]
    return LastAction(
        do=_retrain(start),
        signal=start.signal,
        deployment=start.deployment,
        cause=start.message[:1024],
        at=snapshot.now.replace(microsecond=0),
    )


def _is_told(status: DriftPolicyStatus, skip: SkipRetrain) -> bool:
    return any(s.key == skip.key and s.reason == skip.reason for s in status.skipped)


def _told(status: DriftPolicyStatus, fresh: list[SkipRetrain]) -> list[Skipped]:
    """Remember what was said, so that nothing is said twice."""
    said = [Skipped(key=skip.key, reason=skip.reason.value) for skip in fresh]
    return [*status.skipped, *said][-REMEMBERED_SKIPS:]
