"""What a DriftPolicy sees of one Deployment: baseline, windows, labels, scores, versions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from trimtab.api.deployment import Deployment, Tried
from trimtab.api.drift_policy import DriftPolicy, Signal, SignalKind
from trimtab.api.model_version import ModelVersion
from trimtab.cluster.port import DEPLOYMENTS, MODEL_VERSIONS, Key
from trimtab.contract.artifact import Baseline
from trimtab.contract.metrics import Series
from trimtab.decide.drift.counts import labels_of_hours, predicted_rows
from trimtab.decide.drift.finding import Finding
from trimtab.decide.drift.signals import signal_type
from trimtab.decide.drift.signals.data import DataState, DataWatch, data_finding, data_watch
from trimtab.decide.drift.snapshot import LabelledWindow, WatchedDeployment, WindowView
from trimtab.decide.drift.windows import label_hours_kept, label_window, late_label_delay
from trimtab.decide.led_time import is_to_come
from trimtab.decide.model_version import score_of
from trimtab.reconcile.kinds.names import telemetry_key
from trimtab.reconcile.kinds.typed import all_typed
from trimtab.reconcile.machine.world import World
from trimtab.store.port import ArtifactBroken, StoreAway
from trimtab.telemetry.port import ProcessCounters, Window

STORE_AGAIN = timedelta(minutes=1)
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")


@dataclass
class TargetMemory:
    """What is kept of one watched Deployment between passes; safe to lose."""

    watched_since: datetime | None = None
    window_seconds: float | None = None
    data: DataState = field(default_factory=DataState)
    digest: str = ""
    baseline_missing: str = ""
    ask_store_at: datetime | None = None


@dataclass(frozen=True)
class _Counted:
    """What telemetry has of one Deployment at one time, and whose counts are wanted."""

    now: datetime
    seconds: float
    processes: tuple[ProcessCounters, ...]
    windows: tuple[Window, ...]
    digest: str
    baseline: str


async def observe_target(
    world: World, policy: DriftPolicy, deployment: Deployment, memory: TargetMemory
) -> tuple[WatchedDeployment, datetime]:
    """Return the view of one Deployment, and when there will be more to see."""
    now = world.now()
    key = telemetry_key(Key(DEPLOYMENTS, deployment.metadata.namespace, deployment.metadata.name))
    seconds = policy.spec.window.total_seconds()
    if memory.watched_since is None or memory.window_seconds != seconds:
        memory.watched_since, memory.window_seconds = now, seconds
    # Ahead where the clock was set back: all that was watched since is of now.
    memory.watched_since = min(memory.watched_since, now)
    world.telemetry.watch_windows(key, seconds)
    looks = [_unix(_floor(now, seconds) + seconds)]
    stable = deployment.status.stable
    if stable is None:
        return WatchedDeployment(deployment.metadata.name, deployment.spec.model), looks[0]
    processes = world.telemetry.processes(key)
    baseline = await _baseline(world, stable, memory)
    if baseline is None and memory.ask_store_at is not None:
        looks.append(memory.ask_store_at)
    digest = baseline.digest if baseline is not None else _exported_baseline(processes, stable)
    counted = _Counted(now, seconds, processes, world.telemetry.windows(key), stable.digest, digest)
    delay = late_label_delay(policy.spec)
    labelled = None
    if delay is None:
        world.telemetry.watch_labels(key, None)
    else:
        length = label_window(policy.spec.window)
        end = _floor(now - delay, length.total_seconds()) + length.total_seconds()
        looks.append(_unix(end) + delay)
        world.telemetry.watch_labels(key, label_hours_kept(length, delay))
        by_hour = world.telemetry.labels_by_hour(key, stable.digest)
        labelled = _labelled(counted, by_hour, delay, length.total_seconds())
    data = None
    watch = data_watch(policy.spec, baseline) if baseline is not None else None
    if watch is not None:
        interval = deployment.spec.metrics.interval
        data = _watch_data(watch, counted, interval, memory)
        looks.append(now + interval)
    candidate = deployment.status.candidate if deployment.status.rollout is not None else None
    watched = WatchedDeployment(
        name=deployment.metadata.name,
        model=deployment.spec.model,
        is_serving=True,
        baseline_digest=digest,
        baseline=baseline,
        baseline_missing=memory.baseline_missing,
        window=_window(counted, memory),
        labelled=labelled,
        data=data,
        best_scores=_best_scores(world, policy, deployment),
        stable_scores=_scores(world, policy, deployment, stable.version_object),
        candidate=candidate.version if candidate is not None else None,
        waiting_versions=_waiting_versions(world, deployment),
        made=_made(world, deployment),
    )
    return watched, min(looks)


# --- baseline -----------------------------------------------------------------------------------


async def _baseline(world: World, stable: Tried, memory: TargetMemory) -> Baseline | None:
    if memory.digest != stable.digest:
        memory.digest, memory.baseline_missing, memory.ask_store_at = stable.digest, "", None
    documents = world.store.cached(stable.digest)
    again_at = memory.ask_store_at
    may_ask = again_at is None or not is_to_come(again_at, world.now(), STORE_AGAIN)
    if documents is None and may_ask:
        try:
            documents = await world.store.documents(str(stable.artifact.uri), stable.digest)
        except (StoreAway, ArtifactBroken) as error:
            memory.baseline_missing = f"the baseline cannot be read: {error}"
            memory.ask_store_at = world.now() + STORE_AGAIN
            return None
    if documents is not None and documents.baseline is None:
        memory.baseline_missing = "the artifact has no baseline"
    return documents.baseline if documents is not None else None


def _exported_baseline(processes: tuple[ProcessCounters, ...], stable: Tried) -> str:
    """Return the baseline that the pods of the version name, where the store is out of reach."""
    for process in processes:
        for _, labels in process.series:
            named = dict(labels)
            if named.get("digest") == stable.digest and _DIGEST.match(named.get("baseline", "")):
                return named["baseline"]
    return ""


# --- windows ------------------------------------------------------------------------------------


def _window(counted: _Counted, memory: TargetMemory) -> WindowView | None:
    """Return the newest completed window; None where nobody watched all of a silent one."""
    end = _floor(counted.now, counted.seconds)
    start = end - counted.seconds
    window = _window_at(counted, start)
    if window is not None and sum(window.counts.values()) > 0:
        return WindowView(_unix(start), _unix(end), window.counts)
    if memory.watched_since is None or memory.watched_since > _unix(start):
        return None
    return WindowView(_unix(start), _unix(end), None, _silence(counted))


def _window_at(counted: _Counted, start: float) -> Window | None:
    for window in counted.windows:
        if window.baseline == counted.baseline and abs(window.start - start) < 1:
            return window
    return None


def _silence(counted: _Counted) -> str:
    """Say why nothing was counted: the first process that could not be read, or no traffic."""
    for process in counted.processes:
        problem = process.no_data(counted.now.timestamp())
        if problem is not None and not process.is_gone:
            return f"{problem.reason}: {problem.told_of(process.pod)}"
    return "NoTraffic: no row was counted in the window"


def _labelled(
    counted: _Counted, by_hour: Mapping[int, Series], delay: timedelta, length: float
) -> LabelledWindow | None:
    """Return the newest window of `length` seconds whose labels have had their time, or None."""
    end = _floor(counted.now - delay, length)
    start = end - length
    labels, rows = labels_of_hours([by_hour], start, end)
    if not any(labels.values()):
        return None
    if not rows and length == counted.seconds:
        # A container that does not tell rows by hour.
        window = _window_at(counted, start)
        rows = predicted_rows(window.counts) if window is not None else 0.0
    return LabelledWindow(_unix(start), _unix(end), labels, rows or None)


def _watch_data(
    watch: DataWatch, counted: _Counted, interval: timedelta, memory: TargetMemory
) -> Finding:
    memory.data = watch.look(
        memory.data,
        {own.process: watch.watched_series(own.series) for own in counted.processes},
        now=counted.now.timestamp(),
        interval_seconds=interval.total_seconds(),
    )
    return data_finding(memory.data)


# --- versions -----------------------------------------------------------------------------------


def _versions(world: World, deployment: Deployment) -> list[ModelVersion]:
    of_namespace = world.cache.all(MODEL_VERSIONS, deployment.metadata.namespace)
    versions = all_typed(ModelVersion, of_namespace)
    return [version for version in versions if version.spec.model == deployment.spec.model]


def _scores(
    world: World, policy: DriftPolicy, deployment: Deployment, version_object: str
) -> dict[SignalKind, float]:
    """Return what the metrics of the policy's signals were for one version, where it is known."""
    scores: dict[SignalKind, float] = {}
    for version in _versions(world, deployment):
        if version.metadata.name != version_object:
            continue
        documents = world.store.cached(version.spec.artifact.digest)
        baseline = documents.baseline if documents is not None else None
        for signal in policy.spec.signals:
            score = _score(version, signal, baseline)
            if score is not None:
                scores[signal.kind] = score
    return scores


