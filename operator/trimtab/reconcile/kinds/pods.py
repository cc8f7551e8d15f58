"""From the JSON of pods and their workloads to what decisions read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from trimtab.api.deployment import Metrics
from trimtab.api.meta import REVISION_LABEL
from trimtab.build.workload import COMPARE_VARIABLE, CONTAINER
from trimtab.cluster.port import Json
from trimtab.contract.last_words import NOT_FROM_STORE, last_words
from trimtab.contract.metrics import METRICS_PORT
from trimtab.decide.led_time import ANOTHER_CLOCK, LOST_WITH_A_PROCESS
from trimtab.decide.rollout.snapshot import PodView
from trimtab.telemetry.port import Target

_IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
)

_ITS_OWN_FAULT = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}
)
"""Why a container waits that cannot begin as its version asks for it: a command, a setting."""

_BEGINNING = (None, "ContainerCreating", "PodInitializing")
"""Why a container waits that has not begun, where nothing is known to be wrong."""

_BY_SIGNAL = frozenset({0, 128 + 9, 128 + 15})
"""Exit codes of a container that was told to end."""

_LOST_WITH_ITS_NODE = (255, "Unknown")
"""Exit code and reason of a container that a node finds dead when it comes back, in containerd."""


def parse_time(text: str | None) -> datetime | None:
    """Return an RFC 3339 time of the API server, or None."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def _conditions(pod: Json) -> dict[str, Json]:
    return {c["type"]: c for c in pod.get("status", {}).get("conditions") or []}


def _container(pod: Json) -> Json:
    """Return the status of the model's container: the first one."""
    statuses: list[Json] = pod.get("status", {}).get("containerStatuses") or []
    return next((s for s in statuses if s.get("name") == "model"), statuses[0] if statuses else {})


@dataclass
class Sights:
    """Since when pods are seen as they are, in seconds that operators had led; safe to lose.

    The clock of the kubelet may be ahead of ours: then nothing would ever have lasted.
    """

    since: dict[str, tuple[str, float]] = field(default_factory=dict)
    """By uid: when its readiness changed last, as it says, and when we saw that first."""
    startable: dict[tuple[str, bool], float] = field(default_factory=dict)
    """By uid, and whether it has begun: since when that is so while it lacks nothing."""
    looked: float | None = None
    """The last reading at which pods were looked at."""

    def look(self, pods: Sequence[Json], led: float, now: datetime) -> None:
        """Take the pods in as they are now; others are forgotten.

        How old those are that are there at the first look, only they can tell.
        """
        self._go_on_at(led)
        startable: dict[tuple[str, bool], float] = {}
        for pod in filter(_lacks_nothing, pods):
            stage, since = _stage(pod), led
            if self.looked is None:
                since -= _own_seconds(pod, now)
            startable[stage] = self.startable.get(stage, since)
        self.startable = startable
        self.looked = led
        seen: dict[str, tuple[str, float]] = {}
        for pod in pods:
            uid = pod["metadata"].get("uid", "")
            changed = _conditions(pod).get("Ready", {}).get("lastTransitionTime") or ""
            known = self.since.get(uid)
            seen[uid] = known if known is not None and known[0] == changed else (changed, led)
        self.since = seen

    def _go_on_at(self, led: float) -> None:
        """Go on by the clock of another Lease, if this one was made anew."""
        if self.looked is None:
            return
        passed = timedelta(seconds=led - self.looked)
        if -LOST_WITH_A_PROCESS <= passed <= ANOTHER_CLOCK:
            return
        off = led - self.looked
        self.startable = {stage: since + off for stage, since in self.startable.items()}
        self.since = {uid: (as_of, began + off) for uid, (as_of, began) in self.since.items()}

    def seconds(self, pod: Json, led: float) -> float:
        """Return how long a pod has been seen as it is."""
        known = self.since.get(pod["metadata"].get("uid", ""))
        return 0.0 if known is None else led - known[1]

    def startable_seconds(self, pod: Json, led: float) -> float:
        """Return how long a pod has had all that it needs to start, or ran since it began."""
        return max(0.0, led - self.startable.get(_stage(pod), led))


