"""The cluster in memory behaves as the API server does where the operator depends on it."""

from datetime import timedelta

import pytest
from tests.unit.simulation.objects import (
    DEPLOYMENT,
    SERVICE,
    WORKLOAD,
    deployment,
    service,
    workload,
)

from trimtab.api.record import Decision
from trimtab.api.resource import Resource
from trimtab.cluster.port import PODS, WORKLOADS, Cluster, Json
from trimtab.errors import Conflict, Refused, RetryLater, Unavailable
from trimtab.simulation.cluster import (
    EventType,
    Killed,
    SimulatedCluster,
    is_pod_ready,
    ready_pods,
)
from trimtab.simulation.kubelet import Kubelet, PodBehaviour


@pytest.fixture
def cluster() -> SimulatedCluster:
    return SimulatedCluster()


def test_it_is_a_cluster(cluster: SimulatedCluster) -> None:
    port: Cluster = cluster
    assert port is cluster


class TestApply:
    async def test_creates_with_uid_version_and_generation(self, cluster: SimulatedCluster) -> None:
        metadata = (await cluster.apply(workload()))["metadata"]
        assert metadata["uid"]
        assert int(metadata["resourceVersion"]) > 0
        assert metadata["generation"] == 1

    async def test_of_the_same_changes_nothing(self, cluster: SimulatedCluster) -> None:
        first = await cluster.apply(workload())
        second = await cluster.apply(workload())
        assert first == second
        assert [write.changed for write in cluster.writes] == [True, False]

    async def test_counts_generations_of_the_spec_only(self, cluster: SimulatedCluster) -> None:
        await cluster.apply(workload(labels={"a": "1"}))
        assert (await cluster.apply(workload(labels={"a": "2"})))["metadata"]["generation"] == 1
        assert (await cluster.apply(workload(3)))["metadata"]["generation"] == 2

    async def test_removes_what_we_owned_and_left_out(self, cluster: SimulatedCluster) -> None:
        await cluster.apply(workload(annotations={"ours": "1"}))
        stored = await cluster.apply(workload())
        assert "annotations" not in stored["metadata"]

    async def test_keeps_what_others_wrote(self, cluster: SimulatedCluster) -> None:
        await cluster.apply(workload())
        cluster.user_annotate(WORKLOAD, theirs="1")
        stored = await cluster.apply(workload(3))
        assert stored["metadata"]["annotations"] == {"theirs": "1"}

    async def test_takes_back_what_others_changed(self, cluster: SimulatedCluster) -> None:
        await cluster.apply(workload(2))
        changed = cluster.user_change(WORKLOAD, lambda obj: obj["spec"].update(replicas=9))
        assert changed["metadata"]["managedFields"][-1]["manager"] == "kubectl-edit"
        assert (await cluster.apply(workload(2)))["spec"]["replicas"] == 2

    async def test_leaves_the_status_alone(self, cluster: SimulatedCluster) -> None:
        await cluster.apply(workload())
        cluster.user_change(WORKLOAD, lambda obj: obj.update(status={"replicas": 2}))
        stored = await cluster.apply(workload(3) | {"status": {"replicas": 7}})
        assert stored["status"] == {"replicas": 2}


class TestStatus:
    async def test_is_replaced_as_a_whole(self, cluster: SimulatedCluster) -> None:
        cluster.user_apply(deployment())
        await cluster.apply_status(DEPLOYMENT, {"replicas": 1, "url": "http://x"})
        stored = await cluster.apply_status(DEPLOYMENT, {"replicas": 1})
        assert stored["status"] == {"replicas": 1, "observedGeneration": 0}
        assert stored["metadata"]["generation"] == 1

    async def test_of_an_object_of_ours_begins_with_what_the_schema_says(
        self, cluster: SimulatedCluster
    ) -> None:
        made = cluster.user_apply(deployment() | {"status": {"replicas": 7}})
        assert made["status"] == {"observedGeneration": 0}
        assert "status" not in cluster.user_apply(service())

    async def test_of_a_deleted_object_is_for_later(self, cluster: SimulatedCluster) -> None:
        with pytest.raises(RetryLater):
            await cluster.apply_status(DEPLOYMENT, {})

    async def test_that_rests_on_an_older_object_is_a_conflict(
        self, cluster: SimulatedCluster
    ) -> None:
        version = cluster.user_apply(deployment())["metadata"]["resourceVersion"]
        stored = await cluster.apply_status(DEPLOYMENT, {"replicas": 1}, resource_version=version)
        with pytest.raises(Conflict):
            await cluster.apply_status(DEPLOYMENT, {"replicas": 2}, resource_version=version)
        assert await cluster.read(DEPLOYMENT) == stored

    async def test_that_breaks_the_schema_is_refused(self, cluster: SimulatedCluster) -> None:
        cluster.user_apply(deployment())
        with pytest.raises(Refused):
            await cluster.apply_status(DEPLOYMENT, {"replicas": "many"})


