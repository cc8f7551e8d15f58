"""Pods and Jobs follow the clock."""

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.simulation.objects import JOB, WORKLOAD, job, workload

from trimtab.api.fields import format_time
from trimtab.cluster.port import PODS, Json
from trimtab.simulation.cluster import SimulatedCluster, is_pod_ready
from trimtab.simulation.jobs import JobController, Outcome
from trimtab.simulation.kubelet import Kubelet, PodBehaviour


class Node:
    def __init__(self, **behaviour: Any) -> None:
        self.cluster = SimulatedCluster()
        how = PodBehaviour(**behaviour)
        self.kubelet = Kubelet(self.cluster, lambda pod: how)

    def pass_time(self, seconds: float = 0.0) -> None:
        self.cluster.time += timedelta(seconds=seconds)
        self.kubelet.step()

    def pods(self) -> list[Json]:
        return self.cluster.find(PODS)

    def status(self) -> Json:
        obj = self.cluster.get(WORKLOAD)
        assert obj is not None
        status: Json = obj["status"]
        return status


async def test_pods_carry_the_labels_of_the_template_and_become_ready() -> None:
    node = Node(ready_after=5)
    await node.cluster.apply(workload(2))
    node.pass_time()
    assert [is_pod_ready(pod) for pod in node.pods()] == [False, False]
    assert node.kubelet.next_at() == node.cluster.time + timedelta(seconds=5)
    node.pass_time(5)
    assert [is_pod_ready(pod) for pod in node.pods()] == [True, True]
    pod = node.pods()[0]
    assert pod["metadata"]["labels"]["trimtab.dev/deployment"] == "digits"
    assert pod["status"]["podIP"].startswith("10.79.")
    assert node.status()["readyReplicas"] == 2
    assert node.kubelet.next_at() is None


async def test_a_scaled_down_workload_loses_first_what_is_not_ready() -> None:
    node = Node()
    await node.cluster.apply(workload(1))
    node.pass_time()
    node.pass_time(3)
    old = node.pods()[0]["metadata"]["name"]
    await node.cluster.apply(workload(2))
    node.pass_time()
    await node.cluster.apply(workload(1))
    node.pass_time()
    assert [pod["metadata"]["name"] for pod in node.pods()] == [old]


async def test_a_workload_of_zero_has_no_pods() -> None:
    node = Node()
    await node.cluster.apply(workload(2))
    node.pass_time()
    await node.cluster.apply(workload(0))
    node.pass_time()
    assert node.pods() == []
    assert "replicas" not in node.status()


async def test_a_new_template_replaces_pods_without_losing_ready_ones() -> None:
    node = Node(ready_after=2)
    await node.cluster.apply(workload(2))
    node.pass_time()
    node.pass_time(2)
    await node.cluster.apply(workload(2, image="serving:2"))
    node.pass_time()
    assert sum(map(is_pod_ready, node.pods())) == 2
    node.pass_time(2)
    images = {pod["spec"]["containers"][0]["image"] for pod in node.pods()}
    assert images == {"serving:2"}
    assert sum(map(is_pod_ready, node.pods())) == 2


async def test_a_condition_tells_since_when_it_is_so() -> None:
    node = Node(ready_after=2)
    await node.cluster.apply(workload(1))
    node.pass_time()
    node.pass_time(2)
    since = node.pods()[0]["status"]["conditions"][-1]["lastTransitionTime"]
    node.pass_time(60)
    assert node.pods()[0]["status"]["conditions"][-1]["lastTransitionTime"] == since


async def test_a_crashing_pod_counts_its_restarts_and_says_why() -> None:
    node = Node(crash_after=10, exit_code=3, termination_message="no model")
    await node.cluster.apply(workload(1))
    node.pass_time()
    node.pass_time(9)
    assert is_pod_ready(node.pods()[0])
    node.pass_time(1)
    container = node.pods()[0]["status"]["containerStatuses"][0]
    assert not is_pod_ready(node.pods()[0])
    assert container["restartCount"] == 1
    assert container["lastState"]["terminated"]["exitCode"] == 3
    assert container["lastState"]["terminated"]["message"] == "no model"
    node.pass_time(20)
    assert node.pods()[0]["status"]["containerStatuses"][0]["restartCount"] == 2


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        pytest.param({"schedulable": False}, "Unschedulable", id="no_node_takes_it"),
        pytest.param({"image_exists": False}, "ImagePullBackOff", id="its_image_is_missing"),
    ],
)
async def test_a_pod_that_cannot_start_says_why(behaviour: dict[str, Any], reason: str) -> None:
    node = Node(**behaviour)
    await node.cluster.apply(workload(1))
    node.pass_time()
    node.pass_time(60)
    assert not is_pod_ready(node.pods()[0])
    assert reason in str(node.pods()[0]["status"])


