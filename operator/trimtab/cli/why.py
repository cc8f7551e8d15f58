"""`trimtab why`: the last decisions about an object, with the evidence that they rest on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from trimtab.api.durations import parse_duration
from trimtab.api.resource import DEPLOYMENTS, DRIFT_POLICIES, MODEL_VERSIONS, Key, Resource
from trimtab.cli.command import standing
from trimtab.cli.dashboard import known_grafana, link_to
from trimtab.cli.evidence import evidence_ratio, gate_line
from trimtab.cli.queries import Span, gate_query, gate_settings, quoted
from trimtab.cli.seen import Seen, at, printable
from trimtab.cli.session import Session
from trimtab.cli.tables import columns
from trimtab.cli.tree import control_share, signal_line

Section = tuple[str, list[str]]
"""A title and its lines; left out where there are none."""

ALERTS_PAGE = "https://trimtab.dev/docs/alerts.html"
_BEGINS = ("RolloutStarted", "StepReached")
"""Decisions with which counting begins."""
_NO_FIGURES = frozenset(
    {
        "generation", "spec", "seen", "stable", "candidate", "phase", "step", "confidence",
        "gates", "gateCount", "stepCount", "sampled", "leftOut", "command", "by",
    }
)  # fmt: skip
"""Inputs that are shown otherwise, or that only a program compares."""
LONGEST_FIGURES = 400
MOST_QUERIED = 3
"""Gates of one look: those that failed, then those with most evidence."""


async def why(session: Session, key: Key) -> int:
    """Print what was decided about an object, and why."""
    live = Seen(await session.api.get(key))
    headline, sections = about(key.resource, live, session.now())
    session.say(text_of(headline, [*sections, ("links", links(key, live))]))
    return 0


def about(resource: Resource, live: Seen, now: datetime) -> tuple[str, list[Section]]:
    """Return a headline and what is to be said of an object of any kind."""
    if resource == DEPLOYMENTS:
        return about_deployment(live, now)
    if resource == DRIFT_POLICIES:
        return about_policy(live)
    return about_version(live) if resource == MODEL_VERSIONS else about_job(live)


def text_of(headline: str, sections: Iterable[Section]) -> str:
    """Return a headline and indented sections."""
    blocks = [headline]
    for title, lines in sections:
        if lines:
            blocks.append("\n".join([f"{title}:", *(f"  {line}" for line in lines)]))
    return "\n\n".join(blocks)


# --- a Deployment -------------------------------------------------------------------------------


def about_deployment(deployment: Seen, now: datetime) -> tuple[str, list[Section]]:
    """Return what was decided about a Deployment."""
    status, name = deployment.at("status"), deployment.name
    rejected = rejected_lines(status)
    if rejected:
        rejected.append(
            f"lift with: trimtab retry mdep/{name}; of a version that is not wanted now, put its "
            "name behind"
        )
    return standing(deployment), [
        ("conditions", condition_lines(deployment)),
        ("gates at their last look", [*gate_lines(status.all("gates")), *_now(deployment, now)]),
        ("guard", list(_guard_lines(deployment))),
        ("rollouts, newest first", history_lines(status)),
        ("quarantined", rejected),
        ("decisions", list(_decisions_of_rollouts(deployment, now))),
    ]


def rejected_lines(status: Seen) -> list[str]:
    """Return the quarantined revisions, newest first, with what they rest on."""
    return [
        f"{at(r.time('at'))}  {r.text('version')} ({r.text('revision')})  {r.text('reason')} by "
        f"{r.text('by')}  {r.text('evidence')}".rstrip()
        for r in reversed(status.all("rejected"))
    ]


def history_lines(status: Seen) -> list[str]:
    """Return how the last rollouts ended, newest first."""
    return [
        f"{at(h.time('at'))}  {h.text('version')}  {h.text('outcome')} by "
        f"{h.text('by') or 'trimtab'}  {h.text('message')}".rstrip()
        for h in reversed(status.all("history"))
    ]


def _guard_lines(deployment: Seen) -> Iterator[str]:
    status = deployment.at("status")
    guard, good = status.at("guard"), status.at("lastGood")
    if not guard:
        return
    breached = f"; breached: {guard.text('breached')}" if guard.text("breached") else ""
    until = at(guard.time("until"))
    yield f"{guard.text('revision')} is watched until {until}{breached}"
    if control_share(deployment) > 0:
        since = guard.time("since")
        ends = None if since is None else since + _rollback_within(deployment)
        yield (
            f"control {good.text('version')} ({good.text('revision')}) serves beside it since "
            f"{at(guard.time('controlSince') or since)}, until {at(ends)} or the next rollout"
        )


def _rollback_within(deployment: Seen) -> timedelta:
    try:
        return parse_duration(deployment.text("spec", "guard", "rollbackWithin"))
    except ValueError:
        return timedelta(hours=1)


def _now(deployment: Seen, now: datetime) -> Iterator[str]:
    """Yield the queries of the step that goes on."""
    status = deployment.at("status")
    step = status.at("rollout", "step")
    since = step.time("countedSince") or step.time("started")
    if since is not None:
        versions = [status.text("candidate", "version"), status.text("stable", "version")]
        gates = _telling_first(status.all("gates"))
        yield from query_lines(deployment, gates, versions, Span.of(since, None, now))


def _telling_first(gates: Iterable[Seen]) -> list[Seen]:
    return sorted(
        gates, key=lambda one: (one.text("verdict") != "Fail", -(evidence_ratio(one) or 0.0))
    )


def query_lines(
    deployment: Seen, gates: Sequence[Seen], versions: Sequence[str], span: Span
) -> Iterator[str]:
    """Yield what a person pastes into Prometheus to see what the first of the gates counted."""
    settings = gate_settings(deployment)
    asked = [(gate, settings.get(gate.text("name"))) for gate in gates[:MOST_QUERIED]]
    for gate, setting in asked:
        query = None if setting is None else gate_query(deployment, setting, versions, span)
        if query is not None:
            more = f", for {span.seconds} s at least" if span.is_stretched else ""
            yield f"PromQL of gate {gate.text('name')}, since {at(span.since)}{more}:"
            yield f"  bad:   {query.bad}"
            yield f"  total: {query.total}"


def _decisions_of_rollouts(deployment: Seen, now: datetime) -> Iterator[str]:
    """Yield each decision with its figures; of gates also the queries."""
    decisions = deployment.all("status", "record", "decisions")
    heads = decision_lines(decisions)
    begun: datetime | None = None
    before, told = 0, list[str]()
    for decision, head in zip(decisions, heads, strict=True):
        yield head
        lines = [*figures_of(decision), *_queries_of(deployment, decision, begun, now)]
        if lines and lines == told:
            yield f"   the same figures as #{before}"
        else:
            yield from (f"   {line}" for line in lines)
            before, told = decision.count("seq"), lines
        if decision.text("reason") in _BEGINS:
            begun = decision.time("at")


def _queries_of(
    deployment: Seen, decision: Seen, begun: datetime | None, now: datetime
) -> Iterator[str]:
    """Yield the queries of the gates that a decision rests on: those that failed, else the first.

    begun: when what was counted began. Where that is not known any more, or one of the two versions
    is not, no query would give these figures, and there is none.
    """
    inputs, made = decision.at("inputs"), decision.time("at")
    gates = inputs.all("gates")
    versions = [inputs.text(side, "version") for side in ("candidate", "stable")]
    if made is None or begun is None or not all(versions):
        return
    failed = [gate for gate in gates if gate.text("verdict") == "Fail"]
    span = Span.of(begun, made, now)
    yield from query_lines(deployment, failed or gates[:1], versions, span)


def figures_of(decision: Seen) -> Iterator[str]:
    """Yield what a decision rests on, as it was written with it."""
    inputs = decision.at("inputs")
    for gate in inputs.all("gates"):
        yield _gate_figures(gate)
    rest = {name: value for name, value in inputs.items() if name not in _NO_FIGURES}
    if rest:
        yield printable(json.dumps(rest, sort_keys=True, ensure_ascii=False), LONGEST_FIGURES)
    if inputs.texts("leftOut"):
        yield f"not kept, for there was no room: {', '.join(inputs.texts('leftOut'))}"


def _gate_figures(gate: Seen) -> str:
    """Return a gate as a decision keeps it: `[bad, total]` of each side."""
    sides = {side: gate.numbers(side) for side in ("candidate", "stable")}
    counts = {
        side: {"bad": pair[0], "total": pair[1]} for side, pair in sides.items() if len(pair) == 2
    }
    known = {name: gate.at(name).value for name in ("name", "verdict", "reason")}
    figures = {name: gate.at(name).value for name in ("evidence", "threshold")}
    return gate_line(Seen({**known, **figures, **counts}))


# --- the other kinds ----------------------------------------------------------------------------


def about_policy(policy: Seen) -> tuple[str, list[Section]]:
    """Return what a DriftPolicy found and did."""
    status = policy.at("status")
    last = status.at("lastAction")
    action = []
    if last:
        action = [
            f"{at(last.time('at'))}  {last.text('deployment')}: {last.text('do')} for "
            f"{last.text('signal')}  {last.text('cause')}"
        ]
    verdict = status.text("summary", "verdict") or "not judged yet"
    return f"DriftPolicy {policy.name}: {verdict}", [
        ("conditions", condition_lines(policy)),
        ("signals", [line for one in status.all("signals") for line in signal_lines(one)]),
        ("PromQL of the signals", list(_signal_queries(policy))),
        ("last action", action),
        (
            "not started",
            [f"{one.text('key')}: {one.text('reason')}" for one in status.all("skipped")],
        ),
        ("decisions", list(_decisions(policy))),
    ]


def signal_lines(signal: Seen) -> Iterator[str]:
    """Yield a signal with its window, its words, and what moved most."""
    window = ""
    start, end = signal.time("windowStart"), signal.time("windowEnd")
    if start is not None and end is not None:
        window = f"  window {at(start)} to {at(end)}"
    yield f"{signal.text('deployment')}: {signal_line(signal)}{window}"
    if signal.text("message"):
        yield f"  {signal.text('message')}"
    top = [f"{one.text('name')} {one.number('value') or 0:g}" for one in signal.all("top")[:5]]
    if len(top) > 1:
        yield f"  moved most: {', '.join(top)}"


def _signal_queries(policy: Seen) -> Iterator[str]:
    if policy.all("status", "signals"):
        own = f"namespace={quoted(policy.namespace)}, name={quoted(policy.name)}"
        yield f"value:     trimtab_drift_value{{{own}}}"
        yield f"threshold: trimtab_drift_threshold{{{own}}}"


def about_job(job: Seen) -> tuple[str, list[Section]]:
    """Return how one retraining went."""
    status, cause = job.at("status"), job.at("spec", "cause")
    why_started = [f"Deployment {cause.text('deployment')}"]
    if cause.text("manual"):
        why_started.append(f"asked for by {cause.text('manual')}")
    else:
        why_started.append(
            f"signal {cause.text('signal')} of DriftPolicy {cause.text('policy')}, attempt "
            f"{cause.count('attempt') or 1}, baseline {cause.text('baseline')}"
        )
    since = job.time("spec", "data", "since")
    rows = f"rows since {at(since)}" if since is not None else "all rows"
    result = [status.text("message")] if status.text("message") else []
    result += [
        _measured(side, status.at(side)) for side in ("champion", "challenger") if status.at(side)
    ]
    if status.text("verdict"):
        result.append(f"verdict {status.text('verdict')}")
    if status.text("modelVersion"):
        result.append(f"ModelVersion {status.text('modelVersion')}")
    failure = f" ({status.text('failure')})" if status.text("failure") else ""
    return f"RetrainJob {job.name}: {status.text('phase') or 'Queued'}{failure}", [
        ("cause", why_started),
        ("data", [f"{job.text('spec', 'data', 'uri')}, {rows}"]),
        ("result", result),
        ("conditions", condition_lines(job)),
        ("decisions", list(_decisions(job))),
    ]


def about_version(version: Seen) -> tuple[str, list[Section]]:
    """Return what is known of a version."""
    spec, status = version.at("spec"), version.at("status")
    parent, job = spec.text("lineage", "parent"), spec.text("lineage", "retrainJob")
    made = [f"in place of {parent}"] if parent else []
    made += [f"by RetrainJob {job}"] if job else []
    artifact = spec.at("artifact")
    owner = spec.text("card", "owner")
    return f"ModelVersion {version.name}: {status.text('phase') or 'Pending'}", [
        ("artifact", [f"{artifact.text('uri')} {artifact.text('digest')}"]),
        ("made", made),
        ("owner", [owner] if owner else []),
        ("scores", [_score(one) for one in spec.all("evaluation")]),
        ("used by", status.texts("usedBy")),
        ("conditions", condition_lines(version)),
        ("decisions", list(_decisions(version))),
    ]


def _score(one: Seen) -> str:
    interval = _interval(one.numbers("interval"), "g")
    part = one.text("slice")
    where = f" on {part}" if part not in ("", "all") else ""
    return f"{one.text('metric')} {one.number('value') or 0:g}{interval}{where}"


def _measured(word: str, measured: Seen) -> str:
    value = measured.number("value")
    shown = "not measured" if value is None else f"{value:.3f}"
    interval = _interval(measured.numbers("interval"), ".3f")
    return f"{word} {measured.text('version')}: {measured.text('metric')} {shown}{interval}"


def _interval(ends: list[float], form: str) -> str:
    return f" ({ends[0]:{form}} to {ends[1]:{form}})" if len(ends) == 2 else ""


# --- parts --------------------------------------------------------------------------------------


def condition_lines(obj: Seen) -> list[str]:
    """Return the conditions of an object in columns."""
    fields = ("type", "status", "reason", "message")
    rows = [[one.text(f) for f in fields] for one in obj.all("status", "conditions")]
    return columns(rows).splitlines() if rows else []


def gate_lines(gates: Sequence[Seen]) -> list[str]:
    """Return gates with their counts and their words."""
    lines = []
    for gate in gates:
        lines.append(gate_line(gate))
        more = [gate.text("message")] if gate.text("message") else []
        if gate.text("smallestFault"):
            more.append(f"would have seen a fault of {gate.text('smallestFault')}")
        if gate.text("lastSampleAge"):
            more.append(f"newest figure {gate.text('lastSampleAge')} old")
        if more:
            lines.append(f"  {'; '.join(more)}")
    return lines


def decision_lines(decisions: Sequence[Seen]) -> list[str]:
    """Return the numbered decisions in columns, newest last."""
    rows = [
        (f"#{d.count('seq')}", at(d.time("at")), d.text("reason"), d.text("message"))
        for d in decisions
    ]
    return columns(rows).splitlines() if rows else []


def _decisions(obj: Seen) -> Iterator[str]:
    decisions = obj.all("status", "record", "decisions")
    for decision, head in zip(decisions, decision_lines(decisions), strict=True):
        yield head
        yield from (f"   {line}" for line in figures_of(decision))


def links(key: Key, live: Seen) -> list[str]:
    """Return where the same is to be seen in Grafana; nothing where nobody says where that is."""
    base = known_grafana()
    if base is None:
        return []
    boards: tuple[str, ...] = ("retraining",)
    deployment = live.text("spec", "cause", "deployment")
    if key.resource == DEPLOYMENTS:
        boards, deployment = ("rollout", "serving"), key.name
    elif key.resource == DRIFT_POLICIES:
        names = live.texts("spec", "selector", "deployments")
        boards, deployment = ("quality",), names[0] if len(names) == 1 else ""
    shown = [f"{board}: {link_to(base, board, key.namespace, deployment)}" for board in boards]
    return [*shown, f"alerts: {ALERTS_PAGE}"]
