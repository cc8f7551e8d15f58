"""DriftPolicy: gather windows of counts, judge each once, and start what follows.

Intent before effect: verdict and intended RetrainJob are in status before the RetrainJob is made,
and its name follows from the cause.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from trimtab.api.conditions import EventReason
from trimtab.api.deployment import Deployment
from trimtab.api.drift_policy import DriftPolicy, DriftPolicyStatus
from trimtab.api.retrain_job import RetrainJob
from trimtab.cluster.port import DEPLOYMENTS, DRIFT_POLICIES, RETRAIN_JOBS, Json, Key
from trimtab.decide.drift.policy import PolicyDecision, decide_policy
from trimtab.decide.drift.rules import StartRetrain
from trimtab.decide.drift.signals.data import state_from_json, state_to_json
from trimtab.decide.drift.snapshot import PolicySnapshot
from trimtab.errors import Refused
from trimtab.reconcile.kinds.drift_targets import TargetMemory, observe_target
from trimtab.reconcile.kinds.names import telemetry_key
from trimtab.reconcile.kinds.typed import all_typed, typed
from trimtab.reconcile.machine.world import World

NUMBERS_EVERY = timedelta(minutes=5)
REFUSED_AGAIN = timedelta(minutes=1)
_NUMBERS = ("value", "threshold", "n", "needed", "windowStart", "windowEnd", "top", "message")


@dataclass
class _Kept:
    """What is kept of one policy between passes; safe to lose.

    decided: the last status, which may be newer than the one written.
    """

    decided: DriftPolicyStatus | None = None
    written_at: datetime | None = None
    refused_until: datetime | None = None
    targets: dict[str, TargetMemory] = field(default_factory=dict)


def saved_evidence(world: World, key: Key) -> Json | None:
    """Return the evidence of a policy's data signal by Deployment; None where there is none."""
    kept: _Kept | None = world.memory.get(key)
    targets = kept.targets if kept is not None else {}
    found = {name: state_to_json(own.data) for name, own in targets.items() if own.data.pairs}
    return {"version": 1, "targets": found} if found else None


def restore_evidence(world: World, key: Key, saved: Json) -> None:
    """Take up what `saved_evidence` gave; ValueError, KeyError or TypeError if it is broken."""
    if saved["version"] != 1:
        raise ValueError(f"its form is {saved['version']!r}, this operator reads 1")
    targets = {
        str(name): TargetMemory(data=state_from_json(state))
        for name, state in saved["targets"].items()
    }
    world.memory[key] = _Kept(targets=targets)


async def reconcile_drift_policy(world: World, key: Key) -> datetime | None:
    """Observe, decide, act; return when a window ends or the next scrape is in."""
    policy = typed(DriftPolicy, world.cache.get(key))
    kept: _Kept = world.memory.setdefault(key, _Kept())
    if policy is None or policy.metadata.deletion_timestamp is not None:
        _stop_watching(world, key, kept, set())
        world.memory.pop(key, None)
        return None
    snapshot, looks = await _observe(world, key, policy, kept)

    decision = decide_policy(snapshot)
    kept.decided = decision.status

    await _write(world, key, decision, kept)
    await _carry_out(world, key, decision, kept)
    if decision.wake_at is not None:
        looks.append(decision.wake_at)
    return min(looks, default=None)


# --- observe ------------------------------------------------------------------------------------


async def _observe(
    world: World, key: Key, policy: DriftPolicy, kept: _Kept
) -> tuple[PolicySnapshot, list[datetime]]:
    """Return the snapshot, and the times at which there will be more to see."""
    matching = _matching(world, key, policy)
    overlapped = _overlapped(world, key, policy, matching)
    own = [d for d in matching if d.metadata.name not in overlapped]
    _stop_watching(world, key, kept, {d.metadata.name for d in own})
    targets = []
    looks: list[datetime] = []
    for deployment in own:
        memory = kept.targets.setdefault(deployment.metadata.name, TargetMemory())
        target, next_look = await observe_target(world, policy, deployment, memory)
        targets.append(target)
        looks.append(next_look)
    if kept.decided is not None:
        policy = policy.model_copy(update={"status": kept.decided})
    jobs = all_typed(RetrainJob, world.cache.all(RETRAIN_JOBS, key.namespace))
    snapshot = PolicySnapshot(policy, world.now(), tuple(targets), overlapped, tuple(jobs))
    return snapshot, looks


def _matching(world: World, key: Key, policy: DriftPolicy) -> list[Deployment]:
    deployments = all_typed(Deployment, world.cache.all(DEPLOYMENTS, key.namespace))
    found = [d for d in deployments if selects(policy, d) and d.metadata.deletion_timestamp is None]
    return sorted(found, key=lambda deployment: deployment.metadata.name)


