"""Pods and Jobs of the cluster in memory: what the workload controller and the nodes would do.

Nothing here happens by itself: `step` brings all objects to where they are at the cluster's
time, `next_at` says when something will change next.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from trimtab.api.fields import format_time
from trimtab.build.names import TOKEN_VOLUME
from trimtab.cluster.port import PODS, SECRETS, WORKLOADS, Json, Key
from trimtab.simulation.cluster import SimulatedCluster, is_pod_ready

RESTART_EVERY = timedelta(seconds=20)
MAX_RESTARTS = 6
TEMPLATE_HASH_LABEL = "pod-template-hash"


@dataclass(frozen=True)
class PodBehaviour:
    """How pods come up. Times are seconds since the pod was created."""

    ready_after: float | None = 2.0
    """None: never ready."""
    crash_after: float | None = None
    """Terminates then, and again every 20 s, six times."""
    exit_code: int = 1
    termination_message: str = ""
    schedulable: bool = True
    mounted: bool = True
    """False: something that it mounts is missing, and its container does not begin."""
    image_exists: bool = True
    is_heard: bool = True
    """False: its node is not heard of, and its condition Ready alone says so."""


Behave = Callable[[Json], PodBehaviour]
"""From a pod to its behaviour; asked at every step, so that it may change its mind."""


def always_good(pod: Json) -> PodBehaviour:
    """Every pod is ready after two seconds."""
    return PodBehaviour()


def created_at(obj: Json) -> datetime:
    """Return the creation time."""
    return datetime.fromisoformat(obj["metadata"]["creationTimestamp"])


def template_hash(template: Json) -> str:
    """Return a short hash of a pod template."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


