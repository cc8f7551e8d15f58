"""DriftPolicy: gather windows of counts, judge each once, and start what follows.

Intent before effect: verdict and intended RetrainJob are in status before the RetrainJob is made,
and its name follows from the cause. Before a cause is answered once more, what became of the last
answer is read live. That a RetrainJob was seen is written at once: one that is gone later, and is
not there live either, was cancelled, and is not made again.

Status says what was found last, whoever wrote it: a decision begins with it, and not with what this
process decided before another one wrote.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from trimtab.api.deployment import Deployment
from trimtab.api.drift_policy import (
    MOST_WATCHED,
    Attempt,
    DriftPolicy,
    DriftPolicyStatus,
    SignalKind,
    SignalStatus,
)
from trimtab.api.retrain_job import RetrainJob
from trimtab.cluster.port import (
    DEPLOYMENTS,
    DRIFT_POLICIES,
    MODEL_VERSIONS,
    RETRAIN_JOBS,
    Json,
    Key,
)
from trimtab.decide.drift.attempts import attempts_known, has_ended
from trimtab.decide.drift.policy import PolicyOutcome, decide_policy
from trimtab.decide.drift.rules import StartRetrain
from trimtab.decide.drift.signals.data import state_from_json, state_to_json
from trimtab.decide.drift.snapshot import PolicySnapshot
from trimtab.decide.led_time import is_to_come
from trimtab.decide.outcome import Note
from trimtab.errors import Conflict, Refused
from trimtab.reconcile.kinds.drift_targets import TargetMemory, observe_target
from trimtab.reconcile.kinds.names import telemetry_key
from trimtab.reconcile.kinds.status_writes import is_policy_worth_writing
from trimtab.reconcile.kinds.typed import all_typed, typed
from trimtab.reconcile.machine.interest import policies_beside
from trimtab.reconcile.machine.world import World
from trimtab.reconcile.pass_ import KindPass

OTHERS_WORD = timedelta(minutes=10)
"""So long another operator counts as at work after its last write; at rest it writes every five."""


@dataclass
class _Kept:
    """What is kept of one policy between passes; safe to lose.

    tried: what was decided last. decided: the same where it was taken up; it may be newer than
    what is written. over: what status said then.
    """

    tried: DriftPolicyStatus | None = None
    decided: DriftPolicyStatus | None = None
    over: Json = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    others: dict[tuple[str, SignalKind], datetime] = field(default_factory=dict)
    """By Deployment and kind the verdicts that another operator found, and when it last wrote."""
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


async def _decide(world: World, key: Key, live: Json) -> PolicyOutcome:
    """Observe once, decide; looks again when a window ends or the next scrape is in."""
    policy = typed(DriftPolicy, live)
    kept: _Kept = world.memory.setdefault(key, _Kept())
    _heed_others(live, policy.status, kept, world.now())
    snapshot, looks = await _observe(world, key, policy, kept)
    outcome = decide_policy(snapshot)
    kept.tried, kept.attempts = outcome.status, tuple(outcome.status.attempts)
    _contradict(kept, snapshot.policy.status, outcome.status)
    for start in outcome.actions:
        await _check_live(world, key, start)
    if outcome.wake_at is not None:
        looks.append(outcome.wake_at)
    return replace(outcome, wake_at=min(looks, default=None))


async def _act(world: World, key: Key, outcome: PolicyOutcome) -> tuple[Note, ...]:
    """Make the RetrainJobs; one that exists already is this one, since its name is its cause."""
    refused: Refused | None = None
    for start in outcome.actions:
        try:
            stored = await world.create(start.manifest)
        except Refused as error:
            refused = refused or error  # others may be let in
            continue
        if stored is None:
            stored = await world.cluster.read(Key(RETRAIN_JOBS, key.namespace, start.name))
        if stored is not None:
            world.remember(stored)
    if refused is not None:
        raise refused
    return ()


def _keep(world: World, key: Key, outcome: PolicyOutcome, status: Json) -> None:
    """Take the decision up: while its status is not written, its notes are not told."""
    kept: _Kept = world.memory.setdefault(key, _Kept())
    kept.decided, kept.over = outcome.status, _said({"status": status})
    kept.attempts = ()


async def _check_live(world: World, key: Key, start: StartRetrain) -> None:
    """Before a RetrainJob is made: has it been made before, and has the last answer had its turn?

    Where the intent is in status no write comes before, which an older view would fail at. Conflict
    if this view was older than what is there.
    """
    keys = [key]
    if start.attempt > 1:
        keys.append(Key(DEPLOYMENTS, key.namespace, start.deployment))
    if start.made_before:
        keys.append(Key(MODEL_VERSIONS, key.namespace, start.made_before))
    for one in keys:
        known = world.cache.get(one)
        await world.look(one)
        if world.cache.get(one) is not known:
            raise Conflict(f"{one} changed meanwhile; deciding again before {start.name} is made")


async def _gone(world: World, key: Key, attempts: Iterable[Attempt]) -> frozenset[str]:
    """Return the RetrainJobs that have no end and are not there; a view may lack one that is."""
    gone = set()
    for attempt in attempts:
        job = Key(RETRAIN_JOBS, key.namespace, attempt.name)
        if has_ended(attempt) or world.cache.get(job) is not None:
            continue
        if await world.look(job) is None:
            gone.add(attempt.name)
    return frozenset(gone)


def _forget(world: World, key: Key) -> None:
    kept: _Kept | None = world.memory.get(key)
    if kept is not None:
        _stop_watching(world, key, kept, set())


DRIFT_POLICY = KindPass(DRIFT_POLICIES, _decide, _act, is_policy_worth_writing, _keep, _forget)
reconcile_drift_policy = DRIFT_POLICY.reconciler()


# --- two at once --------------------------------------------------------------------------------


def _heed_others(live: Json, status: DriftPolicyStatus, kept: _Kept, now: datetime) -> None:
    """Where another operator wrote, go on from its word."""
    said = _said(live)
    if said == kept.over:
        return
    kept.over, tried = said, kept.tried
    if tried is None:
        return
    if said == _said({"status": tried.to_json()}):
        kept.decided = tried  # it was written, and only the reply was lost
        return
    kept.decided = None
    own = _by_signal(tried)
    theirs = [one for one, entry in _by_signal(status).items() if entry != own.get(one)]
    kept.others = dict.fromkeys((*kept.others, *theirs), now)


def _contradict(kept: _Kept, before: DriftPolicyStatus, after: DriftPolicyStatus) -> None:
    """From now on a verdict that is another than before is this operator's own."""
    if kept.others:
        said = _by_signal(before)
        for one, entry in _by_signal(after).items():
            if one in kept.others and (one not in said or said[one].verdict != entry.verdict):
                del kept.others[one]