def view_of(
    pod: Json, now: datetime, seen_seconds: float = 0.0, startable_seconds: float = 0.0
) -> PodView:
    """Return the view of one pod at `now`, which has been seen as it is for `seen_seconds`."""
    metadata, status = pod["metadata"], pod.get("status", {})
    conditions, container = _conditions(pod), _container(pod)
    ready = conditions.get("Ready", {})
    is_ready = ready.get("status") == "True"
    since = parse_time(ready.get("lastTransitionTime"))
    restarts = int(container.get("restartCount", 0))
    crashed = restarts > 0 or _failed(container.get("state"))
    lasted = 0.0 if since is None else max((now - since).total_seconds(), seen_seconds)
    return PodView(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        revision=revision_of(pod),
        ready=is_ready,
        terminating="deletionTimestamp" in metadata or status.get("phase") == "Failed",
        disrupted=conditions.get("DisruptionTarget", {}).get("status") == "True",
        restarts=restarts,
        crashed=crashed,
        killed=crashed and _may_be_killed(container),
        was_ready=is_ready or _stopped_being_ready(container, since),
        ended_ready=not is_ready and _ended_ready(container, since),
        unheard=not is_ready and _is_unheard(pod, conditions),
        startable_seconds=startable_seconds,
        unbegun="" if _has_begun(pod) else _why_unbegun(conditions, container),
        unready_seconds=0.0 if is_ready else lasted,
        ready_seconds=lasted if is_ready else 0.0,
        ended_comparing=restarts == 1 and _compares(pod) and _lacked_memory(container),
        ended_starting=restarts == 1 and not is_ready and _ended_starting(container, since),
        unschedulable=_is_unschedulable(conditions),
        image_missing=_is_image_missing(container),
        ended_unloaded=_lacked_artifact(container),
        message=_message(conditions, container),
    )


def revision_of(pod: Json) -> str:
    """Return the revision that a pod runs; empty where it does not say."""
    return str((pod["metadata"].get("labels") or {}).get(REVISION_LABEL, ""))


def workload_revision(workload: Json) -> str:
    """Return whose pods it runs: by its selector, which nobody can change, as they can a label."""
    selected = (workload.get("spec", {}).get("selector") or {}).get("matchLabels") or {}
    labels = workload["metadata"].get("labels") or {}
    return str(selected.get(REVISION_LABEL) or labels.get(REVISION_LABEL, ""))


def _is_unschedulable(conditions: dict[str, Json]) -> bool:
    """Return whether it gets no node: none has room, or it may not be placed yet (Kueue)."""
    return conditions.get("PodScheduled", {}).get("status") == "False"


def _is_image_missing(container: Json) -> bool:
    return _waiting(container).get("reason") in _IMAGE_REASONS


def _lacks_nothing(pod: Json) -> bool:
    """Return whether a pod has a node, its image and its artifact, as far as anybody says."""
    container = _container(pod)
    return not (
        _is_unschedulable(_conditions(pod))
        or _is_image_missing(container)
        or _lacked_artifact(container)
    )


def _stage(pod: Json) -> tuple[str, bool]:
    return pod["metadata"].get("uid", ""), _has_begun(pod)


def _has_begun(pod: Json) -> bool:
    """Return whether the version has shown anything: one of its containers ran, or cannot begin.

    Before that a pod waits for what the cluster gives: a node, its network, what it mounts.
    """
    return any(
        container.get("restartCount")
        or container.get("lastState")
        or {"running", "terminated"} & (container.get("state") or {}).keys()
        or _waiting(container).get("reason") in _ITS_OWN_FAULT
        for container in (_container(pod), *_init_containers(pod))
    )


