"""Labels that are still to come after a promotion: wrong answers get theirs first."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

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

from trimtab.api.deployment import Count, Origin
from trimtab.decide.rollout.counting import side_of
from trimtab.decide.rollout.guard import watch
from trimtab.decide.rollout.late_labels import (
    MOST_SPANS,
    labels_per_answer,
    log_evidence,
    with_look,
)
from trimtab.decide.rollout.measures import (
    ERRORS,
    REJECTED,
    REQUESTS,
    labelled_measure,
    wrong_measure,
)
from trimtab.decide.rollout.snapshot import LateLabels, Memory, ProcessView
from trimtab.decide.rollout.watched import Breach
from trimtab.stats.counts import NOTHING, BadTotal

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


def test_what_came_between_two_looks_came_evenly() -> None:
    late = with_look(LateLabels(0.5, width=10.0), 0.0, 6, BadTotal(1, 2))
    assert late.spans == ((6, 2, 1),)
    late = with_look(late, 5.0, 10, BadTotal(0, 4))
    assert (late.spans, late.seconds) == (((16, 6, 1),), 5)
    late = with_look(late, 20.0, 40, BadTotal(4, 20))
    assert late.spans == ((26, 11, 2), (20, 10, 2), (10, 5, 1))
    assert (late.answers, late.labels, late.lag) == (56, 26, 2)
    assert late.awaited == pytest.approx(1 + 2 / 26)
    assert with_look(late, -5.0, 1, NOTHING).spans[-1] == (11, 5, 1)  # the clock was set back


def test_a_day_of_spans_is_remembered() -> None:
    late, looks = LateLabels(1.0, width=15.0), 2 * 24 * 240
    for _ in range(looks):
        late = with_look(late, 15.0, 15, BadTotal(1, 10))
    assert (len(late.spans), late.width) == (MOST_SPANS, 240)
    assert late.seconds == pytest.approx(MOST_SPANS * 240)
    assert set(late.spans) == {(240, 160, 16)}
    assert late.answers == 15 * looks
    late = with_look(late, 1e9, 0, NOTHING)
    assert 480 - 361 <= sum(span[0] > 0 for span in late.spans) <= 480 - 359


def test_what_lags_is_asked_about_and_labels_that_come_at_once_are_not() -> None:
    late = LateLabels(1.0, BadTotal(50, 1000), 900.0, BadTotal(45, 900), width=15.0)
    for _ in range(40):
        late = with_look(late, 15.0, 100, BadTotal(12, 100))
    assert log_evidence(late, 0.065, 0.01, 1.0) == math.inf
    waiting = replace(late, before_answers=1000.0)  # 100 of them may all be wrong
    assert 5 < log_evidence(waiting, 0.065, 0.01, 1.0) < math.inf
    unknown = replace(waiting, usual=NOTHING)
    assert log_evidence(unknown, 0.065, None, 1.0) > log_evidence(waiting, 0.065, 0.01, 1.0)


Rate = Callable[[int], float]


def guarded(
    labels: Callable[[int], tuple[float, float]],
    minutes: int = 20,
    rate: Rate = lambda _: 100.0,
    before: tuple[float, float, float] = (0.0, 0.0, 0.0),
    every: int = 5,
    shown: tuple[float, float] = (500, 10_000),
) -> int | None:
    """Return after how many minutes a version is breached; labels: (right, wrong) by second.

    rate: answers by second. before: answers, right and wrong labels until its promotion. shown: of
    the version before in the last step, wrong of labels.
    """
    answers, right, wrong = before

    def counted() -> dict[str, float]:
        labelled = {labelled_measure(V2): right + wrong, wrong_measure(V2): wrong}
        return {REQUESTS: answers} | labelled

    guard = a_guard(
        "v2",
        references={"wrong": Count(bad=shown[0], total=shown[1])},
        origins=[Origin(process=a_process("v2").process, values=counted())],
    )
    status = a_status(stable="v2", guard=guard, last_good=a_tried("v1"))
    deployment = a_deployment(status=status, rollout={"gates": [OUTCOMES]})
    memory, breach = Memory(), None
    all_labelled = old(**{labelled_measure(V1): 1000.0, wrong_measure(V1): 50.0})
    for at in range(0, minutes * 60, every):
        more = labels(at)
        right, wrong = right + every * more[0], wrong + every * more[1]
        answers += every * rate(at)
        new = a_process("v2", counts=counted(), born=NOW)
        processes = (new, all_labelled) if at < 60 else (new,)
        snapshot = a_snapshot(deployment, processes=processes, now=NOW + seconds(at))
        breach, memory = watch(snapshot, guard, side_of(a_tried("v2")), memory)
        if breach is not None:
            assert isinstance(breach, Breach)
            return at // 60
    return None


def surges(at: int) -> float:
    """Three times more in five of forty minutes."""
    return 300.0 if at % 2400 < 300 else 100.0


def after(right: int, wrong: int, share: Callable[[int], float]) -> Callable[..., Any]:
    """Return the labels by second that surges get after so many seconds; share: of the wrong."""

    def labels(at: int) -> tuple[float, float]:
        then, before = at - right, at - wrong
        return surges(then) * (1 - share(then)), surges(before) * share(before)

    return labels


@pytest.mark.parametrize(
    ("right", "wrong"), [(600, 15), (120, 15), (15, 600), (600, 300), (600, 600), (1800, 300)]
)
def test_surges_whose_wrong_labels_come_at_another_time_breach_nothing(
    right: int, wrong: int
) -> None:
    """It served an hour before its promotion, with surges, too."""
    hour = range(-3600, 0)
    before = (
        sum(surges(at) for at in hour),
        sum(0.95 * surges(at) for at in hour if at < -right),
        sum(0.05 * surges(at) for at in hour if at < -wrong),
    )
    healthy = after(right, wrong, lambda _: 0.05)
    assert guarded(healthy, 120, surges, before, every=15) is None
    worse = after(right, wrong, lambda at: 0.05 if at < 3000 else 0.1)
    found = guarded(worse, 150, surges, before, every=15)
    assert found is not None
    assert 50 + wrong / 60 <= found <= 50 + wrong / 60 + 75


def in_batches(seconds: int, share: Callable[[int], float], every: int = 15) -> Callable[..., Any]:
    """Return the labels by second where wrong ones come in batches, and right ones at once."""

    def labels(at: int) -> tuple[float, float]:
        is_due = at % seconds >= seconds - every
        wrong = sum(100.0 * share(then) for then in range(at - seconds + every, at + every, every))
        return 100.0 * (1 - share(at)), wrong if is_due else 0.0

    return labels


@pytest.mark.parametrize("seconds", [60, 120, 300, 1800])
@pytest.mark.parametrize("minutes", [0, 3, 60])
def test_wrong_labels_that_come_in_batches_are_no_change(seconds: int, minutes: int) -> None:
    """minutes: that it had served when it was promoted, right after a batch."""
    labels = in_batches(seconds, lambda _: 0.05)
    before = 6000.0 * minutes, 5700.0 * minutes, 300.0 * minutes
    assert guarded(labels, 100, before=before, every=15) is None


@pytest.mark.parametrize("seconds", [60, 300, 1800])
def test_a_version_whose_batches_get_larger_is_found(seconds: int) -> None:
    labels = in_batches(seconds, lambda at: 0.05 if at < 3600 else 0.1)
    found = guarded(labels, 180, every=15)
    assert found is not None
    assert 60 <= found <= 60 + 3 * seconds / 60


def test_what_was_shown_while_labels_were_of_one_kind_is_no_reference() -> None:
    """Those of wrong answers come late: stable's were of more traffic than its right ones."""
    before = 18_000.0, 17_100.0, 0.0  # three minutes in steps, all its wrong labels to come
    worse = after(5, 600, lambda at: 0.05 if at < 900 else 0.1)
    found = guarded(worse, 120, surges, before, every=15, shown=(900, 10_000))
    assert found is not None
    assert 25 <= found <= 40
    fine = after(5, 600, lambda _: 0.05)
    for shown in ((900, 10_000), (200, 10_000)):
        assert guarded(fine, 120, surges, before, every=15, shown=shown) is None


def test_what_was_shown_while_it_got_harder_for_all_is_the_reference() -> None:
    """Labels come at once."""
    before = 18_000.0, 16_200.0, 1800.0
    assert guarded(lambda _: (90.0, 10.0), 120, before=before, shown=(1000, 10_000)) is None


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
