"""Objects of the four kinds as a user writes them: good ones, and a builder for variations."""

from copy import deepcopy
from typing import Any

from trimtab.api.meta import API_VERSION

Json = dict[str, Any]

DIGEST = "sha256:" + "9f2c" * 16
REMOVED = object()
"""As a value of `changed`: take the field away."""


def changed(obj: Json, changes: dict[str, Any]) -> Json:
    """Return a copy in which each path, such as `spec.rollout.steps.0.weight`, has a new value."""
    result = deepcopy(obj)
    for path, value in changes.items():
        *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
        target: Any = result
        for part in parents:
            target = target.setdefault(part, {}) if isinstance(target, dict) else target[part]
        if value is REMOVED:
            del target[last]
        else:
            target[last] = deepcopy(value)
    return result


def an_object(kind: str, name: str, spec: Json) -> Json:
    """Return an object of ours in the namespace `default`."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


MODEL_VERSION = an_object(
    "ModelVersion",
    "digits-v2",
    {
        "model": "digits",
        "version": "v2",
        "artifact": {
            "uri": "s3://models/digits/v2/",
            "digest": DIGEST,
            "format": "sklearn",
            "secretName": "trimtab-artifacts",
        },
        "lineage": {
            "parent": "digits-v1",
            "retrainJob": "digits-7f3a",
            "code": {
                "repository": "https://git.example.com/shop/digits",
                "revision": "3c1e",
                "image": f"registry.example.com/train@{DIGEST}",
            },
            "datasets": [
                {
                    "name": "scans",
                    "uri": "s3://data/scans/2026-11.parquet",
                    "digest": DIGEST,
                    "role": "train",
                    "rows": 12000,
                    "parents": ["letters"],
                    "classification": "internal",
                    "sensitive": False,
                    "purpose": ["sorting"],
                    "retainUntil": "2027-06-30",
                    "transformations": ["dropna(pixel_*)", "scale(0..16 -> 0..1)"],
                }
            ],
            "parameters": {"estimator": "HistGradientBoosting", "seed": "7"},
        },
        "evaluation": [
            {
                "metric": "accuracy",
                "value": 0.974,
                "interval": [0.962, 0.983],
                "n": 899,
                "dataset": "scans-test",
                "slice": "all",
            }
        ],
        "card": {
            "intendedUse": ["reading digits on parcels"],
            "prohibitedUse": ["reading handwriting of other scripts"],
            "limitations": ["scans that are turned by more than 10 degrees"],
            "owner": "vision@shop",
        },
    },
)

DEPLOYMENT = an_object(
    "Deployment",
    "digits",
    {
        "model": "digits",
        "version": "v2",
        "replicas": 3,
        "serving": {
            "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}},
            "env": [{"name": "LOG_LEVEL", "value": "info"}],
        },
        "metrics": {"scrape": {"interval": "5s"}},
        "rollout": {
            "strategy": "canary",
            "steps": [{"weight": "25%", "for": "1m"}, {"weight": "50%", "for": "2m"}],
            "deadline": "15m",
            "onDeadline": "undecided",
            "confidence": "99%",
            "minSamples": 50,
            "gates": [
                {"name": "errors", "bad": "errors", "against": "stable", "margin": "0.5%"},
                {"name": "rejected", "bad": "rejected", "against": "stable", "margin": "1%"},
                {
                    "name": "slow",
                    "bad": "slow",
                    "slowerThan": "250ms",
                    "against": "stable",
                    "margin": "2%",
                },
                {
                    "name": "wrong",
                    "bad": "outcomes",
                    "against": "stable",
                    "margin": "1%",
                    "onNoData": "ignore",
                },
            ],
        },
        "guard": {"for": "24h", "rollbackWithin": "1h"},
    },
)

RETRAIN_TEMPLATE: Json = {
    "engine": {"job": {"resources": {"requests": {"cpu": "1"}}}},
    "data": {"uri": "s3://data/scans/", "since": "window"},
    "gate": {"metric": "accuracy", "against": "serving", "notWorseBy": "2%"},
    "activeDeadline": "2h",
}

DRIFT_POLICY = an_object(
    "DriftPolicy",
    "digits",
    {
        "selector": {"deployments": ["digits"]},
        "window": "24h",
        "reference": "training",
        "falseAlarms": {"perQuarter": 1},
        "signals": [
            {"kind": "inputs", "tolerance": 0.02},
            {"kind": "predictions", "tolerance": 0.02},
            {
                "kind": "quality",
                "metric": "accuracy",
                "floor": {"dropBy": "3%", "from": "best"},
            },
            {
                "kind": "outcomes",
                "metric": "accuracy",
                "floor": {"dropBy": "3%", "from": "best"},
                "labelDelay": "48h",
            },
            {"kind": "data", "missing": "2%", "unseen": "2%", "outOfRange": "2%"},
        ],
        "actions": [
            {"signal": "data", "do": ["notify"]},
            {"signal": "outcomes", "do": ["retrain"]},
            {"signal": "quality", "do": ["retrain"]},
            {"signal": "inputs", "do": ["notify"]},
            {"signal": "predictions", "do": ["notify"]},
        ],
        "retrain": {
            "cooldown": "24h",
            "maxPerWeek": 2,
            "giveUpAfter": 2,
            "job": RETRAIN_TEMPLATE,
        },
    },
)

RETRAIN_JOB = an_object(
    "RetrainJob",
    "digits-7f3a",
    {
        "model": "digits",
        "cause": {
            "deployment": "digits",
            "policy": "digits",
            "signal": "quality",
            "baseline": DIGEST,
            "attempt": 1,
        },
        "engine": {
            "job": {
                "image": "registry.example.com/train:1",
                "args": ["--estimator", "sklearn.ensemble.RandomForestClassifier"],
                "resources": {"limits": {"memory": "1Gi"}},
            }
        },
        "data": {"uri": "s3://data/scans/", "since": "2026-11-01T00:00:00Z"},
        "gate": {
            "metric": "accuracy",
            "against": "serving",
            "notWorseBy": "2%",
            "confidence": "95%",
        },
        "activeDeadline": "2h",
    },
)
