"""Jobs of the cluster in memory: attempts, exit codes, termination messages, deadlines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.api.fields import format_time
from trimtab.api.resource import Resource
from trimtab.build.engines.job import JOBS
from trimtab.cluster.port import PODS, Json, Key
from trimtab.simulation.cluster import SimulatedCluster
from trimtab.simulation.kubelet import created_at, owner_of, running

JOB_NAME_LABEL = "batch.kubernetes.io/job-name"


@dataclass(frozen=True)
class Outcome:
    """How one attempt of a Job ends."""

    after: float = 30.0
    """Seconds since the attempt started."""
    exit_code: int = 0
    message: str = ""
    """Termination message."""


Outcomes = Callable[[Json, int], Outcome | None]
"""From a Job and the attempt's number (from 0) to how it ends; None: it runs on."""


def runs_on(job: Json, attempt: int) -> Outcome | None:
    """Never end."""
    return None


class JobController:
    """Runs Jobs. `outcomes` may be replaced at any time."""

    def __init__(self, cluster: SimulatedCluster, outcomes: Outcomes = runs_on) -> None:
        self.cluster = cluster
        self.outcomes = outcomes

    def step(self) -> None:
        """Bring all Jobs to the present."""
        for job in self.cluster.views(JOBS):
            if not is_finished(job) and not job["spec"].get("suspend"):
                self._follow(job)

    def next_at(self) -> datetime | None:
        """Return when a Job changes next, or None."""
        times = []
        for job in self.cluster.views(JOBS):
            if is_finished(job) or job["spec"].get("suspend"):
                continue
            if (deadline := deadline_of(job)) is not None:
                times.append(deadline)
            pods = self._attempts(job)
            outcome = self.outcomes(job, len(pods) - 1) if pods else None
            if outcome is not None:
                times.append(created_at(pods[-1]) + timedelta(seconds=outcome.after))
        return min((t for t in times if t > self.cluster.time), default=None)

    def _attempts(self, job: Json) -> list[Json]:
        labels = {JOB_NAME_LABEL: job["metadata"]["name"]}
        return self.cluster.views(PODS, job["metadata"]["namespace"], **labels)

    def _follow(self, job: Json) -> None:
        deadline = deadline_of(job)
        if deadline is not None and self.cluster.time >= deadline:
            for pod in self._attempts(job):
                if pod["status"]["phase"] == "Running":
                    self.cluster.user_delete(_key(PODS, pod))
            self._finish(job, "Failed", "DeadlineExceeded", "Job was active longer than allowed")
            return
        pods = self._attempts(job)
        if not pods:
            self._start(job, 0)
            return
        outcome = self.outcomes(job, len(pods) - 1)
        if outcome is None or self.cluster.time < created_at(pods[-1]) + timedelta(
            seconds=outcome.after
        ):
            return
        self._end(pods[-1], outcome)
        if outcome.exit_code == 0:
            self._finish(job, "Complete", "CompletionsReached", "")
        elif fails_job(job, outcome.exit_code):
            text = f"Container for pod failed with exit code {outcome.exit_code}"
            self._finish(job, "Failed", "PodFailurePolicy", text)
        elif len(pods) > job["spec"].get("backoffLimit", 6):
            text = "Job has reached the specified backoff limit"
            self._finish(job, "Failed", "BackoffLimitExceeded", text)
        else:
            self._start(job, len(pods))

    def _start(self, job: Json, attempt: int) -> None:
        metadata, template = job["metadata"], job["spec"]["template"]
        labels = dict((template.get("metadata") or {}).get("labels") or {})
        labels |= {JOB_NAME_LABEL: metadata["name"], "job-name": metadata["name"]}
        pod = self.cluster.user_apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"{metadata['name']}-{attempt:05d}",
                    "namespace": metadata["namespace"],
                    "labels": labels,
                    "ownerReferences": [owner_of(job)],
                },
                "spec": template["spec"],
            }
        )
        status = running(pod, ready=True)
        self.cluster.user_change(_key(PODS, pod), lambda obj: obj.update(status=status))
        self._set_status(job, {"active": 1, "startTime": metadata["creationTimestamp"]})

    def _end(self, pod: Json, outcome: Outcome) -> None:
        end = {
            "exitCode": outcome.exit_code,
            "reason": "Completed" if outcome.exit_code == 0 else "Error",
            "message": outcome.message,
            "finishedAt": format_time(self.cluster.time),
        }

        def change(obj: Json) -> None:
            obj["status"]["phase"] = "Succeeded" if outcome.exit_code == 0 else "Failed"
            container = obj["status"]["containerStatuses"][0]
            container |= {"ready": False, "started": False, "state": {"terminated": end}}

        self.cluster.user_change(_key(PODS, pod), change)

    def _finish(self, job: Json, condition: str, reason: str, message: str) -> None:
        at = format_time(self.cluster.time)
        status: Json = {
            "startTime": job["metadata"]["creationTimestamp"],
            "conditions": [
                {
                    "type": condition,
                    "status": "True",
                    "reason": reason,
                    "message": message,
                    "lastTransitionTime": at,
                }
            ],
        }
        attempts = len(self._attempts(job))
        if condition == "Complete":
            status |= {"completionTime": at, "succeeded": 1}
            attempts -= 1
        if attempts:
            status["failed"] = attempts
        self._set_status(job, status)

    def _set_status(self, job: Json, status: Json) -> None:
        self.cluster.user_change(_key(JOBS, job), lambda obj: obj.update(status=status))


def is_finished(job: Json) -> bool:
    """Tell whether the Job is complete or has failed for good."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)


def deadline_of(job: Json) -> datetime | None:
    """Return when the Job is ended by its own deadline, or None."""
    seconds = job["spec"].get("activeDeadlineSeconds")
    return None if seconds is None else created_at(job) + timedelta(seconds=seconds)


def fails_job(job: Json, exit_code: int) -> bool:
    """Tell whether the pod failure policy ends the Job at this exit code without a retry."""
    rules = (job["spec"].get("podFailurePolicy") or {}).get("rules") or []
    for rule in rules:
        on = rule.get("onExitCodes")
        if on is None:
            continue
        if (exit_code in on["values"]) == (on["operator"] == "In"):
            return bool(rule["action"] == "FailJob")
    return False


def _key(resource: Resource, obj: Json) -> Key:
    return Key(resource, obj["metadata"]["namespace"], obj["metadata"]["name"])
