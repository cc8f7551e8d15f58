"""What decisions read of a pod."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from trimtab.api.deployment import Metrics
from trimtab.reconcile.kinds.pods import Sights, failure_of, target_of, view_of, waiting_since
from trimtab.simulation.kubelet import running, unmounted, unscheduled

NOW = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)


def pod(*, ready, ready_since, started=True, running_since="2026-11-23T12:00:10Z"):
    return {
        "metadata": {"name": "m-1", "uid": "u"},
        "status": {
            "conditions": [
                {"type": "Ready", "status": str(ready), "lastTransitionTime": ready_since}
            ],
            "containerStatuses": [
                {
                    "name": "model",
                    "started": started,
                    "state": {"running": {"startedAt": running_since}},
                }
            ],
        },
    }


@pytest.mark.parametrize(
    ("given", "was_ready"),
    [
        pytest.param(pod(ready=True, ready_since="2026-11-23T12:00:20Z"), True, id="is_ready"),
        pytest.param(
            pod(ready=False, ready_since="2026-11-23T12:00:25Z"), True, id="stopped_being_ready"
        ),
        pytest.param(
            pod(ready=False, ready_since="2026-11-23T12:00:09Z"),
            False,
            id="started_but_not_yet_asked",
        ),
        pytest.param(
            pod(ready=False, ready_since="2026-11-23T12:00:09Z", started=False),
            False,
            id="starting",
        ),
    ],
)
def test_tells_whether_it_was_ready(given, was_ready):
    assert view_of(given, NOW).was_ready is was_ready


@pytest.mark.parametrize("ready", [True, False])
def test_a_clock_behind_the_kubelets_does_not_make_all_of_it_new(ready):
    given = pod(ready=ready, ready_since="2026-11-23T12:10:00Z")
    given["metadata"]["creationTimestamp"] = "2026-11-23T12:09:00Z"
    sights = Sights()
    sights.look([given], 100.0, NOW)
    sights.look([given], 130.0, NOW)
    view = view_of(given, NOW, sights.seconds(given, 130.0))
    assert (view.ready_seconds, view.unready_seconds) == ((30.0, 0.0) if ready else (0.0, 30.0))
    changed = pod(ready=ready, ready_since="2026-11-23T12:10:05Z")
    sights.look([changed], 140.0, NOW)
    assert sights.seconds(changed, 142.0) == 2.0
    sights.look([], 150.0, NOW)
    assert sights.since == {}


@pytest.mark.parametrize(
    ("ended", "killed"),
    [
        pytest.param({"exitCode": 0, "reason": "Completed"}, True, id="obeyed_SIGTERM"),
        pytest.param({"exitCode": 143, "reason": "Error"}, True, id="SIGTERM"),
        pytest.param({"exitCode": 137, "reason": "Error"}, True, id="SIGKILL"),
        pytest.param({"exitCode": 137, "reason": "OOMKilled"}, False, id="for_its_memory"),
        pytest.param({"exitCode": 1, "reason": "Error"}, False, id="by_itself"),
        pytest.param({"exitCode": 139, "reason": "Error"}, False, id="SIGSEGV"),
        pytest.param(None, True, id="not_yet_told"),
    ],
)
def test_tells_whether_the_kubelet_may_have_ended_it(ended, killed):
    given = pod(ready=False, ready_since="2026-11-23T12:00:09Z", started=False)
    (container,) = given["status"]["containerStatuses"]
    container |= {"restartCount": 1, "lastState": {"terminated": ended} if ended else {}}
    view = view_of(given, NOW)
    assert (view.crashed, view.killed) == (True, killed)
    container["restartCount"] = 0
    assert not view_of(given, NOW).killed


PLACED = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-23T12:00:00Z"}
NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
NO_IMAGE = {"name": "model", "state": {"waiting": {"reason": "ImagePullBackOff"}}}


def starting(scheduled=PLACED, container=None):
    given = pod(ready=False, ready_since="2026-11-23T12:00:00Z", started=False)
    given["metadata"]["creationTimestamp"] = "2026-11-23T11:50:00Z"
    given["status"]["conditions"].append(scheduled)
    if container is not None:
        given["status"]["containerStatuses"] = [container]
    return given


@pytest.mark.parametrize("clock", [-600.0, 0.0, 86400.0])
@pytest.mark.parametrize(
    "lacking",
    [starting(NO_NODE), starting(container=NO_IMAGE)],
    ids=["no_node", "no_image"],
)
def test_the_time_of_a_pod_begins_once_it_lacks_nothing_whatever_the_clock_says(lacking, clock):
    sights, now = Sights(), NOW + timedelta(seconds=clock)
    sights.look([lacking], 100.0, now)
    sights.look([lacking], 500.0, now)
    assert sights.startable_seconds(lacking, 500.0) == 0.0
    sights.look([starting()], 510.0, now)
    sights.look([starting()], 530.0, now)
    assert sights.startable_seconds(starting(), 530.0) == 20.0


@pytest.mark.parametrize("off", [-1e6, 1e9])
def test_a_lease_that_was_made_anew_makes_no_pod_older(off):
    sights = Sights()
    sights.look([], 90.0, NOW)
    sights.look([starting()], 100.0, NOW)
    sights.look([starting()], off, NOW)
    assert sights.startable_seconds(starting(), off + 20.0) == 20.0
    assert sights.seconds(starting(), off + 20.0) == 20.0


def test_a_new_process_goes_by_what_pods_say_of_their_age():
    sights = Sights()
    sights.look([starting()], 100.0, NOW)
    assert sights.startable_seconds(starting(), 110.0) == 40.0
    behind = Sights()
    behind.look([starting()], 100.0, NOW - timedelta(minutes=5))
    assert behind.startable_seconds(starting(), 110.0) == 10.0


@pytest.mark.parametrize(
    ("reason", "restarts", "variable", "excused"),
    [
        pytest.param("OOMKilled", 1, "TRIMTAB_COMPARE_FOR", True, id="two_models"),
        pytest.param("OOMKilled", 2, "TRIMTAB_COMPARE_FOR", False, id="again_with_one"),
        pytest.param("Error", 1, "TRIMTAB_COMPARE_FOR", False, id="not_for_its_memory"),
        pytest.param("OOMKilled", 1, "TRIMTAB_MODEL", False, id="one_model"),
    ],
)
def test_a_pod_that_lacked_memory_for_two_models_is_excused_once(
    reason, restarts, variable, excused
):
    given = pod(ready=False, ready_since="2026-11-23T12:00:09Z", started=False)
    given["spec"] = {"containers": [{"name": "model", "env": [{"name": variable, "value": "x"}]}]}
    (container,) = given["status"]["containerStatuses"]
    ended = {"exitCode": 137, "reason": reason}
    container |= {"restartCount": restarts, "lastState": {"terminated": ended}}
    assert view_of(given, NOW).ended_comparing is excused


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("NotInStore", True), ("ArtifactUnavailable", True), ("Malformed", False)],
)
@pytest.mark.parametrize("where", ["state", "lastState"])
def test_a_pod_says_that_the_store_did_not_give_its_artifact(reason, expected, where):
    given = pod(ready=False, ready_since="2026-11-23T12:00:09Z", started=False)
    (container,) = given["status"]["containerStatuses"]
    said = json.dumps({"reason": reason, "message": "read s3://m/v2: no such object"})
    container |= {"restartCount": 1, where: {"terminated": {"exitCode": 3, "message": said}}}
    view = view_of(given, NOW)
    assert view.ended_unloaded is expected
    assert view.message == f"{reason}: read s3://m/v2: no such object (exit code 3)"


AGAIN = {"running": {"startedAt": "2026-11-23T12:00:15Z"}}


@pytest.mark.parametrize(
    ("ready_since", "started", "state", "restarts", "expected"),
    [
        pytest.param("2026-11-23T12:00:09Z", False, AGAIN, 1, True, id="never_ready"),
        pytest.param("2026-11-23T12:00:10Z", False, AGAIN, 1, True, id="within_the_second"),
        pytest.param("2026-11-23T12:00:20Z", True, AGAIN, 1, True, id="ready_since_and_not_now"),
        pytest.param("2026-11-23T12:00:14Z", False, AGAIN, 1, False, id="was_ready_when_it_ended"),
        pytest.param("2026-11-23T12:00:09Z", False, AGAIN, 2, False, id="twice"),
        pytest.param("2026-11-23T12:00:09Z", False, AGAIN, 0, False, id="never"),
        pytest.param(
            "2026-11-23T12:00:09Z", False, {"terminated": {"exitCode": 1}}, 1, False,
            id="about_to_be_counted_twice",
        ),
    ],
)  # fmt: skip
def test_tells_whether_its_only_end_was_while_it_started(
    ready_since, started, state, restarts, expected
):
    given = pod(ready=False, ready_since=ready_since, started=started)
    (container,) = given["status"]["containerStatuses"]
    ended = {"exitCode": 1, "startedAt": "2026-11-23T12:00:10Z"}
    container |= {"restartCount": restarts, "state": state, "lastState": {"terminated": ended}}
    assert view_of(given, NOW).ended_starting is expected
    container["lastState"] = {}
    view = view_of(given, NOW)
    assert view.ended_starting is (expected and view.was_ready)


@pytest.mark.parametrize(
    ("metrics", "interval", "timeout", "stale_after"),
    [
        pytest.param({}, 5, 5, 15, id="default"),
        pytest.param({"scrape": {"interval": "1s"}}, 1, 5, 6, id="short_interval"),
        pytest.param({"scrape": {"interval": "1s", "timeout": "1s"}}, 1, 1, 3, id="strict"),
        pytest.param({"prometheus": {"url": "http://p:9090"}}, 15, 10, 45, id="prometheus"),
    ],
)
def test_a_scrape_has_a_time_out_whatever_the_interval(metrics, interval, timeout, stale_after):
    running = pod(ready=True, ready_since="2026-11-23T12:00:20Z")
    running["status"]["podIP"] = "10.0.0.1"
    target = target_of(running, Metrics.model_validate(metrics))
    assert target is not None
    assert (target.interval_seconds, target.timeout_seconds) == (interval, timeout)
    assert target.stale_after_seconds == stale_after


MADE = "2026-11-23T12:00:00Z"


def made(status, **metadata):
    metadata = {"name": "m-1", "uid": "abcdef12", "creationTimestamp": MADE, **metadata}
    wanted = {"metadata": metadata, "spec": {"containers": [{"name": "model"}]}}
    return wanted | {"status": status(wanted)}


@pytest.mark.parametrize(
    ("given", "waits"),
    [
        pytest.param(made(unmounted), True, id="it_lacks_what_it_mounts"),
        pytest.param(made(unmounted, deletionTimestamp=MADE), False, id="it_is_going"),
        pytest.param(made(lambda pod: running(pod, ready=False)), False, id="it_runs"),
        pytest.param(made(lambda pod: unscheduled()), False, id="it_has_no_node"),
        pytest.param(made(lambda pod: {}), False, id="nobody_has_looked_at_it"),
    ],
)
def test_tells_since_when_it_waits_for_its_container(given, waits):
    since = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    assert waiting_since(given) == (since if waits else None)


def refused(status="True", **said):
    return {"status": {"conditions": [{"type": "ReplicaFailure", "status": status, **said}]}}


@pytest.mark.parametrize(
    ("workload", "failure"),
    [
        pytest.param({}, "", id="no_status_yet"),
        pytest.param(refused("False", message="over"), "", id="over"),
        pytest.param(
            refused(message='pods "digits-6b-x2x" is forbidden: exceeded quota: pods'),
            "a pod is forbidden: exceeded quota: pods",
            id="quota",
        ),
        pytest.param(refused(reason="FailedCreate"), "FailedCreate", id="without_words"),
    ],
)
def test_tells_why_the_cluster_makes_no_pods(workload, failure):
    assert failure_of(workload) == failure
