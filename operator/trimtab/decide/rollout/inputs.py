"""What the decisions of one pass over a Deployment rest on, small enough to keep with each.

Sums per side and gate, with threshold and spread, so that a verdict can be derived again by
`stats.sequential` without the pods; digests of the spec and of everything else that was seen.
"""

from __future__ import annotations

import hashlib
import json
from itertools import accumulate
from typing import Any

from trimtab.api.deployment import DeploymentStatus, Gate, GateStatus, Tried
from trimtab.decide.rollout.snapshot import ProcessView, Snapshot
from trimtab.decide.rollout.strategies import strategy_of

MOST_GATE_BYTES = 1300
"""Of the 2 KiB that the inputs of a decision may have."""


def inputs_of(snapshot: Snapshot, status: DeploymentStatus) -> dict[str, Any]:
    """Return what was read, as JSON: versions, gates of this look, times of samples, digests."""
    before, deployment = snapshot.deployment.status, snapshot.deployment
    rollout = before.rollout
    rollout_spec = deployment.spec.rollout
    strategy = strategy_of(rollout_spec)
    settings = {gate.name: gate for gate in strategy.gates(rollout_spec)}
    sampled = [p.sampled_at for p in snapshot.processes if p.sampled_at is not None]
    return {
        "generation": deployment.metadata.generation,
        "spec": digest_of(deployment.spec.to_json()),
        "seen": digest_of([_seen(process) for process in snapshot.processes]),
        "stable": _tried(before.stable),
        "candidate": _tried(before.candidate),
        "phase": rollout.phase if rollout is not None else None,
        "step": rollout.step.index if rollout is not None and rollout.step is not None else None,
        "confidence": deployment.spec.rollout.confidence,
        "gates": _telling_first([_gate(g, settings.get(g.name)) for g in status.gates]),
        "gateCount": len(status.gates),
        "stepCount": len(strategy.steps(rollout_spec)),
        "sampled": [f"{t.isoformat(timespec='milliseconds')}" for t in (min(sampled), max(sampled))]
        if sampled
        else [],
    }


def _telling_first(gates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the gates, those that failed and those with most evidence first, as many as fit."""
    order = sorted(gates, key=lambda g: (g["verdict"] != "Fail", -_progress(g)))
    sizes = [len(json.dumps(gate)) for gate in order]
    fitting = [total <= MOST_GATE_BYTES for total in accumulate(sizes)]
    return [gate for gate, fits in zip(order, fitting, strict=True) if fits]


def _progress(gate: dict[str, Any]) -> float:
    """Return how far the evidence of a gate is on its way to its threshold."""
    return float(gate.get("evidence", 0.0)) / float(gate.get("threshold", 1.0))


def digest_of(value: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 of canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _tried(tried: Tried | None) -> dict[str, str] | None:
    if tried is None:
        return None
    return {"version": tried.version, "revision": tried.revision, "digest": tried.digest[7:23]}


def _gate(gate: GateStatus, setting: Gate | None) -> dict[str, Any]:
    """Return the sums of one gate: `[bad, total]` of each side, and what they are held to."""
    figures: dict[str, Any] = {"name": gate.name, "verdict": gate.verdict}
    if gate.reason:
        figures["reason"] = gate.reason
    if setting is not None:
        figures["margin"] = setting.margin
        if setting.limit is not None:
            figures["limit"] = setting.limit
    figures["candidate"] = [gate.candidate.bad, gate.candidate.total]
    if gate.stable is not None:
        figures["stable"] = [gate.stable.bad, gate.stable.total]
    if gate.compared is not None:
        figures["compared"] = [gate.compared.bad, gate.compared.total]
    if gate.paired is not None and gate.paired.requests:
        figures["pairs"] = gate.paired.counts
        figures["pairedEvidence"] = gate.paired.evidence
    if gate.threshold:
        figures["evidence"], figures["threshold"] = gate.evidence, gate.threshold
        figures["spread"] = gate.spread
    return figures


def _seen(process: ProcessView) -> list[Any]:
    return [process.process, process.revision, dict(process.counts), process.problem]
