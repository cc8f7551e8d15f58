"""Policies and verdicts for tests of single decisions."""

from __future__ import annotations

from typing import Any

from tests.unit.reconcile.kinds.policies import policy_object

from trimtab.api.drift_policy import DriftPolicy, SignalStatus

QUALITY = {"kind": "quality", "floor": {"dropBy": "3%"}}
INPUTS = {"kind": "inputs"}
DATA = {"kind": "data", "missing": "2%"}


def policy(*signals: dict[str, Any], **spec: Any) -> DriftPolicy:
    raw = policy_object(*signals, **spec)
    raw["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    return DriftPolicy.model_validate(raw)


def entry(kind: str = "quality", verdict: str = "Drifting", **fields: Any) -> SignalStatus:
    return SignalStatus.model_validate(
        {
            "kind": kind,
            "deployment": "digits",
            "verdict": verdict,
            "value": 0.81,
            "threshold": 0.944,
            "n": 3000,
            "windowStart": "2025-12-31T00:00:00Z",
            "windowEnd": "2026-01-01T00:00:00Z",
            "message": f"{kind} {verdict}",
            **fields,
        }
    )
