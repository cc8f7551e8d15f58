"""What a Deployment's passes see, and what they do: see `reconcile.pass_` for their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from trimtab.api.conditions import Reason
from trimtab.api.deployment import Deployment, DeploymentStatus
from trimtab.api.model_version import ModelVersion
from trimtab.build.names import workload_name
from trimtab.build.workload import CONTAINER, Other, build_pod_template
from trimtab.cluster.port import (
    DEPLOYMENTS,
    MODEL_VERSIONS,
    PODS,
    WORKLOADS,
    Json,
    Key,
)
from trimtab.decide.outcome import Note, Outcome
from trimtab.decide.rollout.asking import is_wanted
from trimtab.decide.rollout.children import ChildAction
from trimtab.decide.rollout.draft import earliest
from trimtab.decide.rollout.life import decide_deployment
from trimtab.decide.rollout.measures import ASIDE
from trimtab.decide.rollout.snapshot import (
    Asked,
    Frozen,
    Memory,
    PodView,
    ProcessView,
    Snapshot,
    Taken,
    WorkloadView,
)
from trimtab.reconcile.kinds.children import NAMES_AGAIN, Children, carry_out, taken_names
from trimtab.reconcile.kinds.confirmed import (
    Awaited,
    Counted,
    ready_replicas,
    require_late,
    require_live,
    require_seen,
    require_wanted,
    without_stable,
)
from trimtab.reconcile.kinds.keys import KEYS_AGAIN, keys_due
from trimtab.reconcile.kinds.measured import Measured
from trimtab.reconcile.kinds.names import telemetry_key
from trimtab.reconcile.kinds.ownership import is_ours
from trimtab.reconcile.kinds.pods import (
    Sights,
    failure_of,
    target_of,
    view_of,
    workload_revision,
)
from trimtab.reconcile.kinds.small_files import Asking, fit_of, requested
from trimtab.reconcile.kinds.status_writes import is_deployment_worth_writing
from trimtab.reconcile.kinds.typed import readable, typed
from trimtab.reconcile.machine.world import World
from trimtab.reconcile.pass_ import KindPass
from trimtab.telemetry.port import Backend, NoData, NoDataReason, ProcessCounters

NOT_SCRAPED_YET = NoData(NoDataReason.WAITING, "not scraped yet")
NOT_IN_A_ROUND_YET = NoData(NoDataReason.WAITING, "not scraped together with the others yet")


@dataclass
class Kept:
    """What is kept of one Deployment between passes; safe to lose."""

    memory: Memory = field(default_factory=Memory)
    children: Children = field(default_factory=Children)
    measured: Measured = field(default_factory=Measured)
    asking: Asking = field(default_factory=Asking)
    counted: Counted = field(default_factory=Counted)
    awaited: Awaited = field(default_factory=Awaited)
    sights: Sights = field(default_factory=Sights)
    decided_on: Snapshot | None = None
    """What the last decision that holds saw."""


@dataclass(frozen=True, kw_only=True)
class _Decided(Outcome[DeploymentStatus, ChildAction]):
    """A decision, what it saw, and what is to be remembered once it holds."""

    seen: Snapshot
    memory: Memory


def kept_of(world: World, key: Key) -> Kept | None:
    """Return what is kept of a Deployment; None before its first pass."""
    kept: Kept | None = world.memory.get(key)
    return kept


def take_up(world: World, key: Key, uid: str, memory: Memory) -> None:
    """Go on from what another process remembered of the Deployment `uid`; before its first pass."""
    world.memory[key] = Kept(memory=memory)
    world.passed(key).uid = uid


async def _decide(world: World, key: Key, live: Json) -> _Decided:
    """Observe once, decide."""
    kept: Kept = world.memory.setdefault(key, Kept())
    taken = await taken_names(world, key, live, kept.children)
    snapshot = _observe(world, key, live, kept, taken)
    outcome, memory = decide_deployment(snapshot)
    hollow = await without_stable(world, snapshot, outcome.status)
    if hollow is not None:
        snapshot = hollow
        outcome, memory = decide_deployment(snapshot)
    await require_wanted(world, snapshot, outcome.status)
    await require_live(world, snapshot, outcome.status)
    await require_late(world, snapshot, outcome.status)
    await require_seen(world, snapshot, outcome.status)
    # Nobody tells when a name that is not ours becomes free, that a store is back, or that a pod
    # lacks what it mounts.
    names = None if taken == Taken() else snapshot.now + NAMES_AGAIN
    keys = keys_due(world, key, kept.children.keys_made)
    if keys is not None and keys <= snapshot.now:
        keys = snapshot.now + KEYS_AGAIN  # this pass makes them
    asked, counted = kept.asking.ask(world, snapshot), kept.counted.check(world, snapshot)
    awaited = await kept.awaited.check(world, snapshot)
    again = earliest(outcome.wake_at, names, keys, asked, counted, awaited)
    return _Decided(
        status=outcome.status,
        notes=outcome.notes,
        actions=outcome.actions,
        wake_at=again,
        inputs=outcome.inputs,
        seen=snapshot,
        memory=memory,
    )


async def _act(
    world: World, key: Key, outcome: Outcome[DeploymentStatus, ChildAction]
) -> Sequence[Note]:
    """Make the children what the status means, in the order of their effects."""
    assert isinstance(outcome, _Decided)
    kept: Kept = world.memory[key]
    seen = outcome.seen
    return await carry_out(world, seen.deployment, seen.taken, outcome.actions, kept.children)


def _keep(
    world: World, key: Key, outcome: Outcome[DeploymentStatus, ChildAction], status: Json
) -> None:
    """Remember what the next decision goes on from."""
    assert isinstance(outcome, _Decided)
    kept: Kept = world.memory.setdefault(key, Kept())
    kept.decided_on, kept.memory = outcome.seen, outcome.memory


def _forget(world: World, key: Key) -> None:
    world.telemetry.forget(telemetry_key(key))


DEPLOYMENT = KindPass(DEPLOYMENTS, _decide, _act, is_deployment_worth_writing, _keep, _forget)
reconcile_deployment = DEPLOYMENT.reconciler()


def _backend(deployment: Deployment) -> Backend | None:
    """Return who scrapes the pods; None for the operator itself."""
    known = deployment.spec.metrics.prometheus
    if known is None:
        return None
    return Backend(
        url=known.url,
        secret=known.secret_name or "",
        labels=tuple(sorted(known.labels.items())),
        interval_seconds=known.interval.total_seconds(),
        timeout_seconds=known.timeout.total_seconds(),
    )


# --- observe -------------------------------------------------------------------------------------


def _observe(world: World, key: Key, live: Json, kept: Kept, taken: Taken) -> Snapshot:
    """Return everything that the decision rests on, and renew the scrape targets."""
    deployment = typed(Deployment, live, world.models)
    now = world.now()
    pods = world.cache.children(key, PODS)
    metrics = deployment.spec.metrics
    targets = [target for pod in pods if (target := target_of(pod, metrics)) is not None]
    world.telemetry.set_targets(telemetry_key(key), targets, _backend(deployment))
    versions, unreadable = _versions(world, key.namespace, deployment.spec.model)
    led = world.cluster.led_seconds()
    sights = kept.sights
    sights.look(pods, led, now)
    views = tuple(
        view_of(pod, now, sights.seconds(pod, led), sights.startable_seconds(pod, led))
        for pod in pods
    )
    fit = fit_of(world, deployment, versions)
    return Snapshot(
        now=now,
        deployment=deployment,
        freeze=partial(_freeze, world, deployment),
        versions=versions,
        unreadable=unreadable,
        taken=taken,
        workloads=_workloads(world, key, deployment.metadata.uid),
        pods=views,
        processes=_processes(world, key, deployment, views, kept.measured),
        incompatible=fit.incompatible,
        unread=fit.unread,
        memory=kept.memory,
        requested=requested(world, deployment),
        led=led,
    )


def _versions(
    world: World, namespace: str, model: str
) -> tuple[dict[str, ModelVersion], dict[str, str]]:
    """Return the versions of the line by name, and those that this release cannot read.

    Of which line an unreadable one is, nobody can tell: all of the namespace are in the second.
    """
    found, unreadable = readable(
        ModelVersion, world.cache.all(MODEL_VERSIONS, namespace), world.models
    )
    of_line = {version.metadata.name: version for version in found if version.spec.model == model}
    return of_line, unreadable


def _freeze(
    world: World,
    deployment: Deployment,
    version: ModelVersion,
    revision: str,
    asked: Asked | None,
) -> Frozen:
    template = build_pod_template(
        deployment,
        version,
        revision,
        world.settings.serving_image_for(version),
        world.settings.image_pull_policy,
        None if asked is None else Other(asked.artifact, asked.until.timestamp()),
    )
    containers = template["spec"]["containers"]
    image = next((c.get("image", "") for c in containers if c.get("name") == CONTAINER), "")
    return Frozen(workload_name(deployment.metadata.name, revision), image, template)


def _workloads(world: World, key: Key, uid: str) -> dict[str, WorkloadView]:
    views: dict[str, WorkloadView] = {}
    for obj in world.cache.children(key, WORKLOADS):
        if not is_ours(obj, uid):
            continue
        revision = workload_revision(obj)
        views[revision] = WorkloadView(
            name=obj["metadata"]["name"],
            uid=obj["metadata"].get("uid", ""),
            revision=revision,
            replicas=int(obj.get("spec", {}).get("replicas", 1)),
            ready=ready_replicas(obj),
            terminating="deletionTimestamp" in obj["metadata"],
            failure=failure_of(obj),
        )
    return views


def _processes(
    world: World,
    key: Key,
    deployment: Deployment,
    pods: tuple[PodView, ...],
    measured: Measured,
) -> tuple[ProcessView, ...]:
    status = deployment.status
    versions = (status.stable, status.candidate, status.last_good)
    pairs = [
        (tried.digest, tried.asks)
        for tried in (status.candidate, status.stable)
        if tried is not None and tried.asks is not None
    ]
    measured.begin(
        (tried.digest for tried in versions if tried is not None),
        pairs,
        is_paired=is_wanted(deployment.spec),
    )
    ready = {pod.name: pod.ready_seconds for pod in pods if pod.ready and not pod.terminating}
    now = world.now().timestamp()
    views = []
    for process in world.telemetry.processes(telemetry_key(key)):
        found = problem = process.no_data(now)
        if problem is not None and _is_young(process, ready.get(process.pod, 0.0)):
            problem = NOT_SCRAPED_YET
        if problem is None and process.series and not process.settled:
            problem = NOT_IN_A_ROUND_YET
        found_now = measured.of(process.settled)
        counts = found_now.counts
        views.append(
            ProcessView(
                process=process.process,
                revision=process.revision,
                counts=counts,
                sampled_at=_moment(process.sampled_at),
                problem=None if problem is None else Reason(problem.reason.value),
                detail="" if problem is None else problem.told_of(process.pod),
                fell_silent=process.fell_silent(found),
                pod_ready=process.pod in ready and not process.is_gone,
                ready_seconds=ready.get(process.pod, 0.0),
                born=_moment(process.process_start),
                first=measured.of(process.first).counts,
                warm=_warm(process, counts, measured),
                ahead=None if process.ahead is None else measured.of(process.ahead).counts,
                counted_at=_moment(process.settled_at),
                lags=process.lags,
                is_short=process.is_short,
                left_out=measured.of(process.left_out).counts if process.left_out else {},
                cells=found_now.cells,
                answers=found_now.answers,
                tokens=found_now.tokens,
                compares=found_now.compares,
            )
        )
    return tuple(views)


def _warm(
    process: ProcessCounters, counts: Mapping[str, float], measured: Measured
) -> Mapping[str, float] | None:
    """Return what it had counted when it was warm; nothing if it sets its first requests aside."""
    if ASIDE in counts:
        return {}
    return None if process.warm is None else measured.of(process.warm).counts


def _is_young(process: ProcessCounters, ready_seconds: float) -> bool:
    """Return whether its scrapes failed only because it was still starting.

    Forgiven for as long as a sample would hold. Times of conditions are whole seconds.
    """
    grace = process.stale_after_seconds + 1.0
    return process.sampled_at is None and ready_seconds <= grace and not process.is_gone


def _moment(unix_seconds: float | None) -> datetime | None:
    return None if unix_seconds is None else datetime.fromtimestamp(unix_seconds, UTC)
