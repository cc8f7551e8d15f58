"""`trimtab handover`: what the next person on call has to know of a Deployment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from trimtab.api.resource import DRIFT_POLICIES, MODEL_VERSIONS, RETRAIN_JOBS, Key
from trimtab.cli.api import Scope
from trimtab.cli.command import read_deployment
from trimtab.cli.dashboard import grafana, link_to
from trimtab.cli.evidence import gate_line
from trimtab.cli.facts import alerts_of, fact_of, is_wrong
from trimtab.cli.retrain import selects
from trimtab.cli.seen import Seen, ago, at, condition
from trimtab.cli.session import Session
from trimtab.cli.tree import job_line, signal_line
from trimtab.cli.why import ALERTS_PAGE, Section, decision_lines, history_lines, text_of
from trimtab.errors import Refused, SpecError

MOST_DECISIONS = 5
MOST_ROLLOUTS = 3
MOST_QUARANTINED = 5
FINISHED = ("Succeeded", "Rejected", "InsufficientData", "Failed")


@dataclass(frozen=True)
class Scene:
    """A Deployment and what belongs to it; notes: what could not be read."""

    deployment: Seen
    policies: Sequence[Seen]
    jobs: Sequence[Seen]
    versions: Sequence[Seen]
    now: datetime
    notes: Sequence[str] = ()


async def handover(session: Session, key: Key) -> int:
    """Print the page of one Deployment."""
    deployment = await read_deployment(session, key)
    found: list[list[Seen]] = []
    notes = []
    for resource in (DRIFT_POLICIES, RETRAIN_JOBS, MODEL_VERSIONS):
        try:
            listing = await session.api.list(resource, Scope(key.namespace))
            found.append([Seen(item) for item in listing.items])
        except Refused as error:
            found.append([])
            notes.append(f"{resource.plural} are left out: {error}")
    policies, jobs, versions = found
    session.say(page(Scene(deployment, policies, jobs, versions, session.now(), notes)))
    return 0


def page(scene: Scene) -> str:
    """Return the whole page."""
    one = scene.deployment
    policies = [policy for policy in scene.policies if selects(policy, one)]
    jobs = [job for job in scene.jobs if job.text("spec", "cause", "deployment") == one.name]
    sections: list[Section] = [
        ("serves", list(_serves(scene))),
        ("owner", list(_owners(scene))),
        ("under way", list(_under_way(scene))),
        ("waits for a person", list(_waits(one))),
        ("not as it should be", list(_wrong(one, policies))),
        ("alerts that this means", list(_alerts(scene, policies, jobs))),
        ("tried, newest first", history_lines(one.at("status"))[:MOST_ROLLOUTS]),
        ("quarantined", list(_quarantined(one))),
        ("open causes", [line for policy in policies for line in _causes(policy, one.name)]),
        ("retraining", list(_retraining(jobs))),
        (
            "last decisions",
            decision_lines(one.all("status", "record", "decisions")[-MOST_DECISIONS:]),
        ),
        ("look further", list(_further(one))),
        ("not read", list(scene.notes)),
    ]
    headline = f"Deployment {one.name} in {one.namespace}, {at(scene.now)}"
    return text_of(headline, sections)


def _serves(scene: Scene) -> Iterator[str]:
    status = scene.deployment.at("status")
    stable = status.at("stable")
    if not stable:
        yield "nothing yet"
        return
    since = stable.time("since")
    age = "" if since is None else f" ({ago((scene.now - since).total_seconds())})"
    yield (
        f"{stable.text('version')}, {stable.count('ready')}/{stable.count('desired')} pods ready, "
        f"its revision {stable.text('revision')} started {at(since)}{age}"
    )
    guard = status.at("guard")
    if guard and not guard.text("breached"):
        yield f"under guard until {at(guard.time('until'))}"
    if guard.text("breached"):
        yield f"its guard saw: {guard.text('breached')}"
    good = status.at("lastGood")
    if good and good.text("revision") != stable.text("revision"):
        named = f"{good.text('version')} ({good.text('revision')})"
        rejected = {one.text("revision") for one in status.all("rejected")}
        if good.text("revision") in rejected:
            yield f"no way back: {named} is quarantined; name another with trimtab rollback --to"
        else:
            yield f"the way back is {named}"


def _owners(scene: Scene) -> Iterator[str]:
    status = scene.deployment.at("status")
    by_name = {one.name: one for one in scene.versions}
    for side in ("stable", "candidate"):
        name = status.text(side, "versionObject")
        version = by_name.get(name)
        if version is None:
            continue
        owner = version.text("spec", "card", "owner")
        yield f"{name}: {owner}" if owner else f"{name}: nobody; set spec.card.owner"


def _under_way(scene: Scene) -> Iterator[str]:
    status = scene.deployment.at("status")
    rollout, candidate = status.at("rollout"), status.at("candidate")
    if not rollout or not candidate:
        return
    parts = [f"{candidate.text('version')} is tried: {rollout.text('phase')}"]
    if status.text("summary", "step"):
        parts.append(f"step {status.text('summary', 'step')}")
    if candidate.text("share"):
        parts.append(f"gets {candidate.text('share')}")
    yield f"{', '.join(parts)}, since {at(rollout.time('started'))}"
    yield from (gate_line(gate) for gate in status.all("gates"))


def _waits(deployment: Seen) -> Iterator[str]:
    name, status = deployment.name, deployment.at("status")
    paused = status.time("rollout", "pausedSince")
    if paused is not None:
        by = status.text("rollout", "pausedBy") or "somebody"
        yield (
            f"the rollout is paused since {at(paused)} by {by}: trimtab resume mdep/{name}, or "
            f"trimtab abort mdep/{name}"
        )
    if condition(deployment, "Quarantined").text("status") == "True":
        yield (f"the wanted version is quarantined: name another one, or trimtab retry mdep/{name}")


def _wrong(deployment: Seen, policies: Sequence[Seen]) -> Iterator[str]:
    """Yield the conditions that are not fine; those that say the same are said once."""
    objects = [("", f"mdep/{deployment.name}", deployment)]
    objects += [(f"DriftPolicy {one.name}: ", f"dp/{one.name}", one) for one in policies]
    for head, target, obj in objects:
        told: dict[tuple[str, str], list[Seen]] = {}
        for one in filter(is_wrong, obj.all("status", "conditions")):
            told.setdefault((one.text("reason"), one.text("message")), []).append(one)
        for (reason, message), same in told.items():
            stands = ", ".join(f"{one.text('type')}={one.text('status')}" for one in same)
            since = at(same[0].time("lastTransitionTime"))
            yield f"{head}{stands} {reason} since {since}: {message}".removesuffix(": ")
            fact = fact_of(reason)
            if fact is not None and fact.advice:
                yield f"  do: {fact.advice.replace('mdep/NAME', target)}"


def _alerts(scene: Scene, policies: Sequence[Seen], jobs: Sequence[Seen]) -> Iterator[str]:
    objects = [("Deployment", scene.deployment)]
    objects += [("DriftPolicy", policy) for policy in policies]
    objects += [("RetrainJob", job) for job in jobs]
    for kind, obj in objects:
        for alert in alerts_of(kind, obj, scene.now):
            of = "" if kind == "Deployment" else f" of {kind} {obj.name}"
            link = f"{ALERTS_PAGE}#{alert.name.lower()}"
            yield f"{alert.name}{of} ({alert.severity}): {alert.what}; {link}"


def _quarantined(deployment: Seen) -> Iterator[str]:
    rejected = list(reversed(deployment.all("status", "rejected")))
    for one in rejected[:MOST_QUARANTINED]:
        why = f"{one.text('reason')} by {one.text('by')}"
        yield f"{at(one.time('at'))}  {one.text('version')} ({one.text('revision')})  {why}"
    if len(rejected) > MOST_QUARANTINED:
        yield f"and {len(rejected) - MOST_QUARANTINED} older ones"


def _causes(policy: Seen, deployment: str) -> Iterator[str]:
    for signal in policy.all("status", "signals"):
        if signal.text("deployment") == deployment and signal.text("verdict") == "Drifting":
            yield f"DriftPolicy {policy.name}: {signal_line(signal)}  {signal.text('message')}"
    last = policy.at("status", "lastAction")
    if last.text("deployment") == deployment:
        done = f"{last.text('do')} for {last.text('signal')}"
        yield f"DriftPolicy {policy.name}: last did {done} at {at(last.time('at'))}"


def _retraining(jobs: list[Seen]) -> Iterator[str]:
    """Yield what runs, and how the last one ended."""
    jobs = sorted(jobs, key=lambda job: job.text("metadata", "creationTimestamp"), reverse=True)
    running = [job for job in jobs if job.text("status", "phase") not in FINISHED]
    ended = [job for job in jobs if job.text("status", "phase") in FINISHED]
    yield from (job_line(job) for job in running)
    yield from (f"last ended: {job_line(job)}" for job in ended[:1])


def _further(deployment: Seen) -> Iterator[str]:
    name, namespace = deployment.name, deployment.namespace
    yield f"the evidence: trimtab why mdep/{name} -n {namespace}"
    try:
        base = grafana()
    except SpecError as error:
        yield f"dashboards: {error}"
        return
    for board in ("rollout", "quality", "serving"):
        yield f"{board}: {link_to(base, board, namespace, name)}"
