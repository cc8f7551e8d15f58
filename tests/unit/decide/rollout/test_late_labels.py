"""Labels that are still to come after a promotion: wrong answers get theirs first."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.unit.decide.rollout.builders import (
    NOW,
    a_deployment,
    a_guard,
    a_process,
    a_snapshot,
    a_status,
    a_tried,
    digest_of,
    seconds,
)

from trimtab.api.deployment import Count
from trimtab.decide.rollout.counting import side_of
from trimtab.decide.rollout.guard import Breach, watch
from trimtab.decide.rollout.late_labels import labels_per_answer, lag_further
from trimtab.decide.rollout.measures import (
    ERRORS,
    REJECTED,
    REQUESTS,
    labelled_measure,
    wrong_measure,
)
from trimtab.decide.rollout.snapshot import LateLabels, Memory, ProcessView

OUTCOMES = {"name": "wrong", "bad": "outcomes", "against": "stable", "margin": "1%"}
V1, V2 = digest_of("v1"), digest_of("v2")


def old(**fields: float) -> ProcessView:
    """A pod of the version before, of whose 1000 answers 600 had their labels there."""
    counts = {REQUESTS: 1200.0, ERRORS: 150.0, REJECTED: 50.0, labelled_measure(V1): 600.0}
    return a_process("v1", counts=counts | fields, process="v1-0/1")


def test_labels_arrive_on_any_pod_and_what_failed_gets_none() -> None:
    new = a_process("v2", counts={REQUESTS: 5000.0, labelled_measure(V1): 200.0})
    side = side_of(a_tried("v1"))
    assert labels_per_answer((old(), new), side) == pytest.approx(0.8)
    assert labels_per_answer((new,), side) is None
    assert labels_per_answer((a_process("v1", 100.0),), side) is None
    assert labels_per_answer((old(**{REQUESTS: 200.0 + 1e-9}),), side) == 1e6


def test_only_what_lags_more_than_ever_is_new() -> None:
    late, more = lag_further(LateLabels(0.5), 100, 20)
    assert (late.lag, more) == (30, 30)
    assert late.awaited == pytest.approx(2.5)
    late, more = lag_further(late, 100, 50)
    assert (late.lag, more) == (30, 0)
    late, more = lag_further(late, 0, 60)  # all at once
    assert (late.lag, more, late.awaited) == (-30, 0, 1)
    late, more = lag_further(late, 140, 5)
    assert (late.lag, more) == (35, 5)
    assert LateLabels(0.5, answers=10).awaited == 1.0


def guarded(labels: Callable[[int], tuple[float, float]], minutes: int = 20) -> int | None:
    """Return after how many minutes a version is breached; labels: (right, wrong) by second.

    It has answered 50 requests a second, and answers 100 from its promotion on.
    """
    guard = a_guard("v2", references={"wrong": Count(bad=500, total=10_000)})
    status = a_status(stable="v2", guard=guard, last_good=a_tried("v1"))
    deployment = a_deployment(status=status, rollout={"gates": [OUTCOMES]})
    memory, breach, right, wrong = Memory(), None, 0.0, 0.0
    all_labelled = old(**{labelled_measure(V1): 1000.0})
    for at in range(0, minutes * 60, 5):
        more = labels(at)
        right, wrong = right + 5 * more[0], wrong + 5 * more[1]
        counts = {
            REQUESTS: 100.0 * at,
            labelled_measure(V2): right + wrong,
            wrong_measure(V2): wrong,
        }
        new = a_process("v2", counts=counts, born=NOW)
        processes = (new, all_labelled) if at < 60 else (new,)
        snapshot = a_snapshot(deployment, processes=processes, now=NOW + seconds(at))
        breach, memory = watch(snapshot, guard, side_of(a_tried("v2")), memory)
        if breach is not None:
            assert isinstance(breach, Breach)
            return at // 60
    return None


def test_wrong_answers_that_get_their_labels_first_breach_nothing() -> None:
    """Right ones get theirs after five minutes; 5 % are wrong."""
    assert guarded(lambda at: (0.0 if at < 300 else 95.0, 5.0)) is None
    assert guarded(lambda at: (47.5 if at < 300 else 95.0, 5.0)) is None


def test_a_version_that_is_worse_is_found_as_soon_as_its_labels_come() -> None:
    assert guarded(lambda _: (90.0, 10.0)) == 0
    found = guarded(lambda at: (0.0, 0.0) if at < 300 else (90.0, 10.0))
    assert found is not None
    assert 5 <= found <= 6


def test_labels_that_come_once_a_while_are_no_change() -> None:
    assert guarded(lambda at: (60 * 95.0, 60 * 5.0) if at % 300 == 295 else (0.0, 0.0)) is None
