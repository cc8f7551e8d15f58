"""A tiny model of a cluster: it makes what the actions say, and nothing else changes it.

A pass is one observation: time goes by, pods become Ready or fail, users ask, then
`decide_deployment` decides. The status goes through JSON as it does through the API server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.unit.decide.rollout.builders import (
    NOW,
    a_deployment,
    a_version,
    freeze,
    seconds,
)

from trimtab.api.conditions import Reason
from trimtab.api.deployment import Deployment, DeploymentSpec, DeploymentStatus
from trimtab.api.meta import COMMAND_ANNOTATION, COMMAND_BY_ANNOTATION
from trimtab.decide.outcome import Note
from trimtab.decide.rollout.children import ChildAction, Remove, Size
from trimtab.decide.rollout.life import decide_deployment
from trimtab.decide.rollout.measures import ERRORS, REQUESTS
from trimtab.decide.rollout.snapshot import (
    Memory,
    PodView,
    ProcessView,
    Request,
    Snapshot,
    WorkloadView,
)
from trimtab.decide.rollout.traffic.replicas import Route


@dataclass(frozen=True)
class Observation:
    """What happened since the last pass. `pods`: what becomes of pods that are not Ready."""

    seconds: float = 1.0
    pods: str = "ready"
    """`ready`, `wait`, `crash`, `unschedulable`."""
    requests: int = 100
    """Answered since the last pass, over all pods in the route."""
    bad: Mapping[str, float] = field(default_factory=dict)
    """Share of errors by version."""
    is_blind: bool = False
    want: str | None = None
    command: str | None = None
    """`verb/argument`."""
    replicas: int | None = None
    asked: str | None = None
    """What a DriftPolicy asks for."""
    is_restart: bool = False
    """The operator forgets all that is not in status."""


@dataclass(frozen=True)
class Pass:
    """One pass: the status before and after, and what was made of it, in order."""

    before: DeploymentStatus
    after: DeploymentStatus
    snapshot: Snapshot
    notes: tuple[Note, ...]
    actions: tuple[ChildAction, ...]
    wake_at: datetime | None


class Cluster:
    """One Deployment, four versions, pods by revision."""

    def __init__(self, deployment: Deployment | None = None) -> None:
        self.now = NOW
        self.deployment = deployment or a_deployment("v1")
        self.versions = tuple(a_version(f"v{n}", age=100.0 - n) for n in (1, 2, 3, 4))
        self.version_of: dict[str, str] = {}
        self.workloads: dict[str, WorkloadView] = {}
        self.pods: dict[str, list[PodView]] = {}
        self.counts: dict[str, dict[str, float]] = {}
        self.route: str | None = None
        self.memory = Memory()
        self.commands = 0
        self.made = 0

    @property
    def status(self) -> DeploymentStatus:
        return self.deployment.status

    @property
    def spec(self) -> DeploymentSpec:
        return self.deployment.spec

    def step(self, seen: Observation) -> Pass:
        """Let an observation come true, decide, and carry it out."""
        self.now += seconds(seen.seconds)
        self._change_what_is_asked(seen)
        for revision in list(self.pods):
            self.pods[revision] = [self._aged(pod, seen) for pod in self.pods[revision]]
        self._ask(seen)
        before = self.status
        snapshot = self._observe(seen)
        decided, self.memory = decide_deployment(snapshot)
        after = written(decided.status)
        self.deployment = self.deployment.model_copy(update={"status": after})
        for action in decided.actions:
            self.act(action)
        return Pass(before, after, snapshot, decided.notes, decided.actions, decided.wake_at)

    def act(self, action: ChildAction) -> None:
        """Carry out one action as the cluster would."""
        match action:
            case Size(tried, replicas):
                revision = tried.revision
                self.version_of[revision] = tried.version
                self.workloads[revision] = WorkloadView(
                    tried.workload, f"uid-{revision}", revision, replicas, ready=replicas
                )
                pods = self.pods.setdefault(revision, [])
                del pods[replicas:]
                pods += [self._new_pod(revision) for _ in range(replicas - len(pods))]
            case Route(selected):
                self.route = selected
            case Remove(workload):
                gone = [r for r, live in self.workloads.items() if live.name == workload]
                for revision in gone:
                    del self.workloads[revision], self.pods[revision]

    def ready(self, revision: str) -> int:
        return sum(pod.ready for pod in self.pods.get(revision, []))

    # --- what happens

    def _change_what_is_asked(self, seen: Observation) -> None:
        update: dict[str, Any] = {}
        if seen.want is not None:
            update["version"] = seen.want
        if seen.replicas is not None:
            update["replicas"] = seen.replicas
        spec = self.spec.model_copy(update=update)
        metadata = self.deployment.metadata
        if seen.command is not None:
            self.commands += 1
            note = {
                COMMAND_ANNOTATION: f"{seen.command}/{self.commands}",
                COMMAND_BY_ANNOTATION: "ann",
            }
            metadata = metadata.model_copy(update={"annotations": note})
        self.deployment = self.deployment.model_copy(update={"spec": spec, "metadata": metadata})
        if seen.is_restart:
            self.memory = Memory()

    def _new_pod(self, revision: str) -> PodView:
        self.made += 1
        return PodView(f"pod-{self.made}", f"uid-{self.made}.", revision)

    def _aged(self, pod: PodView, seen: Observation) -> PodView:
        fields = {name: getattr(pod, name) for name in ("name", "uid", "revision")}
        if pod.ready:
            return PodView(**fields, ready=True, was_ready=True)
        match seen.pods:
            case "ready":
                return PodView(**fields, ready=True, was_ready=True)
            case "crash":
                return PodView(**fields, crashed=True, restarts=pod.restarts + 1)
            case "unschedulable":
                return PodView(**fields, unschedulable=True, message="no node is large enough")
            case _:
                return PodView(**fields, restarts=pod.restarts)

    def _ask(self, seen: Observation) -> None:
        asked = [
            pod
            for revision, pods in self.pods.items()
            for pod in pods
            if pod.ready and self.route in (None, revision)
        ]
        for pod in asked:
            counts = self.counts.setdefault(pod.uid, {REQUESTS: 0.0, ERRORS: 0.0})
            requests = float(seen.requests // len(asked))
            counts[REQUESTS] += requests
            counts[ERRORS] += requests * seen.bad.get(self.version_of[pod.revision], 0.0)

    def _observe(self, seen: Observation) -> Snapshot:
        pods = [pod for of_one in self.pods.values() for pod in of_one]
        return Snapshot(
            now=self.now,
            deployment=self.deployment,
            freeze=freeze,
            versions={version.metadata.name: version for version in self.versions},
            workloads=dict(self.workloads),
            pods=tuple(pods),
            processes=tuple(
                ProcessView(
                    process=f"{pod.uid}/1",
                    revision=pod.revision,
                    counts=dict(self.counts.get(pod.uid, {REQUESTS: 0.0, ERRORS: 0.0})),
                    sampled_at=self.now,
                    problem=Reason.BACKEND_DOWN if seen.is_blind else None,
                )
                for pod in pods
                if pod.ready
            ),
            memory=self.memory,
            requested=None if seen.asked is None else Request(seen.asked, "drift: inputs moved"),
        )


def written(status: DeploymentStatus) -> DeploymentStatus:
    """Return the status as it comes back from the API server."""
    return DeploymentStatus.model_validate(
        json.loads(json.dumps(status.to_json())), context={"stored": True}
    )