async def test_a_container_runs_since_its_image_came() -> None:
    node = Node(image_exists=False)
    await node.cluster.apply(workload(1))
    node.pass_time()
    node.pass_time(60)
    node.kubelet.behave = lambda pod: PodBehaviour()
    node.pass_time(1)
    began = node.cluster.time
    node.pass_time(5)
    (container,) = node.pods()[0]["status"]["containerStatuses"]
    assert container["state"]["running"]["startedAt"] == format_time(began)


class Works:
    """A Job controller whose attempts end as told, in order; the last end is repeated."""

    def __init__(self, *outcomes: Outcome | None) -> None:
        self.cluster = SimulatedCluster()
        self.jobs = JobController(
            self.cluster, lambda job, attempt: outcomes[min(attempt, len(outcomes) - 1)]
        )

    def pass_time(self, seconds: float = 0.0) -> None:
        self.cluster.time += timedelta(seconds=seconds)
        self.jobs.step()

    def condition(self) -> tuple[str, str] | None:
        obj = self.cluster.get(JOB)
        assert obj is not None
        conditions = obj["status"].get("conditions")
        return (conditions[0]["type"], conditions[0]["reason"]) if conditions else None


async def test_a_job_completes_and_its_pod_keeps_the_message() -> None:
    it = Works(Outcome(after=30, message='{"verdict": "accepted"}'))
    await it.cluster.apply(job())
    it.pass_time()
    assert it.condition() is None
    assert it.jobs.next_at() == it.cluster.time + timedelta(seconds=30)
    it.pass_time(30)
    assert it.condition() == ("Complete", "CompletionsReached")
    end = it.cluster.find(PODS)[0]["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (end["exitCode"], end["message"]) == (0, '{"verdict": "accepted"}')
    assert it.jobs.next_at() is None


async def test_a_job_is_tried_again_up_to_its_limit() -> None:
    it = Works(Outcome(after=1, exit_code=1))
    await it.cluster.apply(job(backoffLimit=1))
    it.pass_time()
    it.pass_time(1)
    assert it.condition() is None
    it.pass_time(1)
    assert it.condition() == ("Failed", "BackoffLimitExceeded")
    assert len(it.cluster.find(PODS)) == 2


async def test_an_exit_code_of_the_policy_ends_a_job_at_once() -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [10, 11]}}
    it = Works(Outcome(after=1, exit_code=11))
    await it.cluster.apply(job(backoffLimit=5, podFailurePolicy={"rules": [rule]}))
    it.pass_time()
    it.pass_time(1)
    assert it.condition() == ("Failed", "PodFailurePolicy")


async def test_a_job_that_runs_too_long_is_ended() -> None:
    it = Works(None)
    await it.cluster.apply(job(activeDeadlineSeconds=60))
    it.pass_time()
    it.pass_time(60)
    assert it.condition() == ("Failed", "DeadlineExceeded")


async def test_a_suspended_job_starts_nothing() -> None:
    it = Works(None)
    await it.cluster.apply(job(suspend=True))
    it.pass_time(60)
    assert it.cluster.find(PODS) == []


async def test_pods_that_are_good_change_when_they_are_due_and_not_before() -> None:
    cluster = SimulatedCluster()
    kubelet = Kubelet(cluster)
    await cluster.apply(workload(1))
    ready = []
    for _ in range(4):
        kubelet.step()
        ready.append([is_pod_ready(pod) for pod in cluster.find(PODS)])
        cluster.time += timedelta(seconds=1)
    assert ready == [[False], [False], [True], [True]]
    await cluster.apply(workload(2))
    kubelet.step()
    assert len(cluster.find(PODS)) == 2
