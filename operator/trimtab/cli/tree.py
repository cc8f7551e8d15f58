"""Deployments as a tree: what serves, what is tried, their pods, who watches and who retrains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from trimtab.api.group import DEPLOYMENT_LABEL, REVISION_LABEL
from trimtab.cli.evidence import gate_line
from trimtab.cli.retrain import selects
from trimtab.cli.seen import Seen, ago, share_text
from trimtab.cli.tone import Tone, painted

MOST_JOBS = 3
"""Older RetrainJobs are counted, not shown."""
MOST_PODS = 10
"""Of one revision; those that are not Ready come first, further ones are counted."""


@dataclass
class Node:
    """One line and what belongs below it."""

    text: str
    children: list[Node] = field(default_factory=list)
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True)
class View:
    """What there is in a namespace; now: None leaves ages out, so that only changes differ."""

    deployments: Sequence[Seen] = ()
    policies: Sequence[Seen] = ()
    jobs: Sequence[Seen] = ()
    pods: Sequence[Seen] = ()
    now: datetime | None = None


def forest(view: View) -> list[Node]:
    """Return the trees of all Deployments, by name."""
    return [tree_of(one, view) for one in sorted(view.deployments, key=lambda one: one.name)]


def tree_of(deployment: Seen, view: View) -> Node:
    """Return the tree of one Deployment."""
    name = deployment.name
    node = Node(_headline(deployment), tone=_tone_of(deployment))
    pods = [pod for pod in view.pods if pod.text("metadata", "labels", DEPLOYMENT_LABEL) == name]
    node.children += _revisions(deployment, pods, view.now)
    node.children += [_quarantined(one) for one in deployment.all("status", "rejected")]
    node.children += [_policy(one, name) for one in view.policies if selects(one, deployment)]
    node.children += _jobs([j for j in view.jobs if j.text("spec", "cause", "deployment") == name])
    return node


def lines_of(node: Node, *, colour: bool = False) -> list[str]:
    """Return the tree as lines."""
    return list(_lines(node, colour))


def _lines(node: Node, colour: bool) -> Iterator[str]:
    yield painted(node.text, node.tone) if colour else node.text
    for index, child in enumerate(node.children):
        is_last = index == len(node.children) - 1
        first, rest = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
        for number, line in enumerate(_lines(child, colour)):
            yield (rest if number else first) + line


# --- a Deployment -------------------------------------------------------------------------------


class Word(Enum):
    """What a revision is to its Deployment."""

    STABLE = "stable"
    CANDIDATE = "candidate"
    CONTROL = "control"
    LAST_GOOD = "last good"
    RETIRING = "retiring"
    ENDING = "ending"


def _headline(deployment: Seen) -> str:
    status = deployment.at("status")
    serves, want = status.text("stable", "version"), status.text("summary", "want")
    pinned = deployment.text("spec", "version")
    parts = [
        f"Deployment {deployment.name}",
        f"serves {serves}" if serves else "serves nothing",
        f"wants {pinned}" if pinned else f"follows ({want or 'nothing yet'})",
    ]
    if status.text("summary", "ready"):
        parts.append(f"{status.text('summary', 'ready')} ready")
    return "  ".join([*parts, status.text("summary", "reason")]).rstrip()


def _tone_of(deployment: Seen) -> Tone:
    stands = {c.text("type"): c.text("status") for c in deployment.all("status", "conditions")}
    if stands.get("Ready") == "False" or stands.get("Degraded") == "True":
        return Tone.BAD
    if "True" in (stands.get("Quarantined"), stands.get("Stalled"), stands.get("Progressing")):
        return Tone.ATTENTION
    return Tone.GOOD if stands.get("Ready") == "True" else Tone.PLAIN


def _revisions(deployment: Seen, pods: Sequence[Seen], now: datetime | None) -> Iterator[Node]:
    """Yield what serves, what is tried, what could be returned to, and what is on its way out."""
    status = deployment.at("status")
    stable, candidate, good = (status.at(f) for f in ("stable", "candidate", "lastGood"))
    by_revision: dict[str, list[Seen]] = {}
    for pod in pods:
        by_revision.setdefault(pod.text("metadata", "labels", REVISION_LABEL), []).append(pod)

    def node(word: Word, tried: Seen, more: str = "") -> Node:
        own = by_revision.pop(tried.text("revision"), [])
        return Node(tried_line(word, tried) + more, list(_pods(own, now)))

    if stable:
        yield node(Word.STABLE, stable)
    if candidate and status.at("rollout"):
        paused = "  paused" if status.time("rollout", "pausedSince") is not None else ""
        step = status.text("summary", "step")
        more = f"  {status.text('rollout', 'phase')}{f'  step {step}' if step else ''}{paused}"
        one = node(Word.CANDIDATE, candidate, more)
        gates = [Node(gate_line(gate), tone=_gate_tone(gate)) for gate in status.all("gates")]
        one.children = [*gates, *one.children]
        yield one
    if good and good.text("revision") != stable.text("revision"):
        share = control_share(deployment)
        more = f"  {share_text(share)}" if share else ""
        yield node(Word.CONTROL if share else Word.LAST_GOOD, good, more)
    retiring = status.text("retiring", "revision")
    for revision, own in sorted(by_revision.items()):
        word = Word.RETIRING if revision == retiring else Word.ENDING
        yield Node(f"{word.value}  {revision or 'of no revision'}", list(_pods(own, now)))


def tried_line(word: Word, tried: Seen) -> str:
    """Return a revision with its pods and its share of the requests."""
    text = f"{word.value}  {tried.text('version')}  {tried.text('revision')}"
    desired = tried.count("desired")
    if not desired:
        # What is told of pods on their way out is as old as the last change of the status.
        return f"{text}  0 pods"
    parts = (
        text,
        f"{tried.count('ready')}/{desired} ready",
        tried.text("weight"),
        tried.text("share"),
    )
    return "  ".join(part for part in parts if part)


def control_share(deployment: Seen) -> float:
    """Return which share of the requests the control gets, one pod of many; 0 without one."""
    status = deployment.at("status")
    is_in_rollout = bool(status.at("rollout")) or bool(status.at("candidate"))
    if is_in_rollout or not status.at("lastGood"):
        return 0.0
    if status.time("guard", "controlSince") is None:
        return 0.0
    replicas = deployment.number("spec", "replicas")
    return 1 / ((1 if replicas is None else replicas) + 1)


def _gate_tone(gate: Seen) -> Tone:
    by_verdict = {"Fail": Tone.BAD, "NoData": Tone.ATTENTION, "Pass": Tone.GOOD}
    return by_verdict.get(gate.text("verdict"), Tone.PLAIN)


def _quarantined(one: Seen) -> Node:
    by = f"{one.text('reason')} by {one.text('by')}"
    text = f"quarantined  {one.text('version')}  {by}  {one.text('revision')}"
    return Node(text, tone=Tone.ATTENTION)


# --- pods ---------------------------------------------------------------------------------------


def _pods(pods: Iterable[Seen], now: datetime | None) -> Iterator[Node]:
    order = sorted(pods, key=lambda pod: (is_ready(pod), pod.name))
    for pod in order[:MOST_PODS]:
        yield Node(pod_line(pod, now), tone=Tone.FAINT if is_ready(pod) else Tone.ATTENTION)
    if len(order) > MOST_PODS:
        yield Node(f"and {len(order) - MOST_PODS} more pods", tone=Tone.FAINT)


def pod_line(pod: Seen, now: datetime | None) -> str:
    """Return a pod with how it stands, why, its restarts and its age."""
    restarts = sum(one.count("restartCount") for one in pod.all("status", "containerStatuses"))
    parts = [f"pod {pod.name}", _stands(pod)]
    if restarts:
        parts.append(f"{restarts} restarts")
    made = pod.time("metadata", "creationTimestamp")
    if now is not None and made is not None:
        parts.append(ago((now - made).total_seconds()))
    return "  ".join(parts)


def is_ready(pod: Seen) -> bool:
    """Whether a pod takes requests."""
    return any(
        c.text("type") == "Ready" and c.text("status") == "True"
        for c in pod.all("status", "conditions")
    )


def _stands(pod: Seen) -> str:
    if pod.text("metadata", "deletionTimestamp"):
        return "Terminating"
    if is_ready(pod):
        return "Ready"
    for one in pod.all("status", "containerStatuses"):
        for state in ("waiting", "terminated"):
            if one.text("state", state, "reason"):
                return one.text("state", state, "reason")
    for one in pod.all("status", "conditions"):
        if one.text("type") == "PodScheduled" and one.text("status") == "False":
            return one.text("reason") or "Pending"
    return pod.text("status", "phase") or "Pending"


# --- policies and retrainings -------------------------------------------------------------------


def _policy(policy: Seen, deployment: str) -> Node:
    summary = policy.at("status", "summary")
    action = summary.text("action")
    word = summary.text("verdict") + (f"  last: {action}" if action else "")
    signals = [
        Node(signal_line(one), tone=_signal_tone(one))
        for one in policy.all("status", "signals")
        if one.text("deployment") == deployment
    ]
    return Node(f"DriftPolicy {policy.name}  {word}".rstrip(), signals)


def signal_line(signal: Seen) -> str:
    """Return a signal with what it was judged on."""
    value, threshold = signal.number("value"), signal.number("threshold")
    figures = ""
    if value is not None:
        figures = f"  {value:g}"
        if threshold is not None:
            figures += f", threshold {threshold:g}"
        figures += f" (n={signal.count('n')})"
    return f"{signal.text('kind')}  {signal.text('verdict')}{figures}"


def _signal_tone(signal: Seen) -> Tone:
    by_verdict = {"Drifting": Tone.BAD, "NoData": Tone.ATTENTION, "Stable": Tone.GOOD}
    return by_verdict.get(signal.text("verdict"), Tone.PLAIN)


def _jobs(jobs: list[Seen]) -> Iterator[Node]:
    jobs.sort(key=lambda job: job.text("metadata", "creationTimestamp"), reverse=True)
    for job in jobs[:MOST_JOBS]:
        tone = Tone.BAD if job.text("status", "phase") == "Failed" else Tone.PLAIN
        yield Node(job_line(job), tone=tone)
    if len(jobs) > MOST_JOBS:
        yield Node(f"and {len(jobs) - MOST_JOBS} older RetrainJobs", tone=Tone.FAINT)


def job_line(job: Seen) -> str:
    """Return a RetrainJob with its cause and what came out."""
    status = job.at("status")
    made, cause = status.text("modelVersion"), status.text("summary", "cause")
    parts = [
        f"RetrainJob {job.name}",
        status.text("phase") or "Queued",
        status.text("summary", "result"),
        f"made {made}" if made else "",
        f"for {cause}" if cause else "",
    ]
    return "  ".join(part for part in parts if part)