def _score(version: ModelVersion, signal: Signal, baseline: Baseline | None) -> float | None:
    reference = signal_type(signal.kind).reference(signal)
    if reference is None:
        return None
    return score_of(version, reference.metric, baseline, reference.slice)


def _best_scores(
    world: World, policy: DriftPolicy, deployment: Deployment
) -> dict[SignalKind, float]:
    """Return the best scores among the versions that this Deployment has promoted."""
    status = deployment.status
    promoted = {entry.version for entry in status.history if entry.outcome == "Promoted"}
    promoted |= {tried.version for tried in (status.stable, status.last_good) if tried is not None}
    of_versions = [
        _scores(world, policy, deployment, version.metadata.name)
        for version in _versions(world, deployment)
        if version.spec.version in promoted
    ]
    best: dict[SignalKind, float] = {}
    for signal in policy.spec.signals:
        scores = [scores[signal.kind] for scores in of_versions if signal.kind in scores]
        if scores:
            # Of errors less is better.
            best[signal.kind] = min(scores) if signal.ceiling is not None else max(scores)
    return best


def _made(world: World, deployment: Deployment) -> dict[str, str]:
    """Return RetrainJob to ModelVersion, also where the job was deleted."""
    return {
        version.spec.lineage.retrain_job: version.metadata.name
        for version in _versions(world, deployment)
        if version.spec.lineage is not None and version.spec.lineage.retrain_job is not None
    }


def _waiting_versions(world: World, deployment: Deployment) -> frozenset[str]:
    """Return the ModelVersions that the Deployment does not serve but could still take up."""
    status = deployment.status
    refused = {entry.version for entry in status.rejected}
    served = status.stable.version_object if status.stable is not None else ""
    return frozenset(
        version.metadata.name
        for version in _versions(world, deployment)
        if version.status.phase != "Rejected"
        and version.spec.version not in refused
        and version.metadata.name != served
    )


# --- time ---------------------------------------------------------------------------------------


def _floor(moment: datetime, seconds: float) -> float:
    """Return the start, in Unix seconds, of the window that a moment lies in."""
    return moment.timestamp() // seconds * seconds


def _unix(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