class Kubelet:
    """Runs workloads. `behave` may be replaced at any time."""

    def __init__(self, cluster: SimulatedCluster, behave: Behave = always_good) -> None:
        self.cluster = cluster
        self.behave = behave
        self._pods_made = 0
        self._hashes: dict[tuple[str, int], str] = {}
        """By uid and generation of a workload."""
        self._done: tuple[int, datetime, Behave] | None = None
        self._next: datetime | None = None
        """When a pod changes after the last step, as far as that is known."""

    def step(self) -> None:
        """Bring pods and workload status to the present."""
        if self._is_done():
            return
        self._follow_pods()
        for workload in self.cluster.views(WORKLOADS):
            self._scale(workload)
        self._follow_pods()
        for workload in self.cluster.views(WORKLOADS):
            self._roll(workload)
            self._report(workload)
        self._done = (self.cluster.version, self.cluster.time, self.behave)
        self._next = self.next_at() if self.behave is always_good else self.cluster.time

    def _is_done(self) -> bool:
        """Whether nothing changed since the last step, and no pod is due."""
        if self._done is None:
            return False
        version, at, behave = self._done
        now = self.cluster.time
        if (version, behave) != (self.cluster.version, self.behave):
            return False
        # Who may change its mind is asked again as time goes by.
        return at == now or (self._next is None or now < self._next)

    def next_at(self) -> datetime | None:
        """Return when a pod changes next, or None."""
        times = [t for pod in self.cluster.views(PODS) for t in self._changes(pod)]
        return min((t for t in times if t > self.cluster.time), default=None)

    def _template_hash(self, workload: Json) -> str:
        metadata = workload["metadata"]
        at = metadata["uid"], metadata["generation"]
        if at not in self._hashes:
            self._hashes[at] = template_hash(workload["spec"]["template"])
        return self._hashes[at]

    # --- pods -------------------------------------------------------------------------------

    def _pods_of(self, workload: Json) -> list[Json]:
        uid = workload["metadata"]["uid"]
        return [
            pod
            for pod in self.cluster.views(PODS, workload["metadata"]["namespace"])
            if any(o["uid"] == uid for o in pod["metadata"].get("ownerReferences") or [])
        ]

    def _scale(self, workload: Json) -> None:
        wanted = workload["spec"].get("replicas", 1)
        current = self._template_hash(workload)
        pods = self._pods_of(workload)
        mine = [p for p in pods if p["metadata"]["labels"][TEMPLATE_HASH_LABEL] == current]
        for _ in range(len(mine), wanted):
            self._make_pod(workload, current)
        # As the real one: those that are not ready go first, then the youngest.
        mine.sort(key=lambda pod: (is_pod_ready(pod), -created_at(pod).timestamp()))
        for pod in mine[: max(0, len(mine) - wanted)]:
            self._delete(pod)

    def _roll(self, workload: Json) -> None:
        """Remove pods of older templates as far as enough ready ones are left."""
        wanted = workload["spec"].get("replicas", 1)
        current = self._template_hash(workload)
        pods = self._pods_of(workload)
        ready = sum(is_pod_ready(pod) for pod in pods)
        old = [p for p in pods if p["metadata"]["labels"][TEMPLATE_HASH_LABEL] != current]
        for pod in sorted(old, key=is_pod_ready):
            if not is_pod_ready(pod):
                self._delete(pod)
            elif ready > wanted:
                self._delete(pod)
                ready -= 1

    def _make_pod(self, workload: Json, current: str) -> None:
        self._pods_made += 1
        template = workload["spec"]["template"]
        metadata = workload["metadata"]
        labels = dict(template["metadata"].get("labels") or {}) | {TEMPLATE_HASH_LABEL: current}
        self.cluster.user_apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"{metadata['name']}-{current}-{self._pods_made:05d}",
                    "namespace": metadata["namespace"],
                    "labels": labels,
                    "annotations": dict(template["metadata"].get("annotations") or {}),
                    "ownerReferences": [owner_of(workload)],
                },
                "spec": template["spec"],
            }
        )

    def _delete(self, pod: Json) -> None:
        self.cluster.user_delete(key_of_pod(pod))

    def _follow_pods(self) -> None:
        for pod in self.cluster.views(PODS):
            if owner_kind(pod) != "Deployment":
                continue
            status = with_times(self._status(pod), pod.get("status") or {}, self.cluster.time)
            if pod.get("status") != status:
                self.cluster.user_change(key_of_pod(pod), partial(set_status, status))

    def _changes(self, pod: Json) -> list[datetime]:
        if owner_kind(pod) != "Deployment":
            return []
        how, start = self.behave(pod), created_at(pod)
        times = []
        if how.ready_after is not None:
            times.append(start + timedelta(seconds=how.ready_after))
        if how.crash_after is not None:
            first = start + timedelta(seconds=how.crash_after)
            times += [first + n * RESTART_EVERY for n in range(MAX_RESTARTS)]
        return times

    def _status(self, pod: Json) -> Json:
        how, age = self.behave(pod), (self.cluster.time - created_at(pod)).total_seconds()
        if not how.is_heard and pod.get("status"):
            return unheard(pod["status"])
        if not how.schedulable:
            return unscheduled()
        if not how.mounted or self._lacks_its_key(pod):
            return unmounted(pod)
        crashes = 0
        if how.crash_after is not None and age >= how.crash_after:
            since = age - how.crash_after
            crashes = min(MAX_RESTARTS, 1 + int(since // RESTART_EVERY.total_seconds()))
        ready = how.ready_after is not None and age >= how.ready_after and crashes == 0
        ready = ready and how.image_exists
        status = running(pod, ready=ready, restarts=crashes)
        container = status["containerStatuses"][0]
        if not how.image_exists:
            container["state"] = {
                "waiting": {"reason": "ImagePullBackOff", "message": "image not found"}
            }
        if crashes:
            end = {
                "exitCode": how.exit_code,
                "reason": "Error",
                "message": how.termination_message,
            }
            container["lastState"] = {"terminated": end}
            container["state"] = {
                "waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting"}
            }
        return status

    def _lacks_its_key(self, pod: Json) -> bool:
        """Return whether the Secret for tokens is missing; who has begun keeps the files."""
        if "podIP" in (pod.get("status") or {}):
            return False
        volumes = (v for v in pod["spec"].get("volumes") or [] if v["name"] == TOKEN_VOLUME)
        name = next((v["secret"]["secretName"] for v in volumes if v.get("secret")), None)
        key = Key(SECRETS, pod["metadata"]["namespace"], name) if name is not None else None
        return key is not None and self.cluster.get(key) is None

    # --- workloads --------------------------------------------------------------------------

    def _report(self, workload: Json) -> None:
        pods = self._pods_of(workload)
        current = self._template_hash(workload)
        ready = sum(is_pod_ready(pod) for pod in pods)
        wanted = workload["spec"].get("replicas", 1)
        status: Json = {
            "observedGeneration": workload["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": sum(
                p["metadata"]["labels"][TEMPLATE_HASH_LABEL] == current for p in pods
            ),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": max(0, wanted - ready),
            "conditions": [
                {"type": "Available", "status": "True" if ready >= wanted else "False"},
            ],
        }
        status = {name: value for name, value in status.items() if value != 0}
        if workload.get("status") != status:
            metadata = workload["metadata"]
            key = Key(WORKLOADS, metadata["namespace"], metadata["name"])
            self.cluster.user_change(key, partial(set_status, status))


def with_times(status: Json, before: Json, now: datetime) -> Json:
    """Return the status with the times since when conditions and containers are as they are."""
    known = {c["type"]: c for c in before.get("conditions") or []}
    for condition in status["conditions"]:
        old = known.get(condition["type"])
        is_same = old is not None and old["status"] == condition["status"]
        since = old["lastTransitionTime"] if old is not None and is_same else format_time(now)
        condition["lastTransitionTime"] = since
    known = {c["name"]: c for c in before.get("containerStatuses") or []}
    for container in status.get("containerStatuses") or []:
        old = known.get(container["name"], {})
        container["started"] = container["started"] or old.get("started", False)
        run, last = container["state"].get("running"), old.get("state", {}).get("running")
        if run is not None:
            is_same = last is not None and old["restartCount"] == container["restartCount"]
            run["startedAt"] = last["startedAt"] if last and is_same else format_time(now)
    return status


def set_status(status: Json, obj: Json) -> None:
    """Replace the status of an object."""
    obj["status"] = status


def owner_of(obj: Json) -> Json:
    """Return the owner reference of a controller."""
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": obj["metadata"]["name"],
        "uid": obj["metadata"]["uid"],
        "controller": True,
    }


def owner_kind(pod: Json) -> str:
    """Return the kind of the first owner; empty if there is none."""
    owners = pod["metadata"].get("ownerReferences") or []
    return str(owners[0]["kind"]) if owners else ""


def key_of_pod(pod: Json) -> Key:
    """Return the key of a pod."""
    return Key(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])


