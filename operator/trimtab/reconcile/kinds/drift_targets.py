"""What a DriftPolicy sees of one Deployment: baseline, windows, labels, scores, versions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from trimtab.api.deployment import Deployment, Tried
from trimtab.api.drift_policy import DriftPolicy, Signal, SignalKind
from trimtab.api.model_version import ModelVersion
from trimtab.cluster.port import DEPLOYMENTS, MODEL_VERSIONS, Key
from trimtab.contract import metrics
from trimtab.contract.artifact import Baseline, class_slice
from trimtab.contract.metrics import Series, SeriesKey
from trimtab.decide.drift.counts import Finding, predicted_rows
from trimtab.decide.drift.policy import LabelledWindow, Target, WindowView, counts_labels_by_hour
from trimtab.decide.drift.signals.data import DataState, data_finding, watch_data, watched_series
from trimtab.decide.drift.windows import label_window
from trimtab.decide.model_version import score_of
from trimtab.reconcile.kinds.names import telemetry_key
from trimtab.reconcile.kinds.typed import all_typed
from trimtab.reconcile.machine.world import World
from trimtab.store.port import ArtifactBroken, StoreAway
from trimtab.telemetry.port import ProcessCounters, Window

STORE_AGAIN = timedelta(minutes=1)
_HOUR = 3600
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
) -> tuple[Target, datetime]:
    """Return the view of one Deployment, and when there will be more to see."""
    now = world.now()
    key = telemetry_key(Key(DEPLOYMENTS, deployment.metadata.namespace, deployment.metadata.name))
    seconds = policy.spec.window.total_seconds()
    if memory.watched_since is None or memory.window_seconds != seconds:
        memory.watched_since, memory.window_seconds = now, seconds
    world.telemetry.watch_windows(key, seconds)
    looks = [_unix(_floor(now, seconds) + seconds)]
    stable = deployment.status.stable
    if stable is None:
        return Target(deployment.metadata.name, deployment.spec.model), looks[0]
    processes = world.telemetry.processes(key)
    baseline = await _baseline(world, stable, memory)
    if baseline is None and memory.ask_store_at is not None:
        looks.append(memory.ask_store_at)
    digest = baseline.digest if baseline is not None else _exported_baseline(processes, stable)
    counted = _Counted(now, seconds, processes, world.telemetry.windows(key), stable.digest, digest)
    late = next((s for s in policy.spec.signals if counts_labels_by_hour(s)), None)
    labelled = None
    if late is None or late.label_delay is None:
        world.telemetry.watch_labels(key, None)
    else:
        length = label_window(policy.spec.window).total_seconds()
        looks.append(_unix(_floor(now - late.label_delay, length) + length) + late.label_delay)
        kept = math.ceil((late.label_delay.total_seconds() + 2 * length) / _HOUR) + 1
        world.telemetry.watch_labels(key, kept)
        by_hour = world.telemetry.labels_by_hour(key, stable.digest)
        labelled = _labelled(counted, by_hour, late.label_delay, length)
    data = None
    if baseline is not None and any(s.kind == "data" for s in policy.spec.signals):
        interval = deployment.spec.metrics.interval
        data = _watch_data(policy, baseline, counted, interval, memory)
        looks.append(now + interval)
    candidate = deployment.status.candidate if deployment.status.rollout is not None else None
    target = Target(
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
    )
    return target, min(looks)


# --- baseline -----------------------------------------------------------------------------------


async def _baseline(world: World, stable: Tried, memory: TargetMemory) -> Baseline | None:
    if memory.digest != stable.digest:
        memory.digest, memory.baseline_missing, memory.ask_store_at = stable.digest, "", None
    known = world.store.cached(stable.digest)
    if known is None and (memory.ask_store_at is None or world.now() >= memory.ask_store_at):
        try:
            known = await world.store.documents(str(stable.artifact.uri), stable.digest)
        except (StoreAway, ArtifactBroken) as error:
            memory.baseline_missing = f"the baseline cannot be read: {error}"
            memory.ask_store_at = world.now() + STORE_AGAIN
            return None
    if known is not None and known.baseline is None:
        memory.baseline_missing = "the artifact has no baseline"
    return known.baseline if known is not None else None


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
    found = _find(counted, start)
    if found is not None and sum(found.counts.values()) > 0:
        return WindowView(_unix(start), _unix(end), found.counts)
    if memory.watched_since is None or memory.watched_since > _unix(start):
        return None
    return WindowView(_unix(start), _unix(end), None, _silence(counted))


def _find(counted: _Counted, start: float) -> Window | None:
    for window in counted.windows:
        if window.baseline == counted.baseline and abs(window.start - start) < 1:
            return window
    return None


def _silence(counted: _Counted) -> str:
    """Say why nothing was counted: the first process that could not be read, or no traffic."""
    for process in counted.processes:
        problem = process.no_data(counted.now.timestamp())
        if problem is not None and not process.is_gone:
            return f"{problem.reason}: {process.pod}: {problem.detail}"
    return "NoTraffic: no row was counted in the window"


def _labelled(
    counted: _Counted, by_hour: Mapping[int, Series], delay: timedelta, length: float
) -> LabelledWindow | None:
    """Return the newest window of `length` seconds whose labels have had their time, or None."""
    end = _floor(counted.now - delay, length)
    start = end - length
    found: dict[SeriesKey, float] = {}
    for hour, counts in by_hour.items():
        if start <= hour * _HOUR < end:
            for key, value in counts.items():
                found[key] = found.get(key, 0.0) + value
    rows = predicted_rows(found)
    labels = {key: value for key, value in found.items() if key[0] != metrics.PREDICTED}
    if not any(labels.values()):
        return None
    if not rows and length == counted.seconds:
        # A container that does not tell rows by hour.
        window = _find(counted, start)
        rows = predicted_rows(window.counts) if window is not None else 0.0
    return LabelledWindow(_unix(start), _unix(end), labels, rows or None)


def _watch_data(
    policy: DriftPolicy,
    baseline: Baseline,
    counted: _Counted,
    interval: timedelta,
    memory: TargetMemory,
) -> Finding:
    signal = next(signal for signal in policy.spec.signals if signal.kind == "data")
    memory.data = watch_data(
        memory.data,
        {p.process: watched_series(p.series, baseline.digest) for p in counted.processes},
        baseline,
        signal,
        now=counted.now.timestamp(),
        per_quarter=policy.spec.false_alarms.per_quarter / len(policy.spec.signals),
        interval_seconds=interval.total_seconds(),
    )
    return data_finding(memory.data)


# --- versions -----------------------------------------------------------------------------------


def _versions(world: World, deployment: Deployment) -> list[ModelVersion]:
    found = all_typed(ModelVersion, world.cache.all(MODEL_VERSIONS, deployment.metadata.namespace))
    return [version for version in found if version.spec.model == deployment.spec.model]


def _scores(
    world: World, policy: DriftPolicy, deployment: Deployment, version_object: str
) -> dict[SignalKind, float]:
    """Return what the metrics of the policy's signals were for one version, where it is known."""
    found: dict[SignalKind, float] = {}
    for version in _versions(world, deployment):
        if version.metadata.name != version_object:
            continue
        documents = world.store.cached(version.spec.artifact.digest)
        baseline = documents.baseline if documents is not None else None
        for signal in policy.spec.signals:
            score = _score(version, signal, baseline)
            if score is not None:
                found[signal.kind] = score
    return found


def _score(version: ModelVersion, signal: Signal, baseline: Baseline | None) -> float | None:
    if signal.floor is None and signal.ceiling is None:
        return None
    of_slice = class_slice(signal.class_) if signal.class_ is not None else "all"
    return score_of(version, signal.metric or "accuracy", baseline, of_slice)


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