def selects(policy: DriftPolicy, deployment: Deployment) -> bool:
    """Whether a policy's selector names a Deployment."""
    selector = policy.spec.selector
    if selector.deployments:
        return deployment.metadata.name in selector.deployments
    return selector.match_labels.items() <= deployment.metadata.labels.items()


def _overlapped(
    world: World, key: Key, policy: DriftPolicy, matching: list[Deployment]
) -> dict[str, str]:
    """Return the Deployments that an older policy watches, with its name."""
    others = [
        other
        for other in all_typed(DriftPolicy, world.cache.all(DRIFT_POLICIES, key.namespace))
        if other.metadata.name != key.name
        and other.metadata.deletion_timestamp is None
        and _age_order(other) < _age_order(policy)
    ]
    return {
        deployment.metadata.name: other.metadata.name
        for deployment in matching
        for other in sorted(others, key=_age_order, reverse=True)
        if selects(other, deployment)
    }


def _age_order(policy: DriftPolicy) -> tuple[float, str]:
    created = policy.metadata.creation_timestamp
    return created.timestamp() if created is not None else 0.0, policy.metadata.name


def _stop_watching(world: World, key: Key, kept: _Kept, wanted: set[str]) -> None:
    """Drop the windows of Deployments that this policy does not watch any more."""
    for name in [name for name in kept.targets if name not in wanted]:
        del kept.targets[name]
        of_it = telemetry_key(Key(DEPLOYMENTS, key.namespace, name))
        world.telemetry.watch_windows(of_it, None)
        world.telemetry.watch_labels(of_it, None)
        # Another policy may have them now: it asks for its own windows in its next pass.
        for other in world.cache.all(DRIFT_POLICIES, key.namespace):
            if other["metadata"]["name"] != key.name:
                world.enqueue(Key(DRIFT_POLICIES, key.namespace, other["metadata"]["name"]))


# --- act ----------------------------------------------------------------------------------------


async def _write(world: World, key: Key, decision: PolicyDecision, kept: _Kept) -> None:
    live = world.cache.get(key)
    old: Json = (live or {}).get("status") or {}
    new = decision.status.to_json()
    now = world.now()
    if not _is_worth_writing(old, new, kept.written_at, now):
        kept.written_at = kept.written_at or now
        return
    await world.apply_status(key, new)
    kept.written_at = now
    _wake_deployments(world, key, decision)


def _is_worth_writing(old: Json, new: Json, written_at: datetime | None, now: datetime) -> bool:
    """What a person acts on at once; numbers that move with every window now and then."""
    if old == new:
        return False
    if _without_numbers(old) != _without_numbers(new):
        return True
    return written_at is not None and now - written_at >= NUMBERS_EVERY


def _without_numbers(status: Json) -> Json:
    kept = copy.deepcopy(status)
    if "budget" in kept:
        kept["budget"].pop("looks", None)
    for signal in kept.get("signals", []):
        # Why there is no data comes first in its message, and is no number.
        why = signal.get("message", "").partition(":")[0] if signal["verdict"] == "NoData" else ""
        for name in _NUMBERS:
            signal.pop(name, None)
        signal["why"] = why
    for name in ("value", "n"):
        kept.get("summary", {}).pop(name, None)
    for condition in kept.get("conditions", []):
        condition.pop("message", None)
    return kept


def _wake_deployments(world: World, key: Key, decision: PolicyDecision) -> None:
    """A Deployment that is asked to roll back or to pause must hear of it."""
    for name in sorted(decision.asked):
        world.enqueue(Key(DEPLOYMENTS, key.namespace, name))


async def _carry_out(world: World, key: Key, decision: PolicyDecision, kept: _Kept) -> None:
    live = world.cache.get(key)
    if live is None:
        return
    for event in decision.events:
        await world.cluster.record_event(
            live, reason=event.reason, message=event.message, warning=event.warning
        )
    if kept.refused_until is None or world.now() >= kept.refused_until:
        for start in decision.starts:
            await _start(world, live, start, kept)


async def _start(world: World, policy: Json, start: StartRetrain, kept: _Kept) -> None:
    key = Key(RETRAIN_JOBS, start.manifest["metadata"]["namespace"], start.name)
    try:
        stored = await world.cluster.create(start.manifest)
    except Refused as error:
        kept.refused_until = world.now() + REFUSED_AGAIN
        await world.cluster.record_event(
            policy, reason=EventReason.WRITE_REFUSED, message=str(error), warning=True
        )
        return
    if stored is None:
        stored = await world.cluster.read(key)
    if stored is not None:
        world.remember(stored)
    world.enqueue(key)
    await world.cluster.record_event(
        policy, reason=EventReason.RETRAIN_STARTED, message=start.message
    )
