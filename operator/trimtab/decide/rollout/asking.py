"""Whom the pods of a new version ask as well, so that both are compared on the same rows.

Only pods of the new version do; stable's are never restarted for it.
"""

from __future__ import annotations

from trimtab.api.deployment import DeploymentSpec
from trimtab.api.model_version import ModelVersion
from trimtab.decide.rollout.snapshot import Asked, Snapshot
from trimtab.decide.rollout.strategies import strategy_of

READS_PAIRS = 2
"""Format of tokens with the answers of two versions."""


def asked_by(snapshot: Snapshot, version: ModelVersion) -> Asked | None:
    """Return whom the pods of a version are to ask, too; None: nobody.

    Tokens of their form are written only where every pod can read them, whichever gets the label.
    """
    spec, stable = snapshot.deployment.spec, snapshot.deployment.status.stable
    if stable is None or not is_wanted(spec):
        return None
    if stable.digest == version.spec.artifact.digest:
        return None
    if "custom" in (stable.artifact.format, version.spec.artifact.format):
        return None
    serving = [process for process in snapshot.processes if process.pod_ready]
    if not serving or any(process.tokens < READS_PAIRS for process in serving):
        return None
    until = snapshot.now + spec.rollout.deadline + spec.guard.for_
    return Asked(stable.artifact, until)


def is_wanted(spec: DeploymentSpec) -> bool:
    """Return whether a gate of outcomes is to compare on the same rows."""
    if spec.compare.budget <= 0 or spec.outcomes.depends_on_answer:
        return False
    gates = strategy_of(spec.rollout).gates(spec.rollout)
    return any(gate.bad == "outcomes" and gate.against == "stable" for gate in gates)
