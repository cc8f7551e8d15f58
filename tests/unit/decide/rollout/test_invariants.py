"""What holds whatever is observed: random pods, users, people and restarts over a tiny cluster."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.decide.rollout.builders import ERRORS_GATE, a_deployment
from tests.unit.decide.rollout.model import Cluster, Observation, Pass, written

from trimtab.api.deployment import Deployment
from trimtab.decide.led_time import Instant
from trimtab.decide.rollout.children import Remove, Size, plan_children
from trimtab.decide.rollout.life import decide_deployment
from trimtab.decide.rollout.phases import Returning, Starting, deadline_of, phase_of
from trimtab.decide.rollout.traffic.plan import plan_traffic
from trimtab.decide.rollout.traffic.replicas import Route

STEPS = st.sampled_from(
    [
        [{"weight": "25%", "for": "10s"}, {"weight": "50%", "for": "10s"}],
        [{"weight": "1%"}],
        [{"weight": "10%", "for": "30s"}, {"pause": {}}, {"weight": "100%"}],
        [{"weight": "50%", "for": "3s"}, {"weight": "75%", "for": "3s"}],
    ]
)
GATES = st.sampled_from(
    [
        [{"name": "errors", "bad": "errors", "against": "stable", "margin": "1%"}],
        [{"name": "few", "bad": "errors", "limit": "5%", "onNoData": "fail", "failAfter": "20s"}],
        [],
    ]
)
COMMANDS = ("promote/-", "abort/-", "pause/-", "resume/-", "retry/-", "rollback/-", "rollback/v1")


@st.composite
def deployments(draw: st.DrawFn) -> Deployment:
    """Return a Deployment of some strategy with a deadline of two minutes."""
    rollout: dict[str, Any] = {
        "deadline": "2m",
        "minSamples": draw(st.sampled_from([0, 50])),
        "onDeadline": draw(st.sampled_from(["undecided", "promote", "rollback"])),
        "allowCoarse": draw(st.booleans()),
        "scaleDownDelay": draw(st.sampled_from(["1s", "30s"])),
    }
    if draw(st.sampled_from(["canary", "canary", "rolling"])) == "rolling":
        rollout["strategy"] = "rolling"
    else:
        rollout |= {"steps": draw(STEPS), "gates": draw(GATES)}
    return a_deployment(
        "v1",
        replicas=draw(st.integers(1, 5)),
        rollout=rollout,
        guard={"for": draw(st.sampled_from(["20s", "24h"]))},
        metrics={"scrape": {"interval": "1s"}},
    )


def observations(*, pauses: bool = True) -> st.SearchStrategy[Observation]:
    """Return what may be seen before one pass."""
    commands = COMMANDS if pauses else tuple(c for c in COMMANDS if c != "pause/-")
    rarely = st.integers(0, 9).map(lambda chance: chance == 0)
    return st.builds(
        Observation,
        seconds=st.sampled_from([1.0, 1.0, 5.0, 40.0]),
        pods=st.sampled_from(["ready"] * 6 + ["wait", "crash", "unschedulable"]),
        requests=st.sampled_from([0, 1, 100, 100, 1000]),
        bad=st.dictionaries(st.sampled_from(["v1", "v2", "v3"]), st.sampled_from([0.01, 0.9])),
        is_blind=rarely,
        want=st.none() | st.sampled_from(["v1", "v2", "v3", "v4"]),
        command=st.one_of(st.none(), st.none(), st.none(), st.sampled_from(commands)),
        asked=st.sampled_from([None, None, None, "rollback", "pause"]),
        is_restart=rarely,
    )


worlds = given(deployment=deployments(), seen=st.lists(observations(), min_size=5, max_size=30))


@worlds
def test_stable_keeps_its_size_until_another_can_carry_all(
    deployment: Deployment, seen: list[Observation]
) -> None:
    cluster = Cluster(deployment)
    for observation in seen:
        passed = cluster.step(observation)
        before, after = passed.before.stable, passed.after.stable
        if after is None:
            continue
        assert cluster.workloads[after.revision].replicas == cluster.spec.replicas
        if before is not None and before.revision != after.revision:
            assert passed.snapshot.ready_of(after.revision) >= cluster.spec.replicas


@worlds
def test_requests_are_never_sent_to_what_is_taken_away(
    deployment: Deployment, seen: list[Observation]
) -> None:
    cluster = Cluster(deployment)
    for observation in seen:
        routed = cluster.route
        passed = cluster.step(observation)
        if not plan_traffic(cluster.spec, passed.after).weights:
            continue  # the first version failed, and nobody is asked any more
        sizes = {live.revision: live.replicas for live in passed.snapshot.workloads.values()}
        for action in passed.actions:
            match action:
                case Route(revision):
                    routed = revision
                case Size(tried, replicas):
                    assert replicas > 0 or routed != tried.revision or sizes[routed] == 0
                case Remove(workload):
                    assert workload != f"digits-{routed}"


@worlds
def test_a_rejected_revision_never_begins(deployment: Deployment, seen: list[Observation]) -> None:
    cluster = Cluster(deployment)
    for observation in seen:
        passed = cluster.step(observation)
        phase = phase_of(passed.after)
        if phase is not None and phase.started == cluster.now:
            rejected = {entry.revision for entry in passed.after.rejected}
            assert phase.candidate.revision not in rejected


@worlds
def test_weights_sum_to_one_or_nothing_serves(
    deployment: Deployment, seen: list[Observation]
) -> None:
    cluster = Cluster(deployment)
    for observation in seen:
        after = cluster.step(observation).after
        traffic = plan_traffic(cluster.spec, after)
        serves = after.stable is not None or after.candidate is not None
        assert abs(sum(weight for _, weight in traffic.weights) - (1.0 if serves else 0.0)) < 1e-9
        ours = [after.stable, after.candidate]
        if after.guard is not None and after.guard.control_since is not None:
            ours.append(after.last_good)
        assert set(traffic.revisions) <= {tried.revision for tried in ours if tried is not None}
        assert len(set(traffic.revisions)) == len(traffic.revisions)


@worlds
def test_a_crash_after_the_write_repeats_nothing(
    deployment: Deployment, seen: list[Observation]
) -> None:
    cluster = Cluster(deployment)
    for observation in seen:
        passed = cluster.step(observation)
        decided, _ = decide_deployment(passed.snapshot)
        before_write = plan_children(cluster.spec, decided.status, cluster.now)
        assert plan_children(cluster.spec, written(decided.status), cluster.now) == before_write


@worlds
def test_a_restart_in_the_same_moment_begins_no_rollout_and_tells_no_command_again(
    deployment: Deployment, seen: list[Observation]
) -> None:
    cluster = Cluster(deployment)
    once = ("RolloutStarted", "CommandCarriedOut", "CommandRefused")
    for observation in seen:
        first = cluster.step(observation)
        told = {note.reason for note in first.notes} & set(once)
        again = cluster.step(Observation(seconds=0.0, pods="wait", requests=0, is_restart=True))
        assert not told & {note.reason for note in again.notes}


@worlds
def test_what_is_seen_is_not_changed(deployment: Deployment, seen: list[Observation]) -> None:
    cluster = Cluster(deployment)
    for observation in seen:
        passed = cluster.step(observation)
        before = passed.snapshot.deployment.model_dump_json(), passed.snapshot.memory
        first = decide_deployment(passed.snapshot)
        assert decide_deployment(passed.snapshot) == first
        assert (passed.snapshot.deployment.model_dump_json(), passed.snapshot.memory) == before


def is_bounded(passed: Pass, cluster: Cluster) -> bool:
    """Return whether the rollout is over, or will be looked at by its deadline."""
    phase = phase_of(passed.after)
    if phase is None or phase.pause is not None or isinstance(phase, Returning):
        return True
    deadline = deadline_of(cluster.spec, phase, Instant(cluster.now))
    return cluster.now < deadline and passed.wake_at is not None and passed.wake_at <= deadline


@worlds
def test_no_phase_outlives_its_deadline(deployment: Deployment, seen: list[Observation]) -> None:
    cluster = Cluster(deployment)
    for observation in seen:
        passed = cluster.step(observation)
        assert is_bounded(passed, cluster)


@given(
    deployment=deployments(),
    seen=st.lists(observations(pauses=False), min_size=5, max_size=20),
    last=st.builds(
        Observation,
        seconds=st.just(30.0),
        pods=st.sampled_from(["wait", "crash", "unschedulable"]),
        requests=st.sampled_from([0, 100]),
        is_blind=st.booleans(),
        command=st.just("resume/-"),
    ),
)
def test_every_rollout_ends_in_bounded_time(
    deployment: Deployment, seen: list[Observation], last: Observation
) -> None:
    """Whatever goes on, in two deadlines and a pass: `onDeadline: promote` takes the second."""
    cluster = Cluster(deployment)
    for observation in seen:
        cluster.step(observation)
    phase = phase_of(cluster.status)
    if phase is None or isinstance(phase, Returning):
        return
    for _ in range(2 * 4 + 2):
        after = phase_of(cluster.step(last).after)
        if after is None or after.candidate.revision != phase.candidate.revision:
            return
        if isinstance(after, Starting) and after.started > phase.started:
            return
    raise AssertionError(f"still {phase_of(cluster.status)}")


@given(deployment=deployments(), seen=st.lists(observations(), min_size=5, max_size=20))
def test_a_return_ends_once_pods_are_ready(deployment: Deployment, seen: list[Observation]) -> None:
    cluster = Cluster(deployment)
    for observation in seen:
        cluster.step(observation)
        if isinstance(phase_of(cluster.status), Returning):
            bad = cluster.status.stable
            cluster.step(Observation())
            cluster.step(Observation())
            assert bad is not None
            assert cluster.status.stable is not None
            assert cluster.status.stable.revision != bad.revision
            assert bad.revision in {entry.revision for entry in cluster.status.rejected}
            return


def test_the_model_reaches_what_it_is_about() -> None:
    """A canary is promoted, a worse one is rolled back, and a guard returns to the last good."""
    cluster = Cluster(
        a_deployment(
            "v1",
            rollout={"steps": [{"weight": "50%", "for": "10s"}], "gates": [ERRORS_GATE]},
            metrics={"scrape": {"interval": "1s"}},
        )
    )
    told: list[str] = []

    def run(passes: int, **fields: Any) -> None:
        for _ in range(passes):
            told.extend(note.reason.value for note in cluster.step(Observation(**fields)).notes)

    run(5)
    run(30, want="v2", requests=300)
    run(5, want="v3", requests=1000, bad={"v3": 0.5})
    run(20, want="v3", requests=1000, bad={"v2": 0.5})
    assert told == [
        "RolloutStarted", "Promoted",
        "RolloutStarted", "StepReached", "Promoted",
        "RolloutStarted", "StepReached", "GateFailed", "RolledBack", "Quarantined",
        "GuardBreached", "RolledBack",
    ]  # fmt: skip
    assert cluster.status.stable is not None
    assert cluster.status.stable.version == "v1"
