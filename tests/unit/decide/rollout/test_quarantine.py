"""What is quarantined stays so, however many others are after it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.unit.decide.rollout.builders import (
    ERRORS_GATE,
    NOW,
    a_deployment,
    a_guard,
    a_pod,
    a_process,
    a_rejection,
    a_snapshot,
    a_status,
    a_stepping,
    a_tried,
    a_version,
    pods,
    revision,
    seconds,
)

from trimtab.api.deployment import QUARANTINED_AT_MOST as MOST
from trimtab.api.deployment import DeploymentStatus, HistoryEntry, Rejected
from trimtab.api.model_version import ModelVersion
from trimtab.decide.rollout.life import decide_deployment
from trimtab.decide.rollout.phases import Starting, Stepping, phase_of
from trimtab.decide.rollout.quarantine import IN_FULL
from trimtab.decide.rollout.snapshot import PodView, Snapshot
from trimtab.decide.rollout.traffic.replicas import Route
from trimtab.decide.rollout.wanted import decide_wanted


def failed(count: int, first: int = 2) -> list[Rejected]:
    """Return the quarantine after so many versions, each of which failed before the next came."""
    return [
        a_rejection(f"v{first + n}").model_copy(update={"at": NOW - seconds(1499.5 - n)})
        for n in range(count)
    ]


def line(count: int, first: int = 2) -> tuple[ModelVersion, ...]:
    """Return v1, which serves, and so many newer ones."""
    newer = (a_version(f"v{first + n}", age=1500.0 - n) for n in range(count))
    return (a_version("v1", age=2000.0), *newer)


def after_one_more(
    rejected: list[Rejected], versions: tuple[ModelVersion, ...], *, follow: bool = True
) -> DeploymentStatus:
    """Return the status once the newest of the line has failed, too, and the pass after it."""
    newest = versions[-1].spec.version
    phase = a_stepping(candidate=a_tried(newest))
    deployment = a_deployment(
        None if follow else newest,
        status=a_status(phase, rejected=rejected),
        rollout={"gates": [ERRORS_GATE]},
    )
    processes = (a_process(newest, 100.0, 100.0, born=NOW), a_process("v1", 300.0, born=NOW))
    snapshot = a_snapshot(
        deployment, versions=versions, processes=processes, pods=(*pods("v1", 3), *pods(newest, 1))
    )
    outcome, _ = decide_deployment(snapshot)
    assert outcome.status.rejected[-1].version == newest
    again, _ = decide_deployment(
        a_snapshot(
            deployment.model_copy(update={"status": outcome.status}),
            versions=versions,
            pods=pods("v1", 3),
        )
    )
    return again.status


@pytest.mark.parametrize("count", [20, 21, 50, MOST - 1, MOST, MOST + 7])
def test_whatever_failed_before_is_not_followed(count: int) -> None:
    rejected = failed(count)[-MOST:]
    status = after_one_more(rejected, line(count + 1))
    assert phase_of(status) is None
    assert len(status.rejected) <= MOST


@pytest.mark.parametrize("count", [20, 50])
def test_a_pin_back_to_the_first_that_failed_is_refused(count: int) -> None:
    status = after_one_more(failed(count), line(count + 1), follow=False)
    deployment = a_deployment("v2", status=status)
    wanted = decide_wanted(a_snapshot(deployment, versions=line(count + 1)))
    assert wanted.refusal is not None
    assert wanted.refusal.reason == "Quarantined"


def test_those_that_cannot_be_wanted_go_first() -> None:
    wanted, gone = failed(MOST - 2), failed(2, first=900)
    status = after_one_more([*wanted, *gone], line(MOST - 1))
    kept = [entry.version for entry in status.rejected]
    assert "v900" not in kept
    assert {"v2", "v901"} <= set(kept)
    oldest = a_rejection("v0").model_copy(update={"at": NOW - seconds(2500)})
    older = [oldest, *failed(MOST - 1)]
    versions = (a_version("v0", age=3000.0), *line(MOST))
    assert "v0" not in {entry.version for entry in after_one_more(older, versions).rejected}


def test_a_newer_version_is_followed_although_the_quarantine_is_full() -> None:
    new = a_version("v999", age=-5.0)
    deployment = a_deployment(None, status=a_status(rejected=failed(MOST)))
    snapshot = a_snapshot(
        deployment, now=NOW + seconds(6), versions=(*line(MOST), new), pods=pods("v1", 3)
    )
    outcome, _ = decide_deployment(snapshot)
    assert outcome.status.candidate is not None
    assert outcome.status.candidate.revision == revision("v999")


def test_a_full_quarantine_leaves_room_in_the_status() -> None:
    long = [entry.model_copy(update={"evidence": "e" * 1024}) for entry in failed(MOST)]
    status = after_one_more(long, line(MOST + 1))
    sizes = [len(entry.evidence) for entry in status.rejected]
    assert max(sizes[: MOST - IN_FULL]) <= 64
    assert len(sizes) == MOST
    assert len(json.dumps([entry.to_json() for entry in status.rejected])) < 34_000


# --- pods that outlive it -------------------------------------------------------------------------

LEFT = (*pods("v1", 3), *pods("v2", 1), a_pod("v3"))
"""A garbage collector has not come to the pod of v3 yet."""
LEFT_OF_V3 = "pod digits-v3-0 of v3, which was taken away,"
STARTING = Starting(candidate=a_tried("v2"), started=NOW)


def starting(*, later: float = 0.0, ready: tuple[PodView, ...] = LEFT) -> Snapshot:
    status = a_status(STARTING, rejected=[a_rejection("v3")])
    settings = {
        "deadline": "15m",
        "steps": [{"weight": "25%"}],
        "gates": [ERRORS_GATE],
    }
    deployment = a_deployment(status=status, rollout=settings)
    return a_snapshot(deployment, pods=ready, now=NOW + seconds(later))


def test_no_step_opens_while_pods_of_a_quarantined_version_are_ready() -> None:
    outcome, _ = decide_deployment(starting())
    assert isinstance(phase_of(outcome.status), Starting)
    assert Route(revision("v1")) in outcome.actions
    said = next(c.message for c in outcome.status.conditions if c.type == "Progressing")
    assert said == f"v2 waits: {LEFT_OF_V3} is still Ready; delete it if it stays"


def test_nor_while_pods_of_one_that_was_superseded_are() -> None:
    snapshot = starting()
    status = snapshot.deployment.status
    entry = HistoryEntry(version="v3", revision=revision("v3"), outcome="Superseded", at=NOW)
    for history, phase in (([entry], Starting), ([], Stepping)):
        changed = status.model_copy(update={"rejected": [], "history": history})
        deployment = snapshot.deployment.model_copy(update={"status": changed})
        outcome, _ = decide_deployment(replace(snapshot, deployment=deployment))
        assert isinstance(phase_of(outcome.status), phase)


def test_a_version_that_never_starts_is_condemned_beside_them() -> None:
    late = (*pods("v1", 3), a_pod("v2", ready=False, was_ready=False), a_pod("v3"))
    outcome, _ = decide_deployment(starting(later=900.0, ready=late))
    assert outcome.status.history[-1].outcome == "RolledBack"
    assert outcome.status.rejected[-1].reason == "NeverReady"


def test_a_step_opens_once_they_are_on_their_way_out() -> None:
    going = (*LEFT[:-1], a_pod("v3", terminating=True))
    outcome, _ = decide_deployment(starting(ready=going))
    assert isinstance(phase_of(outcome.status), Stepping)


def test_the_rollout_is_tried_again_where_they_stay() -> None:
    outcome, _ = decide_deployment(starting(later=900.0))
    assert phase_of(outcome.status) is None
    assert outcome.status.history[-1].message == (
        f"DeadlinePassed: {LEFT_OF_V3} is still Ready: delete it"
    )


def test_a_quarantined_version_that_is_stable_holds_up_nothing() -> None:
    status = a_status(STARTING, rejected=[a_rejection("v1")])
    outcome, _ = decide_deployment(a_snapshot(a_deployment(status=status), pods=LEFT[:-1]))
    assert isinstance(phase_of(outcome.status), Stepping)


def test_no_control_serves_beside_them() -> None:
    for ready, serves in ((LEFT, False), (LEFT[:-1], True)):
        status = a_status(
            guard=a_guard("v1"), last_good=a_tried("v2"), rejected=[a_rejection("v3")]
        )
        deployment = a_deployment("v1", status=status, replicas=4, rollout={"gates": [ERRORS_GATE]})
        processes = (a_process("v1", 10.0),)
        outcome, _ = decide_deployment(a_snapshot(deployment, pods=ready, processes=processes))
        assert outcome.status.guard is not None
        assert (outcome.status.guard.control_since is not None) is serves
