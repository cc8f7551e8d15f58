"""Who has to look again when an object changes.

Pure: from the old and the new view of one object to the keys that read it. Levels are compared,
so that a status write that changes nothing for others wakes nobody else. Objects may be of another
release: what is not as it should be is taken for missing.
"""

from __future__ import annotations

from collections.abc import Iterator

from trimtab.api.resource import Resource
from trimtab.api.retrain_job import FINISHED_PHASES
from trimtab.cluster.port import (
    DEPLOYMENTS,
    DRIFT_POLICIES,
    MODEL_VERSIONS,
    OWN_KINDS,
    RETRAIN_JOBS,
    Json,
    Key,
)
from trimtab.reconcile.machine.cache import Cache, Change, key_of, parent_of


def interested_in_own_write(cache: Cache, change: Change) -> set[Key]:
    """Return the keys to reconcile after a write of our own.

    The pass that wrote knows what it wrote and needs no further pass; a new object does.
    """
    keys = interested(cache, change)
    if change.old is not None and change.new is not None:
        keys -= {parent_of(change.resource, change.new)}
    return keys


def interested(cache: Cache, change: Change) -> set[Key]:
    """Return the keys to reconcile after an object went from `old` to `new`."""
    resource, old, new = change
    obj = new if new is not None else old
    if obj is None:
        return set()
    keys = {parent for view in (old, new) if view and (parent := parent_of(resource, view))}
    if resource not in OWN_KINDS:
        return keys
    namespace = obj["metadata"].get("namespace", "")
    if resource == MODEL_VERSIONS:
        keys.update(_of_line(cache, namespace, obj))
    elif resource == DEPLOYMENTS:
        keys.update(_versions_that_changed_use(namespace, old, new))
        keys.update(_all_of(cache, DRIFT_POLICIES, namespace))
    elif resource == DRIFT_POLICIES:
        if old is None or new is None or _generation(old) != _generation(new):
            # Of two policies on one Deployment the older wins: the other one may be up now.
            keys.update(_all_of(cache, DRIFT_POLICIES, namespace))
        keys.update(_asked_by(namespace, old, new))
    elif resource == RETRAIN_JOBS:
        has_ended = _is_finished(new) != _is_finished(old) or new is None
        if has_ended or old is None:
            keys.update(_all_of(cache, DRIFT_POLICIES, namespace))
        if has_ended:
            keys.update(_deployment_of_cause(namespace, obj))
    return keys


def _of_line(cache: Cache, namespace: str, version: Json) -> Iterator[Key]:
    line = _part(version, "spec").get("model")
    for deployment in cache.all(DEPLOYMENTS, namespace):
        if _part(deployment, "spec").get("model") == line:
            yield key_of(DEPLOYMENTS, deployment)


def _versions_that_changed_use(namespace: str, old: Json | None, new: Json | None) -> Iterator[Key]:
    for name in versions_in_use(old) ^ versions_in_use(new):
        yield Key(MODEL_VERSIONS, namespace, name)


def readers_of_documents(cache: Cache, version: Json) -> set[Key]:
    """Return who decides with the small files of a version's artifact."""
    return set(_of_line(cache, version["metadata"].get("namespace", ""), version))


def policies_beside(cache: Cache, policy: Key) -> set[Key]:
    """Return the policies that may watch what this one does not watch any more."""
    return set(_all_of(cache, DRIFT_POLICIES, policy.namespace)) - {policy}


def _asked_by(namespace: str, old: Json | None, new: Json | None) -> Iterator[Key]:
    """A Deployment whose signals fired or cleared may be asked to roll back or to pause."""
    for deployment in {name for name, _ in fired_signals(old) ^ fired_signals(new)}:
        yield Key(DEPLOYMENTS, namespace, deployment)


def fired_signals(policy: Json | None) -> set[tuple[str, str]]:
    """Return Deployment and kind of the signals of a policy that have fired."""
    signals = _part(policy, "status").get("signals")
    return {
        (str(signal.get("deployment")), str(signal.get("kind")))
        for signal in (signals if isinstance(signals, list) else [])
        if isinstance(signal, dict) and signal.get("verdict") == "Drifting"
    }


def versions_in_use(deployment: Json | None) -> set[str]:
    """Return the names of the ModelVersions that a Deployment serves or can return to."""
    status = _part(deployment, "status")
    tried = [_part(status, field) for field in ("stable", "candidate", "lastGood")]
    names = (entry.get("versionObject") for entry in tried)
    return {name for name in names if isinstance(name, str) and name}


def _part(obj: Json | None, field: str) -> Json:
    part = (obj or {}).get(field)
    return part if isinstance(part, dict) else {}


def _all_of(cache: Cache, resource: Resource, namespace: str) -> Iterator[Key]:
    return (key_of(resource, obj) for obj in cache.all(resource, namespace))


def _generation(obj: Json) -> object:
    return obj["metadata"].get("generation")


def _is_finished(retrain_job: Json | None) -> bool:
    phase = _part(retrain_job, "status").get("phase")
    return isinstance(phase, str) and phase in FINISHED_PHASES


def _deployment_of_cause(namespace: str, retrain_job: Json) -> Iterator[Key]:
    name = _part(_part(retrain_job, "spec"), "cause").get("deployment")
    if isinstance(name, str) and name:
        yield Key(DEPLOYMENTS, namespace, name)
