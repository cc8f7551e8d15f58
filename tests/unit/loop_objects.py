"""Objects of the loop from drift to a new version, as users and trainers write them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from trimtab.api.meta import API_VERSION
from trimtab.cluster.port import DEPLOYMENTS, MODEL_VERSIONS, RETRAIN_JOBS, Json, Key
from trimtab.contract.artifact import Baseline, Manifest, Signature, Tensor
from trimtab.store.port import Documents

NAMESPACE = "shop"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST_1 = "sha256:" + "1" * 64
DIGEST_2 = "sha256:" + "2" * 64
BASELINE_1 = "sha256:" + "b" * 64


def retrain_job_key(name: str = "digits-7f3a") -> Key:
    return Key(RETRAIN_JOBS, NAMESPACE, name)


def version_key(version: str = "v1") -> Key:
    return Key(MODEL_VERSIONS, NAMESPACE, f"digits-{version}")


DEPLOYMENT_KEY = Key(DEPLOYMENTS, NAMESPACE, "digits")


def model_version(
    version: str = "v1", *, digest: str = DIGEST_1, evaluation: list[Json] | None = None
) -> Json:
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelVersion",
        "metadata": {"name": f"digits-{version}", "namespace": NAMESPACE},
        "spec": {
            "model": "digits",
            "version": version,
            "artifact": {"uri": f"s3://models/digits/{version}/", "digest": digest},
            **({"evaluation": evaluation} if evaluation else {}),
        },
    }


def deployment(name: str = "digits", **spec: Any) -> Json:
    return {
        "apiVersion": API_VERSION,
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"model": "digits", "follow": {}, **spec},
    }


def tried(version: str = "v1", *, digest: str = DIGEST_1) -> Json:
    return {
        "version": version,
        "versionObject": f"digits-{version}",
        "digest": digest,
        "revision": f"rev{version}",
        "workload": f"digits-rev{version}",
        "artifact": {"uri": f"s3://models/digits/{version}/", "digest": digest},
        "since": "2026-01-01T00:00:00Z",
    }


def cause(**changes: Any) -> Json:
    return {
        "deployment": "digits",
        "policy": "digits",
        "signal": "quality",
        "baseline": BASELINE_1,
        "attempt": 1,
    } | changes


def retrain_job(name: str = "digits-7f3a", *, because: Json | None = None, **spec: Any) -> Json:
    return {
        "apiVersion": API_VERSION,
        "kind": "RetrainJob",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "model": "digits",
            "cause": because or cause(),
            "engine": {"job": {"args": ["--label", "label"]}},
            "data": {"uri": "s3://data/scans/"},
            **spec,
        },
    }


def report(output_uri: str, **changes: Any) -> str:
    """Return the termination message of a training that was accepted."""
    said: Json = {
        "verdict": "accepted",
        "uri": output_uri + DIGEST_2.removeprefix("sha256:")[:16] + "/",
        "digest": DIGEST_2,
        "baseline": "sha256:" + "c" * 64,
        "metrics": [
            {"metric": "accuracy", "value": 0.968, "interval": [0.95, 0.98], "n": 400},
            {"metric": "accuracy", "value": 0.9, "n": 40, "slice": "left"},
        ],
        "champion": {
            "version": "v1",
            "metrics": [
                {"metric": "accuracy", "value": 0.815, "interval": [0.77, 0.85], "n": 400},
                {"metric": "auc", "value": None, "interval": [None, None], "n": 400},
            ],
        },
        "comparison": {
            "metric": "accuracy",
            "difference": 0.153,
            "interval": [0.11, 0.2],
            "notWorseBy": 0.02,
            "n": 400,
        },
        "datasets": [
            {"name": "scans", "uri": "s3://data/scans/a.parquet", "role": "train", "rows": 1200}
        ],
        "parameters": {"estimator": "RandomForest", "seed": 7},
    }
    return json.dumps(said | changes)


@dataclass
class DocumentStore:
    """Documents by digest; what is not there raises what `missing` says."""

    by_digest: dict[str, Documents] = field(default_factory=dict)
    missing: Exception | None = None
    reads: int = 0

    async def documents(self, uri: str, digest: str) -> Documents:
        self.reads += 1
        if self.missing is not None:
            raise self.missing
        return self.by_digest[digest]

    def cached(self, digest: str) -> Documents | None:
        return self.by_digest.get(digest) if self.missing is None else None


def documents(baseline: Baseline | None = None) -> Documents:
    manifest = Manifest(
        format="sklearn",
        model_file="model.skops",
        model="digits",
        version="v1",
        created="2026-01-01T00:00:00Z",
        files=[],
    )
    tensor = Tensor(name="x", datatype="FP64", shape=[64])
    signature = Signature(task="classification", inputs=[tensor], outputs=[tensor])
    return Documents(manifest, signature, baseline)
