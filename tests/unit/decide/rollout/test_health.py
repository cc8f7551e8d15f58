"""Whose fault it is that a pod ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.decide.rollout.builders import (
    NOW,
    a_deployment,
    a_pod,
    a_process,
    a_snapshot,
    a_status,
    a_stepping,
    a_tried,
    revision,
)

from trimtab.api.conditions import Reason
from trimtab.decide.rollout.health import why_all_crashed, why_down
from trimtab.decide.rollout.phases import Starting
from trimtab.decide.rollout.snapshot import PodView, Snapshot

ENDED: dict[str, Any] = {"ready": False, "crashed": True, "restarts": 1}


def tried(*pods: PodView) -> Snapshot:
    return a_snapshot(a_deployment(status=a_status(a_stepping())), pods=pods)


def test_a_pod_that_ended_by_itself_is_down() -> None:
    assert why_down(tried(a_pod(**ENDED)), a_stepping()) == "pod digits-v2-0 crashed (restarts: 1)"


@pytest.mark.parametrize("restarts", [1, 2])
def test_the_memory_of_a_second_model_is_not_held_against_the_version(restarts: int) -> None:
    pod = a_pod(**{**ENDED, "restarts": restarts}, ended_comparing=restarts == 1)
    excused = restarts == 1
    assert (why_down(tried(pod), a_stepping()) is None) is excused
    assert (why_all_crashed(tried(pod), revision("v2")) is None) is excused


def test_one_crash_while_its_pods_start_anew_sends_no_good_version_away() -> None:
    ended = [a_pod("v2", n, **ENDED, ended_starting=True) for n in range(3)]
    assert why_all_crashed(tried(*ended), revision("v2")) is None
    served = [a_pod("v2", n, **ENDED) for n in range(3)]
    assert why_all_crashed(tried(*served), revision("v2")) is not None


@pytest.mark.parametrize("restarts", [1, 5])
@pytest.mark.parametrize("ready", [False, True])
def test_a_store_that_does_not_give_the_artifact_is_not_held_against_the_version(
    restarts: int, ready: bool
) -> None:
    pod = a_pod(ready=ready, crashed=True, restarts=restarts, ended_unloaded=True)
    for phase in (a_stepping(), Starting(candidate=a_tried("v2"), started=NOW)):
        assert why_down(tried(pod), phase) is None
    assert why_all_crashed(tried(pod), revision("v2")) is None


GONE_SILENT = a_pod(ready=False, unready_seconds=30.0)
NO_PLACE = {"ready": False, "was_ready": False, "unschedulable": True}


@pytest.mark.parametrize(
    ("stable", "is_held"),
    [
        pytest.param((a_pod("v1", **NO_PLACE),), True, id="lost its place"),
        pytest.param((a_pod("v1", 0, **NO_PLACE), a_pod("v1", 1)), False, id="wants one more"),
        pytest.param((a_pod("v1", ready=False, was_ready=False),), False, id="never started"),
    ],
)
def test_a_silent_pod_is_held_against_nobody_where_stable_lost_its_place(
    stable: tuple[PodView, ...], is_held: bool
) -> None:
    silent = a_process(
        "v2", process=f"{GONE_SILENT.uid}/1", problem=Reason.BACKEND_DOWN, fell_silent=True
    )
    seen = replace(tried(GONE_SILENT, *stable), processes=(silent,))
    assert (why_down(seen, a_stepping()) is None) is is_held


def test_what_a_pod_does_once_it_serves_is_judged_whatever_befell_it_before() -> None:
    pod = a_pod(ready=False, crashed=True, restarts=3, ended_unloaded=True, unready_seconds=30.0)
    silent = a_process("v2", process=f"{pod.uid}/1", problem=Reason.BACKEND_DOWN, fell_silent=True)
    seen = replace(tried(pod), processes=(silent,))
    found = why_down(seen, a_stepping())
    assert found is not None
    assert "silent" in found
