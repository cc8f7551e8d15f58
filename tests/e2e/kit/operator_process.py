"""The running operator: its pod, its process, its own metrics."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.kit.api import Api, ApiError, Json, condition, until
from tests.e2e.kit.release import SYSTEM, kubectl

COMPONENT = "app.kubernetes.io/component=operator"
HTTP_PORT = 8081


@dataclass(frozen=True)
class Usage:
    """What the process used until now."""

    resident_bytes: float
    cpu_seconds: float


class OperatorProcess:
    """The operator of the release."""

    def __init__(self) -> None:
        self.api = Api(SYSTEM)

    def pod(self) -> Json:
        """Return the pod whose container runs, or an empty object."""
        for pod in self.api.list("Pod", COMPONENT):
            statuses = pod["status"].get("containerStatuses") or []
            is_running = bool(statuses) and "running" in statuses[0]["state"]
            if is_running and "deletionTimestamp" not in pod["metadata"]:
                return pod
        return {}

    def container(self) -> str:
        """Return the id of the running container, or nothing."""
        pod = self.pod()
        if not pod:
            return ""
        found: str = pod["status"]["containerStatuses"][0]["containerID"]
        return found.removeprefix("containerd://")

    def is_working(self) -> bool:
        """Return whether it is Ready and holds the Lease."""
        try:
            if condition(self.pod(), "Ready")["status"] != "True":
                return False
            return self.metric("trimtab_operator_leading") == 1.0
        except ApiError:
            return False

    def wait_until_working(self, limit: float = 180.0) -> None:
        until("the operator works", self.is_working, limit, every=0.2)

    def kill(self) -> None:
        """End the process with SIGKILL, in the middle of whatever it does."""
        container = self.container()
        pids = processes_of(container)
        if pids:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
        else:  # a cluster on another machine: the pod goes with its process, without grace
            name = self.pod()["metadata"]["name"]
            kubectl("-n", SYSTEM, "delete", "pod", name, "--grace-period=0", "--force")
        until("another container", lambda: self.container() not in ("", container), 90, every=0.2)

    def restart(self) -> None:
        """Delete the pod, as a drain of its node would, and wait for the next one."""
        before = self.pod()["metadata"]["uid"]
        self.api.delete("Pod", self.pod()["metadata"]["name"])
        until(
            "another pod",
            lambda: self.pod().get("metadata", {}).get("uid", before) != before,
            60,
        )
        self.wait_until_working()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Have no operator at all for a while."""
        workload = self._workload()
        self._scale(workload, 0)
        until("no operator", lambda: not self.api.list("Pod", COMPONENT), 60)
        try:
            yield
        finally:
            self._scale(workload, 1)
            self.wait_until_working()

    def _workload(self) -> str:
        found = self.api.list("Workload", COMPONENT)
        return str(found[0]["metadata"]["name"])

    def _scale(self, workload: str, replicas: int) -> None:
        self.api.patch("Workload", workload, {"spec": {"replicas": replicas}})

    def exposition(self) -> str:
        """Return the text of /metrics."""
        name = self.pod()["metadata"]["name"]
        return self.api.text(self.api.pod_path(name, HTTP_PORT, "metrics"))

    def metric(self, name: str) -> float:
        """Return the sum of one of its metrics over all labels."""
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", self.exposition(), re.MULTILINE)
        return sum(float(value) for value in found)

    def usage(self) -> Usage:
        return Usage(
            self.metric("process_resident_memory_bytes"), self.metric("process_cpu_seconds_total")
        )


def processes_of(container: str) -> list[int]:
    """Return the processes of a container on this machine."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            if container and container in file.read_text():
                found.append(int(file.parent.name))
        except OSError:
            continue  # it ended meanwhile
    return found