def _init_containers(pod: Json) -> list[Json]:
    return pod.get("status", {}).get("initContainerStatuses") or []


def _why_unbegun(conditions: dict[str, Json], container: Json) -> str:
    """Return what a pod waits for whose containers have not begun, and what to do."""
    if conditions.get("PodScheduled", {}).get("status") != "True":
        return "it has no node, and nobody says why: look at the scheduler"
    waits = _waiting(container).get("reason") or "Pending"
    return (
        f"its container has not begun ({waits}): its events say what it lacks, "
        "such as a volume, a Secret or the network"
    )


def _own_seconds(pod: Json, now: datetime) -> float:
    """Return how long ago a pod got its node, or ran first, by the wall clock.

    0 where nobody can tell. The first run is later where an image came late; where it is not
    known any more, since the container ended more than once, the node's moment counts, so that no
    end makes a pod younger.
    """
    scheduled = _conditions(pod).get("PodScheduled", {}).get("lastTransitionTime")
    placed = parse_time(scheduled or pod["metadata"].get("creationTimestamp"))
    known = [t for t in (placed, _first_run(pod)) if t is not None]
    return max(0.0, (now - max(known)).total_seconds()) if known else 0.0


def _first_run(pod: Json) -> datetime | None:
    """Return when its container, or else one that runs before it, ran first, if that is known."""
    for container in (_container(pod), *_init_containers(pod)):
        states = [container.get("state") or {}, container.get("lastState") or {}]
        runs = [run for state in states for run in (state.get("running"), state.get("terminated"))]
        known = [t for run in runs if run and (t := parse_time(run.get("startedAt"))) is not None]
        if len(known) > int(container.get("restartCount", 0)):
            return min(known)
    return None


def _compares(pod: Json) -> bool:
    """Return whether its container loads a second model."""
    containers = pod.get("spec", {}).get("containers") or []
    names = {
        v.get("name") for c in containers if c.get("name") == CONTAINER for v in c.get("env") or []
    }
    return COMPARE_VARIABLE in names


def _lacked_memory(container: Json) -> bool:
    ended = (container.get("lastState") or {}).get("terminated") or {}
    return ended.get("reason") == "OOMKilled"


def _lacked_artifact(container: Json) -> bool:
    """Return whether the last end was for the store: the version was verified before."""
    ended = _last_end(container)
    return ended is not None and last_words(ended.get("message") or "").reason in NOT_FROM_STORE


def _last_end(container: Json) -> Json | None:
    states = (container.get("state"), container.get("lastState"))
    return next((ended for s in states if (ended := (s or {}).get("terminated"))), None)


def _stopped_being_ready(container: Json, unready_since: datetime | None) -> bool:
    """Tell whether a pod that is not Ready was so before, with this run of its container.

    `started` alone does not say so: between the end of the start-up probe and the first readiness
    probe a pod is started, and not Ready since it was made.
    """
    running = ((container.get("state") or {}).get("running") or {}).get("startedAt")
    began = parse_time(running)
    return (
        bool(container.get("started"))
        and began is not None
        and unready_since is not None
        and unready_since > began
    )


def _ended_starting(container: Json, unready_since: datetime | None) -> bool:
    """Return whether the container, which ended once, was not Ready then, or has been since.

    A pod that is not Ready since before a run began was not Ready in it.
    """
    if _failed(container.get("state")):
        return False
    if _stopped_being_ready(container, unready_since):
        return True
    ended = (container.get("lastState") or {}).get("terminated") or {}
    began = parse_time(ended.get("startedAt"))
    return began is not None and unready_since is not None and unready_since <= began


def _ended_ready(container: Json, unready_since: datetime | None) -> bool:
    """Return whether the run that ended last was Ready, and the pod is not since then."""
    began = parse_time((_last_end(container) or {}).get("startedAt"))
    return began is not None and unready_since is not None and unready_since > began


