"""Invariants, looked at with every change and every write: what they are is in `faults` of the
design, and each is said once a run.

Users are never routed to what is not there; stable keeps its size; a quarantined revision never
begins; there is one RetrainJob per cause; nobody's spec is written; no object is written all the
time.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from tests.faults.api import Request

from trimtab.api.resource import Resource
from trimtab.cluster.port import (
    DEPLOYMENTS,
    OWN_KINDS,
    PODS,
    RETRAIN_JOBS,
    SERVICES,
    WORKLOADS,
    Json,
    Key,
)
from trimtab.simulation.cluster import ready_pods

if TYPE_CHECKING:
    from tests.faults.world import Stage


MOST_WRITES = 30
RATE_SECONDS = 10.0


class Watchman:
    """Looks at one run; `seen` is what was broken, each with when it was first."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.seen: dict[str, float] = {}
        self._quarantined: set[str] = set()
        self._may_lift = False
        self._was_served = False
        self._needs_pods = True
        self._unserved = 0.0
        self._unserved_since: float | None = None
        self._causes: set[str] = set()
        self._written: dict[Key, deque[float]] = defaultdict(lambda: deque(maxlen=MOST_WRITES))

    def say(self, what: str) -> None:
        """Remember that an invariant was broken."""
        self.seen.setdefault(what, self._stage.seconds)

    def may_lift(self) -> None:
        """A person asks for a quarantine to be lifted."""
        self._may_lift = True

    def needs_pods(self, does: bool) -> None:
        """A person asks for pods, or for none, or takes the Deployment away."""
        self._end_outage()
        self._was_served, self._needs_pods = False, does

    # --- with every change ------------------------------------------------------------------

    def on_change(self, event: str, resource: Resource, obj: Json) -> None:
        """Look at what a change touches."""
        if resource in (SERVICES, PODS):
            self._look_at_route()
        elif resource == DEPLOYMENTS and event != "DELETED":
            self._look_at_quarantine(obj.get("status") or {})
        elif resource == RETRAIN_JOBS and event == "ADDED":
            self._look_at_cause(obj["spec"]["cause"])

    def _look_at_route(self) -> None:
        cluster = self._stage.cluster
        services = [
            service
            for service in cluster.views(SERVICES)
            if service["metadata"]["name"] == self._stage.key.name
        ]
        if any(ready_pods(cluster, service) for service in services):
            self._was_served = True
            self._end_outage()
        elif services and self._was_served and self._needs_pods and self._unserved_since is None:
            self._unserved_since = self._stage.seconds
            self.say("users are routed to no Ready pod")

    def _end_outage(self) -> None:
        if self._unserved_since is not None:
            self._unserved += self._stage.seconds - self._unserved_since
        self._unserved_since = None

    @property
    def unserved_seconds(self) -> float:
        """For how long nobody was there to answer, since something answered first."""
        since = self._unserved_since
        return self._unserved + (0.0 if since is None else self._stage.seconds - since)

    def _look_at_quarantine(self, status: Json) -> None:
        rejected = {entry["revision"] for entry in status.get("rejected") or []}
        if self._may_lift and self._quarantined - rejected:
            self._quarantined, self._may_lift = rejected, False
        self._quarantined |= rejected
        candidate = status.get("candidate") or {}
        if status.get("rollout") and candidate.get("revision") in self._quarantined:
            self.say(f"the quarantined {candidate['version']} begins")

    def _look_at_cause(self, cause: Json) -> None:
        text = json.dumps({k: v for k, v in cause.items() if k != "baseline"}, sort_keys=True)
        if text in self._causes:
            self.say(f"a second RetrainJob for {text}")
        self._causes.add(text)

    # --- with every write -------------------------------------------------------------------

    def before_write(self, request: Request) -> None:
        """Look at a write before it has its effect."""
        self._look_at_rate(request)
        if request.resource == WORKLOADS:
            self._look_at_size(request)
        is_patch = request.method == "PATCH" and request.subresource != "status"
        if request.resource in OWN_KINDS and is_patch:
            self.say(f"the spec of {request.key.name} is written")

    def _look_at_rate(self, request: Request) -> None:
        now, written = self._stage.seconds, self._written[request.key]
        written.append(now)
        if len(written) == MOST_WRITES and now - written[0] < RATE_SECONDS:
            self.say(f"{MOST_WRITES} writes of {request.key} within {RATE_SECONDS:.0f} s")
            self._stage.server.is_slow = True

    def _look_at_size(self, request: Request) -> None:
        deployment = self._stage.cluster.get(self._stage.key)
        stable = ((deployment or {}).get("status") or {}).get("stable") or {}
        if deployment is None or stable.get("workload") != request.key.name:
            return
        live = self._stage.cluster.get(Key(WORKLOADS, request.key.namespace, request.key.name))
        if live is None or _is_for_another_version(request, live):
            return
        size = live["spec"].get("replicas", 1)
        after = 0 if request.method == "DELETE" else _replicas(request, size)
        if after < min(size, deployment["spec"].get("replicas", 1)):
            self.say(f"stable {stable['version']} is made smaller: {size} to {after} pods")


def _is_for_another_version(request: Request, live: Json) -> bool:
    """Return whether the server will refuse the write."""
    only = request.body.get("preconditions") or request.body.get("metadata") or {}
    version = live["metadata"]["resourceVersion"]
    return bool(only.get("resourceVersion", version) != version)


def _replicas(request: Request, size: int) -> int:
    spec = request.body.get("spec") or {}
    return int(spec.get("replicas", size))
