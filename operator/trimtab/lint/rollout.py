"""Rules on a Deployment's rollout: gates that its traffic cannot decide, shares, deadlines.

The thresholds are those of the gates: `stats/sequential.py`, one test a gate and step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from trimtab.api.deployment import Deployment, Gate
from trimtab.api.fields import format_duration, format_share
from trimtab.decide.rollout.measures import slow_bucket
from trimtab.decide.rollout.steps import step_share
from trimtab.decide.rollout.strategies import strategy_of
from trimtab.decide.rollout.traffic import way_of
from trimtab.lint.remarks import Remark
from trimtab.stats.counts import BadTotal
from trimtab.stats.sequential import (
    failure_threshold,
    limit_evidence,
    smallest_detectable_share,
)

ROLLOUT = "spec.rollout"


@dataclass(frozen=True)
class _Expected:
    """Requests that one step brings, before it may end. weight: as pods can give it."""

    weight: float
    seconds: float
    candidate: float
    stable: float


def deployment_remarks(deployment: Deployment, per_second: float | None) -> list[Remark]:
    """Return what is to be said of a Deployment. per_second: requests; None if nobody said."""
    rollout = deployment.spec.rollout
    strategy = strategy_of(rollout)
    remarks = _idle_remarks(deployment)
    if not strategy.steps(rollout):
        return remarks
    remarks += [*_share_remarks(deployment), *_bucket_remarks(deployment)]
    if per_second is None:
        return remarks + _time_remarks(deployment, _steps(deployment, 0.0), None)
    steps = _steps(deployment, per_second)
    remarks += _time_remarks(deployment, steps, per_second)
    for index, gate in enumerate(strategy.gates(rollout)):
        remarks.append(_gate_remark(deployment, gate, f"{ROLLOUT}.gates[{index}]", steps))
    return remarks


def _steps(deployment: Deployment, per_second: float) -> list[_Expected]:
    """Return the weighted steps; the last holds until `minSamples` are there."""
    spec = deployment.spec
    expected: list[_Expected] = []
    steps = strategy_of(spec.rollout).steps(spec.rollout)
    weighted = [(step.weight, step.for_) for step in steps if step.weight is not None]
    for number, (wanted, lasts) in enumerate(weighted, 1):
        weight = way_of(spec).share(wanted, max(1, spec.replicas), spec.replicas).value
        seconds = lasts.total_seconds() if lasts is not None else 0.0
        rate = per_second * weight
        missing = spec.rollout.min_samples - sum(s.candidate for s in expected)
        if number == len(weighted) and rate > 0:
            seconds = max(seconds, missing / rate)
        expected.append(_Expected(weight, seconds, rate * seconds, (per_second - rate) * seconds))
    return expected


def _idle_remarks(deployment: Deployment) -> list[Remark]:
    """Name what was asked for and has no effect, since no gate uses it."""
    spec = deployment.spec
    gates = strategy_of(spec.rollout).gates(spec.rollout)
    compared = [gate for gate in gates if gate.against == "stable"]
    remarks = []
    if not gates and spec.rollout.strategy == "canary":
        text = "without gates nothing judges a candidate that starts, nor the version once promoted"
        remarks.append(Remark("note", "idle", f"{ROLLOUT}.gates", text))
    if spec.guard.control and not compared:
        reason = "no gate is against: stable"
        if spec.rollout.strategy == "rolling":
            reason = "strategy: rolling has no gates to compare with it"
        text = f"has no effect: {reason}"
        remarks.append(Remark("warning", "idle", "spec.guard.control", text))
    if not any(gate.bad == "outcomes" for gate in compared):
        text = "has no effect without a gate of outcomes against: stable"
        if "compare" in spec.model_fields_set and spec.compare.budget > 0:
            remarks.append(Remark("warning", "idle", "spec.compare", text))
        if spec.outcomes.depends_on_answer:
            remarks.append(Remark("warning", "idle", "spec.outcomes.dependsOnAnswer", text))
    return remarks


def _share_remarks(deployment: Deployment) -> list[Remark]:
    spec = deployment.spec
    weight = strategy_of(spec.rollout).needed_share(spec.rollout, None)
    share = step_share(spec, None)
    if spec.rollout.allow_coarse or not way_of(spec).is_too_large(share, weight):
        return []
    text = (
        f"with {spec.replicas} replicas the smallest share is {format_share(share.value)} "
        f"({share}), far above {format_share(weight)}, so the "
        "rollout will wait: more replicas, a larger weight, or allowCoarse"
    )
    return [Remark("error", "share", f"{ROLLOUT}.steps", text)]


def _bucket_remarks(deployment: Deployment) -> list[Remark]:
    remarks = []
    rollout = deployment.spec.rollout
    for index, gate in enumerate(strategy_of(rollout).gates(rollout)):
        if gate.slower_than is None:
            continue
        wanted = gate.slower_than.total_seconds()
        bucket = slow_bucket(wanted)
        if bucket != wanted:
            text = f"counted from {bucket:g} s on, the next bucket of the histogram"
            field = f"{ROLLOUT}.gates[{index}].slowerThan"
            is_far = bucket < wanted or bucket >= 1.5 * wanted
            remarks.append(Remark("warning" if is_far else "note", "bucket", field, text))
    return remarks


def _time_remarks(
    deployment: Deployment, steps: list[_Expected], per_second: float | None
) -> list[Remark]:
    rollout = deployment.spec.rollout
    seconds = sum(step.seconds for step in steps)
    if seconds <= rollout.deadline.total_seconds():
        return []
    lasts = format_duration(timedelta(seconds=round(seconds)))
    end = f"the deadline of {format_duration(rollout.deadline)}, as onDeadline says"
    field = f"{ROLLOUT}.deadline"
    if per_second is None:
        text = f"the steps alone last {lasts}, so every rollout ends at {end}"
        return [Remark("error", "deadline", field, text)]
    text = (
        f"at {per_second:g} requests a second, steps and minSamples last {lasts}, so a rollout "
        f"ends at {end}"
    )
    return [Remark("warning", "deadline", field, text)]


def _gate_remark(deployment: Deployment, gate: Gate, field: str, steps: list[_Expected]) -> Remark:
    """Say the smallest fault that any step can see, if stable shows none."""
    rollout = deployment.spec.rollout
    strategy = strategy_of(rollout)
    tests = len(strategy.gates(rollout)), len(strategy.steps(rollout))
    threshold = failure_threshold(rollout.confidence, *tests)
    faults = [fault for step in steps if (fault := _smallest(gate, step, threshold)) is not None]
    unit = "labelled rows" if gate.bad == "outcomes" else "requests"
    if not faults:
        most = max((step.candidate for step in steps), default=0.0)
        text = (
            f"gate {gate.name} cannot fail: a step brings the candidate {most:.0f} {unit} at most, "
            "and even if all were bad that proves nothing; longer steps, larger weights, fewer "
            "gates or a lower confidence"
        )
        return Remark("warning", "gate", field, text)
    text = (
        f"gate {gate.name} sees a candidate with {format_share(round(min(faults), 4))} bad {unit} "
        "or more by the end of a step, if stable has none"
    )
    return Remark("note", "gate", field, text)


def _smallest(gate: Gate, step: _Expected, threshold: float) -> float | None:
    faults = []
    if gate.against == "stable":
        stable = BadTotal(0.0, step.stable)
        faults.append(smallest_detectable_share(step.candidate, stable, gate.margin, threshold))
    if gate.limit is not None:
        faults.append(_smallest_above(gate.limit, step.candidate, threshold))
    return min((fault for fault in faults if fault is not None), default=None)


def _smallest_above(limit: float, candidate: float, threshold: float) -> float | None:
    total = int(candidate)

    def fails(bad: int) -> bool:
        return limit_evidence(BadTotal(float(bad), float(total)), limit) >= threshold

    return _least(fails, total) / total if total >= 1 and fails(total) else None


def _least(holds: Callable[[int], bool], most: int) -> int:
    """Return the smallest count for which `holds`, which it does from there up to `most`."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