def _is_unheard(pod: Json, conditions: dict[str, Json]) -> bool:
    """Return whether a pod counts as not Ready since its node is not heard of any more.

    The node controller changes that condition alone: the containers stay as the kubelet said last.
    What else may keep a pod whose containers are ready from being so is a readiness gate.
    """
    gates = [gate.get("conditionType") for gate in pod.get("spec", {}).get("readinessGates") or []]
    if any(conditions.get(gate, {}).get("status") != "True" for gate in gates):
        return False
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return bool(statuses) and all(
        status.get("ready") and (status.get("state") or {}).get("running") for status in statuses
    )


def _failed(state: Json | None) -> bool:
    return bool(state and state.get("terminated", {}).get("exitCode"))


def _may_be_killed(container: Json) -> bool:
    """Return whether a container may have ended by SIGTERM or SIGKILL, or with its node.

    So probes end it, and a node that is started anew. Whoever obeys ends with code 0. Where the
    kubelet has yet to say how it ended, it may be so.
    """
    ended = _last_end(container)
    if ended is None:
        return True
    code, reason = ended.get("exitCode"), ended.get("reason")
    return (code, reason) == _LOST_WITH_ITS_NODE or (reason != "OOMKilled" and code in _BY_SIGNAL)


def _waiting(container: Json) -> dict[str, Any]:
    waiting: dict[str, Any] = (container.get("state") or {}).get("waiting") or {}
    return waiting


def waiting_since(pod: Json) -> datetime | None:
    """Return since when a pod has a node and its container has not begun; None: it does not wait.

    What the pod lacks it does not say: an image that is on its way, or something that it mounts.
    """
    metadata, scheduled = pod["metadata"], _conditions(pod).get("PodScheduled", {})
    is_pending = pod.get("status", {}).get("phase") == "Pending"
    if not is_pending or "deletionTimestamp" in metadata or scheduled.get("status") != "True":
        return None
    if _waiting(_container(pod)).get("reason") not in _BEGINNING:
        return None
    return parse_time(scheduled.get("lastTransitionTime") or metadata.get("creationTimestamp"))


def _message(conditions: dict[str, Json], container: Json) -> str:
    """Return what the pod says of itself: its last words, why it waits, or why it is unplaced."""
    ended = _last_end(container)
    if ended is not None:
        said = str(last_words(ended.get("message") or "")) or ended.get("reason", "")
        return f"{said} (exit code {ended.get('exitCode')})"[:512]
    waiting = _waiting(container)
    if waiting.get("reason") not in _BEGINNING:
        return f"{waiting['reason']}: {waiting.get('message', '')}"[:512]
    placed = conditions.get("PodScheduled", {})
    said = str(placed.get("message", ""))
    if placed.get("reason") == "SchedulingGated":
        said += ": whoever set its schedulingGates has to take them away (Kueue: admit it)"
    return said[:512]


def failure_of(workload: Json) -> str:
    """Return why the cluster makes no pods for a workload; pods' names change from try to try."""
    for condition in (workload.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            said = condition.get("message") or condition.get("reason") or "no reason given"
            return re.sub(r'^pods "[^"]*" is', "a pod is", said)[:512]
    return ""


def target_of(pod: Json, metrics: Metrics) -> Target | None:
    """Return the scrape target of a pod, or None while its container does not run.

    The process is named by pod uid and container start, so that a restart is another process.
    """
    address = pod.get("status", {}).get("podIP")
    started = ((_container(pod).get("state") or {}).get("running") or {}).get("startedAt")
    if not address or not started:
        return None
    host = f"[{address}]" if ":" in address else address
    return Target(
        process=f"{pod['metadata']['uid']}/{started}",
        pod=pod["metadata"]["name"],
        revision=revision_of(pod),
        url=f"http://{host}:{METRICS_PORT}/metrics",
        interval_seconds=metrics.interval.total_seconds(),
        timeout_seconds=metrics.timeout.total_seconds(),
    )
