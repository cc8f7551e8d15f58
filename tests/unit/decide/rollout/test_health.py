"""Whose fault it is that a pod ended."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.decide.rollout.builders import (
    a_deployment,
    a_pod,
    a_snapshot,
    a_status,
    a_stepping,
    revision,
)

from trimtab.decide.rollout.health import why_all_crashed, why_down
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
