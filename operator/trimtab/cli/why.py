"""`trimtab why`: the last decisions about an object, with the evidence that they rest on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from pydantic import ValidationError

from trimtab.api.conditions import Condition
from trimtab.api.deployment import Deployment, GateStatus
from trimtab.api.drift_policy import DriftPolicy
from trimtab.api.model_version import ModelVersion
from trimtab.api.record import Record
from trimtab.api.resource import Resource
from trimtab.api.retrain_job import Measured, RetrainJob
from trimtab.cli.command import standing
from trimtab.cli.session import Session
from trimtab.cli.tables import columns
from trimtab.cli.tree import gate_line, signal_line
from trimtab.cluster.port import DEPLOYMENTS, DRIFT_POLICIES, MODEL_VERSIONS, Json, Key
from trimtab.decide.rollout.traffic.plan import control_share
from trimtab.errors import SpecError

Section = tuple[str, list[str]]
"""A title and its lines; left out where there are none."""


async def why(session: Session, key: Key) -> int:
    """Print what was decided about an object, and why."""
    headline, sections = about(key.resource, await session.api.get(key))
    session.say(text_of(headline, sections))
    return 0


def about(resource: Resource, live: Json) -> tuple[str, list[Section]]:
    """Return a headline and what is to be said of an object of any kind."""
    try:
        if resource == DEPLOYMENTS:
            return about_deployment(Deployment.model_validate(live))
        if resource == DRIFT_POLICIES:
            return about_policy(DriftPolicy.model_validate(live))
        if resource == MODEL_VERSIONS:
            return about_version(ModelVersion.model_validate(live))
        return about_job(RetrainJob.model_validate(live))
    except ValidationError as error:
        name = live["metadata"]["name"]
        raise SpecError(f"{resource.kind} {name} cannot be read: {error}") from error


def text_of(headline: str, sections: Iterable[Section]) -> str:
    """Return a headline and indented sections."""
    blocks = [headline]
    for title, lines in sections:
        if lines:
            blocks.append("\n".join([f"{title}:", *(f"  {line}" for line in lines)]))
    return "\n\n".join(blocks)


def about_deployment(deployment: Deployment) -> tuple[str, list[Section]]:
    """Return what was decided about a Deployment."""
    status, name = deployment.status, deployment.metadata.name
    rejected = [
        f"{at(r.at)}  {r.version} ({r.revision})  {r.reason} by {r.by}  {r.evidence}".rstrip()
        for r in reversed(status.rejected)
    ]
    if rejected:
        rejected.append(
            f"lift with: trimtab retry mdep/{name}; of a version that is not wanted now, put its "
            "name behind"
        )
    history = [
        f"{at(h.at)}  {h.version}  {h.outcome} by {h.by}  {h.message}".rstrip()
        for h in reversed(status.history)
    ]
    guard = []
    if status.guard is not None:
        breached = f"; breached: {status.guard.breached}" if status.guard.breached else ""
        guard.append(f"{status.guard.revision} is watched until {at(status.guard.until)}{breached}")
        good = status.last_good
        if good is not None and control_share(deployment.spec, status) > 0:
            ends = status.guard.since + deployment.spec.guard.rollback_within
            guard.append(
                f"control {good.version} ({good.revision}) serves beside it since "
                f"{at(status.guard.control_since or status.guard.since)}, until {at(ends)} or the "
                "next rollout"
            )
    return standing(deployment), [
        ("conditions", condition_lines(status.conditions)),
        ("gates at their last look", gate_lines(status.gates)),
        ("guard", guard),
        ("rollouts, newest first", history),
        ("quarantined", rejected),
        ("decisions", decision_lines(status.record)),
    ]


def about_policy(policy: DriftPolicy) -> tuple[str, list[Section]]:
    """Return what a DriftPolicy found and did."""
    status = policy.status
    signals = []
    for signal in status.signals:
        window = ""
        if signal.window_start is not None and signal.window_end is not None:
            window = f"  window {at(signal.window_start)} to {at(signal.window_end)}"
        signals.append(f"{signal.deployment}: {signal_line(signal)}{window}")
        if signal.message:
            signals.append(f"  {signal.message}")
        if len(signal.top) > 1:
            top = ", ".join(f"{feature.name} {feature.value:g}" for feature in signal.top[:5])
            signals.append(f"  moved most: {top}")
    last = status.last_action
    action = []
    if last is not None:
        action = [f"{at(last.at)}  {last.deployment}: {last.do} for {last.signal}  {last.cause}"]
    name, verdict = policy.metadata.name, status.summary.verdict or "not judged yet"
    return f"DriftPolicy {name}: {verdict}", [
        ("conditions", condition_lines(status.conditions)),
        ("signals", signals),
        ("last action", action),
        ("not started", [f"{skipped.key}: {skipped.reason}" for skipped in status.skipped]),
        ("decisions", decision_lines(status.record)),
    ]


def about_job(job: RetrainJob) -> tuple[str, list[Section]]:
    """Return how one retraining went."""
    status, cause = job.status, job.spec.cause
    why_started = [f"Deployment {cause.deployment}"]
    if cause.manual is not None:
        why_started.append(f"asked for by {cause.manual}")
    else:
        why_started.append(
            f"signal {cause.signal} of DriftPolicy {cause.policy}, attempt {cause.attempt}, "
            f"baseline {cause.baseline}"
        )
    since = job.spec.data.since
    rows = f"rows since {at(since)}" if since is not None else "all rows"
    result = [status.message] if status.message else []
    result += [
        _measured(word, measured)
        for word, measured in (("champion", status.champion), ("challenger", status.challenger))
        if measured is not None
    ]
    if status.verdict:
        result.append(f"verdict {status.verdict}")
    if status.model_version:
        result.append(f"ModelVersion {status.model_version}")
    failure = f" ({status.failure})" if status.failure else ""
    return f"RetrainJob {job.metadata.name}: {status.phase}{failure}", [
        ("cause", why_started),
        ("data", [f"{job.spec.data.uri}, {rows}"]),
        ("result", result),
        ("conditions", condition_lines(status.conditions)),
        ("decisions", decision_lines(status.record)),
    ]


def about_version(version: ModelVersion) -> tuple[str, list[Section]]:
    """Return what is known of a version."""
    spec, status = version.spec, version.status
    made = []
    if spec.lineage is not None:
        made += [f"in place of {spec.lineage.parent}"] if spec.lineage.parent else []
        made += [f"by RetrainJob {spec.lineage.retrain_job}"] if spec.lineage.retrain_job else []
    scores = [
        f"{e.metric} {e.value:g}"
        + (f" ({e.interval[0]:g} to {e.interval[1]:g})" if e.interval else "")
        + (f" on {e.slice}" if e.slice != "all" else "")
        for e in spec.evaluation
    ]
    return f"ModelVersion {version.metadata.name}: {status.phase}", [
        ("artifact", [f"{spec.artifact.uri} {spec.artifact.digest}"]),
        ("made", made),
        ("scores", scores),
        ("used by", list(status.used_by)),
        ("conditions", condition_lines(status.conditions)),
        ("decisions", decision_lines(status.record)),
    ]


def condition_lines(conditions: Sequence[Condition]) -> list[str]:
    """Return conditions in columns."""
    rows = [(c.type, c.status, c.reason, c.message) for c in conditions]
    return columns(rows).splitlines() if rows else []


def gate_lines(gates: Sequence[GateStatus]) -> list[str]:
    """Return gates with their counts and their words."""
    lines = []
    for gate in gates:
        lines.append(gate_line(gate))
        more = [gate.message] if gate.message else []
        if gate.smallest_fault:
            more.append(f"would have seen a fault of {gate.smallest_fault}")
        if gate.last_sample_age:
            more.append(f"newest figure {gate.last_sample_age} old")
        if more:
            lines.append(f"  {'; '.join(more)}")
    return lines


def decision_lines(record: Record) -> list[str]:
    """Return the numbered decisions in columns, newest last."""
    rows = [(f"#{d.seq}", at(d.at), d.reason, d.message) for d in record.decisions]
    return columns(rows).splitlines() if rows else []


def at(moment: datetime) -> str:
    """Return a time in UTC to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def _measured(word: str, measured: Measured) -> str:
    value = f"{measured.value:.3f}" if measured.value is not None else "not measured"
    interval = ""
    if len(measured.interval) == 2:
        interval = f" ({measured.interval[0]:.3f} to {measured.interval[1]:.3f})"
    return f"{word} {measured.version}: {measured.metric} {value}{interval}"
