"""What the small files of artifacts say to a Deployment, and who reads them again.

Only so many are remembered, and none after a restart. A pass of a Deployment never waits for a
store, or a way back would: it asks the passes of ModelVersions, which read and wake it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from trimtab.api.conditions import ConditionType, Reason, find_condition
from trimtab.api.deployment import Deployment, Tried
from trimtab.api.drift_policy import DriftPolicy
from trimtab.api.model_version import ModelVersion
from trimtab.cluster.port import DRIFT_POLICIES, MODEL_VERSIONS, Key
from trimtab.decide.drift.policy import requested_action
from trimtab.decide.rollout.compatibility import why_incompatible
from trimtab.decide.rollout.snapshot import Request, Snapshot
from trimtab.decide.rollout.wanted import decide_wanted
from trimtab.reconcile.kinds.typed import all_typed
from trimtab.reconcile.machine.interest import fired_signals
from trimtab.reconcile.machine.world import LONG_AGO, World

ASK_AGAIN = timedelta(seconds=30)
"""How often a store that is away is asked for what a Deployment waits for."""


@dataclass(frozen=True)
class Fit:
    """Which versions accept what stable accepts, as far as that is known."""

    incompatible: Mapping[str, str] = field(default_factory=dict)
    """ModelVersion name to what does not fit."""
    unread: frozenset[str] = frozenset()
    """ModelVersions of which it is to be read first."""


def fit_of(world: World, deployment: Deployment, versions: Mapping[str, ModelVersion]) -> Fit:
    """Compare the versions of a line with what the Deployment serves."""
    stable = deployment.status.stable
    if stable is None:
        return Fit()
    known = world.store.cached(stable.digest)
    is_in_reach = known is not None or not _is_checked_by_pods(stable, versions)
    incompatible: dict[str, str] = {}
    unread: set[str] = set()
    for name, version in versions.items():
        digest = version.spec.artifact.digest
        other = world.store.cached(digest)
        if digest == stable.digest:
            continue
        if known is not None and other is not None:
            why = why_incompatible(known.signature, other.signature)
            if why is not None:
                incompatible[name] = why
        elif is_in_reach and _was_read(version, is_store_read=bool(known or other)):
            unread.add(name)
    return Fit(incompatible, frozenset(unread))


def _is_checked_by_pods(stable: Tried, versions: Mapping[str, ModelVersion]) -> bool:
    """Return whether the operator cannot read what serves: then nobody can compare."""
    version = versions.get(stable.version_object)
    if version is None:
        return str(stable.artifact.uri).startswith("pvc://")
    return version.status.phase == "Unknown"


def _was_read(version: ModelVersion, *, is_store_read: bool) -> bool:
    """Return whether the operator verified a version itself, and so can read it again."""
    if version.status.phase != "Verified":
        return False
    verified = find_condition(version.status.conditions, ConditionType.VERIFIED)
    return is_store_read or (verified is not None and verified.status == "True")


def requested(world: World, deployment: Deployment) -> Request | None:
    """Return what a DriftPolicy asks for, judged against the baseline that serves now."""
    stable, metadata = deployment.status.stable, deployment.metadata
    documents = world.store.cached(stable.digest) if stable is not None else None
    if documents is None or documents.baseline is None:
        return None
    policies = all_typed(DriftPolicy, world.cache.all(DRIFT_POLICIES, metadata.namespace))
    asked = requested_action(policies, metadata.name, documents.baseline.digest)
    return None if asked is None else Request(asked.do, asked.message)


@dataclass
class Asking:
    """When the files that a Deployment misses were asked for; safe to lose."""

    again: datetime = LONG_AGO

    def ask(self, world: World, seen: Snapshot) -> datetime | None:
        """Have read what the decision lacked; return when to ask again, None if it lacked none."""
        missing = _missing(world, seen)
        if not missing:
            return None
        if world.now() >= self.again:
            self.again = world.now() + ASK_AGAIN
            namespace = seen.deployment.metadata.namespace
            for name in sorted(missing):
                world.enqueue(Key(MODEL_VERSIONS, namespace, name))
        return self.again


def _missing(world: World, seen: Snapshot) -> set[str]:
    """Return the ModelVersions whose files the decision lacked."""
    stable = seen.deployment.status.stable
    if stable is None:
        return set()
    missing: set[str] = set()
    if seen.unread:
        wanted = decide_wanted(seen)
        is_waiting = wanted.refusal is not None and wanted.refusal.reason is Reason.STORE_AWAY
        if wanted.version is not None and is_waiting:
            missing |= {wanted.version.metadata.name, stable.version_object}
    if world.store.cached(stable.digest) is None and _is_asked_for(world, seen.deployment):
        # Whether a policy means the version that serves is told by its baseline.
        missing.add(stable.version_object)
    return {
        name
        for name, version in seen.versions.items()
        if name in missing and version.status.phase == "Verified"
    }


def _is_asked_for(world: World, deployment: Deployment) -> bool:
    metadata = deployment.metadata
    return any(
        name == metadata.name
        for policy in world.cache.all(DRIFT_POLICIES, metadata.namespace)
        for name, _ in fired_signals(policy)
    )
