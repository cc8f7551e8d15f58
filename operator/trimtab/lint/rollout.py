"""Rules on a Deployment's rollout: gates that its traffic cannot decide, shares, deadlines.

The thresholds are those of the gates: `stats/sequential.py`, one test a gate and step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from trimtab.api.deployment import Deployment, Gate, WarmUp
from trimtab.api.fields import format_duration, format_share
from trimtab.decide.rollout.measures import slow_bucket
from trimtab.decide.rollout.steps import step_share
from trimtab.decide.rollout.strategies import strategy_of
from trimtab.decide.rollout.traffic import way_of
from trimtab.lint.remarks import Remark
from trimtab.lint.warm_up import Warming
from trimtab.stats.counts import BadTotal
from trimtab.stats.sequential import (
    failure_threshold,
    limit_evidence,
    smallest_detectable_share,
)

ROLLOUT = "spec.rollout"


@dataclass(frozen=True)
class _Expected:
    """Requests that one step brings, before it may end. weight: as pods can give it.

    timed: those of the candidate whose time is evidence, without the warm-up of its pods.
    """

    weight: float
    seconds: float
    candidate: float
    stable: float
    timed: float


def deployment_remarks(deployment: Deployment, per_second: float | None) -> list[Remark]:
    """Return what is to be said of a Deployment. per_second: requests; None if nobody said."""
    rollout = deployment.spec.rollout
    strategy = strategy_of(rollout)
    remarks = [*_idle_remarks(deployment), *_guard_remarks(deployment)]
    if not strategy.steps(rollout):
        return remarks
    remarks += [*_share_remarks(deployment), *_bucket_remarks(deployment)]
    steps = _steps(deployment, per_second or 0.0)
    remarks += _time_remarks(deployment, steps, per_second)
    is_cold = _is_always_cold(deployment, steps, per_second)
    for index, gate in enumerate(strategy.gates(rollout)):
        if gate.bad == "slow" and is_cold:
            remarks.append(_cold_remark(rollout.warm_up, gate))
        elif per_second is not None:
            remarks.append(_gate_remark(deployment, gate, f"{ROLLOUT}.gates[{index}]", steps))
    return remarks


def _steps(deployment: Deployment, per_second: float) -> list[_Expected]:
    """Return the weighted steps; the last holds until `minSamples` are there."""
    spec = deployment.spec
    expected: list[_Expected] = []
    steps = strategy_of(spec.rollout).steps(spec.rollout)
    weighted = sum(step.weight is not None for step in steps)
    warming = Warming(spec.rollout.warm_up)
    for step in steps:
        if step.weight is None:
            warming.rest()
            continue
        share = way_of(spec).share(step.weight, max(1, spec.replicas), spec.replicas)
        weight = share.value
        seconds = step.for_.total_seconds() if step.for_ is not None else 0.0
        rate = per_second * weight
        missing = spec.rollout.min_samples - sum(s.candidate for s in expected)
        if len(expected) + 1 == weighted and rate > 0:
            seconds = max(seconds, missing / rate)
        timed = warming.timed(share.candidate, per_second / share.total, seconds)
        others = (per_second - rate) * seconds
        expected.append(_Expected(weight, seconds, rate * seconds, others, timed))
    return expected


def _is_always_cold(
    deployment: Deployment, steps: list[_Expected], per_second: float | None
) -> bool:
    """Return whether all that the candidate is asked falls into the warm-up of its pods.

    A pause lasts as long as a person likes, and gates judge in it, too.
    """
    rollout = deployment.spec.rollout
    if any(step.weight is None for step in strategy_of(rollout).steps(rollout)[1:]):
        return False
    if per_second is not None:
        return not any(step.timed for step in steps)
    return 0 < sum(step.seconds for step in steps) <= rollout.warm_up.for_.total_seconds()


def _cold_remark(warm_up: WarmUp, gate: Gate) -> Remark:
    text = (
        f"warmUp is longer than every step: gate {gate.name} never judges, since the first "
        f"{warm_up.requests} requests of each pod, and those of its first "
        f"{format_duration(warm_up.for_)}, do not count for it"
    )
    return Remark("warning", "warmUp", f"{ROLLOUT}.warmUp", text)


def _guard_remarks(deployment: Deployment) -> list[Remark]:
    """Name a time for the way back that somebody wrote, and that the watch does not last."""
    guard = deployment.spec.guard
    if "rollback_within" not in guard.model_fields_set or guard.rollback_within <= guard.for_:
        return []
    text = (
        f"is longer than guard.for ({format_duration(guard.for_)}): nothing is watched after that, "
        "so nothing goes back either"
    )
    return [Remark("warning", "guard", "spec.guard.rollbackWithin", text)]


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
    own = (step.for_ for step in strategy_of(rollout).steps(rollout))
    alone = sum((lasts for lasts in own if lasts is not None), timedelta(0))
    seconds = sum(step.seconds for step in steps)
    end = f"the deadline of {format_duration(rollout.deadline)}, as onDeadline says"
    field = f"{ROLLOUT}.deadline"
    if alone > rollout.deadline:
        text = f"the steps alone last {format_duration(alone)}, so every rollout ends at {end}"
        return [Remark("error", "deadline", field, text)]
    if per_second is None or seconds <= rollout.deadline.total_seconds():
        return []
    lasts = format_duration(timedelta(seconds=round(seconds)))
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
        most = max((_counted(gate, step) for step in steps), default=0.0)
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


def _counted(gate: Gate, step: _Expected) -> float:
    """Return how many requests of the candidate are evidence for a gate."""
    return step.timed if gate.bad == "slow" else step.candidate


def _smallest(gate: Gate, step: _Expected, threshold: float) -> float | None:
    candidate = _counted(gate, step)
    faults = []
    if gate.against == "stable":
        stable = BadTotal(0.0, step.stable)
        faults.append(smallest_detectable_share(candidate, stable, gate.margin, threshold))
    if gate.limit is not None:
        faults.append(_smallest_above(gate.limit, candidate, threshold))
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
