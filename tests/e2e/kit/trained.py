"""Versions of models that were really trained: made, wanted, served and asked."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import httpx
from tests.e2e.kit.api import Api
from tests.e2e.kit.artifacts import credentials
from tests.patience import stretched

from trimtab.training import publish

GROUP = "trimtab.dev/v1alpha1"


def declare(
    api: Api,
    name: str,
    version: str,
    model: Any,
    parts: list[tuple[Any, Any]],
    model_format: str = "sklearn",
    **options: Any,
) -> None:
    """Publish into the store of the release, and make the ModelVersion.

    parts: rows and truths to learn from, to calibrate on and to evaluate on.
    """
    learn, tune, test = parts
    with tempfile.TemporaryDirectory() as folder:
        made = publish(
            model,
            *learn,
            calibrate=tune,
            evaluate=test,
            uri=f"s3://models/{name}/{version}",
            model_name=name,
            version=version,
            credentials=credentials(Path(folder)),
            **options,
        )
    artifact = {"uri": made.uri, "digest": made.digest, "format": model_format}
    spec = {"model": name, "version": version, "artifact": artifact}
    _apply(api, "ModelVersion", f"{name}-{version}", spec)


def want(api: Api, name: str, version: str, rollout: dict[str, Any], **more: Any) -> None:
    """Let a Deployment called as the model serve this version; `more` of its spec, as given."""
    scrape = {"scrape": {"interval": "1s"}}
    spec = {"model": name, "version": version, "metrics": scrape, "rollout": rollout, **more}
    _apply(api, "Deployment", name, spec)


def _apply(api: Api, kind: str, name: str, spec: dict[str, Any]) -> None:
    api.apply(kind, {"apiVersion": GROUP, "kind": kind, "metadata": {"name": name}, "spec": spec})


def is_stable(api: Api, name: str, version: str, replicas: int) -> bool:
    """Whether this version serves with all its pods, and nothing is tried."""
    status = (api.get("Deployment", name) or {}).get("status") or {}
    stable = status.get("stable") or {}
    wanted = (version, replicas)
    return (stable.get("version"), stable.get("ready")) == wanted and "rollout" not in status


def asked(address: str, body: Any) -> httpx.Response | None:
    """Return the answer, or nothing while the Service is not known to the node."""
    try:
        return httpx.post(address, json=body, timeout=stretched(10))
    except httpx.ConnectError:
        return None


def answered_by(address: str, body: Any, version: str) -> httpx.Response | None:
    """Return the answer of this version, or nothing while another one answers."""
    answer = asked(address, body)
    return answer if answer is not None and answer.json().get("model_version") == version else None
