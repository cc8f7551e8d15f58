"""The cluster port over HTTP: verbs, errors and the Lease."""

import math
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.unit.simulation.objects import (
    DEPLOYMENT,
    LABELS,
    SERVICE,
    WORKLOAD,
    deployment,
    service,
    workload,
)
from tests.wiring.api_server import ApiServer

from trimtab.api.record import Decision
from trimtab.cluster.kubernetes_api import KubernetesCluster
from trimtab.cluster.port import PODS, SERVICES, WORKLOADS, Json
from trimtab.cluster.transport import MOST_WORDS, connect
from trimtab.errors import Conflict, Refused, RetryLater, Unavailable
from trimtab.reconcile.machine.watched import written


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def connected(**options: Any) -> KubernetesCluster:
    return KubernetesCluster(await connect(), written=written(), **options)


@pytest.fixture
async def cluster(api_server: ApiServer, clock: Clock) -> AsyncIterator[KubernetesCluster]:
    made = await connected(lease_namespace="ops", instance="pod-a", clock=clock)
    yield made
    await made.close()


@pytest.fixture
async def next_cluster(api_server: ApiServer, clock: Clock) -> AsyncIterator[KubernetesCluster]:
    """The next process of the operator: it remembers nothing."""
    made = await connected(lease_namespace="ops", instance="pod-b", clock=clock)
    yield made
    await made.close()


async def test_apply_is_server_side_forced_and_by_our_manager(
    api_server: ApiServer, cluster: KubernetesCluster
) -> None:
    stored = await cluster.apply(workload())
    assert stored["metadata"]["uid"]
    assert api_server.requests[-1] == (
        "PATCH /apis/apps/v1/namespaces/shop/deployments/digits-a?fieldManager=trimtab&force=true"
    )


async def test_every_character_that_can_be_stored_can_be_applied(
    api_server: ApiServer, cluster: KubernetesCluster
) -> None:
    text = "caf\u00e9 \U0001f600 \u2028 \ufffe \x7f\x85\x9f \ufeff \0"
    manifest = workload()
    manifest["metadata"]["annotations"] = {"note": text}
    assert (await cluster.apply(manifest))["metadata"]["annotations"] == {"note": text}
    api_server.cluster.user_apply(deployment())
    stored = await cluster.apply_status(DEPLOYMENT, {"message": text})
    assert stored["status"]["message"] == text


async def test_apply_new_makes_an_object_or_leaves_the_one_that_is_there(
    cluster: KubernetesCluster,
) -> None:
    made = await cluster.apply_new(workload(2))
    assert made is not None
    assert await cluster.apply_new(workload(3)) is None
    assert await cluster.read(WORKLOAD) == made


async def test_apply_to_another_object_of_that_name_is_a_conflict(
    api_server: ApiServer, cluster: KubernetesCluster
) -> None:
    made = await cluster.apply(workload(2))
    uid = made["metadata"]["uid"]
    assert (await cluster.apply(workload(3), uid=uid))["spec"]["replicas"] == 3
    api_server.cluster.user_delete(WORKLOAD)
    with pytest.raises(Conflict):
        await cluster.apply(workload(4), uid=uid)
    api_server.cluster.user_apply(workload(1))
    with pytest.raises(Conflict, match=r"metadata\.uid"):
        await cluster.apply(workload(4), uid=uid)


async def test_restore_takes_out_what_others_added_unless_it_changed_since(
    api_server: ApiServer, cluster: KubernetesCluster
) -> None:
    stored = await cluster.apply(workload())
    version = stored["metadata"]["resourceVersion"]
    changed = api_server.cluster.user_change(WORKLOAD, lambda obj: obj["spec"].update(paused=True))
    with pytest.raises(Conflict):
        await cluster.restore(WORKLOAD, {"paused": None}, resource_version=version)
    version = changed["metadata"]["resourceVersion"]
    restored = await cluster.restore(WORKLOAD, {"paused": None}, resource_version=version)
    assert "paused" not in restored["spec"]


