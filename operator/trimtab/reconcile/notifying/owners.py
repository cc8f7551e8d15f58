"""Who answers for what an object is about: the owner on the card of its ModelVersion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trimtab.cluster.port import DEPLOYMENTS, MODEL_VERSIONS, Json, Key
from trimtab.reconcile.machine.cache import Cache


def owner_of(cache: Cache, obj: Json) -> str:
    """Return the owner; empty where no card names one.

    Of a Deployment: of the version that is tried, else of the one that serves. Of a DriftPolicy:
    the one owner of all Deployments that it has judged. Of a RetrainJob: of its Deployment.
    """
    namespace = str(obj["metadata"].get("namespace", ""))
    if obj.get("kind") == "ModelVersion":
        return _on_card(obj)
    if obj.get("kind") == "Deployment":
        return _of_deployment(cache, obj)
    owners = set()
    for name in _deployments(obj):
        deployment = cache.get(Key(DEPLOYMENTS, namespace, name))
        owners.add(_of_deployment(cache, deployment) if deployment is not None else "")
    return owners.pop() if len(owners) == 1 else ""


def _of_deployment(cache: Cache, obj: Json) -> str:
    namespace = str(obj["metadata"].get("namespace", ""))
    for role in ("candidate", "stable"):
        version = cache.get(
            Key(MODEL_VERSIONS, namespace, str(_at(obj, "status", role, "versionObject") or ""))
        )
        if version is not None and (owner := _on_card(version)):
            return owner
    return ""


def _on_card(version: Json) -> str:
    owner = _at(version, "spec", "card", "owner")
    return owner if isinstance(owner, str) else ""


def _deployments(obj: Json) -> Iterator[str]:
    caused = _at(obj, "spec", "cause", "deployment")
    if isinstance(caused, str):
        yield caused
    signals = _at(obj, "status", "signals")
    for entry in signals if isinstance(signals, list) else []:
        if isinstance(name := _at(entry, "deployment"), str):
            yield name


def _at(obj: Any, *path: str) -> Any:
    for name in path:
        obj = obj.get(name) if isinstance(obj, Mapping) else None
    return obj
