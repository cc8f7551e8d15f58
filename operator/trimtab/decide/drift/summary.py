"""The conditions and the columns of a DriftPolicy, from the verdicts of its signals."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.api.conditions import ConditionType, Reason, set_condition
from trimtab.api.drift_policy import (
    MOST_WATCHED,
    DriftPolicySpec,
    DriftPolicyStatus,
    DriftPolicySummary,
    SignalStatus,
)
from trimtab.api.fields import format_duration
from trimtab.decide.drift.signals import conditions_of_signals, shown_before, signal_type
from trimtab.decide.drift.snapshot import PolicySnapshot
from trimtab.decide.drift.windows import window_warning

_WORST_FIRST = ("Drifting", "NoData", "InsufficientData", "Stable")
_NAMES_SHOWN = 3


def set_conditions(snapshot: PolicySnapshot, status: DriftPolicyStatus) -> DriftPolicyStatus:
    """Return the status with the conditions that its verdicts mean."""
    policy, now = snapshot.policy, snapshot.now
    generation = policy.metadata.generation
    is_watching, reason, message = _watching(snapshot, status)
    conditions = set_condition(
        status.conditions,
        ConditionType.WATCHING,
        is_watching,
        reason,
        message,
        now=now,
        generation=generation,
    )
    for condition in conditions_of_signals():
        if not any(signal_type(s.kind).condition == condition for s in policy.spec.signals):
            conditions = [c for c in conditions if c.type != condition]
            continue
        entries = [e for e in status.signals if signal_type(e.kind).condition == condition]
        has_fired, reason, message = _fired(entries)
        conditions = set_condition(
            conditions, condition, has_fired, reason, message, now=now, generation=generation
        )
    return status.model_copy(update={"conditions": conditions})


def summary_of(
    status: DriftPolicyStatus, targets: Sequence[str], spec: DriftPolicySpec
) -> DriftPolicySummary:
    """Return the columns: the worst verdict and what was done last."""
    action = status.last_action.do if status.last_action is not None else ""
    target = _names(targets)
    if not status.signals:
        return DriftPolicySummary(target=target, action=action)
    worst = min(
        status.signals,
        key=lambda entry: (_WORST_FIRST.index(entry.verdict), shown_before(entry.kind)),
    )
    value = ""
    if worst.value is not None:
        value = f"{worst.value:.3f}"
        if worst.threshold is not None:
            sign = "<" if _is_held_to_a_floor(worst.kind, spec) else ">"
            is_past = worst.verdict == "Drifting"
            value += f" {sign if is_past else 'vs'} {worst.threshold:.3f}"
    return DriftPolicySummary(
        target=target,
        verdict=worst.verdict,
        signal=worst.kind,
        value=value,
        n=str(worst.n) if worst.n else "",
        action=action,
    )


def _is_held_to_a_floor(kind: str, spec: DriftPolicySpec) -> bool:
    return any(signal.kind == kind and signal.floor is not None for signal in spec.signals)


def _watching(snapshot: PolicySnapshot, status: DriftPolicyStatus) -> tuple[bool, Reason, str]:
    spec, overlapped = snapshot.policy.spec, sorted(snapshot.overlapped.items())
    taken = ", ".join(f"{name} is watched by {other}" for name, other in overlapped)
    watched = sorted(status.baselines)
    if watched:
        text = f"{_names(watched)}, windows of {format_duration(spec.window)}"
        warning = window_warning(spec)
        left_out = _left_out(snapshot.left_out)
        parts = [text, left_out, f"{taken}, which is older" if taken else "", warning or ""]
        return True, Reason.WATCHING, "; ".join(part for part in parts if part)
    if taken:
        return False, Reason.OVERLAP, f"{taken}, which is older and wins; delete one of the two"
    return (
        False,
        Reason.NO_TARGET,
        "no Deployment that the selector names serves a version with a known baseline",
    )


def _left_out(names: Sequence[str]) -> str:
    if not names:
        return ""
    return (
        f"{len(names)} more are selected and not watched ({_names(names)}): a policy watches "
        f"{MOST_WATCHED} at most; select fewer, and make another policy for the others"
    )


def _fired(entries: Sequence[SignalStatus]) -> tuple[bool | None, Reason, str]:
    drifting = [entry for entry in entries if entry.verdict == "Drifting"]
    if drifting:
        return True, Reason.DRIFTING, "; ".join(f"{e.deployment}: {e.message}" for e in drifting)
    stable = [entry for entry in entries if entry.verdict == "Stable"]
    if stable and len(stable) == len(entries):
        return False, Reason.STABLE, "; ".join(f"{e.deployment}: {e.message}" for e in stable)
    unknown = [entry for entry in entries if entry.verdict != "Stable"]
    is_short = any(entry.verdict == "InsufficientData" for entry in unknown)
    reason = Reason.INSUFFICIENT_DATA if is_short else Reason.NO_DATA
    return None, reason, "; ".join(f"{e.deployment}: {e.message}" for e in unknown)


def _names(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    shown = ", ".join(names[:_NAMES_SHOWN])
    return f"{shown} +{more}" if more > 0 else shown