async def test_status_is_applied_to_the_subresource(
    api_server: ApiServer, cluster: KubernetesCluster
) -> None:
    api_server.cluster.user_apply(deployment())
    stored = await cluster.apply_status(DEPLOYMENT, {"replicas": 3})
    assert stored["status"] == {"observedGeneration": 0, "replicas": 3}
    assert "/modeldeployments/digits/status?" in api_server.requests[-1]


async def test_a_write_that_rests_on_an_older_object_is_a_conflict(
    api_server: ApiServer, cluster: KubernetesCluster
) -> None:
    api_server.cluster.user_apply(deployment())
    stored = await cluster.apply_status(DEPLOYMENT, {"replicas": 3})
    version = stored["metadata"]["resourceVersion"]
    await cluster.apply_status(DEPLOYMENT, {"replicas": 4}, resource_version=version)
    with pytest.raises(Conflict, match="apply_status"):
        await cluster.apply_status(DEPLOYMENT, {"replicas": 5}, resource_version=version)
    made = await cluster.apply(workload(2))
    uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]
    await cluster.apply(workload(3), uid=uid, resource_version=version)
    with pytest.raises(Conflict, match="apply"):
        await cluster.apply(workload(0), uid=uid, resource_version=version)


async def test_the_status_of_a_deleted_object_is_for_later(cluster: KubernetesCluster) -> None:
    with pytest.raises(RetryLater, match="apply_status modeldeployments/status shop/digits: 404"):
        await cluster.apply_status(DEPLOYMENT, {})


async def test_reading_what_is_not_there_is_none(cluster: KubernetesCluster) -> None:
    assert await cluster.read(WORKLOAD) is None


async def test_creating_what_exists_is_none(cluster: KubernetesCluster) -> None:
    assert await cluster.create(service()) is not None
    assert await cluster.create(service()) is None


async def test_deletes_carry_preconditions_and_what_is_gone_is_deleted(
    cluster: KubernetesCluster,
) -> None:
    made = await cluster.create(service())
    assert made is not None
    with pytest.raises(Conflict):
        await cluster.delete(SERVICE, uid="another")
    await cluster.delete(
        SERVICE, uid=made["metadata"]["uid"], resource_version=made["metadata"]["resourceVersion"]
    )
    await cluster.delete(SERVICE, uid=made["metadata"]["uid"])
    assert await cluster.read(SERVICE) is None


async def test_lists_go_on_over_all_pages_and_name_the_type(
    api_server: ApiServer, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab.cluster.kubernetes_api.PAGE", 2)
    for n in range(5):
        manifest = service()
        manifest["metadata"]["name"] = f"s{n}"
        api_server.cluster.user_apply(manifest)
    found = await cluster.list(SERVICES)
    assert [obj["metadata"]["name"] for obj in found] == ["s0", "s1", "s2", "s3", "s4"]
    assert found[0]["kind"] == "Service"
    assert sum("services" in request for request in api_server.requests) == 3


async def test_children_of_others_are_not_asked_for(
    api_server: ApiServer, cluster: KubernetesCluster
) -> None:
    api_server.cluster.user_apply(workload(labels={"mine": "1"}))
    assert await cluster.list(WORKLOADS) == []
    assert "labelSelector=app.kubernetes.io" in api_server.requests[-1]


async def test_each_watched_namespace_is_listed(api_server: ApiServer) -> None:
    api_server.cluster.user_apply(workload(labels=LABELS))
    narrow = await connected(namespaces=["shop", "other"])
    assert len(await narrow.list(WORKLOADS)) == 1
    paths = [request.split("?")[0] for request in api_server.requests]
    assert paths == [
        "GET /apis/apps/v1/namespaces/shop/deployments",
        "GET /apis/apps/v1/namespaces/other/deployments",
    ]
    await narrow.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        pytest.param(400, Refused, id="400_is_refused"),
        pytest.param(403, Refused, id="403_is_refused"),
        pytest.param(422, Refused, id="422_is_refused"),
        pytest.param(409, Conflict, id="409_is_a_conflict"),
        pytest.param(401, Unavailable, id="401_is_tried_again"),
        pytest.param(429, Unavailable, id="429_is_tried_again"),
        pytest.param(500, Unavailable, id="500_is_tried_again"),
        pytest.param(503, Unavailable, id="503_is_tried_again"),
    ],
)
async def test_an_error_says_what_was_asked(
    api_server: ApiServer, cluster: KubernetesCluster, status: int, error: type[Exception]
) -> None:
    api_server.answers.append(status)
    with pytest.raises(error, match=f"apply deployments shop/digits-a: {status}"):
        await cluster.apply(workload())


