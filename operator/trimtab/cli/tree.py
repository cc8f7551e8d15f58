"""`trimtab get`: Deployments with what serves, what is tried, who watches and who retrains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from trimtab.api.deployment import Deployment, GateStatus, Tried
from trimtab.api.drift_policy import DriftPolicy, SignalStatus
from trimtab.api.fields import format_share
from trimtab.api.retrain_job import RetrainJob
from trimtab.cli.session import Session
from trimtab.cluster.port import DEPLOYMENTS, DRIFT_POLICIES, RETRAIN_JOBS, Key
from trimtab.decide.rollout.traffic.plan import control_share
from trimtab.reconcile.kinds.drift_policy import selects
from trimtab.reconcile.kinds.typed import all_typed

WATCH_EVERY_SECONDS = 1.0
MOST_JOBS = 3
"""Older RetrainJobs are counted, not shown."""
_CLEAR = "\033[H\033[2J"


@dataclass
class Node:
    """One line and what belongs below it."""

    text: str
    children: list[Node] = field(default_factory=list)


async def get(session: Session, key: Key | None, *, watch: bool, clear: bool) -> int:
    """Print the tree of one Deployment or all; with `watch` again whenever it changes."""
    shown = ""
    while True:
        text = await _tree(session, key)
        if text != shown:
            session.say(f"{_CLEAR}{text}" if clear and watch else text)
            shown = text
        if not watch:
            return 0
        await session.sleep(WATCH_EVERY_SECONDS)


async def _tree(session: Session, key: Key | None) -> str:
    if key is not None:
        found = [await session.api.get(key)]
    else:
        found = await session.api.list(DEPLOYMENTS, session.namespace)
    deployments = all_typed(Deployment, found)
    if not deployments:
        return f"no Deployments of trimtab.dev in namespace {session.namespace}"
    policies = all_typed(DriftPolicy, await session.api.list(DRIFT_POLICIES, session.namespace))
    jobs = all_typed(RetrainJob, await session.api.list(RETRAIN_JOBS, session.namespace))
    nodes = [tree_of(deployment, policies, jobs) for deployment in deployments]
    return "\n".join(line for node in nodes for line in lines_of(node))


def tree_of(
    deployment: Deployment, policies: Sequence[DriftPolicy], jobs: Sequence[RetrainJob]
) -> Node:
    """Return the tree of one Deployment."""
    status, name = deployment.status, deployment.metadata.name
    node = Node(_headline(deployment))
    if status.stable is not None:
        node.children.append(Node(_tried("stable", status.stable)))
    if status.candidate is not None and status.rollout is not None:
        step = f"  step {status.summary.step}" if status.summary.step else ""
        paused = "  paused" if status.rollout.paused_since is not None else ""
        text = f"{_tried('candidate', status.candidate)}  {status.rollout.phase}{step}{paused}"
        node.children.append(Node(text, [Node(gate_line(gate)) for gate in status.gates]))
    good = status.last_good
    if good is not None and (status.stable is None or good.revision != status.stable.revision):
        share = control_share(deployment.spec, status)
        control = f"  {format_share(round(share, 3))}" if share else ""
        node.children.append(Node(_tried("control" if share else "last good", good) + control))
    node.children += [
        Node(f"quarantined  {r.version}  {r.reason} by {r.by}  {r.revision}")
        for r in status.rejected
    ]
    for policy in policies:
        if selects(policy, deployment):
            signals = [s for s in policy.status.signals if s.deployment == name]
            text = f"DriftPolicy {policy.metadata.name}  {_word(policy)}"
            node.children.append(Node(text.rstrip(), [Node(signal_line(s)) for s in signals]))
    own = [job for job in jobs if job.spec.cause.deployment == name]
    own.sort(key=lambda job: str(job.metadata.creation_timestamp), reverse=True)
    node.children += [Node(job_line(job)) for job in own[:MOST_JOBS]]
    if len(own) > MOST_JOBS:
        node.children.append(Node(f"and {len(own) - MOST_JOBS} older RetrainJobs"))
    return node


def lines_of(node: Node) -> list[str]:
    """Return the tree as lines."""
    lines = [node.text]
    for index, child in enumerate(node.children):
        is_last = index == len(node.children) - 1
        first, rest = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
        below = lines_of(child)
        lines += [first + below[0], *(rest + line for line in below[1:])]
    return lines


def gate_line(gate: GateStatus) -> str:
    """Return a gate with its counts, as bad/total of candidate and stable."""
    counts = f"{gate.candidate.bad:g}/{gate.candidate.total:g}"
    if gate.stable is not None:
        counts += f" against {gate.stable.bad:g}/{gate.stable.total:g}"
    evidence = f"  evidence {gate.evidence:.3g} of {gate.threshold:g}" if gate.threshold else ""
    reason = f"  {gate.reason}" if gate.reason else ""
    return f"gate {gate.name}  {gate.verdict}{reason}  {counts}{evidence}"


def signal_line(signal: SignalStatus) -> str:
    """Return a signal with what it was judged on."""
    figures = ""
    if signal.value is not None:
        figures = f"  {signal.value:g}"
        if signal.threshold is not None:
            figures += f", threshold {signal.threshold:g}"
        figures += f" (n={signal.n})"
    return f"{signal.kind}  {signal.verdict}{figures}"


def job_line(job: RetrainJob) -> str:
    """Return a RetrainJob with its cause and what came out."""
    status = job.status
    parts = [f"RetrainJob {job.metadata.name}", status.phase, status.summary.result]
    if status.model_version:
        parts.append(f"made {status.model_version}")
    if status.summary.cause:
        parts.append(f"for {status.summary.cause}")
    return "  ".join(part for part in parts if part)


def _headline(deployment: Deployment) -> str:
    status, summary = deployment.status, deployment.status.summary
    serving = f"serves {status.stable.version}" if status.stable else "serves nothing"
    wanted = deployment.spec.version or summary.want
    wants = f"wants {wanted}" if deployment.spec.version else f"follows ({wanted or 'nothing yet'})"
    parts = [f"Deployment {deployment.metadata.name}", serving, wants]
    if summary.ready:
        parts.append(f"{summary.ready} ready")
    return "  ".join([*parts, summary.reason]).rstrip()


def _tried(what: str, tried: Tried) -> str:
    text = f"{what}  {tried.version}  {tried.revision}"
    if not tried.desired:
        # What is told of pods on their way out is as old as the last change of the status.
        return f"{text}  0 pods"
    parts = text, f"{tried.ready}/{tried.desired} ready", tried.weight, tried.share
    return "  ".join(part for part in parts if part)


def _word(policy: DriftPolicy) -> str:
    summary = policy.status.summary
    return summary.verdict + (f"  last: {summary.action}" if summary.action else "")
