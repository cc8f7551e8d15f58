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
        pytest.param({"exitCode": 255, "reason": "Unknown"}, True, id="with_its_node"),
        pytest.param({"exitCode": 255, "reason": "Error"}, False, id="by_itself_with_255"),
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


def test_a_container_that_ended_with_its_node_and_waits_for_it_is_no_crash_of_its_own():
    given = pod(ready=False, ready_since="2026-11-23T12:00:20Z", started=False)
    (container,) = given["status"]["containerStatuses"]
    ended = {"exitCode": 255, "reason": "Unknown", "startedAt": "2026-11-23T12:00:10Z"}
    container |= {"restartCount": 0, "state": {"terminated": ended}}
    view = view_of(given, NOW)
    assert (view.crashed, view.killed, view.ended_ready) == (True, True, True)


@pytest.mark.parametrize(
    ("ready_since", "began", "expected"),
    [
        pytest.param("2026-11-23T12:00:20Z", "2026-11-23T12:00:10Z", True, id="it_was"),
        pytest.param("2026-11-23T12:00:09Z", "2026-11-23T12:00:10Z", False, id="never"),
        pytest.param("2026-11-23T12:00:20Z", "2026-11-23T12:00:22Z", False, id="not_since_then"),
        pytest.param("2026-11-23T12:00:20Z", None, False, id="nobody_knows"),
    ],
)
def test_tells_whether_the_run_before_was_ready(ready_since, began, expected):
    given = pod(ready=False, ready_since=ready_since, running_since="2026-11-23T12:00:25Z")
    (container,) = given["status"]["containerStatuses"]
    ended = {"exitCode": 143, "startedAt": began}
    container |= {"restartCount": 1, "started": False, "lastState": {"terminated": ended}}
    view = view_of(given, NOW)
    assert (view.was_ready, view.ended_ready) == (False, expected)


HEARD = {"type": "trimtab.test/gate", "status": "True"}


@pytest.mark.parametrize(
    ("container", "gate", "expected"),
    [
        pytest.param({"ready": True}, None, True, id="its_node_is_silent"),
        pytest.param({"ready": True}, {**HEARD}, True, id="and_its_gate_is_open"),
        pytest.param({"ready": True}, {**HEARD, "status": "False"}, False, id="a_gate_is_shut"),
        pytest.param({"ready": True}, {"type": "x", "status": "True"}, False, id="nobody_opened"),
        pytest.param({"ready": False}, None, False, id="its_probe_fails"),
        pytest.param({"ready": True, "state": {"waiting": {}}}, None, False, id="it_does_not_run"),
    ],
)
def test_tells_whether_the_node_of_a_pod_fell_silent(container, gate, expected):
    given = pod(ready=False, ready_since="2026-11-23T12:00:20Z")
    given["status"]["containerStatuses"][0] |= container
    if gate is not None:
        given["spec"] = {"readinessGates": [{"conditionType": HEARD["type"]}]}
        given["status"]["conditions"].append(gate)
    assert view_of(given, NOW).unheard is expected
    assert not view_of(pod(ready=True, ready_since="2026-11-23T12:00:20Z"), NOW).unheard


PLACED = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-23T12:00:00Z"}
NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
GATED = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
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
    [starting(NO_NODE), starting(GATED), starting(container=NO_IMAGE)],
    ids=["no_node", "may_not_be_placed", "no_image"],
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


def waits(reason, **container):
    return {"name": "model", "state": {"waiting": {"reason": reason}}, **container}


ENDED = {"terminated": {"exitCode": 1, "startedAt": "2026-11-23T12:00:05Z"}}
RUNS = {"running": {"startedAt": "2026-11-23T12:00:10Z"}}
CONTAINERS = {
    "runs": ({"name": "model", "state": RUNS}, 20.0),
    "ended": ({"name": "model", "state": ENDED}, 25.0),
    "runs_again": ({"name": "model", "state": RUNS, "lastState": ENDED, "restartCount": 1}, 25.0),
    # Of which the first run is not known any more: no end makes it younger.
    "runs_the_third_time": (
        {"name": "model", "state": RUNS, "lastState": ENDED, "restartCount": 2}, 30.0,
    ),
    "waits_to_run_again": (waits("CrashLoopBackOff", lastState=ENDED, restartCount=4), 30.0),
    "nobody_says_when": (
        {"name": "model", "state": {"running": {}}, "lastState": {}, "restartCount": 0}, 30.0,
    ),
    "its_command_is_missing": (waits("CreateContainerError"), 30.0),
}  # fmt: skip


@pytest.mark.parametrize(("container", "seconds"), CONTAINERS.values(), ids=CONTAINERS.keys())
def test_a_new_process_goes_by_what_pods_say_of_their_age(container, seconds):
    given = starting(container=container)
    sights = Sights()
    sights.look([given], 100.0, NOW)
    assert sights.startable_seconds(given, 110.0) == seconds + 10.0
    behind = Sights()
    behind.look([given], 100.0, NOW - timedelta(minutes=5))
    assert behind.startable_seconds(given, 110.0) == 10.0
    assert view_of(given, NOW).unbegun == ""


def test_what_runs_before_the_container_begins_the_time_of_a_pod():
    given = starting(container=waits("PodInitializing"))
    given["status"]["initContainerStatuses"] = [
        {"name": "first", "state": ENDED, "restartCount": 0},
        {"name": "second", "state": RUNS, "restartCount": 0},
    ]
    sights = Sights()
    sights.look([given], 100.0, NOW)
    assert sights.startable_seconds(given, 100.0) == 25.0
    assert view_of(given, NOW).unbegun == ""


def test_a_pod_that_may_not_be_placed_says_who_has_to_act():
    view = view_of(starting(GATED | {"message": "Scheduling is blocked"}, {}), NOW)
    assert view.unschedulable
    assert view.message == (
        "Scheduling is blocked: whoever set its schedulingGates has to take them away "
        "(Kueue: admit it)"
    )


NO_NODE_YET = "it has no node, and nobody says why: look at the scheduler"
UNBEGUN = (
    "its container has not begun ({}): its events say what it lacks, such as a volume, a Secret "
    "or the network"
)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param(starting({"type": "Initialized"}, {}), NO_NODE_YET, id="no_scheduler"),
        pytest.param(starting(container={}), UNBEGUN.format("Pending"), id="no_kubelet"),
        pytest.param(
            starting(container=waits("ContainerCreating")),
            UNBEGUN.format("ContainerCreating"),
            id="no_sandbox",
        ),
    ],
)
def test_the_time_of_a_pod_begins_with_its_first_container(given, said):
    assert view_of(given, NOW).unbegun == said
    sights = Sights()
    sights.look([given], 100.0, NOW)
    sights.look([given], 400.0, NOW)
    begun = starting()
    sights.look([begun], 410.0, NOW)
    assert sights.startable_seconds(begun, 430.0) == 20.0


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