class TestCreateAndDelete:
    async def test_a_taken_name_is_none(self, cluster: SimulatedCluster) -> None:
        assert await cluster.create(service()) is not None
        assert await cluster.create(service()) is None

    async def test_another_uid_is_a_conflict(self, cluster: SimulatedCluster) -> None:
        await cluster.create(service())
        with pytest.raises(Conflict):
            await cluster.delete(SERVICE, uid="of another")

    async def test_an_older_version_is_a_conflict(self, cluster: SimulatedCluster) -> None:
        made = await cluster.create(service())
        assert made is not None
        cluster.user_annotate(SERVICE, a="1")
        with pytest.raises(Conflict):
            await cluster.delete(
                SERVICE,
                uid=made["metadata"]["uid"],
                resource_version=made["metadata"]["resourceVersion"],
            )

    async def test_what_is_gone_is_deleted(self, cluster: SimulatedCluster) -> None:
        await cluster.delete(SERVICE, uid="whatever")
        assert await cluster.read(SERVICE) is None

    async def test_what_an_object_owns_goes_with_it(self, cluster: SimulatedCluster) -> None:
        owner = cluster.user_apply(deployment())
        reference = {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "Deployment",
            "name": "digits",
            "uid": owner["metadata"]["uid"],
        }
        await cluster.apply(workload(1, ownerReferences=[reference]))
        Kubelet(cluster).step()
        assert len(cluster.find(PODS)) == 1
        cluster.user_delete(DEPLOYMENT)
        assert cluster.find(WORKLOADS) == []
        assert cluster.find(PODS) == []

    async def test_what_is_made_for_an_owner_that_is_gone_goes_too(
        self, cluster: SimulatedCluster
    ) -> None:
        reference = {"apiVersion": "v1", "kind": "Deployment", "name": "digits", "uid": "before"}
        assert await cluster.apply_new(workload(1, ownerReferences=[reference]))
        assert cluster.find(WORKLOADS) == []


def test_what_the_schema_refuses_is_refused(cluster: SimulatedCluster) -> None:
    with pytest.raises(Refused):
        cluster.user_apply(deployment(version=None))


async def test_children_of_others_are_not_listed(cluster: SimulatedCluster) -> None:
    cluster.user_apply(workload(labels={"mine": "1"}))
    assert await cluster.list(WORKLOADS) == []


async def test_only_watched_namespaces_are_listed() -> None:
    cluster = SimulatedCluster(watch_namespaces=("other",))
    cluster.user_apply(deployment())
    assert await cluster.list(DEPLOYMENT.resource) == []


async def test_listeners_hear_every_change_once(cluster: SimulatedCluster) -> None:
    heard: list[tuple[EventType, str]] = []

    def listen(event: EventType, resource: Resource, obj: Json) -> None:
        heard.append((event, obj["metadata"]["name"]))

    cluster.listen(listen)
    made = await cluster.apply(workload())
    await cluster.apply(workload())
    await cluster.apply(workload(5))
    await cluster.delete(WORKLOAD, uid=made["metadata"]["uid"])
    assert heard == [
        ("ADDED", "digits-a"),
        ("MODIFIED", "digits-a"),
        ("DELETED", "digits-a"),
    ]


class TestFaults:
    async def test_killed_before_the_next_write(self, cluster: SimulatedCluster) -> None:
        cluster.crash_after_writes = 0
        with pytest.raises(Killed):
            await cluster.apply(workload())
        assert cluster.get(WORKLOAD) is None

    async def test_killed_after_the_second_write_was_stored(
        self, cluster: SimulatedCluster
    ) -> None:
        cluster.crash_after_writes = 2
        await cluster.apply(workload())
        with pytest.raises(Killed):
            await cluster.apply(workload(5))
        stored = cluster.get(WORKLOAD)
        assert stored is not None
        assert stored["spec"]["replicas"] == 5

    async def test_an_error_in_place_of_a_write(self, cluster: SimulatedCluster) -> None:
        cluster.fault = lambda verb, key: Unavailable("away") if verb == "apply" else None
        with pytest.raises(Unavailable):
            await cluster.apply(workload())
        assert await cluster.create(service()) is not None


async def test_a_service_reaches_the_ready_pods_of_its_selector(
    cluster: SimulatedCluster,
) -> None:
    await cluster.apply(workload(3))
    stored = await cluster.apply(service())
    kubelet = Kubelet(cluster)
    kubelet.step()
    assert ready_pods(cluster, stored) == []
    cluster.time += timedelta(seconds=2)
    kubelet.step()
    assert len(ready_pods(cluster, stored)) == 3
    bad = cluster.find(PODS)[0]["metadata"]["name"]
    kubelet.behave = lambda pod: PodBehaviour(
        ready_after=None if pod["metadata"]["name"] == bad else 2.0
    )
    kubelet.step()
    assert len(ready_pods(cluster, stored)) == 2
    assert sum(is_pod_ready(pod) for pod in cluster.find(PODS)) == 2


async def test_events_are_recorded_once_beside_the_writes(cluster: SimulatedCluster) -> None:
    obj = cluster.user_apply(deployment())
    promoted = Decision(seq=1, at=cluster.time, reason="Promoted", message="v1 serves")
    for _ in range(2):
        await cluster.tell_event(obj, promoted)
    assert [(e.regarding, e.reason) for e in cluster.events] == [(DEPLOYMENT, "Promoted")]
    assert cluster.writes == []


async def test_a_lease_is_held_by_one(cluster: SimulatedCluster) -> None:
    assert await cluster.hold_lease(name="x", identity="a", seconds=10)
    assert not await cluster.hold_lease(name="x", identity="b", seconds=10)
    cluster.time += timedelta(seconds=11)
    assert await cluster.hold_lease(name="x", identity="b", seconds=10)
    await cluster.release_lease(name="x", identity="a")
    assert not await cluster.hold_lease(name="x", identity="a", seconds=10)