def pod_ip(pod: Json) -> str:
    """Return an address that depends on the pod's uid only."""
    number = int(pod["metadata"]["uid"][:6], 16)
    return f"10.79.{number // 254 % 254}.{number % 254 + 1}"


def image_id(image: str) -> str:
    """Return a digest that depends on the image's name only."""
    return f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def running(pod: Json, *, ready: bool, restarts: int = 0) -> Json:
    """Return the status of a pod on a node."""
    text = "True" if ready else "False"
    started = pod["metadata"]["creationTimestamp"]
    container = pod["spec"]["containers"][0]
    return {
        "phase": "Running",
        "podIP": pod_ip(pod),
        "podIPs": [{"ip": pod_ip(pod)}],
        "startTime": started,
        "conditions": [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Initialized", "status": "True"},
            {"type": "ContainersReady", "status": text},
            {"type": "Ready", "status": text},
        ],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container.get("image", ""),
                "imageID": image_id(container.get("image", "")),
                "ready": ready,
                "started": ready,
                "restartCount": restarts,
                "state": {"running": {"startedAt": started}},
                "lastState": {},
            }
        ],
    }


def unscheduled() -> Json:
    """Return the status of a pod that no node takes."""
    return {
        "phase": "Pending",
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/1 nodes are available",
            }
        ],
    }


def unheard(status: Json) -> Json:
    """Return a status as the node controller leaves it: what the kubelet said last stays."""
    status = copy.deepcopy(status)
    for condition in status["conditions"]:
        if condition["type"] == "Ready":
            condition["status"] = "False"
    return status


def unmounted(pod: Json) -> Json:
    """Return the status of a pod on a node that lacks what it mounts; only events say what."""
    status = running(pod, ready=False)
    del status["podIP"], status["podIPs"]
    waiting = {"waiting": {"reason": "ContainerCreating"}}
    status["containerStatuses"][0] |= {"state": waiting}
    return status | {"phase": "Pending"}
