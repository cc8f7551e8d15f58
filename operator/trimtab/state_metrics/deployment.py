"""The series of a Deployment, and what is counted when a rollout ends."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trimtab.api.conditions import Reason
from trimtab.api.deployment import DeploymentStatus, GateStatus, HistoryEntry, Rollout, Tried
from trimtab.state_metrics.families import (
    DEPLOYMENT_INFO,
    GATE_BAD,
    GATE_EVIDENCE_RATIO,
    GATE_TOTAL,
    ROLLOUT_STEP,
    ROLLOUT_STEPS,
    ROLLOUT_WEIGHT,
    SERVING_SINCE,
)
from trimtab.state_metrics.lines import Lines
from trimtab.state_metrics.seen import (
    Json,
    Shown,
    add_common,
    lines_of,
    status_of,
    text_at,
)

_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)%")
_USUAL_STRATEGY = str(Rollout.model_fields["strategy"].default)


@dataclass(frozen=True)
class End:
    """A rollout that ended; seconds: from its start, None where that is not known."""

    outcome: str
    reason: str
    seconds: float | None


def deployment_shown(obj: Json, now: datetime) -> Shown:
    """Return the series of a Deployment; ValidationError if its status cannot be read."""
    status, lines = DeploymentStatus.read_stored(status_of(obj)), lines_of(obj)
    decided = add_common(lines, "Deployment", status)
    stable, candidate = status.stable, status.candidate
    lines.add(
        DEPLOYMENT_INFO,
        1.0,
        text_at(obj, "spec", "model"),
        stable.version if stable is not None else "",
        candidate.version if candidate is not None else "",
        text_at(obj, "spec", "rollout", "strategy") or _USUAL_STRATEGY,
    )
    lines.add(SERVING_SINCE, stable.since.timestamp() if stable is not None else None)
    if status.rollout is not None and candidate is not None:
        _add_rollout(lines, status, candidate)
    for gate in status.gates:
        _add_gate(lines, gate)
    return Shown(
        lines.text(),
        serves=None if stable is None else stable.version_object,
        decided=decided,
    )


def _add_rollout(lines: Lines, status: DeploymentStatus, candidate: Tried) -> None:
    lines.add(ROLLOUT_WEIGHT, share_in(candidate.weight), "wanted")
    lines.add(ROLLOUT_WEIGHT, share_in(candidate.share), "measured")
    step = status.rollout.step if status.rollout is not None else None
    if step is not None:
        lines.add(ROLLOUT_STEP, step.index + 1)
        lines.add(ROLLOUT_STEPS, step.of)


def _add_gate(lines: Lines, gate: GateStatus) -> None:
    lines.add(GATE_EVIDENCE_RATIO, evidence_ratio(gate), gate.name)
    for side, count in (("candidate", gate.candidate), ("stable", gate.stable)):
        if count is not None:
            lines.add(GATE_BAD, count.bad, side, gate.name)
            lines.add(GATE_TOTAL, count.total, side, gate.name)


def share_in(text: str) -> float | None:
    """Return the share at the begin of a text such as `25% wanted, 1 of 4 pods`; None: none."""
    found = _PERCENT.match(text)
    return None if found is None else float(found[1]) / 100


def evidence_ratio(gate: GateStatus) -> float | None:
    """Return log(evidence) / log(threshold), at least 0; None where nothing was judged.

    Status rounds both figures: whether it is 1 or more is the verdict's to say.
    """
    if not (math.isfinite(gate.evidence) and 1 < gate.threshold < math.inf):
        return None
    ratio = math.log(max(1.0, gate.evidence)) / math.log(gate.threshold)
    return max(1.0, ratio) if gate.verdict == "Fail" else min(ratio, math.nextafter(1.0, 0.0))


# --- ends ---------------------------------------------------------------------------------------


def ends_between(old: Json, new: Json) -> Iterator[End]:
    """Yield the rollouts whose end is in the newer status alone.

    ValidationError if one of them cannot be read.
    """
    if _written_history(old) == _written_history(new):
        return
    before, after = (DeploymentStatus.read_stored(status_of(obj)) for obj in (old, new))
    known = {_key(entry) for entry in before.history}
    for entry in after.history:
        if _key(entry) not in known:
            yield End(entry.outcome, _reason_of(entry, after), _seconds_of(entry, before))


def _written_history(obj: Json) -> Any:
    """Return the history as it was written: it tells most changes apart without being read."""
    status = status_of(obj)
    return status.get("history") if isinstance(status, Mapping) else status


def _key(entry: HistoryEntry) -> tuple[str, str, datetime]:
    return entry.revision, entry.outcome, entry.at


def _reason_of(entry: HistoryEntry, status: DeploymentStatus) -> str:
    """Return the reason of the quarantine that came with it, or of why nobody could judge."""
    for rejected in status.rejected:
        if rejected.revision == entry.revision and rejected.at == entry.at:
            return rejected.reason
    said = entry.message.partition(":")[0]
    return said if entry.outcome == Reason.UNDECIDED and said in set(Reason) else ""


def _seconds_of(entry: HistoryEntry, before: DeploymentStatus) -> float | None:
    """Return how long it took; None for a version that was not on its way up.

    A promoted version that is sent back was no candidate, and the way back is no rollout.
    """
    rollout, candidate = before.rollout, before.candidate
    if rollout is None or candidate is None or rollout.phase == "Returning":
        return None
    if candidate.revision != entry.revision:
        return None
    return max(0.0, (entry.at - rollout.started).total_seconds())