def _by_signal(status: DriftPolicyStatus) -> dict[tuple[str, SignalKind], SignalStatus]:
    return {(entry.deployment, entry.kind): entry for entry in status.signals}


def _said(policy: Json) -> Json:
    """Return what a status says of its own; conditions follow from it, and the runner adds some."""
    status = policy.get("status") or {}
    return {name: part for name, part in status.items() if name not in ("record", "conditions")}


# --- observe ------------------------------------------------------------------------------------


async def _observe(
    world: World, key: Key, policy: DriftPolicy, kept: _Kept
) -> tuple[PolicySnapshot, list[datetime]]:
    """Return the snapshot, and the times at which there will be more to see."""
    matching = _matching(world, key, policy)
    overlapped = _overlapped(world, key, policy, matching)
    own, left_out = _within_limits(
        policy, [d for d in matching if d.metadata.name not in overlapped]
    )
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
    attempts = attempts_known(policy.status.attempts, kept.attempts)
    gone = await _gone(world, key, attempts.values())
    jobs = all_typed(RetrainJob, world.cache.all(RETRAIN_JOBS, key.namespace))
    now = world.now()
    snapshot = PolicySnapshot(
        policy,
        now,
        tuple(targets),
        overlapped,
        tuple(jobs),
        tuple(left_out),
        others=frozenset(
            one for one, at in kept.others.items() if is_to_come(at + OTHERS_WORD, now, OTHERS_WORD)
        ),
        remembered=kept.attempts,
        gone=gone,
    )
    return snapshot, looks


def _matching(world: World, key: Key, policy: DriftPolicy) -> list[Deployment]:
    deployments = all_typed(Deployment, world.cache.all(DEPLOYMENTS, key.namespace))
    found = [d for d in deployments if selects(policy, d) and d.metadata.deletion_timestamp is None]
    return sorted(found, key=lambda deployment: deployment.metadata.name)


def _within_limits(
    policy: DriftPolicy, wanted: list[Deployment]
) -> tuple[list[Deployment], list[str]]:
    """Return the Deployments that status has room for, and the names of the others.

    Who is watched already goes first, so that no verdict is lost to a new Deployment.
    """
    watched = policy.status.baselines

    def order(deployment: Deployment) -> tuple[bool, bool, str]:
        name = deployment.metadata.name
        return name not in watched, deployment.status.stable is None, name

    by_name = sorted(sorted(wanted, key=order)[:MOST_WATCHED], key=lambda d: d.metadata.name)
    names = {deployment.metadata.name for deployment in by_name}
    return by_name, [d.metadata.name for d in wanted if d.metadata.name not in names]


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
        for other in policies_beside(world.cache, key):
            world.enqueue(other)