def status_500(message: str, **fields: Any) -> Json:
    return {"kind": "Status", "status": "Failure", "code": 500, "message": message} | fields


UNAPPLICABLE = {
    "a_field_that_is_none": "failed to create typed patch object (shop/digits-a; apps/v1, "
    "Kind=Deployment): .spec.template.foo: field not declared in schema",
    "another_type": "failed to create typed patch object (shop/digits-a; apps/v1, "
    "Kind=Deployment): .spec.template.metadata.uid: expected string, got &{1}",
    "a_fraction": "failed to convert new object (shop/digits-a; apps/v1, Kind=Deployment) to "
    "proper version: unable to convert unstructured object to apps/v1, Kind=Deployment: "
    "cannot convert float64 to int32",
}
"""What the API server says to an apply of a manifest that cannot be one, with 500 and no reason."""


@pytest.mark.parametrize("message", UNAPPLICABLE.values(), ids=list(UNAPPLICABLE))
@pytest.mark.parametrize("uid", [None, "1"], ids=["any", "of_a_uid"])
async def test_a_manifest_that_can_never_be_applied_is_refused(
    api_server: ApiServer, cluster: KubernetesCluster, message: str, uid: str | None
) -> None:
    api_server.answers.append(status_500(message))
    with pytest.raises(Refused, match=f"500 {re.escape(message)}"):
        await cluster.apply(workload(), uid=uid)


async def test_what_is_refused_is_told_in_bounded_words(
    api_server: ApiServer, cluster: KubernetesCluster
) -> None:
    api_server.answers.append(status_500(UNAPPLICABLE["another_type"] + "x" * 1_000_000))
    with pytest.raises(Refused) as refused:
        await cluster.apply(workload())
    assert len(str(refused.value)) == MOST_WORDS


OUTAGES = {
    "of_the_store": status_500("etcdserver: leader changed"),
    "of_a_webhook": status_500(
        "Internal error occurred: failed calling webhook: failed to create typed patch object (x",
        reason="InternalError",
    ),
    "of_what_is_stored": status_500(
        "failed to convert live object (shop/digits-a; apps/v1, Kind=Deployment) to proper version"
    ),
    "in_the_words_of_a_proxy": status_500("failed to create typed patch object (x", code=503),
}


@pytest.mark.parametrize("answer", OUTAGES.values(), ids=list(OUTAGES))
async def test_any_other_failure_of_the_server_is_tried_again(
    api_server: ApiServer, cluster: KubernetesCluster, answer: Json
) -> None:
    api_server.answers.append(answer)
    with pytest.raises(Unavailable):
        await cluster.apply(workload())


async def test_a_server_that_is_not_there_is_unavailable(
    cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster._transport._configuration, "host", "http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="list pods"):
        await cluster.list(PODS)


def decision(seq: int, message: str = "v1 serves", reason: str = "Promoted") -> Decision:
    at = datetime(2026, 11, 29, 12, 0, seq, 250_000, tzinfo=UTC)
    return Decision(seq=seq, at=at, reason=reason, message=message)


def methods(api_server: ApiServer) -> list[str]:
    return [request.split()[0] for request in api_server.requests]


class TestEvents:
    async def test_names_what_it_is_about(
        self, api_server: ApiServer, cluster: KubernetesCluster
    ) -> None:
        obj = api_server.cluster.user_apply(deployment())
        await cluster.tell_event(obj, decision(1))
        (event,) = api_server.events.values()
        assert event["involvedObject"]["uid"] == obj["metadata"]["uid"]
        told = (event["reason"], event["message"], event["type"], event["count"])
        assert told == ("Promoted", "v1 serves", "Normal", 1)
        assert event["metadata"]["name"].startswith("digits.")

    async def test_of_one_reason_are_one_series(
        self, api_server: ApiServer, cluster: KubernetesCluster
    ) -> None:
        obj = api_server.cluster.user_apply(deployment())
        for seq, reason in ((1, "Promoted"), (2, "RolledBack"), (3, "Promoted")):
            await cluster.tell_event(obj, decision(seq, f"number {seq}", reason))
        by_reason = {event["reason"]: event for event in api_server.events.values()}
        assert len(api_server.events) == 2
        promoted = by_reason["Promoted"]
        assert (promoted["message"], promoted["count"]) == ("number 3", 2)
        assert promoted["series"] == {
            "count": 2,
            "lastObservedTime": "2026-11-29T12:00:03.250000Z",
        }
        assert promoted["metadata"]["annotations"]["trimtab.dev/seq"] == "3"

    async def test_a_repeat_writes_nothing(
        self, api_server: ApiServer, cluster: KubernetesCluster
    ) -> None:
        obj = api_server.cluster.user_apply(deployment())
        await cluster.tell_event(obj, decision(2))
        for seq in (2, 1):
            await cluster.tell_event(obj, decision(seq, "again"))
        assert methods(api_server) == ["POST"]

    async def test_another_process_reads_how_far_the_series_is(
        self, api_server: ApiServer, cluster: KubernetesCluster, next_cluster: KubernetesCluster
    ) -> None:
        obj = api_server.cluster.user_apply(deployment())
        await cluster.tell_event(obj, decision(2))
        await next_cluster.tell_event(obj, decision(2, "again"))
        assert methods(api_server) == ["POST", "POST", "GET"]
        await next_cluster.tell_event(obj, decision(3, "news"))
        (event,) = api_server.events.values()
        assert (event["message"], event["count"]) == ("news", 2)

    async def test_a_series_that_ran_out_begins_anew(
        self, api_server: ApiServer, cluster: KubernetesCluster
    ) -> None:
        obj = api_server.cluster.user_apply(deployment())
        await cluster.tell_event(obj, decision(1))
        api_server.events.clear()
        await cluster.tell_event(obj, decision(2, "news"))
        (event,) = api_server.events.values()
        assert (event["message"], event["count"]) == ("news", 1)

    async def test_a_series_that_is_there_after_all_is_gone_on_with(
        self, api_server: ApiServer, cluster: KubernetesCluster
    ) -> None:
        obj = api_server.cluster.user_apply(deployment())
        await cluster.tell_event(obj, decision(1))
        api_server.answers.append(404)
        await cluster.tell_event(obj, decision(2, "news"))
        (event,) = api_server.events.values()
        assert (event["message"], event["count"]) == ("news", 2)
        assert event["metadata"]["annotations"]["trimtab.dev/seq"] == "2"

    async def test_one_that_comes_late_takes_no_series_back(
        self, api_server: ApiServer, cluster: KubernetesCluster, next_cluster: KubernetesCluster
    ) -> None:
        obj = api_server.cluster.user_apply(deployment())
        await cluster.tell_event(obj, decision(1))
        await next_cluster.tell_event(obj, decision(3, "by the next"))
        await cluster.tell_event(obj, decision(2, "late"))
        (event,) = api_server.events.values()
        assert (event["message"], event["count"]) == ("by the next", 2)
        await cluster.tell_event(obj, decision(4, "news"))
        assert (event["message"], event["count"]) == ("news", 3)

    @pytest.mark.parametrize(("status", "error"), [(403, Refused), (500, Unavailable)])
    async def test_a_failure_is_raised_and_the_next_try_tells(
        self,
        api_server: ApiServer,
        cluster: KubernetesCluster,
        status: int,
        error: type[Exception],
    ) -> None:
        obj = api_server.cluster.user_apply(deployment())
        api_server.answers.append(status)
        with pytest.raises(error):
            await cluster.tell_event(obj, decision(1))
        await cluster.tell_event(obj, decision(1))
        assert len(api_server.events) == 1


class TestLease:
    async def hold(self, cluster: KubernetesCluster, identity: str) -> bool:
        return await cluster.hold_lease(name="trimtab", identity=identity, seconds=10)

    async def test_is_taken_when_there_is_none_and_renewed_without_reading(
        self, api_server: ApiServer, cluster: KubernetesCluster
    ) -> None:
        assert await self.hold(cluster, "a")
        assert await self.hold(cluster, "a")
        assert [request.split()[0] for request in api_server.requests] == ["GET", "POST", "PUT"]
        spec = api_server.leases["trimtab"]["spec"]
        assert (spec["holderIdentity"], spec["leaseDurationSeconds"]) == ("a", 10)

    async def test_of_another_is_taken_only_when_not_renewed_for_its_duration(
        self, api_server: ApiServer, cluster: KubernetesCluster, clock: Clock
    ) -> None:
        assert await self.hold(cluster, "a")
        other = await connected(lease_namespace="ops", clock=clock)
        assert not await self.hold(other, "b")
        clock.seconds = 9
        assert await self.hold(cluster, "a")
        clock.seconds = 18
        assert not await self.hold(other, "b")
        clock.seconds = 28
        assert await self.hold(other, "b")
        assert api_server.leases["trimtab"]["spec"]["leaseTransitions"] == 1
        assert not await self.hold(cluster, "a")
        await other.close()

    async def test_is_gone_on_with_by_a_restarted_process_of_the_same_name(
        self, api_server: ApiServer, cluster: KubernetesCluster
    ) -> None:
        assert await self.hold(cluster, "a")
        again = await connected(lease_namespace="ops")
        assert await self.hold(again, "a")
        await again.close()

    async def test_that_was_given_back_is_taken_at_once(
        self, api_server: ApiServer, cluster: KubernetesCluster
    ) -> None:
        assert await self.hold(cluster, "a")
        await cluster.release_lease(name="trimtab", identity="a")
        other = await connected(lease_namespace="ops")
        assert await self.hold(other, "b")
        await other.close()

    async def test_keeps_an_annotation_with_its_renewals_and_its_release(
        self, api_server: ApiServer, cluster: KubernetesCluster
    ) -> None:
        assert cluster.kept_with_lease("x/told") is None
        assert await self.hold(cluster, "a")
        cluster.keep_with_lease("x/told", "1")
        assert len(api_server.requests) == 2
        assert await self.hold(cluster, "a")
        assert cluster.kept_with_lease("x/told") == "1"
        cluster.keep_with_lease("x/told", "2")
        await cluster.release_lease(name="trimtab", identity="a")
        other = await connected(lease_namespace="ops")
        assert await self.hold(other, "b")
        assert await self.hold(other, "b")
        assert other.kept_with_lease("x/told") == "2"
        assert other.kept_with_lease("x/other") is None
        await other.close()

    async def test_says_how_long_its_holders_have_led(
        self, api_server: ApiServer, cluster: KubernetesCluster, clock: Clock
    ) -> None:
        assert cluster.led_seconds() == 0.0
        assert await self.hold(cluster, "a")
        since = cluster.led_seconds()
        clock.seconds = 3
        assert cluster.led_seconds() - since == 3.0
        assert await self.hold(cluster, "a")
        clock.seconds = 500
        # nobody answered: as long as the Lease was ours
        assert cluster.led_seconds() - since == 13.0
        other = await connected(lease_namespace="ops", clock=clock)
        assert await self.hold(other, "a")
        assert other.led_seconds() - since == 6.0  # 3 s that the first one may have led after it
        clock.seconds = 504
        assert other.led_seconds() - since == 10.0
        await other.close()

    async def test_of_an_operator_that_is_killed_at_once_again_and_again_counts_its_lives(
        self, api_server: ApiServer, cluster: KubernetesCluster
    ) -> None:
        assert await self.hold(cluster, "a")
        since = cluster.led_seconds()
        for _ in range(5):
            again = await connected(lease_namespace="ops")
            assert await self.hold(again, "a")
            counted = again.led_seconds() - since
            await again.close()
        assert counted == pytest.approx(15.0, abs=1.0)

    async def test_begins_its_time_years_from_that_of_any_other(
        self, api_server: ApiServer, cluster: KubernetesCluster
    ) -> None:
        """So that two operators, each with a Lease, take no reading of one for one of the other."""
        assert await self.hold(cluster, "a")
        other = await connected(lease_namespace="ops")
        assert await other.hold_lease(name="another", identity="b", seconds=10)
        years = abs(other.led_seconds() - cluster.led_seconds()) / (365 * 24 * 3600)
        assert years > 3
        await other.close()

    async def test_goes_on_with_its_time_where_somebody_deleted_it(
        self, api_server: ApiServer, cluster: KubernetesCluster, clock: Clock
    ) -> None:
        assert await self.hold(cluster, "a")
        since = cluster.led_seconds()
        del api_server.leases["trimtab"]
        clock.seconds = 3
        while not await self.hold(cluster, "a"):
            pass
        assert cluster.led_seconds() - since == 3.0

    async def test_whose_time_nobody_can_read_begins_anew(
        self, api_server: ApiServer, cluster: KubernetesCluster, clock: Clock
    ) -> None:
        assert await self.hold(cluster, "a")
        annotations = api_server.leases["trimtab"]["metadata"]["annotations"]
        for broken in ("x", "nan", "-1", "inf"):
            annotations["trimtab.dev/led-seconds"] = broken
            other = await connected(lease_namespace="ops", clock=clock)
            assert await self.hold(other, "a")
            began = other.led_seconds()
            assert 0 <= began < math.inf
            assert began % 1e8 == 0
            await other.close()
            annotations = api_server.leases["trimtab"]["metadata"]["annotations"]

    async def test_of_another_is_not_given_back(
        self, api_server: ApiServer, cluster: KubernetesCluster
    ) -> None:
        assert await self.hold(cluster, "a")
        await cluster.release_lease(name="trimtab", identity="b")
        assert api_server.leases["trimtab"]["spec"]["holderIdentity"] == "a"

    async def test_whose_reply_was_lost_is_still_ours(
        self, api_server: ApiServer, cluster: KubernetesCluster
    ) -> None:
        assert await self.hold(cluster, "a")
        api_server.leases["trimtab"]["metadata"]["resourceVersion"] = "99"
        assert await self.hold(cluster, "a")


async def test_of_a_namespace_the_metadata_alone_is_read(
    api_server: ApiServer, cluster: KubernetesCluster
) -> None:
    api_server.cluster.namespace_annotations["shop"] = {"a": "b"}
    assert await cluster.read_namespace_annotations("shop") == {"a": "b"}
    assert await cluster.read_namespace_annotations("gone") == {}
    api_server.answers.append(403)
    with pytest.raises(Refused):
        await cluster.read_namespace_annotations("shop")
